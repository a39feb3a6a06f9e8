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

use super::Rule;
use super::condition::{Bound, Test, Truth};
use super::contradiction::{Literal, Want, contradiction, dead_part, follows, literals};
use super::edges;
use super::effort::Effort;
use super::field::{Field, Reading, Value};
use super::load::{Placed, Reader};
use crate::domain::callback::BizType;
use crate::domain::decision::Outcome;
use crate::domain::visible;

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
pub fn name(reader: &mut Reader, name: &str, span: Range<usize>) {
    if name.chars().count() > MAX_NAME_CHARS || !visible::is_line(name) {
        let message = "`name` must be at most 128 visible characters, on one line";
        reader.error::<()>(span, message);
    }
}

/// Complains about a text that a reviewer sees otherwise than the loader reads it: an invisible or
/// reordering character, be it in a comment, can show another rule than the one that decides.
pub fn source(reader: &mut Reader, text: &str) {
    if let Some(at) = visible::hidden_at(text) {
        let length = text[at..].chars().next().map_or(0, char::len_utf8);
        let message = "an invisible character, or one that changes the order of others: remove it";
        reader.error::<()>(at..at + length, message);
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
pub fn check(reader: &mut Reader, placed: &[Placed], effort: &Effort) {
    let rules: Vec<Weighed<'_>> = placed.iter().map(|placed| Weighed::new(&placed.rule)).collect();
    effort.spend(rules.iter().map(|rule| rule.steps).sum());
    let decision: usize = placed.iter().map(|placed| decision_steps(&placed.rule)).sum();
    if decision > MOST_DECISION_STEPS {
        let message = "one decision by this policy takes too many steps; use fewer comparisons, \
                       shorter lists or less nesting";
        reader.error_overall::<()>(message);
        return;
    }
    let statuses = statuses(&rules);
    coverage(reader, &rules, &statuses, effort);
    for (placed, rule) in placed.iter().zip(&rules) {
        reader.rule = Some(rule.rule.id.clone());
        texts_and_bounds(reader, placed);
        edges::check(reader, placed);
        own_calls(reader, placed);
        let Placed { when, comparisons, .. } = placed;
        if let Some(conflict) = contradiction(&rule.rule.when, effort) {
            let message = format!("this rule can never match: {}", conflict.message);
            reader.error::<()>(at(comparisons, conflict.place, when), message);
        } else {
            if !statuses.iter().any(|status| rule.can_match(*status, effort)) {
                reader.warn(when.clone(), "this rule can never match, whatever the status");
            }
            if rule.rule.outcome == Outcome::Approve {
                approval(reader, placed, rule, &statuses, effort);
            }
        }
        reader.rule = None;
    }
}

/// Most steps that deciding by a rule takes: its condition is judged, and to name what it saw its
/// parts are judged again at every level.
pub fn decision_steps(rule: &Rule) -> usize {
    rule.when.steps() * (1 + rule.when.depth())
}

/// Warns of rules, and parts of rules, that have no effect. Where the effort is used up some of
/// them are not found, and one more warning says so.
pub fn lint(reader: &mut Reader, placed: &[Placed], effort: &Effort) {
    let rules: Vec<&Rule> = placed.iter().map(|placed| &placed.rule).collect();
    for placed in placed {
        let Placed { rule, when, comparisons, .. } = placed;
        reader.rule = Some(rule.id.clone());
        // A rule that can never match was reported as an error.
        if contradiction(&rule.when, effort).is_none() {
            unjudged(reader, placed, effort);
            if let Some(conflict) = dead_part(&rule.when, effort) {
                let message = format!("part of this rule can never hold: {}", conflict.message);
                reader.warn(at(comparisons, conflict.place, when), message);
            }
            if let Some(message) = overruled(rule, &rules, effort) {
                reader.warn(when.clone(), message);
            }
        }
        reader.rule = None;
    }
    if effort.is_spent() {
        let message = "this policy is too large to look for all rules without effect: some may \
                       not be named";
        reader.warn_overall(message);
    }
}

/// Warns of a rule that cannot be judged where its field is absent: every person without the field
/// then goes to review. Approvals are excluded, because absent evidence must not approve.
fn unjudged(reader: &mut Reader, placed: &Placed, effort: &Effort) {
    let Placed { rule, when, comparisons, .. } = placed;
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
        reader.warn(at(comparisons, place, when), message);
    }
}

/// Reads an answer of which nothing is known but that this field is absent.
fn without<'r>(field: Field) -> impl Fn(Field) -> Reading<'r> {
    move |other| if goes_with(field).contains(&other) { absent(other) } else { Reading::Unknowable }
}

/// Where a comparison stands.
fn at(comparisons: &[Range<usize>], place: usize, otherwise: &Range<usize>) -> Range<usize> {
    comparisons.get(place).unwrap_or(otherwise).clone()
}

/// Reports what the database could not hold.
fn texts_and_bounds(reader: &mut Reader, placed: &Placed) {
    let Placed { rule, when, comparisons, text } = placed;
    if !rule.texts.values().all(|text| visible::is_text(text)) {
        let message = "`text` must be without control and invisible characters";
        reader.error::<()>(text.clone(), message);
    }
    for (place, leaf) in rule.when.leaves().into_iter().enumerate() {
        let wrong = leaf.bounds().iter().find_map(|bound| match bound {
            Bound::Text(text) => BizType::parse(text).err(),
            _ => None,
        });
        if let Some(wrong) = wrong {
            let message = format!("no `{}` is like that: it {wrong}", leaf.field.name());
            reader.error::<()>(at(comparisons, place, when), message);
        }
    }
}

/// Warns of rules about the number of our own calls, where the behaviour of people may be meant.
fn own_calls(reader: &mut Reader, placed: &Placed) {
    for (place, leaf) in placed.rule.when.leaves().into_iter().enumerate() {
        if matches!(leaf.field, Field::Attempts | Field::Calls) {
            let message = format!(
                "`{}` counts how often Verdict asked the provider, failed calls included: an outage \
                 of the provider makes it large for everybody; for what a person did use \
                 `callbacks`, `answers`, `earlier_1d` or `earlier_30d`",
                leaf.field.name()
            );
            reader.warn(at(&placed.comparisons, place, &placed.when), message);
        }
    }
}

/// Why a rule can never decide: another one, stricter, has its say whenever this one has.
fn overruled(rule: &Rule, rules: &[&Rule], effort: &Effort) -> Option<String> {
    let stricter = |other: &&&Rule| other.outcome > rule.outcome;
    rules.iter().filter(stricter).find_map(|other| {
        if follows(&other.when, Want::True, &rule.when, effort) {
            return Some(format!(
                "this rule cannot decide: whenever it matches, the stricter `{}` matches too",
                other.id
            ));
        }
        // What cannot be judged asks for a person, which is stricter than this.
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

fn coverage(reader: &mut Reader, rules: &[Weighed<'_>], statuses: &[i64], effort: &Effort) {
    // A rule that does not mention the status says nothing about any.
    let covered = |status: i64| {
        rules.iter().any(|rule| rule.mentions_status && rule.can_match(status, effort))
    };
    let open: Vec<String> = (PASSED..=LAST_DOCUMENTED)
        .filter(|status| !covered(*status))
        .map(|status| status.to_string())
        .collect();
    if !open.is_empty() {
        let message = format!("no rule speaks about status {}", open.join(", "));
        reader.error_overall::<()>(message);
    }
    let unknown = statuses.iter().find(|status| **status > LAST_DOCUMENTED && !covered(**status));
    if let Some(status) = unknown {
        let message = format!(
            "no rule speaks about unknown statuses such as {status}; add one with \
             {{ field = \"status\", not_in = [1, 2, …, 12] }}"
        );
        reader.error_overall::<()>(message);
    }
}

fn approval(
    reader: &mut Reader,
    placed: &Placed,
    weighed: &Weighed<'_>,
    statuses: &[i64],
    effort: &Effort,
) {
    let Placed { rule, when, comparisons, .. } = placed;
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
            (Some(only), None) => at(comparisons, only.place, when),
            _ => when.clone(),
        };
        reader.error::<()>(span, message);
    }
    // Judged once more for each comparison that may be met by absence.
    if !effort.spend(weighed.steps * (1 + literals.len())) {
        return;
    }
    for literal in absences(rule) {
        let message = format!(
            "this rule can approve because evidence is absent (`{}`): nobody is approved for what \
             was not seen",
            literal.leaf.field.name()
        );
        reader.error::<()>(at(comparisons, literal.place, when), message);
    }
}

/// The comparisons because of which a rule could match for want of evidence.
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

/// How an absent field reads: counts are 0, images are not there.
fn absent(field: Field) -> Reading<'static> {
    match field {
        Field::ScoresPresent => Reading::Value(Value::Whole(0)),
        Field::HasFaceImage
        | Field::HasCardFrontImage
        | Field::HasCardBackImage
        | Field::HasFaceGlobalImage => Reading::Value(Value::Flag(false)),
        _ => Reading::Absent,
    }
}

/// The fields that are absent together with this one: without the lowest score there is none.
fn goes_with(field: Field) -> Vec<Field> {
    match field {
        Field::LowestScore | Field::ScoresPresent => vec![
            Field::LowestScore,
            Field::ScoresPresent,
            Field::AuthorityScore,
            Field::FaceScore,
            Field::IdCardFaceScore,
        ],
        _ => vec![field],
    }
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
