//! Everything that can break: a private Postgres in durable mode, four processes, a simulated
//! provider, and a proxy as the network before each.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use cloudauth_sandbox::Sandbox;
use private_postgres::{Mode, Programs, Server, folder_of_this_process};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use url::Url;
use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;
use verdict::store::{Settings, Store};

use super::edge::Edge;
use super::receivers::{self, Receiver};
use super::service::{Service, never_in_logs};
use super::starts;
use crate::harness::{Proxy, SECRET, make_key, now, programs, provider, vault_secret};

/// Calls per second of the account: enough to drain what the clients post, little enough that
/// every backlog after a fault runs into it.
pub const QUERIES_PER_SECOND: f64 = 100.0;
/// The granted part of that rate, and the burst, as in `worker::Settings::pace`.
pub const GRANTED_PER_SECOND: f64 = 95.5;
pub const BURST: f64 = 2.0;
/// Length of a lease.
pub const LEASE_SECONDS: f64 = 2.0;
const DATABASE: &str = "faults";

/// Writes down, inside the transactions themselves, who got which lease when and in which
/// transaction it ended: what claims and completions are judged by. The budget is judged here and
/// not by when calls reach the provider, because a claim is the grant, and the network we disturb
/// may bunch the calls at will. `judged_at` is the clock by which the claim itself was judged.
const LEASE_LOG: &str = "
create table lease_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    judged_at timestamptz not null default verdict_now(),
    verification_id uuid not null,
    attempt integer not null,
    event text not null check (
        event in ('claimed', 'renewed', 'ended', 'overtaken', 'started', 'idle')),
    due_at timestamptz,
    lease_until timestamptz,
    service integer,
    probe boolean,
    callbacks integer,
    transaction xid not null default pg_current_xact_id()::xid
);
create index on lease_log (verification_id, id);
create function note_lease() returns trigger language plpgsql as $$
begin
    if old.lease_token = new.lease_token then
        insert into lease_log (verification_id, attempt, event, due_at, lease_until, service)
        values (new.id, new.attempts, 'renewed', new.due_at, new.lease_until,
                current_setting('harness.service', true)::int);
        return null;
    end if;
    if old.lease_token is not null then
        insert into lease_log (verification_id, attempt, event)
        values (old.id, old.attempts,
                case when new.lease_token is null then 'ended' else 'overtaken' end);
    end if;
    if new.lease_token is not null then
        insert into lease_log
            (verification_id, attempt, event, due_at, lease_until, service, probe, callbacks)
        values (new.id, new.attempts,
                -- A start has a lease as well. Neither it nor a claim without a CertifyId to ask with
                -- is a call that spends budget.
                case when new.attempts = old.attempts then 'started'
                    when new.product = 'face-verify' and new.certify_id is null then 'idle'
                    else 'claimed' end,
                new.due_at, new.lease_until,
                current_setting('harness.service', true)::int,
                (select breaker <> 'closed' from accounts limit 1), new.callbacks);
    end if;
    return null;
end $$;
create trigger note_lease after update on verifications
    for each row when (old.lease_token is distinct from new.lease_token
                       or old.lease_until is distinct from new.lease_until)
    execute function note_lease();
-- Which service starts what.
create table start_log (verification_id uuid primary key, service integer);
create function note_start() returns trigger language plpgsql as $$
begin
    insert into start_log
    values (new.verification_id, current_setting('harness.service', true)::int)
    on conflict (verification_id) do update set service = excluded.service;
    return null;
end $$;
create trigger note_start after insert or update of call_token on starts
    for each row execute function note_start();
-- While calls are stopped, for all replicas: by the breaker, or because the provider throttled.
create table breaker_log (
    at timestamptz not null default clock_timestamp(),
    is_open boolean not null
);
create function note_breaker() returns trigger language plpgsql as $$
begin
    insert into breaker_log (is_open) values (new.breaker <> 'closed');
    return null;
end $$;
create trigger note_breaker after update on accounts
    for each row when ((old.breaker = 'closed') <> (new.breaker = 'closed'))
    execute function note_breaker();
create table pause_log (
    at timestamptz not null default clock_timestamp(),
    until timestamptz not null
);
create function note_pause() returns trigger language plpgsql as $$
begin
    -- Claims alone spend no more than the burst ahead, which is less.
    if new.spent_to > verdict_now() + interval '100 ms' then
        insert into pause_log (until) values (new.spent_to);
    end if;
    return null;
end $$;
create trigger note_pause after update on budgets for each row execute function note_pause();
";

