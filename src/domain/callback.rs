//! A callback: the app's backend reports what the phone reported. A hint, and the key of a fetch.

mod hints;
mod members;

use std::fmt;

use policy::product::Product;
use policy::scene;
use time::OffsetDateTime;

use super::field_error::FieldError;
use super::lenient_json::{self, Json, Text};

pub use hints::Hint;

use members::last;

/// Longest `reference`, in characters.
pub const MAX_REFERENCE_CHARS: usize = 128;
/// Deepest nesting of a body. Everything below the second level is ignored.
const MAX_DEPTH: usize = 64;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses 1 to [`scene::MAX_KEY_CHARS`] code points without control characters.
            pub fn parse(text: &str) -> Result<Self, &'static str> {
                scene::check_key(text).map(|()| Self(text.to_owned()))
            }
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
    /// The caller's id of one verification: as given to `DescribeVerifyToken`, or the order number
    /// given to `InitFaceVerify`. Where the caller started one of face-verify itself, the `CertifyId`.
    BizId;
    /// The provider's id of one verification of face-verify. Opaque.
    CertifyId;
}

/// Products whose results are asked for by `CertifyId`: before it is known nothing can be asked.
pub const BY_CERTIFY_ID: [Product; 1] = [Product::FaceVerify];

/// One valid callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    pub product: Product,
    pub biz_type: BizType,
    /// Of face-verify without one in the body: the text of `certify_id`.
    pub biz_id: BizId,
    /// Only of face-verify, and only if the body has it.
    pub certify_id: Option<CertifyId>,
    /// When the phone finished, by its own or its backend's clock, if plausible. A hint.
    pub occurred_at: Option<OffsetDateTime>,
    /// The caller's reference (a user id, a ticket), returned in every response.
    pub reference: Option<String>,
    /// Reported by the SDK on the phone.
    pub hint: Hint,
    /// Names of hints that could not be read.
    pub dropped_hints: Vec<&'static str>,
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
    /// The `certify_id` of the verification, if this callback is the first to mention it: then it
    /// was started elsewhere, and `biz_id` is the `CertifyId` unless there is another.
    pub fn certify_id_if_new(&self) -> Option<&str> {
        match self.product {
            Product::VerifyResult => None,
            Product::FaceVerify => {
                Some(self.certify_id.as_ref().map_or(self.biz_id.as_str(), CertifyId::as_str))
            }
        }
    }

    /// Parses a body. Only the members that identify the verification can invalidate it: unreadable
    /// hints are dropped, unknown members are ignored, and damaged text in either does no harm.
    /// All invalid members are reported at once. `default` is the product of a body that names none.
    pub fn parse(body: &[u8], default: Product) -> Result<Self, CallbackError> {
        let document = lenient_json::read(body, MAX_DEPTH).ok_or(CallbackError::Malformed)?;
        let Json::Object(members) = document.root else { return Err(CallbackError::Malformed) };
        let byte_order_mark = !body.trim_ascii_start().starts_with(b"{");
        if document.stray_bytes || byte_order_mark || !document.rest.is_empty() {
            return Err(CallbackError::Malformed);
        }
        let mut errors = Vec::new();
        let biz_type = exact(&members, "/biz_type", true, BizType::parse, &mut errors);
        let product = exact(&members, "/product", false, parse_product, &mut errors);
        let product = product.unwrap_or(default);
        let certify_id = exact(&members, "/certify_id", false, CertifyId::parse, &mut errors)
            .filter(|_| product == Product::FaceVerify);
        let by_certify_id = certify_id.as_ref().map(|id| BizId(id.0.clone()));
        let is_named = by_certify_id.is_some();
        let biz_id = exact(&members, "/biz_id", !is_named, BizId::parse, &mut errors);
        let biz_id = biz_id.or(by_certify_id);
        let reference = exact(&members, "/reference", false, parse_reference, &mut errors);
        let (Some(biz_type), Some(biz_id), true) = (biz_type, biz_id, errors.is_empty()) else {
            return Err(CallbackError::Invalid(errors));
        };
        let mut dropped_hints = Vec::new();
        let occurred_at = hints::occurred_at(last(&members, "occurred_at"), &mut dropped_hints);
        let hint = Hint::read(last(&members, "client"), &mut dropped_hints);
        Ok(Self {
            product,
            biz_type,
            biz_id,
            certify_id,
            occurred_at,
            reference,
            hint,
            dropped_hints,
        })
    }
}

/// An exact text: undamaged, and given once or always the same.
fn exact<T>(
    members: &[(Text, Json)],
    pointer: &'static str,
    required: bool,
    parse: impl Fn(&str) -> Result<T, &'static str>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let name = &pointer[1..];
    let outcome = match last(members, name) {
        None if required => Err("is required"),
        None => return None,
        Some(Json::Text(text)) if text.damaged => Err("must be whole Unicode text"),
        Some(Json::Text(text)) => {
            let same =
                |value: &Json| matches!(value, Json::Text(again) if again.value == text.value);
            let mut named = members.iter().filter(|(other, _)| other.value.as_str() == name);
            if named.all(|(_, value)| same(value)) {
                parse(&text.value)
            } else {
                Err("is given twice with different values")
            }
        }
        Some(_) => Err("must be a string"),
    };
    outcome.map_err(|detail| errors.push(FieldError { pointer, detail })).ok()
}

/// The name of a product.
pub fn parse_product(text: &str) -> Result<Product, &'static str> {
    Product::parse(text).ok_or("must be verify-result or face-verify")
}

