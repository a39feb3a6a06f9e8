//! Finds out whether a pooler between us and Postgres gives each transaction another session.
//!
//! `PgBouncer` does so with `pool_mode = transaction`. Wake-ups, the lock of migrations and the settings
//! of a session would be lost without an error, or would reach other clients. A service therefore
//! does not start behind one.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};

use super::error::{Error, Result};
use super::pool::Store;

/// How long the search waits for the database, as long as the rest of a start does: a slow machine must
/// not hide a pooler. Where a pool has no session left, nothing is found out, and the start goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for commands that end soon.
const PATIENCE_OF_COMMANDS: Duration = Duration::from_secs(10);

/// How thorough the search for a pooler of transactions is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolerSearch {
    /// With one more connection: a pooler usually gives the next client the session used last. For
    /// commands that end soon.
    Usual,
    /// With two, of which the second finds a pooler that takes turns: for processes that rely on wake-ups
    /// or on the lock of migrations.
    Thorough,
}

impl PoolerSearch {
    /// Sessions beside the first.
    const fn others(self) -> usize {
        match self {
            Self::Usual => 1,
            Self::Thorough => 2,
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Usual => PATIENCE_OF_COMMANDS,
            Self::Thorough => PATIENCE,
        }
    }
}

impl Store {
    /// `first`: a connection that is open already.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionPooler`].
    pub(super) async fn refuse_transaction_pooler(
        &self,
        first: Option<PgConnection>,
        search: PoolerSearch,
    ) -> Result<()> {
        let current = self.servers.current();
        let limit = search.patience();
        match tokio::time::timeout(limit, shares_sessions(&current, first, search)).await {
            Ok(Ok(true)) => Err(Error::TransactionPooler),
            // A failed connection is reported by the statement that needs it.
            Ok(Ok(false) | Err(_)) => Ok(()),
            Err(_) => {
                tracing::warn!(
                    "no second database session in time: a pooler of transactions may be in use"
                );
                Ok(())
            }
        }
    }
}

/// Whether a setting of one session is found in another one, or is lost by its own.
async fn shares_sessions(
    options: &PgConnectOptions,
    first: Option<PgConnection>,
    search: PoolerSearch,
) -> std::result::Result<bool, sqlx::Error> {
    let mut first = match first {
        Some(first) => first,
        None => PgConnection::connect_with(options).await?,
    };
    let token = read(
        &mut first,
        "select set_config('verdict.session', gen_random_uuid()::text, false) as found",
    )
    .await?;
    let mut others = Vec::with_capacity(search.others());
    let mut shared = false;
    for _ in 0..search.others() {
        let mut other = PgConnection::connect_with(options).await?;
        // Each keeps its session to the end, inside a transaction.
        let begun = "begin; select current_setting('verdict.session', true) as found";
        shared |= read(&mut other, begun).await? == token;
        others.push(other);
    }
    let kept = read(&mut first, "select current_setting('verdict.session', true) as found").await?;
    for connection in others.into_iter().chain([first]) {
        let _ = connection.close().await;
    }
    Ok(shared || kept != token)
}

/// In the simple protocol: a pooler of transactions may not know prepared statements.
async fn read(
    connection: &mut PgConnection,
    statement: &'static str,
) -> std::result::Result<Option<String>, sqlx::Error> {
    sqlx::raw_sql(statement).fetch_one(connection).await?.try_get("found")
}
