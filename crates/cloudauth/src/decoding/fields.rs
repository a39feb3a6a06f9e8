//! Lenient readers of single fields. Missing, `null` and blank mean the same: absent.

use std::ops::Deref;

use secrecy::SecretString;

use super::json;
use super::tree::Node;

/// A map that stands in the tree, or that was found in a string of it.
pub(crate) enum Field<'a> {
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
pub(crate) fn object(node: &Node) -> Option<Field<'_>> {
    match node {
        Node::Map(_) => Some(Field::Borrowed(node)),
        Node::Text(text) if text.trim_start().starts_with('{') => {
            json::parse_nested(text.trim()).map(|nested| Field::Owned(nested.root))
        }
        _ => None,
    }
}

/// The value of a member that may be written in several places.
pub(crate) enum Value<T> {
    Absent,
    /// One cannot be read, or two differ.
    Unreadable,
    Is(T),
}

impl<T> Value<T> {
    /// The value, unless it is absent or unreadable.
    pub(crate) fn readable(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// The value on which all of these nodes agree. A member that repeats within an object must have
/// the same value each time. A list of one element is not its element.
pub(crate) fn agreed<'a, T: PartialEq>(
    nodes: impl IntoIterator<Item = &'a Node>,
    read: impl Fn(&Node) -> Option<T>,
) -> Value<T> {
    let mut found = Value::Absent;
    for node in nodes.into_iter().filter(|node| !is_absent(node)) {
        let value = match node {
            Node::List(nodes) if nodes.len() > 1 => {
                let mut values = nodes.iter().map(&read);
                let first = values.next().flatten();
                first.filter(|first| values.all(|value| value.as_ref() == Some(first)))
            }
            Node::List(_) => None,
            node => read(node),
        };
        found = match (value, found) {
            (Some(value), Value::Absent) => Value::Is(value),
            (Some(value), Value::Is(first)) if value == first => Value::Is(first),
            _ => return Value::Unreadable,
        };
    }
    found
}

/// Whether the node is missing in effect. The newer product also writes the text `null`.
pub(crate) fn is_absent(node: &Node) -> bool {
    let says_null = text(node).is_some_and(|text| text.eq_ignore_ascii_case("null"));
    says_null || present(Some(node)).is_none()
}

/// The node, unless it is absent.
pub(crate) fn present(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| match node {
        Node::Null => false,
        Node::Text(text) => !text.trim().is_empty(),
        _ => true,
    })
}

/// Trimmed text.
pub(crate) fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// Trimmed text that may be about a person.
pub(crate) fn secret(node: Option<&Node>) -> Option<SecretString> {
    node.and_then(text).map(SecretString::from)
}

/// A whole number, `1.0` included. Said several times, it must be the same.
pub(crate) fn whole(node: &Node) -> Option<i32> {
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
pub(crate) fn number(text: &str) -> Option<f64> {
    let looks = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = text.parse().ok().filter(|_| looks)?;
    // Minus zero equals zero, but sorts before it.
    number.is_finite().then_some(number + 0.0)
}

/// A score: one number within 0 to 100. `spellings` are the places it may stand in; if several
/// are filled, they must agree. A value that is no score is noted under `name`.
pub(crate) fn score(
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
pub(crate) fn flag(malformed: &mut Vec<String>, name: &str, node: Option<&Node>) -> Option<bool> {
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
pub(crate) fn secrets(node: Option<&Node>) -> Vec<SecretString> {
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
