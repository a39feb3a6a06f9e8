//! The cookie of a session. Its prefix makes browsers keep it to this host, this origin's scheme and
//! every path; browsers take a `Secure` cookie over http from this machine.

use http::HeaderMap;
use http::header::COOKIE;

use crate::vault::token;

const SESSION: &str = "__Host-verdict_session";

/// The token that a request presents.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    value(headers, SESSION).filter(|token| token::has_shape(token))
}

/// The value of a cookie; of several with one name none counts.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(found, _)| found.trim() == name);
    let (first, None) = (values.next()?, values.next()) else { return None };
    Some(first.1.trim())
}
