//! The decision, as arithmetic: policy and evidence in, outcome and reasons out.

use std::cmp::Reverse;

use crate::condition::{Leaf, Truth};
use crate::decision::{Datum, Decision, Observation, Outcome, Reason};
use crate::evidence::{Evidence, Product};
use crate::field::{Field, Reading, malformed_fields};
use crate::policy::{EVIDENCE_MALFORMED, EVIDENCE_MISSING, NO_RULE_MATCHED, Policy};
use crate::rule::Rule;

/// Judges a piece of evidence. Pure and total: it cannot fail, wait or panic, and the same two
/// always give the same decision.
///
/// Every rule is evaluated and the strictest outcome wins. Unforeseen cases go to a person:
/// a rule that cannot be judged because evidence is missing, an answer with fields that make no sense,
/// and evidence that no rule matches, such as that of a product the policy does not know.
pub fn decide(policy: &Policy, evidence: &Evidence) -> Decision {
    let knows = evidence.product == Product::VerifyResult || policy.decides_face_verify();
    let rules = if knows { &policy.rules[..] } else { &[] };
    let mut reasons: Vec<Reason> = rules.iter().filter_map(|rule| judge(rule, evidence)).collect();
    if reasons.is_empty() {
        reasons.push(review(NO_RULE_MATCHED, None, Vec::new()));
    }
    // No policy can forget this one: an answer we misread must not pass for one that lacks a field.
    let malformed = malformed_fields(evidence);
    if malformed > 0 {
        reasons.push(review(EVIDENCE_MALFORMED, None, vec![saw_malformed(malformed)]));
    }
    reasons.sort_by(|a, b| {
        (Reverse(a.outcome), &a.code, &a.rule).cmp(&(Reverse(b.outcome), &b.code, &b.rule))
    });
    let outcome = reasons.first().map_or(Outcome::Review, |strictest| strictest.outcome);
    Decision { outcome, reasons }
}

fn judge(rule: &Rule, evidence: &Evidence) -> Option<Reason> {
    let read = |field: Field| field.read(evidence);
    let truth = rule.when.judge(&read);
    if truth == Truth::False {
        return None;
    }
    if truth == Truth::Unknown && !is_about(rule, evidence.product, &read) {
        return None;
    }
    let mut observed = Vec::new();
    rule.when.witnesses(truth, &read, &mut observed);
    let id = Some(rule.id.clone());
    Some(match truth {
        Truth::Unknown => review(EVIDENCE_MISSING, id, observed),
        _ => Reason { code: rule.reason.clone(), rule: id, outcome: rule.outcome, observed },
    })
}

/// Whether a rule that cannot be judged could match such an answer if all evidence were there. One
/// that needs the status of `verify-result` is not about the other product. Nothing is lost by that:
/// a policy must cover the codes of both. Other fields that a product lacks are evidence like any
/// other, so that a person must look.
pub(crate) fn is_about<'a>(
    rule: &Rule,
    product: Product,
    read: &impl Fn(Field) -> Reading<'a>,
) -> bool {
    let chance = |leaf: &Leaf| match (leaf.field, product) {
        (Field::Status, Product::FaceVerify) => leaf.chance(read(Field::Status)),
        (field, _) => leaf.judge(read(field)).into(),
    };
    rule.when.chance(&chance).holds
}

/// Explains `evidence-missing`: names rule and fields, and suggests `missing`. `None` for other
/// reasons. It needs only the stored reason, so it works for every decision of the past.
pub fn missing_evidence(reason: &Reason) -> Option<String> {
    if reason.code != EVIDENCE_MISSING {
        return None;
    }
    let rule = reason.rule.as_deref().unwrap_or_default();
    let absent = reason.observed.iter().filter(|seen| seen.value.is_none());
    let mut fields: Vec<String> = absent.map(|seen| format!("`{}`", seen.field)).collect();
    fields.sort_unstable();
    fields.dedup();
    Some(match fields.as_slice() {
        // Erased with the person.
        [] => format!("the rule `{rule}` could not be judged"),
        [field] => format!(
            "the rule `{rule}` could not be judged without {field}: write `missing = true` or \
             `missing = false` beside {field} to say what its absence counts as"
        ),
        fields => format!(
            "the rule `{rule}` could not be judged without {}: write `missing = true` or \
             `missing = false` beside each to say what its absence counts as",
            fields.join(" and ")
        ),
    })
}

fn review(code: &str, rule: Option<String>, observed: Vec<Observation>) -> Reason {
    Reason { code: code.to_owned(), rule, outcome: Outcome::Review, observed }
}

fn saw_malformed(count: usize) -> Observation {
    Observation {
        field: Field::MalformedFields.name().to_owned(),
        value: Some(Datum::Whole(i64::try_from(count).unwrap_or(i64::MAX))),
        operator: "eq".to_owned(),
        bound: Datum::Whole(0),
    }
}
