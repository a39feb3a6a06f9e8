//! Finds any row that was changed, removed, inserted or moved.

use super::checkpoints::Ahead;
use super::rows::{PAGE, is_signed, link};
use crate::domain::audit_chain::{Broken, Chain, Place};
use crate::store::{self, Store};
use crate::vault::AuditSeal;

/// A chain without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its newest row, to be written down elsewhere.
    pub last: Place,
    pub checkpoints: usize,
    /// Up to here a checkpoint stands behind it.
    pub covered: i64,
}

/// The first fault.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("row {0} is not the one that the chain's head names: it was replaced")]
    NotTheHead(i64),
    #[error("the checkpoint at row {0} was not made by this installation")]
    Forged(i64),
    #[error("the newest rows are missing: row {0} was checkpointed")]
    Cut(i64),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Follows the whole chain. Without a seal the signatures of checkpoints are not checked. `expect`:
/// places that were written down elsewhere.
pub async fn verify(
    store: &Store,
    seal: Option<&AuditSeal>,
    expect: &[Place],
) -> Result<Whole, Fault> {
    // Before the rows: what is added meanwhile is beyond it.
    let (position, digest) = store.audit().audit_head().await?;
    let head = Place { position, digest: hex::encode(&digest) };
    let mut checkpoints = Ahead::open(store).await?;
    let (mut good, mut covered) = (0_usize, 0);
    let mut chain = Chain::default();
    loop {
        let rows = store.audit().audit_after(chain.position(), None, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            chain.follow(&link(row))?;
            expect.iter().try_for_each(|place| chain.confirm(place))?;
            if chain.confirm(&head).is_err() {
                return Err(Fault::NotTheHead(position));
            }
            while let Some(next) = checkpoints.at(store, chain.position()).await? {
                if seal.is_some_and(|seal| !is_signed(seal, &next)) {
                    return Err(Fault::Forged(next.position));
                }
                let (position, digest) = (next.position, hex::encode(&next.digest));
                chain.confirm(&Place { position, digest })?;
                (good, covered) = (good + 1, position);
            }
        }
    }
    chain.ends_beyond(expect.iter().chain([&head]))?;
    if let Some(next) = checkpoints.next() {
        return Err(Fault::Cut(next.position));
    }
    Ok(Whole { last: chain.place(), checkpoints: good, covered })
}
