//! The outermost level of an answer: its code, its request id, and where its result may stand.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::codes;
use super::nested::object;
use super::vocabulary::VOCABULARY;
use crate::decoding::envelope::{is_token, near_root, parse, places, trimmed};
use crate::decoding::fields::{self, Field, Value, agreed};
use crate::decoding::oddities::Oddities;
use crate::decoding::tree::Node;
use crate::wire::AnswerError;

/// The elements with which the vendor's XML sample begins: it has no root.
const ROOTLESS: [&[u8]; 4] = [b"<Code>", b"<Message>", b"<RequestId>", b"<ResultObject>"];

/// An answer whose outermost level was read.
pub(super) struct Envelope {
    pub(super) root: Node,
    pub(super) http_status: u16,
    pub(super) oddities: Oddities,
}

impl Envelope {
    pub(super) fn parse(http_status: u16, body: &[u8]) -> Option<Self> {
        let mut oddities = Oddities::new(&VOCABULARY);
        let root = match with_root(body) {
            Cow::Borrowed(body) => parse(body, &mut oddities)?,
            Cow::Owned(body) => parse(&Zeroizing::new(body), &mut oddities)?,
        };
        Some(Self { root, http_status, oddities })
    }

    pub(super) fn request_id(&self) -> Option<String> {
        near_root(&self.root, "RequestId")
    }

    /// The body's code, if it has one. Two that differ are an unreadable answer.
    pub(super) fn code(&self) -> Result<Option<String>, AnswerError> {
        let nodes = places(&self.root).flat_map(|place| place.members_of_any_case("Code"));
        let read = |node: &Node| {
            let text = fields::text(node)?;
            codes::digits(text).or(is_token(text).then_some(text)).map(ToOwned::to_owned)
        };
        match agreed(nodes, read) {
            Value::Is(code) => Ok(Some(code)),
            Value::Absent => Ok(None),
            Value::Unreadable => Err(codes::error(None, self.http_status)),
        }
    }

    /// Where the result may stand: in `ResultObject`, in `Data` as in related products, or flat.
    /// `None` where one of them is present and cannot be read.
    pub(super) fn holders(&self) -> Option<Vec<Field<'_>>> {
        let mut holders = vec![Field::Borrowed(&self.root)];
        for name in ["ResultObject", "Data"] {
            let nodes = self.root.members_of_any_case(name);
            for node in nodes.filter(|node| !fields::is_absent(node)) {
                holders.push(object(node)?);
            }
        }
        Some(holders)
    }

    /// Something beside the code says that the call failed.
    pub(super) fn says_failed(&self) -> bool {
        let denies = |node: &Node| match node {
            Node::Flag(success) => !success,
            node => fields::text(node).is_some_and(|text| !text.eq_ignore_ascii_case("true")),
        };
        let mut success = self.root.members_of_any_case("Success");
        !(200..=299).contains(&self.http_status)
            || success.any(|node| !fields::is_absent(node) && denies(node))
    }
}

/// The body with a root element around the elements of an XML answer that has none.
fn with_root(body: &[u8]) -> Cow<'_, [u8]> {
    let text = trimmed(body);
    let text = match text.strip_prefix(b"<?xml") {
        Some(declaration) => {
            let end = declaration.windows(2).position(|end| end == b"?>");
            end.map_or(text, |end| declaration[end + 2..].trim_ascii())
        }
        None => text,
    };
    if ROOTLESS.iter().any(|start| text.starts_with(start)) {
        return Cow::Owned([b"<R>".as_slice(), text, b"</R>"].concat());
    }
    Cow::Borrowed(body)
}
