//! Errors of the store, and which of them are transient.
//!
//! The transient ones are listed: a closed connection, a busy server, another transaction. Any other
//! error is a mistake of Verdict or of the data. A retry would only repeat it, so it is reported
//! once, with the place of the statement.

use std::panic::Location;
use std::time::Duration;

use super::schema_state::SchemaState;
use super::server_version::OLDEST_SERVER;
use crate::causes::{self, Cause};

/// Messages name places and codes, never values: a database's own message may quote the row.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be reached, is starting, stopping or read-only: try again later.
    #[error("the database is unavailable ({0})")]
    Unavailable(Outage),
    /// Too much waits for it in this process.
    #[error("the database is unavailable ({0})")]
    Busy(&'static str),
    /// No TLS as `database.url` wants it: nothing was sent, the password neither.
    #[error("no trusted connection to the database: {0}")]
    Untrusted(Cause),
    /// No answer in time; a write may or may not have happened.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The database refused the statement.
    #[error("the database refused a statement (SQLSTATE {code}{}) at {at}", constraint.as_deref().map(|c| format!(", constraint {c}")).unwrap_or_default())]
    Refused {
        /// Five-character SQLSTATE.
        code: String,
        /// The constraint that refused, if one did.
        constraint: Option<String>,
        /// The statement.
        at: Place,
    },
    /// A value that was sent or received does not fit this version.
    #[error("a mistake in Verdict, or in a schema that was changed by hand: {what} at {at}")]
    Internal {
        /// Without values.
        what: String,
        /// The statement.
        at: Place,
    },
    /// A row that this version does not understand.
    #[error("the database holds a row that makes no sense: {0}")]
    Inconsistent(&'static str),
    /// The event log came with a dump: the ids of transactions in it are those of another server.
    #[error("the event log comes from another server: run `verdict events new-epoch`")]
    EventsFromElsewhere,
    /// `database.url` cannot be used as it is written.
    #[error("{0}")]
    Url(String),
    /// Names and texts of people need every character there is.
    #[error(
        "the database stores text as {0}, not as UTF8: create one with `create database verdict encoding 'UTF8' template template0` and use that"
    )]
    Encoding(String),
    /// No test runs on it.
    #[error(
        "this is Postgres {0}, and Verdict needs {oldest} or newer: upgrade the server, or use another one",
        oldest = OLDEST_SERVER
    )]
    OldServer(String),
    /// The tables are there, and this role does not see them.
    #[error(
        "this database role does not see the schema {0}, which has Verdict's tables: grant it usage (config/roles.sql) and set its search_path"
    )]
    Unseen(String),
    /// The schema is not the one this binary was built for.
    #[error("the database schema is {0}")]
    Schema(SchemaState),
    /// A pooler between us and Postgres shares sessions among its clients.
    #[error(
        "a pooler gives each transaction another session (PgBouncer's pool_mode = transaction), which loses wake-ups and locks: set pool_mode = session, or name Postgres itself in database.url"
    )]
    TransactionPooler,
    /// A user who cannot migrate holds the lock of migrations.
    #[error(
        "{0} holds the lock of migrations and is not migrating: end it with pg_terminate_backend, then migrate again"
    )]
    MigrationLock(String),
}

/// Why Postgres is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The cause.
    pub cause: Cause,
    /// The SQLSTATE, where the server named one.
    pub code: Option<String>,
}

impl std::fmt::Display for Outage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cause)?;
        self.code.as_deref().map_or(Ok(()), |code| write!(f, ", SQLSTATE {code}"))
    }
}

/// The place of a statement in the source.
#[derive(Clone, Copy, Debug)]
pub struct Place(&'static Location<'static>);

impl Place {
    /// Where this is called.
    #[track_caller]
    pub fn here() -> Self {
        Self(Location::caller())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.0.file();
        // Below `src`, wherever it was compiled.
        let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
        write!(f, "{file}:{}", self.0.line())
    }
}

