//! XML into the tree: elements and text, no attributes, no document types, no entities of its own.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use zeroize::Zeroizing;

use super::MAX_DEPTH;
use super::tree::Node;

/// The content of the root element, whatever its name; `None` if this is not XML, nests too deep,
/// or is a web page.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let closed = match reader.read_event().ok()? {
            Event::Start(start) => {
                // Nothing follows the root, and a page is not an answer.
                let refused = open.is_empty() && (root.is_some() || is_page(&start));
                if refused || open.len() > MAX_DEPTH {
                    return None;
                }
                open.push(Element::new(&start));
                None
            }
            Event::Empty(start) if open.is_empty() && (root.is_some() || is_page(&start)) => {
                return None;
            }
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
                append(&mut open, &resolve(&reference)?);
                None
            }
            Event::Eof if open.is_empty() => return root,
            Event::Eof => return None,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => None,
        };
        if let Some(element) = closed {
            match open.last_mut() {
                Some(parent) => {
                    let name = element.name.clone();
                    Node::add(&mut parent.members, name, element.into_node());
                }
                None => root = Some(Node::Map(element.members)),
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
fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character.to_string());
    }
    let name: &str = reference;
    Some(resolve_predefined_entity(name).map_or_else(|| format!("&{name};"), ToOwned::to_owned))
}
