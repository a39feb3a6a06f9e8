//! Proofs: which nodes one consists of, and what follows from them.
//!
//! A node is named by the leaves below it. The nodes of a proof are computed from its numbers alone, so
//! a proof that has another count of hashes is refused before anything is hashed.

use std::ops::Range;

use crate::hash::NodeHash;

/// The leaves below a node.
pub type Leaves = Range<u64>;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the tree has no such leaf")]
    NoSuchLeaf,
    #[error("the older tree is larger than the newer one")]
    OlderIsLarger,
    #[error("the proof has another count of hashes than these sizes need")]
    Length,
    #[error("the hashes do not lead to the root")]
    Root,
}

/// The nodes that prove a leaf to be in a tree, from its sibling upwards; `None`: no such leaf.
pub fn inclusion_nodes(index: u64, size: u64) -> Option<Vec<Leaves>> {
    if index >= size {
        return None;
    }
    let (mut from, mut until, mut nodes) = (0, size, Vec::new());
    while until - from > 1 {
        let middle = from + left_half(until - from);
        if index < middle {
            nodes.push(middle..until);
            until = middle;
        } else {
            nodes.push(from..middle);
            from = middle;
        }
    }
    nodes.reverse();
    Some(nodes)
}

/// The nodes that prove a tree to be the beginning of another, from the smallest upwards; `None`: the
/// older one is larger.
pub fn consistency_nodes(older: u64, newer: u64) -> Option<Vec<Leaves>> {
    if older > newer {
        return None;
    }
    if older == 0 {
        return Some(Vec::new());
    }
    let (mut from, mut until, mut nodes) = (0, newer, Vec::new());
    while until != older {
        let middle = from + left_half(until - from);
        if older <= middle {
            nodes.push(middle..until);
            until = middle;
        } else {
            nodes.push(from..middle);
            from = middle;
        }
    }
    // Where it is the whole older tree, its root is known.
    if from > 0 {
        nodes.push(from..until);
    }
    nodes.reverse();
    Some(nodes)
}

/// Leaves of the left half of a tree with this many, more than one: the largest power of two below.
fn left_half(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// Checks that the tree with this size and root has this leaf.
pub fn verify_inclusion(
    leaf: NodeHash,
    index: u64,
    (size, root): (u64, NodeHash),
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    let nodes = inclusion_nodes(index, size).ok_or(ProofError::NoSuchLeaf)?;
    if nodes.len() != proof.len() {
        return Err(ProofError::Length);
    }
    let computed = nodes.iter().zip(proof).fold(leaf, |hash, (node, sibling)| {
        if node.end <= index {
            NodeHash::of_nodes(sibling, &hash)
        } else {
            NodeHash::of_nodes(&hash, sibling)
        }
    });
    if computed == root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the older tree is the beginning of the newer one, each with its size and root.
pub fn verify_consistency(
    (older, older_root): (u64, NodeHash),
    (newer, newer_root): (u64, NodeHash),
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    let nodes = consistency_nodes(older, newer).ok_or(ProofError::OlderIsLarger)?;
    if nodes.len() != proof.len() {
        return Err(ProofError::Length);
    }
    if older == 0 {
        let empty = NodeHash::of_nothing();
        let fits = older_root == empty && (newer > 0 || newer_root == empty);
        return if fits { Ok(()) } else { Err(ProofError::Root) };
    }
    let mut pairs = nodes.iter().zip(proof).peekable();
    // The part of the older tree that both have as one node.
    let shared = pairs.next_if(|(node, _)| node.end == older).map_or(older_root, |(_, hash)| *hash);
    let (mut in_older, mut in_newer) = (shared, shared);
    for (node, sibling) in pairs {
        if node.end <= older {
            in_older = NodeHash::of_nodes(sibling, &in_older);
            in_newer = NodeHash::of_nodes(sibling, &in_newer);
        } else {
            in_newer = NodeHash::of_nodes(&in_newer, sibling);
        }
    }
    if in_older == older_root && in_newer == newer_root { Ok(()) } else { Err(ProofError::Root) }
}
