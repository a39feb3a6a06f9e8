//! The leases that this process holds, on rows of every kind: renewed together while it works, and
//! given up in time when they cannot be renewed. `store/lease.rs` defines leases.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::ids::{Ids, LeaseToken};
use crate::periodic::{self, Periodic};
use crate::store::Store;
use crate::store::lease::{LeaseKey, Leased};
use crate::store::leased_tables::TABLES;

/// Clones share the leases.
#[derive(Clone, Debug)]
pub struct Leases {
    store: Store,
    /// How long one lasts, by the database's clock.
    length: Duration,
    held: Arc<Mutex<HashMap<Row, Held>>>,
}

/// A table's kind, and the id of its row.
type Row = (&'static str, Uuid);

#[derive(Debug)]
struct Held {
    table: &'static Leased,
    token: LeaseToken,
    /// It certainly lasts until then, by our monotonic clock.
    until: Instant,
    lost: CancellationToken,
}

/// One lease. Once dropped, also by a panic, it is not renewed any more.
#[derive(Debug)]
pub struct Lease {
    table: &'static Leased,
    key: LeaseKey,
    /// Fires when it is lost.
    pub lost: CancellationToken,
    leases: Leases,
}

impl Lease {
    /// Does the work, unless the lease is lost first: then drops it, with `None`.
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Gives the row back unfinished, for another process to claim at once.
    pub async fn give_back(self) {
        self.leases.release(self.table, &[self.key]).await;
    }

    fn row(&self) -> Row {
        (self.table.kind, self.key.id)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        if held.get(&self.row()).is_some_and(|lease| lease.token == self.key.token) {
            held.remove(&self.row());
        }
    }
}

impl Leases {
    pub fn new(store: Store, length: Duration) -> Self {
        Self { store, length, held: Arc::default() }
    }

    /// How long a lease lasts, for those who claim one.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Takes over a lease from a claim that began at `claimed_at`. A claim that took as long as the
    /// lease gives a lost one. An earlier lease of the same row is lost too: it was renewed too late.
    pub fn hold(&self, table: &'static Leased, key: LeaseKey, claimed_at: Instant) -> Lease {
        let lost = CancellationToken::new();
        let until = claimed_at + self.length;
        if until <= Instant::now() {
            lost.cancel();
        }
        let held = Held { table, token: key.token, until, lost: lost.clone() };
        if let Some(earlier) = self.lock().insert((table.kind, key.id), held) {
            earlier.lost.cancel();
        }
        Lease { table, key, lost, leases: self.clone() }
    }

    /// Renews until dropped.
    pub async fn keep_renewing(&self, ids: &Ids) {
        periodic::repeat(ids, Renewing(self)).await;
    }

    /// Gives back what is still held, for a graceful stop.
    pub async fn release_all(&self) {
        // Work that ends by it drops its lease, which must be released all the same.
        let held = std::mem::take(&mut *self.lock());
        for lease in held.values() {
            lease.lost.cancel();
        }
        for (table, mine) in by_table(&held) {
            if !mine.is_empty() {
                self.release(table, &mine).await;
            }
            report(table, 0);
        }
    }

    async fn release(&self, table: &Leased, mine: &[LeaseKey]) {
        match self.store.leases().release(table, mine).await {
            Ok(released) => tracing::info!(kind = table.kind, released, "leases released"),
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().code(), kind = table.kind, leases = mine.len(), "leases not released: they expire");
            }
        }
    }

    async fn renew(&self, table: &Leased, mine: &[LeaseKey], limit: Duration) {
        let asked_at = Instant::now();
        let renewing = self.store.leases().renew(table, mine, self.length);
        match tokio::time::timeout(limit, renewing).await {
            Ok(Ok(renewed)) => self.settle(table, mine, &renewed, asked_at),
            Ok(Err(error)) => {
                tracing::warn!(%error, cause = error.cause().code(), kind = table.kind, leases = mine.len(), "leases not renewed");
            }
            Err(_) => {
                tracing::warn!(
                    kind = table.kind,
                    leases = mine.len(),
                    "leases not renewed in time"
                );
            }
        }
    }

    fn settle(&self, table: &Leased, mine: &[LeaseKey], renewed: &[Uuid], asked_at: Instant) {
        let mut held = self.lock();
        for LeaseKey { id, token } in mine {
            let row = held.get_mut(&(table.kind, *id)).filter(|lease| lease.token == *token);
            let Some(lease) = row else { continue }; // Completed meanwhile.
            if renewed.contains(id) {
                lease.until = asked_at + self.length;
            } else {
                lease.lost.cancel();
            }
        }
    }

    fn give_up_before(&self, limit: Instant) {
        for lease in self.lock().values().filter(|lease| lease.until <= limit) {
            lease.lost.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Row, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews all leases at a third of their length.
struct Renewing<'a>(&'a Leases);

impl Periodic for Renewing<'_> {
    /// Where Postgres does not answer, a lease is given up while it certainly still lasts, so that
    /// no call outlives it.
    async fn round(&mut self) -> Duration {
        let leases = self.0;
        let every = leases.length / 3;
        let tables = by_table(&leases.lock());
        for (table, mine) in &tables {
            report(table, mine.len());
        }
        let held = tables.iter().filter(|(_, mine)| !mine.is_empty());
        let renewing = held.map(|(table, mine)| leases.renew(table, mine, every));
        futures_util::future::join_all(renewing).await;
        // The next try may take another two thirds.
        leases.give_up_before(Instant::now() + every);
        every
    }
}

/// Every table, also where nothing is held: the metrics show that as 0.
fn by_table(held: &HashMap<Row, Held>) -> Vec<(&'static Leased, Vec<LeaseKey>)> {
    let mut tables: BTreeMap<_, _> =
        TABLES.into_iter().map(|table| (table.kind, (table, Vec::new()))).collect();
    for ((kind, id), lease) in held {
        let (_, keys) = tables.entry(*kind).or_insert_with(|| (lease.table, Vec::new()));
        keys.push(LeaseKey { id: *id, token: lease.token });
    }
    tables.into_values().collect()
}

/// For the metrics.
fn report(table: &Leased, held: usize) {
    metrics::gauge!("verdict_leases", "kind" => table.kind)
        .set(u32::try_from(held).unwrap_or(u32::MAX));
}
