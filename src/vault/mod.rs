//! Secrets: sealing, the key ring, webhook signatures, API keys.
//!
//! | File | Contents |
//! |---|---|
//! | [`seal`] | data keys, and the sealed form of one value |
//! | [`sealed_at`] | what a sealed value is, and whose |
//! | `label` | what a sealed value is bound to, as bytes |
//! | [`ring`] | key-encryption keys: wrapping, opening and rotating data keys |
//! | [`callback_signature`] | Standard Webhooks: signing and verifying callbacks and notifications |
//! | [`endpoint_secret`] | what signs deliveries to a webhook endpoint |
//! | [`person_index`] | the keyed hash of an identity number |
//! | [`checkpoint_mac`] | the signature of the audit's checkpoints |
//! | `locked` | memory for keys that is never swapped out |
//! | [`api_key`] | making API keys, and the digest that is kept of them |
//! | [`password`] | digests of passwords |
//! | [`totp`] | one-time codes |
//! | [`token`] | the same for tokens of sessions and invitations |
//! | [`known_browser`] | the mark of a browser in which a person has signed in |
//! | [`witness_key`] | making the key of a witness |
//!
//! Nothing here does I/O. Keys and nonces come from the cryptographic library's own random
//! source, the one exception to "randomness comes in through `domain::ids`".

pub mod api_key;
pub mod checkpoint_mac;
pub mod endpoint_secret;
pub mod known_browser;
mod label;
mod locked;
pub mod password;
pub mod person_index;
pub mod ring;
pub mod seal;
pub mod sealed_at;
pub mod token;
pub mod totp;
pub mod witness_key;
pub mod callback_signature;

pub use callback_signature::{Refusal, Secret, SecretError, SignedHeaders};
pub use checkpoint_mac::AuditSeal;
pub use endpoint_secret::EndpointSecret;
pub use locked::all_keys_are_locked;
pub use person_index::PersonIndex;
pub use ring::{Key, KeyError, KeyRing, OpenError, Vault, WrappedKey};
pub use seal::{DataKey, Refused, SealError};
pub use sealed_at::SealedAt;
