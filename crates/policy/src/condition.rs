//! Conditions, compiled: comparisons over evidence, joined in three-valued (Kleene) logic.

use std::cmp::Ordering;

use crate::decision::{Datum, Observation};
use crate::evidence::FaceQuality;
use crate::field::{Field, Reading, Value};

/// The value of a condition. Unknown is not false: it means that evidence is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Cannot be evaluated.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl Truth {
    /// False if any is false; else unknown if any is unknown; else true.
    pub fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        !Self::any(truths.into_iter().map(|truth| !truth))
    }

    /// True if any is true; else unknown if any is unknown; else false.
    pub fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::False;
        for truth in truths {
            match truth {
                Self::True => return Self::True,
                Self::Unknown => sum = Self::Unknown,
                Self::False => {}
            }
        }
        sum
    }
}

/// The truths that a condition can come to where only some fields are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    pub holds: bool,
    pub fails: bool,
}

impl Chance {
    /// Neither: the comparison is not about such answers.
    pub const NONE: Self = Self { holds: false, fails: false };

    fn any(chances: impl IntoIterator<Item = Self>) -> Self {
        chances.into_iter().fold(Self { holds: false, fails: true }, |sum, chance| Self {
            holds: sum.holds || chance.holds,
            fails: sum.fails && chance.fails,
        })
    }
}

/// Unknown may be either.
impl From<Truth> for Chance {
    fn from(truth: Truth) -> Self {
        Self { holds: truth != Truth::False, fails: truth != Truth::True }
    }
}

impl std::ops::Not for Chance {
    type Output = Self;

    fn not(self) -> Self {
        Self { holds: self.fails, fails: self.holds }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl Operator {
    /// Holds exactly where this one does not.
    #[must_use]
    pub const fn contrary(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

/// The bound of a comparison; of the same kind as its field.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// For flags.
    Flag(bool),
    /// For whole numbers.
    Whole(i64),
    /// For scores of either scale; finite.
    Score(f64),
    /// For face qualities.
    Quality(FaceQuality),
    /// For texts, words, and labels of a set.
    Text(String),
}

impl Bound {
    /// `None` for a value of another kind, which the loader lets nobody write.
    fn order(&self, value: Value<'_>) -> Option<Ordering> {
        match (value, self) {
            (Value::Flag(value), Self::Flag(bound)) => Some(value.cmp(bound)),
            (Value::Whole(value), Self::Whole(bound)) => Some(value.cmp(bound)),
            (Value::Score(value), Self::Score(bound)) => value.partial_cmp(bound),
            (Value::Quality(value), Self::Quality(bound)) => Some(value.cmp(bound)),
            (Value::Text(value), Self::Text(bound)) => Some(value.cmp(bound.as_str())),
            (Value::Code(code), Self::Text(bound)) => Some(code.to_string().cmp(bound)),
            _ => None,
        }
    }

    fn is_in(&self, labels: &[String]) -> bool {
        matches!(self, Self::Text(text) if labels.contains(text))
    }

    fn datum(&self) -> Datum {
        match self {
            Self::Flag(flag) => Datum::Flag(*flag),
            Self::Whole(number) => Datum::Whole(*number),
            Self::Score(score) => Datum::Number(*score),
            Self::Quality(quality) => Datum::Text(quality.as_str().to_owned()),
            Self::Text(text) => Datum::Text(text.clone()),
        }
    }
}

/// Every operator, as policies spell it.
pub(crate) const OPERATORS: [&str; 11] =
    ["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "contains_any", "contains_none", "exists"];

/// The test of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// How it compares.
    Compare(Operator, Bound),
    /// Whether it is one of these (`true`) or none of them (`false`).
    Member(bool, Vec<Bound>),
    /// Whether it, a set, contains one of these (`true`) or none of them (`false`).
    Contains(bool, Vec<Bound>),
    /// Whether it is there (`true`) or lacking (`false`).
    Exists(bool),
}

impl Test {
    fn judge(&self, value: Value<'_>) -> Truth {
        match self {
            Self::Exists(wanted) => (*wanted).into(),
            Self::Compare(operator, bound) => {
                bound.order(value).map_or(Truth::Unknown, |order| operator.holds(order).into())
            }
            Self::Member(wanted, bounds) => {
                let found = bounds.iter().any(|b| b.order(value).is_some_and(Ordering::is_eq));
                (found == *wanted).into()
            }
            Self::Contains(wanted, bounds) => match value {
                Value::Labels(labels) => {
                    (bounds.iter().any(|label| label.is_in(labels)) == *wanted).into()
                }
                _ => Truth::Unknown,
            },
        }
    }

    pub(crate) fn operator(&self) -> &'static str {
        match self {
            Self::Compare(operator, _) => operator.into_str(),
            Self::Member(true, _) => "in",
            Self::Member(false, _) => "not_in",
            Self::Contains(true, _) => "contains_any",
            Self::Contains(false, _) => "contains_none",
            Self::Exists(_) => "exists",
        }
    }

    pub(crate) fn bound(&self) -> Datum {
        match self {
            Self::Compare(_, bound) => bound.datum(),
            Self::Member(_, bounds) | Self::Contains(_, bounds) => {
                Datum::List(bounds.iter().map(Bound::datum).collect())
            }
            Self::Exists(wanted) => Datum::Flag(*wanted),
        }
    }
}

/// One comparison of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub field: Field,
    pub test: Test,
    /// The value for an absent field; `None`: unknown.
    pub missing: Option<bool>,
}

impl Leaf {
    /// The value for a reading of its field.
    pub fn judge(&self, reading: Reading<'_>) -> Truth {
        match (reading, &self.test) {
            (Reading::Unknowable, _) => Truth::Unknown,
            (Reading::Absent, Test::Exists(wanted)) => (!wanted).into(),
            (Reading::Absent, _) => self.missing.map_or(Truth::Unknown, Truth::from),
            (Reading::Value(value), test) => test.judge(value),
        }
    }

