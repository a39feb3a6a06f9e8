//! Examples for the description of the API. Without them its pages generate texts from the patterns,
//! which nobody can read.

use serde_json::{Map, Value, json};

/// By name of a member, where it has one meaning in all schemas; by schema and member, where it has
/// not; by name of a parameter in a path, a query or a header, unless it is that of a member.
const EXAMPLES: &str = include_str!("examples.json");
/// Whole bodies of requests, by operation.
const REQUESTS: &str = include_str!("requests.json");
/// Answers of a demo, by operation and status. Lists are cut short.
const ANSWERS: &str = include_str!("answers.json");
/// The default policy.
const POLICY_TEXT: &str = include_str!("../../../config/policy.toml");

struct Examples(Value);

impl Examples {
    fn of_member(&self, schema: &str, name: &str) -> Option<&Value> {
        let own = self.0["members_of_schemas"].get(format!("{schema}.{name}"));
        own.or_else(|| self.0["members"].get(name))
    }

    fn of_parameter(&self, name: &str) -> Option<&Value> {
        self.0["parameters"].get(name).or_else(|| self.0["members"].get(name))
    }

    fn add_to_members(&self, schema_name: &str, schema: &mut Value) {
        let members = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (name, member) in members.into_iter().flatten() {
            if let Some(example) = self.of_member(schema_name, name) {
                if is_open(member) {
                    member["examples"] = json!([example]);
                } else if is_open(&member["items"]) {
                    member["items"]["examples"] = json!([example]);
                }
            }
            self.add_to_members(schema_name, member);
        }
        if let Some(items) = schema.get_mut("items") {
            self.add_to_members(schema_name, items);
        }
        for combined in ["allOf", "oneOf", "anyOf"] {
            let parts = schema.get_mut(combined).and_then(Value::as_array_mut);
            for part in parts.into_iter().flatten() {
                self.add_to_members(schema_name, part);
            }
        }
    }
}

/// Puts an example beside everything that has neither a format nor a closed list.
pub(super) fn add(document: &mut Value) {
    // Cannot fail: a test holds every example against its schema.
    let examples = Examples(serde_json::from_str(EXAMPLES).unwrap_or_default());
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        examples.add_to_members(name, schema);
    }
    document["components"]["schemas"]["State"]["examples"] = json!(["decided"]);
    document["components"]["schemas"]["Datum"]["examples"] = json!([85]);
    let requests: Value = serde_json::from_str(REQUESTS).unwrap_or_default();
    let answers: Value = serde_json::from_str(ANSWERS).unwrap_or_default();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            let example = examples.of_parameter(name).cloned();
            if is_open(&parameter["schema"]["items"]) {
                parameter["schema"]["items"]["examples"] = json!(example.as_slice());
            } else if let Some(example) = example.filter(|_| is_open(&parameter["schema"]))
                // The handler has one of its own where the name means something else there.
                && parameter.get("example").is_none()
            {
                parameter["example"] = example;
            }
        }
        if let Some(body) = operation.pointer_mut("/requestBody/content/application~1toml") {
            body["example"] = POLICY_TEXT.into();
        }
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json")
            && let Some(request) = requests.get(&id)
        {
            body["example"] = request.clone();
        }
        let answers = &answers[&id];
        for (status, answer) in answers.as_object().into_iter().flatten() {
            let content = format!("/responses/{status}/content/application~1json");
            if let Some(content) = operation.pointer_mut(&content) {
                content["example"] = answer.clone();
            }
        }
    }
}

/// A text or a number of any value, or anything at all.
fn is_open(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return false };
    let has = |name: &str| schema.contains_key(name);
    let closed = has("enum") || has("$ref") || has("oneOf") || has("anyOf") || has("allOf");
    let kind = schema.get("type");
    let is = |name: &str| {
        kind.is_some_and(|kind| {
            kind == name || kind.as_array().is_some_and(|kinds| kinds.iter().any(|k| k == name))
        })
    };
    let format = schema.get("format").and_then(Value::as_str);
    let formatted = matches!(format, Some("date-time" | "uuid" | "binary"));
    !closed && !formatted && (kind.is_none() || is("string") || is("integer") || is("number"))
}
