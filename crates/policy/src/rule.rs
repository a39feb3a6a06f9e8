//! One compiled rule, with its place in the text.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::condition::Condition;
use crate::decision::Outcome;

/// One rule, compiled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) outcome: Outcome,
    /// Its texts for a person, by language; at least one.
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) when: Condition,
}

impl Rule {
    /// Whether it takes notice of the products; see [`Field::knows_products`](crate::field::Field::knows_products).
    pub(crate) fn knows_products(&self) -> bool {
        self.when.leaves().iter().any(|leaf| leaf.field.knows_products())
    }

    /// Most steps that deciding by it takes: its condition is judged, and to name what it saw its
    /// parts are judged again at every level.
    pub(crate) fn decision_steps(&self) -> usize {
        self.when.steps() * (1 + self.when.depth())
    }
}

/// A rule with its places in the text, for diagnostics.
pub(crate) struct LocatedRule {
    pub(crate) rule: Rule,
    /// Its condition as a whole.
    pub(crate) when: Range<usize>,
    /// The comparisons of its condition, in their order.
    pub(crate) comparisons: Vec<Range<usize>>,
    pub(crate) text: Range<usize>,
}

impl LocatedRule {
    /// The place of the comparison with that index.
    pub(crate) fn comparison(&self, index: usize) -> Range<usize> {
        self.comparisons.get(index).unwrap_or(&self.when).clone()
    }
}
