//! Load a policy; `decide(&Policy, &Evidence) -> Decision`.
//!
//! A policy is a TOML text of rules with typed conditions over a closed list of evidence fields
//! (`config/policy.toml` explains the language by example). It is checked like a program when it
//! is loaded, and compiled, so that deciding compares numbers and looks up nothing.
//!
//! | File | What lives there |
//! |---|---|
//! | [`field`] | the evidence fields, and how each is read |
//! | [`condition`] | compiled conditions in three-valued logic |
//! | [`decide()`] | the decision |
//! | `load` | from text to policy: types, spelling, examples |
//! | `check` | from policy to findings: statuses nobody covers, approvals that must not be |
//! | `edges` | bounds of fields that are stored by edges |
//! | `contradiction` | conditions that can never hold, rules that say no more than another |
//! | [`render()`] | findings as a compiler prints them |
//! | [`finding`] | what the loader has to say |
//! | [`effort`] | the work that one check may do, in steps |
//! | [`compare`], [`report`] | another policy on the same cases, as numbers and as a page |
//! | [`diff()`] | what differs between two texts |
//! | [`calibration`] | scores over time, the vendor's table, drift |

pub mod calibration;
pub mod compare;
pub mod condition;
pub mod field;
pub mod finding;
pub mod report;

mod check;
mod contradiction;
mod decide;
mod diff;
pub mod effort;
mod edges;
mod load;
mod render;

pub use decide::{decide, missing_evidence};
pub use diff::{Change, diff};
pub use finding::{Finding, Severity};
pub use render::render;

use std::collections::BTreeMap;

use crate::domain::decision::Outcome;
use crate::domain::evidence::Evidence;
use condition::Condition;
use effort::Effort;
use load::FailedExample;

/// Reason of a rule that could not be judged for want of evidence.
pub const EVIDENCE_MISSING: &str = "evidence-missing";
/// Reason where fields of the answer made no sense.
pub const EVIDENCE_MALFORMED: &str = "evidence-malformed";
/// Reason where no rule had anything to say.
pub const NO_RULE_MATCHED: &str = "no-rule-matched";

/// The reasons every policy has, with their texts in Chinese and English.
const BUILT_IN: [(&str, &str, &str); 3] = [
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
    name: String,
    text: String,
    digest: String,
    rules: Vec<Rule>,
    warnings: Vec<Finding>,
}

/// One rule, compiled.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    id: String,
    reason: String,
    outcome: Outcome,
    /// By language, at least one.
    texts: BTreeMap<String, String>,
    when: Condition,
}

impl Policy {
    /// Loads a text: checks it, runs its examples, compiles it. The error holds everything there
    /// is to say, warnings included, in the order of the text.
    pub fn load(text: &str) -> Result<Self, Vec<Finding>> {
        Self::load_within(text, &Effort::default())
    }

    /// The same, with a budget of the caller's. A policy that would take more is refused.
    pub fn load_within(text: &str, effort: &Effort) -> Result<Self, Vec<Finding>> {
        load::load(text, effort, FailedExample::Error)
    }

    /// The same, for trying a policy: an example that fails is a warning.
    pub fn load_to_try(text: &str) -> Result<Self, Vec<Finding>> {
        load::load(text, &Effort::default(), FailedExample::Warning)
    }

    /// Compiles a text that was accepted before, perhaps by an older version with fewer checks and
    /// higher limits: it must decide again as it did then. Checks nothing and runs no examples, so
    /// its cost is that of reading the text. `None` where the text is no policy.
    pub fn load_stored(text: &str) -> Option<Self> {
        load::load_stored(text)
    }

    /// Whether it compares `card_days_left` with a number that is no edge, as policies that earlier
    /// versions accepted may do.
    pub fn compares_between_edges(&self) -> bool {
        self.rules.iter().any(|rule| edges::compares_between_edges(&rule.when))
    }

    /// Bounds of its comparisons of scores.
    pub fn score_bounds(&self) -> Vec<f64> {
        let leaves = self.rules.iter().flat_map(|rule| rule.when.leaves());
        let score = |leaf: &condition::Leaf| match leaf.test {
            condition::Test::Compare(_, condition::Bound::Score(bound)) => Some(bound),
            _ => None,
        };
        let mut bounds: Vec<f64> = leaves.filter_map(score).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    }

    /// What its author calls it.
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

    /// What its author may want to look at.
    pub fn warnings(&self) -> &[Finding] {
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
}

/// Reads one case for [`decide()`] from a JSON document: by the names of the fields, or as evidence is
/// stored. The error names line and member.
pub fn read_case(document: &str) -> Result<Evidence, String> {
    load::read_case(document)
}

#[cfg(test)]
mod tests;
