//! Bodies of requests: bounded in size and in time, and read after the caller is known, so that a
//! stranger who trickles one holds nothing but a connection.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::Api;
use super::problem::Problem;

/// Largest body. The documented callback has under 1 KiB, the default policy ten; more is a
/// mistake or an attack.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// All of it.
pub async fn read(api: &Api, body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(api.body_timeout, whole).await {
        Err(_) => Err(Problem::request_timeout()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::body_too_large().detail("At most 64 KiB are read"))
        }
        // The client cut the connection, or its framing is broken; there may be nobody to tell.
        Ok(Err(_)) => Err(Problem::malformed_json()),
    }
}

/// A JSON object, said to be one.
pub async fn object(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<Map<String, Value>, Problem> {
    must_be_json(headers)?;
    match serde_json::from_slice(&read(api, body).await?) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Problem::malformed_json()),
    }
}

/// The same, or nothing at all (no body, or `null`), which is an object without members.
pub async fn object_or_nothing(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<Map<String, Value>, Problem> {
    let body = read(api, body).await?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    must_be_json(headers)?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
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
