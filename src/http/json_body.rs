//! Request bodies as JSON objects: declared as JSON, parsed, every wrong member told at once.

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memchr2;
use serde_json::{Map, Value};

use super::api::Api;
use super::memory_budget::MemoryPermit;
use super::problem::Problem;
use super::read_body::{read, read_start};
use super::request_body::RequestBody;
use crate::domain::field_error::FieldError;

/// Most values of one body. `meta_info` of a start may have 16,384 characters, each of them a bracket
/// or a comma.
const MAX_VALUES: usize = 20_000;

/// A JSON object, declared as JSON.
pub(super) async fn object<T: RequestBody>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    must_be_json(headers)?;
    match parsed(&read(api, body).await?)? {
        Value::Object(members) => Ok(T::parse(&members)?),
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
    match parsed(&held)? {
        Value::Object(members) => Ok((members, held.into_permit())),
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
    let Value::Object(members) = parsed(&read(api, body).await?)? else {
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
    match parsed(&body)? {
        Value::Object(members) => Ok(T::parse(&members)?),
        Value::Null => Ok(T::parse(&Map::new())?),
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

/// Parses JSON. A tree takes up to a hundred times the memory of its text, so the values are counted
/// before: the memory permit covers the text alone.
fn parsed(json: &[u8]) -> Result<Value, Problem> {
    if brackets_and_commas(json) > MAX_VALUES {
        return Err(Problem::body_too_large().detail("At most 20,000 values are read"));
    }
    serde_json::from_slice(json).map_err(|_| Problem::malformed_json())
}

/// How many brackets and commas stand outside of strings: each value has one before it.
fn brackets_and_commas(json: &[u8]) -> usize {
    let (mut count, mut rest) = (0, json);
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => after_string(after),
            b'[' | b'{' | b',' => {
                count += 1;
                after
            }
            _ => after,
        };
    }
    count
}

/// The text behind the quote that ends a string.
fn after_string(mut rest: &[u8]) -> &[u8] {
    loop {
        let Some(at) = memchr2(b'"', b'\\', rest) else { return &[] };
        let is_end = rest[at] == b'"';
        // A backslash takes the byte behind it along.
        let behind = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return behind;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, count) in [
            (r"", 0),
            (r"7", 0),
            (r#"{"a":1}"#, 1),
            (r#"{"a":[1,2,{"b":[]}]}"#, 6),
            (r#"{"[,{":"[,{\"[,{\\","b":"\\\""}"#, 2),
            (r#"["\u005b[,\"#, 1),
            (r#"["[,["#, 1),
        ] {
            assert_eq!(brackets_and_commas(json.as_bytes()), count, "{json}");
        }
    }

    #[test]
    fn body_that_would_fill_the_memory_as_a_tree_is_refused_unparsed() {
        let maps = format!("[{}0]", r#"{"":{"":{"":0}}},"#.repeat(100_000));
        let body = format!(r#"{{"meta_info":{maps}}}"#);
        assert_eq!(parsed(body.as_bytes()).unwrap_err().code().as_str(), "body-too-large");
        // Nothing that a request may hold is refused.
        let most = format!(r#"{{"a":"b","meta_info":[{}]}}"#, vec!["0"; 16_384 / 2].join(","));
        assert!(parsed(most.as_bytes()).is_ok());
        let picture = format!(r#"{{"face_contrast_picture":"{}"}}"#, ",".repeat(1_548_576));
        assert!(parsed(picture.as_bytes()).is_ok());
    }
}
