//! Unsigned hints that the provider may have a result: who sent one, and what became of it.

use std::time::Duration;

use crate::domain::callback::CertifyId;
use crate::domain::clock::Clock;
use crate::domain::ids::VerificationId;
use crate::store::signals::Signals;
use crate::store::wakeups::{Sender, Wakeup, Waking, Woken};

/// For the database. A browser waits for it, and without it a poll follows anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// Passes hints on.
#[derive(Debug)]
pub struct Wakeups {
    waking: Waking,
    signals: Signals,
    clock: Clock,
}

impl Wakeups {
    pub fn new(waking: Waking, signals: Signals, clock: Clock) -> Self {
        Self { waking, signals, clock }
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
        metrics::counter!("verdict_wakeups_total", "by" => by, "outcome" => outcome).increment(1);
        id
    }
}
