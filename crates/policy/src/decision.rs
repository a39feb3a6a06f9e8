//! Decisions and their reasons.

use serde::{Deserialize, Serialize};

/// The outcome of a decision, mildest first: where several rules match, the strictest wins.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// The person is who they claim to be.
    Approve,
    /// Nothing against the person: let them try again (a blurred card, say).
    Retry,
    /// A person must look.
    Review,
    /// Not accepted.
    Reject,
}

impl Outcome {
    /// Every outcome, mildest first.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Retry, Self::Review, Self::Reject];

    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// `None` for any other spelling.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A policy's decision about one piece of evidence. The same policy and evidence always give the
/// same decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The strictest outcome among the reasons.
    pub outcome: Outcome,
    /// Strictest first, then by code; never empty.
    pub reasons: Vec<Reason>,
}

impl Decision {
    /// The codes of its reasons, each once, strictest first.
    pub fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = Vec::new();
        for reason in &self.reasons {
            if !codes.contains(&reason.code) {
                codes.push(reason.code.clone());
            }
        }
        codes
    }
}

/// One rule that matched, or could not be judged because evidence is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable kebab-case code, what callers switch on.
    pub code: String,
    /// The rule's id; `None` where no rule matched at all.
    pub rule: Option<String>,
    /// The outcome of this reason alone.
    pub outcome: Outcome,
    /// The comparisons of the rule, in its order.
    pub observed: Vec<Observation>,
}

/// One comparison a rule made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Observation {
    /// The evidence field, as the policy spells it.
    pub field: String,
    /// What the evidence said; `None` where it said nothing.
    pub value: Option<Datum>,
    /// The comparison: `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in`, `not_in`, `contains_any`,
    /// `contains_none`, `exists`.
    pub operator: String,
    /// What it was compared with.
    pub bound: Datum,
}

/// A value in an observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", schema(no_recursion))]
pub enum Datum {
    /// A yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A score.
    Number(f64),
    /// A word of a closed list, or a `biz_type`.
    Text(String),
    /// The members of a set.
    List(Vec<Datum>),
}
