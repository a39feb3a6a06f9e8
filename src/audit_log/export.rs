//! The chain as lines of JSON.

use time::OffsetDateTime;

use super::checkpoints::Ahead;
use super::{PAGE, link};
use crate::domain::audit_chain::{Checkpoint, Line, Place};
use crate::store::audit::AuditCheckpoint;
use crate::store::{self, Store};
use crate::vault::AuditSeal;

/// Hands out the chain up to what is its head now, line by line, until `write` answers `false`. With
/// the installation's key the last row is signed too, if no worker has done so: then nothing in the
/// export is without a signature behind it.
pub async fn export(
    store: &Store,
    seal: Option<&AuditSeal>,
    now: OffsetDateTime,
    mut write: impl AsyncFnMut(Line) -> bool,
) -> store::Result<()> {
    let (end, digest) = store.audit().audit_head().await?;
    let mut checkpoints = Ahead::open(store).await?;
    let (mut after, mut checkpointed_to) = (0, 0);
    while after < end {
        let rows = store.audit().audit_after(after, None, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows.into_iter().take_while(|row| row.position <= end) {
            after = row.position;
            if !write(Line::Row(link(row))).await {
                return Ok(());
            }
            while let Some(next) = checkpoints.at(store, after).await? {
                checkpointed_to = next.position;
                if !write(line(next)).await {
                    return Ok(());
                }
            }
        }
    }
    if let (Some(seal), true) = (seal, after == end && checkpointed_to < end) {
        let micros = i64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let mac = seal.sign(end, micros, &digest).to_vec();
        let last = AuditCheckpoint { position: end, at: now, digest: digest.clone(), mac };
        if !write(line(last)).await {
            return Ok(());
        }
    }
    let head = Place { position: end, digest: hex::encode(digest) };
    write(Line::Head { head }).await;
    Ok(())
}

fn line(checkpoint: AuditCheckpoint) -> Line {
    let AuditCheckpoint { position, at, digest, mac } = checkpoint;
    let (digest, mac) = (hex::encode(digest), hex::encode(mac));
    Line::Checkpoint { checkpoint: Checkpoint { position, at, digest, mac } }
}
