//! The second product: what the default policy decides about it, and the checks of policies that
//! compare its fields.

use super::*;
use crate::decision::{Datum, Observation};
use crate::{Diagnostic, read_case};

/// A policy for both products that says nothing more than it must.
const GOOD: &str = r#"name = "both"
[[rule]]
id = "passed"
reason = "fine"
outcome = "approve"
text = { en = "fine" }
when = { all = [{ field = "provider_outcome", eq = "passed" }, { field = "has_face_image", eq = true }] }
[[rule]]
id = "others"
reason = "look"
outcome = "review"
text = { en = "look" }
when = { field = "family", ne = "pass" }
[[example]]
name = "another face"
evidence = { product = "face-verify", code = "204", verify_score = 30.0 }
outcome = "review"
reasons = ["look"]
"#;
const IMAGE: &str = r#"{ field = "has_face_image", eq = true }"#;
const OTHERS: &str = r#"{ field = "family", ne = "pass" }"#;

fn said(text: &str) -> Vec<String> {
    match Policy::load(text) {
        Ok(policy) => policy.warnings().iter().map(Diagnostic::to_string).collect(),
        Err(found) => found.iter().map(Diagnostic::to_string).collect(),
    }
}

#[track_caller]
fn says(from: &str, to: &str, expected: &str) {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    let said = said(&GOOD.replace(from, to));
    assert!(said.len() == 1 && said[0].contains(expected), "{to}: {said:#?}");
}

/// The good policy with one more rule.
fn with(outcome: &str, when: &str) -> String {
    let rule = format!(
        "[[rule]]\nid = \"more\"\nreason = \"more\"\noutcome = \"{outcome}\"\n\
         text = {{ en = \"more\" }}\nwhen = {when}\n[[example]]"
    );
    GOOD.replace("[[example]]", &rule)
}

fn codes(policy: &Policy, evidence: &Evidence) -> (Outcome, Vec<String>) {
    let decision = decide(policy, evidence);
    (decision.outcome, decision.codes())
}

#[test]
fn the_default_policy_decides_every_code_by_the_contract() {
    let policy = default_policy();
    for (outcome, passed, codes) in [
        (Outcome::Approve, Some(true), &["200", "210"][..]),
        (Outcome::Reject, Some(false), &["201", "204", "207"]),
        (Outcome::Review, Some(false), &["202", "203", "205", "206", "209"]),
        (Outcome::Retry, Some(false), &["220", "221", "222"]),
        (Outcome::Retry, None, &["414", "415", "416"]),
        (Outcome::Review, None, &["417", "418", "427"]),
        (Outcome::Review, Some(false), &["208", "211", "401", "0", "999999"]),
        // Contradictions, and what cannot be read.
        (Outcome::Review, Some(true), &["201", "204", "205", "207", "220", "208", "414"]),
        (Outcome::Review, Some(false), &["200", "210"]),
        (Outcome::Review, None, &["200", "201", "204", "220", "208"]),
    ] {
        for code in codes {
            let mut evidence = face_verify(passed, Some(code));
            for (verify, attack) in [(None, None), (Some(50.3), Some(0.9)), (Some(0.0), Some(1.0))]
            {
                (evidence.scores.verify, evidence.scores.attack) = (verify, attack);
                let decision = decide(&policy, &evidence);
                assert_eq!(decision.outcome, outcome, "{passed:?} {code}: {decision:?}");
            }
            evidence.malformed = vec!["material_info".to_owned()];
            assert_eq!(decide(&policy, &evidence).outcome, Outcome::Review, "{passed:?} {code}");
        }
    }
    for passed in [None, Some(true), Some(false)] {
        assert_eq!(decide(&policy, &face_verify(passed, None)).outcome, Outcome::Review);
    }
}

#[test]
fn an_unfinished_answer_is_not_malformed_and_never_approved() {
    let policy = default_policy();
    for code in ["403", "424"] {
        let evidence = face_verify(None, Some(code));
        assert_eq!(crate::field::malformed_fields(&evidence), 0, "{code}");
        let (outcome, codes) = codes(&policy, &evidence);
        assert_eq!(outcome, Outcome::Review, "{code}");
        assert!(codes.contains(&"code-unknown".to_owned()), "{codes:?}");
        let said = face_verify(Some(true), Some(code));
        assert!(crate::field::malformed_fields(&said) > 0, "{code}");
    }
}

