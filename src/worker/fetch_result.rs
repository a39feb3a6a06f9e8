//! One fetch: ask the provider, keep the answer, decide, say what comes next — one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::next_step::{AccountEffect, Consequence, Heard, consequence};
use super::tasks::millis;
use super::{Worker, links, material};
use crate::causes::Cause;
use crate::domain::answer::StoredResult;
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::trace::TraceParent;
use crate::domain::verification::State;
use crate::provider::{self, Answer, Material, Unanswered};
use crate::store;
use crate::store::accounts::Breaker;
use crate::store::claims::{Claimed, Wanted};
use crate::store::completions::{Completion, NewResult, NextStep, ShadowDecision, Written};
use crate::traces;
use crate::vault::{DataKey, OpenError, SealedAt, WrappedKey};
use policy::Policy;
use policy::evidence::{Evidence, History, MOST_COUNTED};

/// What was known about the account when the call went out.
#[derive(Clone, Copy, Debug)]
pub struct AccountAtClaim {
    /// This call is a probe.
    pub breaker_open: bool,
    /// A good answer has something to clear.
    pub faults_on_record: bool,
}

/// Asks about one claimed verification and writes what came of it. Does not go on asking, nor
/// trying to write, when the lease is lost.
pub async fn fetch_result(
    worker: &Arc<Worker>,
    claimed: Claimed,
    account: AccountAtClaim,
    lost: &CancellationToken,
) {
    let span = traces::fetch(claimed.trace, claimed.id, claimed.attempt);
    if ask_and_write(worker, &claimed, account, &span, lost).await.is_none() {
        tracing::warn!(verification = %claimed.id, attempt = claimed.attempt, "lease lost: dropped");
    }
}

/// `None`: the lease was lost on the way.
async fn ask_and_write(
    worker: &Worker,
    claimed: &Claimed,
    account: AccountAtClaim,
    span: &Span,
    lost: &CancellationToken,
) -> Option<()> {
    // The key first: what cannot be sealed must not be fetched.
    let (key, new_key) = match data_key(worker, claimed) {
        Ok(keys) => keys,
        Err(error) => return put_off(worker, claimed, &error, lost).await,
    };
    let standing = match standing(worker, claimed).await {
        Ok(standing) => standing,
        Err(error) => return put_off(worker, claimed, &error, lost).await,
    };
    let started = Instant::now();
    let call = traces::call(span);
    let asked = worker.provider.describe_verify_result(&claimed.biz_type, &claimed.biz_id);
    let heard = tokio::select! {
        biased;
        () = lost.cancelled() => return None,
        heard = asked.instrument(call.clone()) => heard,
    };
    let took = started.elapsed();
    let mut fetched = Fetched::new(worker, claimed, account, &heard, standing.as_ref(), span);
    traces::called(span, &call, fetched.class);
    drop(call);
    metrics::histogram!("verdict_provider_call_seconds").record(took.as_secs_f64());
    metrics::counter!("verdict_provider_calls_total", "class" => fetched.class).increment(1);
    if fetched.result.simulated {
        metrics::counter!("verdict_simulated_answers_total").increment(1);
    }
    let sealed = heard
        .as_ref()
        .ok()
        .map(|answer| key.seal(SealedAt::ResultBody(fetched.result.id), &answer.body));
    let said = person_in(&heard);
    let material =
        said.map(|material| material::seal(material, fetched.result.id, &key, &worker.persons));
    let mode = worker.images.mode_of(&claimed.biz_type);
    let links = said
        .map(|material| links::seal(material, fetched.result.id, &key, mode, worker.clock.now()));
    let (sealed, material, links) =
        match (sealed.transpose(), material.transpose(), links.transpose()) {
            (Ok(sealed), Ok(material), Ok(links)) => (sealed, material, links.flatten()),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                return put_off(worker, claimed, &error, lost).await;
            }
        };

    // Before the verification can become due again.
    affect_account(worker, claimed, fetched.consequence.account, account).await;
    let completion = Completion {
        // Where nothing came nothing is sealed, so a new key is not needed: the next attempt
        // makes another.
        new_data_key: new_key.filter(|_| sealed.is_some()).map(|key| (key.key_id, key.bytes)),
        result: sealed.map(|sealed_body| NewResult {
            sealed_body,
            material,
            links: links.map(|links| (links.sealed, links.live)),
            stored: fetched.result.clone(),
        }),
        decision: fetched.decision.clone(),
        shadow: fetched.shadow.clone(),
        ..bare_completion(worker, claimed, fetched.consequence.next)
    };
    let writing = traces::write(span);
    match keep(worker, claimed, completion, lost).instrument(writing).await {
        Ok((kept, written)) => {
            fetched.decision = kept.decision;
            fetched.shadow = kept.shadow;
            fetched.consequence.next = kept.next;
            report(claimed, &fetched, took, written?, span);
            Some(())
        }
        Err(error) => put_off(worker, claimed, &error, lost).await,
    }
}

