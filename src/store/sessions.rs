//! The sessions with Postgres: which may be used again, and what happens when none can be had.
//!
//! A socket that works says little about the session behind it. After a failover a session can
//! stay with the old primary, which answers every write with 25006; a session that began under a
//! wrong setting of the role keeps that setting; a flow that a NAT or a balancer has forgotten is
//! silent. So an error that is not about the data ends its session, and its siblings are not
//! trusted either.
//!
//! sqlx retries inside the pool when the server refuses one more connection (53300), for the whole
//! time limit, while other connections come back and rest. So a caller that waits takes one of
//! those.
//!
//! A connection that goes back to the pool costs two round trips: whether it is inside a
//! transaction, and whether it answers. A statement of ours that ran to its end leaves neither
//! question open, so its connection goes to the next caller directly (`Spare`) and back to the pool
//! when nobody wants it, or once a second. A cancelled statement, and every transaction, gives its
//! connection back to the pool.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgConnectOptions, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Describe, Either, Execute, Executor, PgConnection, Postgres, SqlStr};

use super::servers::Servers;

/// A connection is replaced after this, so that no setting and no route is kept indefinitely.
const MAX_AGE: Duration = Duration::from_mins(30);
/// A connection that rested longer is tested before use: a NAT may have forgotten it.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Longest wait for the answer to such a test.
const TEST_LIMIT: Duration = Duration::from_secs(1);
/// While the server has the same complaint about each new session, they are replaced this often.
const REPLACE_EVERY: Duration = Duration::from_secs(1);
/// A new connection is usually there by then; if not, one that comes back serves as well.
const CONNECT_NORMALLY: Duration = Duration::from_millis(50);
/// Between two looks for a connection that came back.
const LOOK_FOR_IDLE: Duration = Duration::from_millis(5);
/// After the server had no connection left, those that are open are preferred for so long.
const FULL_FOR: Duration = Duration::from_secs(5);
/// A caller that waits longer for a connection has somebody find out why.
const DIAGNOSE_AFTER: Duration = Duration::from_millis(200);
/// Longest time for finding out why a connection cannot be made.
const DIAGNOSE_LIMIT: Duration = Duration::from_secs(2);

/// A spare connection that nobody wanted for this long goes back to the pool.
const SPARE_FOR: Duration = Duration::from_millis(100);
/// So does one that has been away from the pool for so long, for the pool's questions about it.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// What was learned about the connections. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Connections that are older are not used any more.
    broken: Option<Instant>,
    /// Connections that rested at that moment are tested first.
    silent: Option<Instant>,
    /// The server refused one more connection.
    full: Option<Instant>,
    /// Why the last direct attempt to connect failed.
    refused: Option<(Instant, super::error::Error)>,
    diagnosed: Option<Instant>,
}

impl Faults {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server went away: no connection that is older is of any use.
    pub(super) fn connection_broke(&self) {
        self.known().broken = Some(Instant::now());
    }

    /// The session is wrong, and its siblings began under the same circumstances.
    pub(super) fn session_is_wrong(&self) {
        let mut known = self.known();
        if known.broken.is_none_or(|at| at.elapsed() >= REPLACE_EVERY) {
            known.broken = Some(Instant::now());
        }
    }

    /// A statement was not answered in time.
    pub(super) fn nobody_answered(&self) {
        self.known().silent = Some(Instant::now());
    }

    /// A connection that began then is not trusted any more.
    pub(super) fn distrusts(&self, began: Instant) -> bool {
        self.known().broken.is_some_and(|at| at > began)
    }

    /// Why no connection could be made, if that was found out since then, or a moment before: who
    /// waits does not find out again what another caller has just learned.
    pub(super) fn refused_since(&self, began: Instant) -> Option<super::error::Error> {
        let refused = self.known().refused.clone();
        refused.filter(|(at, _)| *at + DIAGNOSE_LIMIT >= began).map(|(_, error)| error)
    }

    fn is_full(&self) -> bool {
        self.known().full.is_some_and(|at| at.elapsed() < FULL_FOR)
    }

    /// Whether something was learned since then that makes a connection suspect.
    fn suspects(&self, since: Instant) -> bool {
        let known = self.known();
        [known.broken, known.silent].into_iter().flatten().any(|at| at >= since)
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
        if meta.age > MAX_AGE || broken.is_some_and(|at| at.elapsed() < meta.age) {
            return false;
        }
        let suspect = meta.idle_for > TEST_AFTER_IDLE
            || silent.is_some_and(|at| at.elapsed() < meta.idle_for);
        !suspect || self.answers(connection).await
    }

