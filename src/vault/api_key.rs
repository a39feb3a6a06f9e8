//! API keys: made once, shown once, kept as a digest.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::SealError;

/// The prefix of every API key, so that scanners find leaked keys.
pub const PREFIX: &str = "vk_";

/// A new key: [`PREFIX`] and 43 characters of URL-safe base64 over 32 random bytes.
pub fn generate() -> Result<String, SealError> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Could be a key: what cannot need not be looked up.
pub fn has_shape(key: &str) -> bool {
    key.len() == PREFIX.len() + 43 && key.starts_with(PREFIX)
}

/// SHA-256 of a key as it is presented. No salt and no stretching: the key has 256 random bits,
/// so there is nothing to guess, and lookups need the same digest every time.
pub fn secret_digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_promised_form_and_is_never_the_same() {
        let key = generate().unwrap();
        let rest = key.strip_prefix("vk_").unwrap();
        assert_eq!(rest.len(), 43);
        assert!(has_shape(&key) && !has_shape(rest));
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(key, generate().unwrap());
    }

    #[test]
    fn the_digest_is_plain_sha_256() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(secret_digest("abc")), expected);
    }
}
