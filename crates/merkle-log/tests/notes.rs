//! Signed notes and heads: vectors of the specification and of another implementation, and what is
//! refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use merkle_log::head::TreeHead;
use merkle_log::note::{
    KeyError, Kind, NoteError, Signature, SignedNote, SigningKey, VerifyingKey, secret_text,
};

/// The example of c2sp.org/signed-note.
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The first seed of RFC 8032.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
/// What another implementation of Ed25519 makes of it.
const LOG: &str = "log.example/audit+42dbfa5e+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
const WITNESS: &str = "witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
const TEXT: &str = "log.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n";
const LOG_LINE: &str = "\u{2014} log.example/audit \
    Qtv6XtakmH/PNaq4lE7Bh/0ksnw5qOSA2LjAJikaJyHlKE6MK9hdX6G2An3cBxagiqOY6disniDAT0a5sTrdcS+OKAg=";
const WITNESS_LINE: &str = "\u{2014} witness.example/w1 63YswgAAAABkGFDLtwi6gr1DYGEQsh38ORUT6QPMTZSq\
    8A1GunS7HAILTJG+lqg6YChR7E3c+SPX96jM5WmG7oqlsLR/QR/+dpP2Cw==";
const AT: u64 = 1_679_315_147;

fn seed() -> [u8; 32] {
    hex::decode(SEED).unwrap().try_into().unwrap()
}

fn key(name: &str, kind: Kind) -> SigningKey {
    SigningKey::from_seed(name, kind, &seed()).unwrap()
}

fn verifying(text: &str) -> VerifyingKey {
    VerifyingKey::parse(text).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let key = verifying(EXAMPLE_KEY);
    assert_eq!(key.to_string(), EXAMPLE_KEY);
    let note = SignedNote::parse(EXAMPLE).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_string(), EXAMPLE);
    let other = SignedNote::parse(&EXAMPLE.replace("an example", "no example")).unwrap();
    assert_eq!(other.verify(&key), Err(NoteError::BadSignature));
    assert_eq!(note.verify(&verifying(LOG)), Err(NoteError::NotSigned));
}

#[test]
fn signatures_are_those_of_another_implementation() {
    let (log, witness) =
        (key("log.example/audit", Kind::Log), key("witness.example/w1", Kind::Witness));
    assert_eq!(log.verifying().to_string(), LOG);
    assert_eq!(witness.verifying().to_string(), WITNESS);
    let signatures = vec![log.sign(TEXT), witness.cosign(TEXT, AT)];
    let note = SignedNote::new(TEXT.to_owned(), signatures);
    let expected = format!("{TEXT}\n{LOG_LINE}\n{WITNESS_LINE}\n");
    assert_eq!(note.to_string(), expected);
    let note = SignedNote::parse(&expected).unwrap();
    assert_eq!(note.verify(&verifying(LOG)), Ok(()));
    assert_eq!(note.cosigned_at(&verifying(WITNESS)), Ok(AT));
    let head = TreeHead::parse(note.text()).unwrap();
    assert_eq!((head.origin.as_str(), head.size), ("log.example/audit", 8));
    assert_eq!(head.to_string(), TEXT);
}

#[test]
fn a_cosignature_fits_one_head_and_one_time() {
    let witness = key("witness.example/w1", Kind::Witness);
    let cosigned = |text: &str, line: Signature| {
        SignedNote::new(text.to_owned(), vec![line]).cosigned_at(witness.verifying())
    };
    let line = witness.cosign(TEXT, AT);
    assert_eq!(cosigned(TEXT, line.clone()), Ok(AT));
    assert_eq!(cosigned(&TEXT.replace("\n8\n", "\n9\n"), line), Err(NoteError::BadSignature));
    assert_eq!(cosigned(TEXT, witness.sign(TEXT)), Err(NoteError::BadSignature));
    assert_eq!(cosigned(TEXT, witness.cosign(TEXT, 0)), Err(NoteError::BadSignature));
    // Another time under the same signature.
    let moved = WITNESS_LINE.replace("63YswgAAAABkGFDL", "63YswgAAAABkGFDM");
    let moved = Signature::parse(&moved).unwrap();
    assert_eq!(cosigned(TEXT, moved), Err(NoteError::BadSignature));
    // A cosignature is no signature of a log, and the other way round.
    let both = SignedNote::new(TEXT.to_owned(), vec![witness.cosign(TEXT, AT)]);
    assert_eq!(both.verify(witness.verifying()), Err(NoteError::NotSigned));
    assert_eq!(both.cosigned_at(&verifying(LOG)), Err(NoteError::NotSigned));
    // The newest counts.
    let twice = vec![witness.cosign(TEXT, AT + 9), witness.cosign(TEXT, AT)];
    let twice = SignedNote::new(TEXT.to_owned(), twice);
    assert_eq!(twice.cosigned_at(witness.verifying()), Ok(AT + 9));
}

