//! Completing a claim: result, decision and next step in one commit, under the fencing token.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::group_commit::GroupCommit;
use super::verifications::decision_of;
use super::{Error, Result, Store};
use crate::domain::answer::{AnswerError, ErrorClass, StoredResult, shown_code};
use crate::domain::decision::{DecidedBy, Decision, StoredDecision};
use crate::domain::evidence::Evidence;
use crate::domain::ids::{LeaseToken, ResultId, VerificationId};
use crate::domain::verification::State;

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
        sqlx::query_scalar(COMPLETE)
            .bind(Json(rows))
            .bind(bodies)
            .bind(material)
            .bind(links)
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
        let kept: HashSet<Uuid> = self
            .run(|| async {
                sqlx::query_scalar("select id from results where id = any($1)")
                    .bind(&unsure)
                    .fetch_all(&self.pool)
                    .await
            })
            .await?
            .into_iter()
            .collect();
        for (row, outcome) in batch.iter().zip(outcomes) {
            if result_of(row).is_some_and(|id| kept.contains(&id)) {
                *outcome = Written::Committed;
            }
        }
        Ok(())
    }

    /// All answers about a verification, oldest first.
    pub async fn results_of(&self, id: VerificationId) -> Result<Vec<StoredResult>> {
        let rows: Vec<ResultRow> = self
            .run(|| async {
                sqlx::query_as(
                    "select id, attempt, fetched_at, request_id, http_status, evidence,
                        error_class, error_code, simulated, coarsened
                     from results where verification_id = $1 order by attempt",
                )
                .bind(id.0)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// All decisions about a verification, oldest first; the last one stands.
    pub async fn decisions_of(&self, id: VerificationId) -> Result<Vec<StoredDecision>> {
        let rows = self
            .run(|| async {
                sqlx::query(
                    "select id as decision_id, result_id, policy_digest, outcome, reasons,
                        decided_by, decided_at, simulated
                     from decisions where verification_id = $1 order by position",
                )
                .bind(id.0)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.iter()
            .map(|row| {
                decision_of(row, "outcome")?.ok_or(Error::Inconsistent("decisions.id is null"))
            })
            .collect()
    }

    /// What the standing decision was made from, and when that answer had come; `None`: nothing was
    /// decided.
    pub async fn standing_evidence(
        &self,
        id: VerificationId,
    ) -> Result<Option<(Evidence, OffsetDateTime)>> {
        let row: Option<(Json<Evidence>, OffsetDateTime)> = self
            .run(|| async {
                sqlx::query_as(
                    "select r.evidence, r.fetched_at
                     from (select decision_id from verifications where id = $1) v
                     cross join lateral (
                        select result_id from decisions where id = v.decision_id limit 1) d
                     cross join lateral (
                        select evidence, fetched_at from results where id = d.result_id limit 1) r",
                )
                .bind(id.0)
                .fetch_optional(&self.pool)
                .await
            })
            .await?;
        Ok(row.map(|(Json(evidence), fetched_at)| (evidence, fetched_at)))
    }

    /// The sealed body of one answer and the wrapped key that opens it.
    pub async fn sealed_body(&self, id: ResultId) -> Result<Option<SealedBody>> {
        let row = self
            .run(|| async {
                sqlx::query(
                    "select r.verification_id, r.sealed_body, k.key_id, k.wrapped
                     from results r join data_keys k using (verification_id) where r.id = $1",
                )
                .bind(id.0)
                .fetch_optional(&self.pool)
                .await
            })
            .await?;
        row.map(|row| {
            Ok(SealedBody {
                verification_id: VerificationId(row.try_get("verification_id")?),
                body: row.try_get("sealed_body")?,
                key_id: row.try_get("key_id")?,
                wrapped_key: row.try_get("wrapped")?,
            })
        })
        .transpose()
    }
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

/// `completions::complete`. `mine` is the fence: only those whose token is still good go on (told apart by
/// `ord`, since a batch may hold a stale completion of the same verification), and
/// result, decision, data key and next step of those commit together (invariants 2 and 3). A
/// callback that came during the fetch (`callbacks > seen`) keeps the row due, unless it is closed.
/// Rows are locked in the order in which accept touches them, so that the two cannot deadlock.
const COMPLETE: &str = "
with incoming as (
    select * from jsonb_to_recordset($1) as t (ord int, verification_id uuid, lease_token uuid,
        attempt int, callbacks_seen int, state text, closed bool, due_in float8, failures int,
        polls int, at timestamptz, result_id uuid, fetched_at timestamptz, request_id text,
        http_status int, evidence jsonb, error_class text, error_code text, decision_id uuid,
        policy_digest text, outcome text, reasons jsonb, decided_by text, key_id text, wrapped text, person text, simulated bool,
        links_live float8, shadow_policy text, shadow_outcome text, shadow_reasons jsonb)
), locked as materialized (
    select v.id from verifications v
    -- As an array, here and below: the planner takes any join for a long one, and would walk
    -- the whole table.
    where v.id = any (array(select verification_id from incoming))
    order by v.biz_type, v.biz_id for no key update of v
), mine as (
    update verifications v set
        state = case when v.callbacks > i.callbacks_seen and not i.closed then 'pending'
                     else coalesce(i.state, v.state) end,
        closed = v.closed or i.closed,
        due_at = case when v.callbacks > i.callbacks_seen and not i.closed
                      then verdict_now()
                      else verdict_now() + make_interval(secs => i.due_in) end,
        failures = case when v.callbacks > i.callbacks_seen then 0 else i.failures end,
        polls = case when v.callbacks > i.callbacks_seen then 0 else i.polls end,
        updated_at = greatest(v.updated_at, i.at),
        result_id = coalesce(i.result_id, v.result_id),
        decision_id = coalesce(i.decision_id, v.decision_id),
        lease_token = null, lease_until = null
    from incoming i
    where v.id = any (array(select id from locked))
        and v.id = i.verification_id and v.lease_token = i.lease_token
    returning i.ord
), new_keys as (
    insert into data_keys (verification_id, key_id, wrapped)
    select i.verification_id, i.key_id, decode(i.wrapped, 'hex')
    from incoming i join mine using (ord)
    where i.key_id is not null
), keys_in_use as (
    -- A process that was not told of a rotation wraps with a key that was given up.
    update vault_keys set retired_at = null
    where key_id = any (array(select i.key_id from incoming i join mine using (ord)
                              where i.key_id is not null))
        and retired_at is not null
), new_results as (
    insert into results (id, verification_id, attempt, fetched_at, request_id, http_status,
        verify_status, authority_score, face_score, id_card_face_score, evidence,
        error_class, error_code, simulated, sealed_body)
    select i.result_id, i.verification_id, i.attempt, i.fetched_at, i.request_id, i.http_status,
        (i.evidence ->> 'verify_status')::int,
        (i.evidence #>> '{scores,authority}')::float8,
        (i.evidence #>> '{scores,face}')::float8,
        (i.evidence #>> '{scores,id_card_face}')::float8,
        i.evidence, i.error_class, i.error_code, coalesce(i.simulated, false), ($2::bytea[])[i.ord]
    from incoming i join mine using (ord)
    where i.result_id is not null
), new_material as (
    insert into material (result_id, verification_id, sealed, person)
    select i.result_id, i.verification_id, ($3::bytea[])[i.ord], decode(i.person, 'hex')
    from incoming i join mine using (ord)
    where ($3::bytea[])[i.ord] is not null
), new_tasks as (
    insert into tasks (id, kind, verification_id, links, person, minted, created_at, deadline, due_at)
    select i.result_id, 'archive', i.verification_id, ($4::bytea[])[i.ord], decode(i.person, 'hex'),
        coalesce((select max(minted) + 1 from tasks
                  where verification_id = i.verification_id and asked_again_at is not null), 0),
        verdict_now(), verdict_now() + make_interval(secs => i.links_live), verdict_now()
    from incoming i join mine using (ord)
    where ($4::bytea[])[i.ord] is not null
), new_decisions as (
    insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at, simulated)
    select i.decision_id, i.verification_id, i.result_id, i.policy_digest, i.outcome, i.reasons,
        i.decided_by, i.at, coalesce(i.simulated, false)
    from incoming i join mine using (ord)
    where i.decision_id is not null
), new_shadows as (
    insert into shadow_decisions (decision_id, verification_id, policy_digest, active_digest,
        active_outcome, outcome, reasons, decided_at)
    select i.decision_id, i.verification_id, i.shadow_policy, i.policy_digest, i.outcome,
        i.shadow_outcome, i.shadow_reasons, i.at
    from incoming i join mine using (ord)
    where i.shadow_policy is not null
)
select ord from mine";

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

/// What `decided_by` is stored as.
impl DecidedBy {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Person => "person",
        }
    }
}
