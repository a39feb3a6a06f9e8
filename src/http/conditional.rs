//! Answers that can be asked for conditionally (RFC 9110, 13): a digest of what would be sent is
//! its tag, so it changes when and only when the answer does.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// Bytes of the digest that make a tag: 128 bits.
const TAG_BYTES: usize = 16;

/// The answer, or 304 to who has it already.
pub fn answer(asked: &HeaderMap, view: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(view).map_err(|_| Problem::internal())?;
    let tag = tag(&body);
    let value = HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?;
    let mut response = if names(asked, IF_NONE_MATCH, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, value);
    // May be kept by who asked, and must be asked about again each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// The tag of what [`answer`] would send.
pub fn tag_of(view: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_vec(view).map(|body| tag(&body)).map_err(|_| Problem::internal())
}

fn tag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(body)[..TAG_BYTES]))
}

/// Whether a header that lists tags, in one line or several, names this one, or any (`*`).
pub fn names(asked: &HeaderMap, header: HeaderName, tag: &str) -> bool {
    asked
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
