//! The vault from outside: what opens, what does not, and what it never tells.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::ids::ResultId;
use crate::domain::image::ImageKind;
use crate::vault::label::label;
use crate::vault::seal::Refused;
use crate::vault::sealed_at::SealedAt;

const ALICE: VerificationId = VerificationId(Uuid::from_u128(0xa));
const BOB: VerificationId = VerificationId(Uuid::from_u128(0xb));

fn ring(keys: &[(&str, u8)]) -> Result<KeyRing, KeyError> {
    KeyRing::new(keys.iter().map(|(id, byte)| Key::new(*id, [*byte; 32])).collect())
}

fn vault(keys: &[(&str, u8)]) -> Vault {
    Vault::new(ring(keys).unwrap())
}

const RESULT: ResultId = ResultId(Uuid::from_u128(1));
const BODY: SealedAt = SealedAt::ResultBody(RESULT);

#[test]
fn what_was_sealed_opens_where_it_belongs() {
    let vault = vault(&[("2026-11", 1)]);
    let (key, wrapped) = vault.new_data_key(ALICE).unwrap();
    let sealed = key.seal(BODY, b"the provider's answer").unwrap();
    assert_eq!(sealed.len(), b"the provider's answer".len() + 29);
    let again = vault.open_data_key(ALICE, &wrapped).unwrap();
    assert_eq!(again.open(BODY, &sealed).unwrap().as_slice(), b"the provider's answer");
    assert_eq!(again.open(BODY, &key.seal(BODY, b"").unwrap()).unwrap().as_slice(), b"");
}

#[test]
fn sealing_twice_never_looks_the_same() {
    let (key, _) = vault(&[("k", 1)]).new_data_key(ALICE).unwrap();
    assert_ne!(key.seal(BODY, b"same").unwrap(), key.seal(BODY, b"same").unwrap());
}

#[test]
fn a_value_moved_elsewhere_does_not_open() {
    let (key, _) = vault(&[("k", 1)]).new_data_key(ALICE).unwrap();
    let sealed = key.seal(BODY, b"secret").unwrap();
    for elsewhere in [
        SealedAt::ResultBody(ResultId(Uuid::from_u128(2))),
        SealedAt::Material(RESULT),
        SealedAt::ImageLinks(RESULT),
        SealedAt::Image(RESULT, ImageKind::Face),
        SealedAt::ReviewNote(RESULT.0),
    ] {
        assert_eq!(key.open(elsewhere, &sealed), Err(Refused), "{elsewhere:?}");
    }
}

#[test]
fn parts_of_a_label_do_not_run_into_each_other() {
    assert_ne!(label(&[b"ab", b"c"]), label(&[b"a", b"bc"]));
    assert_ne!(label(&[b"ab"]), label(&[b"a", b"b"]));
}

#[test]
fn another_persons_key_opens_nothing() {
    let vault = vault(&[("k", 1)]);
    let (alices, wrapped) = vault.new_data_key(ALICE).unwrap();
    let (bobs, _) = vault.new_data_key(BOB).unwrap();
    let sealed = alices.seal(BODY, b"secret").unwrap();
    assert_eq!(bobs.open(BODY, &sealed), Err(Refused));
    assert_eq!(vault.open_data_key(BOB, &wrapped).unwrap_err(), OpenError::Refused);
}

#[test]
fn an_unknown_key_is_named() {
    let (_, wrapped) = vault(&[("2025-01", 1)]).new_data_key(ALICE).unwrap();
    let error = vault(&[("2026-11", 2)]).open_data_key(ALICE, &wrapped).unwrap_err();
    assert_eq!(error, OpenError::UnknownKey("2025-01".to_owned()));
    assert!(error.to_string().contains("2025-01"));
}

#[test]
fn a_key_of_the_same_id_but_other_bytes_is_refused() {
    let (_, wrapped) = vault(&[("k", 1)]).new_data_key(ALICE).unwrap();
    assert_eq!(vault(&[("k", 2)]).open_data_key(ALICE, &wrapped).unwrap_err(), OpenError::Refused);
    // A wrapped key relabelled as another key's, even one with the same bytes, is refused too.
    let relabelled = WrappedKey { key_id: "twin".to_owned(), ..wrapped };
    let twins = vault(&[("k", 1), ("twin", 1)]);
    assert_eq!(twins.open_data_key(ALICE, &relabelled).unwrap_err(), OpenError::Refused);
}

