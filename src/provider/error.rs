//! Refusals of the provider in Verdict's words, the same for all products.

use cloudauth::wire;

use crate::domain::answer::{AnswerError, ErrorClass};

/// A refusal of the provider in Verdict's words.
pub fn answer_error(error: &wire::AnswerError) -> AnswerError {
    AnswerError { class: error.class.into(), code: error.code.clone() }
}

impl From<wire::ErrorClass> for ErrorClass {
    fn from(class: wire::ErrorClass) -> Self {
        match class {
            wire::ErrorClass::Throttled => Self::Throttled,
            wire::ErrorClass::Transient => Self::Transient,
            wire::ErrorClass::Clock => Self::Clock,
            wire::ErrorClass::Credentials => Self::Credentials,
            wire::ErrorClass::BadRequest => Self::BadRequest,
            wire::ErrorClass::Gone => Self::Gone,
            wire::ErrorClass::Unreadable => Self::Unreadable,
        }
    }
}
