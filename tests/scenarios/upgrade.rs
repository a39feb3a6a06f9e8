//! A rolling upgrade under load: the schema grows while the previous version serves, new processes
//! come, old ones go, and no request fails.
//!
//! In an ordinary test run the previous version is this one, on a schema that grows beyond it.
//! `scripts/upgrade-check.sh` builds a real previous version and names it in the environment.

mod caller;
mod desk;
mod events;
mod keys;
mod past;
mod policies;
mod previous;
mod rows;
mod starts;
mod states;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use verdict::app::Role;
use verdict::domain::clock::Clock;

use crate::crashes::assert_decided_once;
use crate::harness::{
    Database, Options, Process, Reply, Setting, callback, empty_database, eventually, now,
};
use crate::roles::{lay_out, member};
use crate::signing_in::CONSOLE;
use caller::Caller;
use desk::Desk;
use keys::Keys;
use past::Past;
use previous::{Made, Previous};
use rows::Waits;
use states::States;

/// Probes like an orchestrator's: the interval, and how many failures in a row take a process out.
const PROBE: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;
const REQUEST: Duration = Duration::from_secs(10);
/// Shorter than the two seconds for which the processes wait for a next request.
const IDLE: Duration = Duration::from_secs(1);
const CLIENTS: usize = 8;

/// A future migration, in steps: a table and a column that this version does not know.
const GROW: [&str; 3] = [
    "create table of_the_future (id uuid primary key)",
    "alter table verifications add column of_the_future text",
    "insert into _sqlx_migrations select 99990101000000, 'of the future', now(), true, checksum, 0
     from _sqlx_migrations limit 1",
];

/// A process as a load balancer sees it.
struct Behind {
    http: SocketAddr,
    operations: SocketAddr,
    ready: bool,
    failures: u32,
}

/// Sends requests to ready processes, except those that are taken out.
#[derive(Clone)]
struct Balancer {
    client: reqwest::Client,
    behind: Arc<Mutex<Vec<Behind>>>,
    /// Requests under way, by where.
    under_way: Arc<Mutex<HashMap<SocketAddr, usize>>>,
    next: Arc<AtomicUsize>,
}

impl Balancer {
    fn new() -> Self {
        // A connection that rests longer may be closed by its server while a request is on its way.
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST);
        let client = client.pool_idle_timeout(IDLE).build().unwrap();
        Self { client, behind: Arc::default(), under_way: Arc::default(), next: Arc::default() }
    }

    fn add(&self, process: &Process) {
        let (http, operations) = (process.http, process.operations);
        self.behind.lock().unwrap().push(Behind { http, operations, ready: false, failures: 0 });
    }

    /// No further request goes there, and none is under way any more: what an orchestrator does before
    /// it says SIGTERM.
    async fn take_out(&self, process: &Process) {
        self.behind.lock().unwrap().retain(|one| one.http != process.http);
        eventually("its last requests are answered", || async {
            let under_way = self.under_way.lock().unwrap();
            (under_way.get(&process.http).is_none_or(|count| *count == 0)).then_some(())
        })
        .await;
    }

    fn is_answered(&self, at: SocketAddr) {
        *self.under_way.lock().unwrap().entry(at).or_default() -= 1;
    }

    fn choose(&self) -> Option<SocketAddr> {
        let behind = self.behind.lock().unwrap();
        let ready: Vec<SocketAddr> =
            behind.iter().filter(|one| one.ready).map(|one| one.http).collect();
        let turn = self.next.fetch_add(1, Ordering::SeqCst);
        let chosen = (!ready.is_empty()).then(|| ready[turn % ready.len()])?;
        *self.under_way.lock().unwrap().entry(chosen).or_default() += 1;
        Some(chosen)
    }

    async fn becomes_ready(&self, process: &Process) {
        eventually("it is in the balancer", || async {
            let behind = self.behind.lock().unwrap();
            behind.iter().any(|one| one.http == process.http && one.ready).then_some(())
        })
        .await;
    }

    async fn probe_for_ever(self) {
        let mut pace = tokio::time::interval(PROBE);
        loop {
            pace.tick().await;
            let all: Vec<SocketAddr> =
                self.behind.lock().unwrap().iter().map(|one| one.operations).collect();
            for operations in all {
                let answer = self.client.get(format!("http://{operations}/readyz")).send().await;
                let good = answer.is_ok_and(|answer| answer.status() == 200);
                let mut behind = self.behind.lock().unwrap();
                for one in behind.iter_mut().filter(|one| one.operations == operations) {
                    one.failures = if good { 0 } else { one.failures + 1 };
                    one.ready = good || one.ready && one.failures < FAILURES;
                }
            }
        }
    }
}

/// The observations of the clients.
#[derive(Default)]
struct Seen {
    accepted: HashSet<String>,
    requests: usize,
    failed: Vec<String>,
    slowest: Duration,
    waits: Waits,
}

