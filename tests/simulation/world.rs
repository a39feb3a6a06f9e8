//! The parts that all seeds share: a private Postgres, the configuration, the keys, the policy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use private_postgres::{Mode, Programs, Server, folder_of_this_process};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use time::OffsetDateTime;
use time::macros::datetime;
use url::Url;
use verdict::config::{Config, Environment};
use verdict::domain::ids::Ids;
use verdict::domain::scenes::Scenes;
use verdict::domain::webhook_endpoint::{DeliveryOrder, Signing, Start};
use verdict::policies::active::PolicySnapshot;
use verdict::policies::cache::PolicyCache;
use verdict::store::audit::AuditContext;
use verdict::store::{Settings, Store};
use verdict::vault::Vault;
use verdict::webhooks::endpoints::{EndpointOperations, Requested};
use verdict::webhooks::targets::Targets;
use verdict::worker::Sender;

use super::proxy::Sessions;

/// When every seed begins.
pub const START: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);
/// Calls a second for the account, as configured.
pub const QUERIES_PER_SECOND: f64 = 20.0;
/// The account.
pub const ACCOUNT: &str = "simulated";

const CONFIGURATION: &str = r#"
[http]
listen = "127.0.0.1:0"
[operations]
listen = "127.0.0.1:0"
[database]
url = "postgres://nobody@127.0.0.1/nothing"
[sources.app]
secrets = ["whsec_c2ltdWxhdGVkc2ltdWxhdGVkc2ltdWxhdGVkc2ltdWw="]
[provider]
account = "simulated"
endpoint = "http://127.0.0.1:1"
access_key_id = "simulated"
access_key_secret = "simulated"
queries_per_second = 20.0
[[vault.keys]]
id = "simulated"
secret = "c2ltdWxhdGVkLXNpbXVsYXRlZC1zaW11bGF0ZWQtMTI="
[images]
mode = "off"
[worker]
concurrency = 2
unfinished_schedule_ms = [700]
backoff_first_ms = 100
lease_seconds = 5
drain_seconds = 1
"#;

/// The clock that only the simulation moves, and what the reckoning needs to know of leases: who held
/// a verification, and which transaction ended that.
const HARNESS: &str = "
    create table sim_clock (at timestamptz not null);
    insert into sim_clock values ('2026-11-23 09:30:00Z');
    create or replace function verdict_now() returns timestamptz language sql stable parallel safe
        return (select at from sim_clock);
    create table sim_leases (
        place bigint generated always as identity primary key,
        at timestamptz not null default verdict_now(),
        verification_id uuid not null,
        attempt integer not null,
        callbacks integer not null,
        event text not null,
        is_probe boolean,
        transaction xid not null default pg_current_xact_id()::xid
    );
    create function note_lease() returns trigger language plpgsql as $$ begin
        if old.lease_token is not null then
            insert into sim_leases (verification_id, attempt, callbacks, event) values (old.id,
                old.attempts, old.callbacks,
                case when new.lease_token is null then 'ended' else 'overtaken' end);
        end if;
        if new.lease_token is not null then
            insert into sim_leases (verification_id, attempt, callbacks, event, is_probe) values
                (new.id, new.attempts, new.callbacks, 'claimed',
                 (select breaker <> 'closed' from accounts limit 1));
        end if;
        return null;
    end $$;
    create trigger note_lease after update on verifications for each row
        when (old.lease_token is distinct from new.lease_token) execute function note_lease()";

const TEMPLATE: &str = "simulation_template";

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// One database and what belongs to it.
pub struct World {
    pub upstream: SocketAddr,
    pub sessions: Arc<Sessions>,
    pub config: Config,
    pub vault: Arc<Vault>,
    pub policies: PolicySnapshot,
    /// Making one reads all certificates of the system.
    pub sender: Arc<Sender>,
    url: String,
    folder: tempfile::TempDir,
    next_folder: AtomicU32,
    seeds: AtomicU32,
}

/// A table is vacuumed after so many seeds.
const VACUUM_AFTER: u32 = 100;

impl World {
    /// Whether it is time to vacuum.
    pub fn wants_vacuum(&self) -> bool {
        self.seeds.fetch_add(1, Ordering::SeqCst) % VACUUM_AFTER == VACUUM_AFTER - 1
    }

    /// On a new database.
    pub fn new() -> Self {
        // In another thread and runtime: the time of the simulation's runtime is simulated.
        std::thread::spawn(|| runtime().block_on(Self::make())).join().expect("a world")
    }