/// Forbidden events, collected as they are noticed.
#[derive(Default)]
pub struct Troubles {
    pub exits: Mutex<Vec<String>>,
    pub bad_stops: Mutex<Vec<String>>,
    pub panics: Mutex<Vec<String>>,
    pub persons: Mutex<Vec<String>>,
    /// Not a trouble but the cure: completions refused because their lease was lost.
    pub fenced: AtomicUsize,
    /// The same, noticed before anything was written.
    pub dropped: AtomicUsize,
}

impl Troubles {
    /// A process ended and nobody had asked it to.
    pub fn exited(&self, service: usize, when: &str, status: Option<ExitStatus>, said: &str) {
        let what = format!("service {service} ended {when}: {status:?}\n    {said}");
        self.exits.lock().expect("not poisoned").push(what);
    }

    pub fn stopped_badly(&self, service: usize, how: &str, said: &str) {
        let what = format!("service {service}, told to stop: {how}\n    {said}");
        self.bad_stops.lock().expect("not poisoned").push(what);
    }

    /// The line itself is not repeated where it may hold a person.
    pub fn judge_log(&self, line: &str) {
        if line.contains("\"written\":\"fenced\"") {
            self.fenced.fetch_add(1, Ordering::SeqCst);
        }
        if line.contains("lease lost: dropped") {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
        match never_in_logs(line) {
            None => {}
            Some(what) if what.starts_with("a panic") => {
                self.panics.lock().expect("not poisoned").push(line.to_owned());
            }
            Some(what) => self.persons.lock().expect("not poisoned").push(what.to_owned()),
        }
    }
}

/// From when to when a fault kept workers from claiming.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// `None`: all of them.
    pub service: Option<usize>,
    pub from: OffsetDateTime,
    pub to: OffsetDateTime,
}

/// An outage that lasts until this is dropped.
pub struct Ongoing<'a> {
    moments: &'a Moments,
    service: Option<usize>,
    from: OffsetDateTime,
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        let outage = Outage { service: self.service, from: self.from, to: now() };
        self.moments.outages.lock().expect("not poisoned").push(outage);
    }
}

/// The measurements.
#[derive(Default)]
pub struct Moments {
    /// Workers could not claim, because of a fault.
    pub outages: Mutex<Vec<Outage>>,
    /// A process was killed.
    pub kills: Mutex<Vec<(usize, OffsetDateTime)>>,
    /// Postgres takes connections again.
    pub postgres_up: Mutex<Vec<OffsetDateTime>>,
    /// Messages and answers the network has swallowed one by one.
    pub lost: AtomicUsize,
    /// Writes that the network held back until their sender was dead.
    pub held: AtomicUsize,
    /// Connections refused because the server had none left.
    pub turned_away: AtomicUsize,
    /// A client has the acceptance of a message.
    pub acceptance: Notify,
}

impl Moments {
    /// Returns when a client has just got an acceptance, or none came for a while: what is acknowledged
    /// before it is on the disk is lost by a crash within milliseconds only.
    pub async fn after_an_acceptance(&self) {
        // Otherwise nothing can be accepted now.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.acceptance.notified()).await;
    }

    /// From now on this service, or none at all, can claim.
    pub fn outage(&self, service: Option<usize>) -> Ongoing<'_> {
        Ongoing { moments: self, service, from: now() }
    }
}

pub struct World {
    programs: Programs,
    folder: PathBuf,
    /// Locked while Postgres is down.
    pub postgres: tokio::sync::Mutex<Option<Server>>,
    pub services: Vec<Arc<Service>>,
    pub provider: Sandbox,
    /// Held by the fault that decides how the provider behaves.
    pub behaviour: tokio::sync::Mutex<()>,
    pub receivers: Vec<Arc<Receiver>>,
    /// Held by the fault that decides how the receivers behave.
    pub manners: tokio::sync::Mutex<()>,
    pub api_key: String,
    pub troubles: Arc<Troubles>,
    pub moments: Moments,
    _configurations: TempDir,
}

