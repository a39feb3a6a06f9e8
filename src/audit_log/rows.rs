//! Rows, checkpoints and cuts of the audit as parts of the chain, and the key that signs them.

use time::OffsetDateTime;

use crate::domain::audit_chain::Link;
use crate::domain::audit_cut::Cut;
use crate::domain::audit_details::Details;
use crate::store::audit::{AuditCheckpoint, AuditRow};
use crate::store::audit_cuts::AuditCut;
use crate::store::{self, Store};
use crate::vault::checkpoint_mac::AUDIT;
use crate::vault::{AuditSeal, OpenError, Vault, WrappedKey};

/// Rows held in memory at once.
pub(super) const PAGE: i64 = 1000;

/// A row as a link of the chain.
pub fn link(row: AuditRow) -> Link {
    Link {
        position: row.position,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        purpose: row.purpose,
        details: row.details.map(Details),
        database_user: row.database_user,
        previous: hex::encode(row.previous),
        digest: hex::encode(row.digest),
    }
}

/// Whether this installation has signed the checkpoint.
pub fn is_signed(seal: &AuditSeal, checkpoint: &AuditCheckpoint) -> bool {
    let AuditCheckpoint { position, at, digest, mac } = checkpoint;
    seal.verifies(*position, micros(*at), digest, mac)
}

/// Whether this installation has signed the cut.
pub fn is_cut_signed(seal: &AuditSeal, cut: &AuditCut) -> bool {
    let AuditCut { position, at, digest, leaves, mac } = cut;
    seal.verifies_cut(*position, micros(*at), digest, leaves, mac)
}

/// Microseconds: what is signed, and all that Postgres keeps.
pub(super) fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// A cut as the chain compares it.
pub(super) fn cut(cut: &AuditCut) -> Cut {
    let AuditCut { position, at, digest, leaves, mac } = cut;
    let [digest, leaves, mac] = [digest, leaves, mac].map(hex::encode);
    Cut { position: *position, at: *at, digest, leaves, mac }
}

/// The key that signs this installation's checkpoints; `None`: there is none yet.
pub async fn seal(store: &Store, vault: &Vault) -> Result<Option<AuditSeal>, SealError> {
    let Some((key_id, bytes)) = store.vault_keys().find_named_key(AUDIT).await? else {
        return Ok(None);
    };
    let key = vault.open_named_key(AUDIT, &WrappedKey { key_id, bytes })?;
    Ok(Some(AuditSeal::new(key)))
}

/// Why signatures cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the key that signs checkpoints: {0}")]
    Key(#[from] OpenError),
}
