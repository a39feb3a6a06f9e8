//! Checks of a policy as a whole: does it speak about every status, and approve only what passed
//! and was seen?
//!
//! By partial evaluation: the status is fixed and every other field is taken as unknown, so a
//! rule *can* match unless its condition is false already. That errs on the careful side; what
//! excludes each other (a score below 50 and above 90) is found apart from it.
//! Statuses are only ever compared with constants, so trying each constant and its neighbours
//! tries every status there is.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::absence::{absent, without};
use crate::condition::{Bound, Truth};
use crate::contradiction::{Literal, contradiction, literals};
use crate::decision::Outcome;
use crate::diagnostics::Diagnostics;
use crate::edges;
use crate::effort::Effort;
use crate::field::{Field, Reading, Value};
use crate::rule::{LocatedRule, Rule};
use crate::scene;
use crate::visible;

/// The status of those who passed.
const PASSED: i64 = 1;
/// The last documented status; the provider's document calls all above 1 failures.
const LAST_DOCUMENTED: i64 = 12;
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
    mentions_status: bool,
}

impl<'a> Weighed<'a> {
    fn new(rule: &'a Rule) -> Self {
        let mentions_status = rule.when.leaves().iter().any(|leaf| leaf.field == Field::Status);
        Self { rule, steps: rule.when.steps(), mentions_status }
    }

    /// Whether it can match an answer with this status; true where the effort is used up.
    fn can_match(&self, status: i64, effort: &Effort) -> bool {
        let only_status = |field: Field| match field {
            Field::Status => Reading::Value(Value::Whole(status)),
            _ => Reading::Unknowable,
        };
        !effort.spend(self.steps) || self.rule.when.judge(&only_status) != Truth::False
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
    let statuses = statuses(&weighed);
    coverage(diagnostics, &weighed, &statuses, effort);
    for (located, rule) in rules.iter().zip(&weighed) {
        diagnostics.rule = Some(rule.rule.id.clone());
        texts_and_bounds(diagnostics, located);
        edges::check(diagnostics, located);
        own_calls(diagnostics, located);
        if let Some(conflict) = contradiction(&rule.rule.when, effort) {
            let message = format!("this rule can never match: {}", conflict.message);
            diagnostics.error::<()>(located.comparison(conflict.place), message);
        } else {
            if !statuses.iter().any(|status| rule.can_match(*status, effort)) {
                diagnostics
                    .warn(located.when.clone(), "this rule can never match, whatever the status");
            }
            if rule.rule.outcome == Outcome::Approve {
                approval(diagnostics, located, rule, &statuses, effort);
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
        let wrong = leaf.bounds().iter().find_map(|bound| match bound {
            Bound::Text(text) => scene::check_key(text).err(),
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

fn coverage(
    diagnostics: &mut Diagnostics,
    rules: &[Weighed<'_>],
    statuses: &[i64],
    effort: &Effort,
) {
    // A rule that does not mention the status says nothing about any.
    let covered = |status: i64| {
        rules.iter().any(|rule| rule.mentions_status && rule.can_match(status, effort))
    };
    let open: Vec<String> = (PASSED..=LAST_DOCUMENTED)
        .filter(|status| !covered(*status))
        .map(|status| status.to_string())
        .collect();
    if !open.is_empty() {
        let message = format!("no rule covers status {}", open.join(", "));
        diagnostics.error_overall::<()>(message);
    }
    let unknown = statuses.iter().find(|status| **status > LAST_DOCUMENTED && !covered(**status));
    if let Some(status) = unknown {
        let message = format!(
            "no rule covers unknown statuses such as {status}; add one with \
             {{ field = \"status\", not_in = [1, 2, …, 12] }}"
        );
        diagnostics.error_overall::<()>(message);
    }
}

fn approval(
    diagnostics: &mut Diagnostics,
    located: &LocatedRule,
    weighed: &Weighed<'_>,
    statuses: &[i64],
    effort: &Effort,
) {
    let LocatedRule { rule, when, .. } = located;
    let literals = literals(&rule.when);
    let other = statuses
        .iter()
        .find(|status| **status != PASSED && weighed.can_match(**status, effort))
        .filter(|_| !effort.is_spent());
    if let Some(status) = other {
        let message = format!(
            "this rule can approve status {status}; only status 1 says that the person passed: \
             add {{ field = \"status\", eq = 1 }}"
        );
        let mut about = literals.iter().filter(|literal| literal.leaf.field == Field::Status);
        let span = match (about.next(), about.next()) {
            (Some(only), None) => located.comparison(only.place),
            _ => when.clone(),
        };
        diagnostics.error::<()>(span, message);
    }
    // Judged once more for each comparison that may be met by absence.
    if !effort.spend(weighed.steps * (1 + literals.len())) {
        return;
    }
    for literal in absences(rule) {
        let message = format!(
            "this rule can approve because evidence is absent (`{}`): absent evidence must \
             never approve",
            literal.leaf.field.name()
        );
        diagnostics.error::<()>(located.comparison(literal.place), message);
    }
}

/// The comparisons by which a rule could match because evidence is absent.
pub fn absences(rule: &Rule) -> Vec<Literal<'_>> {
    literals(&rule.when).into_iter().filter(|literal| asks_for_absence(rule, literal)).collect()
}

/// Whether a comparison is met because its field lacks, where there it could fail, and the rule can
/// match all the same.
fn asks_for_absence(rule: &Rule, literal: &Literal<'_>) -> bool {
    let field = literal.leaf.field;
    let always_there = !field.can_lack() && absent(field) == Reading::Absent;
    if always_there || !literal.accepts(absent(field)) || !literal.can_fail() {
        return false;
    }
    let without = without(field);
    let read = |other: Field| match other {
        Field::Status => Reading::Value(Value::Whole(PASSED)),
        other => without(other),
    };
    rule.when.judge(&read) != Truth::False
}

/// Every status that could make a difference, documented ones first.
fn statuses(rules: &[Weighed<'_>]) -> Vec<i64> {
    let mut mentioned = BTreeSet::from([-1, 0, LAST_DOCUMENTED + 1]);
    let leaves = rules.iter().flat_map(|rule| rule.rule.when.leaves());
    for leaf in leaves.filter(|leaf| leaf.field == Field::Status) {
        for bound in leaf.bounds() {
            if let Bound::Whole(status) = bound {
                mentioned.extend([status.saturating_sub(1), *status, status.saturating_add(1)]);
            }
        }
    }
    let wire = i64::from(i32::MIN)..=i64::from(i32::MAX);
    mentioned.extend([*wire.start(), *wire.end()]);
    let documented = PASSED..=LAST_DOCUMENTED;
    let others = mentioned.into_iter().filter(|s| wire.contains(s) && !documented.contains(s));
    documented.clone().chain(others).collect()
}
