//! One fetch: ask the provider, keep the result, decide, set the next step — in one commit.

use std::sync::Arc;

use secrecy::ExposeSecret;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::breaker::{AccountAtClaim, affect_account};
use super::context::Worker;
use super::fetched::Fetched;
use super::leases::Lease;
use super::persist::{bare_completion, persist, reschedule};
use super::report::report;
use super::sealed_links::{self, SealedLinks};
use crate::domain::ids::ResultId;
use crate::provider::{Answer, Key, NoAnswer, Person};
use crate::store;
use crate::store::claims::{Claimed, Wanted};
use crate::store::completions::{Completion, NewMaterial, NewResult};
use crate::traces;
use crate::vault::{DataKey, OpenError, SealError, SealedAt, WrappedKey};
use policy::evidence::Evidence;
use policy::product::Product;

/// Asks about one claimed verification and writes what came of it. Stops asking and writing when
/// the lease is lost.
pub async fn fetch_result(
    worker: &Arc<Worker>,
    claimed: Claimed,
    account: AccountAtClaim,
    lease: &Lease,
) {
    let span = traces::fetch(claimed.trace, claimed.id, claimed.attempt);
    if ask_and_write(worker, &claimed, account, &span, lease).await.is_none() {
        tracing::warn!(verification = %claimed.id, attempt = claimed.attempt, "lease lost: dropped");
    }
}

/// `None`: the lease was lost.
async fn ask_and_write(
    worker: &Worker,
    claimed: &Claimed,
    account: AccountAtClaim,
    span: &Span,
    lease: &Lease,
) -> Option<()> {
    let lost = &lease.lost;
    // The key comes first: a result that cannot be sealed must not be fetched.
    let (key, new_key) = match data_key(worker, claimed) {
        Ok(keys) => keys,
        Err(error) => return reschedule(worker, claimed, false, &error, lost).await,
    };
    let previous_evidence = match previous_evidence(worker, claimed).await {
        Ok(evidence) => evidence,
        Err(error) => return reschedule(worker, claimed, false, &error, lost).await,
    };
    let started = Instant::now();
    let call = traces::call(span);
    let asked = worker.provider.ask(claimed.product, key_of(claimed));
    let answer = lease.while_held(asked.instrument(call.clone())).await?;
    let took = started.elapsed();
    let called = was_called(&answer);
    let previous = previous_evidence.as_ref();
    let mut fetched = Fetched::new(worker, claimed, account.breaker_open, &answer, previous, span);
    traces::called(span, &call, fetched.class);
    drop(call);
    if called {
        count_call(claimed.product, &fetched, took);
    }
    let sealed = match seal(worker, claimed, &answer, fetched.result.id, &key) {
        Ok(sealed) => sealed,
        Err(error) => return reschedule(worker, claimed, called, &error, lost).await,
    };

    // Before the verification can become due again.
    affect_account(worker, claimed, fetched.consequence.account, account).await;
    let completion = Completion {
        // Without an answer nothing is sealed, so a new key is not kept: the next attempt makes
        // another.
        new_data_key: new_key.filter(|_| sealed.is_some()).map(|key| (key.key_id, key.bytes)),
        result: sealed.map(|sealed| NewResult {
            sealed_body: sealed.body,
            material: sealed.material,
            links: sealed.links.map(|links| (links.sealed, links.live)),
            bucket_objects: sealed.bucket_objects,
            stored: fetched.result.clone(),
        }),
        decision: fetched.decision.clone(),
        shadow: fetched.shadow.clone(),
        ..bare_completion(worker, claimed, called, fetched.consequence.next)
    };
    let writing = traces::write(span);
    match persist(worker, claimed, completion, lost).instrument(writing).await {
        Ok((kept, written)) => {
            fetched.decision = kept.decision;
            fetched.shadow = kept.shadow;
            fetched.consequence.next = kept.next;
            report(claimed, &fetched, took, written?, span);
            Some(())
        }
        Err(error) => reschedule(worker, claimed, called, &error, lost).await,
    }
}

/// A request went out, or was about to.
fn was_called(answer: &Result<Answer, NoAnswer>) -> bool {
    answer.as_ref().err().is_none_or(NoAnswer::was_called)
}

fn key_of(claimed: &Claimed) -> Key<'_> {
    Key {
        biz_type: &claimed.biz_type,
        biz_id: &claimed.biz_id,
        certify_id: claimed.certify_id.as_deref(),
    }
}

fn count_call(product: Product, fetched: &Fetched, took: std::time::Duration) {
    let (product, class) = (product.as_str(), fetched.class);
    metrics::histogram!("verdict_provider_call_seconds").record(took.as_secs_f64());
    metrics::counter!("verdict_provider_calls_total", "product" => product, "class" => class)
        .increment(1);
    if fetched.result.simulated {
        metrics::counter!("verdict_simulated_answers_total").increment(1);
    }
}

/// An answer as it is kept.
struct SealedAnswer {
    body: Vec<u8>,
    material: Option<NewMaterial>,
    links: Option<SealedLinks>,
    bucket_objects: Vec<String>,
}

/// `None`: there is no answer.
fn seal(
    worker: &Worker,
    claimed: &Claimed,
    answer: &Result<Answer, NoAnswer>,
    id: ResultId,
    key: &DataKey,
) -> Result<Option<SealedAnswer>, SealError> {
    let Ok(answer) = answer else { return Ok(None) };
    let reading = answer.outcome.as_ref().ok();
    let person = reading.and_then(|reading| reading.person());
    let mode = worker.images.mode_of(&claimed.biz_type);
    let now = worker.clock.now();
    Ok(Some(SealedAnswer {
        body: key.seal(SealedAt::ResultBody(id), &answer.body)?,
        material: person.map(|person| seal_person(worker, &person, id, key)).transpose()?,
        links: match reading {
            Some(reading) => sealed_links::seal(&**reading, id, key, mode, now)?,
            None => None,
        },
        bucket_objects: reading.map(|reading| reading.bucket_objects()).unwrap_or_default(),
    }))
}

/// Seals the personal data of a result.
fn seal_person(
    worker: &Worker,
    person: &Person,
    id: ResultId,
    key: &DataKey,
) -> Result<NewMaterial, SealError> {
    let number = person.number.as_ref();
    Ok(NewMaterial {
        sealed: key.seal(SealedAt::Material(id), &person.document)?,
        person: number.and_then(|number| worker.persons.digest(number.expose_secret())),
    })
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

/// The evidence of the current decision, for a call that only refreshes links: the same evidence is
/// not decided again.
async fn previous_evidence(
    worker: &Worker,
    claimed: &Claimed,
) -> store::Result<Option<(Evidence, OffsetDateTime)>> {
    match claimed.wanted {
        Wanted::Answer => Ok(None),
        Wanted::Links { .. } => worker.store.results().standing_evidence(claimed.id).await,
    }
}
