//! Warnings: rules, and parts of rules, that have no effect or send every person to review.

use strum::VariantArray;

use crate::absence::{absent, without};
use crate::case::{Case, cases};
use crate::condition::{Leaf, Test, Truth};
use crate::contradiction::{Want, contradiction, dead_part, follows};
use crate::decide::is_about;
use crate::decision::Outcome;
use crate::diagnostics::Diagnostics;
use crate::effort::Effort;
use crate::field::{Field, Reading};
use crate::product::Product;
use crate::rule::{LocatedRule, Rule};

/// Warns of rules, and parts of rules, that have no effect. Where the effort is used up some of
/// them are not found, and one more warning says so.
pub fn lint(diagnostics: &mut Diagnostics, rules: &[LocatedRule], effort: &Effort) {
    let cases = cases(rules.iter().map(|located| &located.rule)).into_iter();
    let (first, second) = cases.partition(|case| case.product() == Product::VerifyResult);
    let cases = [first, second];
    for located in rules {
        let LocatedRule { rule, when, .. } = located;
        diagnostics.rule = Some(rule.id.clone());
        // A rule that can never match was reported as an error.
        if contradiction(&rule.when, effort).is_none() {
            if !unjudged(diagnostics, located, effort) {
                of_another_product(diagnostics, located, &cases, effort);
            }
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
/// then goes to review. Approvals are excluded, because absent evidence must not approve. Returns
/// whether it warned.
fn unjudged(diagnostics: &mut Diagnostics, located: &LocatedRule, effort: &Effort) -> bool {
    let rule = &located.rule;
    let leaves = rule.when.leaves();
    if rule.outcome == Outcome::Approve || !effort.spend(rule.when.steps() * leaves.len()) {
        return false;
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
    found.is_some()
}

/// Warns of a rule that cannot be judged for answers of one product, which never have a field: all
/// of them then go to review.
fn of_another_product(
    diagnostics: &mut Diagnostics,
    located: &LocatedRule,
    cases: &[Vec<Case>; 2],
    effort: &Effort,
) {
    let rule = &located.rule;
    if effort.is_spent() {
        return;
    }
    let leaves = rule.when.leaves();
    let unjudged = |case: &Case| {
        let read = |field| case.read(field);
        rule.when.judge(&read) == Truth::Unknown && is_about(rule, case.product(), &read)
    };
    let found = leaves.iter().enumerate().find_map(|(place, leaf)| {
        let asks = !matches!(leaf.test, Test::Exists(_)) && leaf.missing.is_none();
        let lacks = |product: &Product| {
            // A rule about the status is not about the other product, and is not judged for it.
            let counts = asks && leaf.field != Field::Status;
            counts && !leaf.field.is_of(*product) && absent(leaf.field) == Reading::Absent
        };
        let mut lacking = Product::VARIANTS.iter().copied().filter(lacks);
        let product = lacking.find(|product| {
            let of = cases[*product as usize].iter();
            of.take_while(|_| effort.spend(rule.when.steps())).any(unjudged)
        })?;
        Some((place, leaf.field, product))
    });
    if let Some((place, field, product)) = found {
        let other = match product {
            Product::VerifyResult => Product::FaceVerify,
            Product::FaceVerify => Product::VerifyResult,
        };
        let message = format!(
            "answers of {product} have no `{}`, and for them this rule gives `evidence-missing`: add \
             {{ field = \"product\", eq = \"{other}\" }}, or write `missing = false` beside it",
            field.name()
        );
        diagnostics.warn(located.comparison(place), message);
    }
}

/// Why a rule can never decide: another one, stricter, has its say whenever this one has.
fn overruled(rule: &Rule, rules: &[LocatedRule], effort: &Effort) -> Option<String> {
    let knows_products = rules.iter().any(|located| located.rule.knows_products());
    let stricter = |other: &&Rule| other.outcome > rule.outcome;
    rules.iter().map(|located| &located.rule).filter(stricter).find_map(|other| {
        if follows(&other.when, Want::True, &rule.when, effort) {
            return Some(format!(
                "this rule cannot decide: whenever it matches, the stricter `{}` matches too",
                other.id
            ));
        }
        // A rule that cannot be judged gives `review`, which is stricter than this rule's outcome.
        // Where it needs a status, it is not judged for the other product.
        let is_status = |leaf: &&Leaf| leaf.field == Field::Status;
        let needs_status = other.when.leaves().iter().any(is_status);
        let yields = rule.outcome < Outcome::Review
            && !(knows_products && needs_status)
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
