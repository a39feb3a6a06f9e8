//! Migrations: embedded, forward-only, run by `verdict migrate`; and which schemas a binary takes.
//!
//! A schema grows before it shrinks: each migration leaves in `schema_floor` the oldest binaries
//! that it still serves, so those go on while newer ones take their place (docs/upgrades.md).
//!
//! One process migrates at a time. The lock is tried, never waited for in the database: an index
//! that is built concurrently waits for every statement under way, so one that waits for the lock
//! would be waited for in turn.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::error::{Error, Result};
use super::pool::Store;
use super::schema_name::SchemaName;
use super::schema_state::SchemaState;
use super::server_version::is_supported_server;
use super::statements::statements;
use crate::domain::counted::counted;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Names the lock among the advisory locks of a database: "verdict" in ASCII.
const LOCK: i64 = 0x0076_6572_6469_6374;
/// Between two tries to get it.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long a migration waits for a table's lock while everybody who comes after it waits behind it.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries to get it.
const LOCK_PAUSE: Duration = Duration::from_millis(500);
/// How often it is tried before somebody has to look who holds it.
const LOCK_PATIENCE: Duration = Duration::from_mins(5);

/// What `migrate` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How the schema is now.
    pub state: SchemaState,
    /// How many migrations this process applied.
    pub applied: usize,
    /// Version and name of each.
    pub names: Vec<String>,
}

/// A migration that is applied next, unless it was applied before.
#[derive(Clone, Copy, Debug)]
pub struct Applying<'a> {
    /// From 1.
    pub number: usize,
    pub total: usize,
    pub version: i64,
    pub name: &'a str,
}

impl fmt::Display for Applying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, total, version, name } = self;
        write!(f, "migration {number} of {total}: {version}  {name}")
    }
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.iter().try_for_each(|name| writeln!(f, "{name}"))?;
        match self.applied {
            0 => write!(f, "nothing to do: the schema is {}", self.state),
            applied => {
                let applied = counted(applied, "migration", "migrations");
                write!(f, "applied {applied}: the schema is {}", self.state)
            }
        }
    }
}

async fn migrations_in(connection: &mut PgConnection) -> Result<i64> {
    let table = has_migrations();
    if !table.fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let count = count_migrations();
    Ok(count.fetch_one(connection).await?)
}

impl Store {
    /// Applies what is missing, one process at a time: any number may try at once. While
    /// others serve, none of them is kept waiting for longer than a second: a migration that
    /// cannot have its lock lets them pass and tries again.
    pub async fn migrate(&self) -> Result<Migrated> {
        self.migrate_with(&mut |_| ()).await
    }

