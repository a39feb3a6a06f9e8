//! The claim loop: takes due work under leases, within the account's budget, and lets go of it
//! gracefully.

pub mod archiving;
mod backtesting;
mod expiring_leases;
mod fairness;
pub mod fetch_result;
mod horizon;
pub mod leases;
pub mod links;
pub mod material;
pub mod next_step;
mod retention;
mod tasks;
mod upkeep;
mod watching;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::source::Groups;
use crate::policies::active::ActivePolicies;
use crate::provider::Provider;
use crate::store::Store;
use crate::store::claims::{Claim, ClaimLimits};
use crate::store::completions::Completing;
use crate::store::signals::Signals;
use crate::vault::{AuditSeal, PersonIndex, Vault};
use archiving::Images;
use expiring_leases::ExpiringLeases;
use fairness::{FairQueue, MOST_PROPOSED, WALK};
use fetch_result::{AccountAtClaim, fetch_result};
use horizon::{Horizon, Look};
use leases::{Held, Leases};
use next_step::Schedule;

/// How the worker works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the provider account: replicas with the same name share budget and breaker.
    pub account: String,
    /// Calls under way at once in this process.
    pub concurrency: usize,
    /// Calls per second of the account, all replicas together.
    pub queries_per_second: f64,
    /// Length of a lease: a killed worker's work resumes after at most this.
    pub lease: Duration,
    /// How long calls under way may go on after a stop.
    pub drain: Duration,
    /// Passing faults in a row that open the breaker.
    pub faults_to_open: i32,
    /// Longest distance of two probes.
    pub longest_probe: Duration,
    /// When to ask again.
    pub schedule: Schedule,
    /// How long a person's data is kept; `None`: until somebody erases it.
    pub keep_persons: Option<Duration>,
    /// How long images are kept; `None`: as long as the person.
    pub keep_images: Option<Duration>,
    /// How long callbacks of settled verifications are kept; `None`: for ever.
    pub keep_callbacks: Option<Duration>,
}

impl Settings {
    /// Calls per second that are granted, and how many may go out at once after a pause. The burst
    /// lets a timer that is 10 ms late catch up. Together they stay below what the account allows
    /// within any one second (0.965 of it, and the one call that a second may begin with); the rest
    /// is for calls that the network bunches: measured, it is just enough at 50 and 200 a second.
    fn pace(&self) -> (f64, f64) {
        (self.queries_per_second * 0.955, 1.0 + self.queries_per_second * 0.01)
    }
}

/// One process's worker.
#[derive(Debug)]
pub struct Worker {
    /// How it works.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// Group commit of completions.
    pub completing: Completing,
    /// Wake-ups.
    pub signals: Signals,
    /// The provider.
    pub provider: Provider,
    /// Seals bodies.
    pub vault: Arc<Vault>,
    /// Finds a person's verifications again.
    pub persons: PersonIndex,
    /// Fetches and keeps images.
    pub images: Images,
    /// Signs checkpoints of the audit.
    pub audit_seal: AuditSeal,
    /// Which sources share their verifications.
    pub groups: Arc<Groups>,
    /// The policies in use.
    pub policies: ActivePolicies,
    /// Business time.
    pub clock: Clock,
    /// Ids and jitter.
    pub ids: Ids,
    /// This process has put a fault of the account on record since the last good answer.
    pub faults: AtomicBool,
}

/// Shortest fallback poll, doubled by jitter: works without `NOTIFY`, `PgBouncer` included.
const POLL: Duration = Duration::from_millis(250);

