//! What the provider answered, as far as it may be told to anyone: no personal data.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::ids::ResultId;
use policy::evidence::Evidence;

pub use cloudauth::wire::shown_code;

/// What an error of the provider means for us. Classes, not strings, decide what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// Too many calls: wait as told, then ask again.
    Throttled,
    /// A passing fault of the provider or the network: ask again, later and later.
    Transient,
    /// Clock or nonce refused: once more with fresh ones.
    Clock,
    /// Credentials, permission or account refused: stop calling for the account, keep the work.
    Credentials,
    /// This question will never be answered: dead letter.
    BadRequest,
    /// The provider has deleted its records (kept 180 days): nobody can know any more.
    Gone,
    /// An answer we cannot read: the body is kept; ask again a few times, then dead letter.
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

    /// The class so spelt.
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
    /// What it means.
    pub class: ErrorClass,
    /// The provider's own code; `#` for the digits of one that looks like none. Never its message,
    /// which may echo every parameter of the request.
    pub code: Option<String>,
}

/// One stored answer of the provider, without the sealed body.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResult {
    /// Its id.
    pub id: ResultId,
    /// Which claim of the verification asked for it, from 1.
    pub attempt: i32,
    /// When the answer had come.
    pub fetched_at: OffsetDateTime,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// HTTP status of the answer.
    pub http_status: u16,
    /// What we understood; `None` for errors.
    pub evidence: Option<Evidence>,
    /// Why there is no evidence.
    pub error: Option<AnswerError>,
    /// A simulated provider answered: nobody was really verified.
    pub simulated: bool,
    /// The person was erased: of the evidence only status, scene and attempts are left.
    pub coarsened: bool,
}
