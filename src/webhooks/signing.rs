//! Standard Webhooks for deliveries: keys, and the three headers that sign a body. Pure.
//!
//! `v1` is HMAC-SHA256 under a secret that both sides hold, `v1a` is ed25519 under a key of which
//! the receiver holds the public half. Both sign `id.timestamp.body`. During a rotation a delivery
//! carries one signature for each key, so that no receiver refuses it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::vault::callback_signature::{Secret, SecretError, sign};

/// Prefix of the text form of an ed25519 private key.
pub const PRIVATE_KEY_PREFIX: &str = "whsk_";
pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Bytes of an ed25519 seed. In the text form, the public key may follow the private key.
const SEED_BYTES: usize = 32;

/// Why a text is not a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("an ed25519 signing key is `whsk_` followed by the base64 form of 32 or 64 bytes")]
    PrivateKey,
}

/// Signs deliveries to one endpoint.
#[derive(Clone)]
pub enum SigningKey {
    /// HMAC-SHA256 with a shared secret.
    V1(Secret),
    /// ed25519: receivers verify with the public key.
    V1a(Arc<Ed25519KeyPair>),
}

impl SigningKey {
    /// `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some(encoded) = text.trim().strip_prefix(PRIVATE_KEY_PREFIX) else {
            return Ok(Self::V1(Secret::parse(text)?));
        };
        let bytes = STANDARD.decode(encoded).map(Zeroizing::new);
        Self::v1a(&bytes.map_err(|_| KeyError::PrivateKey)?)
    }

    /// Makes an ed25519 key from its seed, which the public key may follow.
    pub fn v1a(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = match bytes.split_at_checked(SEED_BYTES) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err(KeyError::PrivateKey),
        };
        pair.map(|pair| Self::V1a(Arc::new(pair))).map_err(|_| KeyError::PrivateKey)
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        match self {
            Self::V1(secret) => sign(secret, id, timestamp, body),
            Self::V1a(pair) => {
                let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
                format!("v1a,{}", STANDARD.encode(pair.sign(&signed)))
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1(_) => "SigningKey(v1, ..)",
            Self::V1a(_) => "SigningKey(v1a, ..)",
        })
    }
}

/// The headers of one attempt: the event's id, the time of the attempt, and one signature for each
/// key, the current one first.
pub fn signature_headers(
    keys: &[SigningKey],
    id: &str,
    sent_at: OffsetDateTime,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let timestamp = sent_at.unix_timestamp();
    let signatures: Vec<String> =
        keys.iter().map(|key| key.signature(id, timestamp, body)).collect();
    [
        (ID_HEADER, id.to_owned()),
        (TIMESTAMP_HEADER, timestamp.to_string()),
        (SIGNATURE_HEADER, signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn signed(keys: &[&str]) -> String {
        let keys: Vec<SigningKey> =
            keys.iter().map(|key| SigningKey::parse(key).unwrap()).collect();
        let at = OffsetDateTime::from_unix_timestamp(AT).unwrap();
        let [id, timestamp, signature] = signature_headers(&keys, ID, at, BODY);
        assert_eq!(id, ("webhook-id", ID.to_owned()));
        assert_eq!(timestamp, ("webhook-timestamp", AT.to_string()));
        assert_eq!(signature.0, "webhook-signature");
        signature.1
    }

    // The test vector of the public libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BY_SECRET: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    // The test vector of the reference server for `v1a`.
    const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const SEED: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    const PUBLIC: &str = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const BY_PRIVATE: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    #[test]
    fn public_vectors_are_reproduced() {
        assert_eq!(signed(&[SECRET]), BY_SECRET);
        for key in [PRIVATE, SEED] {
            assert_eq!(signed(&[key]), BY_PRIVATE);
        }
        let public = STANDARD.decode(PUBLIC).unwrap();
        let signature = STANDARD.decode(BY_PRIVATE.trim_start_matches("v1a,")).unwrap();
        let text = [ID.as_bytes(), b".", AT.to_string().as_bytes(), b".", BODY].concat();
        UnparsedPublicKey::new(&ED25519, public).verify(&text, &signature).unwrap();
    }

    #[test]
    fn rotation_sends_both_signatures_current_key_first() {
        assert_eq!(signed(&[PRIVATE, SECRET]), format!("{BY_PRIVATE} {BY_SECRET}"));
    }

    #[test]
    fn public_library_verifies_both_signatures_of_a_rotation() {
        let (new, old) = ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", SECRET);
        let keys = [new, old].map(|key| SigningKey::parse(key).unwrap());
        let now = crate::domain::clock::Clock::system().now();
        let mut headers = http::HeaderMap::new();
        for (name, value) in signature_headers(&keys, "evt_1", now, BODY) {
            headers.insert(name, value.parse().unwrap());
        }
        for secret in [new, old] {
            standardwebhooks::Webhook::new(secret).unwrap().verify(BODY, &headers).unwrap();
        }
        let stranger = "whsec_HxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4=";
        let library = standardwebhooks::Webhook::new(stranger).unwrap();
        assert!(library.verify(BODY, &headers).is_err());
    }

    #[test]
    fn malformed_keys_are_refused_and_never_printed() {
        let other_half = format!("{}AAAA", &PRIVATE[..PRIVATE.len() - 4]);
        for text in ["whsk_", "whsk_*", "whsk_AAAA", other_half.as_str()] {
            assert_eq!(SigningKey::parse(text).err(), Some(KeyError::PrivateKey), "{text}");
        }
        for text in ["", "whsec_", "whsec_AAAA", "whpk_AAAA"] {
            assert!(matches!(SigningKey::parse(text), Err(KeyError::Secret(_))), "{text}");
        }
        assert_eq!(format!("{:?}", SigningKey::parse(PRIVATE).unwrap()), "SigningKey(v1a, ..)");
    }
}
