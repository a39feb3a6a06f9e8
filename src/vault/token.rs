//! Tokens of sessions and invitations: made once, given to one browser, kept as a digest.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::SealError;

/// Characters of a token: base64 without padding over 32 bytes.
const LENGTH: usize = 43;

/// A new token, of 32 random bytes.
pub fn generate() -> Result<Zeroizing<String>, SealError> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Could be a token: what cannot need not be looked up.
pub fn has_shape(token: &str) -> bool {
    token.len() == LENGTH
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What is kept of a token: it has 256 random bits, so there is nothing to guess.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of the forms of one session. Nobody who sees it learns the session's.
pub fn of_forms(session: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §3)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(session.as_bytes()).expect("any key length");
    mac.update(b"forms");
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_their_forms_have_others() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert!(
            has_shape(&one)
                && !has_shape(&one[1..])
                && !has_shape(&one.replace('-', "+").replacen(&one[..1], "=", 1))
        );
        assert_ne!(*one, *other);
        assert_ne!(of_forms(&one), of_forms(&other));
        assert_eq!(of_forms(&one), of_forms(&one));
        assert_ne!(of_forms(&one), *one);
    }
}
