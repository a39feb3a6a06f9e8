//! Migrations: embedded, forward-only, run by `verdict migrate`.
//!
//! One process migrates at a time. The lock is tried, never waited for in the database: an index
//! that is built concurrently waits for every statement under way, so one that waits for the lock
//! would be waited for in turn.

use std::collections::BTreeSet;
use std::fmt;

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use super::{Error, Result, Store};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Names the lock among the advisory locks of a database: "verdict" in ASCII.
const LOCK: i64 = 0x0076_6572_6469_6374;
/// Between two tries to get it.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// How the database's schema relates to this binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// What this binary was built for.
    Current,
    /// Older or empty: run `verdict migrate`.
    Behind,
    /// It has migrations this binary does not know.
    Ahead,
    /// An applied migration differs from the one in this binary.
    Different,
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Behind => "older than this binary: run `verdict migrate`",
            Self::Ahead => "newer than this binary: run the newer binary",
            Self::Different => "not the one this binary knows: an applied migration was changed",
        })
    }
}

impl Store {
    /// Applies what is missing, under Postgres' advisory lock: any number may try at once.
    pub async fn migrate(&self) -> Result<()> {
        match self.schema_state().await? {
            SchemaState::Ahead | SchemaState::Different => {
                return Err(Error::Schema(self.schema_state().await?));
            }
            SchemaState::Current => return Ok(()),
            SchemaState::Behind => {}
        }
        // A connection of its own, which takes the lock along when it ends.
        let mut connection = PgConnection::connect_with(&self.options).await?;
        while !sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await?
        {
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let migrator = Migrator {
            locking: false,
            ..Migrator::with_migrations(MIGRATOR.iter().cloned().collect())
        };
        migrator.run(&mut connection).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            _ => Error::Schema(SchemaState::Different),
        })?;
        connection.close().await.map_err(Error::from)
    }

    /// Compares the applied migrations with the embedded ones.
    pub async fn schema_state(&self) -> Result<SchemaState> {
        let applied: Vec<(i64, Vec<u8>)> = match self
            .run(|| async {
                sqlx::query_as(
                    "select version, checksum from _sqlx_migrations where success order by version",
                )
                .fetch_all(&self.pool)
                .await
            })
            .await
        {
            // No such table: an empty database.
            Err(Error::Refused { code, .. }) if code == "42P01" => Vec::new(),
            other => other?,
        };
        let known: BTreeSet<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        if applied.iter().any(|(version, _)| !known.contains(version)) {
            return Ok(SchemaState::Ahead);
        }
        for migration in MIGRATOR.iter() {
            match applied.iter().find(|(version, _)| *version == migration.version) {
                None => return Ok(SchemaState::Behind),
                Some((_, checksum)) if checksum[..] != migration.checksum[..] => {
                    return Ok(SchemaState::Different);
                }
                Some(_) => {}
            }
        }
        Ok(SchemaState::Current)
    }

    /// `Ok` only on exactly the schema this binary was built for.
    pub async fn require_current_schema(&self) -> Result<()> {
        match self.schema_state().await? {
            SchemaState::Current => Ok(()),
            other => Err(Error::Schema(other)),
        }
    }
}