/// Posts a callback and reads what became of it, again and again.
async fn go_on(balancer: Balancer, key: String, done: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    while !done.load(Ordering::SeqCst) {
        let biz_id = format!("pass-97-u{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let message = callback(&biz_id, now());
        let ask = async |build: &(dyn Fn(SocketAddr) -> reqwest::RequestBuilder + Sync),
                         wanted: u16| {
            let Some(at) = balancer.choose() else {
                seen.lock().unwrap().failed.push("no process is ready".to_owned());
                tokio::time::sleep(Duration::from_millis(50)).await;
                return None;
            };
            let started = Instant::now();
            let answer = build(at).send().await;
            balancer.is_answered(at);
            let took = started.elapsed();
            let mut seen = seen.lock().unwrap();
            seen.requests += 1;
            seen.slowest = seen.slowest.max(took);
            seen.waits.add(wanted == 202, started, took);
            match answer {
                Ok(answer) if answer.status().as_u16() == wanted => Some(answer),
                Ok(answer) => {
                    seen.failed.push(format!("{wanted} wanted, got {}", answer.status()));
                    None
                }
                Err(error) => {
                    seen.failed.push(format!("{error:?}"));
                    None
                }
            }
        };
        let post = |at: SocketAddr| {
            let mut request = balancer.client.post(format!("http://{at}/v1/callbacks/app"));
            for (name, value) in &message.headers {
                request = request.header(name, value);
            }
            request.body(message.body.clone())
        };
        let Some(answer) = ask(&post, 202).await else { continue };
        seen.lock().unwrap().accepted.insert(biz_id);
        let id = Reply::read(answer).await.id();
        let read = |at: SocketAddr| {
            balancer.client.get(format!("http://{at}/v1/verifications/{id}")).bearer_auth(&key)
        };
        ask(&read, 200).await;
    }
}

async fn ends_well(process: Process) {
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log:?}");
    let errors = ["SQLSTATE 42501", "SQLSTATE 42703", "SQLSTATE 42P01", "\"level\":\"ERROR\""];
    // One of the states.
    let expected = "webhook endpoint is disabled";
    let log: Vec<_> = log.iter().filter(|line| !line.contains(expected)).collect();
    for error in errors {
        assert!(!log.iter().any(|line| line.contains(error)), "{error}: {log:?}");
    }
}

/// The processes that a load balancer or an operator starts, on one database.
struct Fleet {
    setting: Setting,
    balancer: Balancer,
    owner: Database,
    as_api: Database,
    as_worker: Database,
}

impl Fleet {
    /// On an empty database, which the previous version migrates.
    async fn new(previous: &Previous, images: &Path) -> Self {
        let more = [policies::section(previous), events::section(previous)].concat();
        let (folder, scenes) = (images.display(), [states::SCENE, desk::SCENE]);
        let scenes = scenes.map(|scene| format!("{scene} = \"archive\"\n")).concat();
        let images =
            format!("mode = \"off\"\nstore = \"file://{folder}\"\n[images.scenes]\n{scenes}");
        let options = Options {
            fixed_clock: false,
            queries_per_second: 2000.0,
            more,
            images,
            ..Options::default()
        };
        let owner = empty_database().await;
        let mut setting = Setting::on(owner.clone(), options, &Clock::system()).await;
        setting.binary.clone_from(&previous.binary);
        setting.must_run(&["migrate"]).await;
        lay_out(&owner, &previous.source).await;
        let as_api = member(&owner, "verdict_api").await;
        let as_worker = member(&owner, "verdict_worker").await;
        Self { setting, balancer: Balancer::new(), owner, as_api, as_worker }
    }

    /// Starts a process with the database role of its kind. Commands are run by the owner.
    async fn start(&mut self, role: Role) -> Process {
        self.setting.options.role = role;
        self.setting.database = match role {
            Role::Api => self.as_api.clone(),
            Role::Worker => self.as_worker.clone(),
            Role::All | Role::Console => self.owner.clone(),
        };
        let process = self.setting.serve().await;
        self.setting.database = self.owner.clone();
        if role == Role::Api {
            self.balancer.add(&process);
            self.balancer.becomes_ready(&process).await;
        }
        process
    }

    /// Meanwhile commands know its address.
    async fn start_console(&mut self) -> Process {
        self.setting.options.more.push_str(CONSOLE);
        self.start(Role::Console).await
    }

    async fn stop_console(&mut self, console: Process) {
        let more = &mut self.setting.options.more;
        more.truncate(more.len() - CONSOLE.len());
        ends_well(console).await;
    }

    fn caller(&self, http: SocketAddr) -> Caller<'_> {
        Caller::of(&self.setting, http)
    }
}

