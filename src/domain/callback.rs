//! A callback: what the app's backend says the phone said. A hint, and a key to ask by.

use std::fmt;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::members::{FieldError, Members};

/// Longest `biz_type` and `biz_id`, in characters (the provider's document: `BizId` ≤ 64;
/// `BizType` is shorter there, but not ours to judge).
pub const MAX_KEY_CHARS: usize = 64;
/// Years a phone can have finished in. Beyond them no clock is meant, and near the year 10,000 a
/// time cannot even be moved to UTC.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;
/// Longest `reference`, in characters.
pub const MAX_REFERENCE_CHARS: usize = 128;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses 1 to [`MAX_KEY_CHARS`] visible ASCII characters without slashes.
            pub fn parse(text: &str) -> Result<Self, &'static str> {
                check_key(text).map(|()| Self(text.to_owned()))
            }
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

keys! {
    /// The provider's scene id (认证场景), defined in its console.
    BizType;
    /// The caller's id of one verification task; the same as given to `DescribeVerifyToken`.
    BizId;
}

/// A key names one verification in URLs, logs and tickets, so it must look the same everywhere:
/// no blanks, no slashes, nothing that normalises or renders differently. The vendor advises a
/// business serial number, which fits.
fn check_key(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("must not be empty");
    }
    if text.chars().count() > MAX_KEY_CHARS {
        return Err("must be at most 64 characters");
    }
    if text.chars().any(|c| !c.is_ascii_graphic() || matches!(c, '/' | '\\')) {
        return Err("must be visible ASCII characters without blanks or slashes");
    }
    Ok(())
}

/// One callback, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Scene.
    pub biz_type: BizType,
    /// Task.
    pub biz_id: BizId,
    /// When the phone finished, by its own or its backend's clock, if that can be. A hint.
    pub occurred_at: Option<OffsetDateTime>,
    /// The caller's own reference (a user id, a ticket): given back in every answer.
    pub reference: Option<String>,
    /// What the SDK on the phone said.
    pub hint: Hint,
}

/// What the phone's SDK said, reduced to closed alphabets: it may be forged, and its `message`
/// is free text that could name a person, so that one is not even kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// `AUDIT_PASS`, `AUDIT_FAIL`, `AUDIT_NOT`, `AUDIT_IN_AUDIT`, `AUDIT_EXCEPTION`.
    pub audit: Option<&'static str>,
    /// The SDK's numeric code.
    pub code: Option<i32>,
    /// `android`, `ios`, `h5`, `mini-program`.
    pub platform: Option<&'static str>,
}

/// Why a body is not a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackError {
    /// Not a JSON object in UTF-8.
    Malformed,
    /// An object, but these members are wrong.
    Invalid(Vec<FieldError>),
}

impl Callback {
    /// Reads a body. Unknown members are ignored; all wrong ones are told at once.
    pub fn parse(body: &[u8]) -> Result<Self, CallbackError> {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Err(CallbackError::Malformed);
        };
        let mut reader = Members::of(&members);
        let biz_type = reader.required("/biz_type", BizType::parse);
        let biz_id = reader.required("/biz_id", BizId::parse);
        let occurred_at = reader.optional("/occurred_at", |text| {
            let at =
                OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "must be an RFC 3339 time")?;
            // A phone whose clock was reset says 1970: no hint, but no reason to lose the callback.
            Ok(at.checked_to_offset(UtcOffset::UTC).filter(|at| YEARS.contains(&at.year())))
        });
        let reference = reader.optional("/reference", parse_reference);
        let hint = read_hint(&mut reader);
        match (biz_type, biz_id) {
            (Some(biz_type), Some(biz_id)) if reader.errors.is_empty() => {
                let occurred_at = occurred_at.flatten();
                Ok(Self { biz_type, biz_id, occurred_at, reference, hint })
            }
            _ => Err(CallbackError::Invalid(reader.errors)),
        }
    }
}

/// What callers may call their own; it is given back as it is.
pub(super) fn parse_reference(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().count() <= MAX_REFERENCE_CHARS && !text.contains('\0');
    fits.then(|| text.to_owned()).ok_or("must be at most 128 characters, none of them NUL")
}

