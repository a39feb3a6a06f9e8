//! Long polls: callers wait for a verification to settle; one query serves all who wait. Requests
//! that wait for events count within the same limits (`event_watch.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{ApiKeyId, VerificationId};
use crate::periodic::Spacing;
use crate::store::Store;
use crate::store::signals::Signals;

/// How often the database is polled when no signal arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Between two queries.
const MIN_INTERVAL: Duration = Duration::from_millis(2);

/// Clones share the waiters.
#[derive(Clone, Debug)]
pub struct LongPolls(Arc<Inner>);

/// Long polls at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all callers.
    pub all: usize,
    /// Of one API key.
    pub per_key: usize,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    waiters: Mutex<Waiters>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiters {
    by_verification: HashMap<VerificationId, (usize, watch::Sender<bool>)>,
    by_key: HashMap<ApiKeyId, usize>,
    all: usize,
}

/// The limit of all keys or of this one is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWaits;

/// Counts one waiting request; dropping it makes space for another.
#[derive(Debug)]
pub struct Permit {
    key: ApiKeyId,
    polls: LongPolls,
}

/// One request that waits for a verification.
#[derive(Debug)]
pub struct Waiter {
    of: VerificationId,
    permit: Permit,
    settled: watch::Receiver<bool>,
    /// The loop was woken for it.
    announced: bool,
}

impl LongPolls {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, waiters: Mutex::default(), arrived: Notify::new() }))
    }

    /// Admits a request that waits, whatever for.
    pub fn admit(&self, key: ApiKeyId) -> Result<Permit, TooManyWaits> {
        let limits = self.0.limits;
        let mut waiters = self.lock();
        let of_key = waiters.by_key.get(&key).copied().unwrap_or(0);
        if waiters.all >= limits.all || of_key >= limits.per_key {
            return Err(TooManyWaits);
        }
        waiters.all += 1;
        waiters.by_key.insert(key, of_key + 1);
        drop(waiters);
        Ok(Permit { key, polls: self.clone() })
    }

    /// Registers a request. Read the verification *after* this, so that no change is missed.
    pub fn enter(&self, id: VerificationId, key: ApiKeyId) -> Result<Waiter, TooManyWaits> {
        let permit = self.admit(key)?;
        let mut waiters = self.lock();
        let new = || (0, watch::Sender::new(false));
        let (places, sender) = waiters.by_verification.entry(id).or_insert_with(new);
        *places += 1;
        let settled = sender.subscribe();
        drop(waiters);
        Ok(Waiter { of: id, permit, settled, announced: false })
    }

    /// Serves the waiters until stopped.
    pub async fn serve(&self, store: Store, signals: Signals, stop: CancellationToken) {
        let mut settled = signals.settled();
        let mut spacing = Spacing::new(MIN_INTERVAL);
        loop {
            spacing.end().await;
            let ids: Vec<VerificationId> = self.lock().by_verification.keys().copied().collect();
            if !ids.is_empty() {
                match store.verifications().settled_among(&ids).await {
                    Ok(settled) => self.notify(&settled),
                    Err(error) => {
                        tracing::warn!(%error, cause = error.cause().code(), "long-poll lookup failed");
                    }
                }
                spacing.begin();
            }
            let idle = self.lock().by_verification.is_empty();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.arrived.notified() => {}
                _ = settled.changed(), if !idle => {}
                () = tokio::time::sleep(POLL_INTERVAL), if !idle => {}
            }
        }
    }

    fn notify(&self, settled: &[VerificationId]) {
        let waiters = self.lock();
        for id in settled {
            if let Some((_, sender)) = waiters.by_verification.get(id) {
                sender.send_replace(true);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits until it settles.
    pub async fn settled(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            self.permit.polls.0.arrived.notify_one();
        }
        // The sender lives as long as this waiter.
        let _ = self.settled.wait_for(|settled| *settled).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.permit.polls.lock();
        if let Some((places, _)) = waiters.by_verification.get_mut(&self.of) {
            *places -= 1;
            if *places == 0 {
                waiters.by_verification.remove(&self.of);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut waiters = self.polls.lock();
        waiters.all -= 1;
        if let Some(places) = waiters.by_key.get_mut(&self.key) {
            *places -= 1;
            if *places == 0 {
                waiters.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_by_key_and_in_all_and_come_back() {
        let polls = LongPolls::new(Limits { all: 3, per_key: 2 });
        let verification = VerificationId(uuid::Uuid::nil());
        let [one, other] = [1, 2].map(|n| ApiKeyId(uuid::Uuid::from_u128(n)));
        let first = polls.enter(verification, one).unwrap();
        let _second = polls.enter(verification, one).unwrap();
        assert_eq!(polls.enter(verification, one).unwrap_err(), TooManyWaits);
        let third = polls.enter(verification, other).unwrap();
        assert_eq!(polls.enter(verification, other).unwrap_err(), TooManyWaits);
        drop(third);
        drop(first);
        let again = polls.admit(one).unwrap();
        assert!(polls.lock().by_key.len() == 1 && polls.lock().all == 2);
        assert_eq!(polls.admit(one).unwrap_err(), TooManyWaits);
        drop(again);
        let _last = polls.admit(one).unwrap();
        assert_eq!(polls.lock().by_verification.len(), 1);
    }
}
