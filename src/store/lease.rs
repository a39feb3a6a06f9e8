//! Leases: one process at a time works on a row, and one that lost the row writes nothing.
//!
//! - **Claim.** A statement takes rows whose lease is free: there is none, or it has ended. It sets
//!   `lease_token`, a fencing token that nobody had before, and `lease_until`.
//! - **Renew.** While it works, the process lengthens its leases ([`Leasing::renew`]).
//! - **Fence.** Every write about a leased row compares the token. Once another process has claimed
//!   the row, the token no longer fits and nothing is written.
//! - **Give back.** The write that ends the work clears token and time. A process that stops first
//!   releases its rows as they are ([`Leasing::release`]). One that was killed does neither: its
//!   leases end.
//!
//! The database's clock alone judges. A lease that ended but that nobody else claimed is still good.
//!
//! A leased table has the columns `lease_token uuid` and `lease_until timestamptz`, and declares one
//! [`Leased`] with two statements. The macros `renew!` and `release!` are their text for every table
//! except verifications, which lock rows in the order of accepting, and endpoints, which fall due when
//! they are released. `worker/leases.rs` keeps the
//! leases that a process holds.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::{Execute, Scalars};
use crate::domain::ids::LeaseToken;

/// A table whose rows are leased.
pub struct Leased {
    /// Its rows' name in metrics.
    pub kind: &'static str,
    pub(super) renew: fn(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Scalars<Uuid>,
    pub(super) release: fn(ids: &[Uuid], tokens: &[Uuid]) -> Execute,
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// One lease: the row, and the token that must still fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseKey {
    /// The row's id. In a table whose rows have no `uuid`: the token itself.
    pub id: Uuid,
    pub token: LeaseToken,
}

/// Leases on the rows of any leased table.
#[derive(Clone, Copy, Debug)]
pub struct Leasing<'a>(&'a Store);

impl Store {
    pub fn leases(&self) -> Leasing<'_> {
        Leasing(self)
    }

    /// Runs a fenced write of one row. `false`: the token no longer fits, and nothing was written.
    #[track_caller]
    pub(super) fn write_fenced(
        &self,
        write: impl Fn() -> Execute,
    ) -> impl Future<Output = Result<bool>> {
        self.run(move || {
            let query = write();
            async move { query.execute(&self.pool).await.map(|done| done.rows_affected() == 1) }
        })
    }
}

impl Leasing<'_> {
    /// Lengthens leases: they last `lease` from now. Answers with the ids of those whose token still
    /// fits.
    pub async fn renew(
        self,
        table: &Leased,
        held: &[LeaseKey],
        lease: Duration,
    ) -> Result<Vec<Uuid>> {
        let (ids, tokens) = columns(held);
        let renew = || (table.renew)(&ids, &tokens, lease.as_secs_f64()).fetch_all(&self.0.pool);
        self.0.run(renew).await
    }

    /// Gives rows back unfinished, due as before. Answers how many tokens still fitted.
    pub async fn release(self, table: &Leased, held: &[LeaseKey]) -> Result<u64> {
        let (ids, tokens) = columns(held);
        self.0
            .run(|| async {
                (table.release)(&ids, &tokens)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected())
            })
            .await
    }
}

fn columns(held: &[LeaseKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    held.iter().map(|key| (key.id, key.token.0)).unzip()
}

/// Renews leases on a table, by the column that [`LeaseKey::id`] is compared with. A renewal that is
/// lost in a crash of Postgres does no harm, so it does not wait for the disk.
macro_rules! renew {
    ($table:literal, $key:literal) => {
        concat!(
            "with durability as materialized (
                 select set_config('synchronous_commit', 'off', true)
             ), held as (
                 select t.",
            $key,
            " as id, h.token
                 from unnest($1::uuid[], $2::uuid[]) as h (id, token), durability, ",
            $table,
            " t
                 where t.",
            $key,
            " = any ($1) and t.",
            $key,
            " = h.id order by t.",
            $key,
            " for update of t
             )
             update ",
            $table,
            " t set lease_until = verdict_now() + make_interval(secs => $3)
             from held
             where t.",
            $key,
            " = any ($1) and t.",
            $key,
            " = held.id and t.lease_token = held.token
             returning t.",
            $key
        )
    };
}
pub(super) use renew;

/// Releases leases on a table, by the same column.
macro_rules! release {
    ($table:literal, $key:literal) => {
        concat!(
            "update ",
            $table,
            " t set lease_token = null, lease_until = null
             from unnest($1::uuid[], $2::uuid[]) as h (id, token)
             where t.",
            $key,
            " = any ($1) and t.",
            $key,
            " = h.id and t.lease_token = h.token"
        )
    };
}
pub(super) use release;

/// Claims the one row that a condition picks, if its lease is free. The first parameters are the
/// token and the length of the lease in seconds; the condition begins at `$3`.
macro_rules! claim_one {
    ($table:literal where $condition:literal returning $columns:literal) => {
        concat!(
            "update ",
            $table,
            " set lease_token = $1, lease_until = verdict_now() + make_interval(secs => $2)
             where ",
            $condition,
            " and (lease_until is null or lease_until <= verdict_now())
             returning ",
            $columns
        )
    };
}
pub(super) use claim_one;
