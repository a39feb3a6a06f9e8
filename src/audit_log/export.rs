//! The chain as lines, a page at a time.

use time::OffsetDateTime;

use super::checkpoints::Ahead;
use super::rows::{PAGE, link};
use crate::domain::audit_chain::{Checkpoint, Line, Place};
use crate::store::audit::AuditCheckpoint;
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
    after: i64,
    checkpointed_to: i64,
    is_done: bool,
}

impl Export {
    pub async fn open(
        store: Store,
        seal: Option<AuditSeal>,
        now: OffsetDateTime,
    ) -> store::Result<Self> {
        let head = store.audit().audit_head().await?;
        let checkpoints = Ahead::open(&store).await?;
        let (after, checkpointed_to, is_done) = (0, 0, false);
        Ok(Self { store, seal, now, head, checkpoints, after, checkpointed_to, is_done })
    }

    /// The next lines; `None` behind the last one. An export that ends early lacks its head, and is
    /// refused by whoever verifies it.
    pub async fn next(&mut self) -> store::Result<Option<Vec<Line>>> {
        if self.is_done {
            return Ok(None);
        }
        let end = self.head.0;
        let rows = self.store.audit().audit_after(self.after, None, PAGE).await?;
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

    fn last_signature(&self) -> Option<Line> {
        let (end, digest) = (self.head.0, &self.head.1);
        let is_unsigned = self.after == end && self.checkpointed_to < end;
        let seal = self.seal.as_ref().filter(|_| is_unsigned)?;
        let micros = i64::try_from(self.now.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let mac = seal.sign(end, micros, digest).to_vec();
        let (at, digest) = (self.now, digest.clone());
        Some(line(AuditCheckpoint { position: end, at, digest, mac }))
    }
}

fn line(checkpoint: AuditCheckpoint) -> Line {
    let AuditCheckpoint { position, at, digest, mac } = checkpoint;
    let (digest, mac) = (hex::encode(digest), hex::encode(mac));
    Line::Checkpoint { checkpoint: Checkpoint { position, at, digest, mac } }
}
