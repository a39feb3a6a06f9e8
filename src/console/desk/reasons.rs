//! The configured reasons, in the person's language.

use crate::domain::case::{Reason, Reasons};
use crate::domain::user::Language;

pub(super) fn of(reason: &Reason, language: Language) -> &str {
    match language {
        Language::En => &reason.en,
        Language::Zh => &reason.zh,
    }
}

/// The name of a code; the code itself where the list does not have it any more.
pub(super) fn name<'a>(reasons: &'a Reasons, code: &'a str, language: Language) -> &'a str {
    reasons.find(code).map_or(code, |reason| of(reason, language))
}
