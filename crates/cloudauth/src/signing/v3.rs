//! The header signature `ACS3-HMAC-SHA256` ("V3" in the vendor's SDKs).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::canonical_query;

/// The name of the algorithm, as it stands in the `Authorization` header.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Hex SHA-256 of a body: the header `x-acs-content-sha256`.
pub fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The request in its canonical form. `signed_headers` are those the signature covers, in any
/// order and case; `hashed_payload` is the [`hash`] of the body.
pub fn canonical_request(
    method: &str,
    path: &str,
    query: &[(String, String)],
    signed_headers: &[(String, String)],
    hashed_payload: &str,
) -> String {
    let headers = sorted(signed_headers);
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let lines = lines.concat();
    let query = canonical_query(query);
    let names = names(&headers);
    format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hashed_payload}")
}

/// The signed text: the algorithm and the hash of the canonical request.
pub fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", hash(canonical_request.as_bytes()))
}

/// Hex HMAC-SHA256 under the plain secret; unlike [`super::v2`], with no `&` behind it.
pub fn signature(access_key_secret: &str, string_to_sign: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(access_key_secret.as_bytes())
        .expect("any key length will do");
    mac.update(string_to_sign.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The value of the `Authorization` header.
pub fn authorization(
    access_key_id: &str,
    access_key_secret: &str,
    method: &str,
    path: &str,
    query: &[(String, String)],
    signed_headers: &[(String, String)],
    hashed_payload: &str,
) -> String {
    let canonical = canonical_request(method, path, query, signed_headers, hashed_payload);
    let signature = signature(access_key_secret, &string_to_sign(&canonical));
    let names = names(&sorted(signed_headers));
    format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={names},Signature={signature}")
}

/// Names in lower case, values trimmed, ordered by name.
fn sorted(headers: &[(String, String)]) -> Vec<(String, &str)> {
    let mut headers: Vec<(String, &str)> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    headers.sort_unstable();
    headers
}

fn names(headers: &[(String, &str)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.join(";")
}
