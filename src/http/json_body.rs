//! Request bodies as JSON objects: declared as JSON, parsed, every wrong member told at once.

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

use super::api::Api;
use super::memory_budget::MemoryPermit;
use super::problem::Problem;
use super::read_body::{read, read_start};
use super::request_body::RequestBody;
use crate::domain::field_error::FieldError;

/// A JSON object, declared as JSON.
pub(super) async fn object<T: RequestBody>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    must_be_json(headers)?;
    match serde_json::from_slice(&read(api, body).await?) {
        Ok(Value::Object(members)) => Ok(T::parse(&members)?),
        _ => Err(Problem::malformed_json()),
    }
}

/// The members of a JSON object of up to 2 MiB, and the memory permit that covers them.
pub(super) async fn start_object(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Map<String, Value>, Option<MemoryPermit>), Problem> {
    must_be_json(headers)?;
    let held = read_start(api, body).await?;
    match serde_json::from_slice(&held) {
        Ok(Value::Object(members)) => Ok((members, held.into_permit())),
        _ => Err(Problem::malformed_json()),
    }
}

/// The same, where more is wrong than the members alone can tell, such as by the configuration.
pub(super) async fn object_checked<T: RequestBody>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    check: impl Fn(&Map<String, Value>) -> Option<FieldError>,
) -> Result<T, Problem> {
    must_be_json(headers)?;
    let Ok(Value::Object(members)) = serde_json::from_slice(&read(api, body).await?) else {
        return Err(Problem::malformed_json());
    };
    match (T::parse(&members), check(&members)) {
        (Ok(parsed), None) => Ok(parsed),
        (Ok(_), Some(error)) => Err(vec![error].into()),
        (Err(mut errors), Some(error)) if errors.iter().all(|e| e.pointer != error.pointer) => {
            errors.insert(0, error);
            Err(errors.into())
        }
        (Err(errors), _) => Err(errors.into()),
    }
}

/// The same, or no body or `null`, which is an object without members.
pub(super) async fn object_or_nothing<T: RequestBody>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let body = read(api, body).await?;
    if body.is_empty() {
        return Ok(T::parse(&Map::new())?);
    }
    must_be_json(headers)?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(T::parse(&members)?),
        Ok(Value::Null) => Ok(T::parse(&Map::new())?),
        _ => Err(Problem::malformed_json()),
    }
}

/// `application/json` without an encoding.
pub fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded || !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::unsupported_media_type());
    }
    Ok(())
}
