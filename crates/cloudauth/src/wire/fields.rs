//! Lenient readers of single fields. Missing, `null` and blank mean the same: absent.

use std::ops::Deref;

use secrecy::SecretString;

use super::json;
use super::tree::Node;

/// A map that stands in the tree, or that was found in a string of it.
pub(super) enum Field<'a> {
    Borrowed(&'a Node),
    Owned(Node),
}

impl Deref for Field<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        match self {
            Self::Borrowed(node) => node,
            Self::Owned(node) => node,
        }
    }
}

/// The node as a map; a JSON text in a string counts (the newer product answers so).
pub(super) fn object(node: &Node) -> Option<Field<'_>> {
    match node {
        Node::Map(_) => Some(Field::Borrowed(node)),
        Node::Text(text) if text.trim_start().starts_with('{') => {
            json::parse_nested(text.trim()).map(Field::Owned)
        }
        _ => None,
    }
}

/// The node, unless it is absent.
pub(super) fn present(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| match node {
        Node::Null => false,
        Node::Text(text) => !text.trim().is_empty(),
        _ => true,
    })
}

/// Trimmed text.
pub(super) fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// Trimmed text that may be about a person.
pub(super) fn secret(node: Option<&Node>) -> Option<SecretString> {
    node.and_then(text).map(SecretString::from)
}

/// A whole number, `1.0` included. Said several times, it must be the same.
pub(super) fn whole(node: &Node) -> Option<i32> {
    if let Node::List(nodes) = node {
        let mut numbers = nodes.iter().map(whole);
        let first = numbers.next()?;
        return first.filter(|_| nodes.len() > 1 && numbers.all(|number| number == first));
    }
    let text = text(node)?;
    if let Ok(number) = text.parse::<i32>() {
        return Some(number);
    }
    let number = number(text)?;
    let fits =
        number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
    fits.then_some(number as i32)
}

/// A finite number. Rust also reads `inf` and `nan`; nobody else means them.
fn number(text: &str) -> Option<f64> {
    let looks = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = text.parse().ok().filter(|_| looks)?;
    // Minus zero equals zero, but sorts before it.
    number.is_finite().then_some(number + 0.0)
}

/// A score: one number within 0 to 100. `spellings` are the places it may stand in; if several
/// are filled, they must agree. A value that is no score is noted under `name`.
pub(super) fn score(
    malformed: &mut Vec<String>,
    name: &str,
    spellings: &[Option<&Node>],
) -> Option<f64> {
    let mut found = None;
    for node in spellings.iter().filter_map(|node| present(*node)) {
        let score = text(node).and_then(number).filter(|score| (0.0..=100.0).contains(score));
        let agrees = score.is_some() && found.is_none_or(|first| Some(first) == score);
        if !agrees {
            malformed.push(name.to_owned());
            return None;
        }
        found = score;
    }
    found
}

/// A yes or no, as such or as `"true"` and `"false"`. Any other value is noted under `name`.
pub(super) fn flag(malformed: &mut Vec<String>, name: &str, node: Option<&Node>) -> Option<bool> {
    let flag = match present(node)? {
        Node::Flag(flag) => Some(*flag),
        node => text(node).and_then(|text| text.to_ascii_lowercase().parse().ok()),
    };
    if flag.is_none() {
        malformed.push(name.to_owned());
    }
    flag
}

/// Every text in a list, in one element or in a list's elements.
pub(super) fn secrets(node: Option<&Node>) -> Vec<SecretString> {
    match node {
        Some(Node::List(nodes)) => nodes.iter().filter_map(|node| secret(Some(node))).collect(),
        // XML: <VideoUrls><VideoUrl>…</VideoUrl>…</VideoUrls>
        Some(Node::Map(members)) => {
            let lists = members.values();
            lists
                .flat_map(|node| match node {
                    Node::Map(_) => Vec::new(),
                    node => secrets(Some(node)),
                })
                .collect()
        }
        node => secret(node).into_iter().collect(),
    }
}
