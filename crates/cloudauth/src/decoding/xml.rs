//! XML into the tree: elements and text, no attributes, no document types, no declared entities.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use zeroize::Zeroizing;

use super::oddities::Oddities;
use super::tree::{MAX_DEPTH, Node};
use crate::text::lenient_json::MAX_VALUES;

/// The content of the root element, whatever its name; `None` if this is not XML, nests too deep,
/// has too many elements, or is a web page.
pub(crate) fn parse(body: &[u8], oddities: &mut Oddities) -> Option<Node> {
    let text = String::from_utf8_lossy(body);
    if matches!(text, Cow::Owned(_)) {
        oddities.damaged_text(&[]);
    }
    let text = Zeroizing::new(text.into_owned());
    let (root, end) = root(&text)?;
    oddities.trailing(text[end..].trim().as_bytes());
    Some(root)
}

/// The root element, and where it ends.
fn root(text: &str) -> Option<(Node, usize)> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut elements_left = MAX_VALUES;
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            elements_left = elements_left.checked_sub(1)?;
        }
        let closed = match event {
            Event::Start(start) => {
                // A page is not an answer.
                if open.is_empty() && is_page(&start) || open.len() > MAX_DEPTH {
                    return None;
                }
                open.push(Element::new(&start));
                None
            }
            Event::Empty(start) if open.is_empty() && is_page(&start) => return None,
            Event::Empty(start) => Some(Element::new(&start)),
            Event::End(_) => Some(open.pop()?),
            Event::Text(text) => {
                append(&mut open, &text.xml10_content());
                None
            }
            Event::CData(text) => {
                append(&mut open, &text.xml10_content());
                None
            }
            Event::GeneralRef(reference) => {
                append(&mut open, &resolve(&reference));
                None
            }
            Event::Eof => return None,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => None,
        };
        if let Some(element) = closed {
            if let Some(parent) = open.last_mut() {
                let name = element.name.clone();
                Node::add(&mut parent.members, name, element.into_node());
            } else {
                let end = usize::try_from(reader.buffer_position()).ok()?;
                return Some((Node::Map(element.members), end));
            }
        }
    }
}

struct Element {
    name: String,
    text: Zeroizing<String>,
    members: BTreeMap<String, Node>,
}

impl Element {
    fn new(start: &BytesStart<'_>) -> Self {
        let name = start.local_name().into_inner().to_owned();
        Self { name, text: Zeroizing::default(), members: BTreeMap::new() }
    }

    /// An element either holds elements or text; blanks between elements are layout.
    fn into_node(self) -> Node {
        if self.members.is_empty() { Node::Text(self.text) } else { Node::Map(self.members) }
    }
}

fn is_page(start: &BytesStart<'_>) -> bool {
    start.local_name().into_inner().eq_ignore_ascii_case("html")
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// A character reference or one of the five predefined entities. Others stand for text we cannot
/// know, and stay as they are written.
fn resolve(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => return character.to_string(),
        // A number that is no character, such as half of a surrogate pair.
        Err(_) => return char::REPLACEMENT_CHARACTER.to_string(),
        Ok(None) => {}
    }
    let name: &str = reference;
    resolve_predefined_entity(name).map_or_else(|| format!("&{name};"), ToOwned::to_owned)
}
