//! Absent evidence: unknown, unless the rule says what it counts as.

use super::*;
use crate::decision::Reason;

/// A policy that approves status 1, with one more rule.
fn with(when: &str) -> Policy {
    let rule = |id: &str, outcome: &str, when: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nreason = \"{id}-reason\"\noutcome = \"{outcome}\"\n\
             text = {{ zh = \"字\", en = \"word\" }}\nwhen = {when}\n"
        )
    };
    let text = [
        "name = \"small\"\n".to_owned(),
        rule("passed", "approve", "{ field = \"status\", eq = 1 }"),
        rule("others", "review", "{ field = \"status\", ne = 1 }"),
        rule("extra", "reject", when),
    ];
    Policy::load(&text.concat()).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// The reason the extra rule gives for a passed verification, about which only the face score
/// is known.
fn extra(when: &str) -> Option<Reason> {
    let decision = decide(&with(when), &evidence(1, [None, Some(95.0), None]));
    decision.reasons.into_iter().find(|reason| reason.rule.as_deref() == Some("extra"))
}

fn code(when: &str) -> Option<String> {
    extra(when).map(|reason| reason.code)
}

#[test]
fn a_rule_about_absent_evidence_asks_for_a_person() {
    let reason = extra("{ field = \"age_years\", lt = 18 }").unwrap();
    assert_eq!((reason.code.as_str(), reason.outcome), (EVIDENCE_MISSING, Outcome::Review));
    let [age] = reason.observed.as_slice() else { panic!("{reason:?}") };
    assert_eq!((age.field.as_str(), &age.value), ("age_years", &None));
}

#[test]
fn a_rule_may_say_what_absence_counts_as() {
    assert_eq!(code("{ field = \"age_years\", lt = 18, missing = false }"), None);
    let matched = Some("extra-reason".to_owned());
    assert_eq!(code("{ field = \"age_years\", lt = 18, missing = true }"), matched);
    assert_eq!(code("{ field = \"age_years\", exists = false }"), matched);
    assert_eq!(code("{ field = \"age_years\", exists = true }"), None);
    assert_eq!(code("{ field = \"face_score\", exists = true }"), matched);
    // `missing` speaks of absence only: what is there is compared.
    assert_eq!(code("{ field = \"face_score\", lt = 90, missing = true }"), None);
}

#[test]
fn only_what_could_not_be_judged_is_called_missing() {
    let either = "{ any = [{ field = \"face_score\", lt = 10 }, \
                  { field = \"name_matches\", eq = false }] }";
    let reason = extra(either).unwrap();
    assert_eq!(reason.code, EVIDENCE_MISSING);
    let fields: Vec<&str> = reason.observed.iter().map(|seen| seen.field.as_str()).collect();
    assert_eq!(fields, ["name_matches"]);
    // A rule that decides without the absent part does not need it.
    let decided = either.replace("lt = 10", "gt = 10");
    assert_eq!(code(&decided), Some("extra-reason".to_owned()));
    assert_eq!(code(&either.replace("any", "all")), None);
}

#[test]
fn the_contrary_of_unknown_is_unknown() {
    let not = "{ not = { field = \"number_matches\", eq = true } }";
    assert_eq!(code(not), Some(EVIDENCE_MISSING.to_owned()));
}

#[test]
fn nonsense_is_not_absence() {
    let policy = with("{ field = \"authority_score\", lt = 90, missing = false }");
    let decision = decide(&policy, &evidence(1, [Some(f64::NAN), None, None]));
    let codes: Vec<&str> = decision.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_eq!(codes, [EVIDENCE_MALFORMED, EVIDENCE_MISSING, "passed-reason"]);
}
