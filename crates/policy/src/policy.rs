//! A compiled policy.

use std::collections::BTreeMap;

use crate::condition::{Bound, Leaf, Test};
use crate::decision::Outcome;
use crate::diagnostics::Diagnostic;
use crate::edges;
use crate::field::Field;
use crate::rule::Rule;

/// Reason of a rule that could not be judged because evidence is missing.
pub const EVIDENCE_MISSING: &str = "evidence-missing";
/// Reason where fields of the answer made no sense.
pub const EVIDENCE_MALFORMED: &str = "evidence-malformed";
/// Reason where no rule matched.
pub const NO_RULE_MATCHED: &str = "no-rule-matched";

/// The reasons every policy has, with their texts in Chinese and English.
pub(crate) const BUILT_IN: [(&str, &str, &str); 3] = [
    (
        EVIDENCE_MISSING,
        "缺少判断所需的信息，需要人工审核。",
        "Evidence that a rule needs is missing; a person must look.",
    ),
    (
        EVIDENCE_MALFORMED,
        "认证结果中有无法识别的内容，需要人工审核。",
        "Part of the provider's answer made no sense; a person must look.",
    ),
    (NO_RULE_MATCHED, "没有适用的规则，需要人工审核。", "No rule applies; a person must look."),
];

/// A policy that loaded without errors.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) digest: String,
    pub(crate) rules: Vec<Rule>,
    /// Whether a rule takes notice of the products; see [`Field::knows_products`].
    pub(crate) knows_products: bool,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Policy {
    /// The author's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity: `sha256:` and the hex SHA-256 of the exact bytes of its text.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The exact text it was loaded from.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// Warnings for the policy's author. An error would have refused the policy.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The texts of a reason by language.
    pub fn texts_for(&self, reason: &str) -> Option<BTreeMap<String, String>> {
        let built_in = BUILT_IN.iter().find(|(code, ..)| *code == reason);
        if let Some((_, zh, en)) = built_in {
            return Some(
                [("zh", zh), ("en", en)].map(|(l, t)| (l.to_owned(), (*t).to_owned())).into(),
            );
        }
        self.rules.iter().find(|rule| rule.reason == reason).map(|rule| rule.texts.clone())
    }

    /// Whether it compares `card_days_left` with a number that is no edge, as policies that earlier
    /// versions accepted may do.
    pub fn compares_between_edges(&self) -> bool {
        self.rules.iter().any(|rule| edges::compares_between_edges(&rule.when))
    }

    /// Whether it decides answers of `face-verify`. One that takes no notice of the products, as all
    /// from before the second one, leaves them to a person.
    pub const fn decides_face_verify(&self) -> bool {
        self.knows_products
    }

    /// The bounds of its comparisons of the scores of `verify-result`, ascending, each once.
    pub fn score_bounds(&self) -> Vec<f64> {
        self.bounds_of(Field::has_named_bounds)
    }

    /// The same of `verify_score`.
    pub fn verify_score_bounds(&self) -> Vec<f64> {
        self.bounds_of(|field| field == Field::VerifyScore)
    }

    /// The comparisons of a score, in the order of the rules, each once: operator, bound, and the
    /// outcome of the rule.
    pub fn score_comparisons(&self, field: Field) -> Vec<(&'static str, f64, Outcome)> {
        let mut found = Vec::new();
        for rule in &self.rules {
            for leaf in rule.when.leaves().into_iter().filter(|leaf| leaf.field == field) {
                if let Test::Compare(operator, Bound::Score(bound)) = leaf.test {
                    let comparison = (operator.into_str(), bound, rule.outcome);
                    if !found.contains(&comparison) {
                        found.push(comparison);
                    }
                }
            }
        }
        found
    }

    fn bounds_of(&self, is_meant: impl Fn(Field) -> bool) -> Vec<f64> {
        let leaves = self.rules.iter().flat_map(|rule| rule.when.leaves());
        let score = |leaf: &Leaf| match leaf.test {
            Test::Compare(_, Bound::Score(bound)) => Some(bound),
            _ => None,
        };
        let meant = leaves.filter(|leaf| is_meant(leaf.field));
        let mut bounds: Vec<f64> = meant.filter_map(score).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    }
}
