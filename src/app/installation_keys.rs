//! The keys of the installation: one for the blind index of persons, one for the audit's seal. The
//! vault wraps them, the database keeps them.

use anyhow::Context;

use super::database::retry_until_ready;
use super::shared::Shared;
use crate::config::FromKey;
use crate::domain::clock::Clock;
use crate::store::Store;
use crate::vault::person_index::{PERSON_INDEX, PersonIndex};
use crate::vault::{DataKey, Vault, WrappedKey};

/// The name of the key that seals secrets of users.
const USERS: &str = "users";

/// The blind index of this installation's persons.
pub async fn person_index(vault: &Vault, store: &Store) -> anyhow::Result<PersonIndex> {
    let now = Clock::system().now();
    Ok(PersonIndex::new(named_key(vault, store, PERSON_INDEX, now).await?))
}

/// The key of what users of the console keep with us; `None`: this process has no keys.
pub(super) async fn console_key(
    vault: Option<&Vault>,
    shared: &Shared<'_>,
) -> anyhow::Result<Option<DataKey>> {
    let Some(vault) = vault else { return Ok(None) };
    let (store, now) = (&shared.store, shared.clock.now());
    retry_until_ready(|| store.vault_keys().use_vault_key(vault.primary_id(), now)).await?;
    named_key(vault, store, USERS, now).await.map(Some)
}

/// A key of the installation, made if there is none yet.
pub(super) async fn named_key(
    vault: &Vault,
    store: &Store,
    name: &str,
    now: time::OffsetDateTime,
) -> anyhow::Result<DataKey> {
    let (_, new) = vault.new_named_key(name)?;
    let candidate = (new.key_id.as_str(), &new.bytes[..]);
    let (key_id, bytes) =
        retry_until_ready(|| store.vault_keys().named_key(name, candidate, now)).await?;
    vault
        .open_named_key(name, &WrappedKey { key_id, bytes })
        .with_context(|| format!("the installation's key {name}"))
        .context(FromKey("vault.keys"))
}
