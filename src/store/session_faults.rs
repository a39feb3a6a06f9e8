//! Errors, and the sessions with Postgres that may be used again after them.
//!
//! A socket that works says little about the session behind it. After a failover a session can
//! stay with the old primary, which answers every write with 25006; a session that began under a
//! wrong setting of the role keeps that setting; a flow that a NAT or a balancer has forgotten is
//! silent. So an error that is not about the data ends its session, and its siblings are not
//! trusted either.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Error;
use crate::causes::Cause;

/// A connection is replaced after this, so that no setting and no route is kept indefinitely.
const MAX_AGE: Duration = Duration::from_mins(30);
/// A connection that rested longer is tested before use: a NAT may have forgotten it.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Longest wait for the answer to such a test.
const TEST_LIMIT: Duration = Duration::from_secs(1);
/// While the server has the same complaint about each new session, they are replaced this often.
const REPLACE_EVERY: Duration = Duration::from_secs(1);
/// After the server had no connection left, those that are open are preferred for so long.
pub(super) const FULL_FOR: Duration = Duration::from_secs(5);
/// Longest time for finding out why a connection cannot be made.
pub(super) const DIAGNOSE_LIMIT: Duration = Duration::from_secs(2);

/// When something was found. sqlx tells the age of a connection by the clock of the standard library,
/// and a test may move that of tokio alone: an age is compared by the former.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    by_std: std::time::Instant,
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), by_std: std::time::Instant::now() }
    }

    /// Whether a connection of this age, or one that has rested for so long, was there already.
    fn is_within(self, age: Duration) -> bool {
        self.by_std.elapsed() < age
    }
}

/// Findings about the connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: Mutex<Known>,
    standby_found: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// Connections that are older are not used any more.
    broken: Option<Moment>,
    /// Connections that rested then are tested before use.
    silent: Option<Moment>,
    /// The server refused one more connection.
    full: Option<Instant>,
    /// Why the last direct attempt to connect failed.
    refused: Option<(Instant, Error)>,
    diagnosed: Option<Instant>,
}

impl Faults {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server went away: no connection that is older is of any use.
    pub(super) fn connection_broke(&self) {
        self.known().broken = Some(Moment::now());
    }

    /// The session is wrong, and its siblings began under the same circumstances.
    pub(super) fn session_is_wrong(&self) {
        let mut known = self.known();
        if known.broken.is_none_or(|moment| moment.at.elapsed() >= REPLACE_EVERY) {
            known.broken = Some(Moment::now());
        }
    }

    /// A statement was not answered in time.
    pub(super) fn nobody_answered(&self) {
        self.known().silent = Some(Moment::now());
    }

    /// A connection that began then is not trusted any more.
    pub(super) fn distrusts(&self, began: Instant) -> bool {
        self.known().broken.is_some_and(|moment| moment.at > began)
    }

    /// Why no connection could be made, if that was found out since then, or a moment before: who
    /// waits does not find out again what another caller has just learned.
    pub(super) fn refused_since(&self, began: Instant) -> Option<Error> {
        let refused = self.known().refused.clone();
        refused.filter(|(at, _)| *at + DIAGNOSE_LIMIT >= began).map(|(_, error)| error)
    }

    /// A new connection leads to a standby.
    pub(super) fn found_standby(&self) {
        self.known().refused = Some((Instant::now(), Error::standby()));
        self.0.standby_found.notify_waiters();
    }

    /// Waits until a new connection leads to a standby: until that changes, every further one does.
    pub(super) async fn until_standby_is_found(&self) {
        self.0.standby_found.notified().await;
    }

    pub(super) fn is_full(&self) -> bool {
        self.known().full.is_some_and(|at| at.elapsed() < FULL_FOR)
    }

    /// Whether something was learned since then that makes a connection suspect.
    pub(super) fn suspects(&self, since: Instant) -> bool {
        let known = self.known();
        [known.broken, known.silent].into_iter().flatten().any(|moment| moment.at >= since)
    }

    /// Whether a connection that rested may be used.
    pub(super) async fn fit(
        &self,
        connection: &mut PgConnection,
        meta: PoolConnectionMetadata,
    ) -> bool {
        let (broken, silent) = {
            let known = self.known();
            (known.broken, known.silent)
        };
        if meta.age > MAX_AGE || broken.is_some_and(|moment| moment.is_within(meta.age)) {
            return false;
        }
        let suspect = meta.idle_for > TEST_AFTER_IDLE
            || silent.is_some_and(|moment| moment.is_within(meta.idle_for));
        !suspect || self.answers(connection).await
    }

    /// Whether the session answers and began after the last one that was found wrong. Asks the
    /// server for its age.
    pub(super) async fn is_young_enough(&self, connection: &mut PgConnection) -> bool {
        let asked = sqlx::raw_sql(
            "select extract(epoch from clock_timestamp() - backend_start)::float8 as age
             from pg_stat_get_activity(pg_backend_pid())",
        )
        .fetch_one(connection);
        let Ok(Ok(row)) = tokio::time::timeout(TEST_LIMIT, asked).await else {
            self.connection_broke();
            return false;
        };
        let age = sqlx::Row::try_get::<f64, _>(&row, "age").ok();
        let age = age.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let broken = self.known().broken;
        age.is_some_and(|age| age <= MAX_AGE && broken.is_none_or(|moment| !moment.is_within(age)))
    }

