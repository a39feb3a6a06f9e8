//! The outermost level of an answer.

use super::oddities::Oddities;
use super::tree::Node;
use super::{fields, json, xml};

/// Longest body that is read. Real ones have about 2 KiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// JSON or XML, by the first character; `None` for anything else.
pub(crate) fn parse(body: &[u8], oddities: &mut Oddities) -> Option<Node> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let body = trimmed(body);
    match body.first()? {
        b'{' | b'[' => json::parse(body, oddities),
        b'<' => xml::parse(body, oddities),
        _ => None,
    }
}

/// A short token of the envelope or of its `Error` element, however its name is capitalised. Free
/// text is not let through: it may echo what was asked.
pub(crate) fn near_root(root: &Node, name: &str) -> Option<String> {
    places(root)
        .filter_map(|place| fields::text(place.member_of_any_case(name)?))
        .find(|text| is_token(text))
        .map(ToOwned::to_owned)
}

/// The envelope and its `Error` element.
pub(crate) fn places(root: &Node) -> impl Iterator<Item = &Node> {
    [Some(root), root.member("Error"), root.member("error")].into_iter().flatten()
}

/// The body without byte order mark and blanks around it.
pub(crate) fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii()
}

/// The alphabet of codes and request ids.
pub(crate) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}
