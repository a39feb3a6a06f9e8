//! A verification: one (`biz_type`, `biz_id`) and its state.

use policy::product::Product;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::answer::ErrorClass;
use super::callback::{BizId, BizType, CertifyId};
use super::decision::StoredDecision;
use super::ids::VerificationId;

/// The state of a verification.
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
    /// A fetch is due; there is no usable result yet.
    Pending,
    /// The provider answered −1 or 0: polled again on a schedule.
    Unfinished,
    /// Decided; final only on status 1.
    Decided,
    /// The person did not finish in time, or the provider has deleted its records.
    Expired,
    /// Dead letter; an operator can refetch.
    Failed,
    /// The person was erased.
    Erased,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Unfinished, Self::Decided, Self::Expired, Self::Failed, Self::Erased];

    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// `None` for any other spelling.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Nothing more happens by itself. Long polls wait for this.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Unfinished)
    }
}

/// One verification as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    pub id: VerificationId,
    pub product: Product,
    /// The provider's scene id.
    pub biz_type: BizType,
    /// The caller's id of the verification task at the provider.
    pub biz_id: BizId,
    /// Of face-verify, once known: the provider's id.
    pub certify_id: Option<CertifyId>,
    /// A start, and the verification that had its `CertifyId` before: that one is decided.
    pub answered_by: Option<VerificationId>,
    /// The caller's reference, from the first callback that had one.
    pub reference: Option<String>,
    /// The source that owns it, once known.
    pub source: Option<String>,
    pub state: State,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// How many times it was claimed for a fetch.
    pub attempts: i32,
    /// The current decision: the newest one.
    pub decision: Option<StoredDecision>,
    /// Only while it is `failed`.
    pub failure: Option<Failure>,
}

/// Why a verification became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// The provider's own code, of a closed alphabet.
    pub provider_code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The provider repeatedly did not answer.
    NoAnswer,
    /// Its results were unreadable.
    UnreadableAnswer,
    /// It refuses the request permanently.
    RefusedByProvider,
    /// It fails for this verification only.
    ProviderFails,
    /// It answered, and the database refused the decision.
    DecisionNotKept,
}

impl FailureReason {
    pub const ALL: [Self; 5] = [
        Self::NoAnswer,
        Self::UnreadableAnswer,
        Self::RefusedByProvider,
        Self::ProviderFails,
        Self::DecisionNotKept,
    ];

    /// By the class of the newest result; `None` if that was no error.
    pub fn of_class(class: Option<ErrorClass>) -> Self {
        match class {
            None => Self::DecisionNotKept,
            Some(ErrorClass::Unreadable) => Self::UnreadableAnswer,
            Some(ErrorClass::BadRequest | ErrorClass::Gone) => Self::RefusedByProvider,
            Some(_) => Self::ProviderFails,
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::UnreadableAnswer => "unreadable-answer",
            Self::RefusedByProvider => "refused-by-provider",
            Self::ProviderFails => "provider-fails",
            Self::DecisionNotKept => "decision-not-kept",
        }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAnswer => {
                "The provider did not answer several times in a row: refetch when it answers again."
            }
            Self::UnreadableAnswer => {
                "The provider's answers could not be read several times in a row: check what is \
                 between Verdict and the provider, then refetch."
            }
            Self::RefusedByProvider => {
                "The provider refuses this request permanently: correct biz_type or biz_id in the \
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
