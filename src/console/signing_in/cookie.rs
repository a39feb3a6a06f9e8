//! The cookie of a session. Its prefix makes browsers keep it to this host, this origin's scheme and
//! every path; browsers take a `Secure` cookie over http from this machine.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::vault::{known_browser, token};

const SESSION: &str = "__Host-verdict_session";
const IDENTITY: &str = "__Host-verdict_identity";
const KNOWN: &str = "__Host-verdict_known";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The token that a request presents.
pub fn session(headers: &HeaderMap) -> Option<&str> {
    value(headers, SESSION).filter(|token| token::has_shape(token))
}

/// The header that signs a browser in. The cookie ends with the browser's session; the session itself
/// ends by the database's clock.
pub fn signs_in(token: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{SESSION}={token}; {ATTRIBUTES}")).ok()
}

/// The header that takes the cookie away.
pub const fn signs_out() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-verdict_session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
    )
}

/// The state of a sign-in that is at the identity provider.
pub fn identity(headers: &HeaderMap) -> Option<&str> {
    value(headers, IDENTITY)
}

/// The header that keeps it, for ten minutes.
pub fn keeps_identity(value: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{IDENTITY}={value}; {ATTRIBUTES}; Max-Age=600")).ok()
}

/// The header that takes it away.
pub const fn drops_identity() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-verdict_identity=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
    )
}

/// The mark of a browser in which a person signed in before.
pub fn known(headers: &HeaderMap) -> Option<&str> {
    value(headers, KNOWN)
}

/// The header that keeps it.
pub fn keeps_known(mark: &str) -> Option<HeaderValue> {
    let seconds = known_browser::LIFETIME.as_secs();
    HeaderValue::try_from(format!("{KNOWN}={mark}; {ATTRIBUTES}; Max-Age={seconds}")).ok()
}

/// The value of a cookie; of several with one name none counts.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(found, _)| found.trim() == name);
    let (first, None) = (values.next()?, values.next()) else { return None };
    Some(first.1.trim())
}
