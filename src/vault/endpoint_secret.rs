//! The secret that signs deliveries to one webhook endpoint.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::callback_signature::SECRET_PREFIX;
use super::seal::SealError;

/// Prefix of the text form of a public key.
pub const PUBLIC_PREFIX: &str = "whpk_";

/// 32 random bytes: the key of an HMAC (`v1`), or the seed of an ed25519 key (`v1a`).
#[derive(Clone)]
pub struct EndpointSecret(Zeroizing<[u8; 32]>);

impl EndpointSecret {
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
        Ok(Self(bytes))
    }

    /// `None`: not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// `whsec_…`, as a receiver configures it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(self.0.as_slice())))
    }

    /// The public half of the ed25519 key of which this is the seed.
    pub fn public_key(&self) -> Result<[u8; 32], SealError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(self.0.as_slice()).map_err(|_| SealError)?;
        pair.public_key().as_ref().try_into().map_err(|_| SealError)
    }
}

impl fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointSecret(..)")
    }
}

/// `whpk_…`, as a receiver configures it.
pub fn public_key_text(key: &[u8]) -> String {
    format!("{PUBLIC_PREFIX}{}", STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_key_is_the_one_of_rfc_8032() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let secret = EndpointSecret::from_bytes(&hex::decode(seed).unwrap()).unwrap();
        assert_eq!(hex::encode(secret.public_key().unwrap()), public);
        assert!(EndpointSecret::from_bytes(&[0; 31]).is_none());
    }

    #[test]
    fn secret_is_what_the_public_libraries_take() {
        let secret = EndpointSecret::generate().unwrap();
        let parsed = crate::vault::Secret::parse(&secret.text()).unwrap();
        let same = crate::vault::Secret::parse(&STANDARD.encode(secret.as_bytes())).unwrap();
        assert!(parsed.is_same_as(&same));
        assert_ne!(secret.as_bytes(), EndpointSecret::generate().unwrap().as_bytes());
        assert_eq!(format!("{secret:?}"), "EndpointSecret(..)");
    }
}
