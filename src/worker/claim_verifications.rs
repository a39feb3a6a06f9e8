//! Claims due verifications, within the account's budget: rows of expired leases first, then in
//! turn between sources where the budget does not suffice, else by age.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::breaker::AccountAtClaim;
use super::claim_loop::{ClaimWork, Rest};
use super::context::Worker;
use super::dead_workers::ExpiringLeases;
use super::fairness::{FairQueue, MOST_PROPOSED, SCAN_ROWS};
use super::fetch::fetch_result;
use super::horizon::{Horizon, Search};
use super::leases::Leases;
use crate::store::claims::{self, Claim, ClaimLimits};
use crate::store::{self, Store};

/// Claims due verifications and starts their fetches.
pub struct ClaimVerifications<'a> {
    worker: &'a Arc<Worker>,
    leases: &'a Leases,
    expiring: &'a ExpiringLeases,
    fetches: &'a TaskTracker,
    horizon: Horizon,
    queue: FairQueue,
}

impl<'a> ClaimVerifications<'a> {
    pub fn new(
        worker: &'a Arc<Worker>,
        leases: &'a Leases,
        expiring: &'a ExpiringLeases,
        fetches: &'a TaskTracker,
    ) -> Self {
        let (horizon, queue) = (Horizon::new(Instant::now()), FairQueue::default());
        Self { worker, leases, expiring, fetches, horizon, queue }
    }
}

impl ClaimWork for ClaimVerifications<'_> {
    fn slots(&self) -> usize {
        self.worker.settings.concurrency
    }

    async fn claim(&mut self, permits: OwnedSemaphorePermit) -> store::Result<Rest> {
        let free = permits.num_permits();
        // Together: over a slow network each round trip delays the claim.
        let store = &self.worker.store;
        let scan = scan(store, &mut self.queue);
        let ((), due_since) = tokio::join!(scan, due_since(store, &mut self.horizon));
        let due_since = due_since?;
        self.expiring.begin_at(self.horizon.unclaimed_since());
        let claimed_at = Instant::now();
        let claim = self.claim_at_most(free, due_since, claimed_at).await?;
        let rest = self.rest_after(&claim, free);
        self.start(claim, claimed_at, permits);
        Ok(rest)
    }

    fn log_failure(&self, error: &store::Error) {
        tracing::warn!(%error, cause = error.cause().code(), "cannot claim");
    }

    async fn woken(&self) {
        self.worker.signals.due().await;
    }
}

impl ClaimVerifications<'_> {
    async fn claim_at_most(
        &mut self,
        free: usize,
        due_since: Option<OffsetDateTime>,
        now: Instant,
    ) -> store::Result<Claim> {
        let (worker, settings) = (self.worker, &self.worker.settings);
        let proposed = self.queue.propose(free);
        // A claim by age reports how far everything is claimed, so no row goes before it.
        let ended = if self.queue.goes_by_age() {
            Vec::new()
        } else {
            self.expiring.ended(now, MOST_PROPOSED)
        };
        let in_turn = proposed.iter().map(|row| row.id).filter(|id| !ended.contains(id));
        let first: Vec<Uuid> = ended.iter().copied().chain(in_turn).collect();
        let (queries_per_second, burst) = settings.granted_rate();
        let limits = ClaimLimits {
            account: &settings.account,
            max_rows: i32::try_from(free).unwrap_or(i32::MAX),
            lease: self.leases.length(),
            queries_per_second,
            burst,
            probe_every: settings.longest_probe,
            due_since,
            first: &first,
        };
        let token = worker.ids.next(worker.clock.now());
        let mut claim = worker.store.claim(&limits, token).await?;
        worker.store.count_past(&mut claim.rows, &worker.groups.pairs()).await?;

        self.horizon.claimed(claim.claimed_to);
        let mut claimed: Vec<Uuid> = claim.rows.iter().map(|row| row.id.0).collect();
        self.expiring.claimed(&claimed);
        let is_limited = claim.wait.is_some() || claim.rows.len() >= free;
        if is_limited {
            claimed.retain(|id| !ended.contains(id));
            self.queue.claimed(proposed, &claimed);
            self.queue.begin(self.horizon.unclaimed_since());
        } else {
            self.queue.end();
        }
        Ok(claim)
    }

    fn start(&self, claim: Claim, claimed_at: Instant, mut permits: OwnedSemaphorePermit) {
        let account = AccountAtClaim {
            breaker_open: claim.breaker_open,
            faults_on_record: claim.faults_on_record,
        };
        for claimed in claim.rows {
            let lease = self.leases.hold(&claims::LEASED, claimed.lease(), claimed_at);
            let (worker, permit) = (Arc::clone(self.worker), permits.split(1));
            self.fetches.spawn(async move {
                fetch_result(&worker, claimed, account, &lease).await;
                drop((lease, permit));
            });
        }
    }

    fn rest_after(&self, claim: &Claim, free: usize) -> Rest {
        if claim.rows.len() >= free {
            return Rest::None;
        }
        let poll = self.worker.jittered_poll();
        let poll = self.expiring.next_end_in(Instant::now()).map_or(poll, |end| end.min(poll));
        match claim.wait {
            // Not longer than a poll: a probe that succeeds reopens the budget before its time.
            Some(wait) => Rest::For(wait.min(poll)),
            None => Rest::UntilWoken(claim.next_due.map_or(poll, |next_due| next_due.min(poll))),
        }
    }
}

/// The claim searches rows that fell due since then; `None`: all due rows.
async fn due_since(store: &Store, horizon: &mut Horizon) -> store::Result<Option<OffsetDateTime>> {
    let began = Instant::now();
    let search = horizon.search(began);
    let from = match search {
        Search::Recent(since) => return Ok(Some(since)),
        Search::Backlog(from) => Some(from),
        Search::All => None,
    };
    let oldest = store.oldest_due(from).await?;
    Ok(horizon.found_oldest(search, began, Instant::now(), oldest))
}

/// Finds out which due rows are next in turn, while claims are limited.
async fn scan(store: &Store, queue: &mut FairQueue) {
    let began = Instant::now();
    let Some(scan) = queue.next_scan(began) else { return };
    match store.due_after(scan.from, SCAN_ROWS).await {
        Ok((found, now)) => {
            queue.scanned(scan, &found, now);
            queue.pause(began, Instant::now());
        }
        Err(error) => {
            tracing::debug!(%error, "fairness scan failed: claims go by age");
            queue.end();
        }
    }
}
