//! The committed description of the API is the one the code makes, and it is whole.

use std::fs;
use std::path::Path;

use serde_json::Value;

fn committed() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    serde_json::from_str(&fs::read_to_string(path).expect("docs/openapi.json")).expect("JSON")
}

#[test]
fn nobody_changes_the_api_unnoticed() {
    assert!(
        committed() == verdict::http::description(),
        "docs/openapi.json is not what the code says: if the change is meant, run `verdict openapi > docs/openapi.json` and commit it"
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_says_what_it_refuses() {
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
            assert!(responses.keys().any(|status| status.starts_with('2')), "{path}");
            if path.starts_with("/v1/") {
                for status in ["401", "500", "503"] {
                    assert!(responses.contains_key(status), "{id} does not speak of {status}");
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
