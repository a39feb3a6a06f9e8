//! Accepting: callbacks and the work they make due, in one commit.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::group_commit::GroupCommit;
use super::ownership::{Claimant, shared_owners};
use super::verifications::decision_of;
use super::{Error, Result, Store};
use crate::causes::Cause;
use crate::domain::body_digest::{BodyDigest, Salt};
use crate::domain::callback::{BizId, BizType, Callback};
use crate::domain::ids::VerificationId;
use crate::domain::source::SourceAccess;
use crate::domain::trace::TraceParent;
use crate::domain::verification::{State, Verification};

/// Largest batch of one commit. At 64 clients batches stay below this; it bounds memory and the
/// length of one statement.
pub const MAX_BATCH: usize = 256;

/// One verified message, ready to be kept.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The configured source.
    pub source: SourceAccess,
    /// The `webhook-id` header.
    pub message_id: String,
    /// Of the exact body.
    pub body: BodyDigest,
    /// The key of its stored digest, if it is new.
    pub salt: Salt,
    /// What it says.
    pub callback: Callback,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// The id the verification gets if it is new.
    pub verification_id: VerificationId,
    /// The request that brought it, where requests are traced: the work it causes joins its trace.
    pub trace: Option<TraceParent>,
}

/// What became of a message.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Kept, and its work is due.
    New(Verification),
    /// The same id and bytes as before: the same answer as before.
    Repeated(Verification),
    /// The same id with other bytes.
    Mismatch,
    /// The person was forgotten: nothing was kept.
    Erased,
    /// The verification belongs to a source out of reach: nothing was kept or changed.
    OtherSource,
}

impl Accepted {
    /// What a copy of the message gets.
    fn again(self) -> Self {
        match self {
            Self::New(same) | Self::Repeated(same) => Self::Repeated(same),
            Self::Mismatch => Self::Mismatch,
            Self::Erased => Self::Erased,
            Self::OtherSource => Self::OtherSource,
        }
    }
}

/// Accepts callbacks in group commits.
pub type Accepting = GroupCommit<Incoming, Accepted>;

impl Store {
    /// Starts the group commit for callbacks. `window` is how long an unfinished verification is
    /// asked about after its last callback.
    pub fn start_accepting(
        &self,
        window: Duration,
        max_batch: usize,
    ) -> (Accepting, tokio::task::JoinHandle<()>) {
        let store = self.clone();
        GroupCommit::start_refusing(max_batch, MAX_BATCH * 64, move |batch| {
            let store = store.clone();
            async move { store.accept(batch, window).await }
        })
    }

    /// Accepts a batch: one outcome per message, in order.
    ///
    /// One statement takes one message per id. Copies of it within the batch share its outcome;
    /// other bytes under the same id go into another round, where the id is known. So do messages
    /// about the same verification by sources that share nothing: the first of them owns it then.
    pub async fn accept(&self, batch: Vec<Incoming>, window: Duration) -> Result<Vec<Accepted>> {
        let mut outcomes: Vec<Option<Accepted>> = vec![None; batch.len()];
        let mut waiting: Vec<usize> = (0..batch.len()).collect();
        while !waiting.is_empty() {
            let (now, mut others) = split_by_owner(&batch, waiting);
            let mut first_of: HashMap<(&str, &str), usize> = HashMap::new();
            let mut distinct: Vec<usize> = Vec::with_capacity(now.len());
            for &index in &now {
                let incoming = &batch[index];
                first_of.entry((&incoming.source.name, &incoming.message_id)).or_insert_with(
                    || {
                        distinct.push(index);
                        index
                    },
                );
            }
            let mut written = self.write_accepted(&batch, &distinct, window).await?;
            let without_owner = self.assign_owners_of_refused(&batch, &written).await?;
            if !without_owner.is_empty() {
                written.extend(self.write_accepted(&batch, &without_owner, window).await?);
            }
            for (index, outcome) in written {
                outcomes[index] = Some(outcome);
            }
            for index in now {
                let incoming = &batch[index];
                let first =
                    first_of[&(incoming.source.name.as_str(), incoming.message_id.as_str())];
                if batch[first].body != incoming.body {
                    others.push(index);
                } else if first != index {
                    outcomes[index] = outcomes[first].clone().map(Accepted::again);
                }
            }
            waiting = others;
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.ok_or(Error::Inconsistent("a callback has no outcome")))
            .collect()
    }

