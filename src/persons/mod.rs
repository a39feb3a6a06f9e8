//! Persons: their verifications by the identity number, all that is held of them, the list of those
//! who were erased, and whether their images are where the database says.

pub mod erasure_list;
mod export;
pub mod image_check;

pub use export::{Export, ExportError};

use crate::store::Store;
use crate::vault::person_index::{PERSON_INDEX, PersonIndex};
use crate::vault::{OpenError, Vault, WrappedKey};

/// How many letters and digits an identity number has; the shortest passport numbers have eight.
pub const NUMBER_CHARS: std::ops::RangeInclusive<usize> = 8..=64;

/// The key with which this installation hashes identity numbers; `None`: it has stored nobody yet.
pub async fn person_index(store: &Store, vault: &Vault) -> Result<Option<PersonIndex>, IndexError> {
    let Some((key_id, bytes)) = store.vault_keys().find_named_key(PERSON_INDEX).await? else {
        return Ok(None);
    };
    let key = vault.open_named_key(PERSON_INDEX, &WrappedKey { key_id, bytes })?;
    Ok(Some(PersonIndex::new(key)))
}

/// Why numbers cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("the key that hashes identity numbers: {0}")]
    Key(#[from] OpenError),
}
