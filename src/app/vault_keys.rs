//! The keys of the vault that data needs: a service does not start without one, and gives up one
//! that has sealed nothing.

use super::database::retry_until_ready;
use crate::checks::vault_keys::{keys_with_other_bytes, lacks_a_right};
use crate::config::ConfigError;
use crate::domain::clock::Clock;
use crate::store::vault_keys::Needed;
use crate::store::{self, Store};
use crate::vault::Vault;

/// The outcome for a key that the ring lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It had sealed nothing, and is needed no longer.
    GivenUp,
    /// It is needed.
    Needed(Needed),
    /// Nothing needs it, and this database role may not give it up.
    NoRight,
}

/// A process that lacks a key that data needs could not show, extend or erase that data. A process
/// without any keys shows no data.
pub(super) async fn require(vault: &Vault, store: &Store, clock: &Clock) -> anyhow::Result<()> {
    for id in retry_until_ready(|| store.vault_keys().vault_keys_in_use()).await? {
        if vault.ring().has(&id) {
            continue;
        }
        let became = retry_until_ready(|| give_up(store, &id, clock)).await?;
        let Some(why) = kept(became) else {
            tracing::warn!(key = id, "the vault key was given up: it had sealed nothing");
            continue;
        };
        let problem = format!("the key {id} is missing, and {why}");
        return Err(ConfigError::new("vault.keys", problem).into());
    }
    let others = retry_until_ready(|| keys_with_other_bytes(vault, store)).await?;
    if let Some(id) = others.first() {
        let problem = format!(
            "what the key {id} wrapped does not open with the key under this id: other bytes under the same id? Restore the secret that it had; a new secret needs a new id"
        );
        return Err(ConfigError::new("vault.keys", problem).into());
    }
    Ok(())
}

/// Gives up a key that the ring lacks, if nothing needs it.
pub async fn give_up(store: &Store, id: &str, clock: &Clock) -> store::Result<Missing> {
    let no_right = match store.vault_keys().give_up_vault_key(id, clock.now()).await {
        Ok(true) => return Ok(Missing::GivenUp),
        Ok(false) => false,
        Err(error) if lacks_a_right(&error) => true,
        Err(error) => return Err(error),
    };
    match store.vault_keys().needs_of_vault_key(id).await {
        Ok(Some(needed)) => Ok(Missing::Needed(needed)),
        Ok(None) if no_right => Ok(Missing::NoRight),
        // A role that cannot look at the data says no more than that the key is missing.
        Err(error) if !lacks_a_right(&error) => Err(error),
        Ok(None) | Err(_) => Ok(Missing::Needed(Needed::ByData)),
    }
}

/// Why it was not given up and what helps; `None` if it was.
pub fn kept(missing: Missing) -> Option<&'static str> {
    match missing {
        Missing::GivenUp => None,
        Missing::Needed(Needed::ByData) => Some(
            "data needs it: put it back behind the primary one, then run `verdict vault rotate`",
        ),
        Missing::Needed(Needed::ByCheckpoint) => Some(
            "data needs it: a checkpoint of the audit is signed with what it wraps: put it back behind the primary one, then run `verdict vault rotate`",
        ),
        Missing::Needed(Needed::ByProcess) => Some(
            "a process wrapped with it in the last minute: stop that process and try again a minute later, or put the key back behind the primary one",
        ),
        Missing::NoRight => Some(
            "nothing is sealed with it: run `verdict vault give-up` as the owner of the schema, this database role may not",
        ),
    }
}
