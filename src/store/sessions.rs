//! The sessions with Postgres: which may be used again, and what happens when none can be had.
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
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr};
use tokio::time::Instant;

use super::servers::{self, Servers};
use super::session_faults::{DIAGNOSE_LIMIT, FULL_FOR, Faults};

/// A new connection is usually there by then; if not, one that comes back serves as well.
const CONNECT_NORMALLY: Duration = Duration::from_millis(50);
/// Between two looks for a connection that came back.
const LOOK_FOR_IDLE: Duration = Duration::from_millis(5);
/// A caller that waits longer for a connection has somebody find out why.
const DIAGNOSE_AFTER: Duration = Duration::from_millis(200);

/// A spare connection that nobody wanted for this long goes back to the pool.
const SPARE_FOR: Duration = Duration::from_millis(100);
/// So does one that has been away from the pool for so long, for the pool's questions about it.
const AWAY_FOR: Duration = Duration::from_secs(1);

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
        let acquired = self.acquire_from_pool().await;
        drop(waiting);
        if acquired.as_ref().is_err_and(|error| !matches!(error, sqlx::Error::PoolClosed)) {
            // The server in use may be gone, its name and its socket too: no statement would tell.
            self.servers.look_again();
        }
        let connection = acquired?;
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
        let mut changes = self.servers.changes();
        loop {
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
                biased;
                acquired = &mut acquiring => return acquired,
                found = self.idle_one() => return Ok(found),
                () = self.faults.until_standby_is_found() => {
                    return Err(sqlx::Error::PoolTimedOut);
                }
                // The attempt so far leads to the server that was used before.
                Ok(()) = changes.changed() => {}
                () = waiting => return Err(sqlx::Error::PoolTimedOut),
            }
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
        if !self.faults.may_diagnose() {
            return;
        }
        let options = self.servers.current();
        let faults = self.faults.clone();
        self.servers.look_again();
        tokio::spawn(async move {
            match servers::look(&options, DIAGNOSE_LIMIT).await {
                Ok(_) => faults.connected(),
                Err(error) => faults.not_connected(error),
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
