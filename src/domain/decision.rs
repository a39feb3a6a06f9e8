//! A decision as it is stored.

use policy::decision::Decision;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::ids::{DecisionId, ResultId};

/// Who decided.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum DecidedBy {
    /// The active policy.
    Policy,
    /// A person, in a review.
    Person,
}

impl DecidedBy {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// One decision as it is kept: never edited, only followed by another.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDecision {
    pub id: DecisionId,
    /// The answer it judged.
    pub result_id: ResultId,
    /// Digest of the policy that judged: `sha256:…`.
    pub policy: String,
    pub by: DecidedBy,
    pub decided_at: OffsetDateTime,
    /// It judges the answer of a simulated provider: nobody was really verified.
    pub simulated: bool,
    /// Outcome and reasons.
    pub decision: Decision,
}
