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