    /// The values that its field is compared with.
    pub fn bounds(&self) -> &[Bound] {
        match &self.test {
            Test::Compare(_, bound) => std::slice::from_ref(bound),
            Test::Member(_, bounds) | Test::Contains(_, bounds) => bounds,
            Test::Exists(_) => &[],
        }
    }

    /// What it can come to where [`Reading::Unknowable`] means a field of which nothing is known. A
    /// field that is known to be absent makes it neither true nor false.
    pub fn chance(&self, reading: Reading<'_>) -> Chance {
        match self.judge(reading) {
            Truth::Unknown if reading != Reading::Unknowable => Chance::NONE,
            truth => truth.into(),
        }
    }

    fn observe(&self, reading: Reading<'_>) -> Observation {
        let value = match reading {
            Reading::Absent | Reading::Unknowable => None,
            Reading::Value(value) => Some(value.into()),
        };
        Observation {
            field: self.field.name().to_owned(),
            value,
            operator: self.test.operator().to_owned(),
            bound: self.test.bound(),
        }
    }
}

/// When a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// One comparison.
    Leaf(Leaf),
    /// Every one of these.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// The contrary.
    Not(Box<Condition>),
}

impl Condition {
    /// The value with the fields that `read` returns.
    pub fn judge<'a>(&self, read: &impl Fn(Field) -> Reading<'a>) -> Truth {
        match self {
            Self::Leaf(leaf) => leaf.judge(read(leaf.field)),
            Self::All(parts) => Truth::all(parts.iter().map(|part| part.judge(read))),
            Self::Any(parts) => Truth::any(parts.iter().map(|part| part.judge(read))),
            Self::Not(part) => !part.judge(read),
        }
    }

    /// What it can come to, by what each comparison can come to.
    pub fn chance(&self, of: &impl Fn(&Leaf) -> Chance) -> Chance {
        match self {
            Self::Leaf(leaf) => of(leaf),
            Self::All(parts) => !Chance::any(parts.iter().map(|part| !part.chance(of))),
            Self::Any(parts) => Chance::any(parts.iter().map(|part| part.chance(of))),
            Self::Not(part) => !part.chance(of),
        }
    }

    /// The comparisons because of which it came to `truth`, in the order of the rule.
    pub fn witnesses<'a>(
        &self,
        truth: Truth,
        read: &impl Fn(Field) -> Reading<'a>,
        found: &mut Vec<Observation>,
    ) {
        match self {
            Self::Leaf(leaf) => found.push(leaf.observe(read(leaf.field))),
            // In all of them and in any of them alike, the parts of the same truth are to blame.
            Self::All(parts) | Self::Any(parts) => {
                for part in parts.iter().filter(|part| part.judge(read) == truth) {
                    part.witnesses(truth, read, found);
                }
            }
            Self::Not(part) => part.witnesses(!truth, read, found),
        }
    }

    /// Most steps that judging it once takes: one for each comparison, and one for each value that
    /// a field is compared with.
    pub fn steps(&self) -> usize {
        self.leaves().into_iter().map(|leaf| 1 + leaf.bounds().len()).sum()
    }

    /// How deep it nests, from 1.
    pub fn depth(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::All(parts) | Self::Any(parts) => {
                1 + parts.iter().map(Self::depth).max().unwrap_or(0)
            }
            Self::Not(part) => 1 + part.depth(),
        }
    }

    /// Every comparison in it.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Self::Leaf(leaf) => vec![leaf],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::leaves).collect(),
            Self::Not(part) => part.leaves(),
        }
    }
}
