//! Contradictions: comparisons that no evidence satisfies together, in one rule, or in one rule and
//! the negation of another.
//!
//! A condition is taken apart into the ways in which it can hold, each a list of comparisons that
//! hold together (`not` goes into the comparisons, `any` makes ways). For each way every field's
//! values are narrowed by one comparison after the other, and by how the scores depend on each
//! other; if nothing is left the two that met are named. Where there would be too many ways, or the
//! effort is used up, some comparisons are left out, so that less is found and nothing is found
//! wrongly.

#![expect(clippy::float_cmp, reason = "bounds are compared as they were written")]

use strum::VariantArray;

use crate::absence::absent;
use crate::condition::{Bound, Condition, Leaf, Operator, Test, Truth};
use crate::effort::Effort;
use crate::field::{Field, Kind, Reading};
use crate::in_words::in_words;
use crate::product::Product;

/// Most ways, and most comparisons in all ways together, that a condition is taken apart into.
const MOST_WAYS: usize = 256;
const MOST_COMPARISONS: usize = 4096;

/// The required value of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// False or unknown.
    NotTrue,
    /// True or unknown.
    NotFalse,
}

impl Want {
    /// Whether it is met.
    pub fn accepts(self, truth: Truth) -> bool {
        match self {
            Self::True => truth == Truth::True,
            Self::False => truth == Truth::False,
            Self::NotTrue => truth != Truth::True,
            Self::NotFalse => truth != Truth::False,
        }
    }

    /// For the part under a `not`.
    fn under_not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::NotTrue => Self::NotFalse,
            Self::NotFalse => Self::NotTrue,
        }
    }

    /// Met by exactly what this is not met by.
    fn contrary(self) -> Self {
        match self {
            Self::True => Self::NotTrue,
            Self::False => Self::NotFalse,
            Self::NotTrue => Self::True,
            Self::NotFalse => Self::False,
        }
    }
}

/// A comparison, and what it has to come to.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'c> {
    /// The comparison.
    pub leaf: &'c Leaf,
    /// Its index in the condition, from 0.
    pub place: usize,
    /// The required value.
    pub want: Want,
}

impl Literal<'_> {
    /// Whether a reading of its field meets it.
    pub fn accepts(&self, reading: Reading<'_>) -> bool {
        self.want.accepts(self.leaf.judge(reading))
    }

    /// Whether the field, being there, could fail to meet it.
    pub fn can_fail(&self) -> bool {
        let mut values = Values::of(self.leaf.field);
        values.narrow(&Literal { want: self.want.contrary(), ..*self });
        values.settle();
        values.present
    }
}

/// Comparisons that exclude each other.
#[derive(Debug)]
pub struct Conflict {
    /// In words.
    pub message: String,
    /// The index of the comparison that contradicts an earlier one.
    pub place: usize,
}

/// Every comparison of a condition, with what it has to come to for the condition to hold.
pub fn literals(condition: &Condition) -> Vec<Literal<'_>> {
    fn gather<'c>(condition: &'c Condition, want: Want, found: &mut Vec<Literal<'c>>) {
        match condition {
            Condition::Leaf(leaf) => found.push(Literal { leaf, place: found.len(), want }),
            Condition::All(parts) | Condition::Any(parts) => {
                for part in parts {
                    gather(part, want, found);
                }
            }
            Condition::Not(part) => gather(part, want.under_not(), found),
        }
    }
    let mut found = Vec::new();
    gather(condition, Want::True, &mut found);
    found
}

/// Why a condition can never hold: two comparisons that exclude each other.
pub fn contradiction(condition: &Condition, effort: &Effort) -> Option<Conflict> {
    let ways = ways(condition, Want::True, effort);
    let is_dead = |way: &Vec<Literal<'_>>| !is_possible(way, effort);
    ways.iter().all(is_dead).then(|| conflict(ways.first()?, effort)).flatten()
}

/// Why one part of a condition, which may hold without it, can never hold.
pub fn dead_part(condition: &Condition, effort: &Effort) -> Option<Conflict> {
    fn look(condition: &Condition, first: usize, effort: &Effort) -> Option<Conflict> {
        let dead = |part: &Condition, first: usize| {
            let conflict = contradiction(part, effort)?;
            Some(Conflict { place: first + conflict.place, ..conflict })
        };
        match condition {
            Condition::Leaf(_) => None,
            Condition::Not(part) => dead(part, first).or_else(|| look(part, first, effort)),
            Condition::All(parts) | Condition::Any(parts) => {
                let mut first = first;
                parts.iter().find_map(|part| {
                    let here = first;
                    first += part.leaves().len();
                    let any = matches!(condition, Condition::Any(_));
                    any.then(|| dead(part, here)).flatten().or_else(|| look(part, here, effort))
                })
            }
        }
    }
    look(condition, 0, effort)
}

