//! The browser's return from the verification page.

use super::codes;
use super::nested::{members, object, token};
use crate::decoding::fields::{self, agreed};
use crate::decoding::tree::Node;

/// Longest text that is read. Real ones have about 150 bytes.
const MAX_BYTES: usize = 8 * 1024;
/// Longest `subCode`.
const MAX_SUB_CODE_BYTES: usize = 8;
/// Shortest text that is taken for a `CertifyId` where apps write it. The vendor's have 32.
const MIN_CERTIFY_ID_BYTES: usize = 16;

/// The parameter `response` of a return to `ReturnUrl`, or the message of an embedded page. The
/// user can forge it, so it may only move the query for the result forward.
///
/// ```
/// use cloudauth::face_verify::Return;
///
/// let response = r#"{"code":1000,"subCode":"Z5050","extInfo":{"certifyId":"sha0000000a"}}"#;
/// let returned = Return::parse(response);
/// assert_eq!((returned.code, returned.sub_code.as_deref()), (Some(1000), Some("Z5050")));
/// assert_eq!(returned.certify_id.as_deref(), Some("sha0000000a"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Return {
    /// `code`: 1000 completed, 1003 interrupted, 2006 not passed, and others.
    pub code: Option<u32>,
    /// `subCode`: at most eight letters and digits, such as `Z5050`.
    pub sub_code: Option<String>,
    /// `extInfo.certifyId`.
    pub certify_id: Option<String>,
}

impl Return {
    /// Reads the decoded value of `response`. Where it is no JSON object, everything is missing.
    pub fn parse(response: &str) -> Self {
        if response.len() > MAX_BYTES {
            return Self::default();
        }
        let text = Node::text(response);
        object(&text).map_or_else(Self::default, |root| Self::read(&root))
    }

    fn read(root: &Node) -> Self {
        let extra: Vec<_> = members(&[root], "extInfo").filter_map(object).collect();
        let places: Vec<&Node> = extra.iter().map(|extra| &**extra).chain([root]).collect();
        let one = |name: &str, read: fn(&Node) -> Option<String>| {
            agreed(members(&places, name), read).readable()
        };
        // Apps hand on their SDK's result, which has it as its message.
        let long = |text: &String| text.len() >= MIN_CERTIFY_ID_BYTES;
        let of_app = || one("msg", token).or_else(|| one("retMessageSub", token)).filter(long);
        Self {
            code: one("code", digits).and_then(|code| code.parse().ok()),
            sub_code: one("subCode", sub_code),
            certify_id: one("certifyId", token).or_else(of_app),
        }
    }
}

fn digits(node: &Node) -> Option<String> {
    codes::digits(fields::text(node)?).map(str::to_owned)
}

fn sub_code(node: &Node) -> Option<String> {
    let text = fields::text(node)?;
    let fits = text.len() <= MAX_SUB_CODE_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
}
