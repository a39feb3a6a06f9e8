//! Checks of a policy as a whole: does it speak about every status and code, and approve only what
//! passed and was seen?
//!
//! By partial evaluation: product and code are fixed ([`case`](crate::case)) and every other field
//! is taken as unknown, so a rule *can* match unless its condition cannot hold already. That errs on
//! the careful side; what excludes each other (a score below 50 and above 90) is found apart from it.

use std::ops::Range;

use crate::absence::{absent, without};
use crate::case::{Case, LAST_DOCUMENTED, cases};
use crate::condition::{Bound, Truth};
use crate::contradiction::{Literal, contradiction, literals};
use crate::decision::Outcome;
use crate::diagnostics::Diagnostics;
use crate::edges;
use crate::effort::Effort;
use crate::evidence::Product;
use crate::field::{Field, Reading};
use crate::product::Family;
use crate::rule::{LocatedRule, Rule};
use crate::scene;
use crate::visible;

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 128;
/// Steps that one decision may take: it is made on the path of every verification, and a thousand
/// times in a row by a backtest. The default policy takes some hundreds.
const MOST_DECISION_STEPS: usize = 100_000;

/// Complains about a name that would not fit into lists and logs.
pub fn name(diagnostics: &mut Diagnostics, name: &str, span: Range<usize>) {
    if name.chars().count() > MAX_NAME_CHARS || !visible::is_line(name) {
        let message = "`name` must be at most 128 visible characters, on one line";
        diagnostics.error::<()>(span, message);
    }
}

/// Complains about a text that a reviewer sees otherwise than the loader reads it: an invisible or
/// reordering character, be it in a comment, can show another rule than the one that decides.
pub fn source(diagnostics: &mut Diagnostics, text: &str) {
    if let Some(at) = visible::hidden_at(text) {
        let length = text[at..].chars().next().map_or(0, char::len_utf8);
        let message = "an invisible character, or one that changes the order of others: remove it";
        diagnostics.error::<()>(at..at + length, message);
    }
}

/// A rule, and what judging it costs.
struct Weighed<'a> {
    rule: &'a Rule,
    /// Of judging its condition once.
    steps: usize,
    mentions_code: bool,
    knows_products: bool,
}

impl<'a> Weighed<'a> {
    fn new(rule: &'a Rule) -> Self {
        let is_code = |field| {
            matches!(field, Field::Status | Field::Code | Field::Family | Field::ProviderOutcome)
        };
        let mentions_code = rule.when.leaves().iter().any(|leaf| is_code(leaf.field));
        let knows_products = rule.knows_products();
        Self { rule, steps: rule.when.steps(), mentions_code, knows_products }
    }

    /// Whether it can match such an answer; true where the effort is used up.
    fn can_match(&self, case: &Case, effort: &Effort) -> bool {
        !effort.spend(self.steps)
            || self.rule.when.chance(&|leaf| leaf.chance(case.read(leaf.field))).holds
    }

    /// Whether it says something about such an answer: it mentions the code and can match, or it
    /// matches whatever the code is. A rule about other evidence alone says nothing about any.
    fn covers(&self, case: &Case, effort: &Effort) -> bool {
        if self.mentions_code {
            return self.can_match(case, effort);
        }
        let certain = || self.rule.when.judge(&|field| case.read(field)) == Truth::True;
        self.knows_products && (!effort.spend(self.steps) || certain())
    }
}

