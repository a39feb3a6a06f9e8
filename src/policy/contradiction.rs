//! Conditions that can never hold: comparisons of one field that no value satisfies together.
//!
//! Only what one `all` says directly is judged (nested ones count as one): each field's values are
//! narrowed by one comparison after the other, and if none is left the two that met are named.

#![expect(clippy::float_cmp, reason = "bounds are compared as they were written")]

use super::condition::{Bound, Condition, Leaf, Operator, Test};
use super::field::{Field, Kind, rank};

/// Why a condition can never hold: two comparisons that exclude each other, in words.
pub fn contradiction(condition: &Condition) -> Option<String> {
    let mut leaves = Vec::new();
    flatten(condition, &mut leaves);
    leaves_exclude(&leaves).or_else(|| match condition {
        Condition::All(parts) => parts.iter().find_map(contradiction),
        // Each of them has to be impossible.
        Condition::Any(parts) => {
            let all: Option<Vec<String>> = parts.iter().map(contradiction).collect();
            all?.into_iter().next()
        }
        // Of a contrary: what is never true is always false, which is odd, but no contradiction.
        Condition::Leaf(_) | Condition::Not(_) => None,
    })
}

/// Why one part of a condition, which may hold without it, can never hold.
pub fn dead_part(condition: &Condition) -> Option<String> {
    match condition {
        Condition::Leaf(_) => None,
        Condition::All(parts) => parts.iter().find_map(dead_part),
        Condition::Any(parts) => {
            parts.iter().find_map(|part| contradiction(part).or_else(|| dead_part(part)))
        }
        Condition::Not(part) => contradiction(part).or_else(|| dead_part(part)),
    }
}

/// Whether a rule matches whenever another does, as far as can be told from their words: it says
/// nothing that the other does not say as well.
pub fn implied(weaker: &Condition, stronger: &Condition) -> bool {
    let (mut says, mut given) = (Vec::new(), Vec::new());
    let plain = flatten(weaker, &mut says) && flatten(stronger, &mut given);
    plain && !says.is_empty() && says.iter().all(|leaf| given.contains(leaf))
}

/// Everything that has to hold by itself; `false` where there is more to the condition.
fn flatten<'c>(condition: &'c Condition, leaves: &mut Vec<&'c Leaf>) -> bool {
    match condition {
        Condition::Leaf(leaf) => {
            leaves.push(leaf);
            true
        }
        // Each, even after one that is not plain.
        Condition::All(parts) => {
            let plain = parts.iter().filter(|part| flatten(part, leaves)).count();
            plain == parts.len()
        }
        Condition::Any(parts) if parts.len() == 1 => flatten(&parts[0], leaves),
        Condition::Any(_) | Condition::Not(_) => false,
    }
}

fn leaves_exclude(leaves: &[&Leaf]) -> Option<String> {
    for (at, leaf) in leaves.iter().enumerate() {
        let mut range = Values::of(leaf.field);
        let mut met: Vec<&Leaf> = Vec::new();
        for other in leaves[..=at].iter().filter(|other| other.field == leaf.field) {
            met.push(other);
            if !range.narrow(other) {
                let first = met.iter().find(|earlier| {
                    let mut two = Values::of(leaf.field);
                    !(two.narrow(earlier) && two.narrow(other))
                });
                let name = leaf.field.name();
                return Some(match first {
                    Some(first) if **first != **other => {
                        format!("`{name}` cannot be {} and {}", words(first), words(other))
                    }
                    Some(_) => format!("`{name}` cannot be {}", words(other)),
                    None => format!("no `{name}` is all of that"),
                });
            }
        }
    }
    None
}

/// The values of a field that are left.
#[derive(Debug)]
struct Values {
    low: f64,
    low_open: bool,
    high: f64,
    high_open: bool,
    whole: bool,
    /// Only these, where that was said.
    only: Option<Vec<Bound>>,
    not: Vec<Bound>,
    /// It must be there, or must lack.
    there: Option<bool>,
}

