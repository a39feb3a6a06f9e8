//! Answers that a strict JSON parser refuses although what decides is readable, as services with
//! old clients and gateways in front of them write.

/// How a JSON answer is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A text with half of a surrogate pair.
    Surrogate,
    /// A text with raw control characters.
    Control,
    /// A text with one byte that is no UTF-8.
    Byte,
    /// A text in GBK, its last byte a backslash.
    Gbk,
    /// A comment behind the answer.
    Trailing,
    /// A second answer behind the first, with another status.
    Second,
    /// `Success: false` and an error code beside the status.
    Denied,
}

impl Damage {
    /// The damage with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "surrogate" => Self::Surrogate,
            "control" => Self::Control,
            "byte" => Self::Byte,
            "gbk" => Self::Gbk,
            "trailing" => Self::Trailing,
            "second" => Self::Second,
            "denied" => Self::Denied,
            _ => return None,
        })
    }

    /// Damages one JSON object.
    pub fn apply(self, json: &str) -> Vec<u8> {
        let after_brace = json.get(1..).unwrap_or_default().as_bytes();
        let with_member = |member: &[u8]| [b"{", member, b",", after_brace].concat();
        match self {
            Self::Surrogate => with_member(br#""Message":"half a pair: \ud83d""#),
            Self::Control => with_member(b"\"Message\":\"two\nlines\x01\""),
            Self::Byte => with_member(b"\"Message\":\"one byte: \xff\""),
            Self::Gbk => with_member(b"\"Message\":\"\xb3\xc9\xb9\xa6\x95\x5c\""),
            Self::Trailing => [json.as_bytes(), b"\n<!-- edge 7 -->\n"].concat(),
            Self::Second => [json.as_bytes(), br#"{"VerifyStatus":7}"#].concat(),
            Self::Denied => with_member(br#""Success":false,"Code":"InternalError""#),
        }
    }
}
