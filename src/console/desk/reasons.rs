//! The configured reasons and purposes, in the person's language.

use crate::domain::case::{Purpose, Reason, Reasons};
use crate::domain::user::Language;

pub(super) fn of(reason: &Reason, language: Language) -> &str {
    match language {
        Language::En => &reason.en,
        Language::Zh => &reason.zh,
    }
}

pub(super) fn purpose(purpose: &Purpose, language: Language) -> &str {
    match language {
        Language::En => &purpose.en,
        Language::Zh => &purpose.zh,
    }
}

/// The name of a code; the code itself where the list does not have it any more.
pub(super) fn name<'a>(reasons: &'a Reasons, code: &'a str, language: Language) -> &'a str {
    reasons.find(code).map_or(code, |reason| of(reason, language))
}
