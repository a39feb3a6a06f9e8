//! The two kinds of codes: the body's `Code`, about the call, and `SubCode`, about the person.

use std::fmt;

use crate::wire::{self, AnswerError, ErrorClass, classify, shown_code};

/// The body code of a call that worked.
pub(super) const WORKED: &str = "200";
/// Most digits of a code. The vendor's have three; a longer one may be a person's number.
const MAX_DIGITS: usize = 6;

/// The subject of a result's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 200 and 210: passed.
    Pass,
    /// 201: name and number do not belong together.
    IdentityData,
    /// 202, 203 and 209: the authority knows nobody, has no photo, or did not answer.
    SourceCannotTell,
    /// 204 and 207: another face.
    Face,
    /// 205 and 206: perhaps an attack, or a risky device.
    AttackOrRisk,
    /// 220 to 222: consent was not given, or not in the person's voice.
    Consent,
    /// 414 to 418 and 427: the provider does not verify this person, on this device or at all.
    Refused,
    /// Any other code.
    Unknown,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pass,
        Self::IdentityData,
        Self::SourceCannotTell,
        Self::Face,
        Self::AttackOrRisk,
        Self::Consent,
        Self::Refused,
        Self::Unknown,
    ];

    /// The name, such as `identity-data`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::IdentityData => "identity-data",
            Self::SourceCannotTell => "source-cannot-tell",
            Self::Face => "face",
            Self::AttackOrRisk => "attack-or-risk",
            Self::Consent => "consent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The family of a `SubCode`, or of the body code of a refusal.
///
/// ```
/// use cloudauth::face_verify::{Family, family};
///
/// assert_eq!(family("204"), Family::Face);
/// assert_eq!(family("999"), Family::Unknown);
/// ```
pub fn family(code: &str) -> Family {
    match code {
        "200" | "210" => Family::Pass,
        "201" => Family::IdentityData,
        "202" | "203" | "209" => Family::SourceCannotTell,
        "204" | "207" => Family::Face,
        "205" | "206" => Family::AttackOrRisk,
        "220" | "221" | "222" => Family::Consent,
        "414" | "415" | "416" | "417" | "418" | "427" => Family::Refused,
        _ => Family::Unknown,
    }
}

/// Whether the refusal is about this call alone and will not change: [`wire::is_conclusive`] with
/// the body codes of this product.
pub fn is_conclusive(code: Option<&str>) -> bool {
    matches!(code, Some("400" | "401" | "404")) || wire::is_conclusive(code)
}

/// Not started, given up, or still processing: the provider does not tell them apart.
pub(super) fn is_unfinished(code: &str) -> bool {
    matches!(code, "403" | "424")
}

/// `DescribeFaceVerify` refuses this person, finally.
pub(super) fn is_refusal(code: &str) -> bool {
    family(code) == Family::Refused
}

/// `InitFaceVerify` refuses this person or the picture that was handed in.
pub(super) fn is_refused_start(code: &str) -> bool {
    is_refusal(code) || matches!(code, "405" | "419" | "420" | "421" | "422" | "423")
}

/// An answer without a result.
pub(super) fn error(code: Option<&str>, http_status: u16) -> AnswerError {
    AnswerError { class: class(code, http_status), code: code.map(shown_code) }
}

/// The body's code decides; a code of the gateway has its usual class. The HTTP status may repeat
/// an unknown code of the body, so that it must not stop the account or fail the verification.
fn class(code: Option<&str>, http_status: u16) -> ErrorClass {
    match code {
        Some("402" | "410" | "411" | "412") => ErrorClass::Credentials,
        Some("406") => ErrorClass::Gone,
        Some("400" | "401" | "404") => ErrorClass::BadRequest,
        Some("500") => ErrorClass::Transient,
        Some(code) if digits(code).is_some() => match http_status {
            429 => ErrorClass::Throttled,
            500..=599 => ErrorClass::Transient,
            _ => ErrorClass::Unreadable,
        },
        code => classify(code, http_status),
    }
}

/// A code of digits. Numbers are written as `204`, `"204"` and, by some serializers, `204.0`.
pub(super) fn digits(text: &str) -> Option<&str> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let fits = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && whole).then_some(digits)
}
