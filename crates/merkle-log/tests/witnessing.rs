//! What a witness signs, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{Kind, SignedNote, SigningKey};
use merkle_log::proof::consistency_nodes;
use merkle_log::tree::Tree;
use merkle_log::witness::{Refusal, Request};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/audit";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, Kind::Log, &[7; 32]).unwrap()
}

/// A log of which all leaves are known. Two with the same entries up to some place share that part.
struct Log {
    leaves: Vec<NodeHash>,
}

impl Log {
    /// `fork`: from this entry on it is another log.
    fn new(size: u64, fork: u64) -> Self {
        let entry = |n: u64| if n < fork { n } else { n + 1_000_000 };
        Self { leaves: (0..size).map(|n| NodeHash::of_leaf(&entry(n).to_be_bytes())).collect() }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.leaves.len()).unwrap()
    }

    fn head(&self) -> TreeHead {
        let mut tree = Tree::default();
        self.leaves.iter().for_each(|leaf| tree.push(*leaf));
        TreeHead { origin: ORIGIN.to_owned(), size: self.size(), root: tree.root() }
    }

    fn request(&self, older: u64) -> Request {
        let mut tree = Tree::default();
        self.leaves.iter().for_each(|leaf| tree.push(*leaf));
        let nodes = consistency_nodes(older, self.size()).unwrap_or_default();
        let leaf = |index: u64| self.leaves.get(usize::try_from(index).unwrap()).copied();
        let proof = tree.hashes(&nodes, leaf).unwrap();
        Request { older, proof, note: signed(&self.head().to_string(), &log()) }
    }
}

fn signed(text: &str, key: &SigningKey) -> SignedNote {
    SignedNote::new(text.to_owned(), vec![key.sign(text)])
}

#[test]
fn each_refusal_has_its_reason() {
    let key = log();
    let known = Log::new(5, 9).head();
    let judge = |request: &Request| request.judge(key.verifying(), Some(known.place()));
    let good = Log::new(9, 9).request(5);
    assert_eq!(judge(&good).map(|head| head.size), Ok(9));
    // The same head again: its cosignature gets a newer time.
    assert_eq!(judge(&Log::new(5, 9).request(5)), Ok(known.clone()));

    let with = |note: SignedNote| Request { note, ..good.clone() };
    let text = good.note.text();
    let elsewhere = text.replace(ORIGIN, "log.example/other");
    let stranger = SigningKey::from_seed(ORIGIN, Kind::Log, &[8; 32]).unwrap();
    for (what, request, refusal) in [
        ("no head", with(signed("some text\n", &key)), Refusal::Malformed),
        ("another log", with(signed(&elsewhere, &key)), Refusal::UnknownLog),
        ("another key", with(signed(text, &stranger)), Refusal::NotSigned),
        (
            "another text",
            with(SignedNote::new(text.to_owned(), vec![key.sign("x")])),
            Refusal::NotSigned,
        ),
        (
            "a cosignature",
            with(SignedNote::new(text.to_owned(), vec![key.cosign(text, 1)])),
            Refusal::NotSigned,
        ),
        ("older than old", Request { older: 10, ..good.clone() }, Refusal::Malformed),
        ("another size", Log::new(9, 9).request(4), Refusal::OtherSize(5)),
        ("from the beginning", Log::new(9, 9).request(0), Refusal::OtherSize(5)),
        ("an older head", Log::new(4, 9).request(4), Refusal::OtherSize(5)),
        ("a fork", Log::new(9, 3).request(5), Refusal::Inconsistent),
        ("a fork of the same size", Log::new(5, 3).request(5), Refusal::Inconsistent),
        ("no proof", Request { proof: Vec::new(), ..good.clone() }, Refusal::Inconsistent),
    ] {
        assert_eq!(judge(&request), Err(refusal), "{what}");
    }
    // The first head needs no proof, and has none.
    let first = Log::new(3, 9).request(0);
    assert!(first.judge(key.verifying(), None).is_ok());
    let more = Request { proof: vec![NodeHash::of_nothing()], ..first };
    assert_eq!(more.judge(key.verifying(), None), Err(Refusal::Inconsistent));
    let empty = TreeHead { size: 0, ..known.clone() }.to_string();
    let empty = Request { older: 0, proof: Vec::new(), note: signed(&empty, &key) };
    assert_eq!(empty.judge(key.verifying(), None), Err(Refusal::Inconsistent));
}

#[test]
fn requests_survive_as_text_and_malformed_ones_are_refused() {
    let request = Log::new(100, 100).request(37);
    let body = request.body();
    assert_eq!(Request::parse(&body), Ok(request));
    let first = Log::new(1, 1).request(0);
    assert_eq!(Request::parse(&first.body()), Ok(first.clone()));
    let hash = NodeHash::of_nothing().to_base64() + "\n";
    let with = |count: usize| first.body().replacen('\n', &format!("\n{}", hash.repeat(count)), 1);
    assert!(Request::parse(&with(63)).is_ok());
    for bent in [
        String::new(),
        body.replacen("old 37", "old 037", 1),
        body.replacen("old 37", "old -1", 1),
        body.replacen("old 37", "37", 1),
        body.replacen('\n', "\nAAAA\n", 1),
        body.replacen("\n\n", "\n", 1),
        with(64),
    ] {
        assert_eq!(Request::parse(&bent), Err(Refusal::Malformed), "{bent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A request has one form only, so two readers cannot see two requests in the same bytes.
    #[test]
    fn a_request_that_is_read_is_written_back_the_same(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "old 1", "old 01", "\n", "\n\n", "8", "log.example/audit", "\u{2014} w AAAAAAAA\n",
                "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "\u{2014} w AAAAAAA=\n", " ", "\r",
            ]),
            0..12,
        ),
        rest in ".{0,8}",
    ) {
        let text = parts.concat() + &rest;
        let whole = format!("old 1\n\n{text}\n\n\u{2014} w AAAAAAAA\n");
        for text in [text, whole] {
            if let Ok(request) = Request::parse(&text) {
                prop_assert_eq!(request.body(), text);
            }
        }
    }

    /// Whatever a log with its key asks for: the heads that a witness signed are of one history.
    #[test]
    fn signed_heads_are_of_one_history(
        asked in prop::collection::vec((0..40_u64, 0..40_u64, 0..40_u64, any::<bool>()), 1..30),
    ) {
        let key = log();
        let mut last: Option<(u64, NodeHash)> = None;
        let mut signed: Vec<Log> = Vec::new();
        for (size, fork, older, says_the_truth) in asked {
            let older = if says_the_truth { last.map_or(0, |(size, _)| size) } else { older };
            let asking = Log::new(size, fork);
            let Ok(head) = asking.request(older).judge(key.verifying(), last) else { continue };
            prop_assert_eq!(&head, &asking.head());
            if let Some(before) = signed.last() {
                prop_assert!(asking.leaves.starts_with(&before.leaves));
            }
            last = Some(head.place());
            signed.push(asking);
        }
    }
}
