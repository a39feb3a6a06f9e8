//! The connection pool, set up so that no acknowledged write can be lost.
//!
//! sqlx 0.9.0 can forget that a session is inside a transaction when `begin()` is cancelled
//! (upstream #4393, #4349, #3645): the next write on it reports success and is rolled back later.
//! So: every connection coming back is asked whether it is inside a transaction and thrown away
//! if it is, or if it does not answer; there is no reaper (it can spin), and only a connection that
//! is suspect is tested before use (`sessions.rs`). The test `a_cancelled_begin_loses_no_later_write`
//! guards this.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tokio::time::Instant;

use super::error::{Error, Place, Result};
use super::schema_name::SchemaName;
use super::servers::{self, Servers};
use super::session_faults::{Faults, is_socket};
use super::sessions::Sessions;
use super::statements::statements;
use super::tls::Protection;
use crate::causes::{self, Cause, Service};

/// How to reach Postgres.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free connection, and for one statement.
    pub timeout: Duration,
    /// The schema of the tables; `None`: the one that the role's `search_path` leads to.
    pub schema: Option<SchemaName>,
}

/// The database, as the layers above see it. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: Sessions,
    pub(super) servers: Servers,
    pub(super) schema: Option<SchemaName>,
    timeout: Duration,
    protection: Protection,
    faults: Faults,
    writable: Arc<Mutex<Writable>>,
    pub(super) installation: Arc<OnceLock<String>>,
}

/// Every statement here is short and goes by index, and is planned once per connection: planning
/// `ACCEPT` anew for each batch took longer than running it. A plan made while a table was small
/// serves when it is large, so it must not scan.
const PLANS: &str =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";
/// How long [`Store::takes_writes`] repeats what it found.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// What each session begins with. sqlx opens the sockets and offers no options for them, so the
/// server's end does what both ends need: its probes keep the flow alive in a NAT or balancer
/// between, and it lets go of a process of ours that vanished. The answer is whether it is a standby.
fn session(settings: &Settings) -> String {
    let unanswered = (settings.timeout * 2).as_millis();
    let path = settings.schema.as_ref().map(SchemaName::search_path).unwrap_or_default();
    format!(
        "{path}; {PLANS}; set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; \
         set tcp_keepalives_count = 3; set tcp_user_timeout = {unanswered}; \
         select pg_is_in_recovery() as standby"
    )
}

/// Whether the database took writes, and when it said so.
type Writable = Option<(Instant, bool)>;