    /// The same. Calls `report` with each migration before it is applied.
    pub async fn migrate_with(
        &self,
        report: &mut (dyn FnMut(Applying<'_>) + Send),
    ) -> Result<Migrated> {
        self.require_supported_server().await?;
        self.require_utf8().await?;
        match self.schema_state().await? {
            state if state.serves() => {
                self.months().try_to_make_ahead().await?;
                return Ok(Migrated { state, applied: 0, names: Vec::new() });
            }
            SchemaState::Behind => {}
            state => return Err(Error::Schema(state)),
        }
        let started = Instant::now();
        let mut names = Vec::new();
        loop {
            match self.try_to_migrate(&mut names, report).await {
                Err(Error::Refused { code, .. })
                    if ["55P03", "40P01"].contains(&code.as_str())
                        && started.elapsed() < LOCK_PATIENCE =>
                {
                    tracing::warn!("the migration waits for a lock that a long transaction holds");
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                outcome => {
                    outcome?;
                    self.months().try_to_make_ahead().await?;
                    let state = SchemaState::Current;
                    return Ok(Migrated { state, applied: names.len(), names });
                }
            }
        }
    }

    async fn try_to_migrate(
        &self,
        names: &mut Vec<String>,
        report: &mut (dyn FnMut(Applying<'_>) + Send),
    ) -> Result<()> {
        // A connection of its own, which takes its locks and settings along when it ends.
        let mut connection = PgConnection::connect_with(&self.connect_options()).await?;
        if let Some(schema) = &self.schema {
            // Asked first: who may use a schema need not have the right to create one.
            if !has_schema(schema.as_str()).fetch_one(&mut connection).await? {
                let create = format!("create schema if not exists \"{schema}\"");
                sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
            }
            sqlx::raw_sql(AssertSqlSafe(schema.search_path())).execute(&mut connection).await?;
        }
        let lock: i64 = lock_of_schema(LOCK).fetch_one(&mut connection).await?;
        while !try_lock(lock).fetch_one(&mut connection).await? {
            if let Some(holder) = idle_holder(lock).fetch_one(&mut connection).await? {
                return Err(Error::MigrationLock(holder));
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let migrator = Migrator {
            locking: false,
            ..Migrator::with_migrations(MIGRATOR.iter().cloned().collect())
        };
        let mut known = migrations_in(&mut connection).await?;
        let total = migrator.iter().count();
        for (number, migration) in (1..).zip(migrator.iter()) {
            let name = &migration.description;
            report(Applying { number, total, version: migration.version, name });
            // What is built beside the traffic holds nobody up, and must not be given up half done.
            let wait = if migration.no_tx { Duration::ZERO } else { LOCK_WAIT };
            let limit = format!("set lock_timeout = {}", wait.as_millis());
            sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut connection).await?;
            migrator.run_to(migration.version, &mut connection).await.map_err(
                |error| match error {
                    MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                        error.into()
                    }
                    _ => Error::Schema(SchemaState::Different),
                },
            )?;
            let now = migrations_in(&mut connection).await?;
            if now > known {
                names.push(format!("{}  {}", migration.version, migration.description));
            }
            known = now;
        }
        let _ = connection.close().await;
        Ok(())
    }

    /// Compares the applied migrations with the embedded ones.
    pub async fn schema_state(&self) -> Result<SchemaState> {
        let applied: Vec<(i64, Vec<u8>)> = match self.run(|| applied().fetch_all(&self.pool)).await
        {
            // No such table: an empty database, or one whose tables this role does not see.
            Err(Error::Refused { code, .. }) if code == "42P01" => match self.elsewhere().await? {
                Some(schema) => return Err(Error::Unseen(schema)),
                None => Vec::new(),
            },
            other => other?,
        };
        let known: BTreeSet<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        let newer = applied.iter().any(|(version, _)| !known.contains(version));
        for migration in MIGRATOR.iter() {
            match applied.iter().find(|(version, _)| *version == migration.version) {
                Some((_, checksum)) if checksum[..] != migration.checksum[..] => {
                    return Ok(SchemaState::Different);
                }
                Some(_) => {}
                // It has some that we lack and lacks some that we have: of another line.
                None if newer => return Ok(SchemaState::Ahead),
                None => return Ok(SchemaState::Behind),
            }
        }
        if !newer {
            return Ok(SchemaState::Current);
        }
        let newest_known = known.last().copied().unwrap_or_default();
        let floor = self.schema_floor().await?;
        let serves = floor.is_some_and(|oldest_served| newest_known >= oldest_served);
        Ok(if serves { SchemaState::Newer } else { SchemaState::Ahead })
    }

    /// A schema that has our tables although a plain name does not find them. Tables that another
    /// process has created since we looked are found by it.
    async fn elsewhere(&self) -> Result<Option<String>> {
        let wanted = self.schema.as_ref().map(SchemaName::as_str);
        self.run(|| schema_of_tables(wanted).fetch_optional(&self.pool)).await
    }

    /// An older server would fail in the middle of a migration, or in a rare statement.
    async fn require_supported_server(&self) -> Result<()> {
        let version: String = self.run(|| server_version().fetch_one(&self.pool)).await?;
        if is_supported_server(&version) { Ok(()) } else { Err(Error::OldServer(version)) }
    }

    /// In any other encoding some names cannot be stored, and the callbacks of those people fail.
    pub async fn require_utf8(&self) -> Result<()> {
        let encoding: String = self.run(|| encoding().fetch_one(&self.pool)).await?;
        if encoding == "UTF8" { Ok(()) } else { Err(Error::Encoding(encoding)) }
    }

    /// The newest migration of the oldest binaries that the schema serves; `None`: it does not
    /// say, or not to us.
    async fn schema_floor(&self) -> Result<Option<i64>> {
        let floor = self.run(|| floor().fetch_optional(&self.pool)).await;
        match floor {
            Err(Error::Refused { code, .. }) if code == "42P01" || code == "42501" => Ok(None),
            other => other,
        }
    }

    /// `Ok` only on a schema that serves this binary.
    pub async fn require_fit_schema(&self) -> Result<()> {
        self.require_utf8().await?;
        match self.schema_state().await? {
            state if state.serves() => Ok(()),
            other => Err(Error::Schema(other)),
        }
    }
}

statements! {
    scalar has_migrations() -> bool = "select to_regclass('_sqlx_migrations') is not null";

    scalar count_migrations() -> i64 = "select count(*) from _sqlx_migrations where success";

    scalar server_version() -> String = "select current_setting('server_version')";

    scalar has_schema(name: &str) -> bool = "select to_regnamespace($1) is not null";

    /// Each schema of a database has its own lock. That of `public` is the one of older versions.
    scalar lock_of_schema(lock: i64) -> i64 =
        "select case coalesce(current_schema(), 'public') when 'public' then $1
             else hashtextextended(current_schema(), $1) end";

    scalar try_lock(lock: i64) -> bool = "select pg_try_advisory_lock($1)";

    /// Any user of the database can take an advisory lock. This is the user and process that has the
    /// lock of migrations although it cannot migrate; null: the holder may be migrating.
    scalar idle_holder(lock: i64) -> Option<String> =
        "select (select format('%s, process %s', a.usename, a.pid)
                 from pg_locks l join pg_stat_activity a on a.pid = l.pid
                 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                     and l.database = (select oid from pg_database where datname = current_database())
                     and (l.classid::bigint << 32 | l.objid::bigint) = $1
                     and not pg_has_role(a.usesysid, (
                         select relowner from pg_class where oid = to_regclass('_sqlx_migrations')), 'member')
                 limit 1)";

    row applied() -> (i64, Vec<u8>) =
        "select version, checksum from _sqlx_migrations where success order by version";

    scalar schema_of_tables(wanted: Option<&str>) -> String =
        "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relname = '_sqlx_migrations' and c.relkind = 'r'
             and exists (select from pg_class v where v.relname = 'verifications'
                             and v.relnamespace = n.oid)
             and not pg_table_is_visible(c.oid)
             and n.nspname = coalesce($1::text, n.nspname)
         order by 1 limit 1";

    scalar encoding() -> String = "select current_setting('server_encoding')";

    scalar floor() -> i64 = "select oldest_served from schema_floor";
}
