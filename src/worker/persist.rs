//! Writes the outcome of a fetch, under the fencing token of its claim.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::backoff::millis;
use super::context::Worker;
use super::next_step::{CallOutcome, consequence};
use crate::domain::verification::State;
use crate::store;
use crate::store::claims::{Claimed, Wanted};
use crate::store::completions::{Completion, NextStep, Written};

/// Between two tries to write a completion.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Writes the completion; returns it as written, with `None` where the lease was lost. Where the
/// database refuses the data of the decision, the result is written without it: the result cost a
/// call and is kept whatever a policy makes of it (invariant 5).
pub async fn persist(
    worker: &Worker,
    claimed: &Claimed,
    mut completion: Completion,
    lost: &CancellationToken,
) -> Result<(Completion, Option<Written>), store::Error> {
    loop {
        match write(worker, &completion, lost).await {
            Err(error) if error.refuses_data() => {
                let Some(reduced) = without_decision(claimed, completion) else {
                    return Err(error);
                };
                completion = reduced;
                tracing::error!(%error, cause = error.cause().code(), verification = %claimed.id, "decision could not be persisted");
                metrics::counter!("verdict_decisions_refused_total").increment(1);
            }
            outcome => return outcome.map(|written| (completion, written)),
        }
    }
}

/// Without the shadow decision, which must not cost the one that counts; if there is none, without
/// the decision. Another call would not help then: the verification is a dead letter until there is
/// another policy.
fn without_decision(claimed: &Claimed, completion: Completion) -> Option<Completion> {
    if completion.shadow.is_some() {
        return Some(Completion { shadow: None, ..completion });
    }
    completion.decision.as_ref()?;
    let state = (claimed.wanted == Wanted::Answer).then_some(State::Failed);
    let next = NextStep { state, closed: false, due_in: None, ..completion.next };
    Some(Completion { decision: None, next, ..completion })
}

/// Writes the completion. While Postgres is unavailable, it retries until the lease ends.
/// `None`: the lease was lost. An error is one that a retry does not fix.
///
/// A try under way is not cancelled: the fencing token decides about it, and the lease may be gone
/// because that very try has ended it.
async fn write(
    worker: &Worker,
    completion: &Completion,
    lost: &CancellationToken,
) -> Result<Option<Written>, store::Error> {
    while !lost.is_cancelled() {
        match worker.completing.submit(completion.clone()).await {
            Ok(Written::Committed) => {
                wake_followers(worker, completion);
                return Ok(Some(Written::Committed));
            }
            // Another worker holds the row now; or, for a completion without a result, a try whose
            // answer was lost has written it.
            Ok(Written::Fenced) => return Ok(Some(Written::Fenced)),
            Err(error) if !error.is_passing() => return Err(error),
            Err(error) => {
                tracing::warn!(
                    %error, cause = error.cause().code(),
                    verification = %completion.verification_id, "result not written yet; retrying"
                );
                let _ = tokio::time::timeout(RETRY_AFTER, lost.cancelled()).await;
            }
        }
    }
    Ok(None)
}

fn wake_followers(worker: &Worker, completion: &Completion) {
    if completion.next.due_in.is_some_and(|due| due.is_zero()) {
        worker.signals.work_is_due();
    }
    if completion.result.as_ref().is_some_and(|result| result.links.is_some()) {
        worker.signals.task_is_due();
    }
    worker.signals.something_settled();
}

/// A completion that only sets the next step.
pub fn bare_completion(
    worker: &Worker,
    claimed: &Claimed,
    called: bool,
    next: NextStep,
) -> Completion {
    Completion {
        verification_id: claimed.id,
        lease_token: claimed.lease_token,
        attempt: claimed.attempt,
        called,
        callbacks_seen: claimed.callbacks,
        next,
        result: None,
        decision: None,
        shadow: None,
        new_data_key: None,
        at: worker.clock.now(),
    }
}

/// Reschedules a fetch whose result cannot be sealed or written: a key missing from the ring may
/// come back, and such rows must not block the others. `None`: the lease was lost.
pub async fn reschedule(
    worker: &Worker,
    claimed: &Claimed,
    called: bool,
    error: &(dyn std::error::Error + Sync),
    lost: &CancellationToken,
) -> Option<()> {
    tracing::error!(%error, verification = %claimed.id, "result could not be persisted; rescheduled");
    metrics::counter!("verdict_fetches_rescheduled_total").increment(1);
    let (schedule, jitter) = (&worker.settings.schedule, worker.ids.fraction());
    let next = consequence(schedule, claimed, CallOutcome::Unsealable, jitter, false).next;
    match write(worker, &bare_completion(worker, claimed, called, next), lost).await {
        Ok(written) => written.map(drop),
        Err(error) => {
            reschedule_only(worker, claimed, called, next, &error).await;
            Some(())
        }
    }
}

/// For a completion that cannot be written at all: a mistake of ours, or a schema that was changed
/// by hand. The verification backs off, so that no calls to the provider are wasted.
async fn reschedule_only(
    worker: &Worker,
    claimed: &Claimed,
    called: bool,
    next: NextStep,
    error: &store::Error,
) {
    let due_in = next.due_in.unwrap_or_default();
    let (id, token) = (claimed.id, claimed.lease_token);
    match worker.store.reschedule(id, token, due_in, next.failures, called).await {
        Ok(_) => tracing::error!(
            %error, cause = error.cause().code(), verification = %id, again_in_ms = millis(due_in),
            "completion could not be written; rescheduled"
        ),
        // The lease ends, and another claim tries again.
        Err(error) => tracing::error!(
            %error, cause = error.cause().code(), verification = %id, "could not reschedule"
        ),
    }
}