impl Store {
    /// Checks the URL; connects lazily, so that a service may start before its database does.
    pub fn new(settings: &Settings) -> Result<Self> {
        let (all, protection) = parse(settings)?;
        if let Protection::Weaker(sslmode) = protection {
            tracing::warn!(sslmode, "connections to Postgres can be read or changed on their way");
        }
        let faults = Faults::default();
        let (connected, before, after) = (faults.clone(), faults.clone(), faults.clone());
        let servers = Servers::new(all, faults.clone());
        let session = session(settings);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .min_connections(0)
            .idle_timeout(None)
            .max_lifetime(None)
            // A little less than a statement's limit, so that the caller learns what was missing.
            .acquire_timeout(settings.timeout.mul_f32(0.95))
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                // No more than this: a pool that held itself would never be dropped.
                let (session, faults) = (session.clone(), connected.clone());
                Box::pin(async move {
                    let row = sqlx::raw_sql(AssertSqlSafe(session)).fetch_one(connection).await?;
                    if row.try_get("standby")? {
                        faults.found_standby();
                        // Any error makes the pool close the connection and try again.
                        return Err(sqlx::Error::PoolTimedOut);
                    }
                    Ok(())
                })
            })
            .before_acquire(move |connection, meta| {
                let faults = before.clone();
                Box::pin(async move { Ok(faults.fit(connection, meta).await) })
            })
            .after_release(move |connection, meta| {
                let faults = after.clone();
                Box::pin(async move { Ok(faults.may_rest(connection, meta).await) })
            })
            .connect_lazy_with(PgConnectOptions::clone(&servers.current()));
        servers.lead(&pool);
        let pool = Sessions::new(pool, servers.clone(), faults.clone());
        let (writable, installation) = (Arc::default(), Arc::default());
        Ok(Self {
            pool,
            servers,
            schema: settings.schema.clone(),
            timeout: settings.timeout,
            protection,
            faults,
            writable,
            installation,
        })
    }

    /// The settings could be used; says nothing about whether Postgres is there.
    pub fn check(settings: &Settings) -> Result<()> {
        parse(settings).map(drop)
    }

    /// Runs one statement under the time limit, and once more if the connection turned out to be
    /// dead. Only for statements that may be repeated: reads, and writes that find their own
    /// earlier effect (keyed inserts, fenced updates). Not again where the time is over already: a
    /// pool that found no connection has tried often enough, and somebody waits.
    #[track_caller]
    pub(super) fn run<T, F>(&self, statement: impl Fn() -> F) -> impl Future<Output = Result<T>>
    where
        F: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        let at = Place::here();
        async move {
            let began = Instant::now();
            match self.once_at(statement(), at).await {
                Err(Error::Unavailable(_)) if began.elapsed() < self.timeout / 2 => {
                    self.once_at(statement(), at).await
                }
                outcome => outcome,
            }
        }
    }

    /// Runs one statement under the time limit.
    #[track_caller]
    pub(super) fn once<T, F>(&self, statement: F) -> impl Future<Output = Result<T>>
    where
        F: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        self.once_at(statement, Place::here())
    }

    async fn once_at<T, F>(&self, statement: F, at: Place) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        let began = Instant::now();
        let mut statement = pin!(statement);
        let outcome = match tokio::time::timeout(self.timeout, &mut statement).await {
            Ok(Err(sqlx::Error::PoolTimedOut)) => {
                let cause = self.faults.refused_since(began);
                Err(cause.unwrap_or_else(|| Error::of(&sqlx::Error::PoolTimedOut, at)))
            }
            Ok(outcome) => outcome.map_err(|error| {
                Error::from_connecting(&error, is_socket(&self.servers.current()), at)
            }),
            Err(_) => {
                // Before the statement gives its connection back.
                self.faults.nobody_answered();
                Err(Error::Timeout(self.timeout))
            }
        };
        if let Err(error) = &outcome
            && !error.refuses_data()
        {
            causes::count(Service::Postgres, error.cause());
        }
        outcome
    }

    /// Whether connections that began then are still to be trusted.
    pub(super) fn distrusts(&self, began: Instant) -> bool {
        self.faults.distrusts(began)
    }

    /// Whether the database takes writes: a standby does not, nor a primary that is set read-only.
    /// For a second the answer is the last one.
    pub async fn takes_writes(&self) -> Result<bool> {
        let known = *self.lock_writable();
        if let Some((_, found)) = known.filter(|(at, _)| at.elapsed() < CACHED_FOR) {
            return Ok(found);
        }
        let found = match self.run(|| servers::server_takes_writes(&self.pool)).await {
            Err(error) if error.cause() == Cause::Standby => false,
            outcome => outcome?,
        };
        if !found {
            // It may be this session alone: the next question goes to a new one.
            self.faults.session_is_wrong();
            self.servers.look_again();
        }
        *self.lock_writable() = Some((Instant::now(), found));
        Ok(found)
    }

    fn lock_writable(&self) -> std::sync::MutexGuard<'_, Writable> {
        self.writable.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How to open a connection outside the pool (for `LISTEN`).
    pub(super) fn connect_options(&self) -> Arc<PgConnectOptions> {
        self.servers.current()
    }

    /// Postgres answers.
    pub async fn ping(&self) -> Result<()> {
        self.run(|| async { ping().execute(&self.pool).await.map(drop) }).await
    }

    /// How connections are protected on their way.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Connections now open and now idle.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool().size(), self.pool.idle())
    }

    /// Most connections there may be.
    pub fn max_connections(&self) -> u32 {
        self.pool().options().get_max_connections()
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The pool itself, for tests that look into tables or misuse it on purpose.
    pub fn pool(&self) -> &PgPool {
        self.pool.pool()
    }
}

fn parse(settings: &Settings) -> Result<(Vec<PgConnectOptions>, Protection)> {
    let (all, protection) = servers::read(settings.url.expose_secret())?;
    // Statements stand in the source; lines about them would have fields that are not listed.
    let named =
        |options: PgConnectOptions| options.application_name("verdict").disable_statement_logging();
    Ok((all.into_iter().map(named).collect(), protection))
}

statements! {
    execute ping() = "select 1";
}
