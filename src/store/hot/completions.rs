//! Completing a claim: result, decision and next step in one commit, under the fencing token.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::or_none;
use super::group_commit::GroupCommit;
use crate::domain::answer::StoredResult;
use crate::domain::decision::StoredDecision;
use crate::domain::ids::{LeaseToken, VerificationId};
use crate::domain::verification::State;
use crate::store::error::{Error, Result};
use crate::store::pool::Store;
use crate::store::statements::statements;
use policy::decision::{Decision, Reason};
use policy::evidence::Evidence;

/// Largest batch of one commit.
pub const MAX_BATCH: usize = 128;

/// Everything one attempt changes.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Whose.
    pub verification_id: VerificationId,
    /// The claim's fencing token.
    pub lease_token: LeaseToken,
    pub attempt: i32,
    /// The provider was called. If not, the attempt does not count.
    pub called: bool,
    /// Callbacks known when it was claimed.
    pub callbacks_seen: i32,
    pub next: NextStep,
    /// The answer, if there was one.
    pub result: Option<NewResult>,
    /// The decision, if the answer allowed one.
    pub decision: Option<StoredDecision>,
    /// The shadow policy's decision about the same answer.
    pub shadow: Option<ShadowDecision>,
    /// A data key made for this verification just now (id of the wrapping key, bytes).
    pub new_data_key: Option<(String, Vec<u8>)>,
    /// When.
    pub at: OffsetDateTime,
}

/// The decision of a shadow policy, stored beside the decision that counts.
#[derive(Clone, Debug)]
pub struct ShadowDecision {
    /// Its digest.
    pub policy: String,
    pub decision: Decision,
}

/// Where the verification goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextStep {
    /// The new state; `None` leaves it.
    pub state: Option<State>,
    /// The provider said 1: never asked again by itself.
    pub closed: bool,
    /// When to ask again, from now by the database's clock.
    pub due_in: Option<Duration>,
    /// Failed attempts in a row, this one included.
    pub failures: i32,
    /// Answers −1 or 0 since the last callback, this one included.
    pub polls: i32,
}

/// One answer to keep.
#[derive(Clone, Debug)]
pub struct NewResult {
    /// The part that callers may see.
    pub stored: StoredResult,
    /// The raw body, sealed.
    pub sealed_body: Vec<u8>,
    /// Its personal data, if there is any.
    pub material: Option<NewMaterial>,
    /// Where its images are, sealed, and how long those links live; `None`: there are none, or
    /// they are left alone.
    pub links: Option<(Vec<u8>, Duration)>,
    /// Objects in the customer's own bucket.
    pub bucket_objects: Vec<String>,
}

/// The person in one answer.
#[derive(Clone, Debug)]
pub struct NewMaterial {
    /// The document, sealed.
    pub sealed: Vec<u8>,
    /// Blind index of the person, if there is a number.
    pub person: Option<[u8; 32]>,
}

/// Whether a completion was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is durable.
    Committed,
    /// The lease was lost: another worker owns the verification now; nothing was written.
    Fenced,
}

/// Completes claims in group commits.
pub type Completing = GroupCommit<Completion, Written>;

impl Store {
    /// Starts the group commit for completions.
    pub fn start_completing(&self) -> (Completing, tokio::task::JoinHandle<()>) {
        let store = self.clone();
        GroupCommit::start(MAX_BATCH, MAX_BATCH * 64, move |batch| {
            let store = store.clone();
            async move { store.complete(&batch).await }
        })
    }

    /// Writes a batch: one outcome per completion, in order.
    pub async fn complete(&self, batch: &[Completion]) -> Result<Vec<Written>> {
        let columns = Columns::of(batch);
        let write = || self.once(self.write_completions(&columns));
        let written = match write().await {
            Err(Error::Unavailable(_)) => write().await?,
            outcome => outcome?,
        };
        let mut outcomes = vec![Written::Fenced; batch.len()];
        for ord in written {
            let place = usize::try_from(ord - 1).ok().and_then(|place| outcomes.get_mut(place));
            *place.ok_or(Error::Inconsistent("a completion has an unknown place"))? =
                Written::Committed;
        }
        self.recognise_earlier_tries(batch, &mut outcomes).await?;
        Ok(outcomes)
    }

