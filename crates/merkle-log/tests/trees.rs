//! Trees and proofs against the definitions of the RFC, and against its public vectors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use merkle_log::hash::NodeHash;
use merkle_log::proof::{
    Leaves, ProofError, consistency_nodes, inclusion_nodes, verify_consistency, verify_inclusion,
};
use merkle_log::tree::{BLOCK, Tree};
use proptest::prelude::*;

/// The entries of the public vectors.
const ENTRIES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
/// The roots of the trees with none of them, with one, and so on.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(hex: &str) -> NodeHash {
    NodeHash::from_slice(&hex::decode(hex).unwrap()).unwrap()
}

/// The leaves with these numbers.
fn leaves(count: u64) -> Vec<NodeHash> {
    (0..count).map(|n| NodeHash::of_leaf(&n.to_be_bytes())).collect()
}

fn tree(leaves: &[NodeHash]) -> Tree {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree
}

/// The hashes of these nodes, and only the missing leaves may be read.
fn hashes(tree: &Tree, leaves: &[NodeHash], nodes: &[Leaves]) -> Vec<NodeHash> {
    let missing = tree.missing_leaves(nodes);
    let read = |index: u64| {
        let is_missing = missing.iter().any(|range| range.contains(&index));
        is_missing.then(|| leaves[usize::try_from(index).unwrap()])
    };
    tree.hashes(nodes, read).unwrap()
}

fn split(count: usize) -> usize {
    let mut half = 1;
    while half * 2 < count {
        half *= 2;
    }
    half
}

/// MTH, PATH and SUBPROOF, word by word.
fn root(d: &[NodeHash]) -> NodeHash {
    match d {
        [] => NodeHash::of_nothing(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = d.split_at(split(d.len()));
            NodeHash::of_nodes(&root(left), &root(right))
        }
    }
}

fn path(m: usize, d: &[NodeHash]) -> Vec<NodeHash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let k = split(d.len());
    let (left, right) = d.split_at(k);
    let (mut path, sibling) =
        if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
    path.push(sibling);
    path
}

