//! The purpose that a person types into a form: for the audit, and kept indefinitely.

use super::refused::Refused;
use crate::domain::purpose;
use crate::http::problem::Problem;

/// As it is recorded.
pub(super) fn required(text: &str) -> Result<&str, Refused> {
    let purpose = checked(text)?;
    if purpose.is_empty() {
        return Err(Problem::purpose_missing().into());
    }
    Ok(purpose)
}

/// `None`: nothing was typed.
pub(super) fn optional(text: &str) -> Result<Option<&str>, Refused> {
    let purpose = checked(text)?;
    Ok((!purpose.is_empty()).then_some(purpose))
}

fn checked(text: &str) -> Result<&str, Refused> {
    purpose::parse(text).map_err(|detail| Refused::from(Problem::invalid_field()).detail(detail))
}
