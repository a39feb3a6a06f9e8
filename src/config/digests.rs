//! The keys that are set, each with a digest of its value, to tell which of them have changed.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// By key, as written: `http.listen`, `vault.keys[0].id`.
pub(super) type Digests = BTreeMap<String, [u8; 32]>;

/// Every key that is set.
pub(super) fn digests(merged: &::config::Config) -> Digests {
    let mut found = Digests::new();
    // Cannot fail: what is configured is text, numbers, lists and tables.
    if let Ok(root) = merged.clone().try_deserialize::<Value>() {
        flatten(String::new(), &root, &mut found);
    }
    found
}

fn flatten(key: String, value: &Value, found: &mut Digests) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(key, value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, value) in items.iter().enumerate() {
                flatten(format!("{key}[{index}]"), value, found);
            }
        }
        value => {
            found.insert(key, Sha256::digest(value.to_string()).into());
        }
    }
}
