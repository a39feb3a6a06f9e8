//! A rolling upgrade under load: the schema grows while the previous version serves, new processes
//! come, old ones go, and no request fails.
//!
//! In an ordinary test run the previous version is this one, on a schema that grows beyond it.
//! `scripts/upgrade-check.sh` builds a real previous version and names it in the environment.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use verdict::app::Role;
use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;

use crate::crashes::assert_decided_once;
use crate::harness::{Options, Process, Reply, Setting, callback, empty_database, eventually, now};
use crate::roles::{lay_out, member};
use crate::upgrade_rows::{self, Waits};
use crate::upgrade_states::{States, face_verify_is_served};

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

/// The version before this one.
struct Previous {
    source: PathBuf,
    binary: PathBuf,
    is_another: bool,
}

impl Previous {
    fn find() -> Self {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        match (named("VERDICT_PREVIOUS_SOURCE"), named("VERDICT_PREVIOUS_BINARY")) {
            (Some(source), Some(binary)) => Self { source, binary, is_another: true },
            _ => Self {
                source: env!("CARGO_MANIFEST_DIR").into(),
                binary: env!("CARGO_BIN_EXE_verdict").into(),
                is_another: false,
            },
        }
    }
}

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

/// Until so many more callbacks are accepted.
async fn more_are_accepted(seen: &Mutex<Seen>, more: usize) {
    let before = seen.lock().unwrap().accepted.len();
    eventually("callbacks are accepted", || async {
        (seen.lock().unwrap().accepted.len() >= before + more).then_some(())
    })
    .await;
}

async fn ends_well(process: Process) {
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log:?}");
    for refused in ["SQLSTATE 42501", "SQLSTATE 42703", "SQLSTATE 42P01", "\"level\":\"ERROR\""] {
        assert!(!log.iter().any(|line| line.contains(refused)), "{refused}: {log:?}");
    }
}

/// A new API key, made by the binary of `setting`: only that one knows the schema of its time.
async fn key_made_by(setting: &Setting) -> String {
    let scopes = Scope::ALL.into_iter().filter(|scope| !scope.is_for_people_only());
    let scopes = scopes.map(Scope::as_str).collect::<Vec<_>>().join(",");
    let arguments = ["keys", "create", "--name", "client", "--scopes", &scopes];
    let (code, said, error) = setting.run(&arguments, "").await;
    assert_eq!(code, 0, "{error}");
    let key = said.split_whitespace().find(|word| word.starts_with("vk_"));
    key.expect("a key").to_owned()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are what the script is run for")]
async fn a_rolling_upgrade_under_load_fails_no_request() {
    let previous = Previous::find();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = Options { fixed_clock: false, queries_per_second: 2000.0, ..Options::default() };
    let owner = empty_database().await;
    let mut setting = Setting::on(owner.clone(), options, &Clock::system()).await;
    setting.binary.clone_from(&previous.binary);
    let (code, said, error) = setting.run(&["migrate"], "").await;
    assert_eq!(code, 0, "{said}{error}");
    lay_out(&owner, &previous.source).await;
    let many_rows = upgrade_rows::fill_if_asked(&owner).await;
    setting.api_key = key_made_by(&setting).await;
    let (as_api, as_worker) =
        (member(&owner, "verdict_api").await, member(&owner, "verdict_worker").await);

    let balancer = Balancer::new();
    let probing = tokio::spawn(balancer.clone().probe_for_ever());
    let start = async |setting: &mut Setting, role: Role| {
        setting.options.role = role;
        setting.database = if role == Role::Api { as_api.clone() } else { as_worker.clone() };
        setting.serve().await
    };
    let mut old = Vec::new();
    for _ in 0..2 {
        let api = start(&mut setting, Role::Api).await;
        balancer.add(&api);
        balancer.becomes_ready(&api).await;
        old.push(api);
    }
    let old_worker = start(&mut setting, Role::Worker).await;
    let states = States::begin(&setting, old[0].http, &owner.pool().await).await;

    let (seen, done) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (balancer, key) = (balancer.clone(), setting.api_key.clone());
            tokio::spawn(go_on(balancer, key, Arc::clone(&done), Arc::clone(&seen)))
        })
        .collect();
    more_are_accepted(&seen, 200).await;

    // The schema grows.
    setting.binary = env!("CARGO_BIN_EXE_verdict").into();
    setting.database = owner.clone();
    seen.lock().unwrap().slowest = Duration::ZERO;
    let (started, began) = (Instant::now(), Clock::system().now());
    if previous.is_another {
        let (code, said, error) = setting.run(&["migrate"], "").await;
        assert_eq!(code, 0, "{said}{error}");
        lay_out(&owner, here).await;
    } else {
        for statement in GROW {
            sqlx::query(statement).execute(&owner.pool().await).await.unwrap();
        }
        lay_out(&owner, here).await;
    }
    let (took, slowest) = (started.elapsed(), seen.lock().unwrap().slowest);
    let old_ready = setting.get(old[0].operations, "/readyz").await.status == 200;
    if !previous.is_another {
        assert!(old_ready, "a schema that still serves it takes a process out");
    }

    // New ones come before old ones go.
    let mut new = Vec::new();
    for gone in old {
        let api = start(&mut setting, Role::Api).await;
        balancer.add(&api);
        balancer.becomes_ready(&api).await;
        balancer.take_out(&gone).await;
        more_are_accepted(&seen, 50).await;
        ends_well(gone).await;
        new.push(api);
    }
    let api = &new[0];
    let worker = start(&mut setting, Role::Worker).await;
    let pool = owner.pool().await;
    states.are_shown_as_before(&setting, api.http, !previous.is_another).await;
    States::call_is_under_way(&setting, api.http, &pool).await;
    ends_well(old_worker).await;
    states.go_on(&setting, api, &pool).await;
    face_verify_is_served(&setting, api, &pool).await;
    more_are_accepted(&seen, 200).await;
    done.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    setting.database = owner;
    setting.drained().await;
    probing.abort();

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    println!(
        "{} requests, {} accepted and decided, {} failed; growing the schema took {took:?}, the \
         slowest request meanwhile {slowest:?}, of all since {:?}; old processes ready after it: \
         {old_ready}",
        seen.requests,
        seen.accepted.len(),
        seen.failed.len(),
        seen.slowest
    );
    if many_rows {
        seen.waits.print(&setting.database, here, (began, began + took)).await;
    }
    assert_eq!(seen.failed, Vec::<String>::new());
    assert_decided_once(&setting, &seen.accepted).await;
    for process in new.into_iter().chain([worker]) {
        ends_well(process).await;
    }
}
