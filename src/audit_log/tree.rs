//! The audit as a Merkle tree: a leaf is the digest of a row, so the tree outlives rows that retention
//! dropped.

use std::collections::BTreeMap;

use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{SignedNote, SigningKey};
use merkle_log::proof::{Leaves, consistency_nodes, inclusion_nodes};
use merkle_log::tree::Tree;

use crate::store::{self, Store};

/// Digests held in memory at once.
const PAGE: i64 = 10_000;

/// Why the tree, or a proof from it, cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum TreeFault {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("row {0} of the audit is missing: run `verdict audit verify`")]
    Missing(i64),
    #[error("the tree has no row {0}")]
    Beyond(i64),
}

/// Lets the tree grow until it has this row. It never reads a row again, so a tree that stays in memory
/// does not show a later change of older rows. Witnesses and `verdict audit verify` find that.
pub async fn grow(store: &Store, tree: &mut Tree, last: i64) -> Result<(), TreeFault> {
    loop {
        let after = position(tree.size());
        if after >= last {
            return Ok(());
        }
        let page = store.audit_tree().leaves_after(after, PAGE.min(last - after)).await?;
        if page.is_empty() {
            return Err(TreeFault::Missing(after + 1));
        }
        for leaf in page {
            let next = position(tree.size()) + 1;
            if leaf.position != next {
                return Err(TreeFault::Missing(next));
            }
            tree.push(NodeHash::of_leaf(&leaf.digest));
        }
    }
}

/// The hashes that prove the row to be in the tree of the rows up to `size`.
pub async fn prove_inclusion(
    store: &Store,
    tree: &Tree,
    row: i64,
    size: u64,
) -> Result<Vec<NodeHash>, TreeFault> {
    let index = row.checked_sub(1).and_then(|index| u64::try_from(index).ok());
    let nodes = index.and_then(|index| inclusion_nodes(index, size));
    hashes(store, tree, &nodes.ok_or(TreeFault::Beyond(row))?).await
}

/// The hashes that prove the tree of the rows up to `older` to be the beginning of that up to `newer`.
pub async fn prove_consistency(
    store: &Store,
    tree: &Tree,
    older: u64,
    newer: u64,
) -> Result<Vec<NodeHash>, TreeFault> {
    let nodes = consistency_nodes(older, newer).ok_or(TreeFault::Beyond(position(older)))?;
    hashes(store, tree, &nodes).await
}

/// The root of the tree of the rows up to `size`.
pub async fn root_at(store: &Store, tree: &Tree, size: u64) -> Result<NodeHash, TreeFault> {
    let roots = hashes(store, tree, std::slice::from_ref(&(0..size))).await?;
    roots.into_iter().next().ok_or(TreeFault::Beyond(position(size)))
}

async fn hashes(store: &Store, tree: &Tree, nodes: &[Leaves]) -> Result<Vec<NodeHash>, TreeFault> {
    let mut leaves = BTreeMap::new();
    for missing in tree.missing_leaves(nodes) {
        let (after, count) = (position(missing.start), position(missing.end - missing.start));
        for leaf in store.audit_tree().leaves_after(after, count).await? {
            leaves.insert(leaf.position.unsigned_abs(), NodeHash::of_leaf(&leaf.digest));
        }
    }
    let computed = tree.hashes(nodes, |index| leaves.get(&(index + 1)).copied());
    computed.ok_or_else(|| TreeFault::Beyond(position(tree.size()) + 1))
}

/// The head of the tree, signed by the log. The key's name is the origin.
pub fn signed_head(tree: &Tree, key: &SigningKey) -> (TreeHead, SignedNote) {
    let origin = key.verifying().name().to_owned();
    let head = TreeHead { origin, size: tree.size(), root: tree.root() };
    let text = head.to_string();
    let signature = key.sign(&text);
    (head, SignedNote::new(text, vec![signature]))
}

/// The position of the newest of so many rows.
pub fn position(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