impl World {
    pub async fn new() -> Arc<Self> {
        let programs = programs();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder_of_this_process(folder, "faults");
        let server = Server::start(&programs, &folder, Mode::Durable).await.expect("Postgres");
        let api_key = prepare(&server).await;
        let (sandbox, provider_address) = provider(&Clock::system()).await;
        let spare = spare_region(&sandbox).await;
        let edge = Edge::start().await;

        let configurations = TempDir::new().expect("a folder");
        let troubles = Arc::new(Troubles::default());
        let mut services = Vec::new();
        for (number, role) in ["all", "all", "api", "worker"].into_iter().enumerate() {
            let database = Proxy::start(loopback(server.port())).await;
            let provider = Proxy::start(provider_address).await;
            let config = configurations.path().join(format!("service-{number}.toml"));
            let url = through(&server.url(DATABASE), &database, number);
            let text = configuration(&url, provider.address(), spare, edge.address);
            std::fs::write(&config, text).expect("written");
            services.push(Arc::new(Service {
                number,
                role,
                database,
                provider,
                config,
                http: RwLock::default(),
                process: tokio::sync::Mutex::default(),
                troubles: Arc::clone(&troubles),
            }));
        }
        edge.lead_to(&services);
        Arc::new(Self {
            programs,
            folder,
            postgres: tokio::sync::Mutex::new(Some(server)),
            services,
            provider: sandbox,
            behaviour: tokio::sync::Mutex::default(),
            receivers: receivers::start().await,
            manners: tokio::sync::Mutex::default(),
            api_key,
            troubles,
            moments: Moments::default(),
            _configurations: configurations,
        })
    }

    /// Starts all services.
    pub async fn start(&self) {
        for service in &self.services {
            let process = service.start().await;
            *service.process.lock().await = Some(process);
        }
    }

