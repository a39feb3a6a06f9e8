//! Whether the keys of the vault are those that data was sealed with.

use crate::domain::ids::{EndpointId, GoldenId, VerificationId};
use crate::store::{self, Store};
use crate::vault::{Vault, WrappedKey};

/// Insufficient privilege.
const NO_RIGHT: &str = "42501";
/// Data keys of verifications, and of endpoints, on which a key of the vault is tried.
const SAMPLES: i64 = 3;

/// Keys of the ring that do not open what a key of that id has wrapped: the same name with other
/// bytes. Each is tried on the installation's keys and on a few of verifications and endpoints, as far
/// as this role may see them; one altered row does not condemn a key that opens others.
pub async fn keys_with_other_bytes(vault: &Vault, store: &Store) -> store::Result<Vec<String>> {
    let mut others = Vec::new();
    let named = empty_if_forbidden(store.vault_keys().named_keys().await)?;
    for id in vault.ring().ids() {
        let mut opened: Vec<bool> = Vec::new();
        for (name, key_id, bytes) in named.iter().filter(|(_, key_id, _)| key_id == id) {
            let wrapped = WrappedKey { key_id: key_id.clone(), bytes: bytes.clone() };
            opened.push(vault.open_named_key(name, &wrapped).is_ok());
        }
        for sample in empty_if_forbidden(store.vault_keys().data_keys_under(id, SAMPLES).await)? {
            let whose = VerificationId(sample.verification_id);
            let wrapped = WrappedKey { key_id: sample.key_id, bytes: sample.wrapped };
            opened.push(vault.open_data_key(whose, &wrapped).is_ok());
        }
        let of_endpoints = store.webhook_keys().under(id, SAMPLES).await;
        for sample in empty_if_forbidden(of_endpoints)? {
            let wrapped = WrappedKey { key_id: sample.key_id, bytes: sample.wrapped };
            opened.push(vault.open_endpoint_key(EndpointId(sample.id), &wrapped).is_ok());
        }
        let of_pairs = store.golden_pairs().keys_under(id, SAMPLES).await;
        for sample in empty_if_forbidden(of_pairs)? {
            let wrapped = WrappedKey { key_id: sample.key_id, bytes: sample.wrapped };
            opened.push(vault.open_golden_key(GoldenId(sample.id), &wrapped).is_ok());
        }
        if !opened.is_empty() && !opened.contains(&true) {
            others.push(id.to_owned());
        }
    }
    Ok(others)
}

/// Nothing, where this role may see nothing.
fn empty_if_forbidden<T>(rows: store::Result<Vec<T>>) -> store::Result<Vec<T>> {
    match rows {
        Err(error) if lacks_a_right(&error) => Ok(Vec::new()),
        rows => rows,
    }
}

pub fn lacks_a_right(error: &store::Error) -> bool {
    matches!(error, store::Error::Refused { code, .. } if code == NO_RIGHT)
}
