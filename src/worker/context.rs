//! The context that every part of the worker shares: settings and connections to the outside.
//!
//! There is no logic of the worker here. The loops are in separate files, which use this one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::deliveries::context::Deliveries;
use super::image_context::Images;
use super::next_step::Schedule;
use super::witnesses::context::AuditHeads;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::review::FourEyes;
use crate::domain::source::Groups;
use crate::periodic::jittered;
use crate::policies::active::ActivePolicies;
use crate::provider::Provider;
use crate::store::Store;
use crate::store::completions::Completing;
use crate::store::signals::Signals;
use crate::vault::{AuditSeal, PersonIndex, Vault};

#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the provider account: replicas with the same name share budget and breaker.
    pub account: String,
    /// Calls under way at once in this process.
    pub concurrency: usize,
    /// Calls per second of the account, all replicas together.
    pub queries_per_second: f64,
    /// Length of a lease: another worker claims a killed worker's rows when it has ended.
    pub lease: Duration,
    /// How long calls under way may continue after a stop.
    pub drain: Duration,
    /// Transient faults in a row that open the breaker.
    pub faults_to_open: i32,
    /// Longest time between two probes of an open breaker.
    pub longest_probe: Duration,
    /// When to poll and to retry.
    pub schedule: Schedule,
    /// How long a person's data is kept; `None`: until an explicit erasure.
    pub keep_persons: Option<Duration>,
    /// How long images are kept; `None`: as long as the person's data.
    pub keep_images: Option<Duration>,
    /// How long callbacks of settled verifications are kept; `None`: indefinitely.
    pub keep_callbacks: Option<Duration>,
    /// How long events stay in the log; `None`: indefinitely.
    pub keep_events: Option<Duration>,
    pub keep_results: Option<Duration>,
    pub keep_decisions: Option<Duration>,
    pub keep_audit: Option<Duration>,
    /// The reviews that need a second person.
    pub four_eyes: FourEyes,
}

impl Settings {
    /// Calls per second that are granted, and the burst: how many may go out at once after a pause.
    /// The burst makes up for a timer that is 10 ms late. Together they stay below the account's
    /// limit within any one second: 0.965 of it, and the one call that a second may begin with. The
    /// rest is for calls that the network bunches. At 50 and 200 calls a second it was just enough.
    pub(super) fn granted_rate(&self) -> (f64, f64) {
        (self.queries_per_second * 0.955, 1.0 + self.queries_per_second * 0.01)
    }
}

#[derive(Debug)]
pub struct Worker {
    pub settings: Settings,
    pub store: Store,
    /// Group commit of completions.
    pub completing: Completing,
    /// Wakes the loops up.
    pub signals: Signals,
    pub provider: Provider,
    pub vault: Arc<Vault>,
    pub persons: PersonIndex,
    pub images: Images,
    /// Delivers events to webhook endpoints.
    pub deliveries: Deliveries,
    /// Signs checkpoints of the audit.
    pub audit_seal: AuditSeal,
    /// Has heads of the audit signed; `None`: there are no witnesses.
    pub heads: Option<AuditHeads>,
    /// The sources that share their verifications.
    pub groups: Arc<Groups>,
    pub policies: ActivePolicies,
    /// Business time.
    pub clock: Clock,
    pub ids: Ids,
    /// This process has recorded a fault of the account since the last good result.
    pub faults: AtomicBool,
}

/// Longest interval of the fallback poll: works without `NOTIFY`, behind `PgBouncer` for example.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Worker {
    /// The time to the next fallback poll.
    pub(super) fn jittered_poll(&self) -> Duration {
        jittered(&self.ids, POLL_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::backoff::Backoff;

    #[test]
    fn granted_rate_never_exceeds_the_account_in_any_second() {
        for allowed in (1..=2000).map(f64::from) {
            let settings = Settings { queries_per_second: allowed, ..settings() };
            let (rate, burst) = settings.granted_rate();
            // Within a closed second GCRA grants at most burst + rate, in whole calls.
            assert!((burst + rate).floor() <= allowed, "{allowed}: {rate} and {burst}");
            assert!(rate >= 0.95 * allowed && burst >= 1.0);
        }
    }

    fn settings() -> Settings {
        Settings {
            account: String::new(),
            concurrency: 1,
            queries_per_second: 1.0,
            lease: Duration::from_secs(5),
            drain: Duration::from_secs(1),
            faults_to_open: 1,
            longest_probe: Duration::from_secs(1),
            schedule: Schedule {
                unfinished: Vec::new(),
                backoff: Backoff::new(Duration::ZERO, Duration::ZERO),
                unreadable_tries: 1,
                transient_tries: 1,
            },
            keep_persons: None,
            keep_images: None,
            keep_callbacks: None,
            keep_events: None,
            keep_results: None,
            keep_decisions: None,
            keep_audit: None,
            four_eyes: FourEyes::Off,
        }
    }
}