/// Reports what the rules leave open, or leave too open. Where the effort is used up the policy is
/// refused: what was not checked must not decide.
pub fn check(diagnostics: &mut Diagnostics, rules: &[LocatedRule], effort: &Effort) {
    let weighed: Vec<Weighed<'_>> =
        rules.iter().map(|located| Weighed::new(&located.rule)).collect();
    effort.spend(weighed.iter().map(|rule| rule.steps).sum());
    let decision: usize = rules.iter().map(|located| located.rule.decision_steps()).sum();
    if decision > MOST_DECISION_STEPS {
        let message = "one decision by this policy takes too many steps; use fewer comparisons, \
                       shorter lists or less nesting";
        diagnostics.error_overall::<()>(message);
        return;
    }
    let cases = cases(rules.iter().map(|located| &located.rule));
    coverage(diagnostics, &weighed, &cases, effort);
    for (located, rule) in rules.iter().zip(&weighed) {
        diagnostics.rule = Some(rule.rule.id.clone());
        texts_and_bounds(diagnostics, located);
        edges::check(diagnostics, located);
        own_calls(diagnostics, located);
        attack_flag(diagnostics, located);
        if let Some(conflict) = contradiction(&rule.rule.when, effort) {
            let message = format!("this rule can never match: {}", conflict.message);
            diagnostics.error::<()>(located.comparison(conflict.place), message);
        } else {
            if !cases.iter().any(|case| rule.can_match(case, effort)) {
                diagnostics
                    .warn(located.when.clone(), "this rule can never match, whatever the status");
            }
            if rule.rule.outcome == Outcome::Approve {
                approval(diagnostics, located, rule, &cases, effort);
            }
        }
        diagnostics.rule = None;
    }
}

/// Reports what the database could not hold.
fn texts_and_bounds(diagnostics: &mut Diagnostics, located: &LocatedRule) {
    let LocatedRule { rule, text, .. } = located;
    if !rule.texts.values().all(|text| visible::is_text(text)) {
        let message = "`text` must be without control and invisible characters";
        diagnostics.error::<()>(text.clone(), message);
    }
    for (place, leaf) in rule.when.leaves().into_iter().enumerate() {
        // Words and labels were checked when they were read.
        let wrong = leaf.bounds().iter().find_map(|bound| match bound {
            Bound::Text(text) if leaf.field == Field::BizType => scene::check_key(text).err(),
            _ => None,
        });
        if let Some(wrong) = wrong {
            let message = format!("invalid `{}`: {wrong}", leaf.field.name());
            diagnostics.error::<()>(located.comparison(place), message);
        }
    }
}

/// Warns of rules about the number of our own calls, where the behaviour of people may be meant.
fn own_calls(diagnostics: &mut Diagnostics, located: &LocatedRule) {
    for (place, leaf) in located.rule.when.leaves().into_iter().enumerate() {
        if matches!(leaf.field, Field::Attempts | Field::Calls) {
            let message = format!(
                "`{}` counts how often Verdict asked the provider, failed calls included: an outage \
                 of the provider makes it large for everybody; for what a person did use \
                 `callbacks`, `answers`, `earlier_1d` or `earlier_30d`",
                leaf.field.name()
            );
            diagnostics.warn(located.comparison(place), message);
        }
    }
}

/// Warns of rules about the provider's own flag of an attack.
fn attack_flag(diagnostics: &mut Diagnostics, located: &LocatedRule) {
    for (place, leaf) in located.rule.when.leaves().into_iter().enumerate() {
        if leaf.field == Field::FaceAttack {
            let message = "the provider sets `face_attack` for people who passed with an attack score \
                           near 0: use `attack_score`";
            diagnostics.warn(located.comparison(place), message);
        }
    }
}

