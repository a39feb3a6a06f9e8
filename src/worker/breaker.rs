//! Writes the effect of a call on the provider account to the database, where all replicas see it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::Worker;
use super::next_step::AccountEffect;
use crate::store;
use crate::store::account_breaker::Breaker;
use crate::store::claims::Claimed;

/// The known state of the account when the call was made.
#[derive(Clone, Copy, Debug)]
pub struct AccountAtClaim {
    /// This call is a probe.
    pub breaker_open: bool,
    /// A good result has faults to clear.
    pub faults_on_record: bool,
}

/// Faults in a row that one verification may put on the account's record: a few poisoned rows must
/// not open the breaker.
const FAULTS_EACH: i32 = 2;
/// Soon enough for a short outage; doubled with every failed probe.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// Opens, closes or leaves the breaker, and pauses the account. A failure is logged: the next call
/// finds out the same.
pub async fn affect_account(
    worker: &Worker,
    claimed: &Claimed,
    effect: AccountEffect,
    at_claim: AccountAtClaim,
) {
    if let Err(error) = try_to_affect(worker, claimed, effect, at_claim).await {
        tracing::warn!(%error, cause = error.cause().code(), "breaker state could not be written");
    }
}

async fn try_to_affect(
    worker: &Worker,
    claimed: &Claimed,
    effect: AccountEffect,
    at_claim: AccountAtClaim,
) -> store::Result<()> {
    let (store, account, settings) = (&worker.store, &worker.settings.account, &worker.settings);
    let probing = at_claim.breaker_open;
    let faults_on_record = at_claim.faults_on_record || worker.faults.load(Ordering::Relaxed);
    match effect {
        AccountEffect::Well if probing || faults_on_record => clear_faults(worker, probing).await,
        // Throttled, so the provider knows and allows the account.
        AccountEffect::Pause(pause) if probing => {
            clear_faults(worker, probing).await?;
            store.accounts().pause(account, pause).await
        }
        AccountEffect::None if probing => store.accounts().probe_again(account, FIRST_PROBE).await,
        AccountEffect::Well | AccountEffect::None => Ok(()),
        AccountEffect::Pause(pause) => store.accounts().pause(account, pause).await,
        AccountEffect::Trip(cause) => trip(worker, cause, at_claim).await,
        AccountEffect::Fault if probing => trip(worker, Breaker::Outage, at_claim).await,
        AccountEffect::Fault if claimed.failures >= FAULTS_EACH => Ok(()),
        AccountEffect::Fault => {
            if count_fault(worker).await? >= settings.faults_to_open {
                trip(worker, Breaker::Outage, at_claim).await?;
            }
            Ok(())
        }
    }
}

async fn clear_faults(worker: &Worker, probing: bool) -> store::Result<()> {
    if probing {
        tracing::info!("breaker closed: calls to the provider resume");
    }
    worker.faults.store(false, Ordering::Relaxed);
    worker.store.accounts().account_is_well(&worker.settings.account).await
}

async fn count_fault(worker: &Worker) -> store::Result<i32> {
    worker.faults.store(true, Ordering::Relaxed);
    worker.store.accounts().count_fault(&worker.settings.account).await
}

async fn trip(worker: &Worker, cause: Breaker, at_claim: AccountAtClaim) -> store::Result<()> {
    let (settings, probing) = (&worker.settings, at_claim.breaker_open);
    let opened = worker
        .store
        .accounts()
        .trip(&settings.account, cause, probing, FIRST_PROBE, settings.longest_probe)
        .await?;
    if opened && !probing {
        tracing::error!(cause = cause.as_str(), "breaker opened: calls to the provider stop");
    }
    if opened {
        metrics::counter!("verdict_breaker_trips_total", "cause" => cause.as_str()).increment(1);
    }
    Ok(())
}
