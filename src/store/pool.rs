//! The connection pool, set up so that no acknowledged write can be lost.
//!
//! sqlx 0.9.0 can forget that a session is inside a transaction when `begin()` is cancelled
//! (upstream #4393, #4349, #3645): the next write on it reports success and is rolled back later.
//! So: every connection coming back is asked whether it is inside a transaction and thrown away
//! if it is, or if it does not answer; there is no reaper (it can spin) and no test before use
//! (a round trip for nothing). The test `a_cancelled_begin_loses_no_later_write` guards this.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Row};

use super::tls::{self, Protection};
use super::{Error, Result};

/// How to reach Postgres.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free connection, and for one statement.
    pub timeout: Duration,
}

/// The database, as the layers above see it. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: PgPool,
    pub(super) options: Arc<PgConnectOptions>,
    timeout: Duration,
    protection: Protection,
    last_fault: Arc<Mutex<Option<Instant>>>,
}

/// Every statement here is short and goes by index, and is planned once per connection: planning
/// `ACCEPT` anew for each batch took longer than running it. A plan made while a table was small
/// serves when it is large, so it must not scan.
const SESSION: &str =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";

impl Store {
    /// Checks the URL; connects lazily, so that a service may start before its database does.
    pub fn new(settings: &Settings) -> Result<Self> {
        let (options, protection) = parse(settings)?;
        if let Protection::Weaker(sslmode) = protection {
            tracing::warn!(sslmode, "connections to Postgres can be read or changed on their way");
        }
        let last_fault = Arc::new(Mutex::new(None));
        let faults = Arc::clone(&last_fault);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .min_connections(0)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(settings.timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
            })
            .before_acquire(move |_, meta| {
                // One broken connection means a restarted server: its siblings are broken too.
                let fault: Option<Instant> = faults.lock().ok().and_then(|fault| *fault);
                let older = fault.is_some_and(|at| at.elapsed() < meta.age);
                Box::pin(async move { Ok(!older) })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Inside a transaction these two differ, by the time since its BEGIN. Only in
                    // the simple protocol: in the extended one they differ always, because the
                    // transaction begins at Bind and the statement at Execute.
                    let asked = sqlx::raw_sql(
                        "select transaction_timestamp() <> statement_timestamp() as inside",
                    )
                    .fetch_one(connection);
                    match tokio::time::timeout(Duration::from_secs(2), asked).await {
                        Ok(Ok(row)) => Ok(!row.try_get::<bool, _>("inside")?),
                        Ok(Err(_)) | Err(_) => Ok(false),
                    }
                })
            })
            .connect_lazy_with(options.clone());
        let options = Arc::new(options);
        Ok(Self { pool, options, timeout: settings.timeout, protection, last_fault })
    }

    /// The settings could be used; says nothing about whether Postgres is there.
    pub fn check(settings: &Settings) -> Result<()> {
        parse(settings).map(drop)
    }

    /// Runs one statement under the time limit, and once more if the connection turned out to be
    /// dead. Only for statements that may be repeated: reads, and writes that find their own
    /// earlier effect (keyed inserts, fenced updates). Not again where the time is over already: a
    /// pool that found no connection has tried often enough, and somebody waits.
    pub(super) async fn run<T, F>(&self, statement: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        let began = Instant::now();
        match self.once(statement()).await {
            Err(Error::Unavailable(_)) if began.elapsed() < self.timeout / 2 => {
                self.once(statement()).await
            }
            outcome => outcome,
        }
    }

    /// Runs one statement under the time limit.
    pub(super) async fn once<T, F>(&self, statement: F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        let Ok(outcome) = tokio::time::timeout(self.timeout, statement).await else {
            return Err(Error::Timeout(self.timeout));
        };
        outcome.map_err(|error| {
            if is_broken_connection(&error)
                && let Ok(mut fault) = self.last_fault.lock()
            {
                *fault = Some(Instant::now());
            }
            Error::from(error)
        })
    }

    /// How to open a connection outside the pool (for `LISTEN`).
    pub(super) fn connect_options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Postgres answers.
    pub async fn ping(&self) -> Result<()> {
        self.run(|| async { sqlx::query("select 1").execute(&self.pool).await.map(drop) }).await
    }

    /// How connections are protected on their way.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Connections now open and now idle.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Most connections there may be.
    pub fn max_connections(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The pool itself, for tests that look into tables or misuse it on purpose.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// The server went away under us, as opposed to being busy.
fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(refusal) => {
            refusal.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

fn parse(settings: &Settings) -> Result<(PgConnectOptions, Protection)> {
    let (options, protection) = tls::read(settings.url.expose_secret())?;
    // Statements stand in the source; lines about them would have fields that are not listed.
    Ok((options.application_name("verdict").disable_statement_logging(), protection))
}
