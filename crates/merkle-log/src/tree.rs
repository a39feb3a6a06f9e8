//! A tree that grows leaf by leaf, and forgets its leaves.

use crate::hash::NodeHash;
use crate::proof::Leaves;

/// Leaves of a block. A tree keeps one hash for each block, so a proof needs the leaves of two blocks
/// at most, however many there are.
pub const BLOCK: u64 = 256;
const BLOCK_LEVEL: u32 = BLOCK.ilog2();

/// The complete subtrees of a tree, the largest first: all that adding a leaf and the root need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// One for each bit of the size.
    subtrees: Vec<NodeHash>,
}

impl Edge {
    pub fn push(&mut self, leaf: NodeHash) {
        self.push_subtree(leaf, 0);
    }

    /// The size must be a multiple of the subtree's 2^level leaves.
    fn push_subtree(&mut self, mut hash: NodeHash, level: u32) {
        let mut complete = self.size >> level;
        while complete & 1 == 1 {
            if let Some(left) = self.subtrees.pop() {
                hash = NodeHash::of_nodes(&left, &hash);
            }
            complete >>= 1;
        }
        self.subtrees.push(hash);
        self.size += 1 << level;
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> NodeHash {
        let mut upwards = self.subtrees.iter().rev();
        match upwards.next() {
            None => NodeHash::of_nothing(),
            Some(last) => upwards.fold(*last, |right, left| NodeHash::of_nodes(left, &right)),
        }
    }
}

/// A tree with the hashes of its blocks.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    whole: Edge,
    /// The leaves behind the last complete block.
    open: Edge,
    blocks: Vec<NodeHash>,
}

impl Tree {
    pub fn push(&mut self, leaf: NodeHash) {
        self.whole.push(leaf);
        self.open.push(leaf);
        if self.open.size() == BLOCK {
            self.blocks.push(self.open.root());
            self.open = Edge::default();
        }
    }

    pub fn size(&self) -> u64 {
        self.whole.size()
    }

    pub fn root(&self) -> NodeHash {
        self.whole.root()
    }

    /// The leaves that hashing these nodes needs besides the blocks, in order.
    pub fn missing_leaves(&self, nodes: &[Leaves]) -> Vec<Leaves> {
        let mut missing: Vec<Leaves> = nodes
            .iter()
            .map(|node| self.end_of_blocks(node)..node.end)
            .filter(|leaves| !leaves.is_empty())
            .collect();
        missing.sort_by_key(|leaves| leaves.start);
        missing
    }

    /// The hashes of these nodes; `None` if one is beyond the tree, or `leaf` lacks one of
    /// [`Self::missing_leaves`]. The root of an earlier size is the node `0..size`.
    pub fn hashes(
        &self,
        nodes: &[Leaves],
        leaf: impl Fn(u64) -> Option<NodeHash>,
    ) -> Option<Vec<NodeHash>> {
        nodes.iter().map(|node| self.hash(node, &leaf)).collect()
    }

    fn hash(&self, node: &Leaves, leaf: impl Fn(u64) -> Option<NodeHash>) -> Option<NodeHash> {
        if node.end > self.size() {
            return None;
        }
        let (mut edge, mut next, end_of_blocks) =
            (Edge::default(), node.start, self.end_of_blocks(node));
        while next < end_of_blocks {
            let block = usize::try_from(next / BLOCK).ok()?;
            edge.push_subtree(*self.blocks.get(block)?, BLOCK_LEVEL);
            next += BLOCK;
        }
        for next in next..node.end {
            edge.push(leaf(next)?);
        }
        Some(edge.root())
    }

    /// Where the complete blocks of a node end: at its start if it has none. A node that begins within
    /// a block never spans one.
    fn end_of_blocks(&self, node: &Leaves) -> u64 {
        let end = node.end.min(self.size()) / BLOCK * BLOCK;
        if node.start.is_multiple_of(BLOCK) { end.max(node.start) } else { node.start }
    }
}