    async fn write_completions(
        &self,
        of: &Columns<'_>,
    ) -> std::result::Result<Vec<i64>, sqlx::Error> {
        complete((
            &of.verification_ids,
            &of.lease_tokens,
            &of.attempts,
            &of.called,
            &of.callbacks_seen,
            &of.states,
            &of.closed,
            &of.due_in,
            &of.failures,
            &of.polls,
            &of.at,
            &of.result_ids,
            &of.fetched_at,
            &of.request_ids,
            &of.http_statuses,
            &of.evidence,
            or_none(&of.error_classes),
            or_none(&of.error_codes),
            &of.simulated,
            &of.bodies,
            or_none(&of.bucket_objects),
            &of.material,
            &of.persons,
            or_none(&of.links),
            or_none(&of.links_live),
            &of.decision_ids,
            &of.policies,
            &of.outcomes,
            &of.reasons,
            &of.decided_by,
            &of.key_ids,
            &of.wrapped_keys,
            or_none(&of.shadow_policies),
            or_none(&of.shadow_outcomes),
            or_none(&of.shadow_reasons),
        ))
        .fetch_all(&self.pool)
        .await
    }

    /// A repeat after a lost answer finds nothing held any more, here or one try later in the
    /// worker, and looks fenced. If its result is kept, the earlier try had succeeded.
    async fn recognise_earlier_tries(
        &self,
        batch: &[Completion],
        outcomes: &mut [Written],
    ) -> Result<()> {
        let result_of = |row: &Completion| row.result.as_ref().map(|result| result.stored.id.0);
        let unsure: Vec<Uuid> = batch
            .iter()
            .zip(&*outcomes)
            .filter(|(_, outcome)| **outcome == Written::Fenced)
            .filter_map(|(row, _)| result_of(row))
            .collect();
        if unsure.is_empty() {
            return Ok(());
        }
        let kept: HashSet<Uuid> =
            self.run(|| kept_results(&unsure).fetch_all(&self.pool)).await?.into_iter().collect();
        for (row, outcome) in batch.iter().zip(outcomes) {
            if result_of(row).is_some_and(|id| kept.contains(&id)) {
                *outcome = Written::Committed;
            }
        }
        Ok(())
    }
}

/// Completions as the arrays that the statement takes.
struct Columns<'a> {
    verification_ids: Vec<Uuid>,
    lease_tokens: Vec<Uuid>,
    attempts: Vec<i32>,
    called: Vec<bool>,
    callbacks_seen: Vec<i32>,
    states: Vec<Option<&'static str>>,
    closed: Vec<bool>,
    due_in: Vec<Option<f64>>,
    failures: Vec<i32>,
    polls: Vec<i32>,
    at: Vec<OffsetDateTime>,
    result_ids: Vec<Option<Uuid>>,
    fetched_at: Vec<Option<OffsetDateTime>>,
    request_ids: Vec<Option<&'a str>>,
    http_statuses: Vec<Option<i32>>,
    evidence: Vec<Option<Json<&'a Evidence>>>,
    error_classes: Vec<Option<&'static str>>,
    error_codes: Vec<Option<&'a str>>,
    simulated: Vec<Option<bool>>,
    bodies: Vec<Option<&'a [u8]>>,
    bucket_objects: Vec<Option<Json<&'a [String]>>>,
    material: Vec<Option<&'a [u8]>>,
    persons: Vec<Option<&'a [u8]>>,
    links: Vec<Option<&'a [u8]>>,
    links_live: Vec<Option<f64>>,
    decision_ids: Vec<Option<Uuid>>,
    policies: Vec<Option<&'a str>>,
    outcomes: Vec<Option<&'static str>>,
    reasons: Vec<Option<Json<&'a [Reason]>>>,
    decided_by: Vec<Option<&'static str>>,
    key_ids: Vec<Option<&'a str>>,
    wrapped_keys: Vec<Option<&'a [u8]>>,
    shadow_policies: Vec<Option<&'a str>>,
    shadow_outcomes: Vec<Option<&'static str>>,
    shadow_reasons: Vec<Option<Json<&'a [Reason]>>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Completion]) -> Self {
        fn each<'a, T>(batch: &'a [Completion], value: impl Fn(&'a Completion) -> T) -> Vec<T> {
            batch.iter().map(value).collect()
        }
        fn of_results<'a, T>(
            batch: &'a [Completion],
            value: impl Fn(&'a NewResult) -> Option<T>,
        ) -> Vec<Option<T>> {
            each(batch, |of| of.result.as_ref().and_then(&value))
        }
        fn of_decisions<'a, T>(
            batch: &'a [Completion],
            value: impl Fn(&'a StoredDecision) -> T,
        ) -> Vec<Option<T>> {
            each(batch, |of| of.decision.as_ref().map(&value))
        }
        fn of_shadows<'a, T>(
            batch: &'a [Completion],
            value: impl Fn(&'a ShadowDecision) -> T,
        ) -> Vec<Option<T>> {
            each(batch, |of| of.shadow.as_ref().map(&value))
        }
        let error = |of: &'a NewResult| of.stored.error.as_ref();
        let person = |of: &'a NewResult| of.material.as_ref()?.person.as_ref();
        let links = |of: &'a NewResult| of.links.as_ref();
        Self {
            verification_ids: each(batch, |of| of.verification_id.0),
            lease_tokens: each(batch, |of| of.lease_token.0),
            attempts: each(batch, |of| of.attempt),
            called: each(batch, |of| of.called),
            callbacks_seen: each(batch, |of| of.callbacks_seen),
            states: each(batch, |of| of.next.state.map(State::as_str)),
            closed: each(batch, |of| of.next.closed),
            due_in: each(batch, |of| of.next.due_in.map(|due| due.as_secs_f64())),
            failures: each(batch, |of| of.next.failures),
            polls: each(batch, |of| of.next.polls),
            at: each(batch, |of| of.at),
            result_ids: of_results(batch, |of| Some(of.stored.id.0)),
            fetched_at: of_results(batch, |of| Some(of.stored.fetched_at)),
            request_ids: of_results(batch, |of| of.stored.request_id.as_deref()),
            http_statuses: of_results(batch, |of| Some(i32::from(of.stored.http_status))),
            evidence: of_results(batch, |of| of.stored.evidence.as_ref().map(Json)),
            error_classes: of_results(batch, |of| error(of).map(|error| error.class.as_str())),
            error_codes: of_results(batch, |of| error(of)?.code.as_deref()),
            simulated: of_results(batch, |of| Some(of.stored.simulated)),
            bodies: of_results(batch, |of| Some(&of.sealed_body[..])),
            bucket_objects: of_results(batch, |of| {
                (!of.bucket_objects.is_empty()).then_some(Json(&of.bucket_objects[..]))
            }),
            material: of_results(batch, |of| Some(&of.material.as_ref()?.sealed[..])),
            persons: of_results(batch, |of| person(of).map(|person| &person[..])),
            links: of_results(batch, |of| links(of).map(|(sealed, _)| &sealed[..])),
            links_live: of_results(batch, |of| links(of).map(|(_, live)| live.as_secs_f64())),
            decision_ids: of_decisions(batch, |of| of.id.0),
            policies: of_decisions(batch, |of| of.policy.as_str()),
            outcomes: of_decisions(batch, |of| of.decision.outcome.as_str()),
            reasons: of_decisions(batch, |of| Json(&of.decision.reasons[..])),
            decided_by: of_decisions(batch, |of| of.by.as_str()),
            key_ids: each(batch, |of| of.new_data_key.as_ref().map(|(id, _)| id.as_str())),
            wrapped_keys: each(batch, |of| of.new_data_key.as_ref().map(|(_, key)| &key[..])),
            shadow_policies: of_shadows(batch, |of| of.policy.as_str()),
            shadow_outcomes: of_shadows(batch, |of| of.decision.outcome.as_str()),
            shadow_reasons: of_shadows(batch, |of| Json(&of.decision.reasons[..])),
        }
    }
}