fn read_hint(outer: &mut Members<'_>) -> Hint {
    const AUDITS: [&str; 5] =
        ["AUDIT_PASS", "AUDIT_FAIL", "AUDIT_NOT", "AUDIT_IN_AUDIT", "AUDIT_EXCEPTION"];
    const PLATFORMS: [&str; 4] = ["android", "ios", "h5", "mini-program"];
    let mut client = match outer.get("client") {
        None | Some(Value::Null) => return Hint::default(),
        Some(Value::Object(members)) => Members::of(members),
        Some(_) => {
            outer.fail::<()>("/client", "must be an object");
            return Hint::default();
        }
    };
    let word = |text: &str, known: &[&'static str]| {
        known.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
    };
    // The SDK's generations spell these differently and send code as text or number; what we do
    // not know is no reason to lose the callback.
    let audit = client.optional("/client/audit", |text| Ok(word(text, &AUDITS)));
    let platform = client.optional("/client/platform", |text| Ok(word(text, &PLATFORMS)));
    let code = match client.get("code") {
        Some(Value::Number(number)) => number.as_i64().and_then(|n| i32::try_from(n).ok()),
        _ => client.optional("/client/code", |text| Ok(text.trim().parse().ok())).flatten(),
    };
    client.optional("/client/message", |_| Ok(()));
    outer.errors.append(&mut client.errors);
    Hint { audit: audit.flatten(), code, platform: platform.flatten() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(body: &str) -> Vec<&'static str> {
        match Callback::parse(body.as_bytes()) {
            Err(CallbackError::Invalid(errors)) => errors.iter().map(|e| e.pointer).collect(),
            other => panic!("expected field errors, got {other:?}"),
        }
    }

    #[test]
    fn the_documented_body_is_understood() {
        let body = r#"{ "biz_type": "RPBasicTest", "biz_id": "39ecf51e-2f81-4dc5-90ee-ff86125be683",
            "occurred_at": "2026-11-23T09:30:00Z", "reference": "user-8812", "new_field": [1],
            "client": { "audit": "AUDIT_PASS", "code": "1", "message": "", "platform": "android" } }"#;
        let callback = Callback::parse(body.as_bytes()).expect("valid");
        assert_eq!(callback.biz_type.as_str(), "RPBasicTest");
        assert_eq!(callback.reference.as_deref(), Some("user-8812"));
        assert_eq!(
            callback.hint,
            Hint { audit: Some("AUDIT_PASS"), code: Some(1), platform: Some("android") }
        );
    }

    #[test]
    fn every_wrong_member_is_named_at_once() {
        assert_eq!(pointers("{}"), ["/biz_type", "/biz_id"]);
        assert_eq!(
            pointers(
                r#"{"biz_type":7,"biz_id":"","occurred_at":"yesterday","reference":{},"client":3}"#
            ),
            ["/biz_type", "/biz_id", "/occurred_at", "/reference", "/client"]
        );
        for id in ["", "a b", "a/b", "订单", "😀", &"x".repeat(65), "tab\\u0009"] {
            assert_eq!(pointers(&format!(r#"{{"biz_type":"a","biz_id":"{id}"}}"#)), ["/biz_id"]);
        }
    }

    #[test]
    fn a_time_that_no_clock_means_is_dropped_and_not_choked_on() {
        for at in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "1999-12-31T23:59:59Z"]
        {
            let body = format!(r#"{{"biz_type":"a","biz_id":"b","occurred_at":"{at}"}}"#);
            assert_eq!(Callback::parse(body.as_bytes()).unwrap().occurred_at, None, "{at}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_malformed() {
        for body in ["", "null", "[]", "{", "\u{feff}{}", "{\"a\":1}x"] {
            assert_eq!(Callback::parse(body.as_bytes()), Err(CallbackError::Malformed));
        }
        assert_eq!(Callback::parse(b"{\"biz_type\":\"\xff\"}"), Err(CallbackError::Malformed));
    }

    #[test]
    fn an_unknown_hint_does_not_lose_the_callback() {
        let body = r#"{"biz_type":"a","biz_id":"b","client":{"audit":"WHAT","code":"x","platform":"fridge"}}"#;
        assert_eq!(Callback::parse(body.as_bytes()).expect("valid").hint, Hint::default());
    }
}