    async fn make() -> Self {
        let server = tokio::task::spawn_blocking(server).await.expect("a server");
        let name = format!("simulation{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let mut connection =
            PgConnection::connect(&server.url("postgres")).await.expect("it answers");
        let create = format!("create database {name} template {TEMPLATE}");
        connection.execute(AssertSqlSafe(create)).await.expect("a database");
        connection.close().await.expect("closed");
        let url = server.url(&name);

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("verdict.toml");
        std::fs::write(&file, CONFIGURATION).expect("written");
        let config = Config::load(Some(&file), &Environment::new()).expect("good configuration");
        let vault = Arc::new(Vault::new(config.key_ring().expect("keys")));
        let store = store_at(&url, 2);
        let policies = prepare(&store, &vault).await;
        store.close().await;
        Self {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())),
            sessions: Arc::default(),
            config,
            vault,
            policies,
            sender: Arc::new(Sender::new(targets()).expect("a client")),
            url,
            folder,
            next_folder: AtomicU32::new(0),
            seeds: AtomicU32::new(0),
        }
    }

    /// The chain of the audit is whole after everything that happened.
    pub fn verify_audit(&self) {
        let url = self.url.clone();
        let verified = std::thread::spawn(move || {
            runtime().block_on(async {
                let store = store_at(&url, 2);
                let verified = verdict::audit_log::verify(&store, None, &[]).await;
                store.close().await;
                verified.map(drop).map_err(|fault| fault.to_string())
            })
        });
        assert_eq!(verified.join().expect("verified"), Ok(()));
    }

    /// A path for a socket, and the URL of the database through it.
    pub fn socket(&self) -> (PathBuf, String) {
        let number = self.next_folder.fetch_add(1, Ordering::SeqCst);
        let folder = self.folder.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let host = folder.to_str().expect("UTF-8").replace('/', "%2F");
        let url = Url::parse(&self.url).expect("a URL");
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let url = format!("postgres://{user}:{password}@{host}:5432{}", url.path());
        (folder.join(".s.PGSQL.5432"), url)
    }
}

fn targets() -> Targets {
    Targets::parse(["127.0.0.1"]).expect("a target")
}

/// The service's store at this URL.
pub fn store_at(url: &str, max_connections: u32) -> Store {
    let timeout = Duration::from_secs(5);
    let settings = Settings { url: url.to_owned().into(), max_connections, timeout, schema: None };
    Store::new(&settings).expect("a good URL")
}

async fn prepare(store: &Store, vault: &Vault) -> PolicySnapshot {
    let policy = policy::Policy::load(include_str!("../../config/policy.toml")).expect("a policy");
    let (digest, name, text) = (policy.digest(), policy.name(), policy.text());
    store.policies().seed_policy(digest, name, text, START).await.expect("a policy");
    store.vault_keys().use_vault_key(vault.primary_id(), START).await.expect("a key in use");
    let operations = EndpointOperations {
        store,
        targets: &targets(),
        vault: Some(vault),
        ids: &Ids::counted(1),
        max_endpoints: 1,
    };
    let requested = Requested {
        url: "http://127.0.0.1:1/".to_owned(),
        description: String::new(),
        types: None,
        biz_types: None,
        ordering: DeliveryOrder::Strict,
        signing: Signing::V1,
        start: Start::Now,
        max_in_flight: 3,
        requests_per_second: None,
    };
    let context = AuditContext { actor: "service".to_owned(), purpose: None, at: START };
    operations.add(&requested, &Scenes::EVERY, &context).await.expect("an endpoint");
    while store.events().number_step(1_000).await.expect("numbered") > 0 {}
    let cache = PolicyCache::default();
    PolicySnapshot::load(store, &cache).await.expect("policies").expect("one is active")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The server runs as long as this process and stops with it.
fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        std::thread::spawn(|| {
            runtime().block_on(async {
                let pg_bin = std::env::var_os("PG_BIN");
                let programs = Programs::find(pg_bin.as_deref().map(Path::new));
                let programs = programs.unwrap_or_else(|error| panic!("{error}"));
                let folder =
                    folder_of_this_process(Path::new(env!("CARGO_TARGET_TMPDIR")), "simulation");
                let server = Server::start(&programs, &folder, Mode::ThrowAway).await;
                let server = server.expect("a private Postgres");
                let mut connection =
                    PgConnection::connect(&server.url("postgres")).await.expect("it answers");
                let create = format!("create database {TEMPLATE}");
                connection.execute(AssertSqlSafe(create)).await.expect("a database");
                // It would lock tables when it likes. The simulation vacuums between two seeds.
                let settings = ["alter system set autovacuum = off", "select pg_reload_conf()"];
                for setting in settings {
                    connection.execute(setting).await.expect("a setting");
                }
                connection.close().await.expect("closed");
                let store = store_at(&server.url(TEMPLATE), 2);
                store.migrate().await.expect("migrations apply");
                store.pool().execute(HARNESS).await.expect("the harness");
                store.close().await;
                server
            })
        })
        .join()
        .expect("the server's thread")
    })
}