/// The caller's reference, returned unchanged.
pub fn parse_reference(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().count() <= MAX_REFERENCE_CHARS && !text.contains('\0');
    fits.then(|| text.to_owned()).ok_or("must be at most 128 characters, none of them NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Callback, CallbackError> {
        Callback::parse(body.as_bytes(), Product::VerifyResult)
    }

    fn pointers(body: &str) -> Vec<&'static str> {
        match parse(body) {
            Err(CallbackError::Invalid(errors)) => errors.iter().map(|e| e.pointer).collect(),
            other => panic!("expected field errors, got {other:?}"),
        }
    }

    #[test]
    fn documented_body_parses() {
        let body = r#"{ "biz_type": "RPBasicTest", "biz_id": "39ecf51e-2f81-4dc5-90ee-ff86125be683",
            "occurred_at": "2026-11-23T09:30:00Z", "reference": "user-8812", "new_field": [1],
            "client": { "audit": "AUDIT_PASS", "code": "1", "message": "", "platform": "android" } }"#;
        let callback = parse(body).expect("valid");
        assert_eq!(callback.biz_type.as_str(), "RPBasicTest");
        assert_eq!(callback.reference.as_deref(), Some("user-8812"));
        assert_eq!(
            callback.hint,
            Hint { audit: Some("AUDIT_PASS"), code: Some(1), platform: Some("android") }
        );
        assert!(callback.dropped_hints.is_empty());
    }

    #[test]
    fn face_verify_is_named_by_certify_id_or_order_number() {
        let of = |body: &str| {
            let callback = parse(body).expect("valid");
            (callback.product, callback.biz_id.0, callback.certify_id.map(|id| id.0))
        };
        let id = || "sha7".to_owned();
        assert_eq!(
            of(r#"{"product":"face-verify","biz_type":"1000000006","certify_id":"sha7"}"#),
            (Product::FaceVerify, id(), Some(id()))
        );
        assert_eq!(
            of(r#"{"product":"face-verify","biz_type":"1000000006","biz_id":"order1"}"#),
            (Product::FaceVerify, "order1".to_owned(), None)
        );
        assert_eq!(
            of(r#"{"product":"face-verify","biz_type":"1","biz_id":"order1","certify_id":"sha7"}"#),
            (Product::FaceVerify, "order1".to_owned(), Some(id()))
        );
        // The other product has no such id.
        assert_eq!(
            of(r#"{"product":"verify-result","biz_type":"1","biz_id":"b","certify_id":"sha7"}"#),
            (Product::VerifyResult, "b".to_owned(), None)
        );
        let default = Callback::parse(br#"{"biz_type":"1","certify_id":"c"}"#, Product::FaceVerify);
        assert_eq!(default.expect("valid").product, Product::FaceVerify);
    }

    #[test]
    fn every_wrong_member_is_named_at_once() {
        assert_eq!(
            pointers(r#"{"product":"face_verify","biz_type":"1","biz_id":"b"}"#),
            ["/product"]
        );
        assert_eq!(
            pointers(r#"{"product":"face-verify","biz_type":"1","certify_id":""}"#),
            ["/certify_id", "/biz_id"]
        );
        assert_eq!(pointers("{}"), ["/biz_type", "/biz_id"]);
        assert_eq!(
            pointers(r#"{"biz_type":7,"biz_id":"","occurred_at":"yesterday","reference":{}}"#),
            ["/biz_type", "/biz_id", "/reference"]
        );
        for id in
            ["", &"订".repeat(65), "tab\\u0009", "\\u0000", "\\u0085", "\\ud83d", "line\nbreak"]
        {
            assert_eq!(pointers(&format!(r#"{{"biz_type":"a","biz_id":"{id}"}}"#)), ["/biz_id"]);
        }
        assert_eq!(pointers(r#"{"biz_type":"a","biz_id":"b","biz_id":"c"}"#), ["/biz_id"]);
        assert_eq!(
            pointers(r#"{"biz_type":"a","biz_id":"b","reference":"\ud83d"}"#),
            ["/reference"]
        );
    }

    #[test]
    fn id_may_be_any_text_the_provider_accepts() {
        let longest = "订".repeat(64);
        for id in [" ", " a b ", "a/b\\c", "订单😀", "e\u{301}", "\u{200b}\u{fffd}", &longest] {
            let body = serde_json::json!({ "biz_type": id, "biz_id": id }).to_string();
            let callback = parse(&body).expect("valid");
            assert_eq!((callback.biz_type.as_str(), callback.biz_id.as_str()), (id, id));
        }
    }

    #[test]
    fn non_object_body_is_malformed() {
        for body in ["", "null", "[]", "{", "\u{feff}{}", "{\"a\":1}x"] {
            assert_eq!(parse(body), Err(CallbackError::Malformed));
        }
        let stray = b"{\"biz_type\":\"a\",\xff\"biz_id\":\"b\"}";
        assert_eq!(Callback::parse(stray, Product::VerifyResult), Err(CallbackError::Malformed));
    }

    #[test]
    fn damage_outside_the_ids_loses_nothing() {
        for member in [
            &br#""client":{"message":"\ud83d","audit":"AUDIT_PASS"}"#[..],
            b"\"client\":{\"message\":\"\xb2\xe2\",\"audit\":\"audit_pass\"}",
            b"\"\xff\":\"\n\",\"client\":{\"message\":{\"x\":[1]},\"audit\":\"AUDIT_PASS\"}",
            b"\"new\":NaN,\"client\":{\"message\":7,\"audit\":\"AUDIT_PASS\"}",
        ] {
            let body = [&br#"{"biz_type":"a","biz_id":"b","#[..], member, b"}"].concat();
            let callback = Callback::parse(&body, Product::VerifyResult).expect("valid");
            assert_eq!(callback.hint.audit, Some("AUDIT_PASS"), "{}", body.escape_ascii());
        }
    }
}