    async fn answers(&self, connection: &mut PgConnection) -> bool {
        let answered = tokio::time::timeout(TEST_LIMIT, connection.ping()).await;
        let answers = matches!(answered, Ok(Ok(())));
        if !answers {
            self.connection_broke();
        }
        answers
    }

    /// Whether a connection that comes back may rest: it is not inside a transaction and answers.
    pub(super) async fn may_rest(
        &self,
        connection: &mut PgConnection,
        meta: PoolConnectionMetadata,
    ) -> bool {
        let silent = self.known().silent;
        // A connection that answers nobody must not keep its place in the pool for long.
        let lately = silent.is_some_and(|moment| moment.is_within(meta.age.min(FULL_FOR)));
        let limit = if lately { TEST_LIMIT / 4 } else { TEST_LIMIT * 2 };
        // Inside a transaction these two differ, by the time since its BEGIN. Only in the simple
        // protocol: in the extended one they differ always, because the transaction begins at Bind
        // and the statement at Execute.
        let asked =
            sqlx::raw_sql("select transaction_timestamp() <> statement_timestamp() as inside")
                .fetch_one(connection);
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(row)) => {
                sqlx::Row::try_get::<bool, _>(&row, "inside").is_ok_and(|inside| !inside)
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

/// The sessions that a SQLSTATE is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// It is about the statement's values, another transaction, or a limit: the session is fine.
    TheStatement,
    /// This session ends; nothing is known of others.
    ThisSession,
    /// Sessions that began before may all be like it.
    AllSessions,
}

/// Every statement here is constant, so what is not about its values is about the session or the
/// schema under it. Listed is what leaves a session fine: an unknown code ends it.
pub(super) fn about(code: &str) -> About {
    // The server cancelled a statement, or a lock was not to be had.
    const FINE: [&str; 3] = ["57014", "55P03", "53400"];
    // 21, 22, 23: values. 27, 44, P0: a trigger or a check refused. 40: of two transactions one
    // had to go. 54: a limit of a value.
    const FINE_CLASSES: [&str; 10] = ["00", "01", "02", "21", "22", "23", "27", "40", "44", "54"];
    // 58: the machine, which every session shares and a new one does not help.
    const SHARED_CLASSES: [&str; 3] = ["53", "58", "P0"];
    let class = code.get(..2).unwrap_or_default();
    if FINE.contains(&code) || FINE_CLASSES.contains(&class) || SHARED_CLASSES.contains(&class) {
        return About::TheStatement;
    }
    match code {
        // A right that this role was never given: other statements work.
        "42501" => About::ThisSession,
        _ => About::AllSessions,
    }
}

impl Faults {
    /// Whether it is time to find out again why no connection comes.
    pub(super) fn may_diagnose(&self) -> bool {
        let mut known = self.known();
        if known.diagnosed.is_some_and(|at| at.elapsed() < DIAGNOSE_LIMIT) {
            return false;
        }
        known.diagnosed = Some(Instant::now());
        true
    }

    /// A direct attempt to connect succeeded.
    pub(super) fn connected(&self) {
        self.known().refused = None;
    }

    /// A direct attempt to connect failed, or had no answer in time.
    pub(super) fn not_connected(&self, error: Error) {
        let mut known = self.known();
        if error.cause() == Cause::TooManyConnections {
            if known.full.is_none_or(|at| at.elapsed() >= FULL_FOR) {
                tracing::warn!(
                    "Postgres gives this role no more connections: those that are open are shared"
                );
            }
            known.full = Some(Instant::now());
        }
        known.refused = Some((Instant::now(), error));
    }

    /// Learns from an error of a statement; whether its connection has to end.
    pub(super) fn learn(&self, error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => {
                self.connection_broke();
                true
            }
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default();
                if code.starts_with("08") || code.starts_with("57P") {
                    self.connection_broke();
                    return true;
                }
                let about = about(&code);
                if about == About::AllSessions {
                    self.session_is_wrong();
                }
                about != About::TheStatement
            }
            _ => false,
        }
    }
}

/// The way to Postgres is a file of this machine.
pub(super) fn is_socket(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_values_and_other_transactions_leave_a_session_fine() {
        for code in
            ["22021", "23505", "40001", "40P01", "57014", "55P03", "53100", "54000", "P0001"]
        {
            assert_eq!(about(code), About::TheStatement, "{code}");
        }
        for code in [
            "25006", "25P02", "26000", "0A000", "42P01", "42883", "42704", "3F000", "XX000",
            "28000", "34000", "55000", "72000", "",
        ] {
            assert_eq!(about(code), About::AllSessions, "{code}");
        }
        assert_eq!(about("42501"), About::ThisSession);
    }

    #[test]
    fn sessions_are_replaced_at_once_and_then_once_a_second() {
        let faults = Faults::default();
        let before = Instant::now();
        faults.session_is_wrong();
        assert!(faults.distrusts(before));
        let after = Instant::now();
        faults.session_is_wrong();
        assert!(!faults.distrusts(after), "the newest may be tried for a second");
        faults.connection_broke();
        assert!(faults.distrusts(after));
    }
}
