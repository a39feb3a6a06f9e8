//! Accepting a batch in which every callback is the first about its verification: the usual case
//! without starts, and most of the cost of accepting.
//!
//! `accept` looks every message up, and reads its answers from what it wrote. Here two plain inserts
//! are enough, and the answers are made from the callbacks. One callback that is known, or that
//! shares a key with another, leaves the whole batch to `accept`: a batch stays one commit.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::or_none;
use super::incoming::{Accepted, Columns, Incoming};
use crate::causes::Cause;
use crate::domain::callback::CertifyId;
use crate::domain::verification::{State, Verification};
use crate::store::error::{Error, Result};
use crate::store::pool::Store;
use crate::store::statements::statements;

/// How many of the recent batches were all new, the last one weighing an eighth.
///
/// Where verifications are started here first, no callback is the first, and the try would cost
/// each callback a round trip.
#[derive(Debug)]
pub(super) struct RecentBatches {
    per_mille: AtomicU32,
}

impl Default for RecentBatches {
    fn default() -> Self {
        Self { per_mille: AtomicU32::new(1000) }
    }
}

impl RecentBatches {
    pub(super) fn were_new(&self) -> bool {
        self.per_mille.load(Ordering::Relaxed) >= 500
    }

    pub(super) fn learn(&self, was_new: bool) {
        let before = self.per_mille.load(Ordering::Relaxed);
        let after = (before * 7 + if was_new { 1000 } else { 0 }) / 8;
        self.per_mille.store(after, Ordering::Relaxed);
    }
}

/// Whether no two callbacks share a verification, a message or a `CertifyId`.
pub(super) fn may_be_all_new(batch: &[Incoming]) -> bool {
    fn are_distinct<K: Eq + Hash>(keys: impl Iterator<Item = K>, most: usize) -> bool {
        let mut seen = HashSet::with_capacity(most);
        keys.into_iter().all(|key| seen.insert(key))
    }
    let most = batch.len();
    are_distinct(batch.iter().map(|of| (&of.callback.biz_type, &of.callback.biz_id)), most)
        && are_distinct(batch.iter().map(|of| (&of.source.name, &of.message_id)), most)
        && are_distinct(batch.iter().filter_map(|of| of.callback.certify_id_if_new()), most)
}

/// Whether each callback was the first about its verification.
pub(super) fn were_all_new(batch: &[Incoming], outcomes: &[Accepted]) -> bool {
    batch.iter().zip(outcomes).all(|(incoming, outcome)| {
        matches!(outcome, Accepted::New(of) if of.id == incoming.verification_id)
    })
}

impl Store {
    /// Accepts the batch if every callback is the first about its verification; `None`: it wrote
    /// nothing.
    pub(super) async fn accept_all_new(
        &self,
        batch: &[Incoming],
        window: Duration,
    ) -> Result<Option<Vec<Accepted>>> {
        let columns = Columns::of(batch.iter());
        let are_new = self
            .run(|| {
                insert((
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
                    or_none(&columns.traces),
                    &columns.salts,
                    &columns.products,
                    or_none(&columns.certify_ids),
                ))
                .fetch_one(&self.pool)
            })
            .await;
        match are_new {
            Ok(true) => batch.iter().map(first_answer).collect::<Result<_>>().map(Some),
            Ok(false) => Ok(None),
            // Another process is writing one of them now, or a message is known under
            // another verification.
            Err(error) if is_about_another_write(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_about_another_write(error: &Error) -> bool {
    // The id too: where a connection broke, the statement is repeated while it may still run.
    const KEYS: [&str; 4] = [
        "verifications_pkey",
        "verifications_key",
        "verifications_by_certify_id",
        "callbacks_pkey",
    ];
    error.cause() == Cause::Conflict || KEYS.iter().any(|key| error.violates(key))
}

/// The answer that `accept` would read back.
fn first_answer(incoming: &Incoming) -> Result<Accepted> {
    let callback = &incoming.callback;
    let certify_id = callback.certify_id_if_new().map(CertifyId::parse).transpose();
    Ok(Accepted::New(Verification {
        id: incoming.verification_id,
        product: callback.product,
        biz_type: callback.biz_type.clone(),
        biz_id: callback.biz_id.clone(),
        certify_id: certify_id.map_err(|_| Error::Inconsistent("verifications.certify_id"))?,
        answered_by: None,
        reference: callback.reference.clone(),
        source: Some(incoming.source.name.clone()),
        state: State::Pending,
        created_at: incoming.received_at,
        updated_at: incoming.received_at,
        attempts: 0,
        decision: None,
        failure: None,
    }))
}

statements! {
    /// One statement, one commit, as `accept`; whether it wrote them. A callback that another process
    /// has just written violates a key, and the statement is undone.
    scalar insert((
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
        traces: &[Option<String>],
        salts: &[&[u8]],
        products: &[&str],
        certify_ids: &[Option<&str>],
    )) -> bool = include_str!("../sql/new_callbacks_insert.sql");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_are_never_new_are_not_tried() {
        let recent = RecentBatches::default();
        assert!(recent.were_new());
        let tries = (0..100).filter(|_| {
            let tried = recent.were_new();
            recent.learn(false);
            tried
        });
        assert!(tries.count() < 10);
        for _ in 0..10 {
            recent.learn(true);
        }
        assert!(recent.were_new());
    }

    #[test]
    fn rare_repetitions_change_nothing() {
        let recent = RecentBatches::default();
        for n in 0..1000 {
            recent.learn(n % 5 != 0);
            assert!(recent.were_new());
        }
    }
}