#[test]
fn scores_that_are_no_scores_never_approve() {
    let policy = default_policy();
    let good = face_verify(Some(true), Some("200"));
    for nonsense in [f64::NAN, f64::INFINITY, -0.1, 100.1] {
        for scores in [
            Scores { verify: Some(nonsense), ..Scores::default() },
            Scores { id_card: Some(nonsense), ..Scores::default() },
            Scores { quality: Some(nonsense), ..Scores::default() },
            Scores { attack: Some(nonsense), ..Scores::default() },
            Scores { attack: Some(1.5), ..Scores::default() },
        ] {
            let evidence = Evidence { scores, ..good.clone() };
            assert_eq!(decide(&policy, &evidence).outcome, Outcome::Review, "{scores:?}");
        }
        let evidence = Evidence { guard_risk_score: Some(nonsense), ..good.clone() };
        assert_eq!(decide(&policy, &evidence).outcome, Outcome::Review);
    }
}

#[test]
fn a_policy_that_knows_no_products_leaves_the_second_one_to_a_person() {
    // Accepted by versions before the second product; `missing` at the status was allowed.
    let old = r#"name = "old"
[[rule]]
id = "passed"
reason = "fine"
outcome = "approve"
text = { en = "fine" }
when = { field = "status", eq = 1, missing = true }
[[rule]]
id = "others"
reason = "no"
outcome = "reject"
text = { en = "no" }
when = { field = "status", ne = 1, missing = true }
"#;
    for policy in [Policy::load(old).unwrap(), Policy::load_stored(old).unwrap()] {
        assert!(!policy.decides_face_verify());
        for evidence in
            [face_verify(Some(true), Some("200")), face_verify(Some(false), Some("204"))]
        {
            let expected = (Outcome::Review, vec![NO_RULE_MATCHED.to_owned()]);
            assert_eq!(codes(&policy, &evidence), expected);
        }
        assert_eq!(codes(&policy, &evidence(1, [None; 3])).0, Outcome::Approve);
    }
}

#[test]
fn one_rule_can_decide_both_products() {
    let policy = Policy::load(GOOD).unwrap();
    assert_eq!(policy.warnings(), []);
    for mut evidence in [evidence(1, [None; 3]), face_verify(Some(true), Some("210"))] {
        evidence.images.face = true;
        assert_eq!(codes(&policy, &evidence), (Outcome::Approve, vec!["fine".to_owned()]));
    }
    for evidence in [evidence(7, [None; 3]), face_verify(None, Some("417"))] {
        assert_eq!(codes(&policy, &evidence), (Outcome::Review, vec!["look".to_owned()]));
    }
}

