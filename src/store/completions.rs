//! Completing a claim: result, decision and next step in one commit, under the fencing token.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::group_commit::GroupCommit;
use super::statements::statements;
use super::verifications::decision_of;
use super::{Error, Result, Store};
use crate::domain::answer::{AnswerError, ErrorClass, StoredResult, shown_code};
use crate::domain::decision::StoredDecision;
use crate::domain::ids::{LeaseToken, ResultId, VerificationId};
use crate::domain::verification::State;
use policy::decision::Decision;
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
    /// Which attempt.
    pub attempt: i32,
    /// Callbacks known when it was claimed.
    pub callbacks_seen: i32,
    /// What comes next.
    pub next: NextStep,
    /// The answer, if there was one.
    pub result: Option<NewResult>,
    /// The decision, if the answer allowed one.
    pub decision: Option<StoredDecision>,
    /// What a policy in shadow makes of the same answer.
    pub shadow: Option<ShadowDecision>,
    /// A data key made for this verification just now (id of the wrapping key, bytes).
    pub new_data_key: Option<(String, Vec<u8>)>,
    /// When.
    pub at: OffsetDateTime,
}

/// What a policy in shadow decided, beside the decision that counts.
#[derive(Clone, Debug)]
pub struct ShadowDecision {
    /// Its digest.
    pub policy: String,
    /// What it would have decided.
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
    /// What may be told.
    pub stored: StoredResult,
    /// The raw body, sealed.
    pub sealed_body: Vec<u8>,
    /// What it says of the person, if it does.
    pub material: Option<NewMaterial>,
    /// Where its images are, sealed, and how long those links live; `None`: there are none, or
    /// they are left alone.
    pub links: Option<(Vec<u8>, Duration)>,
}

/// The person in one answer.
#[derive(Clone, Debug)]
pub struct NewMaterial {
    /// The document, sealed.
    pub sealed: Vec<u8>,
    /// Blind index of the person, if there is a number.
    pub person: Option<[u8; 32]>,
}

