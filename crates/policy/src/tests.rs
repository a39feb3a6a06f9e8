//! The policy: golden cases of the default one, three-valued logic, properties, the loader.

mod absence;
mod broken;
mod edges;
mod face_verify;
mod fields;
mod golden;
mod properties;

use std::sync::LazyLock;

use crate::condition::Truth;
use crate::decision::Outcome;
use crate::evidence::{Evidence, History, ImagesOffered, Product, Scores};
use crate::policy::BUILT_IN;
use crate::{EVIDENCE_MALFORMED, EVIDENCE_MISSING, NO_RULE_MATCHED, Policy, decide};

const DEFAULT: &str = include_str!("../../../config/policy.toml");

/// Checked once: properties ask for it thousands of times.
fn default_policy() -> Policy {
    static LOADED: LazyLock<Policy> = LazyLock::new(|| {
        Policy::load(DEFAULT).unwrap_or_else(|diagnostics| panic!("{diagnostics:#?}"))
    });
    LOADED.clone()
}

/// An answer with a status and the scores (authority, face, card).
pub(super) fn evidence(status: i32, [authority, face, id_card_face]: [Option<f64>; 3]) -> Evidence {
    let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
    Evidence {
        verify_status: Some(status),
        scores: Scores { authority, face, id_card_face, ..Scores::default() },
        ..Evidence::blank(Product::VerifyResult, "RPBasicTest", history)
    }
}

/// An answer of the second product.
pub(super) fn face_verify(passed: Option<bool>, code: Option<&str>) -> Evidence {
    let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
    let code = code.map(str::to_owned);
    Evidence { passed, code, ..Evidence::blank(Product::FaceVerify, "1000000006", history) }
}

#[test]
fn the_default_policy_loads_without_a_word() {
    let policy = default_policy();
    assert_eq!(policy.name(), "default");
    let effort = crate::effort::Effort::default();
    Policy::load_within(DEFAULT, &effort).unwrap();
    assert!(effort.used() < 200_000, "{} steps", effort.used());
    assert_eq!(policy.warnings(), []);
    assert_eq!(policy.text(), DEFAULT);
}

#[test]
fn a_policy_is_known_by_the_digest_of_its_exact_text() {
    let policy = Policy::load(DEFAULT).unwrap();
    let other = Policy::load(&format!("{DEFAULT}\n")).unwrap();
    assert!(policy.digest().starts_with("sha256:") && policy.digest().len() == 71);
    assert_ne!(policy.digest(), other.digest());
    assert_eq!(policy.digest(), default_policy().digest());
}

#[test]
fn every_reason_can_be_told_in_both_languages() {
    let policy = default_policy();
    let built_in = BUILT_IN.iter().map(|(code, ..)| *code);
    for code in policy.rules.iter().map(|rule| rule.reason.as_str()).chain(built_in) {
        let texts = policy.texts_for(code).unwrap();
        let (zh, en) = (&texts["zh"], &texts["en"]);
        assert!(!zh.is_ascii() && en.is_ascii(), "{code}: {zh} {en}");
    }
    assert_eq!(policy.texts_for("nonsense"), None);
}

#[test]
fn kleene_truth_tables() {
    use Truth::{False, True, Unknown};
    // a, b, a and b, a or b (Kleene 1952, §64).
    for (a, b, all, any) in [
        (True, True, True, True),
        (True, False, False, True),
        (True, Unknown, Unknown, True),
        (False, False, False, False),
        (False, Unknown, False, Unknown),
        (Unknown, Unknown, Unknown, Unknown),
    ] {
        for pair in [[a, b], [b, a]] {
            assert_eq!(Truth::all(pair), all, "all {pair:?}");
            assert_eq!(Truth::any(pair), any, "any {pair:?}");
        }
    }
    assert_eq!([!True, !False, !Unknown], [False, True, Unknown]);
}
