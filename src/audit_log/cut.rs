//! Drops the oldest segment of the audit once all of it is older than its clock. Its rows are verified
//! first: a signed cut stands for them afterwards, and must not hide a change.

use time::OffsetDateTime;

use super::rows::{PAGE, cut, is_cut_signed, link, micros};
use super::verify::{Fault, Known, Walk};
use crate::domain::audit_chain::{Broken, Chain};
use crate::store::Store;
use crate::store::audit_cuts::AuditCut;
use crate::store::months::DropOutcome;
use crate::vault::AuditSeal;

/// Whether the oldest segment is kept, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// There is no closed segment all of which is old enough.
    Young,
    /// No checkpoint confirms its newest row yet.
    Unsigned,
    /// A person whose data is kept needs the rows up to this one.
    Needed(i64),
    /// Dropped, with so many rows, up to this one.
    Not { rows: u64, last: i64 },
}

/// Drops the oldest segment if its newest row is older than so many days. `now`: for the signature.
pub async fn drop_oldest(
    store: &Store,
    seal: &AuditSeal,
    days: i32,
    now: OffsetDateTime,
) -> Result<Kept, Fault> {
    let Some(old) = store.audit_cuts().oldest(days).await? else { return Ok(Kept::Young) };
    let before = store.audit_cuts().all().await?.pop();
    let chain = match &before {
        None => Chain::default(),
        Some(before) if !is_cut_signed(seal, before) => {
            return Err(Fault::ForgedCut(before.position));
        }
        Some(before) => Chain::behind(&cut(before)).ok_or(Fault::ForgedCut(before.position))?,
    };
    let against = Known { seal: Some(seal), expect: &[], heads: &[] };
    let mut walk = Walk::behind(chain, store, against).await?;
    let mut newest = None;
    // Beyond the segment up to the next checkpoint, which confirms all rows before it.
    while newest.is_none() || walk.covered < old.last {
        let rows = store.audit().audit_after(walk.chain.position(), None, PAGE).await?;
        if rows.is_empty() {
            return Ok(Kept::Unsigned);
        }
        for row in rows {
            walk.chain.follow(&link(row))?;
            walk.confirm().await?;
            if walk.chain.position() == old.last {
                newest = Some((walk.chain.digest().to_owned(), walk.chain.leaves()));
            }
        }
    }
    let Some((digest, leaves)) = newest else { return Ok(Kept::Unsigned) };
    let position = old.last;
    let digest = hex::decode(digest).map_err(|_| Broken::Changed(position))?;
    let (at, leaves) = (now, leaves.bytes().to_vec());
    let mac = seal.sign_cut(position, micros(at), &digest, &leaves).to_vec();
    let cut = AuditCut { position, digest, at, leaves, mac };
    Ok(match store.audit_cuts().cut(old.segment, days, &cut).await? {
        DropOutcome::Dropped(rows) => Kept::Not { rows, last: position },
        DropOutcome::Needed => Kept::Needed(position),
        DropOutcome::Gone => Kept::Young,
    })
}

/// Checkpoints that one statement deletes.
const CHECKPOINTS_AT_ONCE: i32 = 10_000;

/// Deletes the checkpoints that stand before the newest cut; answers how many. The cut is signed and
/// accounts for every row up to it, and the digests of those rows stay.
pub async fn drop_checkpoints(store: &Store, seal: &AuditSeal) -> Result<u64, Fault> {
    let Some(newest) = store.audit_cuts().all().await?.pop() else { return Ok(0) };
    if !is_cut_signed(seal, &newest) {
        return Err(Fault::ForgedCut(newest.position));
    }
    let mut dropped = 0;
    loop {
        match store.audit_cuts().drop_checkpoints(CHECKPOINTS_AT_ONCE).await? {
            0 => return Ok(dropped),
            some => dropped += some,
        }
    }
}