impl Worker {
    /// Works until stopped, then lets calls under way finish and gives the rest back.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let new_leases = |on| Leases::new(worker.store.clone(), on, worker.settings.lease);
        let (leases, on_tasks) = (new_leases(Held::Verifications), new_leases(Held::Tasks));
        let expiring = ExpiringLeases::default();
        let tasks = TaskTracker::new();
        tokio::select! {
            () = async {
                tokio::join!(
                    worker.claim_until_stopped(&leases, &expiring, &tasks, &stop),
                    worker.work_on_tasks_until_stopped(&on_tasks, &tasks, &stop),
                    worker.backtest_until_stopped(&on_tasks, &stop),
                );
            } => {}
            () = leases.keep_renewing() => {}
            () = on_tasks.keep_renewing() => {}
            () = worker.find_expiring_leases(&expiring) => {}
            () = worker.keep_up() => {}
            () = worker.watch() => {}
            () = worker.policies.follow(&worker.store) => {}
        }
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = leases.keep_renewing() => {}
            () = on_tasks.keep_renewing() => {}
            () = tokio::time::sleep(worker.settings.drain) => {
                tracing::warn!(calls = tasks.len(), "calls cut after the drain time");
            }
        }
        leases.release_all().await;
        on_tasks.release_all().await;
    }

    async fn claim_until_stopped(
        self: &Arc<Self>,
        leases: &Leases,
        expiring: &ExpiringLeases,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency));
        let mut horizon = Horizon::new(Instant::now());
        let mut queue = FairQueue::default();
        let mut mistakes = Mistakes::default();
        while let Some(permits) = free_slots(&slots, self.settings.concurrency, stop).await {
            let free = permits.num_permits();
            let pause = match self.claim(free, &mut horizon, &mut queue, expiring).await {
                Ok((claim, asked_at)) => {
                    mistakes = Mistakes::default();
                    let pause = self.pause_after(&claim, free);
                    self.start(claim, asked_at, permits, leases, tasks);
                    pause
                }
                Err(error) => {
                    tracing::warn!(%error, cause = error.cause().code(), "cannot claim");
                    Pause::For(mistakes.pause(&error, self.jittered_poll()))
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.rest(pause) => {}
            }
        }
    }

    async fn claim(
        &self,
        free: usize,
        horizon: &mut Horizon,
        queue: &mut FairQueue,
        expiring: &ExpiringLeases,
    ) -> crate::store::Result<(Claim, Instant)> {
        self.walk(queue).await;
        let due_since = self.due_since(horizon).await?;
        expiring.begin_at(horizon.unclaimed_since());
        let asked_at = Instant::now();
        let proposed = queue.propose(free);
        // A claim by age tells how far everything is claimed, so none goes before it.
        let ended =
            if queue.goes_by_age() { Vec::new() } else { expiring.ended(asked_at, MOST_PROPOSED) };
        let in_turn = proposed.iter().map(|row| row.id).filter(|id| !ended.contains(id));
        let first: Vec<Uuid> = ended.iter().copied().chain(in_turn).collect();
        let (queries_per_second, burst) = self.settings.pace();
        let limits = ClaimLimits {
            account: &self.settings.account,
            max_rows: i32::try_from(free).unwrap_or(i32::MAX),
            lease: self.settings.lease,
            queries_per_second,
            burst,
            probe_every: self.settings.longest_probe,
            due_since,
            first: &first,
        };
        let token = self.ids.next(self.clock.now());
        let mut claim = self.store.claim(&limits, token).await?;
        self.store.count_past(&mut claim.rows, &self.groups.pairs()).await?;
        horizon.claimed(claim.seen_to);
        let mut claimed: Vec<Uuid> = claim.rows.iter().map(|row| row.id.0).collect();
        expiring.claimed(&claimed);
        if claim.wait.is_some() || claim.rows.len() >= free {
            claimed.retain(|id| !ended.contains(id));
            queue.claimed(proposed, &claimed);
            queue.begin(horizon.unclaimed_since());
        } else {
            queue.end();
        }
        Ok((claim, asked_at))
    }

    /// Since when rows fell due that this claim looks at; `None`: at all.
    async fn due_since(
        &self,
        horizon: &mut Horizon,
    ) -> crate::store::Result<Option<OffsetDateTime>> {
        let began = Instant::now();
        let look = horizon.look(began);
        let from = match look {
            Look::Near(since) => return Ok(Some(since)),
            Look::Wide(from) => Some(from),
            Look::Whole => None,
        };
        let oldest = self.store.oldest_due(from).await?;
        Ok(horizon.found(look, began, Instant::now(), oldest))
    }

    /// Learns which due rows are next in turn, if claims are limited.
    async fn walk(&self, queue: &mut FairQueue) {
        let began = Instant::now();
        let Some(walk) = queue.next_walk(began) else { return };
        match self.store.due_after(walk.from, WALK).await {
            Ok((found, now)) => {
                queue.walked(walk, &found, now);
                queue.rest(began, Instant::now());
            }
            Err(error) => {
                tracing::debug!(%error, "fairness walk failed: claims go by age");
                queue.end();
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        claim: Claim,
        asked_at: Instant,
        mut permits: OwnedSemaphorePermit,
        leases: &Leases,
        tasks: &TaskTracker,
    ) {
        let account = AccountAtClaim {
            breaker_open: claim.breaker_open,
            faults_on_record: claim.faults_on_record,
        };
        for claimed in claim.rows {
            let lease = leases.hold(claimed.id.0, claimed.lease_token, asked_at);
            let (worker, permit) = (Arc::clone(self), permits.split(1));
            tasks.spawn(async move {
                fetch_result(&worker, claimed, account, &lease.lost).await;
                drop((lease, permit));
            });
        }
    }

    fn pause_after(&self, claim: &Claim, free: usize) -> Pause {
        match claim.wait {
            // More is due than we had hands for.
            _ if claim.rows.len() >= free => Pause::None,
            // Capped: a probe that went well reopens the budget before its time.
            Some(wait) => Pause::For(wait.min(self.jittered_poll())),
            None => {
                let poll = self.jittered_poll();
                Pause::UntilDue(claim.next_due.map_or(poll, |next_due| next_due.min(poll)))
            }
        }
    }

    async fn rest(&self, pause: Pause) {
        match pause {
            Pause::None => {}
            Pause::For(wait) => tokio::time::sleep(wait).await,
            Pause::UntilDue(at_most) => {
                let _ = tokio::time::timeout(at_most, self.signals.due()).await;
            }
        }
    }

    fn jittered_poll(&self) -> Duration {
        POLL.mul_f64(1.0 + self.ids.fraction())
    }
}

/// Mistakes of ours in a row: the same statement again makes the same mistake, so a loop asks less
/// and less often.
#[derive(Debug, Default)]
struct Mistakes(u32);

/// Longest pause between two tries of a statement that is a mistake.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Mistakes {
    /// How long to wait after this error, at least the usual time.
    fn pause(&mut self, error: &crate::store::Error, usual: Duration) -> Duration {
        self.0 = if error.is_passing() { 0 } else { (self.0 + 1).min(16) };
        (usual * 2_u32.pow(self.0)).min(LONGEST_PAUSE).max(usual)
    }
}