#[test]
fn types_and_operators_of_the_new_fields_must_fit() {
    let leaf = |comparison: &str| format!("{{ field = {comparison} }}");
    for (comparison, expected) in [
        (
            r#""verify_score", ge = "far-0.01%""#,
            "takes no named bound such as `far-0.01%`: the vendor",
        ),
        (
            r#""id_card_score", ge = "far-1%""#,
            "for the scores of verify-result only; write a number",
        ),
        (r#""attack_score", lt = "far-0.1%""#, "takes no named bound"),
        (r#""quality_score", lt = "40""#, "holds a score from 0 to 100, not a text; write 40"),
        (r#""attack_score", lt = 80"#, "goes from 0 to 1: write 0.8 if a share was meant"),
        (r#""attack_score", lt = -1"#, "`attack_score` goes from 0 to 1"),
        (r#""guard_risk_score", gt = 101"#, "its bounds lie between 0 and 100"),
        (r#""product", eq = "face_verify""#, "is never `face_verify`; did you mean `face-verify`?"),
        (r#""provider_outcome", eq = "T""#, "did you mean `passed`?"),
        (r#""family", in = ["face", "attack"]"#, "did you mean `attack-or-risk`?"),
        (r#""family", gt = "face""#, "`gt` does not fit `family`"),
        (
            r#""code", eq = 204"#,
            r#"`code` holds a text, not a whole number; write it in quotes: "204""#,
        ),
        (r#""code", in = ["20x"]"#, r#"`code` holds digits, at most 16, such as "204", not `20x`"#),
        (r#""face_occluded", in = [true]"#, "`in` does not fit `face_occluded`"),
        (r#""device_risk", in = ["ROOT"]"#, "use contains_any, contains_none, exists"),
        (r#""device_risk", eq = ["ROOT"]"#, "use contains_any, contains_none, exists"),
        (r#""device_risk", contains_any = "ROOT""#, r#"write contains_any = ["ROOT"]"#),
        (r#""device_risk", contains_any = ["root"]"#, r#"write "ROOT""#),
        (r#""device_risk", contains = ["ROOT"]"#, "did you mean `contains_any`?"),
        (r#""biz_type", contains_any = ["a"]"#, "`contains_any` does not fit `biz_type`"),
        (r#""sub_code", eq = "204""#, "did you mean `code`?"),
    ] {
        says(IMAGE, &leaf(comparison), expected);
    }
}

#[test]
fn a_policy_that_knows_products_covers_every_code() {
    says(
        OTHERS,
        r#"{ field = "family", not_in = ["pass", "consent"] }"#,
        "no rule covers these codes of face-verify: 220 (consent), 221 (consent), 222 (consent)",
    );
    let known = r#"{ field = "family", not_in = ["pass", "unknown"] }"#;
    let found = said(&GOOD.replace(OTHERS, known));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("no rule covers unknown statuses such as 13"), "{found:#?}");
    assert!(found[1].contains("unknown codes of face-verify such as 208"), "{found:#?}");
    let found = said(&GOOD.replace(OTHERS, r#"{ field = "status", ne = 1 }"#));
    assert!(
        found.iter().any(|found| found
            .contains("no rule covers these codes of face-verify: 201 (identity-data)")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|found| found.contains("unknown codes of face-verify such as 208")),
        "{found:#?}"
    );
    // A code that some rule mentions is not the unknown one.
    let list = r#"{ any = [{ field = "code", in = ["208", "211"] }, { field = "family", not_in = ["pass", "unknown"] }] }"#;
    let found = said(&GOOD.replace(OTHERS, list));
    assert!(
        found.iter().any(|found| found.contains("unknown codes of face-verify such as 212")),
        "{found:#?}"
    );
    // A rule about something else of the product covers none; the product alone covers all.
    let more = |when: &str| {
        GOOD.replace(
            OTHERS,
            &format!("{{ any = [{{ field = \"status\", ne = 1, missing = false }}, {when}] }}"),
        )
    };
    assert_eq!(said(&more(r#"{ field = "product", eq = "face-verify" }"#)), [] as [&str; 0]);
    let rule = r#"{ all = [{ field = "product", eq = "face-verify" }, { field = "quality_score", lt = 5, missing = false }] }"#;
    let text =
        with("review", rule).replace(OTHERS, r#"{ field = "status", ne = 1, missing = false }"#);
    assert!(
        said(&text)[0].contains("no rule covers these codes of face-verify: 201"),
        "{:#?}",
        said(&text)
    );
}

#[test]
fn nothing_but_passed_is_approved() {
    for (instead, code) in [
        (r#"{ field = "family", in = ["pass", "face"] }"#, "204"),
        (r#"{ field = "provider_outcome", ne = "refused" }"#, "201"),
        (
            r#"{ field = "code", not_in = ["201", "202", "203", "204", "205", "206", "207", "209", "220", "221", "222", "414", "415", "416", "417", "418", "427"] }"#,
            "208",
        ),
        (
            r#"{ any = [{ field = "provider_outcome", eq = "passed" }, { field = "verify_score", ge = 99 }] }"#,
            "201",
        ),
        (
            r#"{ any = [{ field = "provider_outcome", eq = "passed" }, { field = "status", eq = 1, missing = true }] }"#,
            "201",
        ),
        (r#"{ all = [{ field = "product", eq = "face-verify" }] }"#, "201"),
    ] {
        let text = GOOD.replace(r#"{ field = "provider_outcome", eq = "passed" }"#, instead);
        let found = said(&text);
        let expected = format!("this rule can approve code {code} of face-verify; only `Passed` T");
        assert!(found.iter().any(|found| found.contains(&expected)), "{instead}: {found:#?}");
    }
    // Each of these is true of those who passed alone.
    for instead in [
        r#"{ field = "family", eq = "pass" }"#,
        r#"{ field = "code", in = ["1", "200", "210"] }, { field = "provider_outcome", eq = "passed" }"#,
        r#"{ any = [{ field = "status", eq = 1, missing = false }, { all = [{ field = "product", eq = "face-verify" }, { field = "code", in = ["200", "210"] }] }] }"#,
    ] {
        let text = GOOD.replace(r#"{ field = "provider_outcome", eq = "passed" }"#, instead);
        assert_eq!(said(&text), [] as [&str; 0], "{instead}");
    }
}

#[test]
fn absent_evidence_of_the_second_product_never_approves() {
    for absent in [
        r#"{ field = "verify_score", ge = 60, missing = true }"#,
        r#"{ field = "face_occluded", eq = false, missing = true }"#,
        r#"{ field = "device_risk", contains_none = ["ROOT"], missing = true }"#,
        r#"{ field = "device_risk", exists = false }"#,
        r#"{ not = { field = "attack_score", ge = 0.5, missing = false } }"#,
    ] {
        says(IMAGE, absent, "this rule can approve because evidence is absent");
    }
}

#[test]
fn a_rule_that_the_other_product_cannot_answer_gets_a_warning() {
    let found = said(&GOOD.replace(IMAGE, r#"{ field = "verify_score", ge = 60 }"#));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("no rule covers status 1"), "{found:#?}");
    let expected = "answers of verify-result have no `verify_score`, and for them this rule gives \
                    `evidence-missing`: add { field = \"product\", eq = \"face-verify\" }";
    assert!(found[1].contains(expected), "{found:#?}");
    for fine in [
        r#"{ field = "status", eq = 7 }"#,
        r#"{ not = { field = "status", le = 11 } }"#,
        r#"{ all = [{ field = "product", eq = "verify-result" }, { field = "lowest_score", lt = 5, missing = false }] }"#,
        r#"{ all = [{ field = "code", in = ["204", "207"] }, { field = "verify_score", lt = 20, missing = false }] }"#,
        r#"{ field = "device_risk", contains_any = ["ROOT"], missing = false }"#,
    ] {
        assert_eq!(said(&with("reject", fine)), [] as [&str; 0], "{fine}");
    }
    // It needs the status, so it is not about the other product.
    let approval =
        r#"{ all = [{ field = "status", eq = 1 }, { field = "lowest_score", ge = 90 }] }"#;
    let found = said(&with("approve", approval));
    assert!(!found.iter().any(|message| message.contains("answers of face-verify")), "{found:#?}");
    let found = said(&with("reject", r#"{ field = "face_attack", eq = true, missing = false }"#));
    assert!(found.len() == 1 && found[0].contains("use `attack_score`"), "{found:#?}");
}

#[test]
fn a_rule_about_the_status_says_nothing_about_the_other_product() {
    let decided = |when: &str, evidence: &Evidence| {
        decide(&Policy::load(&with("reject", when)).unwrap(), evidence).codes()
    };
    let failed = face_verify(Some(false), Some("204"));
    let mut adult = failed.clone();
    adult.age_years = Some(30);
    for (when, evidence, expected) in [
        (r#"{ field = "status", eq = 7 }"#, &failed, &["look"][..]),
        (r#"{ field = "status", ne = 1 }"#, &failed, &["look"]),
        (r#"{ not = { field = "status", eq = 1 } }"#, &failed, &["look"]),
        (r#"{ field = "status", eq = 7, missing = true }"#, &failed, &["more", "look"]),
        (
            r#"{ all = [{ field = "status", eq = 7 }, { field = "age_years", lt = 18 }] }"#,
            &failed,
            &["look"],
        ),
        // It may match without the status: what else it needs is missing.
        (
            r#"{ any = [{ field = "status", eq = 7 }, { field = "age_years", lt = 18 }] }"#,
            &failed,
            &["evidence-missing", "look"],
        ),
        (
            r#"{ any = [{ field = "status", eq = 7 }, { field = "age_years", lt = 18 }] }"#,
            &adult,
            &["look"],
        ),
    ] {
        // The example lacks the age.
        let text = with("reject", when).split("[[example]]").next().unwrap().to_owned();
        let policy = Policy::load(&text).unwrap_or_else(|found| panic!("{when}: {found:#?}"));
        assert_eq!(decide(&policy, evidence).codes(), expected, "{when}");
    }
    let lacks_score = decided(r#"{ field = "lowest_score", lt = 60, missing = false }"#, &failed);
    assert_eq!(lacks_score, ["look"]);
}

#[test]
fn comparisons_that_exclude_each_other_are_found() {
    for (when, expected) in [
        (
            r#"[{ field = "product", eq = "face-verify" }, { field = "status", eq = 1 }]"#,
            "`status` cannot be 1 where `product` is \"face-verify\"",
        ),
        (
            r#"[{ field = "product", ne = "verify-result" }, { field = "face_quality", eq = "LOW" }]"#,
            "`face_quality` cannot be LOW where `product` is other than \"verify-result\"",
        ),
        (
            r#"[{ field = "product", ne = "verify-result" }, { field = "product", ne = "face-verify" }]"#,
            "`product` cannot be",
        ),
        (
            r#"[{ field = "status", eq = 1 }, { field = "quality_score", lt = 5 }]"#,
            "`quality_score` cannot be below 5 where `status` is 1",
        ),
        (
            r#"[{ field = "device_risk", contains_any = ["ROOT"] }, { field = "device_risk", contains_none = ["ROOT", "VPN"] }]"#,
            "`device_risk` cannot be a set with any of \"ROOT\" and a set with none of",
        ),
        (
            r#"[{ field = "attack_score", gt = 0.5 }, { field = "attack_score", lt = 0.5 }]"#,
            "`attack_score` cannot be above 0.5 and below 0.5",
        ),
        (r#"[{ field = "code", eq = "204" }, { field = "code", eq = "207" }]"#, "`code` cannot be"),
    ] {
        let found = said(&with("reject", &format!("{{ all = {when} }}")));
        assert!(found.iter().any(|found| found.contains(expected)), "{when}: {found:#?}");
    }
}

#[test]
fn sets_are_compared_by_their_labels() {
    let policy = |operator: &str| {
        let when = format!(
            "{{ field = \"device_risk\", {operator} = [\"ROOT\", \"VPN\"], missing = false }}"
        );
        Policy::load(&with("reject", &when)).unwrap()
    };
    let mut evidence = face_verify(Some(false), Some("206"));
    for (labels, any, none) in
        [(&["HOOK"][..], false, true), (&["HOOK", "VPN"], true, false), (&[], false, false)]
    {
        evidence.device_risk = labels.iter().map(|label| (*label).to_owned()).collect();
        for (operator, expected) in [("contains_any", any), ("contains_none", none)] {
            let decision = decide(&policy(operator), &evidence);
            assert_eq!(decision.outcome == Outcome::Reject, expected, "{labels:?} {operator}");
        }
    }
    evidence.device_risk = vec!["VPN".to_owned()];
    let decision = decide(&policy("contains_any"), &evidence);
    let list = |labels: &[&str]| {
        Datum::List(labels.iter().map(|label| Datum::Text((*label).to_owned())).collect())
    };
    let seen = Observation {
        field: "device_risk".to_owned(),
        value: Some(list(&["VPN"])),
        operator: "contains_any".to_owned(),
        bound: list(&["ROOT", "VPN"]),
    };
    assert_eq!(decision.reasons[0].observed, [seen]);
}

#[test]
fn a_case_is_read_by_the_names_of_rules_and_as_stored() {
    let mut evidence = face_verify(Some(false), Some("206"));
    evidence.scores.attack = Some(0.25);
    evidence.scores.verify = Some(61.5);
    evidence.device_risk = vec!["ROOT".to_owned(), "VPN".to_owned()];
    evidence.face_occluded = Some(false);
    let stored = serde_json::to_string(&evidence).unwrap();
    assert_eq!(read_case(&stored).unwrap(), evidence);
    let named = serde_json::to_string(&crate::field::by_name(&evidence)).unwrap();
    assert_eq!(read_case(&named).unwrap(), evidence, "{named}");
    for (passed, code) in
        [(Some(true), Some("200")), (None, Some("417")), (Some(true), Some("205"))]
    {
        let evidence = face_verify(passed, code);
        assert_eq!(read_case(&serde_json::to_string(&evidence).unwrap()).unwrap(), evidence);
    }
    for (text, expected) in [
        (
            r#"{ "product": "face-verify" }"#,
            "`code` is missing: every answer of face-verify has one",
        ),
        (
            r#"{ "product": "face-verify", "code": "204", "status": 7 }"#,
            "answers of face-verify have no `status`",
        ),
        (
            r#"{ "status": 7, "verify_score": 50 }"#,
            "answers of verify-result have no `verify_score`",
        ),
        (r#"{ "code": "204" }"#, "give `status`, or `product = \"face-verify\"` and `code`"),
        (r#"{ "status": 7, "code": "7" }"#, "follow from `status`; give that alone"),
        (
            r#"{ "product": "face-verify", "code": "204", "family": "face" }"#,
            "`family` follows from the status or the code",
        ),
        (
            r#"{ "product": "face-verify", "code": "204", "provider_outcome": "refused" }"#,
            "`refused` only with a code",
        ),
        (
            r#"{ "product": "face-verify", "code": "204", "device_risk": "ROOT" }"#,
            "write [\"ROOT\", …]",
        ),
    ] {
        let said = read_case(text).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    }
}
