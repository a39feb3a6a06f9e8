//! The vendor's own callback: an unsigned `GET` that says a verification was completed.

use std::fmt;

use secrecy::SecretString;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::codes;
use crate::decoding::envelope::is_token;

/// Longest query that is read. Real ones have about 100 bytes.
const MAX_QUERY_BYTES: usize = 8 * 1024;
/// Longest token. The caller chooses it, so it knows its length.
const MAX_TOKEN_BYTES: usize = 512;

/// The content of a vendor's callback. Anybody can send one, so it may only move the query for the
/// result forward. Compare the token in constant time, and believe no verdict in it.
///
/// Names are read in any case, since the vendor's documents differ. A parameter that comes twice
/// with different values counts as missing. The `Debug` does not show the token.
///
/// ```
/// use cloudauth::face_verify::Notice;
/// use secrecy::ExposeSecret as _;
///
/// let notice = Notice::parse("callbackToken=tok-7f3a&certifyId=sha0000000a&passed=204");
/// assert_eq!(notice.certify_id.as_deref(), Some("sha0000000a"));
/// assert_eq!(notice.code.as_deref(), Some("204"));
/// assert_eq!(notice.token.unwrap().expose_secret(), "tok-7f3a");
/// ```
#[derive(Clone, Default)]
pub struct Notice {
    /// `certifyId`.
    pub certify_id: Option<String>,
    /// `callbackToken`, decoded.
    pub token: Option<SecretString>,
    /// `passed`, where it is `T` or `F`.
    pub passed: Option<bool>,
    /// `subCode`, or `passed` where it is a code.
    pub code: Option<String>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice")
            .field("certify_id", &self.certify_id)
            .field("passed", &self.passed)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Notice {
    /// Reads the query of the request, without the `?` before it. The probe at each
    /// `InitFaceVerify` has none, so that everything is missing.
    pub fn parse(query: &str) -> Self {
        if query.len() > MAX_QUERY_BYTES {
            return Self::default();
        }
        let parameters = Parameters::of(query);
        let passed = parameters.one("passed");
        let passed_code = passed.and_then(codes::digits);
        let sub_code = parameters.one("subCode").and_then(codes::digits);
        let same = passed_code.is_none() || sub_code.is_none() || passed_code == sub_code;
        let fits = |token: &&str| token.len() <= MAX_TOKEN_BYTES;
        Self {
            certify_id: parameters.one("certifyId").filter(|id| is_token(id)).map(str::to_owned),
            token: parameters.one("callbackToken").filter(fits).map(SecretString::from),
            passed: match passed {
                Some("T" | "t") => Some(true),
                Some("F" | "f") => Some(false),
                _ => None,
            },
            code: sub_code.or(passed_code).filter(|_| same).map(str::to_owned),
        }
    }
}

/// Decoded names and values.
struct Parameters(Vec<(String, Zeroizing<String>)>);

impl Parameters {
    /// Split at `?`, too: it is unknown how the vendor appends to a URL that has a query.
    fn of(query: &str) -> Self {
        let parts = query.split('?').map(str::as_bytes);
        let pairs = parts.flat_map(form_urlencoded::parse);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect())
    }

    /// The one value of that name.
    fn one(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut values = named.map(|(_, value)| value.trim()).filter(|value| !value.is_empty());
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }
}
