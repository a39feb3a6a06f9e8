//! The chain as lines, a page at a time.

use std::collections::VecDeque;

use time::OffsetDateTime;

use super::checkpoints::Ahead;
use super::rows::{PAGE, cut, link, micros};
use crate::domain::audit_chain::{Checkpoint, Line, Place};
use crate::domain::audit_cut::Leaves;
use crate::store::audit::AuditCheckpoint;
use crate::store::audit_cuts::AuditCut;
use crate::store::{self, Store};
use crate::vault::AuditSeal;

/// The chain up to what was its head when the export began. With the installation's key the last row
/// is signed too, if no worker has done so: then nothing in the export is without a signature behind
/// it.
pub struct Export {
    store: Store,
    seal: Option<AuditSeal>,
    now: OffsetDateTime,
    head: (i64, Vec<u8>),
    checkpoints: Ahead,
    cuts: VecDeque<AuditCut>,
    /// Position of the newest cut; 0 if there is none.
    dropped: i64,
    after: i64,
    checkpointed_to: i64,
    is_done: bool,
}

/// Why an export ends early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("retention dropped rows while they were exported: export again")]
    Dropped,
}

impl Export {
    pub async fn open(
        store: Store,
        seal: Option<AuditSeal>,
        now: OffsetDateTime,
    ) -> store::Result<Self> {
        let cuts: VecDeque<AuditCut> = store.audit_cuts().all().await?.into();
        let dropped = cuts.back().map_or(0, |newest| newest.position);
        let head = store.audit().audit_head().await?;
        let checkpoints = Ahead::open(&store, 0).await?;
        let (after, checkpointed_to, is_done) = (0, 0, false);
        Ok(Self {
            store,
            seal,
            now,
            head,
            checkpoints,
            cuts,
            dropped,
            after,
            checkpointed_to,
            is_done,
        })
    }

    /// The next lines; `None` behind the last one. An export that ends early lacks its head, and is
    /// refused by whoever verifies it.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, ExportError> {
        if self.is_done {
            return Ok(None);
        }
        if self.after < self.dropped {
            let lines = self.next_leaves().await?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            // They are missing, which verifying the export finds: the rows follow all the same.
            self.after = self.dropped;
        }
        let end = self.head.0;
        let rows = self.store.audit().audit_after(self.after, None, PAGE).await?;
        if rows.first().is_some_and(|first| first.position > self.after + 1) {
            let newest = self.store.audit_cuts().all().await?.pop();
            if newest.is_some_and(|newest| newest.position > self.dropped) {
                return Err(ExportError::Dropped);
            }
        }
        let mut lines = Vec::with_capacity(rows.len());
        let is_last = rows.last().is_none_or(|last| last.position >= end);
        for row in rows.into_iter().take_while(|row| row.position <= end) {
            self.after = row.position;
            lines.push(Line::Row(link(row)));
            while let Some(next) = self.checkpoints.at(&self.store, self.after).await? {
                self.checkpointed_to = next.position;
                lines.push(line(next));
            }
        }
        if is_last {
            self.is_done = true;
            lines.extend(self.last_signature());
            let (position, digest) = (end, hex::encode(&self.head.1));
            lines.push(Line::Head { head: Place { position, digest } });
        }
        Ok(Some(lines))
    }

    /// A page of digests of dropped rows, interrupted where a checkpoint or a cut belongs.
    async fn next_leaves(&mut self) -> store::Result<Vec<Line>> {
        let page = self.store.audit_cuts().leaves_after(self.after, PAGE).await?;
        let mut lines = Vec::new();
        let mut leaves = Leaves { from: self.after + 1, digests: Vec::new() };
        for leaf in page {
            if leaves.digests.is_empty() || leaf.position != self.after + 1 {
                push(&mut lines, &mut leaves, leaf.position);
            }
            self.after = leaf.position;
            leaves.digests.push(hex::encode(&leaf.digest));
            if let Some(next) = self.cuts.front()
                && next.position <= leaf.position
            {
                push(&mut lines, &mut leaves, leaf.position + 1);
                lines.push(Line::Cut { cut: cut(next) });
                self.cuts.pop_front();
            }
            while let Some(next) = self.checkpoints.at(&self.store, self.after).await? {
                push(&mut lines, &mut leaves, leaf.position + 1);
                self.checkpointed_to = next.position;
                lines.push(line(next));
            }
        }
        push(&mut lines, &mut leaves, 0);
        Ok(lines)
    }

    fn last_signature(&self) -> Option<Line> {
        let (end, digest) = (self.head.0, &self.head.1);
        let is_unsigned = self.after == end && self.checkpointed_to < end;
        let seal = self.seal.as_ref().filter(|_| is_unsigned)?;
        let mac = seal.sign(end, micros(self.now), digest).to_vec();
        let (at, digest) = (self.now, digest.clone());
        Some(line(AuditCheckpoint { position: end, at, digest, mac }))
    }
}

/// Ends a line of digests, and begins the next one.
fn push(lines: &mut Vec<Line>, leaves: &mut Leaves, from: i64) {
    let digests = std::mem::take(&mut leaves.digests);
    if !digests.is_empty() {
        lines.push(Line::Leaves { leaves: Leaves { from: leaves.from, digests } });
    }
    leaves.from = from;
}

fn line(checkpoint: AuditCheckpoint) -> Line {
    let AuditCheckpoint { position, at, digest, mac } = checkpoint;
    let (digest, mac) = (hex::encode(digest), hex::encode(mac));
    Line::Checkpoint { checkpoint: Checkpoint { position, at, digest, mac } }
}