/// Writes it; what the database refuses for its data is written without what was made of the
/// answer: the answer cost a call, and is kept whatever a policy says about it (invariant 5). What
/// was kept, with what became of it.
async fn keep(
    worker: &Worker,
    claimed: &Claimed,
    mut completion: Completion,
    lost: &CancellationToken,
) -> Result<(Completion, Option<Written>), store::Error> {
    loop {
        match write(worker, completion.clone(), lost).await {
            Err(error) if error.refuses_data() => {
                let Some(less) = less(claimed, completion) else { return Err(error) };
                completion = less;
                tracing::error!(%error, cause = error.cause().code(), verification = %claimed.id, "decision could not be persisted");
                metrics::counter!("verdict_decisions_refused_total").increment(1);
            }
            outcome => return outcome.map(|written| (completion, written)),
        }
    }
}

/// Without the shadow, which must not cost the decision that counts; then without the decision.
/// Asking again would not help then: it is a dead letter until there is another policy.
fn less(claimed: &Claimed, completion: Completion) -> Option<Completion> {
    if completion.shadow.is_some() {
        return Some(Completion { shadow: None, ..completion });
    }
    completion.decision.as_ref()?;
    let state = (claimed.wanted == Wanted::Answer).then_some(State::Failed);
    let next = NextStep { state, closed: false, due_in: None, ..completion.next };
    Some(Completion { decision: None, next, ..completion })
}

/// Writes it, again and again while Postgres is away: the answer is in hand, and the lease says
/// how long trying makes sense; `None` when it is lost. An error is one that trying again will not
/// mend.
///
/// A try under way is not broken off: the fence judges it, and a lease may well be gone because
/// that very try has ended it.
async fn write(
    worker: &Worker,
    completion: Completion,
    lost: &CancellationToken,
) -> Result<Option<Written>, store::Error> {
    while !lost.is_cancelled() {
        match worker.completing.submit(completion.clone()).await {
            Ok(Written::Committed) => {
                if completion.next.due_in.is_some_and(|due| due.is_zero()) {
                    worker.signals.work_is_due();
                }
                if completion.result.as_ref().is_some_and(|result| result.links.is_some()) {
                    worker.signals.task_is_due();
                }
                worker.signals.something_settled();
                return Ok(Some(Written::Committed));
            }
            // Somebody else's now, or, without a result to be known by, written by a try whose
            // answer was lost.
            Ok(Written::Fenced) => return Ok(Some(Written::Fenced)),
            Err(error) if !error.is_passing() => return Err(error),
            Err(error) => {
                tracing::warn!(
                    %error, cause = error.cause().code(),
                    verification = %completion.verification_id, "result not written yet; retrying"
                );
                let _ = tokio::time::timeout(WRITE_AGAIN, lost.cancelled()).await;
            }
        }
    }
    Ok(None)
}

/// Between two tries to write a completion.
const WRITE_AGAIN: Duration = Duration::from_millis(250);

/// Nothing came, nothing is decided: only the next step is written.
fn bare_completion(worker: &Worker, claimed: &Claimed, next: NextStep) -> Completion {
    Completion {
        verification_id: claimed.id,
        lease_token: claimed.lease_token,
        attempt: claimed.attempt,
        callbacks_seen: claimed.callbacks,
        next,
        result: None,
        decision: None,
        shadow: None,
        new_data_key: None,
        at: worker.clock.now(),
    }
}

/// Cannot be sealed or written as it is, so it is put off: a key missing from the ring may come
/// back, and rows in this state must not stand in the way of the others.
async fn put_off(
    worker: &Worker,
    claimed: &Claimed,
    error: &(dyn std::error::Error + Sync),
    lost: &CancellationToken,
) -> Option<()> {
    tracing::error!(%error, verification = %claimed.id, "result could not be persisted; rescheduled");
    metrics::counter!("verdict_fetches_rescheduled_total").increment(1);
    let jitter = worker.ids.fraction();
    let put_off = consequence(&worker.settings.schedule, claimed, Heard::Unsealable, jitter, false);
    match write(worker, bare_completion(worker, claimed, put_off.next), lost).await {
        Ok(written) => written.map(drop),
        Err(error) => {
            reschedule(worker, claimed, put_off.next, &error).await;
            Some(())
        }
    }
}

