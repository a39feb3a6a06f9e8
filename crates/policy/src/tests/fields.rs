//! Fields that say what a person did, in evidence of this version and of older ones.

use super::*;

/// Evidence as stored by a version before these fields.
fn old() -> Evidence {
    let mut stored = serde_json::to_value(evidence(1, [Some(97.0), None, None])).unwrap();
    for name in ["callbacks", "answers", "earlier_1d", "earlier_30d"] {
        stored.as_object_mut().unwrap().remove(name);
    }
    serde_json::from_value(stored).unwrap()
}

fn policy(when: &str) -> Policy {
    let default = include_str!("../../../../config/policy.toml");
    let (rules, _examples) = default.split_once("[[example]]").unwrap();
    let text = format!(
        "{rules}\n[[rule]]\nid = \"often\"\nreason = \"often\"\noutcome = \"review\"\n\
         text = {{ zh = \"多\", en = \"often\" }}\nwhen = {when}\n"
    );
    Policy::load(&text).unwrap_or_else(|found| panic!("{found:?}"))
}

fn codes(policy: &Policy, evidence: &Evidence) -> Vec<String> {
    decide(policy, evidence).reasons.into_iter().map(|reason| reason.code).collect()
}

#[test]
fn older_evidence_lacks_the_counts_and_a_rule_says_so() {
    for field in ["callbacks", "answers", "earlier_1d", "earlier_30d"] {
        let strict = policy(&format!("{{ field = \"{field}\", ge = 3 }}"));
        assert_eq!(codes(&strict, &old()), [EVIDENCE_MISSING, "provider-passed"], "{field}");
        let lenient = policy(&format!("{{ field = \"{field}\", ge = 3, missing = false }}"));
        assert_eq!(codes(&lenient, &old()), ["provider-passed"], "{field}");
        assert!(lenient.warnings().is_empty(), "{:?}", lenient.warnings());
    }
}

#[test]
fn each_count_is_compared_by_its_own_field() {
    let mut evidence = evidence(1, [Some(97.0), None, None]);
    (evidence.attempts, evidence.callbacks, evidence.answers) = (50, Some(1), Some(2));
    (evidence.earlier_1d, evidence.earlier_30d) = (Some(3), Some(4));
    for (field, count) in [
        ("attempts", 50),
        ("calls", 50),
        ("callbacks", 1),
        ("answers", 2),
        ("earlier_1d", 3),
        ("earlier_30d", 4),
    ] {
        let exact = policy(&format!("{{ field = \"{field}\", eq = {count} }}"));
        assert_eq!(codes(&exact, &evidence), ["often", "provider-passed"], "{field}");
        let other = policy(&format!("{{ field = \"{field}\", gt = {count} }}"));
        assert_eq!(codes(&other, &evidence), ["provider-passed"], "{field}");
    }
}

#[test]
fn a_rule_about_our_own_calls_gets_a_warning() {
    for field in ["attempts", "calls"] {
        let warned = policy(&format!("{{ field = \"{field}\", ge = 3 }}"));
        let [warning] = warned.warnings() else { panic!("{:?}", warned.warnings()) };
        assert!(warning.line.is_some() && warning.rule.as_deref() == Some("often"), "{warning}");
        assert!(warning.message.contains("outage"), "{warning}");
        // Accepted by an older version without the warning, it decides as it did.
        assert!(Policy::load_stored(warned.text()).is_some());
        assert_eq!(
            codes(&warned, &Evidence { attempts: 3, ..old() }),
            ["often", "provider-passed"]
        );
    }
}

/// Evidence of `verify-result` as versions before the second product stored it.
const STORED: &str = r#"{"verify_status":7,"scores":{"authority":12.5,"face":null,"id_card_face":null},"face_quality":"LOW","face_mask":false,"images":{"face":true,"card_front":false,"card_back":false,"face_global":false},"name_matches":null,"number_matches":true,"card_days_left":30,"age_years":44,"biz_type":"b","attempts":2,"callbacks":1,"answers":null,"earlier_1d":0,"earlier_30d":3,"malformed":["face"],"damaged_texts":["/Message"]}"#;

#[test]
fn evidence_of_the_first_product_is_stored_byte_for_byte_as_before() {
    let evidence: Evidence = serde_json::from_str(STORED).unwrap();
    assert_eq!((evidence.product, evidence.verify_status), (Product::VerifyResult, Some(7)));
    assert_eq!(serde_json::to_string(&evidence).unwrap(), STORED);
}

#[test]
fn evidence_of_the_second_product_survives_storing() {
    let mut evidence = Evidence::blank(Product::FaceVerify, "1000", History::of_calls(1));
    let stored = serde_json::to_value(&evidence).unwrap();
    assert_eq!(stored["product"], "face-verify");
    for absent in ["verify_status", "passed", "code", "device_risk", "guard_risk_score"] {
        assert!(stored.get(absent).is_none(), "{absent}");
    }
    (evidence.passed, evidence.code) = (Some(false), Some("204".to_owned()));
    evidence.scores = Scores { verify: Some(17.25), attack: Some(0.5), ..Scores::default() };
    evidence.device_risk = vec!["ROOT".to_owned()];
    evidence.face_occluded = Some(true);
    let stored = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&stored).unwrap(), evidence);
}
