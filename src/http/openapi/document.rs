//! The whole description: what the handlers describe, and what they cannot say.

use serde_json::{Map, Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use super::refusals::with_request_id;
use super::{examples, refusals, webhooks};

/// The groups of operations, in the order in which a reader needs them.
const GROUPS: [(&str, &str); 9] = [
    ("callbacks", "Report that a user has finished, or bring the user back"),
    ("verifications", "Start verifications, and read states, results and decisions"),
    ("reviews", "Decide cases as a person"),
    ("events", "Read the event log"),
    ("webhooks", "Have events posted to you"),
    ("person", "Read or erase personal data"),
    ("policies", "Check, try and activate the rules"),
    ("problems", "Read what a refusal means"),
    ("health", "Probe the process"),
];

/// The document without its operations.
pub fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Verdict")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("introduction.md").trim_end()))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
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
    document["tags"] = GROUPS
        .iter()
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    document["components"]["responses"] = refusals::components(&document["paths"]).into();
    examples::add(&mut document);
    webhooks::add(&mut document);
    document
}

/// Completes one operation.
fn complete(operation: &mut Value) {
    first_sentence(operation);
    name_scopes(operation);
    if let Some(policy) = operation.pointer_mut("/requestBody/content/application~1toml/schema") {
        *policy = json!({ "type": "string", "minLength": 1 });
    }
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if response.get("$ref").is_some() {
            continue;
        }
        // The specification requires one, and generators of clients refuse a document without it.
        if response.get("description").is_none() {
            response["description"] = match status.as_str() {
                "201" => "Created",
                "202" => "Accepted",
                _ => "Success",
            }
            .into();
        }
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

/// Readers of the page see what a key needs without opening anything.
fn name_scopes(operation: &mut Value) {
    let scopes = operation.pointer("/security/0/api-key").and_then(Value::as_array);
    let scopes: Vec<String> = scopes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|scope| format!("`{scope}`"))
        .collect();
    if scopes.is_empty() {
        return;
    }
    let text = operation.get("description").or_else(|| operation.get("summary"));
    let text = text.and_then(Value::as_str).unwrap_or_default();
    operation["description"] = format!("{text}\n\nScope: {}.", scopes.join(", ")).into();
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
