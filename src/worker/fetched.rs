//! Everything that follows from one call, before anything is written: the result to store, its
//! evidence, the decision, the next step.

use time::OffsetDateTime;
use tracing::Span;

use super::context::Worker;
use super::next_step::{CallOutcome, Consequence, consequence};
use crate::causes::Cause;
use crate::domain::answer::StoredResult;
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::provider::{Answer, NoAnswer, Unanswered};
use crate::store::claims::Claimed;
use crate::store::completions::ShadowDecision;
use crate::traces;
use policy::Policy;
use policy::evidence::{Evidence, History, MOST_COUNTED};

pub struct Fetched {
    pub class: &'static str,
    /// Why there is no answer, if there is none.
    pub cause: Option<Cause>,
    pub consequence: Consequence,
    pub result: StoredResult,
    pub decision: Option<StoredDecision>,
    pub shadow: Option<ShadowDecision>,
}

impl Fetched {
    pub fn new(
        worker: &Worker,
        claimed: &Claimed,
        breaker_open: bool,
        answer: &Result<Answer, NoAnswer>,
        previous_evidence: Option<&(Evidence, OffsetDateTime)>,
        span: &Span,
    ) -> Self {
        let result = stored_result(worker, claimed, answer);
        let is_unchanged =
            previous_evidence.is_some_and(|previous| repeats(answer, claimed, previous));
        let (class, outcome) = classify(answer, is_unchanged);
        let (schedule, jitter) = (&worker.settings.schedule, worker.ids.fraction());
        let consequence = consequence(schedule, claimed, outcome, jitter, breaker_open);
        let evidence = result.evidence.as_ref().filter(|_| consequence.decide);
        // Both decisions use one snapshot of the active policies.
        let policies = worker.policies.snapshot();
        let decision = evidence.map(|evidence| {
            decide(worker, policies.active(&claimed.biz_type), &result, evidence, span)
        });
        let shadow = evidence.zip(policies.shadow(&claimed.biz_type)).map(|(evidence, policy)| {
            ShadowDecision {
                policy: policy.digest().to_owned(),
                decision: policy::decide(policy, evidence),
            }
        });
        let cause = answer.as_ref().err().and_then(NoAnswer::cause);
        Self { class, cause, consequence, result, decision, shadow }
    }
}

fn stored_result(
    worker: &Worker,
    claimed: &Claimed,
    answer: &Result<Answer, NoAnswer>,
) -> StoredResult {
    let now = worker.clock.now();
    let mut result = StoredResult {
        id: worker.ids.next(now),
        attempt: claimed.attempt,
        fetched_at: now,
        request_id: None,
        http_status: 0,
        evidence: None,
        error: None,
        simulated: false,
        coarsened: false,
    };
    if let Ok(answer) = answer {
        result.simulated = answer.simulated;
        result.http_status = answer.http_status;
        result.request_id.clone_from(&answer.request_id);
        match &answer.outcome {
            Ok(reading) => {
                let history = history_with_this_result(claimed);
                result.evidence = Some(reading.evidence(&claimed.biz_type, history, now));
            }
            Err(error) => result.error = Some(error.clone()),
        }
    }
    result
}

/// Whether the answer would have been the very same evidence at that time and as that attempt.
fn repeats(
    answer: &Result<Answer, NoAnswer>,
    claimed: &Claimed,
    (previous, at): &(Evidence, OffsetDateTime),
) -> bool {
    let reading = answer.as_ref().ok().and_then(|answer| answer.outcome.as_ref().ok());
    reading.is_some_and(|reading| {
        previous.clone().with_card_days_at_edge()
            == reading.evidence(&claimed.biz_type, previous.history(), *at)
    })
}

/// The class for logs and metrics, and what it means for the next step.
fn classify(
    answer: &Result<Answer, NoAnswer>,
    is_unchanged: bool,
) -> (&'static str, CallOutcome<'_>) {
    let answer = match answer {
        Err(NoAnswer::NoCertifyId) => {
            return ("not-asked", CallOutcome::NotAsked);
        }
        Err(NoAnswer::Call(Unanswered::NoCredentials(_))) => {
            return ("no-credentials", CallOutcome::NoCredentials);
        }
        Err(_) => return ("no-answer", CallOutcome::NoAnswer),
        Ok(answer) => answer,
    };
    match &answer.outcome {
        Ok(reading) if is_unchanged => ("answered", CallOutcome::Unchanged(reading.progress())),
        Ok(reading) => ("answered", CallOutcome::Answered(reading.progress())),
        Err(error) => (error.class.as_str(), CallOutcome::Error(error, answer.retry_after)),
    }
}

fn history_with_this_result(claimed: &Claimed) -> History {
    let past = &claimed.past;
    History {
        calls: claimed.attempt.into(),
        callbacks: Some(claimed.callbacks.into()),
        answers: Some((past.answers + 1).min(MOST_COUNTED)),
        earlier_1d: past.earlier.map(|earlier| earlier.in_1_day),
        earlier_30d: past.earlier.map(|earlier| earlier.in_30_days),
    }
}

fn decide(
    worker: &Worker,
    policy: &Policy,
    result: &StoredResult,
    evidence: &Evidence,
    span: &Span,
) -> StoredDecision {
    let now = worker.clock.now();
    let deciding = traces::decide(span);
    let decision = policy::decide(policy, evidence);
    traces::decided(span, &deciding, &decision);
    StoredDecision {
        id: worker.ids.next(now),
        result_id: result.id,
        policy: policy.digest().to_owned(),
        by: DecidedBy::Policy,
        decided_at: now,
        simulated: result.simulated,
        decision,
    }
}
