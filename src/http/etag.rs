//! Entity tags and conditional requests (RFC 9110, 13). A tag is a digest of the body, so it changes
//! exactly when the body does.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// 128 bits.
const TAG_BYTES: usize = 16;

/// The view as JSON, or 304 if the caller has it already.
pub fn respond(asked: &HeaderMap, view: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(view).map_err(|_| Problem::internal())?;
    let tag = tag(&body);
    let value = HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?;
    let mut response = if matches(asked, IF_NONE_MATCH, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, value);
    // Overrides the usual `no-store`: the caller may cache it and must revalidate it each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// The tag that [`respond`] would send.
pub fn of(view: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_vec(view).map(|body| tag(&body)).map_err(|_| Problem::internal())
}

fn tag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(body)[..TAG_BYTES]))
}

/// Whether a header that lists tags, in one line or several, has this one or `*`.
pub fn matches(asked: &HeaderMap, header: HeaderName, tag: &str) -> bool {
    asked
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
