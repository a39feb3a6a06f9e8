//! Error responses of an operation: a list of codes beside its handler. The error responses in the
//! description are generated from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::openapi::{Ref, RefOr, Response};

use crate::http::problem::{Code, Problem};

/// Every operation with an API key refuses these.
pub(in crate::http) const API_KEY: &[Code] = &[
    Code::ApiKeyMissing,
    Code::ApiKeyInvalid,
    Code::ScopeMissing,
    Code::RateLimited,
    Code::Internal,
    Code::Unavailable,
];

/// Every operation that reads a body of any media type refuses these.
pub(in crate::http) const BODY: &[Code] =
    &[Code::MalformedJson, Code::RequestTimeout, Code::BodyTooLarge, Code::InvalidField];

/// Every operation that reads a JSON body refuses these.
pub(in crate::http) const JSON_BODY: &[Code] = &[
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::InvalidField,
];

/// Every operation that requires a purpose refuses these.
pub(in crate::http) const REQUIRED_PURPOSE: &[Code] = &[Code::PurposeMissing, Code::InvalidField];

/// Every operation with query parameters refuses these.
pub(in crate::http) const QUERY: &[Code] = &[Code::PlusInQuery, Code::InvalidField];

/// Declares what an operation refuses, for the `responses` of its description:
/// `refusals!(ListRefusals = [NotFound] + QUERY + API_KEY);`
macro_rules! refusals {
    ($name:ident = [$($code:ident),* $(,)?] $(+ $list:ident)*) => {
        pub(in crate::http) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::http::openapi::refusals::responses(&[
                    &[$($crate::http::problem::Code::$code),*],
                    $($crate::http::openapi::refusals::$list),*
                ])
            }
        }
    };
}
pub(in crate::http) use refusals;

/// One response for each status, described in the components.
pub(in crate::http) fn responses(lists: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<String, BTreeSet<Code>>::new();
    for code in lists.concat() {
        by_status.entry(code.status().as_str().to_owned()).or_default().insert(code);
    }
    let reference = |(status, codes): (String, BTreeSet<Code>)| {
        let texts: Vec<&str> = codes.into_iter().map(Code::as_str).collect();
        let name = format!("{status}-{}", texts.join(SEPARATOR));
        (status, RefOr::Ref(Ref::from_response_name(name)))
    };
    by_status.into_iter().map(reference).collect()
}

/// Between the codes in the name of a component.
const SEPARATOR: &str = "-or-";

/// The components that the responses of these paths refer to.
pub(super) fn components(paths: &Value) -> Map<String, Value> {
    let operations = paths.as_object().into_iter().flat_map(Map::values);
    operations
        .filter_map(Value::as_object)
        .flat_map(Map::values)
        .filter_map(|operation| operation["responses"].as_object())
        .flat_map(Map::values)
        .filter_map(|response| response["$ref"].as_str()?.rsplit('/').next())
        .map(|name| (name.to_owned(), component(name)))
        .collect()
}

fn component(name: &str) -> Value {
    let (_, texts) = name.split_once('-').unwrap_or_default();
    let codes: Vec<Code> = texts.split(SEPARATOR).filter_map(Code::parse).collect();
    let lines: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title())).collect();
    let enumeration: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let mut response = json!({
        "description": lines.join("; "),
        "content": { "application/problem+json": {
            "schema": { "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "code": { "enum": enumeration } } },
            ] },
            "example": codes.first().map(|code| Problem::from(*code).example()),
        } },
    });
    if codes.iter().any(|code| matches!(code.status().as_u16(), 429 | 503)) {
        response["headers"]["Retry-After"] =
            json!({ "description": "Seconds", "schema": { "type": "integer" } });
    }
    with_request_id(&mut response);
    response
}

/// The schema of every refusal.
pub(super) fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A refusal (RFC 9457)",
        "required": ["type", "title", "status", "code", "instance"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": "`/problems/` and the code: a page of this service that says what happened and what to do",
            },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable; what to switch on" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The request's id, as in X-Request-Id" },
            "backtest": { "type": "string", "format": "uuid", "description": "Of `backtest-running`: the one that is running" },
            "oldest": { "type": "integer", "description": "Of `events-expired`: the sequence of the oldest event that is kept" },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {
                        "pointer": { "type": "string", "description": "JSON pointer into the body, or the name of a parameter or header" },
                        "detail": { "type": "string" },
                    },
                },
            },
        },
    })
}

/// Every response has it.
pub(super) fn with_request_id(response: &mut Value) {
    response["headers"]["X-Request-Id"] = json!({
        "description": "Yours if you sent one, else ours",
        "schema": { "type": "string" },
    });
}
