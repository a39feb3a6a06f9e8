//! What keeps and proves secrets: sealing, the key ring, webhook signatures, API keys.
//!
//! | File | What lives there |
//! |---|---|
//! | [`seal`] | data keys, and the sealed form of one value in one place |
//! | [`ring`] | key-encryption keys: wrapping, opening and rotating data keys |
//! | [`webhook`] | Standard Webhooks: signing and verifying callbacks and notifications |
//! | [`installation`] | keys of the installation: blind index of persons, checkpoints of the audit |
//! | `locked` | memory for keys that is never swapped out |
//! | [`api_key`] | making API keys, and the digest that is kept of them |
//!
//! Nothing here does I/O. Keys and nonces come from the cryptographic library's own random
//! source, the one exception to "randomness comes in through `domain::ids`".

pub mod api_key;
pub mod installation;
mod locked;
pub mod ring;
pub mod seal;
pub mod webhook;

pub use installation::{AuditSeal, PersonIndex};
pub use locked::all_keys_are_locked;
pub use ring::{Key, KeyError, KeyRing, OpenError, Vault, WrappedKey};
pub use seal::{DataKey, Place, Refused, SealError};
pub use webhook::{Refusal, Secret, SecretError, SignedHeaders};
