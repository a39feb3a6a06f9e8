//! The servers that a database URL names, and the one that is used: the one that takes writes.
//!
//! A URL may name several, as libpq writes them (`postgres://user@one,two:5433/database`). They are
//! the members of one cluster, of which one takes writes. The start finds out which one, and so does
//! the process again whenever a connection breaks, cannot be made, or turns out to be read-only.
//! A standby is never used, not even for reads: what a caller has a 202 for may be missing there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;

use super::error::{Error, Place, Result};
use super::session_faults::{Faults, is_socket};
use super::statements::statements;
use super::tls::{self, Protection};
use crate::causes::Cause;

/// Longest wait for one server to connect and to say whether it takes writes, while another server may
/// be taking over.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// The same at a start, where nothing works yet: a slow server is no missing one.
const START_LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// Clones share what was found.
#[derive(Clone, Debug)]
pub(super) struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Vec<PgConnectOptions>,
    current: watch::Sender<Arc<PgConnectOptions>>,
    /// Connects to the current one.
    pool: OnceLock<PgPool>,
    faults: Faults,
    is_looking: AtomicBool,
}

/// Reads a database URL: the options for connections to each of its servers, in its order, and the
/// weakest protection among them.
pub(super) fn read(url: &str) -> Result<(Vec<PgConnectOptions>, Protection)> {
    let mut all = Vec::new();
    let mut weakest = Protection::Local;
    for server in one_by_one(url)? {
        let (options, protection) = tls::read(&server)?;
        all.push(options);
        weakest = match (weakest, protection) {
            (Protection::Weaker(mode), _) | (_, Protection::Weaker(mode)) => {
                Protection::Weaker(mode)
            }
            (Protection::VerifyFull, _) | (_, Protection::VerifyFull) => Protection::VerifyFull,
            (Protection::Local, Protection::Local) => Protection::Local,
        };
    }
    Ok((all, weakest))
}

/// A URL for each server.
fn one_by_one(url: &str) -> Result<Vec<String>> {
    let only = || Ok(vec![url.to_owned()]);
    let Some((scheme, rest)) = url.split_once("://") else { return only() };
    let (authority, database) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if !hosts.contains(',') {
        return only();
    }
    let hosts = hosts.split(',').map(|host| match host {
        "" => Err(Error::Url("names several hosts, one of which is empty".to_owned())),
        host => Ok(format!("{scheme}://{user}{host}{database}")),
    });
    hosts.collect()
}

/// Why no server can be used.
#[derive(Debug)]
pub struct NoServer {
    /// The most useful error of all servers.
    pub error: Error,
    /// Waiting does not help: every server needs another `database.url`, or has to change itself.
    pub is_of_the_url: bool,
}

impl From<Error> for NoServer {
    fn from(error: Error) -> Self {
        Self { is_of_the_url: error.is_of_the_url(), error }
    }
}

impl NoServer {
    /// `errors`: one of each server, in the order in which they came.
    fn of(errors: Vec<Error>) -> Option<Self> {
        // Another server may still come, or be promoted.
        let is_of_the_url = errors.iter().all(Error::is_of_the_url);
        // A healthy standby explains the least. Of equals, the first is taken.
        let error = errors.into_iter().min_by_key(|error| match error {
            error if error.is_of_the_url() => 0,
            error if error.cause() != Cause::Standby => 1,
            _ => 2,
        })?;
        Some(Self { error, is_of_the_url })
    }
}

impl Servers {
    /// `all` is not empty.
    pub(super) fn new(all: Vec<PgConnectOptions>, faults: Faults) -> Self {
        let current = watch::Sender::new(Arc::new(all[0].clone()));
        let (pool, is_looking) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { all, current, pool, faults, is_looking }))
    }

    /// The pool that follows the current server.
    pub(super) fn lead(&self, pool: &PgPool) {
        let _ = self.0.pool.set(pool.clone());
    }

    /// How to connect to the server in use.
    pub(super) fn current(&self) -> Arc<PgConnectOptions> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Tells when another server is used.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<PgConnectOptions>> {
        self.0.current.subscribe()
    }

    /// A URL names several.
    pub(super) fn are_several(&self) -> bool {
        self.0.all.len() > 1
    }

    /// As [`Self::find_within`], with the patience of a start.
    pub(super) async fn find(&self) -> std::result::Result<(), NoServer> {
        self.find_within(START_LOOK_LIMIT).await
    }

    /// Connects once to each server until one takes writes, and uses that one; else a primary that
    /// is set read-only, if there is one.
    async fn find_within(&self, limit: Duration) -> std::result::Result<(), NoServer> {
        let mut looks: FuturesUnordered<_> = self
            .0
            .all
            .iter()
            .map(|server| look(server, limit).map(move |found| (server, found)))
            .collect();
        let mut read_only = None;
        let mut errors = Vec::new();
        while let Some((server, found)) = looks.next().await {
            match found {
                Ok(true) => {
                    self.use_from_now_on(server);
                    return Ok(());
                }
                Ok(false) => read_only = read_only.or(Some(server)),
                Err(error) => errors.push(error),
            }
        }
        if let Some(server) = read_only {
            self.use_from_now_on(server);
            return Ok(());
        }
        NoServer::of(errors).map_or(Ok(()), Err)
    }

    /// Finds the server that takes writes, beside the callers, if there are several. Goes on until there
    /// is one: callers that wait for a connection do not ask again.
    pub(super) fn look_again(&self) {
        if !self.are_several() || self.0.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let servers = self.clone();
        tokio::spawn(async move {
            while servers.find_within(LOOK_LIMIT).await.is_err() && !servers.is_closed() {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            servers.0.is_looking.store(false, Ordering::Release);
        });
    }

    fn is_closed(&self) -> bool {
        self.0.pool.get().is_some_and(PgPool::is_closed)
    }

    fn use_from_now_on(&self, server: &PgConnectOptions) {
        if address(&self.current()) == address(server) {
            return;
        }
        if let Some(pool) = self.0.pool.get() {
            pool.set_connect_options(server.clone());
        }
        self.0.faults.connection_broke();
        // Callers that wait for the server before begin anew with this one.
        self.0.current.send_replace(Arc::new(server.clone()));
        tracing::info!(server = address(server), "another Postgres server is used");
    }
}

