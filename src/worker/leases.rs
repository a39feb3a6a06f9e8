//! The leases in hand: renewed together, and given up in time when they cannot be renewed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::ids::{LeaseToken, VerificationId};
use crate::store::{self, Store};

/// What leases are held on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Verifications to ask about.
    Verifications,
    /// Follow-up work.
    Tasks,
}

/// Clones share the leases.
#[derive(Clone, Debug)]
pub struct Leases {
    store: Store,
    on: Held,
    /// How long one lasts, by the database's clock.
    length: Duration,
    held: Arc<Mutex<HashMap<Uuid, Ends>>>,
}

#[derive(Debug)]
struct Ends {
    token: LeaseToken,
    /// Before this, by our monotonic clock, it certainly lasts.
    until: Instant,
    lost: CancellationToken,
}

/// One lease in hand. Dropped, also by a panic, it is renewed no more.
#[derive(Debug)]
pub struct Lease {
    id: Uuid,
    token: LeaseToken,
    /// Fires when it is lost.
    pub lost: CancellationToken,
    leases: Leases,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        if held.get(&self.id).is_some_and(|lease| lease.token == self.token) {
            held.remove(&self.id);
        }
    }
}

impl Leases {
    /// None yet.
    pub fn new(store: Store, on: Held, length: Duration) -> Self {
        Self { store, on, length, held: Arc::default() }
    }

    /// Takes up a lease asked for at `asked_at`.
    pub fn hold(&self, id: Uuid, token: LeaseToken, asked_at: Instant) -> Lease {
        let lost = CancellationToken::new();
        let held = Ends { token, until: asked_at + self.length, lost: lost.clone() };
        self.lock().insert(id, held);
        Lease { id, token, lost, leases: self.clone() }
    }

    /// Renews at a third of the length, for ever. Where Postgres does not answer, a lease is given
    /// up while it certainly still lasts, so that no call outlives it.
    pub async fn keep_renewing(&self) {
        let every = self.length / 3;
        self.say(self.tokens().len());
        loop {
            tokio::time::sleep(every).await;
            let asked_at = Instant::now();
            let mine = self.tokens();
            self.say(mine.len());
            if mine.is_empty() {
                continue;
            }
            match tokio::time::timeout(every, self.renew(&mine)).await {
                Ok(Ok(renewed)) => self.settle(&mine, &renewed, asked_at),
                Ok(Err(error)) => {
                    tracing::warn!(%error, cause = error.cause().code(), leases = mine.len(), "leases not renewed");
                }
                Err(_) => tracing::warn!(leases = mine.len(), "leases not renewed in time"),
            }
            // The next try may take another two thirds.
            self.give_up_before(Instant::now() + every);
        }
    }

    /// Gives back what is still held, for a graceful stop.
    pub async fn release_all(&self) {
        let mine = self.tokens();
        for held in self.lock().values() {
            held.lost.cancel();
        }
        self.say(0);
        if mine.is_empty() {
            return;
        }
        match self.release(&mine).await {
            Ok(released) => tracing::info!(released, "leases released"),
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().code(), leases = mine.len(), "leases not released: they expire");
            }
        }
    }

    /// For the metrics.
    fn say(&self, held: usize) {
        let kind = match self.on {
            Held::Verifications => "verification",
            Held::Tasks => "task",
        };
        metrics::gauge!("verdict_leases", "kind" => kind)
            .set(u32::try_from(held).unwrap_or(u32::MAX));
    }

    async fn renew(&self, mine: &[(Uuid, LeaseToken)]) -> store::Result<Vec<Uuid>> {
        match self.on {
            Held::Verifications => {
                let renewed = self.store.renew(&verifications(mine), self.length).await?;
                Ok(renewed.into_iter().map(|id| id.0).collect())
            }
            Held::Tasks => self.store.tasks().renew_tasks(mine, self.length).await,
        }
    }

    async fn release(&self, mine: &[(Uuid, LeaseToken)]) -> store::Result<u64> {
        match self.on {
            Held::Verifications => self.store.release(&verifications(mine)).await,
            Held::Tasks => self.store.tasks().release_tasks(mine).await,
        }
    }

    fn tokens(&self) -> Vec<(Uuid, LeaseToken)> {
        self.lock().iter().map(|(id, held)| (*id, held.token)).collect()
    }

    fn settle(&self, asked: &[(Uuid, LeaseToken)], renewed: &[Uuid], asked_at: Instant) {
        let mut held = self.lock();
        for (id, token) in asked {
            let Some(lease) = held.get_mut(id).filter(|lease| lease.token == *token) else {
                continue; // Completed meanwhile.
            };
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Ends>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verifications(mine: &[(Uuid, LeaseToken)]) -> Vec<(VerificationId, LeaseToken)> {
    mine.iter().map(|(id, token)| (VerificationId(*id), *token)).collect()
}
