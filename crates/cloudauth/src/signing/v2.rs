//! The RPC signature: HMAC-SHA1 over all parameters ("V2" in the vendor's SDKs).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{canonical_query, percent_encode};

/// The signed text: the method, the path `/` and every parameter of query and form body except
/// `Signature`. The canonical query is encoded a second time. `method` is the request's method, in
/// upper case.
pub fn string_to_sign(method: &str, params: &[(String, String)]) -> String {
    let signed: Vec<(String, String)> =
        params.iter().filter(|(name, _)| name != "Signature").cloned().collect();
    format!("{method}&%2F&{}", percent_encode(&canonical_query(&signed)))
}

/// The value of the parameter `Signature`: base64 of the HMAC-SHA1 whose key is the secret with
/// a `&` behind it. (Some pages of the vendor leave the `&` out; every SDK has it.)
pub fn signature(access_key_secret: &str, string_to_sign: &str) -> String {
    let key = Zeroizing::new(format!("{access_key_secret}&"));
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any key length will do");
    mac.update(string_to_sign.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
