//! Long polls: callers wait for a verification to settle; one query serves all who wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::ids::VerificationId;
use crate::store::Store;
use crate::store::signals::Signals;

/// How often waiters are looked up when no signal comes.
const POLL: Duration = Duration::from_millis(500);
/// Shortest distance of two look-ups.
const PAUSE: Duration = Duration::from_millis(2);

/// Clones share the waiters.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: Mutex<HashMap<VerificationId, (usize, watch::Sender<bool>)>>,
    arrived: Notify,
}

/// One caller's place; leaving it frees it.
#[derive(Debug)]
pub struct Waiter {
    of: VerificationId,
    waiting: Waiting,
    settled: watch::Receiver<bool>,
}

impl Waiting {
    /// Takes a place. Look at the verification *after* this, so that nothing slips between.
    pub fn enter(&self, id: VerificationId) -> Waiter {
        let mut waiters = self.lock();
        let (places, sender) = waiters.entry(id).or_insert_with(|| (0, watch::Sender::new(false)));
        *places += 1;
        let settled = sender.subscribe();
        drop(waiters);
        Waiter { of: id, waiting: self.clone(), settled }
    }

    /// Serves the waiters until stopped.
    pub async fn serve(&self, store: Store, signals: Signals, stop: CancellationToken) {
        let mut settled = signals.settled();
        loop {
            let ids: Vec<VerificationId> = self.lock().keys().copied().collect();
            if !ids.is_empty() {
                match store.settled_among(&ids).await {
                    Ok(settled) => self.tell(&settled),
                    Err(error) => tracing::warn!(%error, "waiters could not be looked up"),
                }
            }
            let idle = self.lock().is_empty();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.arrived.notified() => {}
                _ = settled.changed(), if !idle => {}
                () = tokio::time::sleep(POLL), if !idle => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn tell(&self, settled: &[VerificationId]) {
        let waiters = self.lock();
        for id in settled {
            if let Some((_, sender)) = waiters.get(id) {
                sender.send_replace(true);
            }
        }
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<VerificationId, (usize, watch::Sender<bool>)>> {
        self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits until it settles, at most this long.
    pub async fn wait(&mut self, at_most: Duration) {
        self.waiting.0.arrived.notify_one();
        let _ = tokio::time::timeout(at_most, self.settled.wait_for(|settled| *settled)).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.waiting.lock();
        if let Some((places, _)) = waiters.get_mut(&self.of) {
            *places -= 1;
            if *places == 0 {
                waiters.remove(&self.of);
            }
        }
    }
}