/// Whether a server takes writes. A standby is an error.
pub(super) async fn look(server: &PgConnectOptions, limit: Duration) -> Result<bool> {
    let looking = async {
        let mut connection = PgConnection::connect_with(server)
            .await
            .map_err(|error| Error::from_connecting(&error, is_socket(server), Place::here()))?;
        let is_standby = is_standby().fetch_one(&mut connection).await?;
        let found = takes_writes().fetch_one(&mut connection).await?;
        let _ = connection.close().await;
        if is_standby { Err(Error::standby()) } else { Ok(found) }
    };
    tokio::time::timeout(limit, looking).await.map_err(|_| Error::Timeout(limit))?
}

/// Host and port, or the folder of the socket.
fn address(server: &PgConnectOptions) -> String {
    match server.get_socket() {
        Some(folder) => format!("{}:{}", folder.display(), server.get_port()),
        None => format!("{}:{}", server.get_host(), server.get_port()),
    }
}

/// Whether the server at the other end is a standby.
pub(super) async fn server_is_standby<'c, E>(executor: E) -> std::result::Result<bool, sqlx::Error>
where
    E: sqlx::Executor<'c, Database = sqlx::Postgres>,
{
    is_standby().fetch_one(executor).await
}

/// Whether the server at the other end takes writes: a standby does not, nor one that is set
/// read-only.
pub(super) async fn server_takes_writes<'c, E>(
    executor: E,
) -> std::result::Result<bool, sqlx::Error>
where
    E: sqlx::Executor<'c, Database = sqlx::Postgres>,
{
    takes_writes().fetch_one(executor).await
}

statements! {
    scalar takes_writes() -> bool =
        "select not pg_is_in_recovery()
             and current_setting('transaction_read_only') = 'off'";

    scalar is_standby() -> bool = "select pg_is_in_recovery()";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::Outage;

    fn addresses(url: &str) -> Vec<String> {
        read(url).unwrap_or_else(|e| panic!("{url}: {e}")).0.iter().map(address).collect()
    }

    #[test]
    fn url_names_one_server_or_several() {
        assert_eq!(addresses("postgres://u:p@one:5433/d?sslmode=require"), ["one:5433"]);
        assert_eq!(
            addresses(
                "postgres://u:p,q@one,two:5433,[2001:db8::1]:5434/d?target_session_attrs=read-write"
            ),
            ["one:5432", "two:5433", "2001:db8::1:5434"]
        );
        assert_eq!(addresses("postgres://one,two/d"), ["one:5432", "two:5432"]);
        for wrong in ["postgres://u@one,,two/d", "postgres://u@one,/d", "postgres://u@,/d"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn error_of_several_servers_is_the_most_useful_one() {
        use Cause::{NotAdmitted, Refused, Standby, Timeout, TlsExpired};

        let outage = |cause| Error::Unavailable(Outage { cause, code: None });
        let of = |causes: &[Cause]| {
            let errors = causes.iter().map(|cause| match cause {
                TlsExpired => Error::Untrusted(*cause),
                cause => outage(*cause),
            });
            let found = NoServer::of(errors.collect()).unwrap();
            (found.error.cause(), found.is_of_the_url)
        };
        assert_eq!(of(&[Standby, TlsExpired]), (TlsExpired, false));
        assert_eq!(of(&[Standby, Refused]), (Refused, false));
        assert_eq!(of(&[Refused, Timeout]), (Refused, false));
        assert_eq!(of(&[Refused, NotAdmitted]), (NotAdmitted, false));
        assert_eq!(of(&[NotAdmitted, TlsExpired]), (NotAdmitted, true));
        assert_eq!(of(&[Standby, Standby]), (Standby, false));
        assert!(NoServer::of(Vec::new()).is_none());
    }

    #[test]
    fn protection_is_the_weakest_of_all_servers() {
        let protection = |url: &str| read(url).unwrap().1;
        assert_eq!(protection("postgres://u@localhost,127.0.0.1/d"), Protection::Local);
        assert_eq!(protection("postgres://u@localhost,db/d"), Protection::VerifyFull);
        assert_eq!(
            protection("postgres://u@localhost,db/d?sslmode=require"),
            Protection::Weaker("require")
        );
    }
}
