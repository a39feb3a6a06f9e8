//! JSON into the tree. Texts are wiped when dropped, and damaged ones are named.

use std::collections::BTreeMap;

use super::oddities::{Oddities, Vocabulary};
use super::tree::{MAX_DEPTH, Node};
use crate::text::lenient_json::{self, Json};

/// The first JSON value of a body; `None` if there is none, or it nests too deep.
pub(crate) fn parse(body: &[u8], oddities: &mut Oddities) -> Option<Node> {
    let document = lenient_json::read(body, MAX_DEPTH)?;
    if document.stray_bytes {
        oddities.stray_bytes();
    }
    oddities.trailing(document.rest);
    Some(node(document.root, &mut Path::default(), oddities))
}

/// A JSON text that is the content of a string.
pub(crate) struct Nested {
    pub(crate) root: Node,
    /// Bytes that are no JSON stood between its values.
    pub(crate) stray_bytes: bool,
}

/// Damaged texts in a nested document were named when the string was read.
static NAMES_NOTHING: Vocabulary = Vocabulary { members: &[], deciding: &[] };

/// The one JSON value that is the text of a string (the newer product answers so).
pub(crate) fn parse_nested(text: &str) -> Option<Nested> {
    let document = lenient_json::read(text.as_bytes(), MAX_DEPTH)?;
    document.rest.is_empty().then(|| {
        let mut ignored = Oddities::new(&NAMES_NOTHING);
        let root = node(document.root, &mut Path::default(), &mut ignored);
        Nested { root, stray_bytes: document.stray_bytes }
    })
}

#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn within<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(name.to_owned());
        let outcome = inner(self);
        self.0.pop();
        outcome
    }
}

fn node(json: Json, path: &mut Path, oddities: &mut Oddities) -> Node {
    match json {
        Json::Null => Node::Null,
        Json::Flag(flag) => Node::Flag(flag),
        Json::Bare(word) => Node::text(word),
        Json::Text(text) => {
            if text.damaged {
                oddities.damaged_text(&path.0);
            }
            if text.value.trim_start().starts_with('{')
                && let Some(nested) = lenient_json::read(text.value.as_bytes(), MAX_DEPTH)
            {
                note_damage(&nested.root, path, oddities);
            }
            Node::Text(text.value)
        }
        Json::List(items) => {
            Node::List(items.into_iter().map(|item| node(item, path, oddities)).collect())
        }
        Json::Object(entries) => {
            let mut members = BTreeMap::new();
            for (name, value) in entries {
                if name.damaged {
                    oddities.damaged_text(&path.0);
                }
                let value = path.within(&name.value, |path| node(value, path, oddities));
                Node::add(&mut members, name.value.to_string(), value);
            }
            Node::Map(members)
        }
    }
}

/// Names the damaged texts of a document inside a string.
fn note_damage(json: &Json, path: &mut Path, oddities: &mut Oddities) {
    match json {
        Json::Text(text) if text.damaged => oddities.damaged_text(&path.0),
        Json::List(items) => items.iter().for_each(|item| note_damage(item, path, oddities)),
        Json::Object(entries) => {
            for (name, value) in entries {
                if name.damaged {
                    oddities.damaged_text(&path.0);
                }
                path.within(&name.value, |path| note_damage(value, path, oddities));
            }
        }
        _ => {}
    }
}
