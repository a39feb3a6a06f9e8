//! A verification: one (`biz_type`, `biz_id`) and where it stands.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::callback::{BizId, BizType};
use super::decision::StoredDecision;
use super::ids::VerificationId;

/// Where a verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Work is due, no usable answer yet.
    Pending,
    /// The provider said −1 or 0: asked again on a schedule.
    Unfinished,
    /// Decided; final only on status 1.
    Decided,
    /// Nobody finished before the deadline, or the provider's records are gone.
    Expired,
    /// Given up; an operator can redrive.
    Failed,
    /// The person was forgotten.
    Erased,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Unfinished, Self::Decided, Self::Expired, Self::Failed, Self::Erased];

    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Unfinished => "unfinished",
            Self::Decided => "decided",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Erased => "erased",
        }
    }

    /// The state so spelt.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing more happens by itself: what a waiting caller waits for.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Unfinished)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One verification as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// Its id.
    pub id: VerificationId,
    /// The provider's scene id.
    pub biz_type: BizType,
    /// The caller's id of the verification task at the provider.
    pub biz_id: BizId,
    /// The caller's own reference, from the first callback that carried one.
    pub reference: Option<String>,
    /// The source of callbacks that it belongs to, once that is known.
    pub source: Option<String>,
    /// Where it stands.
    pub state: State,
    /// When the first callback came.
    pub created_at: OffsetDateTime,
    /// When anything last changed.
    pub updated_at: OffsetDateTime,
    /// How many times it was taken up to ask the provider.
    pub attempts: i32,
    /// The standing decision: the newest one.
    pub decision: Option<StoredDecision>,
}