/// Whether a condition comes to `want` at least wherever another holds.
pub fn follows(condition: &Condition, want: Want, holds: &Condition, effort: &Effort) -> bool {
    if effort.is_spent() {
        return false;
    }
    let given = ways(holds, Want::True, effort);
    let otherwise = ways(condition, want.contrary(), effort);
    given.iter().all(|given| {
        otherwise.iter().all(|otherwise| {
            let both: Vec<Literal<'_>> = given.iter().chain(otherwise).copied().collect();
            !is_possible(&both, effort)
        })
    })
}

/// The ways in which a condition comes to something; perhaps more than there are.
fn ways<'c>(condition: &'c Condition, want: Want, effort: &Effort) -> Vec<Vec<Literal<'c>>> {
    fn split<'c>(
        condition: &'c Condition,
        want: Want,
        place: &mut usize,
        effort: &Effort,
    ) -> Vec<Vec<Literal<'c>>> {
        let (parts, all) = match condition {
            Condition::Leaf(leaf) => {
                *place += 1;
                effort.spend(1);
                return vec![vec![Literal { leaf, place: *place - 1, want }]];
            }
            Condition::Not(part) => return split(part, want.under_not(), place, effort),
            Condition::All(parts) => (parts, true),
            Condition::Any(parts) => (parts, false),
        };
        let each = parts.iter().map(|part| split(part, want, place, effort)).collect::<Vec<_>>();
        // All of them must hold, or not all of them may fail.
        let together = all == matches!(want, Want::True | Want::NotFalse);
        if together {
            let begin = vec![Vec::new()];
            return each.into_iter().fold(begin, |ways, more| {
                let joined = ways.len() * more.len();
                let size = |ways: &[Vec<Literal<'_>>]| ways.iter().map(Vec::len).sum::<usize>();
                let comparisons = size(&ways) * more.len() + size(&more) * ways.len();
                let too_many = joined > MOST_WAYS || joined > 1 && comparisons > MOST_COMPARISONS;
                if too_many || !effort.spend(joined + comparisons) {
                    return ways;
                }
                let join = |way: &Vec<Literal<'c>>, more: &Vec<Literal<'c>>| {
                    way.iter().chain(more).copied().collect()
                };
                ways.iter().flat_map(|way| more.iter().map(move |m| join(way, m))).collect()
            });
        }
        let ways: Vec<Vec<Literal<'c>>> = each.into_iter().flatten().collect();
        let comparisons: usize = ways.iter().map(Vec::len).sum();
        let too_many = ways.len() > MOST_WAYS || comparisons > MOST_COMPARISONS;
        // One that anything meets.
        if too_many || !effort.spend(comparisons) { vec![Vec::new()] } else { ways }
    }
    split(condition, want, &mut 0, effort)
}