#[test]
fn rotation_rewraps_keys_and_leaves_data_alone() {
    let old = vault(&[("old", 1)]);
    let (key, wrapped) = old.new_data_key(ALICE).unwrap();
    let sealed = key.seal(BODY, b"kept").unwrap();

    let both = vault(&[("new", 2), ("old", 1)]);
    assert!(!both.is_current(&wrapped));
    assert_eq!(
        both.open_data_key(ALICE, &wrapped).unwrap().open(BODY, &sealed).unwrap().as_slice(),
        b"kept"
    );
    let rewrapped = both.rewrap(ALICE, &wrapped).unwrap().unwrap();
    assert_eq!(rewrapped.key_id, "new");
    assert_eq!(both.new_data_key(BOB).unwrap().1.key_id, "new");
    assert_eq!(both.rewrap(ALICE, &rewrapped).unwrap(), None);

    let new = vault(&[("new", 2)]);
    let opened = new.open_data_key(ALICE, &rewrapped).unwrap();
    assert_eq!(opened.open(BODY, &sealed).unwrap().as_slice(), b"kept");
}

#[test]
fn a_ring_must_make_sense() {
    assert_eq!(ring(&[]).unwrap_err(), KeyError::Empty);
    assert_eq!(ring(&[("a", 1), ("a", 2)]).unwrap_err(), KeyError::DoubleId("a".to_owned()));
    for bad in ["", "a b", "ключ", "a/b", &"x".repeat(65)] {
        assert_eq!(ring(&[(bad, 1)]).unwrap_err(), KeyError::BadId(bad.to_owned()));
    }
    assert_eq!(ring(&[(&"x".repeat(64), 1)]).unwrap().primary_id().len(), 64);
    for bad in ["", "AAAA", "not base64!"] {
        assert_eq!(Key::parse("k", bad).unwrap_err(), KeyError::BadSecret("k".to_owned()));
    }
    assert!(Key::parse("k", &STANDARD.encode([7; 32])).is_ok());
}

#[test]
fn nothing_prints_key_bytes() {
    let vault = vault(&[("2026-11", 0xee)]);
    let (key, _) = vault.new_data_key(ALICE).unwrap();
    let printed = format!("{vault:?} {:?} {key:?}", Key::new("k", [0xee; 32]));
    assert_eq!(
        printed,
        "Vault { ring: KeyRing { primary: Key(2026-11, ..), others: [] } } Key(k, ..) DataKey(..)"
    );
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(plaintext in prop::collection::vec(any::<u8>(), 0..80),
                                  bit in any::<prop::sample::Index>()) {
        let vault = vault(&[("k", 1)]);
        let (key, wrapped) = vault.new_data_key(ALICE).unwrap();
        let mut sealed = key.seal(BODY, &plaintext).unwrap();
        flip(&mut sealed, bit);
        prop_assert_eq!(key.open(BODY, &sealed), Err(Refused));

        let mut wrapped = wrapped;
        flip(&mut wrapped.bytes, bit);
        prop_assert_eq!(vault.open_data_key(ALICE, &wrapped).unwrap_err(), OpenError::Refused);
    }

    #[test]
    fn arbitrary_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (key, _) = vault(&[("k", 1)]).new_data_key(ALICE).unwrap();
        prop_assert_eq!(key.open(BODY, &bytes), Err(Refused));
    }

    #[test]
    fn a_cut_value_is_refused(keep in 0_usize..40) {
        let (key, _) = vault(&[("k", 1)]).new_data_key(ALICE).unwrap();
        let sealed = key.seal(BODY, b"hello world").unwrap();
        prop_assert_eq!(key.open(BODY, &sealed[..keep.min(sealed.len() - 1)]), Err(Refused));
    }
}

fn flip(bytes: &mut [u8], bit: prop::sample::Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}
