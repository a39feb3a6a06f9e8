//! The description of the API (OpenAPI 3.1), made from the handlers themselves, and `/docs`, which
//! shows it without asking any other host.
//!
//! What a handler can refuse is listed here by operation; a test holds that against what it does.

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use utoipa::IntoParams;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::Config;

use super::examples;
use super::problem::Problem;

macro_rules! headers_and_paths {
    ($($(#[$doc:meta])* $name:ident in $place:ident { $($(#[$field:meta])* $member:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(IntoParams)]
        #[into_params(parameter_in = $place)]
        #[expect(dead_code, reason = "describes what handlers read by hand")]
        pub(super) struct $name { $($(#[$field])* $member: $kind,)* }
    )*};
}

headers_and_paths! {
    /// One verification.
    VerificationPath in Path {
        /// Its id, as an accepted callback was told.
        #[param(format = Uuid)]
        id: String,
    }
    /// One image of it.
    ImagePath in Path {
        /// The verification's id.
        #[param(format = Uuid)]
        id: String,
        /// `face`, `face-global`, `card-front`, `card-back`, or `video-1` to `video-9`.
        #[param(pattern = "^(face|face-global|card-front|card-back|video-[1-9])$")]
        kind: String,
    }
    /// One policy.
    PolicyPath in Path {
        /// `sha256:` and 64 hex digits.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        digest: String,
    }
    /// Two policies.
    PolicyPairPath in Path {
        /// `sha256:` and 64 hex digits.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        digest: String,
        /// Of the other one.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        other: String,
    }
    /// A page of flips.
    FlipsQuery in Query {
        /// At most so many.
        #[param(required = false, minimum = 1, maximum = 100)]
        limit: i64,
        /// `next_cursor` of the page before.
        #[param(required = false, format = Uuid)]
        cursor: String,
    }
    /// One backtest.
    BacktestPath in Path {
        /// Its id.
        #[param(format = Uuid)]
        id: String,
    }
    /// One sender of callbacks.
    SourcePath in Path {
        /// Its name in the configuration.
        source: String,
    }
    /// As Standard Webhooks has it.
    SignatureHeaders in Header {
        /// Names the message; repeated, it gets the same answer.
        #[param(rename = "webhook-id", min_length = 1, max_length = 255)]
        id: String,
        /// Seconds since 1970, at most 5 minutes from our clock.
        #[param(rename = "webhook-timestamp")]
        timestamp: String,
        /// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several with blanks.
        #[param(rename = "webhook-signature")]
        signature: String,
    }
    /// Conditional reading.
    IfNoneMatch in Header {
        /// Tags of what you have: 304 if it is still so.
        #[param(rename = "If-None-Match", required = false)]
        tags: String,
    }
    /// Conditional writing.
    IfMatch in Header {
        /// Tag of the verification that was looked at.
        #[param(rename = "If-Match", required = false)]
        tags: String,
    }
    /// A part of an image.
    RangeHeader in Header {
        /// `bytes=0-1023` and the like (RFC 9110).
        #[param(rename = "Range", required = false)]
        range: String,
    }
    /// Why.
    Purpose in Header {
        /// Why this is done, up to 200 visible characters, kept indefinitely: no name, no number.
        #[param(rename = "Verdict-Purpose", required = false, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\xa0\xad]*$")]
        purpose: String,
    }
    /// Why, and not without.
    RequiredPurpose in Header {
        /// Why this is done, up to 200 visible characters, kept indefinitely: no name, no number.
        #[param(rename = "Verdict-Purpose", min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\xa0\xad]*$")]
        purpose: String,
    }
}

/// What each operation can refuse, beside what every one can.
fn refusals(operation: &str) -> Vec<Problem> {
    use Problem as P;
    let body = || {
        vec![
            P::malformed_json(),
            P::request_timeout(),
            P::body_too_large(),
            P::unsupported_media_type(),
            P::invalid_field(),
        ]
    };
    let of_one = |more: Vec<Problem>| [vec![P::not_found()], more].concat();
    let purpose = || vec![P::purpose_missing(), P::invalid_field()];
    match operation {
        "post-callback" => [
            body(),
            vec![
                P::signature_missing(),
                P::signature_invalid(),
                P::timestamp_out_of_tolerance(),
                P::timestamp_not_seconds(),
                P::idempotency_mismatch(),
                P::other_source(),
                P::erased(),
                P::rate_limited(),
            ],
        ]
        .concat(),
        "get-verification" => {
            of_one(vec![P::plus_in_query(), P::invalid_field(), P::too_many_waits()])
        }
        "get-backtest" => of_one(vec![P::invalid_field()]),
        "list-flips" => of_one(vec![P::plus_in_query(), P::invalid_field()]),
        "list-verifications" => vec![P::plus_in_query(), P::invalid_field()],
        "start-verification" => [
            body(),
            vec![P::other_scene(), P::erased(), P::other_source()],
            vec![P::provider_refused(), P::provider_unavailable()],
        ]
        .concat(),
        "list-results" | "list-decisions" | "get-timeline" | "list-images" | "get-policy"
        | "compare-shadow" | "diff-policies" => of_one(vec![]),
        "refetch-verification" => of_one(vec![
            P::purpose_missing(),
            P::invalid_field(),
            P::person_missing(),
            P::proposal_closed(),
            P::decision_changed(),
            P::erased(),
        ]),
        "refetch-verifications" => body(),
        "review-verification" => of_one(
            [
                body(),
                vec![P::person_missing(), P::nothing_to_review(), P::decision_changed()],
                vec![P::erased()],
            ]
            .concat(),
        ),
        "list-reviews" | "erase-person" => of_one(purpose()),
        "read-material" => of_one([purpose(), vec![P::no_material(), P::erased()]].concat()),
        "read-image" => of_one(
            [purpose(), vec![P::no_image(), P::erased(), P::range_not_satisfiable()]].concat(),
        ),
        "add-policy" => vec![
            P::malformed_json(),
            P::request_timeout(),
            P::body_too_large(),
            P::invalid_field(),
            P::policy_refused(),
        ],
        "check-policy" => {
            vec![P::malformed_json(), P::request_timeout(), P::body_too_large(), P::invalid_field()]
        }
        "activate-policy" => of_one(
            [body(), vec![P::other_scene(), P::person_missing(), P::proposal_closed()]].concat(),
        ),
        "start-backtest" => {
            of_one([body(), vec![P::other_scene(), P::backtest_running()]].concat())
        }
        "shadow-policy" | "end-shadow" => of_one([body(), vec![P::other_scene()]].concat()),
        "roll-back-policy" => [body(), vec![P::other_scene(), P::nothing_to_change()]].concat(),
        "promote-shadow" | "deactivate-policy" => [
            body(),
            vec![P::other_scene(), P::person_missing()],
            vec![P::nothing_to_change(), P::proposal_closed()],
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// What every operation can refuse: who asks is not known or may not, or we cannot.
fn always(operation: &str) -> Vec<Problem> {
    match operation {
        "is-alive" | "is-ready" => Vec::new(),
        "post-callback" => vec![Problem::internal(), Problem::unavailable()],
        _ => vec![
            Problem::api_key_missing(),
            Problem::api_key_invalid(),
            Problem::scope_missing(),
            Problem::rate_limited(),
            Problem::internal(),
            Problem::unavailable(),
        ],
    }
}

/// What the handlers' own description is put into.
pub fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Verdict")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Turns \"the user has finished real-person verification\" into a durable, explainable decision. Every refusal is `application/problem+json` (RFC 9457) with a stable `code`.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let mut api = OpenApiBuilder::new().info(info).build();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme(
        "api-key",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An API key with the scopes named at the operation; `verdict keys create` makes one"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "webhook-signature",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "webhook-signature",
            "Standard Webhooks: with `webhook-id` and `webhook-timestamp`, by one of the source's secrets",
        ))),
    );
    api
}

/// The whole document: what the handlers say of themselves, and what they can refuse.
pub fn document(described: OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["components"]["schemas"]["Problem"] = json!({
        "type": "object",
        "description": "A refusal (RFC 9457)",
        "required": ["type", "title", "status", "code", "instance"],
        "properties": {
            "type": { "type": "string", "description": "Ends in the code" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable; what to switch on" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The request's id, as in X-Request-Id" },
            "backtest": { "type": "string", "format": "uuid", "description": "Of `backtest-running`: the one that is running" },
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
    });
    // A whole number is a number too, so more than one of these may fit.
    let datum = &mut document["components"]["schemas"]["Datum"];
    if let Some(kinds) = datum.as_object_mut().and_then(|datum| datum.remove("oneOf")) {
        datum["anyOf"] = kinds;
    }
    // What we answer has all its members, `null` where there is nothing to tell; but for a backtest
    // that has only begun.
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if !name.ends_with("Request") && !["Problem", "ComparisonView"].contains(&name.as_str()) {
            require_all(schema);
        }
    }
    let mut paths = std::mem::take(&mut document["paths"]);
    let mut shared = Map::new();
    let operations = paths.as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in operations.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        first_sentence(operation);
        if let Some(policy) = operation.pointer_mut("/requestBody/content/application~1toml/schema")
        {
            *policy = json!({ "type": "string", "minLength": 1 });
        }
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let mut by_status = std::collections::BTreeMap::<u16, Vec<Problem>>::new();
        for problem in refusals(&id).into_iter().chain(always(&id)) {
            by_status.entry(problem.status()).or_default().push(problem);
        }
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.values_mut().for_each(with_request_id);
            responses.values_mut().for_each(bytes_are_bytes);
        }
        for (status, problems) in by_status {
            let codes: Vec<&str> = problems.iter().map(Problem::code).collect();
            // The same refusals are described once.
            let name = format!("{status}-{}", codes.join("-or-"));
            operation["responses"][status.to_string()] =
                json!({ "$ref": format!("#/components/responses/{name}") });
            shared.entry(name).or_insert_with(|| refusal(&problems));
        }
    }
    document["paths"] = paths;
    document["components"]["responses"] = shared.into();
    examples::add(&mut document);
    document
}

