//! Checks of a policy as a whole: does it speak about every status, and approve only what passed?
//!
//! By partial evaluation: the status is fixed and every other field is taken as unknown, so a
//! rule *can* match unless its condition is false already. That errs on the careful side: two
//! comparisons that exclude each other (a score below 50 and above 90) still count as possible.
//! Statuses are only ever compared with constants, so trying each constant and its neighbours
//! tries every status there is.

use std::collections::BTreeSet;

use super::Rule;
use super::condition::{Bound, Test, Truth};
use super::contradiction::{contradiction, dead_part, implied};
use super::field::{Field, Reading, Value};
use super::load::{Placed, Reader};
use crate::domain::decision::Outcome;

/// The status of those who passed.
const PASSED: i64 = 1;
/// The last documented status; the provider's document calls all above 1 failures.
const LAST_DOCUMENTED: i64 = 12;

/// Complains about what the rules leave open, or leave too open.
pub fn check(reader: &mut Reader<'_>, placed: &[Placed]) {
    let rules: Vec<&Rule> = placed.iter().map(|placed| &placed.rule).collect();
    let statuses = statuses(&rules);
    coverage(reader, &rules, &statuses);
    for Placed { rule, span } in placed {
        reader.rule = Some(rule.id.clone());
        if let Some(excluded) = contradiction(&rule.when) {
            reader.error::<()>(span.clone(), format!("this rule can never match: {excluded}"));
        } else if !statuses.iter().any(|status| can_match(rule, *status)) {
            reader.warn(span.clone(), "this rule can never match, whatever the status");
        }
        if contradiction(&rule.when).is_none()
            && let Some(excluded) = dead_part(&rule.when)
        {
            reader.warn(span.clone(), format!("part of this rule can never hold: {excluded}"));
        }
        let stricter = |other: &&Rule| {
            other.id != rule.id && other.outcome > rule.outcome && implied(&other.when, &rule.when)
        };
        if let Some(other) = rules.iter().copied().find(stricter) {
            let message = format!(
                "this rule cannot decide: whenever it matches, the stricter `{}` matches too",
                other.id
            );
            reader.warn(span.clone(), message);
        }
        if rule.outcome == Outcome::Approve {
            approval(reader, placed, rule, &statuses);
        }
        reader.rule = None;
    }
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

fn approval(reader: &mut Reader<'_>, placed: &[Placed], rule: &Rule, statuses: &[i64]) {
    let span = placed.iter().find(|p| p.rule.id == rule.id).map_or(0..0, |p| p.span.clone());
    let other = statuses.iter().find(|status| **status != PASSED && can_match(rule, **status));
    if let Some(status) = other {
        let message = format!(
            "this rule can approve status {status}; only status 1 says that the person passed: \
             add {{ field = \"status\", eq = 1 }}"
        );
        reader.error::<()>(span.clone(), message);
    }
    let lenient = rule
        .when
        .leaves()
        .into_iter()
        .find(|leaf| leaf.missing == Some(true) || leaf.test == Test::Exists(false));
    if let Some(leaf) = lenient {
        let message = format!("this rule may approve because `{}` is absent", leaf.field.name());
        reader.warn(span, message);
    }
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