enum Pause {
    None,
    For(Duration),
    UntilDue(Duration),
}

/// All free slots, once at least a quarter is free: claims stay batches under load. `None` when
/// stopped.
async fn free_slots(
    slots: &Arc<Semaphore>,
    concurrency: usize,
    stop: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    let least = u32::try_from(concurrency.div_ceil(4)).unwrap_or(1);
    let mut permits = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        permits = Arc::clone(slots).acquire_many_owned(least) => permits.ok()?,
    };
    while let Ok(more) = Arc::clone(slots).try_acquire_owned() {
        permits.merge(more);
    }
    Some(permits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_slow_a_loop_down_and_outages_do_not() {
        let mistake = crate::store::Error::Inconsistent("x");
        let outage = crate::store::Error::Busy("x");
        let mut mistakes = Mistakes::default();
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            let pause = mistakes.pause(&mistake, POLL);
            assert!(pause > last || pause == LONGEST_PAUSE);
            last = pause;
        }
        assert_eq!(last, LONGEST_PAUSE);
        assert_eq!(mistakes.pause(&outage, POLL), POLL);
    }

    #[test]
    fn no_second_can_see_more_calls_than_the_account_allows() {
        for allowed in (1..=2000).map(f64::from) {
            let settings = Settings { queries_per_second: allowed, ..settings() };
            let (rate, burst) = settings.pace();
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
                backoff_first: Duration::ZERO,
                backoff_longest: Duration::ZERO,
                unreadable_tries: 1,
                transient_tries: 1,
            },
            keep_persons: None,
            keep_images: None,
            keep_callbacks: None,
        }
    }
}
