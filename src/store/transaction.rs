//! Short transactions of plain statements, for everything that is not on the hot path.
//!
//! sqlx' own transactions count how deep a session is, and lose the count when `begin` is cancelled
//! (see `pool.rs`). Here `begin` and `commit` are statements like any other. A transaction that is
//! dropped before its commit, for an error or because its caller went away, closes its connection:
//! Postgres undoes all of it, and no later write can end up inside.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, Postgres, SqlStr};

use super::sessions::Sessions;
use super::statements::statements;

/// The result of statements inside a transaction.
pub(super) type Done<T> = Result<T, sqlx::Error>;

/// One transaction, at the isolation level `read committed`: each statement sees what was committed
/// before it began. So whoever has locked a row sees everything about it with the next statement.
#[derive(Debug)]
pub(super) struct Transaction {
    /// `None` once it is committed.
    connection: Option<PoolConnection<Postgres>>,
    sessions: Sessions,
}

impl Sessions {
    /// Begins a transaction on a separate connection.
    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let connection = Some(self.acquire().await?);
        let mut transaction = Transaction { connection, sessions: self.clone() };
        begin().execute(&mut transaction).await?;
        Ok(transaction)
    }
}

impl Transaction {
    /// Makes durable what was written; without it nothing was.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        commit().execute(&mut self).await?;
        // Goes back to the pool, which asks once more whether it is outside a transaction.
        drop(self.connection.take());
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Passes the outcome on, and lets the pool learn from an error: this session ends in any case,
    /// its siblings may be no better.
    fn settled<T>(&self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &outcome {
            self.sessions.learn(error);
        }
        outcome
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl<'c> Executor<'c> for &'c mut Transaction {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        stream::once(async move {
            let rows: Result<Vec<_>, _> = self.connection()?.fetch_many(query).try_collect().await;
            Ok::<_, sqlx::Error>(stream::iter(self.settled(rows)?.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let row = self.connection()?.fetch_optional(query).await;
            self.settled(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let prepared = self.connection()?.prepare_with(sql, parameters).await;
            self.settled(prepared)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.connection()?.describe(sql).await })
    }
}

statements! {
    execute begin() = "begin";

    execute commit() = "commit";
}
