//! Errors of a private Postgres: each one sentence, with its remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the usual folders nor `PATH` hold `initdb` and `postgres`.
    #[error(
        "PostgreSQL's programs were not found: install them (`apt-get install postgresql`, `dnf \
         install postgresql-server` or `brew install postgresql`), or set PG_BIN to the folder \
         that holds initdb and postgres"
    )]
    ProgramsMissing,
    /// The folder the caller named does not hold them.
    #[error("PG_BIN names {0}, which does not hold both initdb and postgres")]
    NotABinFolder(PathBuf),
    /// `postgres --version` said nothing usable.
    #[error("{0} does not say its version")]
    NoVersion(PathBuf),
    /// Older than any version its makers still maintain.
    #[error("{bin} holds PostgreSQL {major}: version {oldest} or newer is needed", bin = .bin.display())]
    TooOld {
        /// The programs' folder.
        bin: PathBuf,
        /// What they are.
        major: u32,
        /// What is needed.
        oldest: u32,
    },
    /// The programs are of another major version than the caller wants.
    #[error(
        "{bin} holds PostgreSQL {major}, not {wanted}: set PG_BIN to the folder that holds initdb \
         and postgres of {wanted}",
        bin = .bin.display()
    )]
    NotThatMajor { bin: PathBuf, major: u32, wanted: u32 },
    /// We are root, and the account that Postgres runs under cannot enter the programs' folder.
    #[error(
        "PostgreSQL refuses to run as root, and the account that runs it instead cannot enter \
         {0}: put the programs into a folder that every account can enter"
    )]
    ProgramsOutOfReach(PathBuf),
    /// Another process of ours holds the folder's lock.
    #[error("{0} is in use by another process: stop that one first, or use another folder")]
    InUse(PathBuf),
    /// The data was made by another major version; Postgres cannot read it.
    #[error(
        "{data} was made by PostgreSQL {found} and the programs found are PostgreSQL {ours}: set \
         PG_BIN to the programs of {found}, or delete the folder to start anew",
        data = .data.display()
    )]
    OtherMajor {
        /// The data folder.
        data: PathBuf,
        /// Its major version.
        found: String,
        /// The programs' major version.
        ours: u32,
    },
    /// A Postgres that we did not start may be using the data.
    #[error(
        "process {pid} is a PostgreSQL server that may be using {data} and was not started by us: \
         stop it first",
        data = .data.display()
    )]
    ForeignServer {
        /// Its process id.
        pid: i32,
        /// The data folder.
        data: PathBuf,
    },
    /// A folder in a place that others can write to is not what we left there.
    #[error("{0} exists and is not ours alone: remove it, or use another folder")]
    NotOurs(PathBuf),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// The server ended while starting.
    #[error("PostgreSQL ended while starting: {log} tells why", log = .0.display())]
    Ended(PathBuf),
    /// The server did not become ready in time.
    #[error("PostgreSQL is not ready after {seconds} s: {log} tells why", log = .log.display())]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// The server took no notice of SIGINT and SIGQUIT. It is never killed outright.
    #[error("PostgreSQL, process {0}, did not stop when asked")]
    WouldNotStop(i32),
    /// The operating system refused something.
    #[error("could not {what} {path}", path = .path.display())]
    Io {
        /// A verb.
        what: &'static str,
        /// The object.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// For `map_err`: which step failed, on what.
pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}
