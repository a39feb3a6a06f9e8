//! Warnings: rules, and parts of rules, that have no effect or send every person to review.

use crate::absence::without;
use crate::condition::{Test, Truth};
use crate::contradiction::{Want, contradiction, dead_part, follows};
use crate::decision::Outcome;
use crate::diagnostics::Diagnostics;
use crate::effort::Effort;
use crate::rule::{LocatedRule, Rule};

/// Warns of rules, and parts of rules, that have no effect. Where the effort is used up some of
/// them are not found, and one more warning says so.
pub fn lint(diagnostics: &mut Diagnostics, rules: &[LocatedRule], effort: &Effort) {
    for located in rules {
        let LocatedRule { rule, when, .. } = located;
        diagnostics.rule = Some(rule.id.clone());
        // A rule that can never match was reported as an error.
        if contradiction(&rule.when, effort).is_none() {
            unjudged(diagnostics, located, effort);
            if let Some(conflict) = dead_part(&rule.when, effort) {
                let message = format!("part of this rule can never hold: {}", conflict.message);
                diagnostics.warn(located.comparison(conflict.place), message);
            }
            if let Some(message) = overruled(rule, rules, effort) {
                diagnostics.warn(when.clone(), message);
            }
        }
        diagnostics.rule = None;
    }
    if effort.is_spent() {
        let message = "this policy is too large to find every rule without effect: some may be \
                       missing here";
        diagnostics.warn_overall(message);
    }
}

/// Warns of a rule that cannot be judged where its field is absent: every person without the field
/// then goes to review. Approvals are excluded, because absent evidence must not approve.
fn unjudged(diagnostics: &mut Diagnostics, located: &LocatedRule, effort: &Effort) {
    let rule = &located.rule;
    let leaves = rule.when.leaves();
    if rule.outcome == Outcome::Approve || !effort.spend(rule.when.steps() * leaves.len()) {
        return;
    }
    let found = leaves.iter().enumerate().find(|(_, leaf)| {
        let asks = !matches!(leaf.test, Test::Exists(_)) && leaf.missing.is_none();
        asks && leaf.field.can_lack() && rule.when.judge(&without(leaf.field)) != Truth::False
    });
    if let Some((place, leaf)) = found {
        let message = format!(
            "where `{}` is absent this rule gives `evidence-missing`, and a person must look: write \
             `missing = false` beside it if the rule does not match then, `missing = true` if it does",
            leaf.field.name()
        );
        diagnostics.warn(located.comparison(place), message);
    }
}

/// Why a rule can never decide: another one, stricter, has its say whenever this one has.
fn overruled(rule: &Rule, rules: &[LocatedRule], effort: &Effort) -> Option<String> {
    let stricter = |other: &&Rule| other.outcome > rule.outcome;
    rules.iter().map(|located| &located.rule).filter(stricter).find_map(|other| {
        if follows(&other.when, Want::True, &rule.when, effort) {
            return Some(format!(
                "this rule cannot decide: whenever it matches, the stricter `{}` matches too",
                other.id
            ));
        }
        // A rule that cannot be judged gives `review`, which is stricter than this rule's outcome.
        let yields = rule.outcome < Outcome::Review
            && follows(&other.when, Want::NotFalse, &rule.when, effort);
        yields.then(|| {
            format!(
                "this rule cannot decide: whenever it matches, the stricter `{}` matches too, or \
                 cannot be judged",
                other.id
            )
        })
    })
}
