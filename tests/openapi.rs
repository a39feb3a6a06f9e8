//! The committed description of the API is the one the code makes, and it is whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use verdict::http::problem::Code;

fn committed() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    serde_json::from_str(&fs::read_to_string(path).expect("docs/openapi.json")).expect("JSON")
}

#[test]
fn committed_openapi_file_is_current() {
    assert!(
        committed() == verdict::http::description(),
        "docs/openapi.json is not what the code says: if the change is meant, run `verdict openapi > docs/openapi.json` and commit it"
    );
}

#[test]
fn documentation_of_problems_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/problems.md");
    let text = verdict::http::problem::pages::documentation();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).expect("docs/problems.md");
    }
    assert!(
        fs::read_to_string(path).expect("docs/problems.md") == text,
        "docs/problems.md is not what the code says: run `UPDATE=1 cargo test --test openapi`"
    );
}

#[test]
fn every_problem_code_is_declared_by_an_operation() {
    let document = committed();
    let declared: BTreeSet<&str> = document["components"]["responses"]
        .as_object()
        .expect("responses")
        .values()
        .filter_map(|response| {
            response
                .pointer("/content/application~1problem+json/schema/allOf/1/properties/code/enum")
        })
        .flat_map(|codes| codes.as_array().expect("codes"))
        .map(|code| code.as_str().expect("a code"))
        .collect();
    // The router refuses other methods before there is an operation.
    let every = Code::ALL.iter().map(|code| code.as_str());
    let expected: BTreeSet<&str> = every.filter(|code| *code != "method-not-allowed").collect();
    assert_eq!(declared, expected);
}

#[test]
fn openapi_references_resolve_and_operations_list_refusals() {
    let document = committed();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for operation in operations.as_object().expect("operations").values() {
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let responses = operation["responses"].as_object().expect("responses");
            let empty = |response: &Value| response.get("content").is_some_and(Value::is_null);
            assert!(!responses.values().any(empty), "{path}");
            let described = |response: &Value| {
                response.get("$ref").is_some() || response["description"].is_string()
            };
            assert!(responses.values().all(described), "{path}: a response without a description");
            let succeeds = |status: &String| status.starts_with('2') || status == "303";
            assert!(responses.keys().any(succeeds), "{path}");
            // Anybody may read public keys and come back from the provider's page.
            let refusals: &[&str] = match path.as_str() {
                "/v1/webhook-keys" => &["500", "503"],
                "/v1/provider-callbacks/{account}" => &[],
                "/v1/returns/{source}" => &["404", "500"],
                _ => &["401", "500", "503"],
            };
            if path.starts_with("/v1/") {
                for status in refusals {
                    assert!(responses.contains_key(*status), "{id} does not speak of {status}");
                }
                assert!(operation["security"].is_array(), "{id}");
            }
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{id}"
            );
            ids.push(id);
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operation's id is not its own");
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let ("$ref", Value::String(reference)) = (name.as_str(), member) {
                    found.push(reference);
                }
                collect(member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// The pages of the API show these, and else texts made of patterns.
#[test]
fn every_text_has_an_example_that_fits_its_schema() {
    let document = committed();
    let mut missing = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        examine(name, schema, None, &mut missing);
    }
    let mut parameters = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for operation in operations.as_object().expect("operations").values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let place = format!("{path} {}", parameter["name"]);
                examine(&place, &parameter["schema"], parameter.get("example"), &mut missing);
                parameters += 1;
            }
            if let Some(body) = operation.pointer("/requestBody/content/application~1toml") {
                let text = body["example"].as_str().expect("a policy");
                policy::Policy::load(text).expect("a good policy");
            }
        }
    }
    assert!(parameters > 20);
    assert!(
        missing.is_empty(),
        "give them an example in src/http/openapi/examples.json:\n{missing:#?}"
    );
}

/// Both the examples of its members and the whole one.
#[test]
fn examples_of_a_callback_are_a_callback() {
    let document = committed();
    let members = document["components"]["schemas"]["CallbackRequest"]["properties"].as_object();
    let of_members: serde_json::Map<String, Value> = members
        .expect("members")
        .iter()
        .map(|(name, schema)| (name.clone(), schema["examples"][0].clone()))
        .collect();
    let whole = document
        .pointer(
            "/paths/~1v1~1callbacks~1{source}/post/requestBody/content/application~1json/example",
        )
        .expect("a whole example");
    for text in [Value::from(of_members).to_string(), whole.to_string()] {
        let callback = verdict::domain::callback::Callback::parse(
            text.as_bytes(),
            policy::product::Product::default(),
        )
        .expect(&text);
        assert!(callback.reference.is_some(), "{text}");
    }
}

