//! Signs requests: the RPC signature ([`v2`]) and `ACS3` ([`v3`]).
//!
//! Pure: parameters in, text out. Time and nonce are parameters like others.
//!
//! ```
//! use cloudauth::signing::{percent_encode, v2};
//!
//! let params = [("Action", "DescribeVerifyResult"), ("BizId", "a b")];
//! let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
//! let text = v2::string_to_sign("POST", &params);
//! assert_eq!(text, "POST&%2F&Action%3DDescribeVerifyResult%26BizId%3Da%2520b");
//! assert_eq!(v2::signature("testsecret", &text).len(), 28);
//! assert_eq!(percent_encode("a b~*"), "a%20b~%2A");
//! ```

pub mod v2;
pub mod v3;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

/// Percent-encodes the UTF-8 bytes of `text`: only the unreserved characters of RFC 3986 stay,
/// everything else becomes `%XX` in upper case. So a blank is `%20`, never `+`, and `~` stays:
/// the two places where form encoders differ and signatures break.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// `name=value&…`, both percent-encoded, ordered by name in byte order (`A` before `_` before
/// `a`), and by value where a name repeats. Good for a query, a form body and a signature alike.
pub fn canonical_query(params: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = params.iter().collect();
    sorted.sort_unstable();
    let pairs: Vec<String> = sorted
        .into_iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    pairs.join("&")
}