fn require_all(schema: &mut Value) {
    if let Some(properties) = schema["properties"].as_object() {
        let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
        schema["required"] = names.into();
    }
    for combined in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = schema.get_mut(combined).and_then(Value::as_array_mut) {
            parts.iter_mut().for_each(require_all);
        }
    }
}

/// A list of operations shows one sentence of each.
fn first_sentence(operation: &mut Value) {
    let text = operation["summary"].as_str().unwrap_or_default().replace('\n', " ");
    if let Some((first, _)) = text.split_once(". ") {
        operation["summary"] = first.into();
        operation["description"] = text.into();
    }
}

/// A body that is no JSON has no schema but this.
fn bytes_are_bytes(response: &mut Value) {
    let contents = response.get_mut("content").and_then(Value::as_object_mut);
    for (kind, content) in contents.into_iter().flatten() {
        if !kind.ends_with("json") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}

fn with_request_id(response: &mut Value) {
    response["headers"]["X-Request-Id"] = json!({
        "description": "Yours if you sent one, else ours",
        "schema": { "type": "string" },
    });
}

fn refusal(problems: &[Problem]) -> Value {
    let codes: Vec<&str> = problems.iter().map(Problem::code).collect();
    let lines: Vec<String> =
        problems.iter().map(|p| format!("`{}`: {}", p.code(), p.title())).collect();
    let mut response = json!({
        "description": lines.join("; "),
        "content": { "application/problem+json": {
            "schema": { "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "code": { "enum": codes } } },
            ] },
            "example": problems.first().map(Problem::example),
        } },
    });
    if problems.iter().any(|problem| matches!(problem.status(), 429 | 503)) {
        response["headers"]["Retry-After"] =
            json!({ "description": "Seconds", "schema": { "type": "integer" } });
    }
    with_request_id(&mut response);
    response
}

/// What the pages of `/docs` may do: run their own scripts and ask this service, within no frame.
/// Their styles are set from scripts, and some icons are in the style sheet.
const PAGES_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// `/openapi.json`, and `/docs`, which shows it: everything they need comes from here.
pub fn docs<S: Clone + Send + Sync + 'static>(described: OpenApi) -> Router<S> {
    // Made once: a copy for each request would let strangers fill the memory.
    let document = Bytes::from(document(described).to_string());
    let serve =
        move || std::future::ready(([(CONTENT_TYPE, "application/json")], document.clone()));
    let config = Config::from("/openapi.json").validator_url("none");
    let pages = Router::from(utoipa_swagger_ui::SwaggerUi::new("/docs").config(config));
    let pages = pages.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGES_POLICY);
        response
    }));
    Router::new().route("/openapi.json", get(serve)).merge(pages)
}