/// The first comparison that cannot hold with those before it, and why.
fn conflict(way: &[Literal<'_>], effort: &Effort) -> Option<Conflict> {
    let last = (0..way.len()).find(|end| !is_possible(&way[..=*end], effort))?;
    let other = way[last];
    let (name, said) = (other.leaf.field.name(), words(&other));
    let first = way[..last].iter().find(|first| !is_possible(&[**first, other], effort));
    let message = match first {
        _ if !is_possible(&[other], effort) => format!("`{name}` cannot be {said}"),
        Some(first) if first.leaf.field == other.leaf.field => {
            format!("`{name}` cannot be {} and {said}", words(first))
        }
        Some(first) => format!(
            "`{name}` cannot be {said} where `{}` is {}",
            first.leaf.field.name(),
            words(first)
        ),
        None if way[..last].iter().all(|first| first.leaf.field == other.leaf.field) => {
            format!("no `{name}` is all of that")
        }
        None => format!("`{name}` cannot be {said} with all that is said before"),
    };
    Some(Conflict { message, place: other.place })
}

/// Whether some evidence may meet all of it. Once the effort is used up the answer is always yes.
fn is_possible(way: &[Literal<'_>], effort: &Effort) -> bool {
    if effort.is_spent() {
        return true;
    }
    let mut known = Known(Field::ALL.iter().map(|field| Values::of(*field)).collect());
    let is_possible = known.narrow(way);
    // Counted afterwards: one way is small, as a rule has a bounded number of comparisons.
    effort.spend(known.steps());
    is_possible
}

/// The remaining values of every field.
struct Known(Vec<Values>);

/// A comparison that is compared with another takes as many steps as it has values, and one.
fn steps(leaf: &Leaf) -> usize {
    1 + leaf.bounds().len()
}

/// Steps of beginning with every value of every field.
const BEGINNING_STEPS: usize = 25;

const SCORES: [Field; 3] = [Field::AuthorityScore, Field::FaceScore, Field::IdCardFaceScore];

impl Known {
    fn of(&mut self, field: Field) -> &mut Values {
        &mut self.0[field as usize]
    }

    /// Narrows every field by all comparisons of a way. `false`: nothing is left.
    fn narrow(&mut self, way: &[Literal<'_>]) -> bool {
        for (at, literal) in way.iter().enumerate() {
            let field = literal.leaf.field;
            let of_field = way[..at].iter().filter(|earlier| earlier.leaf.field == field);
            let values = self.of(field);
            values.steps += at;
            for earlier in of_field {
                values.steps += steps(literal.leaf);
                if earlier.want == literal.want.contrary() && earlier.leaf == literal.leaf {
                    return false;
                }
            }
            if !values.narrow(literal) {
                return false;
            }
        }
        if !self.0.iter_mut().all(Values::settle) {
            return false;
        }
        // Twice: what follows may follow from what followed.
        self.follow_product() && self.follow() && self.follow()
    }

    /// Steps taken so far, and as many as it takes to begin.
    fn steps(&self) -> usize {
        BEGINNING_STEPS + self.0.iter().map(|values| values.steps).sum::<usize>()
    }

    /// Narrows the fields that answers of one product only have. `false`: no product is left, or
    /// nothing of a field.
    fn follow_product(&mut self) -> bool {
        let possible: Vec<Product> =
            Product::VARIANTS.iter().copied().filter(|product| self.can_be_of(*product)).collect();
        let [only] = possible.as_slice() else { return !possible.is_empty() };
        for field in Field::ALL.iter().filter(|field| !field.is_of(*only)) {
            let values = self.of(*field);
            if absent(*field) == Reading::Absent {
                (values.present, values.unknowable) = (false, false);
            }
            if !values.is_possible() {
                return false;
            }
        }
        if *only == Product::VerifyResult {
            self.of(Field::Status).absent = false;
        }
        let word = Bound::Text(only.as_str().to_owned());
        self.of(Field::Product).keep(&[word]);
        self.of(Field::Status).is_possible()
    }

    /// Whether answers of a product may still meet it all.
    fn can_be_of(&self, product: Product) -> bool {
        let word = Bound::Text(product.as_str().to_owned());
        let others = |field: &&Field| !field.is_of(product) && absent(**field) == Reading::Absent;
        self.0[Field::Product as usize].can_be(&word)
            && Field::ALL.iter().filter(others).all(|field| self.0[*field as usize].absent)
            && (product != Product::VerifyResult || self.0[Field::Status as usize].present)
    }

    /// Narrows the scores by what is known of the lowest of them and of how many there are, and
    /// the other way round. `false`: nothing is left.
    fn follow(&mut self) -> bool {
        let lowest = self.of(Field::LowestScore).clone();
        let (mut sure, mut most, mut low_enough) = (0_u8, 0_u8, false);
        for field in SCORES {
            let score = self.of(field);
            if !lowest.absent && !lowest.unknowable {
                score.unknowable = false;
                score.at_least(lowest.low, lowest.low_open);
                score.present = score.present && score.some_value();
            }
            if !lowest.present && !lowest.unknowable {
                (score.present, score.unknowable) = (false, false);
            }
            if !score.is_possible() {
                return false;
            }
            sure += u8::from(!score.absent);
            most += u8::from(score.present || score.unknowable);
            low_enough |= score.present && score.low <= lowest.high;
        }
        if !lowest.absent && !lowest.unknowable && !low_enough {
            return false;
        }
        let count = self.of(Field::ScoresPresent);
        count.at_least(sure.max(u8::from(!lowest.absent)).into(), false);
        count.at_most(most.into(), false);
        count.present = count.some_value();
        let (least, none) = (count.low, count.high < 1.0);
        if !count.present {
            return false;
        }
        for field in SCORES {
            let score = self.of(field);
            // All that can be there have to be.
            score.absent &= least < f64::from(most) || !(score.present || score.unknowable);
            if none {
                (score.present, score.unknowable) = (false, false);
            }
            if !score.is_possible() {
                return false;
            }
        }
        let lowest = self.of(Field::LowestScore);
        lowest.absent &= least < 1.0;
        if none {
            (lowest.present, lowest.unknowable) = (false, false);
        }
        lowest.is_possible()
    }
}

/// The remaining values of a field: it may be absent, malformed, or have one of these values.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "any of the three may be, and each end be open")]
struct Values {
    absent: bool,
    unknowable: bool,
    present: bool,
    low: f64,
    low_open: bool,
    high: f64,
    high_open: bool,
    whole: bool,
    /// If set, only these values.
    only: Option<Vec<Bound>>,
    not: Vec<Bound>,
    /// The words of a closed list.
    words: &'static [&'static str],
    /// Of a set: one of each of these is in it.
    any_of: Vec<Vec<Bound>>,
    /// Steps that narrowing took.
    steps: usize,
}

impl Values {
    fn of(field: Field) -> Self {
        // Only what evidence really keeps to: other ranges are what makes sense to write.
        let (low, high) = match field.kind() {
            Kind::Score => (0.0, 100.0),
            Kind::Quality => (0.0, 3.0),
            Kind::Flag | Kind::Fraction => (0.0, 1.0),
            Kind::Whole if field == Field::ScoresPresent => (0.0, 3.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        Self {
            absent: field.can_be_absent(),
            unknowable: field.can_be_unknowable(),
            present: true,
            low,
            low_open: false,
            high,
            high_open: false,
            whole: !matches!(field.kind(), Kind::Score | Kind::Fraction),
            only: None,
            not: Vec::new(),
            words: field.words(),
            any_of: Vec::new(),
            steps: 0,
        }
    }

    /// `false`: nothing is left for certain. Whether one of the values is left, [`Self::settle`]
    /// tells once all comparisons are known.
    fn narrow(&mut self, literal: &Literal<'_>) -> bool {
        self.steps += steps(literal.leaf);
        self.absent &= literal.accepts(Reading::Absent);
        self.unknowable &= literal.accepts(Reading::Unknowable);
        // A present value makes the comparison true or false, never unknown.
        let holds = literal.want.accepts(Truth::True);
        match &literal.leaf.test {
            Test::Exists(wanted) => self.present &= *wanted == holds,
            Test::Compare(operator, bound) if holds => self.compare(*operator, bound),
            Test::Compare(operator, bound) => self.compare(operator.contrary(), bound),
            Test::Member(wanted, bounds) if *wanted == holds => self.keep(bounds),
            Test::Contains(wanted, labels) if *wanted == holds => self.any_of.push(labels.clone()),
            Test::Member(_, bounds) | Test::Contains(_, bounds) => {
                self.not.extend(bounds.iter().cloned());
            }
        }
        self.is_possible()
    }

    /// Notes whether a value is left. `false`: nothing is.
    fn settle(&mut self) -> bool {
        let labels: usize = self.any_of.iter().map(Vec::len).sum();
        self.steps += (self.only.as_ref().map_or(1, Vec::len) + labels) * (1 + self.not.len());
        self.present = self.present && self.some_value();
        self.is_possible()
    }

    fn is_possible(&self) -> bool {
        self.absent || self.unknowable || self.present
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
            Some(only) => {
                self.steps += only.len() * bounds.len();
                only.iter().filter(|bound| bounds.contains(bound)).cloned().collect()
            }
        };
        self.only = Some(kept);
    }

    fn some_value(&self) -> bool {
        if !self.any_of.iter().all(|labels| labels.iter().any(|label| !self.not.contains(label))) {
            return false;
        }
        if let Some(only) = &self.only {
            return only.iter().any(|bound| self.allows(bound));
        }
        if !self.words.is_empty() {
            let word = |word: &&str| Bound::Text((*word).to_owned());
            return self.words.iter().any(|text| !self.not.contains(&word(text)));
        }
        if self.low > self.high || self.low == self.high && (self.low_open || self.high_open) {
            return false;
        }
        // One value, or a few whole ones: they may all be excluded.
        if self.low == self.high {
            return !self.not.iter().any(|bound| number(bound) == Some(self.low));
        }
        if self.whole && self.high - self.low < 64.0 {
            let within = |at: &f64| (self.low..=self.high).contains(at);
            let mut excluded: Vec<f64> =
                self.not.iter().filter_map(number).filter(within).collect();
            excluded.sort_by(f64::total_cmp);
            excluded.dedup();
            let excluded = u32::try_from(excluded.len()).unwrap_or(u32::MAX);
            return f64::from(excluded) < self.high - self.low + 1.0;
        }
        true
    }

    /// Whether this value, of a closed list, is left.
    fn can_be(&self, word: &Bound) -> bool {
        self.present
            && self.allows(word)
            && self.only.as_ref().is_none_or(|only| only.contains(word))
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

/// The place of a bound on the line of its field's values; texts have none.
fn number(bound: &Bound) -> Option<f64> {
    match bound {
        // Beyond that whole numbers would run together.
        #[expect(clippy::cast_precision_loss, reason = "not so small ones")]
        Bound::Whole(number) => (number.unsigned_abs() < 1 << 52).then_some(*number as f64),
        Bound::Score(score) => Some(*score),
        Bound::Quality(quality) => Some(f64::from(*quality as u8)),
        Bound::Flag(flag) => Some(f64::from(u8::from(*flag))),
        Bound::Text(_) => None,
    }
}

fn words(literal: &Literal<'_>) -> String {
    in_words(literal.leaf, literal.want.accepts(Truth::True))
}