    /// Assigns owners to verifications without one, and returns the refused messages to try again.
    async fn assign_owners_of_refused(
        &self,
        batch: &[Incoming],
        written: &[(usize, Accepted)],
    ) -> Result<Vec<usize>> {
        let refused: Vec<usize> = written
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Accepted::OtherSource))
            .map(|(index, _)| *index)
            .collect();
        let claimants: Vec<Claimant<'_>> = refused
            .iter()
            .map(|index| Claimant {
                biz_type: &batch[*index].callback.biz_type,
                biz_id: &batch[*index].callback.biz_id,
                source: Some(&batch[*index].source.name),
                at: batch[*index].received_at,
            })
            .collect();
        let any = !claimants.is_empty() && self.assign_owners(&claimants).await?;
        Ok(if any { refused } else { Vec::new() })
    }

    async fn write_accepted(
        &self,
        batch: &[Incoming],
        distinct: &[usize],
        window: Duration,
    ) -> Result<Vec<(usize, Accepted)>> {
        // Another replica may be writing the same message at this moment: its unique key then
        // refuses our whole statement, and the next try finds the message known.
        const TRIES: usize = 5;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_write_accepted(batch, distinct, window).await {
                Err(error)
                    if tried < TRIES
                        && (error.violates("callbacks_pkey")
                            || error.cause() == Cause::Conflict) => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_write_accepted(
        &self,
        batch: &[Incoming],
        distinct: &[usize],
        window: Duration,
    ) -> Result<Vec<(usize, Accepted)>> {
        let rows = distinct.iter().map(|index| &batch[*index]);
        let sources: Vec<&str> = rows.clone().map(|row| row.source.name.as_str()).collect();
        let shared = shared_owners(rows.clone().map(|row| &row.source));
        let message_ids: Vec<&str> = rows.clone().map(|row| row.message_id.as_str()).collect();
        let digests: Vec<_> = rows.clone().map(|row| row.body.salted(&row.salt)).collect();
        let salts: Vec<&[u8]> = rows.clone().map(|row| &row.salt[..]).collect();
        let biz_types: Vec<&str> = rows.clone().map(|row| row.callback.biz_type.as_str()).collect();
        let biz_ids: Vec<&str> = rows.clone().map(|row| row.callback.biz_id.as_str()).collect();
        let received: Vec<_> = rows.clone().map(|row| row.received_at).collect();
        let occurred: Vec<_> = rows.clone().map(|row| row.callback.occurred_at).collect();
        let references: Vec<_> =
            rows.clone().map(|row| row.callback.reference.as_deref()).collect();
        let audits: Vec<_> = rows.clone().map(|row| row.callback.hint.audit).collect();
        let codes: Vec<_> = rows.clone().map(|row| row.callback.hint.code).collect();
        let platforms: Vec<_> = rows.clone().map(|row| row.callback.hint.platform).collect();
        let ids: Vec<Uuid> = rows.clone().map(|row| row.verification_id.0).collect();
        let traces: Vec<Option<String>> =
            rows.clone().map(|row| row.trace.map(|trace| trace.to_string())).collect();

        let rows = self
            .run(|| async {
                sqlx::query(ACCEPT)
                    .bind(&sources)
                    .bind(&message_ids)
                    .bind(&digests)
                    .bind(&biz_types)
                    .bind(&biz_ids)
                    .bind(&received)
                    .bind(&occurred)
                    .bind(&references)
                    .bind(&audits)
                    .bind(&codes)
                    .bind(&platforms)
                    .bind(&ids)
                    .bind(window.as_secs_f64())
                    .bind(1)
                    .bind(&traces)
                    .bind(&salts)
                    .bind(&shared)
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        let mut outcomes: Vec<(usize, Accepted)> =
            rows.iter().map(|row| outcome(row, batch, distinct)).collect::<Result<_>>()?;
        self.look_again_for_decisions(&rows, &mut outcomes).await?;
        Ok(outcomes)
    }

    /// A message that waited for a completion of the same verification sees that row as it is now,
    /// but other tables as they were when the statement began: a decision that is named and not
    /// found was written in between. A repeat would find it, and the first answer must be the same.
    async fn look_again_for_decisions(
        &self,
        rows: &[PgRow],
        outcomes: &mut [(usize, Accepted)],
    ) -> Result<()> {
        let mut unseen: Vec<(usize, Uuid)> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let standing: Option<Uuid> = row.try_get("standing_id")?;
            let found: Option<Uuid> = row.try_get("decision_id")?;
            if let (Some(standing), None) = (standing, found) {
                unseen.push((place, standing));
            }
        }
        if unseen.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = unseen.iter().map(|(_, id)| *id).collect();
        let decisions = self
            .run(|| async {
                sqlx::query(
                    "select id as decision_id, result_id, policy_digest, outcome, reasons,
                        decided_by, decided_at, simulated
                     from decisions where id = any ($1)",
                )
                .bind(&ids)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        for row in &decisions {
            let decision = decision_of(row, "outcome")?;
            let id: Uuid = row.try_get("decision_id")?;
            for (place, _) in unseen.iter().filter(|(_, standing)| *standing == id) {
                if let Accepted::New(verification) | Accepted::Repeated(verification) =
                    &mut outcomes[*place].1
                {
                    verification.decision.clone_from(&decision);
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Deletes the callbacks of these verifications that came before then; answers how many there
    /// were.
    pub async fn delete_callbacks_of(
        &self,
        ids: &[VerificationId],
        before: OffsetDateTime,
    ) -> Result<usize> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        // callbacks::delete: for the retention clock, judged by each callback itself. A message as
        // old as that is refused for its timestamp before anybody looks whether it is known. A
        // verification that belongs to the source of its earliest callback must not lose its owner
        // with it. Locked in the order in which accepting locks, so that the two cannot deadlock.
        let deleted = self
            .run(|| async {
                sqlx::query(
                    "with without_owner as materialized (
                        select id from verifications where id = any ($1) and source is null
                        order by biz_type, biz_id for no key update
                     ), owned as (
                        update verifications v set source = (select source from callbacks
                            where verification_id = v.id
                            order by received_at, source, message_id limit 1)
                        where id = any (array(select id from without_owner)) and source is null
                     )
                     delete from callbacks where verification_id = any ($1) and received_at < $2",
                )
                .bind(&ids)
                .bind(before)
                .execute(&self.pool)
                .await
            })
            .await?;
        Ok(usize::try_from(deleted.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// `callbacks::accept`. One statement, one commit: the message and its work are kept together or
/// not at all (invariant 2). Rows are touched in the order of their keys, so that two batches
/// cannot deadlock. A known message touches nothing, and neither does one about a verification of
/// a source out of reach. `kept` has no ON CONFLICT on purpose: if another replica wins the race
/// for a message, this whole statement is undone and tried again.
const ACCEPT: &str = "
with incoming as (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[],
        $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[], $10::int[], $11::text[],
        $12::uuid[], $15::text[], $16::bytea[]) with ordinality
        as t (source, message_id, digest, biz_type, biz_id, received_at, occurred_at, reference,
              audit, code, platform, id, trace_parent, salt, ord),
        -- One row that the planner takes for a thousand: left to itself it expects ten of every
        -- array and compares each of a batch with each (a fifth of the statement's time at 64).
        generate_series(1, $14) as expect_many
), known as (
    select i.ord, c.*
    from incoming i cross join lateral (
        select * from callbacks where source = i.source and message_id = i.message_id limit 1) c
), fresh as (
    select * from incoming i where not exists (select from known k where k.ord = i.ord)
), touched as (
    -- A new callback makes a verification due again, but for closed and erased ones.
    insert into verifications as v
        (id, biz_type, biz_id, reference, state, created_at, updated_at, callbacks, due_at, give_up_at,
         trace_parent, source)
    select distinct on (biz_type, biz_id)
        id, biz_type, biz_id,
        (array_agg(reference) filter (where reference is not null)
            over (partition by biz_type, biz_id order by ord
                  rows between unbounded preceding and unbounded following))[1],
        'pending',
        min(received_at) over (partition by biz_type, biz_id),
        max(received_at) over (partition by biz_type, biz_id),
        count(*) over (partition by biz_type, biz_id),
        verdict_now(), verdict_now() + make_interval(secs => $13), trace_parent, source
    from fresh order by biz_type, biz_id, ord
    on conflict (biz_type, biz_id) do update set
        reference = case when v.state = 'erased' then v.reference
                         else coalesce(v.reference, excluded.reference) end,
        callbacks = v.callbacks + case when v.state = 'erased' then 0 else excluded.callbacks end,
        updated_at = case when v.state = 'erased' then v.updated_at
                          else greatest(v.updated_at, excluded.updated_at) end,
        state = case when v.closed or v.state = 'erased' then v.state else 'pending' end,
        due_at = case when v.closed or v.state = 'erased' then v.due_at
                      else least(v.due_at, excluded.due_at) end,
        give_up_at = excluded.give_up_at,
        trace_parent = case when v.closed or v.state = 'erased' then v.trace_parent
                            else excluded.trace_parent end,
        failures = 0,
        polls = 0
    -- A row without a source is passed over: `assign_owners`.
    where v.source = excluded.source or v.source || ' ' || excluded.source = any ($17)
    returning v.*
), kept as (
    insert into callbacks (source, message_id, digest, salt, verification_id, received_at, occurred_at,
        hint_audit, hint_code, hint_platform,
        answer_state, answer_attempts, answer_reference, answer_decision_id)
    select f.source, f.message_id, f.digest, f.salt, t.id, f.received_at, f.occurred_at,
        f.audit, f.code, f.platform, t.state, t.attempts, t.reference, t.decision_id
    from fresh f join touched t using (biz_type, biz_id)
    where t.state <> 'erased'
    order by f.source, f.message_id
), answers as (
    select f.ord, case when t.id is null then 'other source' when t.state = 'erased' then 'erased'
            else 'new' end as outcome,
        t.id, t.biz_type, t.biz_id, t.reference, t.source, t.state,
        t.created_at, f.received_at as updated_at, t.attempts, t.decision_id as standing_id,
        null::bytea as digest, null::bytea as salt
    from fresh f left join touched t using (biz_type, biz_id)
    union all
    select k.ord, case when v.source = k.source or v.source || ' ' || k.source = any ($17)
            then case when v.state = 'erased' then 'erased' else 'known' end
            else 'other source' end,
        v.id, v.biz_type, v.biz_id, k.answer_reference, v.source, k.answer_state,
        v.created_at, k.received_at, k.answer_attempts, k.answer_decision_id, k.digest, k.salt
    from known k cross join lateral (
        select * from verifications where id = k.verification_id limit 1) v
)
select a.*, d.id as decision_id, d.result_id, d.policy_digest, d.outcome as decision_outcome,
    d.reasons, d.decided_by, d.decided_at, d.simulated
from answers a left join lateral (
    select * from decisions where id = a.standing_id limit 1) d on true";

/// Takes, of each verification, the messages of the first one's source and of those that share with
/// it; answers these and the others.
fn split_by_owner(batch: &[Incoming], waiting: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
    // Mostly one source posts, or none about another's verifications.
    if waiting.iter().all(|index| batch[*index].source.name == batch[waiting[0]].source.name) {
        return (waiting, Vec::new());
    }
    let mut owners: HashMap<(&BizType, &BizId), &SourceAccess> = HashMap::new();
    waiting.into_iter().partition(|index| {
        let incoming = &batch[*index];
        let key = (&incoming.callback.biz_type, &incoming.callback.biz_id);
        owners.entry(key).or_insert(&incoming.source).reaches(&incoming.source.name)
    })
}

fn outcome(row: &PgRow, batch: &[Incoming], distinct: &[usize]) -> Result<(usize, Accepted)> {
    const NO_ROW: Error = Error::Inconsistent("an accepted callback has an unknown place");
    let ord: i64 = row.try_get("ord")?;
    let index = usize::try_from(ord - 1).ok().and_then(|i| distinct.get(i)).ok_or(NO_ROW)?;
    let is_new = match row.try_get("outcome")? {
        "other source" => return Ok((*index, Accepted::OtherSource)),
        "erased" => return Ok((*index, Accepted::Erased)),
        "new" => true,
        _ if batch[*index].body.made(row.try_get("digest")?, row.try_get("salt")?) => false,
        _ => return Ok((*index, Accepted::Mismatch)),
    };
    let callback = &batch[*index].callback;
    let verification = Verification {
        id: VerificationId(row.try_get("id")?),
        biz_type: BizType::parse(row.try_get("biz_type")?).unwrap_or(callback.biz_type.clone()),
        biz_id: BizId::parse(row.try_get("biz_id")?).unwrap_or(callback.biz_id.clone()),
        reference: row.try_get("reference")?,
        source: row.try_get("source")?,
        state: State::parse(row.try_get("state")?)
            .ok_or(Error::Inconsistent("verifications.state"))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        attempts: row.try_get("attempts")?,
        decision: decision_of(row, "decision_outcome")?,
        failure: None,
    };
    let accepted =
        if is_new { Accepted::New(verification) } else { Accepted::Repeated(verification) };
    Ok((*index, accepted))
}
