//! Completing a claim: result, decision and next step in one commit, under the fencing token.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use sqlx::types::Json;
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use super::group_commit::GroupCommit;
use crate::domain::answer::{ErrorClass, StoredResult};
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::ids::{DecisionId, LeaseToken, ResultId, VerificationId};
use crate::domain::verification::State;
use crate::store::error::{Error, Result};
use crate::store::pool::Store;
use crate::store::statements::statements;
use policy::decision::{Decision, Outcome, Reason};
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
        let rows: Vec<CompletionRow<'_>> =
            (1..).zip(batch).map(|(ord, of)| CompletionRow::of(ord, of)).collect();
        let bodies: Vec<&[u8]> = batch
            .iter()
            .map(|row| row.result.as_ref().map_or(&[][..], |result| &result.sealed_body))
            .collect();
        let material: Vec<Option<&[u8]>> = batch
            .iter()
            .map(|row| Some(&row.result.as_ref()?.material.as_ref()?.sealed[..]))
            .collect();
        let links: Vec<Option<&[u8]>> =
            batch.iter().map(|row| Some(&links_of(row)?.0[..])).collect();
        let write = || self.once(self.write_completions(&rows, &bodies, &material, &links));
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
        rows: &[CompletionRow<'_>],
        bodies: &[&[u8]],
        material: &[Option<&[u8]>],
        links: &[Option<&[u8]>],
    ) -> std::result::Result<Vec<i32>, sqlx::Error> {
        complete(Json(rows), bodies, material, links).fetch_all(&self.pool).await
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

fn links_of(row: &Completion) -> Option<&(Vec<u8>, Duration)> {
    row.result.as_ref()?.links.as_ref()
}

/// One row of `$1`: the columns that `completions_complete.sql` reads, in its order.
#[derive(Serialize)]
struct CompletionRow<'a> {
    /// The place among the bodies, from 1.
    ord: usize,
    verification_id: VerificationId,
    lease_token: LeaseToken,
    attempt: i32,
    called: bool,
    callbacks_seen: i32,
    state: Option<&'static str>,
    closed: bool,
    due_in: Option<f64>,
    failures: i32,
    polls: i32,
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    result_id: Option<ResultId>,
    #[serde(with = "rfc3339::option")]
    fetched_at: Option<OffsetDateTime>,
    request_id: Option<&'a str>,
    http_status: Option<u16>,
    evidence: Option<&'a Evidence>,
    error_class: Option<ErrorClass>,
    error_code: Option<&'a str>,
    decision_id: Option<DecisionId>,
    policy_digest: Option<&'a str>,
    outcome: Option<Outcome>,
    reasons: Option<&'a [Reason]>,
    decided_by: Option<DecidedBy>,
    key_id: Option<&'a str>,
    wrapped: Option<String>,
    person: Option<String>,
    simulated: Option<bool>,
    links_live: Option<f64>,
    bucket_objects: Option<&'a [String]>,
    shadow_policy: Option<&'a str>,
    shadow_outcome: Option<Outcome>,
    shadow_reasons: Option<&'a [Reason]>,
}

impl<'a> CompletionRow<'a> {
    fn of(ord: usize, of: &'a Completion) -> Self {
        let result = of.result.as_ref().map(|result| &result.stored);
        let error = result.and_then(|result| result.error.as_ref());
        let decision = of.decision.as_ref();
        let shadow = of.shadow.as_ref();
        let key = of.new_data_key.as_ref();
        let material = of.result.as_ref().and_then(|result| result.material.as_ref());
        Self {
            ord,
            verification_id: of.verification_id,
            lease_token: of.lease_token,
            attempt: of.attempt,
            called: of.called,
            callbacks_seen: of.callbacks_seen,
            state: of.next.state.map(State::as_str),
            closed: of.next.closed,
            due_in: of.next.due_in.map(|due| due.as_secs_f64()),
            failures: of.next.failures,
            polls: of.next.polls,
            at: of.at,
            result_id: result.map(|result| result.id),
            fetched_at: result.map(|result| result.fetched_at),
            request_id: result.and_then(|result| result.request_id.as_deref()),
            http_status: result.map(|result| result.http_status),
            evidence: result.and_then(|result| result.evidence.as_ref()),
            error_class: error.map(|error| error.class),
            error_code: error.and_then(|error| error.code.as_deref()),
            decision_id: decision.map(|decision| decision.id),
            policy_digest: decision.map(|decision| decision.policy.as_str()),
            outcome: decision.map(|decision| decision.decision.outcome),
            reasons: decision.map(|decision| &decision.decision.reasons[..]),
            decided_by: decision.map(|decision| decision.by),
            key_id: key.map(|(id, _)| id.as_str()),
            wrapped: key.map(|(_, wrapped)| hex::encode(wrapped)),
            person: material.and_then(|material| material.person).map(hex::encode),
            simulated: result.map(|result| result.simulated),
            links_live: links_of(of).map(|(_, live)| live.as_secs_f64()),
            bucket_objects: of
                .result
                .as_ref()
                .map(|result| &result.bucket_objects[..])
                .filter(|objects| !objects.is_empty()),
            shadow_policy: shadow.map(|shadow| shadow.policy.as_str()),
            shadow_outcome: shadow.map(|shadow| shadow.decision.outcome),
            shadow_reasons: shadow.map(|shadow| &shadow.decision.reasons[..]),
        }
    }
}

statements! {
    /// `fenced` is the fence: only those whose token is still good go on (told apart by `ord`, since
    /// a batch may hold a stale completion of the same verification), and result, decision, data key
    /// and next step of those commit together (invariants 2 and 3). A
    /// callback that came during the fetch (`callbacks > seen`) keeps the row due, unless it is closed.
    /// Rows are locked in the order in which accept touches them, so that the two cannot deadlock.
    scalar complete(
        rows: Json<&[CompletionRow<'_>]>,
        bodies: &[&[u8]],
        material: &[Option<&[u8]>],
        links: &[Option<&[u8]>],
    ) -> i32 = include_str!("../sql/completions_complete.sql");

    scalar kept_results(ids: &[Uuid]) -> Uuid = "select id from results where id = any($1)";
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_statement_reads_every_column_of_a_row_and_no_other() {
        let completion = Completion {
            verification_id: VerificationId(Uuid::nil()),
            lease_token: LeaseToken(Uuid::nil()),
            attempt: 1,
            called: true,
            callbacks_seen: 1,
            next: NextStep { state: None, closed: false, due_in: None, failures: 0, polls: 0 },
            result: None,
            decision: None,
            shadow: None,
            new_data_key: None,
            at: datetime!(2026-11-26 12:00:00 UTC),
        };
        let row = serde_json::to_value(CompletionRow::of(1, &completion)).unwrap();
        let mut written: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let (_, columns) =
            include_str!("../sql/completions_complete.sql").split_once(" as t (").unwrap();
        let (columns, _) = columns.split_once(")\n").unwrap();
        let name = |column: &'static str| column.split_whitespace().next().unwrap();
        let mut read: Vec<&str> = columns.split(',').map(name).collect();
        written.sort_unstable();
        read.sort_unstable();
        assert_eq!(written, read);
    }
}
