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
use super::field::{Field, Reading, Value};
use super::load::{Placed, Reader};
use crate::domain::callback::BizType;
use crate::domain::decision::Outcome;

/// The status of those who passed.
const PASSED: i64 = 1;
/// The last documented status; the provider's document calls all above 1 failures.
const LAST_DOCUMENTED: i64 = 12;
/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 128;
/// What a decision may have to repeat in its reasons is bounded: rules of a policy, comparisons of a
/// rule, values of a list.
const MOST_RULES: usize = 256;
const MOST_COMPARISONS: usize = 64;
const MOST_VALUES: usize = 64;
/// Comparisons that are looked at to find rules which cannot decide.
const MOST_EFFORT: usize = 2_000_000;

/// Complains about a name that would not fit into lists and logs.
pub fn name(reader: &mut Reader<'_>, name: &str, span: Range<usize>) {
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        let message = "`name` must be at most 128 characters, none of them a control character";
        reader.error::<()>(span, message);
    }
}

/// Complains about what the rules leave open, or leave too open.
pub fn check(reader: &mut Reader<'_>, placed: &[Placed]) {
    if placed.len() > MOST_RULES {
        reader.error_overall::<()>(format!("a policy has at most {MOST_RULES} rules"));
        return;
    }
    let rules: Vec<&Rule> = placed.iter().map(|placed| &placed.rule).collect();
    let statuses = statuses(&rules);
    coverage(reader, &rules, &statuses);
    let mut effort = MOST_EFFORT;
    for placed in placed {
        let Placed { rule, when, comparisons, .. } = placed;
        reader.rule = Some(rule.id.clone());
        sizes(reader, placed);
        if let Some(conflict) = contradiction(&rule.when) {
            let message = format!("this rule can never match: {}", conflict.message);
            reader.error::<()>(at(comparisons, conflict.place, when), message);
        } else {
            if !statuses.iter().any(|status| can_match(rule, *status)) {
                reader.warn(when.clone(), "this rule can never match, whatever the status");
            }
            if let Some(conflict) = dead_part(&rule.when) {
                let message = format!("part of this rule can never hold: {}", conflict.message);
                reader.warn(at(comparisons, conflict.place, when), message);
            }
            if let Some(message) = overruled(rule, &rules, &mut effort) {
                reader.warn(when.clone(), message);
            }
            if rule.outcome == Outcome::Approve {
                approval(reader, placed, &statuses);
            }
        }
        reader.rule = None;
    }
}

/// Where a comparison stands.
fn at(comparisons: &[Range<usize>], place: usize, otherwise: &Range<usize>) -> Range<usize> {
    comparisons.get(place).unwrap_or(otherwise).clone()
}

/// What the database could not hold, and what would make every decision long.
fn sizes(reader: &mut Reader<'_>, placed: &Placed) {
    let Placed { rule, when, comparisons, text } = placed;
    let odd = |char: char| char.is_control() && char != '\n';
    if rule.zh.chars().chain(rule.en.chars()).any(odd) {
        reader.error::<()>(text.clone(), "`text` must be without control characters");
    }
    let leaves = rule.when.leaves();
    if leaves.len() > MOST_COMPARISONS {
        let message = format!("a rule has at most {MOST_COMPARISONS} comparisons");
        reader.error::<()>(when.clone(), message);
    }
    for (place, leaf) in leaves.into_iter().enumerate() {
        let bounds = match &leaf.test {
            Test::Compare(_, bound) => std::slice::from_ref(bound),
            Test::Member(_, bounds) => bounds.as_slice(),
            Test::Exists(_) => continue,
        };
        if bounds.len() > MOST_VALUES {
            let message = format!("a list has at most {MOST_VALUES} values");
            reader.error::<()>(at(comparisons, place, when), message);
        }
        let wrong = bounds.iter().find_map(|bound| match bound {
            Bound::Text(text) => BizType::parse(text).err(),
            _ => None,
        });
        if let Some(wrong) = wrong {
            let message = format!("no `{}` is like that: it {wrong}", leaf.field.name());
            reader.error::<()>(at(comparisons, place, when), message);
        }
    }
}

/// Why a rule can never decide: another one, stricter, has its say whenever this one has.
fn overruled(rule: &Rule, rules: &[&Rule], effort: &mut usize) -> Option<String> {
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

fn coverage(reader: &mut Reader<'_>, rules: &[&Rule], statuses: &[i64]) {
    let covered = |status: i64| rules.iter().any(|rule| speaks_of(rule, status));
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

fn approval(reader: &mut Reader<'_>, placed: &Placed, statuses: &[i64]) {
    let Placed { rule, when, comparisons, .. } = placed;
    let literals = literals(&rule.when);
    let other = statuses.iter().find(|status| **status != PASSED && can_match(rule, **status));
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
    let absent = |field: Field| match field {
        Field::ScoresPresent => Reading::Value(Value::Whole(0)),
        Field::HasFaceImage
        | Field::HasCardFrontImage
        | Field::HasCardBackImage
        | Field::HasFaceGlobalImage => Reading::Value(Value::Flag(false)),
        _ => Reading::Absent,
    };
    let always_there = !field.can_lack() && absent(field) == Reading::Absent;
    if always_there || !literal.accepts(absent(field)) || !literal.can_fail() {
        return false;
    }
    let scores = [
        Field::LowestScore,
        Field::ScoresPresent,
        Field::AuthorityScore,
        Field::FaceScore,
        Field::IdCardFaceScore,
    ];
    // Without the lowest score there is none.
    let without: &[Field] = match field {
        Field::LowestScore | Field::ScoresPresent => &scores,
        _ => &[field],
    };
    let read = |other: Field| match other {
        Field::Status => Reading::Value(Value::Whole(PASSED)),
        other if without.contains(&other) => absent(other),
        _ => Reading::Unknowable,
    };
    rule.when.judge(&read) != Truth::False
}

/// A rule that never looks at the status says nothing about any.
fn speaks_of(rule: &Rule, status: i64) -> bool {
    can_match(rule, status) && rule.when.leaves().iter().any(|leaf| leaf.field == Field::Status)
}

fn can_match(rule: &Rule, status: i64) -> bool {
    let only_status = |field: Field| match field {
        Field::Status => Reading::Value(Value::Whole(status)),
        _ => Reading::Unknowable,
    };
    rule.when.judge(&only_status) != Truth::False
}

/// Every status that could make a difference, documented ones first.
fn statuses(rules: &[&Rule]) -> Vec<i64> {
    let mut mentioned = BTreeSet::from([-1, 0, LAST_DOCUMENTED + 1]);
    for leaf in rules.iter().flat_map(|rule| rule.when.leaves()) {
        let bounds = match &leaf.test {
            _ if leaf.field != Field::Status => continue,
            Test::Compare(_, bound) => std::slice::from_ref(bound),
            Test::Member(_, bounds) => bounds.as_slice(),
            Test::Exists(_) => continue,
        };
        for bound in bounds {
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