/// Clients that post and read until the end, and their observations.
struct Load {
    seen: Arc<Mutex<Seen>>,
    done: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn begin(fleet: &Fleet) -> Self {
        let (seen, done) =
            (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (balancer, key) = (fleet.balancer.clone(), fleet.setting.api_key.clone());
                tokio::spawn(go_on(balancer, key, Arc::clone(&done), Arc::clone(&seen)))
            })
            .collect();
        let load = Self { seen, done, clients };
        load.accepts(200).await;
        load
    }

    /// Until so many more callbacks are accepted.
    async fn accepts(&self, more: usize) {
        let before = self.seen.lock().unwrap().accepted.len();
        eventually("callbacks are accepted", || async {
            (self.seen.lock().unwrap().accepted.len() >= before + more).then_some(())
        })
        .await;
    }

    async fn end(self) -> Seen {
        self.done.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// The schema grows: what `migrate` of the new version says if it refuses.
async fn grow(fleet: &mut Fleet, previous: &Previous) -> Result<(), String> {
    fleet.setting.binary = env!("CARGO_BIN_EXE_verdict").into();
    if previous.is_another {
        let (code, said, error) = fleet.setting.run(&["migrate"], "").await;
        if code != 0 {
            return Err(format!("{said}{error}"));
        }
    } else {
        for statement in GROW {
            sqlx::query(statement).execute(&fleet.owner.pool().await).await.unwrap();
        }
    }
    lay_out(&fleet.owner, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    Ok(())
}

/// The previous version goes on, and no request fails.
#[expect(clippy::print_stdout, reason = "the figures are what the script is run for")]
async fn is_refused(
    (fleet, load): (&Fleet, Load),
    (api, keys, past): (&Process, &Keys, &Past),
    (error, made): (&str, &Made),
) {
    load.accepts(200).await;
    past.reads_as_before(fleet.caller(api.http), keys, true).await;
    let seen = load.end().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    assert!(error.contains("run the binary that applied it"), "{error}");
    let error = error.trim().replace('\n', " ");
    println!(
        "row: {} | refused: {error} | {} | {} | ",
        made.summary(),
        seen.requests,
        seen.accepted.len()
    );
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are what the script is run for")]
async fn a_rolling_upgrade_under_load_fails_no_request() {
    let previous = Previous::find().await;
    let images = tempfile::TempDir::new().unwrap();
    let mut made = Made::default();
    let mut fleet = Fleet::new(&previous, images.path()).await;
    let many_rows = rows::fill_if_asked(&fleet.owner).await;
    let keys = Keys::begin(&fleet.setting, &previous, &mut made).await;
    fleet.setting.api_key.clone_from(&keys.client);
    let pool = fleet.owner.pool().await;

    let probing = tokio::spawn(fleet.balancer.clone().probe_for_ever());
    let old = [fleet.start(Role::Api).await, fleet.start(Role::Api).await];
    let old_worker = fleet.start(Role::Worker).await;
    let (old_api, mut desk) = (old[0].http, None);
    if Desk::is_there(&previous, &mut made) {
        let console = fleet.start_console().await;
        desk = Some(Desk::begin(fleet.caller(old_api), &console, &mut made).await);
        fleet.stop_console(console).await;
    }
    let past = Past::begin(fleet.caller(old_api), &keys, &pool, &previous, &mut made).await;

    let load = Load::begin(&fleet).await;
    load.seen.lock().unwrap().slowest = Duration::ZERO;
    let (started, began) = (Instant::now(), Clock::system().now());
    if let Err(error) = grow(&mut fleet, &previous).await {
        return is_refused((&fleet, load), (&old[0], &keys, &past), (&error, &made)).await;
    }
    let (took, slowest) = (started.elapsed(), load.seen.lock().unwrap().slowest);
    let old_ready = fleet.setting.get(old[0].operations, "/readyz").await.status == 200;
    if !previous.is_another {
        assert!(old_ready, "a schema that still serves it takes a process out");
    }

    // New ones come before old ones go.
    let mut new = Vec::new();
    for gone in old {
        new.push(fleet.start(Role::Api).await);
        fleet.balancer.take_out(&gone).await;
        load.accepts(50).await;
        ends_well(gone).await;
    }
    let worker = fleet.start(Role::Worker).await;
    let api = new[0].http;
    past.reads_as_before(fleet.caller(api), &keys, !previous.is_another).await;
    States::call_is_under_way(fleet.caller(api), &pool).await;
    ends_well(old_worker).await;
    past.goes_on(fleet.caller(api), &keys, &pool).await;
    if let Some(desk) = desk {
        let console = fleet.start_console().await;
        desk.goes_on(fleet.caller(api), &console).await;
        fleet.stop_console(console).await;
    }
    load.accepts(200).await;
    let seen = load.end().await;
    fleet.setting.drained().await;
    let repeated = past.is_complete(fleet.caller(api), &pool).await;
    probing.abort();

    println!(
        "{} requests, {} accepted and decided, {} failed; {repeated} deliveries repeated; growing the \
         schema took {took:?}, the slowest request meanwhile {slowest:?}, of all since {:?}; old \
         processes ready after it: {old_ready}",
        seen.requests,
        seen.accepted.len(),
        seen.failed.len(),
        seen.slowest
    );
    if many_rows {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        seen.waits.print(&fleet.owner, here, (began, began + took)).await;
    }
    assert_eq!(seen.failed, Vec::<String>::new());
    assert_decided_once(&fleet.setting, &seen.accepted).await;
    for process in new.into_iter().chain([worker]) {
        ends_well(process).await;
    }
    println!(
        "row: {} | upgraded | {} | {} | {repeated}",
        made.summary(),
        seen.requests,
        seen.accepted.len()
    );
}
