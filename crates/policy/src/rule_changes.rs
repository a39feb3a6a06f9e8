//! The differences between the rules of two policies. Rules are matched by their ids.

use crate::condition::Leaf;
use crate::decision::{Datum, Outcome};
use crate::policy::Policy;
use crate::rule::Rule;

/// A comparison of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleComparison {
    /// As policies spell it.
    pub field: &'static str,
    /// As policies spell it: `lt`, `not_in`, …
    pub operator: &'static str,
    pub bound: Datum,
    /// The value for an absent field; `None`: unknown.
    pub missing: Option<bool>,
}

/// The outcome and reason of a rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    pub outcome: Outcome,
    pub reason: String,
}

/// One rule that is in one policy only, or differs between the two.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleChange {
    pub rule: String,
    /// `None`: the rule is new.
    pub old: Option<Consequence>,
    /// `None`: the rule is gone.
    pub new: Option<Consequence>,
    /// Comparisons of the old rule that the new one does not make.
    pub removed: Vec<RuleComparison>,
    pub added: Vec<RuleComparison>,
    /// The same comparisons, joined in another way.
    pub is_joined_otherwise: bool,
    /// Other words for a person.
    pub has_other_texts: bool,
}

/// Rules that are gone or differ, in the order of the old policy, then new rules. Empty where both
/// policies decide every case alike, with the same words.
pub fn rule_changes(old: &Policy, new: &Policy) -> Vec<RuleChange> {
    let of = |policy: &Policy, id: &str| policy.rules.iter().find(|rule| rule.id == id).cloned();
    let kept = old.rules.iter().filter_map(|before| match of(new, &before.id) {
        None => Some(change(Some(before), None)),
        Some(after) if after == *before => None,
        Some(after) => Some(change(Some(before), Some(&after))),
    });
    let is_new = |rule: &&Rule| of(old, &rule.id).is_none();
    let added = new.rules.iter().filter(is_new).map(|rule| change(None, Some(rule)));
    kept.chain(added).collect()
}

fn change(old: Option<&Rule>, new: Option<&Rule>) -> RuleChange {
    let leaves = |rule: Option<&Rule>| -> Vec<Leaf> {
        rule.map(|rule| rule.when.leaves().into_iter().cloned().collect()).unwrap_or_default()
    };
    let (removed, added) = (without(leaves(old), &leaves(new)), without(leaves(new), &leaves(old)));
    let both = old.zip(new);
    let consequence =
        |rule: &Rule| Consequence { outcome: rule.outcome, reason: rule.reason.clone() };
    RuleChange {
        rule: old.or(new).map(|rule| rule.id.clone()).unwrap_or_default(),
        old: old.map(consequence),
        new: new.map(consequence),
        is_joined_otherwise: removed.is_empty()
            && added.is_empty()
            && both.is_some_and(|(old, new)| old.when != new.when),
        has_other_texts: both.is_some_and(|(old, new)| old.texts != new.texts),
        removed: removed.iter().map(comparison).collect(),
        added: added.iter().map(comparison).collect(),
    }
}

/// Those of the first that the second lacks; one that is there twice counts twice.
fn without(mut first: Vec<Leaf>, second: &[Leaf]) -> Vec<Leaf> {
    for leaf in second {
        if let Some(place) = first.iter().position(|other| other == leaf) {
            first.remove(place);
        }
    }
    first
}

fn comparison(leaf: &Leaf) -> RuleComparison {
    RuleComparison {
        field: leaf.field.name(),
        operator: leaf.test.operator(),
        bound: leaf.test.bound(),
        missing: leaf.missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::load_stored(&format!("name = \"p\"\n{rules}")).expect("a policy")
    }

    fn rule(id: &str, outcome: &str, when: &str) -> String {
        format!(
            "[[rule]]\nid = \"{id}\"\nreason = \"{id}\"\noutcome = \"{outcome}\"\n\
             text = {{ en = \"Words.\" }}\nwhen = {when}\n"
        )
    }

    #[test]
    fn rules_that_are_new_gone_or_moved_are_told_apart() {
        let (a, b) = (
            rule("a", "review", "{ field = \"lowest_score\", lt = 90 }"),
            rule("b", "reject", "{ field = \"status\", eq = 2 }"),
        );
        let old = policy(&format!("{a}{b}"));
        assert_eq!(
            rule_changes(&old, &policy(&format!("{b}{a}"))),
            [],
            "the order decides nothing"
        );
        let gone = rule_changes(&old, &policy(&b));
        assert_eq!((gone.len(), &gone[0].rule[..], &gone[0].new), (1, "a", &None));
        let new = rule_changes(&policy(&b), &old);
        assert_eq!((&new[0].old, new[0].added.len()), (&None, 1));
        assert_eq!(new[0].new.as_ref().unwrap().outcome, Outcome::Review);
    }

    #[test]
    fn changed_bound_is_the_only_change() {
        let with = |bound: &str, outcome: &str| {
            let when = format!(
                "{{ all = [{{ field = \"status\", eq = 1 }}, \
                 {{ field = \"lowest_score\", lt = {bound}, missing = false }}] }}"
            );
            policy(&rule("a", outcome, &when))
        };
        let changes = rule_changes(&with("90", "review"), &with("85", "review"));
        let [change] = &changes[..] else { panic!("{changes:?}") };
        let comparison = |bound| RuleComparison {
            field: "lowest_score",
            operator: "lt",
            bound: Datum::Number(bound),
            missing: Some(false),
        };
        assert_eq!(change.removed, [comparison(90.0)]);
        assert_eq!(change.added, [comparison(85.0)]);
        assert_eq!(change.old, change.new);
        assert!(!change.is_joined_otherwise && !change.has_other_texts);
        let milder = rule_changes(&with("90", "review"), &with("90", "retry"));
        assert_ne!(milder[0].old, milder[0].new);
        assert!(milder[0].added.is_empty() && !milder[0].is_joined_otherwise);
    }

    #[test]
    fn same_comparisons_in_another_order_of_logic_are_a_change() {
        let parts = "[{ field = \"status\", eq = 1 }, { field = \"lowest_score\", lt = 90 }]";
        let with = |join: &str| policy(&rule("a", "review", &format!("{{ {join} = {parts} }}")));
        let changes = rule_changes(&with("all"), &with("any"));
        assert!(changes[0].is_joined_otherwise && changes[0].added.is_empty());
    }
}