fn subproof(m: usize, d: &[NodeHash], is_known: bool) -> Vec<NodeHash> {
    if m == d.len() {
        return if is_known { Vec::new() } else { vec![root(d)] };
    }
    let k = split(d.len());
    let (left, right) = d.split_at(k);
    let (mut proof, sibling) = if m <= k {
        (subproof(m, left, is_known), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    proof.push(sibling);
    proof
}

#[test]
fn public_vectors_are_reproduced() {
    let mut tree = Tree::default();
    assert_eq!(tree.root(), hash(ROOTS[0]));
    for (entry, root) in ENTRIES.iter().zip(&ROOTS[1..]) {
        tree.push(NodeHash::of_leaf(&hex::decode(entry).unwrap()));
        assert_eq!(tree.root(), hash(root));
    }
    let leaf = NodeHash::of_leaf(&hex::decode(ENTRIES[5]).unwrap());
    let proof = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(verify_inclusion(leaf, 5, (8, hash(ROOTS[8])), &proof.map(hash)), Ok(()));
    let proof = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    let (older, newer) = ((6, hash(ROOTS[6])), (8, hash(ROOTS[8])));
    assert_eq!(verify_consistency(older, newer, &proof.map(hash)), Ok(()));
}

#[test]
fn every_small_tree_proves_what_the_rfc_defines() {
    let all = leaves(40);
    let whole = tree(&all);
    for size in 0..=40_u64 {
        let part = &all[..usize::try_from(size).unwrap()];
        assert_eq!(tree(part).root(), root(part), "{size}");
        for index in 0..size {
            let nodes = inclusion_nodes(index, size).unwrap();
            let proof = hashes(&whole, &all, &nodes);
            let at = usize::try_from(index).unwrap();
            assert_eq!(proof, path(at, part), "{index} of {size}");
            assert_eq!(verify_inclusion(all[at], index, (size, root(part)), &proof), Ok(()));
        }
        for older in 0..=size {
            let nodes = consistency_nodes(older, size).unwrap();
            let proof = hashes(&whole, &all, &nodes);
            let before = usize::try_from(older).unwrap();
            if older > 0 {
                assert_eq!(proof, subproof(before, part, true), "{older} of {size}");
            }
            let (older, newer) = ((older, root(&part[..before])), (size, root(part)));
            assert_eq!(verify_consistency(older, newer, &proof), Ok(()));
        }
    }
    assert_eq!(inclusion_nodes(3, 3), None);
    assert_eq!(consistency_nodes(4, 3), None);
}

/// Sizes within blocks, at their ends, and beyond.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![1..3 * BLOCK, (1..5_u64).prop_map(|n| n * BLOCK), 1..5 * BLOCK]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_give_the_same_proofs_as_leaves((a, b, n) in (size(), size(), any::<u64>())) {
        let (older, newer) = (a.min(b), a.max(b));
        // The tree has grown on since the newer head.
        let all = leaves(newer + n % 300);
        let whole = tree(&all);
        let part = &all[..usize::try_from(newer).unwrap()];
        let before = root(&part[..usize::try_from(older).unwrap()]);
        let proof = hashes(&whole, &all, &consistency_nodes(older, newer).unwrap());
        prop_assert_eq!(verify_consistency((older, before), (newer, root(part)), &proof), Ok(()));
        let index = n % newer;
        let nodes = inclusion_nodes(index, newer).unwrap();
        let proof = hashes(&whole, &all, &nodes);
        let leaf = all[usize::try_from(index).unwrap()];
        prop_assert_eq!(verify_inclusion(leaf, index, (newer, root(part)), &proof), Ok(()));
        let root_again = hashes(&whole, &all, std::slice::from_ref(&(0..newer)));
        prop_assert_eq!(root_again, [root(part)]);
        let read: u64 = whole.missing_leaves(&nodes).iter().map(|it| it.end - it.start).sum();
        prop_assert!(read < 2 * BLOCK, "{} leaves are read", read);
    }

    #[test]
    fn a_changed_proof_proves_nothing(
        (size, at, which, bit) in (2..200_u64, any::<u64>(), any::<usize>(), 0..256_usize),
    ) {
        let all = leaves(size);
        let whole = tree(&all);
        let flipped = |hash: &NodeHash| {
            let mut bytes = *hash.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            NodeHash::from_bytes(bytes)
        };
        let index = at % size;
        let leaf = all[usize::try_from(index).unwrap()];
        let newer = (size, whole.root());
        let proof = hashes(&whole, &all, &inclusion_nodes(index, size).unwrap());
        let mut other = proof.clone();
        let which_one = which % other.len();
        other[which_one] = flipped(&other[which_one]);
        prop_assert_eq!(verify_inclusion(leaf, index, newer, &other), Err(ProofError::Root));
        prop_assert_eq!(verify_inclusion(flipped(&leaf), index, newer, &proof), Err(ProofError::Root));
        prop_assert!(verify_inclusion(leaf, (index + 1) % size, newer, &proof).is_err());
        prop_assert_eq!(
            verify_inclusion(leaf, index, newer, &proof[1..]), Err(ProofError::Length));

        let older = 1 + at % (size - 1);
        let before = root(&all[..usize::try_from(older).unwrap()]);
        let proof = hashes(&whole, &all, &consistency_nodes(older, size).unwrap());
        let mut other = proof.clone();
        let which_one = which % other.len();
        other[which_one] = flipped(&other[which_one]);
        prop_assert_eq!(
            verify_consistency((older, before), newer, &other), Err(ProofError::Root));
        prop_assert_eq!(
            verify_consistency((older, flipped(&before)), newer, &proof), Err(ProofError::Root));
        prop_assert_eq!(
            verify_consistency((older, before), (size, flipped(&newer.1)), &proof),
            Err(ProofError::Root));
        prop_assert_eq!(
            verify_consistency(newer, (older, before), &proof), Err(ProofError::OlderIsLarger));
    }
}
