//! Accepting: callbacks and the work they make due, in one commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::group_commit::GroupCommit;
use super::incoming::Columns;
pub use super::incoming::{Accepted, Incoming};
use super::new_callbacks::{self, RecentBatches};
use crate::causes::Cause;
use crate::domain::callback::{BizId, BizType};
use crate::domain::ids::VerificationId;
use crate::store::error::{Error, Result};
use crate::store::ownership::{Claimant, shared_owners};
use crate::store::pool::Store;
use crate::store::statements::statements;
use crate::store::verifications::{decision_of, verification};
use policy::product::Product;

/// Largest batch of one commit. At 64 clients batches stay below this; it bounds memory and the
/// length of one statement.
pub const MAX_BATCH: usize = 256;

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
        let recent = Arc::new(RecentBatches::default());
        GroupCommit::start_refusing(max_batch, MAX_BATCH * 64, move |batch| {
            let (store, recent) = (store.clone(), Arc::clone(&recent));
            async move { store.accept_after(&recent, &batch, window).await }
        })
    }

    /// Accepts a batch: one outcome per message, in order.
    pub async fn accept(&self, batch: Vec<Incoming>, window: Duration) -> Result<Vec<Accepted>> {
        self.accept_after(&RecentBatches::default(), &batch, window).await
    }

    /// Tries the cheaper statement first, where the recent batches were all new.
    async fn accept_after(
        &self,
        recent: &RecentBatches,
        batch: &[Incoming],
        window: Duration,
    ) -> Result<Vec<Accepted>> {
        if recent.were_new()
            && new_callbacks::may_be_all_new(batch)
            && let Some(outcomes) = self.accept_all_new(batch, window).await?
        {
            recent.learn(true);
            return Ok(outcomes);
        }
        let outcomes = self.accept_any(batch, window).await?;
        recent.learn(new_callbacks::were_all_new(batch, &outcomes));
        Ok(outcomes)
    }

    /// One statement takes one message per id. Copies of it within the batch share its outcome;
    /// other bytes under the same id go into another round, where the id is known. So do messages
    /// about the same verification by sources that share nothing: the first of them owns it then.
    async fn accept_any(&self, batch: &[Incoming], window: Duration) -> Result<Vec<Accepted>> {
        let mut outcomes: Vec<Option<Accepted>> = vec![None; batch.len()];
        let mut waiting: Vec<usize> = (0..batch.len()).collect();
        while !waiting.is_empty() {
            let (now, mut others) = split_agreeing(batch, waiting);
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
            let mut written = self.write_accepted(batch, &distinct, window).await?;
            let without_owner = self.assign_owners_of_refused(batch, &written).await?;
            if !without_owner.is_empty() {
                written.extend(self.write_accepted(batch, &without_owner, window).await?);
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
        let any = !claimants.is_empty() && self.owners().assign(&claimants).await?;
        Ok(if any { refused } else { Vec::new() })
    }

    async fn write_accepted(
        &self,
        batch: &[Incoming],
        distinct: &[usize],
        window: Duration,
    ) -> Result<Vec<(usize, Accepted)>> {
        // Another replica may be writing the same message or CertifyId at this moment: its unique
        // key then refuses our whole statement, and the next try finds it known.
        const TRIES: usize = 5;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_write_accepted(batch, distinct, window).await {
                Err(error)
                    if tried < TRIES
                        && (error.violates("callbacks_pkey")
                            || error.violates("verifications_by_certify_id")
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
        let rows = || distinct.iter().map(|index| &batch[*index]);
        let columns = Columns::of(rows());
        let shared = shared_owners(rows().map(|row| &row.source));
        let rows = self
            .run(|| {
                accept((
                    &columns.sources,
                    &columns.message_ids,
                    &columns.digests,
                    &columns.biz_types,
                    &columns.biz_ids,
                    &columns.received,
                    &columns.occurred,
                    &columns.references,
                    &columns.audits,
                    &columns.codes,
                    &columns.platforms,
                    &columns.ids,
                    window.as_secs_f64(),
                    1,
                    &columns.traces,
                    &columns.salts,
                    &shared,
                    &columns.products,
                    &columns.certify_ids,
                ))
                .fetch_all(&self.pool)
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
            if let (Some(standing), None) = decision_ids(row)? {
                unseen.push((place, standing));
            }
        }
        if unseen.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = unseen.iter().map(|(_, id)| *id).collect();
        let decisions = self.run(|| find_decisions(&ids).fetch_all(&self.pool)).await?;
        for row in &decisions {
            let decision = decision_of(row)?;
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
        // For the retention clock, judged by each callback itself. A message as
        // old as that is refused for its timestamp before anybody looks whether it is known. A
        // verification that belongs to the source of its earliest callback must not lose its owner
        // with it. Locked in the order in which accepting locks, so that the two cannot deadlock.
        let deleted = self.run(|| delete_old(&ids, before).execute(&self.pool)).await?;
        Ok(usize::try_from(deleted.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// Takes the messages that one statement can write, and answers these and the others. Of each
/// verification it takes those that agree with the first one: by its source or one that shares with
/// it, of the same product, with the same `certify_id`.
fn split_agreeing(batch: &[Incoming], waiting: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
    // Mostly one source posts, or none about another's verifications.
    let first = &batch[waiting[0]].source.name;
    let is_plain =
        |of: &Incoming| of.source.name == *first && of.callback.product == Product::VerifyResult;
    if waiting.iter().all(|index| is_plain(&batch[*index])) {
        return (waiting, Vec::new());
    }
    let mut firsts: HashMap<(&BizType, &BizId), &Incoming> = HashMap::new();
    let mut certified: HashMap<&str, (&BizType, &BizId)> = HashMap::new();
    waiting.into_iter().partition(|index| {
        let incoming = &batch[*index];
        let callback = &incoming.callback;
        let key = (&callback.biz_type, &callback.biz_id);
        let first = *firsts.entry(key).or_insert(incoming);
        let certify_id = callback.certify_id_if_new();
        let is_only = certify_id.is_none_or(|id| *certified.entry(id).or_insert(key) == key);
        is_only
            && first.source.reaches(&incoming.source.name)
            && first.callback.product == callback.product
            && first.callback.certify_id == callback.certify_id
    })
}

/// The statement's answer for one message, without its verification.
struct Answer<'r> {
    /// The place among those written, from 1.
    ord: i64,
    kind: &'r str,
    digest: Option<&'r [u8]>,
    salt: Option<&'r [u8]>,
}

impl<'r> Answer<'r> {
    fn read(row: &'r PgRow) -> Result<Self> {
        let (ord, kind) = (row.try_get("ord")?, row.try_get("answer")?);
        Ok(Self { ord, kind, digest: row.try_get("digest")?, salt: row.try_get("salt")? })
    }
}

fn outcome(row: &PgRow, batch: &[Incoming], distinct: &[usize]) -> Result<(usize, Accepted)> {
    const NO_ROW: Error = Error::Inconsistent("an accepted callback has an unknown place");
    let Answer { ord, kind, digest, salt } = Answer::read(row)?;
    let index = usize::try_from(ord - 1).ok().and_then(|i| distinct.get(i)).ok_or(NO_ROW)?;
    let accepted = match kind {
        "other source" => Accepted::OtherSource,
        "other product" => Accepted::OtherProduct,
        "other certify_id" => {
            let scene: Option<String> = row.try_get("biz_type")?;
            let id: Option<String> = row.try_get("biz_id")?;
            let by = scene.zip(id).map(|(scene, id)| (BizType::parse(&scene), BizId::parse(&id)));
            Accepted::CertifyIdTaken(match by {
                Some((Ok(scene), Ok(id))) => Some((scene, id)),
                _ => None,
            })
        }
        "erased" => Accepted::Erased,
        "new" => Accepted::New(verification(row)?),
        _ if batch[*index].body.made(digest, salt) => Accepted::Repeated(verification(row)?),
        _ => Accepted::Mismatch,
    };
    Ok((*index, accepted))
}

/// The current decision of the verification, and the one that was found.
fn decision_ids(row: &PgRow) -> Result<(Option<Uuid>, Option<Uuid>)> {
    Ok((row.try_get("standing_id")?, row.try_get("decision_id")?))
}

fn accepted_row(row: &PgRow) -> Result<()> {
    Answer::read(row)?;
    decision_ids(row)?;
    verification(row).map(drop)
}

statements! {
    /// One statement, one commit: the message and its work are kept together or
    /// not at all (invariant 2). Rows are touched in the order of their keys, so that two batches
    /// cannot deadlock. A known message touches nothing, and neither does one about a verification of
    /// a source out of reach. `kept` has no ON CONFLICT on purpose: if another replica wins the race
    /// for a message, this whole statement is undone and tried again.
    read(accepted_row) accept((
        sources: &[&str],
        message_ids: &[&str],
        digests: &[[u8; 32]],
        biz_types: &[&str],
        biz_ids: &[&str],
        received: &[OffsetDateTime],
        occurred: &[Option<OffsetDateTime>],
        references: &[Option<&str>],
        audits: &[Option<&str>],
        codes: &[Option<i32>],
        platforms: &[Option<&str>],
        ids: &[Uuid],
        window: f64,
        expected: i32,
        traces: &[Option<String>],
        salts: &[&[u8]],
        shared: &[String],
        products: &[&str],
        certify_ids: &[Option<&str>],
    )) = include_str!("../sql/callbacks_accept.sql");

    read(decision_of) find_decisions(ids: &[Uuid]) =
        "select id as decision_id, result_id, policy_digest, outcome, reasons,
             decided_by, decided_at, simulated
         from decisions where id = any ($1)";

    execute delete_old(verifications: &[Uuid], before: OffsetDateTime) =
        "with without_owner as materialized (
             select id from verifications where id = any ($1) and source is null
             order by biz_type, biz_id for no key update
         ), owned as (
             update verifications v set source = (select source from callbacks
                 where verification_id = v.id
                 order by received_at, source, message_id limit 1)
             where id = any (array(select id from without_owner)) and source is null
         )
         delete from callbacks where verification_id = any ($1) and received_at < $2";
}