impl Error {
    /// The same statement may succeed if tried again by itself.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Busy(_) | Self::Untrusted(_) | Self::Timeout(_) => true,
            // One of two transactions had to go, or the server ended a statement that took long.
            Self::Refused { .. } => {
                matches!(self.cause(), Cause::Conflict | Cause::Locked | Cause::Cancelled)
            }
            Self::Internal { .. }
            | Self::Inconsistent(_)
            | Self::EventsFromElsewhere
            | Self::Url(_)
            | Self::Encoding(_)
            | Self::OldServer(_)
            | Self::Unseen(_)
            | Self::Schema(_)
            | Self::TransactionPooler
            | Self::MigrationLock(_) => false,
        }
    }

    /// Waiting does not help: a certificate, an `sslmode`, a user or a database has to change.
    pub(super) fn is_of_the_url(&self) -> bool {
        let refused = matches!(
            self.cause(),
            Cause::WrongPassword
                | Cause::UnknownRole
                | Cause::NotAdmitted
                | Cause::UnknownDatabase
                | Cause::MissingRight
        );
        refused || matches!(self, Self::Untrusted(_) | Self::TransactionPooler)
    }

    /// The statement was refused for what it was to write: the same again will be refused again,
    /// something else may not.
    pub fn refuses_data(&self) -> bool {
        // 22: data exception; 23: integrity constraint; 54: some limit of a value.
        matches!(self, Self::Refused { code, .. } if ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    /// Why, for logs, metrics and hints.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unavailable(outage) => outage.cause,
            Self::Busy(_) => Cause::Busy,
            Self::Untrusted(cause) => *cause,
            Self::Timeout(_) => Cause::Timeout,
            Self::Refused { code, .. } => {
                causes::of_sqlstate(code, None).unwrap_or(Cause::Internal)
            }
            Self::Internal { .. } | Self::Inconsistent(_) => Cause::Internal,
            Self::Url(_) | Self::TransactionPooler => Cause::BadUrl,
            Self::Encoding(_)
            | Self::OldServer(_)
            | Self::Unseen(_)
            | Self::Schema(_)
            | Self::EventsFromElsewhere => Cause::Schema,
            Self::MigrationLock(_) => Cause::Locked,
        }
    }

    /// The server is a standby: it does not even serve reads, because it may lack what was acknowledged.
    pub(super) fn standby() -> Self {
        Self::Unavailable(Outage { cause: Cause::Standby, code: None })
    }

    pub(super) fn violates(&self, name: &str) -> bool {
        matches!(self, Self::Refused { constraint: Some(constraint), .. } if constraint == name)
    }

    /// The same, where no connection could be made. Files are read only for TLS, except the one of
    /// a Unix socket.
    pub(super) fn from_connecting(error: &sqlx::Error, by_socket: bool, at: Place) -> Self {
        match error {
            sqlx::Error::Io(inside) if !by_socket && is_about_a_file(causes::of_io(inside)) => {
                Self::Untrusted(Cause::TlsFile)
            }
            sqlx::Error::Configuration(_) => Self::Untrusted(Cause::TlsFile),
            error => Self::of(error, at),
        }
    }

    pub(super) fn of(error: &sqlx::Error, at: Place) -> Self {
        let Some(cause) = causes::of_database(error) else { return Self::of_ours(error, at) };
        if is_about_trust(cause) {
            return Self::Untrusted(cause);
        }
        let Some(refusal) = error.as_database_error() else {
            return Self::Unavailable(Outage { cause, code: None });
        };
        let code = refusal.code().unwrap_or_default().into_owned();
        let about_this_statement =
            [Cause::Conflict, Cause::Locked, Cause::Cancelled, Cause::MissingRight];
        if about_this_statement.contains(&cause) {
            return Self::Refused { code, constraint: None, at };
        }
        Self::Unavailable(Outage { cause, code: Some(code) })
    }

    fn of_ours(error: &sqlx::Error, at: Place) -> Self {
        let what = match error {
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default().into_owned();
                let constraint = refusal.constraint().map(ToOwned::to_owned);
                return Self::Refused { code, constraint, at };
            }
            sqlx::Error::ColumnNotFound(name) => format!("there is no column {name}"),
            sqlx::Error::ColumnIndexOutOfBounds { index, .. } => {
                format!("there is no column {index}")
            }
            sqlx::Error::ColumnDecode { index, .. } => {
                format!("column {index} has an unexpected type or value")
            }
            sqlx::Error::Decode(_) => "a column has an unexpected type or value".to_owned(),
            sqlx::Error::Encode(_) => "a value cannot be sent".to_owned(),
            sqlx::Error::TypeNotFound { type_name } => format!("there is no type {type_name}"),
            sqlx::Error::RowNotFound => "a row that must exist does not".to_owned(),
            _ => "the library refuses the call".to_owned(),
        };
        Self::Internal { what, at }
    }
}