/// A completion cannot be written at all: a mistake of ours, or a schema that was changed by hand.
/// The verification backs off, so that calls to the provider are not wasted.
async fn reschedule(worker: &Worker, claimed: &Claimed, next: NextStep, error: &store::Error) {
    let due_in = next.due_in.unwrap_or_default();
    let (id, token) = (claimed.id, claimed.lease_token);
    match worker.store.reschedule(id, token, due_in, next.failures).await {
        Ok(_) => tracing::error!(
            %error, cause = error.cause().code(), verification = %id, again_in_ms = millis(due_in),
            "completion could not be written; rescheduled"
        ),
        // The lease runs out, and it is tried again.
        Err(error) => tracing::error!(
            %error, cause = error.cause().code(), verification = %id, "could not reschedule"
        ),
    }
}

fn data_key(
    worker: &Worker,
    claimed: &Claimed,
) -> Result<(DataKey, Option<WrappedKey>), OpenError> {
    if let Some((key_id, bytes)) = &claimed.data_key {
        let wrapped = WrappedKey { key_id: key_id.clone(), bytes: bytes.clone() };
        Ok((worker.vault.open_data_key(claimed.id, &wrapped)?, None))
    } else {
        let (key, wrapped) =
            worker.vault.new_data_key(claimed.id).map_err(|_| OpenError::Refused)?;
        Ok((key, Some(wrapped)))
    }
}

/// Where only links are wanted, what was decided from before: the same again decides nothing.
async fn standing(
    worker: &Worker,
    claimed: &Claimed,
) -> store::Result<Option<(Evidence, OffsetDateTime)>> {
    match claimed.wanted {
        Wanted::Answer => Ok(None),
        Wanted::Links { .. } => worker.store.standing_evidence(claimed.id).await,
    }
}

/// What an answer says of the person.
fn person_in(heard: &Result<Answer, Unanswered>) -> Option<&Material> {
    heard.as_ref().ok()?.reading.outcome.as_ref().ok()?.material.as_ref()
}

/// Everything that follows from the answer, before anything is written.
struct Fetched {
    class: &'static str,
    /// Why nothing came, if nothing did.
    cause: Option<Cause>,
    consequence: Consequence,
    result: StoredResult,
    decision: Option<StoredDecision>,
    shadow: Option<ShadowDecision>,
}

impl Fetched {
    fn new(
        worker: &Worker,
        claimed: &Claimed,
        account: AccountAtClaim,
        heard: &Result<Answer, Unanswered>,
        standing: Option<&(Evidence, OffsetDateTime)>,
        span: &Span,
    ) -> Self {
        let now = worker.clock.now();
        let mut result = StoredResult {
            id: worker.ids.next(now),
            attempt: claimed.attempt,
            fetched_at: now,
            request_id: None,
            http_status: 0,
            evidence: None,
            error: None,
            simulated: heard.as_ref().is_ok_and(|answer| answer.simulated),
            coarsened: false,
        };
        let mut as_before = false;
        if let Ok(answer) = heard {
            result.http_status = answer.http_status;
            result.request_id.clone_from(&answer.reading.request_id);
            match &answer.reading.outcome {
                Ok(answered) => {
                    let history = history_with_this_answer(claimed);
                    result.evidence =
                        Some(provider::evidence(answered, &claimed.biz_type, history, now));
                    // At that time and as that try, it would have been the very same evidence.
                    as_before = standing.is_some_and(|(before, at)| {
                        before.clone().with_card_days_at_edge()
                            == provider::evidence(
                                answered,
                                &claimed.biz_type,
                                before.history(),
                                *at,
                            )
                    });
                }
                Err(error) => result.error = Some(provider::answer_error(error)),
            }
        }
        let (class, said) = match heard {
            Err(Unanswered::NoCredentials(_)) => ("no-credentials", Heard::NoCredentials),
            Err(_) => ("no-answer", Heard::Nothing),
            Ok(answer) => match (&result.evidence, &result.error) {
                (Some(evidence), _) if as_before => {
                    ("answered", Heard::AsBefore(evidence.verify_status))
                }
                (Some(evidence), _) => ("answered", Heard::Status(evidence.verify_status)),
                (None, Some(error)) => {
                    (error.class.as_str(), Heard::Error(error, answer.retry_after))
                }
                (None, None) => ("no-answer", Heard::Nothing),
            },
        };
        let jitter = worker.ids.fraction();
        let consequence =
            consequence(&worker.settings.schedule, claimed, said, jitter, account.breaker_open);
        let evidence = result.evidence.as_ref().filter(|_| consequence.decide);
        // Both by what is in use at this moment.
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
        let cause = heard.as_ref().err().map(provider::cause_of);
        Self { class, cause, consequence, result, decision, shadow }
    }
}

