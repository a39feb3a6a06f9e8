//! All SQL, one file per table family; each statement says what it protects.
//!
//! Every write is one statement in autocommit: it happens whole or not at all, costs one round
//! trip, and leaves no transaction for a cancelled future to forget. [`group_commit`] lets one
//! commit serve many callers.

mod ownership;
mod parameters;
mod pool;
mod schema;
mod sessions;
mod tls;
pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod backtests;
pub mod callbacks;
pub mod claims;
pub mod completions;
pub mod group_commit;
pub mod history;
pub mod images;
pub mod listing;
pub mod looks;
pub mod inspection;
pub mod material;
pub mod past;
pub mod policies;
pub mod proposals;
pub mod retention;
pub mod reviews;
pub mod signals;
pub mod tasks;
pub mod timeline;
pub mod vault_keys;
pub mod verifications;

pub use pool::{Settings, Store};
pub use schema::SchemaState;
pub use tls::Protection;

use std::time::Duration;

/// What can go wrong below. Messages name places and codes, never values: a database's own
/// message may quote the row.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be reached, is starting, stopping or read-only: try again later.
    #[error("the database is unavailable ({0})")]
    Unavailable(String),
    /// No TLS as `database.url` wants it: nothing was sent, the password neither.
    #[error("no trusted connection to the database: {0}")]
    Untrusted(&'static str),
    /// No answer in time; a write may or may not have happened.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The database refused the statement.
    #[error("the database refused a statement (SQLSTATE {code}{})", constraint.as_deref().map(|c| format!(", constraint {c}")).unwrap_or_default())]
    Refused {
        /// Five-character SQLSTATE.
        code: String,
        /// The constraint that refused, if one did.
        constraint: Option<String>,
    },
    /// A row that this version does not understand.
    #[error("the database holds a row that makes no sense: {0}")]
    Inconsistent(&'static str),
    /// `database.url` cannot be used as it is written.
    #[error("{0}")]
    Url(String),
    /// Names and texts of people need every character there is.
    #[error(
        "the database stores text as {0}, not as UTF8: create one with `create database verdict encoding 'UTF8' template template0` and use that"
    )]
    Encoding(String),
    /// The tables are there, and this role does not see them.
    #[error(
        "this database role does not see the schema {0}, which has Verdict's tables: grant it usage (config/roles.sql) and set its search_path"
    )]
    Unseen(String),
    /// The schema is not the one this binary was built for.
    #[error("the database schema is {0}")]
    Schema(SchemaState),
    /// A user who cannot migrate holds the lock of migrations.
    #[error(
        "{0} holds the lock of migrations and is not migrating: end it with pg_terminate_backend, then migrate again"
    )]
    MigrationLock(String),
}

impl Error {
    /// The same statement may succeed if tried again by itself.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Untrusted(_) | Self::Timeout(_) => true,
            // Serialization failure and deadlock: one of two had to go.
            Self::Refused { code, .. } => code == "40001" || code == "40P01",
            Self::Inconsistent(_)
            | Self::Url(_)
            | Self::Encoding(_)
            | Self::Unseen(_)
            | Self::Schema(_)
            | Self::MigrationLock(_) => false,
        }
    }

    /// The statement was refused for what it was to write: the same again will be refused again,
    /// something else may not.
    pub fn refuses_data(&self) -> bool {
        // 22: data exception; 23: integrity constraint; 54: some limit of a value.
        matches!(self, Self::Refused { code, .. } if ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    fn violates(&self, name: &str) -> bool {
        matches!(self, Self::Refused { constraint: Some(constraint), .. } if constraint == name)
    }
}

/// What a code says where the same statement may succeed later, or in another session: nothing of
/// it was done.
fn unavailable(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "it is read-only",
        "53300" => {
            "it has no connection left for this role: raise max_connections of the server or the \
             limit of role or database, or lower database.max_connections"
        }
        // The plan of a statement that was prepared before a migration; one that was deallocated.
        "0A000" | "26000" => "a prepared statement is not valid any more",
        code => match code.get(..2).unwrap_or_default() {
            "08" => "connection broken",
            "25" => "the session was in the wrong state",
            "53" => "it is out of resources",
            "57" if code.starts_with("57P") => "it is starting or shutting down",
            _ => return None,
        },
    })
}

impl Error {
    /// The same, where no connection could be made.
    fn from_connecting(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(cause) if cause.kind() != std::io::ErrorKind::InvalidData => {
                Self::Unavailable(format!("cannot connect: {}", cause.kind()))
            }
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default().into_owned();
                match unavailable(&code) {
                    Some(why) => Self::Unavailable(format!("{why}, SQLSTATE {code}")),
                    None => Self::Refused { code, constraint: None },
                }
            }
            error => tls::refusal(error)
                .map_or_else(|| Self::Unavailable("cannot connect".to_owned()), Self::Untrusted),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let Some(why) = tls::refusal(&error) {
            return Self::Untrusted(why);
        }
        match &error {
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default().into_owned();
                if let Some(why) = unavailable(&code) {
                    Self::Unavailable(format!("{why}, SQLSTATE {code}"))
                } else {
                    Self::Refused { code, constraint: refusal.constraint().map(ToOwned::to_owned) }
                }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Inconsistent("a column has an unexpected type or value")
            }
            sqlx::Error::RowNotFound => Self::Inconsistent("a row that must exist does not"),
            sqlx::Error::Io(error) => Self::Unavailable(error.kind().to_string()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("no free connection in time".to_owned()),
            sqlx::Error::PoolClosed => Self::Unavailable("shutting down".to_owned()),
            _ => Self::Unavailable("connection broken".to_owned()),
        }
    }
}

/// Shorthand of this layer.
pub type Result<T> = std::result::Result<T, Error>;