/// What became of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is durable.
    Committed,
    /// The lease was lost: somebody else owns the verification now; nothing was written.
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
        let rows: Vec<serde_json::Value> =
            batch.iter().enumerate().map(|(i, row)| as_json(i + 1, row)).collect::<Result<_>>()?;
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
        rows: &[serde_json::Value],
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

    /// All answers about a verification, oldest first.
    pub async fn results_of(&self, id: VerificationId) -> Result<Vec<StoredResult>> {
        let rows: Vec<ResultRow> = self.run(|| find_results(id.0).fetch_all(&self.pool)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// All decisions about a verification, oldest first; the last one stands.
    pub async fn decisions_of(&self, id: VerificationId) -> Result<Vec<StoredDecision>> {
        let rows = self.run(|| find_decisions(id.0).fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| decision_of(row)?.ok_or(Error::Inconsistent("decisions.id is null")))
            .collect()
    }

    /// What the standing decision was made from, and when that answer had come; `None`: nothing was
    /// decided.
    pub async fn standing_evidence(
        &self,
        id: VerificationId,
    ) -> Result<Option<(Evidence, OffsetDateTime)>> {
        let row: Option<(Json<Evidence>, OffsetDateTime)> =
            self.run(|| find_current_evidence(id.0).fetch_optional(&self.pool)).await?;
        Ok(row.map(|(Json(evidence), fetched_at)| (evidence, fetched_at)))
    }

    /// The sealed body of one answer and the wrapped key that opens it.
    pub async fn sealed_body(&self, id: ResultId) -> Result<Option<SealedBody>> {
        let row = self.run(|| find_sealed_body(id.0).fetch_optional(&self.pool)).await?;
        row.as_ref().map(sealed_body).transpose()
    }
}

fn sealed_body(row: &PgRow) -> Result<SealedBody> {
    Ok(SealedBody {
        verification_id: VerificationId(row.try_get("verification_id")?),
        body: row.try_get("sealed_body")?,
        key_id: row.try_get("key_id")?,
        wrapped_key: row.try_get("wrapped")?,
    })
}

/// A sealed body with what is needed to open it.
#[derive(Debug)]
pub struct SealedBody {
    /// Whose.
    pub verification_id: VerificationId,
    /// Ciphertext.
    pub body: Vec<u8>,
    /// Which key wraps the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped_key: Vec<u8>,
}

fn links_of(row: &Completion) -> Option<&(Vec<u8>, Duration)> {
    row.result.as_ref()?.links.as_ref()
}

/// `ord` is the row's place among the bodies, from 1.
fn as_json(ord: usize, row: &Completion) -> Result<serde_json::Value> {
    let rfc3339 = |at: OffsetDateTime| {
        at.format(&time::format_description::well_known::Rfc3339)
            .map_err(|_| Error::Inconsistent("a time outside RFC 3339"))
    };
    let result = row.result.as_ref().map(|result| &result.stored);
    let decision = row.decision.as_ref();
    let material = row.result.as_ref().and_then(|result| result.material.as_ref());
    Ok(serde_json::json!({
        "ord": ord,
        "verification_id": row.verification_id,
        "lease_token": row.lease_token,
        "attempt": row.attempt,
        "callbacks_seen": row.callbacks_seen,
        "state": row.next.state.map(State::as_str),
        "closed": row.next.closed,
        "due_in": row.next.due_in.map(|due| due.as_secs_f64()),
        "failures": row.next.failures,
        "polls": row.next.polls,
        "at": rfc3339(row.at)?,
        "result_id": result.map(|r| r.id),
        "fetched_at": result.map(|r| rfc3339(r.fetched_at)).transpose()?,
        "request_id": result.and_then(|r| r.request_id.as_deref()),
        "http_status": result.map(|r| r.http_status),
        "evidence": result.and_then(|r| r.evidence.as_ref()),
        "error_class": result.and_then(|r| r.error.as_ref()).map(|e| e.class),
        "error_code": result.and_then(|r| r.error.as_ref()).and_then(|e| e.code.as_deref()),
        "simulated": result.map(|r| r.simulated),
        "decision_id": decision.map(|d| d.id),
        "policy_digest": decision.map(|d| &d.policy),
        "outcome": decision.map(|d| d.decision.outcome),
        "reasons": decision.map(|d| &d.decision.reasons),
        "decided_by": decision.map(|d| d.by),
        "key_id": row.new_data_key.as_ref().map(|(id, _)| id),
        "wrapped": row.new_data_key.as_ref().map(|(_, wrapped)| hex::encode(wrapped)),
        "shadow_policy": row.shadow.as_ref().map(|shadow| &shadow.policy),
        "shadow_outcome": row.shadow.as_ref().map(|shadow| shadow.decision.outcome),
        "shadow_reasons": row.shadow.as_ref().map(|shadow| &shadow.decision.reasons),
        "links_live": links_of(row).map(|(_, live)| live.as_secs_f64()),
        "person": material.and_then(|material| material.person).map(hex::encode),
    }))
}

#[derive(FromRow)]
struct ResultRow {
    id: Uuid,
    attempt: i32,
    fetched_at: OffsetDateTime,
    request_id: Option<String>,
    http_status: i32,
    evidence: Option<Json<Evidence>>,
    error_class: Option<String>,
    error_code: Option<String>,
    simulated: bool,
    coarsened: bool,
}

impl TryFrom<ResultRow> for StoredResult {
    type Error = Error;

    fn try_from(row: ResultRow) -> Result<Self> {
        let error = match row.error_class {
            None => None,
            Some(class) => Some(AnswerError {
                class: ErrorClass::parse(&class)
                    .ok_or(Error::Inconsistent("results.error_class"))?,
                // Older versions stored codes as they came.
                code: row.error_code.as_deref().map(shown_code),
            }),
        };
        Ok(Self {
            id: ResultId(row.id),
            attempt: row.attempt,
            fetched_at: row.fetched_at,
            request_id: row.request_id,
            http_status: u16::try_from(row.http_status)
                .map_err(|_| Error::Inconsistent("results.http_status"))?,
            evidence: row.evidence.map(|Json(evidence)| evidence),
            error,
            simulated: row.simulated,
            coarsened: row.coarsened,
        })
    }
}

statements! {
    /// `completions::complete`. `fenced` is the fence: only those whose token is still good go on (told apart by
    /// `ord`, since a batch may hold a stale completion of the same verification), and
    /// result, decision, data key and next step of those commit together (invariants 2 and 3). A
    /// callback that came during the fetch (`callbacks > seen`) keeps the row due, unless it is closed.
    /// Rows are locked in the order in which accept touches them, so that the two cannot deadlock.
    scalar complete(
        rows: Json<&[serde_json::Value]>,
        bodies: &[&[u8]],
        material: &[Option<&[u8]>],
        links: &[Option<&[u8]>],
    ) -> i32 = include_str!("sql/completions_complete.sql");

    scalar kept_results(ids: &[Uuid]) -> Uuid = "select id from results where id = any($1)";

    row find_results(verification: Uuid) -> ResultRow =
        "select id, attempt, fetched_at, request_id, http_status, evidence,
             error_class, error_code, simulated, coarsened
         from results where verification_id = $1 order by attempt";

    read(decision_of) find_decisions(verification: Uuid) =
        "select id as decision_id, result_id, policy_digest, outcome, reasons,
             decided_by, decided_at, simulated
         from decisions where verification_id = $1 order by position";

    row find_current_evidence(verification: Uuid) -> (Json<Evidence>, OffsetDateTime) =
        "select r.evidence, r.fetched_at
         from (select decision_id from verifications where id = $1) v
         cross join lateral (
             select result_id from decisions where id = v.decision_id limit 1) d
         cross join lateral (
             select evidence, fetched_at from results where id = d.result_id limit 1) r";

    read(sealed_body) find_sealed_body(id: Uuid) =
        "select r.verification_id, r.sealed_body, k.key_id, k.wrapped
         from results r join data_keys k using (verification_id) where r.id = $1";
}