    /// Watches the processes indefinitely. Notes each unexpected exit and restarts the process.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            for service in &self.services {
                // Locked: a fault is being injected into it.
                let Ok(mut place) = service.process.try_lock() else { continue };
                let Some(status) = place.as_mut().and_then(super::service::Process::ended) else {
                    continue;
                };
                let mut process = place.take().expect("it was there");
                process.wait().await;
                let said = process.said();
                self.troubles.exited(service.number, "by itself", Some(status), &said);
                service.move_to(None);
                *place = Some(service.start().await);
            }
        }
    }

    /// Stops Postgres, waits, restarts it on another port, and points the proxies there.
    pub async fn restart_postgres(&self, immediately: bool, down: Duration) {
        let mut place = self.postgres.lock().await;
        let _outage = self.moments.outage(None);
        let server = place.take().expect("it runs");
        if immediately {
            let data = server.log_path().with_file_name("data");
            let text = std::fs::read_to_string(data.join("postmaster.pid")).expect("its pid");
            let pid = text.lines().next().and_then(|pid| pid.trim().parse().ok());
            let pid = pid.and_then(rustix::process::Pid::from_raw).expect("its pid");
            rustix::process::kill_process(pid, rustix::process::Signal::QUIT).expect("signalled");
        }
        server.stop().await.expect("it stops");
        tokio::time::sleep(down).await;
        let server = Server::start(&self.programs, &self.folder, Mode::Durable).await;
        let server = server.expect("it starts again");
        for service in &self.services {
            service.database.lead_to(loopback(server.port()));
        }
        *place = Some(server);
        drop(place);
        self.postgres_is_up();
    }

    pub fn postgres_is_up(&self) {
        self.moments.postgres_up.lock().expect("not poisoned").push(now());
    }

    /// Where the database is now, past every proxy.
    pub async fn database_url(&self) -> String {
        self.postgres.lock().await.as_ref().expect("it runs").url(DATABASE)
    }

    /// A connection past every proxy; waits until there is one.
    pub async fn admin(&self) -> PgConnection {
        for _ in 0..1000 {
            let url = self.database_url().await;
            if let Ok(connection) = PgConnection::connect(&url).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Postgres does not answer any more")
    }

    /// Keeps a transaction open, as a forgotten `psql` does, so that no dead row can be removed.
    /// Where Postgres ends it, opens another one.
    pub async fn hold_a_snapshot(&self) {
        loop {
            let mut session = self.admin().await;
            let begun = async {
                session.execute("begin isolation level repeatable read").await?;
                session.execute("select count(*) from verifications").await
            };
            let mut alive = begun.await.is_ok();
            while alive {
                tokio::time::sleep(Duration::from_secs(1)).await;
                alive = session.execute("select 1").await.is_ok();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits a little for this process to hold a lease, and tells whether it does. A process that
    /// only accepts is always at work.
    pub async fn until_it_works(&self, service: &Service) -> bool {
        if service.role == "api" {
            return true;
        }
        let mut db = self.admin().await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            let busy = sqlx::query_scalar(
                "select exists (select from verifications v where lease_token is not null and $1 =
                     (select service from lease_log l where l.verification_id = v.id
                      order by l.id desc limit 1))",
            )
            .bind(i32::try_from(service.number).expect("a small number"))
            .fetch_one(&mut db)
            .await;
            match busy {
                Ok(true) => return true,
                Ok(false) => tokio::time::sleep(Duration::from_millis(5)).await,
                // Postgres may be restarting.
                Err(_) => return false,
            }
        }
        false
    }

    /// Waits a little for a start whose call is under way, at this service or at any, and tells
    /// whether there is one.
    pub async fn until_it_starts_one(&self, service: Option<&Service>) -> bool {
        let service = service.map(|of| i32::try_from(of.number).expect("a small number"));
        let mut db = self.admin().await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let busy = sqlx::query_scalar(
                "select exists (select from starts join start_log l using (verification_id)
                     where call_token is not null and answered_at is null
                         and asked_at > now() - interval '2 s'
                         and ($1::int is null or l.service = $1))",
            )
            .bind(service)
            .fetch_one(&mut db)
            .await;
            match busy {
                Ok(true) => return true,
                Ok(false) => tokio::time::sleep(Duration::from_millis(5)).await,
                // Postgres may be restarting.
                Err(_) => return false,
            }
        }
        false
    }

    /// From now on the database's clock is that far ahead.
    pub async fn is_later(&self, minutes: i32) {
        let later = format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return statement_timestamp() + interval '{minutes} minutes'"
        );
        let mut db = self.admin().await;
        db.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(later))).await.expect("another clock");
    }

    /// Ends every lasting fault of the network and the provider.
    pub fn heal(&self) {
        self.provider.fail_all(None);
        for receiver in &self.receivers {
            receiver.behave(receivers::Manner::Answers);
        }
        for service in &self.services {
            for proxy in [&service.database, &service.provider] {
                proxy.refuse(false);
                proxy.stall(false);
                proxy.delay(Duration::ZERO);
                proxy.lose_nothing();
            }
        }
    }

    pub async fn end(&self) {
        if let Some(server) = self.postgres.lock().await.take() {
            server.stop().await.expect("it stops");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The database URL through the proxy, with the name of the service.
fn through(url: &str, proxy: &Proxy, service: usize) -> String {
    let mut url = Url::parse(url).expect("a URL");
    url.set_port(Some(proxy.address().port())).expect("a port");
    url.query_pairs_mut().append_pair("options[harness.service]", &service.to_string());
    url.into()
}

async fn prepare(server: &Server) -> String {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connected");
    connection.execute("create database faults").await.expect("a database");
    connection.close().await.expect("closed");
    let url = server.url(DATABASE);
    let timeout = Duration::from_secs(10);
    let settings = Settings { url: url.clone().into(), max_connections: 2, timeout, schema: None };
    let store = Store::new(&settings).expect("a good URL");
    store.migrate().await.expect("migrations apply");
    let api_key = make_key(&store, &Scope::ALL).await;
    store.close().await;
    let mut connection = PgConnection::connect(&url).await.expect("connected");
    connection.execute(sqlx::raw_sql(LEASE_LOG)).await.expect("the lease log");
    connection.close().await.expect("closed");
    api_key
}

/// Where the provider's spare region answers, past every proxy.
async fn spare_region(sandbox: &Sandbox) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let spare = sandbox.spare();
    tokio::spawn(async move { spare.serve(listener, std::future::pending()).await });
    address
}

/// Short leases and backoffs make the run quick. A verification may fail as often as it likes,
/// because all faults are injected: a dead letter is a finding.
fn configuration(
    database: &str,
    provider: SocketAddr,
    spare: SocketAddr,
    edge: SocketAddr,
) -> String {
    let done = starts::DONE;
    format!(
        r#"
[http]
listen = "127.0.0.1:0"
[operations]
listen = "127.0.0.1:0"
[database]
url = "{database}"
max_connections = 8
timeout_seconds = 2
[sources.app]
secrets = ["{SECRET}"]
return_urls = ["{done}"]
[provider]
endpoint = "http://{provider}"
access_key_id = "provider-key"
access_key_secret = "provider-secret"
queries_per_second = {QUERIES_PER_SECOND:?}
connect_timeout_ms = 1000
timeout_ms = 4000
[provider.face_verify]
endpoints = ["http://{provider}", "http://{spare}"]
callback_url = "http://{edge}/callback"
[images]
mode = "off"
[webhooks]
allow_private = ["127.0.0.1"]
[[vault.keys]]
id = "test"
secret = "{}"
[worker]
lease_seconds = {LEASE_SECONDS:?}
drain_seconds = 2
unfinished_schedule_ms = [100, 200, 400, 400, 400, 400, 10000]
backoff_first_ms = 20
backoff_longest_ms = 1000
unreadable_tries = 1000000
transient_tries = 1000000
longest_probe_seconds = 1
"#,
        vault_secret("test")
    )
}
