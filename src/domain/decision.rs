//! A decision as it is stored.

use policy::decision::Decision;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::ids::{DecisionId, ResultId};

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
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// One stored decision: never edited, only followed by another.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDecision {
    pub id: DecisionId,
    /// The result that it judged.
    pub result_id: ResultId,
    /// Digest of the policy that judged: `sha256:…`.
    pub policy: String,
    pub by: DecidedBy,
    pub decided_at: OffsetDateTime,
    /// The result came from a simulated provider: nobody was really verified.
    pub simulated: bool,
    pub decision: Decision,
}