impl Values {
    fn of(field: Field) -> Self {
        // Only what evidence really keeps to: other ranges are what makes sense to write.
        let (low, high) = match field.kind() {
            Kind::Score => (0.0, 100.0),
            Kind::Quality => (0.0, 3.0),
            Kind::Flag => (0.0, 1.0),
            Kind::Whole if field == Field::ScoresPresent => (0.0, 3.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let whole = field.kind() != Kind::Score;
        let (low_open, high_open) = (false, false);
        Self { low, low_open, high, high_open, whole, only: None, not: Vec::new(), there: None }
    }

    /// `false`: nothing is left.
    fn narrow(&mut self, leaf: &Leaf) -> bool {
        // Where it may lack, it says nothing about the values.
        if leaf.missing == Some(true) {
            return true;
        }
        match &leaf.test {
            Test::Exists(wanted) => {
                if self.there.is_some_and(|there| there != *wanted) {
                    return false;
                }
                self.there = Some(*wanted);
                return true;
            }
            Test::Compare(operator, bound) => self.compare(*operator, bound),
            Test::Member(true, bounds) => self.keep(bounds),
            Test::Member(false, bounds) => self.not.extend(bounds.iter().cloned()),
        }
        if self.there == Some(false) {
            return false;
        }
        self.there = Some(true);
        self.is_possible()
    }

    fn compare(&mut self, operator: Operator, bound: &Bound) {
        let Some(at) = number(bound) else {
            match operator {
                Operator::Eq => self.keep(std::slice::from_ref(bound)),
                Operator::Ne => self.not.push(bound.clone()),
                _ => {}
            }
            return;
        };
        // Between whole numbers there is nothing.
        let step = if self.whole { 1.0 } else { 0.0 };
        match operator {
            Operator::Eq => {
                self.at_least(at, false);
                self.at_most(at, false);
            }
            Operator::Ne => self.not.push(bound.clone()),
            Operator::Lt => self.at_most(at - step, !self.whole),
            Operator::Le => self.at_most(at, false),
            Operator::Gt => self.at_least(at + step, !self.whole),
            Operator::Ge => self.at_least(at, false),
        }
    }

    fn at_least(&mut self, low: f64, open: bool) {
        if low > self.low || low == self.low && open {
            (self.low, self.low_open) = (low, open);
        }
    }

    fn at_most(&mut self, high: f64, open: bool) {
        if high < self.high || high == self.high && open {
            (self.high, self.high_open) = (high, open);
        }
    }

    fn keep(&mut self, bounds: &[Bound]) {
        let kept = match &self.only {
            None => bounds.to_vec(),
            Some(only) => only.iter().filter(|bound| bounds.contains(bound)).cloned().collect(),
        };
        self.only = Some(kept);
    }

    fn is_possible(&self) -> bool {
        if let Some(only) = &self.only {
            return only.iter().any(|bound| self.allows(bound));
        }
        if self.low > self.high || self.low == self.high && (self.low_open || self.high_open) {
            return false;
        }
        // One value, or a few whole ones: they may all be excluded.
        if self.low == self.high {
            return !self.not.iter().any(|bound| number(bound) == Some(self.low));
        }
        if self.whole && self.high - self.low < 64.0 {
            let mut value = self.low;
            while value <= self.high {
                if !self.not.iter().any(|bound| number(bound) == Some(value)) {
                    return true;
                }
                value += 1.0;
            }
            return false;
        }
        true
    }

    fn allows(&self, bound: &Bound) -> bool {
        if self.not.contains(bound) {
            return false;
        }
        number(bound).is_none_or(|at| {
            let above = at > self.low || at == self.low && !self.low_open;
            above && (at < self.high || at == self.high && !self.high_open)
        })
    }
}

/// Where a bound stands on the line of its field's values; texts stand on none.
fn number(bound: &Bound) -> Option<f64> {
    match bound {
        #[expect(clippy::cast_precision_loss, reason = "statuses, days, counts")]
        Bound::Whole(number) => Some(*number as f64),
        Bound::Score(score) => Some(*score),
        Bound::Quality(quality) => Some(f64::from(rank(*quality))),
        Bound::Flag(flag) => Some(f64::from(u8::from(*flag))),
        Bound::Text(_) => None,
    }
}

fn words(leaf: &Leaf) -> String {
    match &leaf.test {
        Test::Exists(true) => "there".to_owned(),
        Test::Exists(false) => "absent".to_owned(),
        Test::Member(true, bounds) => format!("one of {}", list(bounds)),
        Test::Member(false, bounds) => format!("none of {}", list(bounds)),
        Test::Compare(operator, bound) => {
            let how = match operator {
                Operator::Eq => "",
                Operator::Ne => "other than ",
                Operator::Lt => "below ",
                Operator::Le => "at most ",
                Operator::Gt => "above ",
                Operator::Ge => "at least ",
            };
            format!("{how}{}", word(bound))
        }
    }
}

fn list(bounds: &[Bound]) -> String {
    let shown: Vec<String> = bounds.iter().take(8).map(word).collect();
    let more = if bounds.len() > 8 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn word(bound: &Bound) -> String {
    match bound {
        Bound::Flag(flag) => flag.to_string(),
        Bound::Whole(number) => number.to_string(),
        Bound::Score(score) => score.to_string(),
        Bound::Quality(quality) => quality.as_str().to_owned(),
        Bound::Text(text) => format!("\"{}\"", text.escape_debug()),
    }
}
