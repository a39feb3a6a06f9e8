//! Objects that may be JSON text in a string. The service writes `MaterialInfo` so, cuts it off
//! where a column was too short, and writes the text `null` where there is none.

use crate::decoding::envelope::is_token;
use crate::decoding::fields::{self, Field};
use crate::decoding::json;
use crate::decoding::tree::Node;

/// How often a JSON text may be wrapped in another one.
const MAX_WRAPPINGS: usize = 3;

/// The node as an object.
pub(super) fn object(node: &Node) -> Option<Field<'_>> {
    match node {
        Node::Map(_) => Some(Field::Borrowed(node)),
        Node::Text(_) => unwrapped(fields::text(node)?).map(Field::Owned),
        _ => None,
    }
}

/// The one object of that name in these places. Noted are one that is present but cannot be read,
/// one with a damaged name, which could hide any member, and a second one.
pub(super) fn one_object<'a>(
    places: &[&'a Node],
    name: &'a str,
    malformed: &mut Vec<String>,
    noted: &str,
) -> Option<Field<'a>> {
    let mut nodes = members(places, name).filter(|node| !fields::is_absent(node));
    let first = nodes.next()?;
    let found = object(first).filter(|found| !has_damaged_name(found) && nodes.next().is_none());
    if found.is_none() {
        malformed.push(noted.to_owned());
    }
    found
}

/// Every member of that name, in any case.
pub(super) fn members<'a>(
    places: &[&'a Node],
    name: &'a str,
) -> impl Iterator<Item = &'a Node> + use<'a> {
    let places = places.to_vec();
    places.into_iter().flat_map(move |place| place.members_of_any_case(name))
}

/// A code or an id.
pub(super) fn token(node: &Node) -> Option<String> {
    fields::text(node).filter(|text| is_token(text)).map(str::to_owned)
}

/// Whether characters of a name were replaced, here or further down.
pub(super) fn has_damaged_name(node: &Node) -> bool {
    match node {
        Node::Map(members) => members.iter().any(|(name, node)| {
            name.contains(char::REPLACEMENT_CHARACTER) || has_damaged_name(node)
        }),
        Node::List(nodes) => nodes.iter().any(has_damaged_name),
        _ => false,
    }
}

fn unwrapped(text: &str) -> Option<Node> {
    let mut root = parsed(text)?;
    for _ in 1..MAX_WRAPPINGS {
        root = match root {
            Node::Text(text) => parsed(text.trim())?,
            other => other,
        };
    }
    matches!(root, Node::Map(_)).then_some(root)
}

fn parsed(text: &str) -> Option<Node> {
    let nested = json::parse_nested(text).filter(|nested| !nested.stray_bytes)?;
    Some(nested.root)
}
