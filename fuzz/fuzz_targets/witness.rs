//! Requests to a witness, true ones with other bytes in them and ones about a forked log among them: it
//! may sign only a head that its log signed, and that continues the head which it signed last.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{Kind, SignedNote, SigningKey};
use merkle_log::proof::consistency_nodes;
use merkle_log::tree::Tree;
use merkle_log::witness::Request;

/// Sizes of trees: several levels, and beyond a tree's first block.
const SIZES: u64 = 300;

static LOG: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed("log.example", Kind::Log, &[7; 32]).expect("a key"));

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Sizes of the head that the witness signed last, and of the one that it is asked to sign.
    sizes: [u16; 2],
    /// From this leaf on, the head to be signed is one of another log with the same key.
    fork: Option<u16>,
    /// Bytes of the request that are replaced.
    replaced: Vec<(u16, u8)>,
    /// Lines that are put among those of the proof.
    lines: &'a str,
}

fn leaves(size: u64, fork: u64) -> Vec<NodeHash> {
    let entry = |n| if n < fork { format!("{n}") } else { format!("{n}, forked") };
    (0..size).map(|n| NodeHash::of_leaf(entry(n).as_bytes())).collect()
}

fn tree(leaves: &[NodeHash]) -> Tree {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

fuzz_target!(|input: Input| {
    let [older, newer] = input.sizes.map(|size| u64::from(size) % SIZES);
    let fork = input.fork.map_or(SIZES, |fork| u64::from(fork) % SIZES);
    let (signed, asked) = (leaves(older, SIZES), leaves(newer, fork));
    let last = (older, tree(&signed).root());
    let asked_tree = tree(&asked);
    let place = (newer, asked_tree.root());

    let nodes = consistency_nodes(older, newer).unwrap_or_default();
    let leaf = |n| asked.get(usize::try_from(n).ok()?).copied();
    let proof = asked_tree.hashes(&nodes, leaf).expect("nodes of this tree");
    let head = TreeHead { origin: "log.example".to_owned(), size: newer, root: place.1 };
    let text = head.to_string();
    let signature = LOG.sign(&text);
    let note = SignedNote::new(text, vec![signature]);
    let mut body = Request { older, proof, note }.body();
    if !input.lines.is_empty() {
        body = body.replacen('\n', &format!("\n{}\n", input.lines), 1);
    }
    let is_true = input.lines.is_empty() && input.replaced.is_empty();
    let mut body = body.into_bytes();
    for (at, byte) in input.replaced {
        let at = usize::from(at) % body.len();
        body[at] = byte;
    }

    let Ok(body) = String::from_utf8(body) else { return };
    let Ok(request) = Request::parse(&body) else {
        assert!(!is_true, "a true request is malformed");
        return;
    };
    assert_eq!(Request::parse(&request.body()).as_ref(), Ok(&request), "another after a repeat");
    let continues = signed.len() <= asked.len() && asked[..signed.len()] == signed[..];
    match request.judge(LOG.verifying(), Some(last)) {
        Ok(head) => {
            assert_eq!(head.place(), place, "a head that the log did not sign");
            assert!(continues, "a head that does not continue the last one");
        }
        Err(_) => assert!(!(is_true && continues), "a true request is refused"),
    }
});