fn coverage(diagnostics: &mut Diagnostics, rules: &[Weighed<'_>], cases: &[Case], effort: &Effort) {
    let open = |case: &&Case| !rules.iter().any(|rule| rule.covers(case, effort));
    let of = |product: Product, is_documented: bool| {
        let of =
            move |case: &&Case| case.product() == product && case.is_documented() == is_documented;
        cases.iter().filter(of)
    };
    let codes: Vec<String> = of(Product::VerifyResult, true).filter(open).map(Case::code).collect();
    if !codes.is_empty() {
        let message = format!("no rule covers status {}", codes.join(", "));
        diagnostics.error_overall::<()>(message);
    }
    let unknown =
        |case: &&Case| case.code().parse::<i64>().is_ok_and(|code| code > LAST_DOCUMENTED);
    if let Some(case) = of(Product::VerifyResult, false).filter(unknown).find(open) {
        let message = format!(
            "no rule covers unknown statuses such as {}; add one with \
             {{ field = \"status\", not_in = [1, 2, …, 12] }}",
            case.code()
        );
        diagnostics.error_overall::<()>(message);
    }
    let codes: Vec<String> = of(Product::FaceVerify, true)
        .filter(open)
        .map(|case| format!("{} ({})", case.code(), case.family()))
        .collect();
    if !codes.is_empty() {
        let message = format!(
            "no rule covers these codes of face-verify: {}; a policy that compares `product`, \
             `provider_outcome`, `code`, `family` or a field of face-verify decides both products",
            codes.join(", ")
        );
        diagnostics.error_overall::<()>(message);
    }
    let unknown = |case: &&Case| case.family() == Family::Unknown;
    if let Some(case) = of(Product::FaceVerify, false).filter(unknown).find(open) {
        let message = format!(
            "no rule covers unknown codes of face-verify such as {}; add one with {{ all = [{{ \
             field = \"product\", eq = \"face-verify\" }}, {{ field = \"family\", eq = \"unknown\" }}] }}",
            case.code()
        );
        diagnostics.error_overall::<()>(message);
    }
}

fn approval(
    diagnostics: &mut Diagnostics,
    located: &LocatedRule,
    weighed: &Weighed<'_>,
    cases: &[Case],
    effort: &Effort,
) {
    let LocatedRule { rule, when, .. } = located;
    let literals = literals(&rule.when);
    for product in [Product::VerifyResult, Product::FaceVerify] {
        let other = cases
            .iter()
            .filter(|case| case.product() == product)
            .find(|case| !case.has_passed() && weighed.can_match(case, effort))
            .filter(|_| !effort.is_spent());
        if let Some(case) = other {
            let code = case.code();
            let (message, field) = match product {
                Product::VerifyResult if weighed.knows_products => (
                    format!(
                        "this rule can approve status {code} of verify-result; only status 1 says \
                         that the person passed: add {{ field = \"provider_outcome\", eq = \
                         \"passed\" }}"
                    ),
                    Field::Status,
                ),
                Product::VerifyResult => (
                    format!(
                        "this rule can approve status {code}; only status 1 says that the person \
                         passed: add {{ field = \"status\", eq = 1 }}"
                    ),
                    Field::Status,
                ),
                Product::FaceVerify => (
                    format!(
                        "this rule can approve code {code} of face-verify; only `Passed` T with 200 \
                         or 210 says that the person passed: add {{ field = \"provider_outcome\", \
                         eq = \"passed\" }}"
                    ),
                    Field::Code,
                ),
            };
            let mut about = literals.iter().filter(|literal| literal.leaf.field == field);
            let span = match (about.next(), about.next()) {
                (Some(only), None) => located.comparison(only.place),
                _ => when.clone(),
            };
            diagnostics.error::<()>(span, message);
        }
    }
    // Judged once more for each comparison that may be met by absence, for each way to pass.
    let passed: Vec<&Case> = cases.iter().filter(|case| case.has_passed()).collect();
    if !effort.spend(weighed.steps * (1 + literals.len()) * passed.len()) {
        return;
    }
    for literal in absences(rule, &passed) {
        let message = format!(
            "this rule can approve because evidence is absent (`{}`): absent evidence must \
             never approve",
            literal.leaf.field.name()
        );
        diagnostics.error::<()>(located.comparison(literal.place), message);
    }
}

/// The comparisons by which a rule could match one of these cases because evidence is absent.
pub fn absences<'r>(rule: &'r Rule, passed: &[&Case]) -> Vec<Literal<'r>> {
    let asks =
        |literal: &Literal<'_>| passed.iter().any(|case| asks_for_absence(rule, literal, case));
    literals(&rule.when).into_iter().filter(asks).collect()
}

/// Whether a comparison is met because its field lacks, where there it could fail, and the rule can
/// match all the same.
fn asks_for_absence(rule: &Rule, literal: &Literal<'_>, case: &Case) -> bool {
    let field = literal.leaf.field;
    let always_there = !field.can_lack() && absent(field) == Reading::Absent;
    if always_there || !literal.accepts(absent(field)) || !literal.can_fail() {
        return false;
    }
    let without = without(field);
    let read = |other: Field| match case.read(other) {
        Reading::Unknowable => without(other),
        known => known,
    };
    rule.when.chance(&|leaf| leaf.chance(read(leaf.field))).holds
}