fn history_with_this_answer(claimed: &Claimed) -> History {
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

async fn affect_account(
    worker: &Worker,
    claimed: &Claimed,
    effect: AccountEffect,
    at_claim: AccountAtClaim,
) {
    let (store, account, settings) = (&worker.store, &worker.settings.account, &worker.settings);
    let probing = at_claim.breaker_open;
    let faults_on_record = at_claim.faults_on_record || worker.faults.load(Ordering::Relaxed);
    let outcome = match effect {
        AccountEffect::Well if probing || faults_on_record => well(worker, probing).await,
        // Throttled, so known and allowed.
        AccountEffect::Pause(pause) if probing => match well(worker, probing).await {
            Ok(()) => store.pause(account, pause).await,
            Err(error) => Err(error),
        },
        AccountEffect::None if probing => store.probe_again(account, FIRST_PROBE).await,
        AccountEffect::Well | AccountEffect::None => Ok(()),
        AccountEffect::Pause(pause) => store.pause(account, pause).await,
        AccountEffect::Trip(why) => trip(worker, why, at_claim).await,
        AccountEffect::Fault if probing => trip(worker, Breaker::Outage, at_claim).await,
        // It has had its say: a few that always fail are not an outage.
        AccountEffect::Fault if claimed.failures >= FAULTS_EACH => Ok(()),
        AccountEffect::Fault => match count_fault(worker).await {
            Ok(faults) if faults >= settings.faults_to_open => {
                trip(worker, Breaker::Outage, at_claim).await
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        },
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, cause = error.cause().code(), "breaker state could not be written");
    }
}

async fn well(worker: &Worker, probing: bool) -> store::Result<()> {
    if probing {
        tracing::info!("breaker closed: calls to the provider resume");
    }
    worker.faults.store(false, Ordering::Relaxed);
    worker.store.account_is_well(&worker.settings.account).await
}

async fn count_fault(worker: &Worker) -> store::Result<i32> {
    worker.faults.store(true, Ordering::Relaxed);
    worker.store.count_fault(&worker.settings.account).await
}

async fn trip(worker: &Worker, why: Breaker, at_claim: AccountAtClaim) -> store::Result<()> {
    let (settings, probing) = (&worker.settings, at_claim.breaker_open);
    let opened = worker
        .store
        .trip(&settings.account, why, probing, FIRST_PROBE, settings.longest_probe)
        .await?;
    if opened && !probing {
        tracing::error!(cause = why.as_str(), "breaker opened: calls to the provider stop");
    }
    if opened {
        metrics::counter!("verdict_breaker_trips_total", "cause" => why.as_str()).increment(1);
    }
    Ok(())
}

/// Faults in a row that one verification may put on the account's record.
const FAULTS_EACH: i32 = 2;
/// Soon enough for a hiccup; doubled with every failed probe.
const FIRST_PROBE: Duration = Duration::from_secs(1);

fn report(claimed: &Claimed, fetched: &Fetched, took: Duration, written: Written, span: &Span) {
    let outcome = fetched.decision.as_ref().map(|decision| decision.decision.outcome.as_str());
    let written = match written {
        Written::Committed => "committed",
        Written::Fenced => "fenced",
    };
    traces::written(span, written);
    tracing::info!(
        verification = %claimed.id,
        attempt = claimed.attempt,
        class = fetched.class,
        cause = fetched.cause.map(Cause::code),
        code = fetched.result.error.as_ref().and_then(|error| error.code.as_deref()),
        verify_status = fetched.result.evidence.as_ref().map(|evidence| evidence.verify_status),
        outcome,
        state = fetched.consequence.next.state.map(State::as_str),
        again_in_ms = fetched.consequence.next.due_in.map(millis),
        call_ms = millis(took),
        written,
        trace = claimed.trace.map(TraceParent::trace_id),
        "fetch"
    );
    metrics::counter!("verdict_fetches_total", "written" => written).increment(1);
    if let (Some(decision), Some(outcome), "committed") = (&fetched.decision, outcome, written) {
        metrics::counter!("verdict_decisions_total", "outcome" => outcome).increment(1);
        for reason in &decision.decision.reasons {
            let (code, outcome) = (reason.code.clone(), reason.outcome.as_str());
            metrics::counter!(
                "verdict_decision_reasons_total", "code" => code, "outcome" => outcome)
            .increment(1);
        }
        if let Some(shadow) = &fetched.shadow {
            let agrees = if shadow.decision.outcome.as_str() == outcome { "yes" } else { "no" };
            metrics::counter!("verdict_shadow_decisions_total", "agrees" => agrees).increment(1);
        }
    }
}
