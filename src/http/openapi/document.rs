//! The whole description: what the handlers describe, and what they cannot say.

use serde_json::{Map, Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use super::refusals::with_request_id;
use super::{examples, refusals, webhooks};

/// The document without its operations.
pub fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Verdict")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Turns \"the user has finished real-person verification\" into a durable, explainable decision. Every refusal is `application/problem+json` (RFC 9457) with a stable `code`; its `type` is a page that says what to do.",
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

/// The whole document: the handlers' descriptions, corrected where they cannot say what is meant.
pub fn document(described: OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    schemas["Problem"] = refusals::problem_schema();
    // A whole number is a number too, so more than one of these may fit.
    if let Some(kinds) = schemas["Datum"].as_object_mut().and_then(|datum| datum.remove("oneOf")) {
        schemas["Datum"]["anyOf"] = kinds;
    }
    // Answers have all their members, `null` where there is nothing to say, except for the
    // comparison of a backtest that has only begun, and what only one product has.
    let partial = ["Problem", "ComparisonView", "Evidence", "Scores", "PersonView"];
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        if !name.ends_with("Request") && !partial.contains(&name.as_str()) {
            require_all(schema);
        }
    }
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(complete);
    document["components"]["responses"] = refusals::components(&document["paths"]).into();
    examples::add(&mut document);
    webhooks::add(&mut document);
    document
}

/// Completes one operation.
fn complete(operation: &mut Value) {
    first_sentence(operation);
    if let Some(policy) = operation.pointer_mut("/requestBody/content/application~1toml/schema") {
        *policy = json!({ "type": "string", "minLength": 1 });
    }
    let responses = operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for response in responses.filter(|response| response.get("$ref").is_none()) {
        with_request_id(response);
        bytes_are_bytes(response);
    }
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

/// The first sentence is the summary.
fn first_sentence(operation: &mut Value) {
    let text = operation["summary"].as_str().unwrap_or_default().replace('\n', " ");
    if let Some((first, _)) = text.split_once(". ") {
        operation["summary"] = first.into();
        operation["description"] = text.into();
    }
}

/// Bodies other than JSON are bytes.
fn bytes_are_bytes(response: &mut Value) {
    let contents = response.get_mut("content").and_then(Value::as_object_mut);
    for (kind, content) in contents.into_iter().flatten() {
        if !kind.ends_with("json") && !kind.starts_with("text/") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}
