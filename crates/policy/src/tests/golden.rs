//! The decisions of the default policy for every documented status, with every kind of scores.

use super::*;
use crate::decision::{Datum, Observation};

/// Scores as the cases name them.
const SCORES: [(&str, [Option<f64>; 3]); 8] = [
    ("none", [None, None, None]),
    ("high", [Some(97.5), None, None]),
    ("all high", [Some(90.0), Some(99.0), Some(100.0)]),
    ("at the bound", [None, None, Some(90.0)]),
    ("just below", [Some(89.999), None, None]),
    ("one of three low", [Some(97.0), Some(96.0), Some(60.0)]),
    ("low", [None, Some(12.0), None]),
    ("zero", [Some(0.0), None, None]),
];

fn decided(evidence: &Evidence) -> (Outcome, Vec<String>) {
    let decision = decide(&default_policy(), evidence);
    (decision.outcome, decision.reasons.into_iter().map(|reason| reason.code).collect())
}

#[test]
fn a_pass_is_approved_only_with_scores_and_only_high_ones() {
    let expected = [
        ("none", Outcome::Review, "score-missing"),
        ("high", Outcome::Approve, "provider-passed"),
        ("all high", Outcome::Approve, "provider-passed"),
        ("at the bound", Outcome::Approve, "provider-passed"),
        ("just below", Outcome::Review, "score-too-low"),
        ("one of three low", Outcome::Review, "score-too-low"),
        ("low", Outcome::Review, "score-too-low"),
        ("zero", Outcome::Review, "score-too-low"),
    ];
    for ((name, scores), (expected_name, outcome, code)) in SCORES.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(decided(&evidence(1, scores)), (outcome, vec![code.to_owned()]), "{name}");
    }
}

#[test]
fn every_other_status_has_its_own_reason_whatever_the_scores() {
    for (status, outcome, code) in [
        (i32::MIN, Outcome::Review, "status-unknown"),
        (-1, Outcome::Review, "status-unknown"),
        (0, Outcome::Review, "status-unknown"),
        (2, Outcome::Reject, "identity-not-confirmed"),
        (3, Outcome::Retry, "card-name-unreadable"),
        (4, Outcome::Retry, "card-number-unreadable"),
        (5, Outcome::Reject, "card-expired"),
        (6, Outcome::Reject, "face-differs-from-card"),
        (7, Outcome::Reject, "face-differs-from-authority"),
        (8, Outcome::Retry, "card-photo-not-original"),
        (9, Outcome::Reject, "not-the-account-holder"),
        (10, Outcome::Reject, "not-the-same-person"),
        (11, Outcome::Review, "authority-photo-unusable"),
        (12, Outcome::Review, "authority-service-failed"),
        (13, Outcome::Review, "status-unknown"),
        (i32::MAX, Outcome::Review, "status-unknown"),
    ] {
        for (name, scores) in SCORES {
            let expected = (outcome, vec![code.to_owned()]);
            assert_eq!(decided(&evidence(status, scores)), expected, "{status} {name}");
        }
    }
}

#[test]
fn unreadable_answer_goes_to_review_unless_rejected() {
    for (status, outcome) in
        [(1, Outcome::Review), (3, Outcome::Review), (7, Outcome::Reject), (99, Outcome::Review)]
    {
        let mut evidence = evidence(status, [Some(97.0), None, None]);
        evidence.malformed = vec!["face".to_owned()];
        let (decided, codes) = decided(&evidence);
        assert_eq!(decided, outcome, "{status}");
        assert!(codes.contains(&EVIDENCE_MALFORMED.to_owned()), "{status} {codes:?}");
    }
}

#[test]
fn a_score_that_is_no_number_never_approves() {
    for nonsense in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 100.1] {
        for scores in [[Some(nonsense), None, None], [Some(99.0), None, Some(nonsense)]] {
            let (outcome, codes) = decided(&evidence(1, scores));
            assert_eq!(outcome, Outcome::Review, "{scores:?}");
            assert_eq!(codes[0], EVIDENCE_MALFORMED);
            // The good score beside it does not count as the lowest one.
            assert!(!codes.contains(&"provider-passed".to_owned()), "{scores:?}");
        }
    }
}

#[test]
fn a_reason_says_what_was_seen_and_what_was_asked() {
    let decision = decide(&default_policy(), &evidence(1, [Some(72.5), None, Some(95.0)]));
    let seen = |field: &str, value, operator: &str, bound| Observation {
        field: field.to_owned(),
        value: Some(value),
        operator: operator.to_owned(),
        bound,
    };
    let [reason] = decision.reasons.as_slice() else { panic!("{decision:?}") };
    assert_eq!(reason.rule.as_deref(), Some("passed-with-weak-score"));
    assert_eq!(
        reason.observed,
        [
            seen("status", Datum::Whole(1), "eq", Datum::Whole(1)),
            seen("scores_present", Datum::Whole(2), "ge", Datum::Whole(1)),
            seen("lowest_score", Datum::Number(72.5), "lt", Datum::Number(90.0)),
        ]
    );
}
