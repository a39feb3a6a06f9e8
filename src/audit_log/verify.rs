//! Finds any row that was changed, removed, inserted or moved.

use super::checkpoints::Ahead;
use super::rows::{PAGE, cut, is_cut_signed, is_signed, link};
use crate::domain::audit_chain::{Broken, Chain, Place};
use crate::domain::audit_heads::{HeadFault, KnownHead};
use crate::store::audit_cuts::AuditCut;
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
    /// Rows up to here were dropped by retention; 0: none.
    pub dropped: i64,
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
    #[error("the cut at row {0} was not made by this installation: it accounts for no dropped row")]
    ForgedCut(i64),
    #[error("the newest rows are missing: row {0} was checkpointed")]
    Cut(i64),
    #[error(transparent)]
    Head(#[from] HeadFault),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Follows the whole chain, from the digests of dropped rows on. Without a seal signatures are not
/// checked. `expect`: places that were written down elsewhere.
pub async fn verify(
    store: &Store,
    seal: Option<&AuditSeal>,
    expect: &[Place],
) -> Result<Whole, Fault> {
    verify_with(store, &Known { seal, expect, heads: &[] }, &mut |_, _| ()).await
}

/// Facts about the audit that it must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Without it no signatures of checkpoints and cuts are checked.
    pub seal: Option<&'a AuditSeal>,
    /// Places that were written down elsewhere.
    pub expect: &'a [Place],
    /// Heads that witnesses signed, or that are kept elsewhere.
    pub heads: &'a [KnownHead],
}

/// The same. Calls `report` with the position reached and the last position.
pub async fn verify_with(
    store: &Store,
    against: &Known<'_>,
    report: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Whole, Fault> {
    loop {
        let cuts = store.audit_cuts().all().await?;
        let known = cuts.len();
        let outcome = followed(store, against, &cuts, report).await;
        let is_broken = matches!(outcome, Err(Fault::Broken(_)));
        // Rows may have been dropped while they were read.
        if !is_broken || store.audit_cuts().all().await?.len() <= known {
            return outcome;
        }
    }
}

async fn followed(
    store: &Store,
    against: &Known<'_>,
    cuts: &[AuditCut],
    report: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Whole, Fault> {
    // Before the rows: what is added meanwhile is beyond it.
    let (position, digest) = store.audit().audit_head().await?;
    let head = Place { position, digest: hex::encode(&digest) };
    let mut walk = Walk::behind(Chain::default(), store, *against).await?;
    walk.follow_leaves(cuts).await?;
    // A row that was dropped is no row any more.
    let oldest = store.audit().audit_after(0, None, 1).await?.pop();
    if let Some(row) = oldest.filter(|row| row.position <= walk.chain.position()) {
        walk.chain.follow(&link(row))?;
    }
    let mut known = 0;
    loop {
        report(walk.chain.position(), head.position);
        // The last row once more: another one in its place may be in another partition.
        let after = walk.chain.position() - i64::from(known > 0);
        let rows = store.audit().audit_after(after, None, PAGE).await?;
        if rows.len() <= known {
            break;
        }
        for row in rows.into_iter().skip(known) {
            walk.chain.follow(&link(row))?;
            if walk.chain.confirm(&head).is_err() {
                return Err(Fault::NotTheHead(position));
            }
            walk.confirm().await?;
        }
        known = 1;
    }
    walk.chain.ends_beyond(against.expect.iter().chain([&head]))?;
    walk.chain.ends_beyond_heads(against.heads)?;
    if let Some(next) = walk.checkpoints.next() {
        return Err(Fault::Cut(next.position));
    }
    let Walk { chain, good, covered, .. } = walk;
    Ok(Whole { last: chain.place(), checkpoints: good, covered, dropped: chain.cut() })
}

/// The chain, and everything that confirms it on the way.
pub(super) struct Walk<'a> {
    store: &'a Store,
    against: Known<'a>,
    pub(super) chain: Chain,
    checkpoints: Ahead,
    good: usize,
    /// Position of the last checkpoint.
    pub(super) covered: i64,
}

impl<'a> Walk<'a> {
    /// From the end of this chain on.
    pub(super) async fn behind(
        chain: Chain,
        store: &'a Store,
        against: Known<'a>,
    ) -> store::Result<Self> {
        let checkpoints = Ahead::open(store, chain.position()).await?;
        Ok(Self { store, against, chain, checkpoints, good: 0, covered: 0 })
    }

    /// The digests of dropped rows, and the cuts that account for them.
    async fn follow_leaves(&mut self, cuts: &[AuditCut]) -> Result<(), Fault> {
        for cut in cuts {
            if self.against.seal.is_some_and(|seal| !is_cut_signed(seal, cut)) {
                return Err(Fault::ForgedCut(cut.position));
            }
        }
        let mut cuts = cuts.iter().peekable();
        loop {
            let after = self.chain.position();
            let leaves = self.store.audit_cuts().leaves_after(after, PAGE).await?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                self.chain.follow_leaf(leaf.position, &hex::encode(&leaf.digest))?;
                if let Some(next) = cuts.next_if(|next| next.position <= leaf.position) {
                    self.chain.follow_cut(&cut(next))?;
                }
                self.confirm().await?;
            }
        }
        if let Some(next) = cuts.next() {
            self.chain.follow_cut(&cut(next))?;
        }
        Ok(self.chain.leaves_end()?)
    }

    /// Compares the last row, or leaf, with what is known of it.
    pub(super) async fn confirm(&mut self) -> Result<(), Fault> {
        self.against.expect.iter().try_for_each(|place| self.chain.confirm(place))?;
        self.chain.agrees_with(self.against.heads)?;
        while let Some(next) = self.checkpoints.at(self.store, self.chain.position()).await? {
            if self.against.seal.is_some_and(|seal| !is_signed(seal, &next)) {
                return Err(Fault::Forged(next.position));
            }
            let (position, digest) = (next.position, hex::encode(&next.digest));
            self.chain.confirm(&Place { position, digest })?;
            (self.good, self.covered) = (self.good + 1, position);
        }
        Ok(())
    }
}
