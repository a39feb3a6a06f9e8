//! A verification: one (`biz_type`, `biz_id`) and where it stands.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::answer::ErrorClass;
use super::callback::{BizId, BizType};
use super::decision::StoredDecision;
use super::ids::VerificationId;

/// Where a verification stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    ToSchema,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum State {
    /// Work is due, no usable answer yet.
    Pending,
    /// The provider said −1 or 0: asked again on a schedule.
    Unfinished,
    /// Decided; final only on status 1.
    Decided,
    /// Nobody finished before the deadline, or the provider's records are gone.
    Expired,
    /// Given up; an operator can refetch.
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
        self.into_str()
    }

    /// `None` for any other spelling.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Nothing more happens by itself: what a waiting caller waits for.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Unfinished)
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
    /// Why it was given up; only while it is `failed`.
    pub failure: Option<Failure>,
}

/// Why a verification was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason.
    pub reason: FailureReason,
    /// The provider's own code, of a closed alphabet.
    pub provider_code: Option<String>,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The provider did not answer, again and again.
    NoAnswer,
    /// Its answers could not be read.
    UnreadableAnswer,
    /// It refuses the question for good.
    RefusedByProvider,
    /// It fails for this verification alone.
    ProviderFails,
    /// It answered, and the decision could not be kept.
    DecisionNotKept,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NoAnswer,
        Self::UnreadableAnswer,
        Self::RefusedByProvider,
        Self::ProviderFails,
        Self::DecisionNotKept,
    ];

    /// By the class of the newest answer; `None`: it was none of an error.
    pub fn of_class(class: Option<ErrorClass>) -> Self {
        match class {
            None => Self::DecisionNotKept,
            Some(ErrorClass::Unreadable) => Self::UnreadableAnswer,
            Some(ErrorClass::BadRequest | ErrorClass::Gone) => Self::RefusedByProvider,
            Some(_) => Self::ProviderFails,
        }
    }

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::UnreadableAnswer => "unreadable-answer",
            Self::RefusedByProvider => "refused-by-provider",
            Self::ProviderFails => "provider-fails",
            Self::DecisionNotKept => "decision-not-kept",
        }
    }

    /// One sentence that says what to do.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAnswer => {
                "The provider did not answer several times in a row: refetch when it is well."
            }
            Self::UnreadableAnswer => {
                "The provider's answers could not be read several times in a row: see what stands \
                 between Verdict and the provider, then refetch."
            }
            Self::RefusedByProvider => {
                "The provider refuses this question for good: correct biz_type or biz_id in the \
                 app, or the scene at the provider, then refetch."
            }
            Self::ProviderFails => {
                "The provider failed several times in a row for this verification alone: refetch \
                 later, and ask the provider if it stays."
            }
            Self::DecisionNotKept => {
                "The provider answered, and the decision could not be stored: correct the policy, \
                 then refetch."
            }
        }
    }
}