fn is_about_a_file(cause: Cause) -> bool {
    use Cause::{BadPath, IsFolder, NotFolder, NotFound, NotPermitted};
    matches!(cause, NotFound | NotPermitted | IsFolder | NotFolder | BadPath)
}

fn is_about_trust(cause: Cause) -> bool {
    use Cause::{
        Tls, TlsClientCertificate, TlsExpired, TlsFile, TlsNotOffered, TlsNotYetValid,
        TlsUntrusted, TlsWrongName,
    };
    matches!(
        cause,
        Tls | TlsClientCertificate
            | TlsExpired
            | TlsFile
            | TlsNotOffered
            | TlsNotYetValid
            | TlsUntrusted
            | TlsWrongName
    )
}

impl From<sqlx::Error> for Error {
    #[track_caller]
    fn from(error: sqlx::Error) -> Self {
        Self::of(&error, Place::here())
    }
}

/// Shorthand of this layer.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    fn column_is_missing() -> Result<()> {
        Err(sqlx::Error::ColumnNotFound("colour".to_owned()))?
    }

    #[test]
    fn mistakes_of_ours_are_not_told_as_an_outage() {
        let decode = || "secret value".into();
        for (mistake, says) in [
            (sqlx::Error::ColumnNotFound("colour".to_owned()), "no column colour"),
            (sqlx::Error::ColumnIndexOutOfBounds { index: 3, len: 2 }, "no column 3"),
            (
                sqlx::Error::ColumnDecode { index: "\"colour\"".to_owned(), source: decode() },
                "column \"colour\" has an unexpected",
            ),
            (sqlx::Error::Decode(decode()), "unexpected type or value"),
            (sqlx::Error::Encode(decode()), "cannot be sent"),
            (sqlx::Error::TypeNotFound { type_name: "mood".to_owned() }, "no type mood"),
            (sqlx::Error::RowNotFound, "a row that must exist"),
            (sqlx::Error::AnyDriverError(decode()), "library"),
            (sqlx::Error::Configuration(decode()), "library"),
            (sqlx::Error::InvalidArgument("secret value".to_owned()), "library"),
            (sqlx::Error::InvalidSavePointStatement, "library"),
            (sqlx::Error::BeginFailed, "library"),
            (sqlx::Error::WorkerCrashed, "library"),
        ] {
            let error = Error::from(mistake);
            let told = error.to_string();
            assert!(!error.is_passing() && error.cause() == Cause::Internal, "{told}");
            assert!(told.contains(says) && told.contains("store/error.rs:"), "{told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_the_line_that_met_it() {
        let line = line!() - 40;
        let told = column_is_missing().unwrap_err().to_string();
        let (_, at) = told.rsplit_once(':').unwrap();
        assert!(at.parse::<u32>().unwrap().abs_diff(line) < 20, "{told}: {line}");
    }

    #[test]
    fn what_passes_by_itself_is_told_as_an_outage() {
        use std::io::ErrorKind;
        for (error, cause) in [
            (sqlx::Error::PoolTimedOut, Cause::NoFreeConnection),
            (sqlx::Error::PoolClosed, Cause::Stopping),
            (sqlx::Error::Protocol("x".to_owned()), Cause::NotTheProtocol),
            (sqlx::Error::Io(ErrorKind::ConnectionRefused.into()), Cause::Refused),
            (sqlx::Error::Io(ErrorKind::ConnectionReset.into()), Cause::Closed),
            (sqlx::Error::Tls("x".into()), Cause::Tls),
            (sqlx::Error::Tls("server does not support TLS".into()), Cause::TlsNotOffered),
        ] {
            let error = Error::from(error);
            assert!(error.is_passing() && error.cause() == cause, "{error}");
        }
    }

    #[test]
    fn a_file_of_tls_that_is_not_there_is_no_closed_port() {
        let missing = || sqlx::Error::Io(std::io::ErrorKind::NotFound.into());
        let by = |socket| Error::from_connecting(&missing(), socket, Place::here()).cause();
        assert_eq!((by(false), by(true)), (Cause::TlsFile, Cause::Refused));
    }
}