#[test]
fn a_note_never_has_more_signatures_than_are_read() {
    let witness = key("witness.example/w1", Kind::Witness);
    let signatures: Vec<_> = (0..65).map(|later| witness.cosign(TEXT, AT + later)).collect();
    let at_once = SignedNote::new(TEXT.to_owned(), signatures.clone());
    let mut by_one = SignedNote::new(TEXT.to_owned(), Vec::new());
    for signature in &signatures {
        by_one.add(signature.clone());
    }
    for note in [at_once, by_one] {
        assert_eq!(note.signatures(), &signatures[..64]);
        assert_eq!(SignedNote::parse(&note.to_string()), Ok(note));
    }
    let repeated = SignedNote::new(TEXT.to_owned(), vec![signatures[0].clone(); 65]);
    assert_eq!(repeated.signatures(), &signatures[..1]);
}

#[test]
fn a_private_key_survives_as_text_and_is_not_printed() {
    let text = secret_text("witness.example/w1", Kind::Witness, &seed()).unwrap();
    assert!(text.starts_with("PRIVATE+KEY+witness.example/w1+eb762cc2+"));
    let key = SigningKey::parse(&text).unwrap();
    assert_eq!(key.verifying().to_string(), WITNESS);
    assert_eq!(format!("{key:?}"), "SigningKey(witness.example/w1+eb762cc2, ..)");
    let of_another = text.replace("/w1", "/w2");
    assert_eq!(SigningKey::parse(&of_another).err(), Some(KeyError::Id));
    assert_eq!(SigningKey::parse(WITNESS).err(), Some(KeyError::Form));
    assert_eq!(secret_text("two words", Kind::Log, &seed()).err(), Some(KeyError::Name));
}

#[test]
fn malformed_keys_notes_and_heads_are_refused() {
    for (text, error) in [
        ("", KeyError::Form),
        ("log.example", KeyError::Form),
        ("log.example+42dbfa5e", KeyError::Form),
        ("log.example+42dbfa5+AddamAGC", KeyError::Form),
        ("log.example+42dbfa5e+*", KeyError::Form),
        ("log.example+42dbfa5e+AddamAGC", KeyError::Kind),
        (LOG.replace("+Add", "+Bdd").as_str(), KeyError::Kind),
        (LOG.replace("42dbfa5e", "42dbfa5f").as_str(), KeyError::Id),
        (LOG.replace("/audit", "/other").as_str(), KeyError::Id),
        (LOG.replace("log.example/audit", "").as_str(), KeyError::Name),
        (LOG.replace("/audit", " audit").as_str(), KeyError::Name),
    ] {
        assert_eq!(VerifyingKey::parse(text), Err(error), "{text}");
    }
    let note = format!("{TEXT}\n{LOG_LINE}\n");
    assert!(SignedNote::parse(&note).is_ok());
    for bent in [
        String::new(),
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}\n{LOG_LINE}"),
        format!("{TEXT}\n{LOG_LINE}\n\n"),
        format!("{TEXT}\n- {}\n", &LOG_LINE[4..]),
        format!("{TEXT}\n{}\n", LOG_LINE.replace('=', "")),
        note.replace("audit\n", "audit\r\n"),
        format!("{TEXT}\n{}", format!("{LOG_LINE}\n").repeat(65)),
    ] {
        assert_eq!(SignedNote::parse(&bent), Err(NoteError::Form), "{bent}");
    }
    for text in [
        "",
        "log.example/audit\n8\n",
        "log.example/audit\n08\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n",
        "log.example/audit\n+8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n",
        "\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n",
        "log.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        "log.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQy==\n",
        "log.example/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\nmore\n",
    ] {
        assert_eq!(TreeHead::parse(text), None, "{text:?}");
    }
    assert!(TreeHead::parse(&format!("{TEXT}more\n")).is_some());
}