    /// Whether the session answers and began after the last one that was found wrong. Asks the
    /// server for its age.
    async fn is_young_enough(&self, connection: &mut PgConnection) -> bool {
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
        age.is_some_and(|age| age <= MAX_AGE && broken.is_none_or(|at| at.elapsed() >= age))
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
        // What others wait for in vain must not keep its place in the pool for long.
        let lately = silent.is_some_and(|at| at.elapsed() < meta.age.min(FULL_FOR));
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

/// What a SQLSTATE says about the session in which it came.
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

/// A connection whose last statement ran to its end.
struct Spare {
    connection: PoolConnection<Postgres>,
    /// When the pool gave it away.
    left_pool: Instant,
    /// When its last statement ended.
    since: Instant,
}

/// The spare connections, the newest last, and how many callers wait for the pool.
#[derive(Default)]
struct Spares {
    list: Mutex<SpareList>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct SpareList {
    spares: Vec<Spare>,
    /// [`give_back_unwanted`] runs.
    is_watched: bool,
}

impl Spares {
    fn list(&self) -> std::sync::MutexGuard<'_, SpareList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spares {
    /// Returning a connection to the pool needs the runtime, which may have ended already.
    fn drop(&mut self) {
        for spare in self.list().spares.drain(..) {
            drop(spare.connection.detach());
        }
    }
}

/// A caller that waits for the pool: while there is one, no connection is spare.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection in use, and when the pool gave it away.
struct InUse {
    connection: PoolConnection<Postgres>,
    left_pool: Instant,
}

/// The pool, as statements use it.
#[derive(Clone)]
pub(super) struct Sessions {
    pool: PgPool,
    servers: Servers,
    faults: Faults,
    spares: Arc<Spares>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

type Answer = Either<PgQueryResult, PgRow>;
type Acquired = Result<PoolConnection<Postgres>, sqlx::Error>;

impl Sessions {
    pub(super) fn new(pool: PgPool, servers: Servers, faults: Faults) -> Self {
        Self { pool, servers, faults, spares: Arc::default() }
    }

    /// Waits for running statements and closes all connections.
    pub(super) async fn close(&self) {
        let closing = self.pool.close();
        self.spares.list().spares.clear();
        closing.await;
    }

    /// Connections that rest.
    pub(super) fn idle(&self) -> usize {
        self.pool.num_idle() + self.spares.list().spares.len()
    }

    /// A connection for one statement.
    async fn take(&self) -> Result<InUse, sqlx::Error> {
        if let Some(found) = self.take_spare() {
            return Ok(found);
        }
        let waiting = Waiting::begin(&self.spares.waiting);
        // Again: one may have become spare before this caller was counted as waiting.
        if let Some(found) = self.take_spare() {
            return Ok(found);
        }
        let connection = self.acquire_from_pool().await?;
        drop(waiting);
        Ok(InUse { connection, left_pool: Instant::now() })
    }

    /// The spare connection used last, so that those not needed go back to the pool.
    fn take_spare(&self) -> Option<InUse> {
        loop {
            let Spare { connection, left_pool, since } = self.spares.list().spares.pop()?;
            if since.elapsed() < SPARE_FOR && !self.faults.suspects(since) {
                return Some(InUse { connection, left_pool });
            }
        }
    }

    /// The statement has run to its end, and nothing is wrong with its connection.
    fn spare(&self, InUse { connection, left_pool }: InUse) {
        if left_pool.elapsed() >= AWAY_FOR || self.pool.is_closed() {
            return;
        }
        let is_unwatched = {
            let mut list = self.spares.list();
            list.spares.push(Spare { connection, left_pool, since: Instant::now() });
            !std::mem::replace(&mut list.is_watched, true)
        };
        if self.spares.waiting.load(Ordering::SeqCst) > 0 || self.pool.is_closed() {
            self.spares.list().spares.clear();
        }
        if is_unwatched {
            tokio::spawn(give_back_unwanted(Arc::downgrade(&self.spares)));
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// One connection, for more than a statement: it goes back to the pool.
    pub(super) async fn acquire(&self) -> Acquired {
        self.take().await.map(|used| used.connection)
    }

    /// One connection: a resting one, a new one, or, where a new one does not come, the first that
    /// comes back.
    async fn acquire_from_pool(&self) -> Acquired {
        if self.faults.is_full()
            && self.pool.size() > 0
            && let Ok(found) = tokio::time::timeout(FULL_FOR / 5, self.idle_one()).await
        {
            return Ok(found);
        }
        let mut acquiring: Pin<Box<dyn Future<Output = Acquired> + Send + '_>> =
            Box::pin(self.pool.acquire());
        if let Ok(acquired) = tokio::time::timeout(CONNECT_NORMALLY, &mut acquiring).await {
            return acquired;
        }
        let waiting = async {
            tokio::time::sleep(DIAGNOSE_AFTER).await;
            loop {
                self.diagnose();
                tokio::time::sleep(DIAGNOSE_LIMIT).await;
            }
        };
        tokio::select! {
            acquired = &mut acquiring => acquired,
            found = self.idle_one() => Ok(found),
            () = waiting => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Waits for a connection that rests and may be used. The pool hands it out without asking
    /// [`Faults::fit`].
    async fn idle_one(&self) -> PoolConnection<Postgres> {
        loop {
            if let Some(mut found) = self.pool.try_acquire() {
                if self.faults.is_young_enough(&mut found).await {
                    return found;
                }
                found.close_on_drop();
            }
            tokio::time::sleep(LOOK_FOR_IDLE).await;
        }
    }

    /// Finds out, beside the callers and not too often, why no connection comes: the pool keeps
    /// the reason for itself.
    fn diagnose(&self) {
        let options = self.servers.current();
        let faults = self.faults.clone();
        {
            let mut known = faults.known();
            if known.diagnosed.is_some_and(|at| at.elapsed() < DIAGNOSE_LIMIT) {
                return;
            }
            known.diagnosed = Some(Instant::now());
        }
        self.servers.look_again();
        tokio::spawn(async move {
            let connecting = PgConnection::connect_with(&options);
            match tokio::time::timeout(DIAGNOSE_LIMIT, connecting).await {
                Ok(Ok(connection)) => {
                    faults.known().refused = None;
                    let _ = tokio::time::timeout(DIAGNOSE_LIMIT, connection.close()).await;
                }
                Ok(Err(error)) => faults.not_connected(&error, is_socket(&options)),
                Err(_) => {
                    let error = super::error::Error::Timeout(DIAGNOSE_LIMIT);
                    faults.known().refused = Some((Instant::now(), error));
                }
            }
        });
    }

    /// Runs one statement and reads its answer to the end before anything is passed on: the commit
    /// comes after the rows, and may fail.
    async fn run_to_its_end<'q, E>(&self, query: E) -> Result<Vec<Answer>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let mut used = self.take().await?;
        let answer = used.connection.fetch_many(query).try_collect().await;
        self.settled(used, answer)
    }

    /// Records an error of a statement for all connections of the pool. Answers whether the
    /// statement's connection has to end.
    pub(super) fn learn(&self, error: &sqlx::Error) -> bool {
        let is_suspect = self.faults.learn(error);
        if is_suspect {
            self.servers.look_again();
        }
        is_suspect
    }

    /// Passes the outcome on; ends the connection where the error is about it.
    fn settled<T>(
        &self,
        mut used: InUse,
        outcome: Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        match &outcome {
            Ok(_) => self.spare(used),
            Err(error) if self.learn(error) => used.connection.close_on_drop(),
            // After an error the pool asks what state the session is in.
            Err(_) => {}
        }
        outcome
    }
}

/// Gives spare connections that nobody wanted back to the pool, until none is left.
async fn give_back_unwanted(spares: Weak<Spares>) {
    loop {
        tokio::time::sleep(SPARE_FOR).await;
        let Some(spares) = spares.upgrade() else { return };
        let mut list = spares.list();
        let unwanted = list.spares.partition_point(|spare| spare.since.elapsed() >= SPARE_FOR);
        list.spares.drain(..unwanted);
        if list.spares.is_empty() {
            list.is_watched = false;
            return;
        }
    }
}

impl Faults {
    fn not_connected(&self, error: &sqlx::Error, by_socket: bool) {
        let mut known = self.known();
        if is_full(error) {
            if known.full.is_none_or(|at| at.elapsed() >= FULL_FOR) {
                tracing::warn!(
                    "Postgres gives this role no more connections: those that are open are shared"
                );
            }
            known.full = Some(Instant::now());
        }
        let error =
            super::error::Error::from_connecting(error, by_socket, super::error::Place::here());
        known.refused = Some((Instant::now(), error));
    }

    /// Learns from an error of a statement; whether its connection has to end.
    fn learn(&self, error: &sqlx::Error) -> bool {
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

/// The server, the database or the role has no connection left.
fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.code().as_deref() == Some("53300"))
}

impl<'p> Executor<'p> for &'_ Sessions {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        stream::once(async move {
            let rows = sessions.run_to_its_end(query).await?;
            Ok::<_, sqlx::Error>(stream::iter(rows.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        Box::pin(async move {
            let rows = sessions.run_to_its_end(query).await?;
            Ok(rows.into_iter().find_map(Either::right))
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move {
            let mut used = sessions.take().await?;
            let prepared = used.connection.prepare_with(sql, parameters).await;
            sessions.settled(used, prepared)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move { sessions.acquire().await?.describe(sql).await })
    }
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