statements! {
    /// `fenced` is the fence: only those whose token is still good go on (told apart by `ord`, since
    /// a batch may hold a stale completion of the same verification), and result, decision, data key
    /// and next step of those commit together (invariants 2 and 3). A
    /// callback that came during the fetch (`callbacks > seen`) keeps the row due, unless it is closed.
    /// Rows are locked in the order in which accept touches them, so that the two cannot deadlock.
    scalar complete((
        verification_ids: &[Uuid],
        lease_tokens: &[Uuid],
        attempts: &[i32],
        called: &[bool],
        callbacks_seen: &[i32],
        states: &[Option<&str>],
        closed: &[bool],
        due_in: &[Option<f64>],
        failures: &[i32],
        polls: &[i32],
        at: &[OffsetDateTime],
        result_ids: &[Option<Uuid>],
        fetched_at: &[Option<OffsetDateTime>],
        request_ids: &[Option<&str>],
        http_statuses: &[Option<i32>],
        evidence: &[Option<Json<&Evidence>>],
        error_classes: &[Option<&str>],
        error_codes: &[Option<&str>],
        simulated: &[Option<bool>],
        bodies: &[Option<&[u8]>],
        bucket_objects: &[Option<Json<&[String]>>],
        material: &[Option<&[u8]>],
        persons: &[Option<&[u8]>],
        links: &[Option<&[u8]>],
        links_live: &[Option<f64>],
        decision_ids: &[Option<Uuid>],
        policies: &[Option<&str>],
        outcomes: &[Option<&str>],
        reasons: &[Option<Json<&[Reason]>>],
        decided_by: &[Option<&str>],
        key_ids: &[Option<&str>],
        wrapped_keys: &[Option<&[u8]>],
        shadow_policies: &[Option<&str>],
        shadow_outcomes: &[Option<&str>],
        shadow_reasons: &[Option<Json<&[Reason]>>],
    )) -> i64 = include_str!("../sql/completions_complete.sql");

    scalar kept_results(ids: &[Uuid]) -> Uuid = "select id from results where id = any($1)";
}
