//! Gates before a commit: a transaction that has written everything waits at one until it is let
//! through, cut off, or left behind by its process.

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Executor};
use tokio::task::JoinHandle;

use crate::harness::eventually;
use crate::harness::protocol::terminate;

/// The gate of numbering. Other gates have the `biz_id` of their verification.
pub const NUMBERING: &str = "event_log";

/// A deferred trigger runs at the commit, and there waits for the lock of its gate.
const TRIGGERS: &str = "
    create function gate() returns trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock_shared(21,
            hashtext(coalesce(to_jsonb(new) ->> 'biz_id', 'event_log')));
        return null;
    end $$;
    create constraint trigger gate after insert or update on verifications
        deferrable initially deferred for each row execute function gate();
    create constraint trigger gate after update on event_log
        deferrable initially deferred for each row execute function gate()";

const WAITING: &str = "
    select pid from pg_locks
    where locktype = 'advisory' and not granted and classid = 21
        and objid::bigint = (hashtext($1)::bigint & 4294967295)
        and database = (select oid from pg_database where datname = current_database())";

pub struct Gates {
    look: PgPool,
    /// Its session holds the gates that are shut.
    keeper: PgConnection,
}

impl Gates {
    pub async fn new(look: &PgPool) -> Self {
        look.execute(TRIGGERS).await.expect("triggers");
        let keeper = PgConnection::connect_with(&look.connect_options()).await.expect("connected");
        Self { look: look.clone(), keeper }
    }

    pub async fn shut(&mut self, gate: &str) {
        let shut = sqlx::query("select pg_advisory_lock(21, hashtext($1))").bind(gate);
        self.keeper.execute(shut).await.expect("shut");
    }

    pub async fn open(&mut self, gate: &str) {
        let open = sqlx::query("select pg_advisory_unlock(21, hashtext($1))").bind(gate);
        self.keeper.execute(open).await.expect("opened");
    }

    /// The backend that waits at this gate.
    pub async fn waiting(&self, gate: &str) -> i32 {
        eventually("a transaction waits at the gate", || async {
            let pid = sqlx::query_scalar(WAITING).bind(gate).fetch_optional(&self.look);
            pid.await.expect("locks")
        })
        .await
    }

    /// Lets the transaction commit.
    pub async fn pass<T>(&mut self, gate: &str, statement: JoinHandle<T>) -> T {
        self.open(gate).await;
        statement.await.expect("no panic")
    }

    /// Cuts the connection before the commit, as often as the store tries.
    pub async fn cut<T>(&mut self, gate: &str, mut statement: JoinHandle<T>) -> T {
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut statement => break outcome,
                pid = self.waiting(gate) => terminate(&self.look, pid).await,
            }
        };
        self.open(gate).await;
        outcome.expect("no panic")
    }

    /// The process goes, and its transaction commits all the same.
    pub async fn pass_unheard<T>(&mut self, gate: &str, statement: JoinHandle<T>) {
        let pid = self.waiting(gate).await;
        leave(statement).await;
        self.open(gate).await;
        eventually("the backend has ended its statement", || async {
            let busy: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity where pid = $1 and state = 'active')",
            )
            .bind(pid)
            .fetch_one(&self.look)
            .await
            .expect("activity");
            (!busy).then_some(())
        })
        .await;
    }

    /// The process goes, and its transaction with it.
    pub async fn kill<T>(&mut self, gate: &str, statement: JoinHandle<T>) {
        let pid = self.waiting(gate).await;
        leave(statement).await;
        terminate(&self.look, pid).await;
        self.open(gate).await;
    }
}

async fn leave<T>(statement: JoinHandle<T>) {
    statement.abort();
    assert!(statement.await.is_err_and(|error| error.is_cancelled()), "it waits at the gate");
}
