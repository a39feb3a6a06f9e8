//! Actor, subject and purpose of an access: read from the request, stored in the audit log.

use http::HeaderMap;

use super::api::Api;
use super::api_key_auth::Caller;
use super::problem::Problem;
use crate::domain::purpose;
use crate::store::audit::AuditContext;

const VERDICT_PURPOSE: &str = "verdict-purpose";

/// For access to personal data: the caller must name a purpose.
pub(super) fn require_purpose(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<AuditContext, Problem> {
    let context = optional_purpose(api, caller, headers)?;
    if context.purpose.is_none() {
        return Err(Problem::purpose_missing());
    }
    Ok(context)
}

/// For changes: a purpose is recorded if the caller names one.
pub(super) fn optional_purpose(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<AuditContext, Problem> {
    Ok(AuditContext { actor: caller.actor(), purpose: purpose(headers)?, at: api.clock.now() })
}

fn purpose(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let invalid = |detail: &'static str| Problem::invalid_field().field("Verdict-Purpose", detail);
    let Some(value) = headers.get(VERDICT_PURPOSE) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| invalid("must be in UTF-8"))?;
    let purpose = purpose::parse(text).map_err(invalid)?;
    Ok(Some(purpose.to_owned()).filter(|purpose| !purpose.is_empty()))
}
