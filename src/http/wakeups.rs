//! Unsigned hints that the provider may have a result: who sent one, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::domain::callback::CertifyId;
use crate::domain::clock::Clock;
use crate::domain::ids::VerificationId;
use crate::domain::returning::Notified;
use crate::store::signals::Signals;
use crate::store::wakeups::{Sender, Wakeup, Waking, Woken};

/// For the database. A browser waits for it, and without it a poll follows anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sender of a callback, as the metric names it.
const PROVIDER: &str = "provider";
/// Callbacks of the provider that wait for the database at once. An account has at most 50 a
/// second; more than these come from strangers, and are dropped.
const MAX_IN_FLIGHT: usize = 256;

/// Passes hints on.
#[derive(Clone, Debug)]
pub struct Wakeups {
    waking: Waking,
    signals: Signals,
    clock: Clock,
    in_flight: Arc<Semaphore>,
    detached: TaskTracker,
}

impl Wakeups {
    pub fn new(waking: Waking, signals: Signals, clock: Clock, detached: TaskTracker) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Self { waking, signals, clock, in_flight, detached }
    }

    /// Wakes behind the answer to a callback of the provider. `None`: it only probed the address.
    pub(super) fn notified(&self, notified: Option<Notified>, is_our_account: bool) {
        let Some(notified) = notified else { return count(PROVIDER, "probe") };
        if !is_our_account {
            return count(PROVIDER, "refused");
        }
        if notified.certify_id.is_none() {
            return count(PROVIDER, "unreadable");
        }
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            return count(PROVIDER, "dropped");
        };
        let wakeups = self.clone();
        self.detached.spawn(async move {
            wakeups.wake(notified.certify_id, Sender::Provider(notified.token)).await;
            drop(permit);
        });
    }

    /// Makes the verification due if the sender may; its id, if the sender may know it. Counts the
    /// hint, and logs nothing: strangers send them, too.
    pub(super) async fn wake(
        &self,
        certify_id: Option<CertifyId>,
        sender: Sender,
    ) -> Option<VerificationId> {
        let by = match sender {
            Sender::User(..) => "return",
            Sender::Provider(_) => PROVIDER,
        };
        let woken = match certify_id {
            None => Err("unreadable"),
            Some(certify_id) => {
                let hint = Wakeup { certify_id, sender, at: self.clock.now() };
                let woken = tokio::time::timeout(PATIENCE, self.waking.submit(hint)).await;
                woken.ok().and_then(Result::ok).ok_or("failed")
            }
        };
        let (outcome, id) = match woken {
            Ok(Woken::MadeDue(id)) => {
                self.signals.work_is_due();
                ("made-due", Some(id))
            }
            Ok(Woken::Known(id)) => ("known", Some(id)),
            Ok(Woken::Unknown) => ("unknown", None),
            Ok(Woken::Refused) => ("refused", None),
            Err(outcome) => (outcome, None),
        };
        count(by, outcome);
        id
    }
}

fn count(by: &'static str, outcome: &'static str) {
    metrics::counter!("verdict_wakeups_total", "by" => by, "outcome" => outcome).increment(1);
}
