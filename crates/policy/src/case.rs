//! The cases that a check tries: each product with each code that could make a difference.

use std::collections::BTreeSet;

use crate::absence::absent;
use crate::condition::Bound;
use crate::field::{Field, Reading, Value};
use crate::product::{
    FACE_VERIFY_CODES, Family, Product, ProviderOutcome, outcome_of_face_verify, outcome_of_status,
};
use crate::rule::Rule;

/// The status of those who passed.
const PASSED: i64 = 1;
/// The last documented status; the provider's document calls all above 1 failures.
pub const LAST_DOCUMENTED: i64 = 12;

/// Answers of one product with one code, of which nothing else is known. Small: a policy may mention
/// very many codes.
pub enum Case {
    /// Of `verify-result`.
    Status(i32),
    /// Of `face-verify`.
    Code { passed: Option<bool>, code: String, is_documented: bool },
}

impl Case {
    pub const fn product(&self) -> Product {
        match self {
            Self::Status(_) => Product::VerifyResult,
            Self::Code { .. } => Product::FaceVerify,
        }
    }

    /// Whether the provider documents it.
    pub fn is_documented(&self) -> bool {
        match self {
            Self::Status(status) => (PASSED..=LAST_DOCUMENTED).contains(&i64::from(*status)),
            Self::Code { is_documented, .. } => *is_documented,
        }
    }

    /// The status or code.
    pub fn code(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Code { code, .. } => code.clone(),
        }
    }

    pub fn family(&self) -> Family {
        match self {
            Self::Status(status) => Family::of_status(*status),
            Self::Code { code, .. } => Family::of_code(code),
        }
    }

    pub fn has_passed(&self) -> bool {
        self.outcome() == Some(ProviderOutcome::Passed)
    }

    fn outcome(&self) -> Option<ProviderOutcome> {
        match self {
            Self::Status(status) => outcome_of_status(*status),
            Self::Code { passed, code, .. } => outcome_of_face_verify(*passed, Some(code)),
        }
    }

    /// A field in such answers: what the provider says, or that the product has no such field. All
    /// else is unknowable.
    pub fn read(&self, field: Field) -> Reading<'_> {
        match (field, self) {
            (Field::Product, _) => Reading::Value(Value::Text(self.product().as_str())),
            (Field::ProviderOutcome, _) => match self.outcome() {
                Some(outcome) => Reading::Value(Value::Text(outcome.as_str())),
                None => Reading::Absent,
            },
            (Field::Family, _) => Reading::Value(Value::Text(self.family().as_str())),
            (Field::Code, Self::Status(status)) => Reading::Value(Value::Code(*status)),
            (Field::Code, Self::Code { code, .. }) => Reading::Value(Value::Text(code)),
            (Field::Status, Self::Status(status)) => {
                Reading::Value(Value::Whole(i64::from(*status)))
            }
            _ if !field.is_of(self.product()) => absent(field),
            _ => Reading::Unknowable,
        }
    }
}

/// Every case that could make a difference to these rules, documented ones first. Answers of
/// `face-verify` only where a rule takes notice of the products: else none of them decides.
pub fn cases<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Vec<Case> {
    let (mut numbers, mut codes, mut knows_products) = (BTreeSet::new(), BTreeSet::new(), false);
    for leaf in rules.into_iter().flat_map(|rule| rule.when.leaves()) {
        knows_products |= leaf.field.knows_products();
        for bound in leaf.bounds() {
            match (leaf.field, bound) {
                (Field::Status, Bound::Whole(status)) => {
                    numbers.insert(*status);
                }
                (Field::Code, Bound::Text(code)) => {
                    numbers.extend(code.parse::<i64>());
                    codes.insert(code.as_str());
                }
                _ => {}
            }
        }
    }
    let of_statuses = statuses(&numbers).into_iter().filter_map(|status| status.try_into().ok());
    let of_statuses = of_statuses.map(Case::Status);
    let of_codes = if knows_products { of_codes(&codes) } else { Vec::new() };
    of_statuses.chain(of_codes).collect()
}

/// Statuses are only ever compared with constants, so each constant and its neighbours are all that
/// there is to try.
fn statuses(mentioned: &BTreeSet<i64>) -> Vec<i64> {
    let mut tried = BTreeSet::from([-1, 0, LAST_DOCUMENTED + 1]);
    for status in mentioned {
        tried.extend([status.saturating_sub(1), *status, status.saturating_add(1)]);
    }
    let wire = i64::from(i32::MIN)..=i64::from(i32::MAX);
    tried.extend([*wire.start(), *wire.end()]);
    let documented = PASSED..=LAST_DOCUMENTED;
    let others = tried.into_iter().filter(|s| wire.contains(s) && !documented.contains(s));
    documented.clone().chain(others).collect()
}

/// Codes are only compared for equality, so one that no rule mentions stands for all such. An answer
/// that contradicts itself is no case: no policy approves it.
fn of_codes(mentioned: &BTreeSet<&str>) -> Vec<Case> {
    let case = |passed: Option<bool>, code: &str, is_documented: bool| Case::Code {
        passed,
        code: code.to_owned(),
        is_documented,
    };
    let documented = FACE_VERIFY_CODES.iter().map(|(code, family)| {
        let passed = match family {
            Family::Pass => Some(true),
            Family::Refused => None,
            _ => Some(false),
        };
        case(passed, code, true)
    });
    let is_unknown = |code: &str| Family::of_code(code) == Family::Unknown;
    let mut unmentioned = (208..).map(|code: u32| code.to_string());
    let unmentioned =
        unmentioned.find(|code| is_unknown(code) && !mentioned.contains(code.as_str()));
    let unmentioned = unmentioned.map(|code| case(Some(false), &code, false));
    // Also a refusal's code as the code of an answer, which nobody has seen.
    let others = mentioned.iter().filter(|code| is_unknown(code)).copied();
    let refused = FACE_VERIFY_CODES.iter().filter(|(_, family)| *family == Family::Refused);
    let others = others.chain(refused.map(|(code, _)| *code));
    let others = others.map(|code| case(Some(false), code, false));
    documented.chain(unmentioned).chain(others).collect()
}
