//! Results of the provider, without personal data.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::ids::ResultId;
use policy::evidence::Evidence;

pub use cloudauth::wire::shown_code;

/// The meaning of a provider's error. Classes, not strings, decide what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// Too many calls: wait as long as the provider says, then retry.
    Throttled,
    /// A transient fault of the provider or the network: retry with backoff.
    Transient,
    /// Clock or nonce refused: retry once with fresh ones.
    Clock,
    /// Credentials, permission or account refused: stop calling for the account, keep the work.
    Credentials,
    /// The provider will never answer this request: dead letter.
    BadRequest,
    /// The provider has deleted its records (it keeps them for 180 days).
    Gone,
    /// Unreadable: the body is stored; retry a few times, then dead letter.
    Unreadable,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Throttled,
        Self::Transient,
        Self::Clock,
        Self::Credentials,
        Self::BadRequest,
        Self::Gone,
        Self::Unreadable,
    ];

    /// The stable spelling used in the API, the database and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Clock => "clock",
            Self::Credentials => "credentials",
            Self::BadRequest => "bad-request",
            Self::Gone => "gone",
            Self::Unreadable => "unreadable",
        }
    }

    /// The class with this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer that carries no verification status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerError {
    /// The meaning of the error for the verification and the account.
    pub class: ErrorClass,
    /// The provider's own code; `#` for the digits of one that looks like none. Never its message,
    /// which may echo every parameter of the request.
    pub code: Option<String>,
}

/// One stored answer of the provider, without the sealed body.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResult {
    pub id: ResultId,
    /// The number of the claim that fetched it, from 1.
    pub attempt: i32,
    pub fetched_at: OffsetDateTime,
    pub request_id: Option<String>,
    pub http_status: u16,
    /// `None` for errors.
    pub evidence: Option<Evidence>,
    pub error: Option<AnswerError>,
    /// A simulated provider answered: nobody was really verified.
    pub simulated: bool,
    /// The person was erased: of the evidence only status, scene and attempts are left.
    pub coarsened: bool,
}