fn examine(place: &str, schema: &Value, example: Option<&Value>, missing: &mut Vec<String>) {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let example = example.or_else(|| schema["examples"].get(0));
    let closed = schema.get("enum").is_some() || schema.get("format").is_some();
    match example {
        None if kinds.contains(&"string") && !closed => missing.push(place.to_owned()),
        None => {}
        Some(example) => {
            let kind = match example {
                Value::String(_) => "string",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                _ => "other",
            };
            let fits = kinds.is_empty()
                || kinds.contains(&kind)
                || (kind == "integer" && kinds.contains(&"number"));
            assert!(fits, "{place}: {example} is not {kinds:?}");
            if let (Some(text), Some(pattern)) = (example.as_str(), schema["pattern"].as_str()) {
                let pattern = regex::Regex::new(pattern).expect("a pattern");
                assert!(pattern.is_match(text), "{place}: {text} does not fit {pattern}");
            }
            if let Some(text) = example.as_str() {
                let length = text.chars().count() as u64;
                let least = schema["minLength"].as_u64().unwrap_or(0);
                let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
                assert!((least..=most).contains(&length), "{place}: {text}");
            }
        }
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        examine(&format!("{place}.{name}"), member, None, missing);
    }
    if let Some(items) = schema.get("items") {
        examine(&format!("{place}[]"), items, None, missing);
    }
    for combined in ["allOf", "oneOf", "anyOf"] {
        // The members of a choice are shown by the first that has one.
        for part in schema[combined].as_array().into_iter().flatten() {
            if part.get("properties").is_some() || part.get("items").is_some() {
                examine(place, part, None, missing);
            }
        }
    }
}

#[test]
fn every_body_in_json_has_an_example_that_fits_its_schema() {
    let document = committed();
    let mut wrong = Vec::new();
    let mut check = |what: String, content: &Value| match content.get("example") {
        None => wrong.push(format!("{what}: no example")),
        Some(example) => {
            if let Err(place) = fits(&document, &content["schema"], example) {
                wrong.push(format!("{what}: the example does not fit: {place}"));
            }
        }
    };
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let request = operation.pointer("/requestBody/content/application~1json");
            if let Some(content) = request {
                check(format!("{method} {path}, request"), content);
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                if let Some(content) = response.pointer("/content/application~1json") {
                    check(format!("{method} {path}, {status}"), content);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "src/http/openapi/requests.json and answers.json:\n{wrong:#?}");
}

/// As far as these schemas go: references, choices, types, closed lists, patterns, members. The error is
/// the path to the first value that does not fit.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).expect("a schema");
        return fits(document, schema, value);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, part, value)?;
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(parts) = schema[choice].as_array() {
            let tried = parts.iter().map(|part| fits(document, part, value));
            let failed: Vec<String> = tried.filter_map(Result::err).collect();
            if failed.len() == parts.len() {
                return Err(failed.join(" and "));
            }
        }
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(allowed) => vec![allowed],
        Value::Array(allowed) => allowed.iter().filter_map(Value::as_str).collect(),
        _ => vec![kind],
    };
    let is_allowed = allowed.contains(&kind) || (kind == "integer" && allowed.contains(&"number"));
    if !is_allowed {
        return Err(format!(": {kind} in place of {}", allowed.join(" or ")));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Err(format!(": {value} is not in the list"));
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        if !pattern.is_match(text) {
            return Err(format!(": {text} does not fit {pattern}"));
        }
    }
    let members = schema["properties"].as_object();
    if schema["additionalProperties"] == false {
        let is_known = |name: &&String| members.is_some_and(|all| all.contains_key(*name));
        let mut names = value.as_object().into_iter().flat_map(|object| object.keys());
        if let Some(name) = names.find(|name| !is_known(name)) {
            return Err(format!(".{name} is no member"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!(".{name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        if let Some(schema) = members.and_then(|members| members.get(name)) {
            fits(document, schema, member).map_err(|place| format!(".{name}{place}"))?;
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item).map_err(|place| format!("[]{place}"))?;
    }
    Ok(())
}
