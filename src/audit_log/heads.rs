//! Heads of the audit that witnesses signed: who they are, and what the database keeps of them.

use std::time::Duration;

use merkle_log::note::VerifyingKey;
use url::Url;

use crate::domain::audit_heads::{HeadFault, KnownHead};
use crate::store::audit_tree::CosignedHead;
use crate::vault::AuditSeal;

/// How the audit is known to others, and who signs its heads.
#[derive(Clone, Debug)]
pub struct HeadSettings {
    /// The name of this log, which no other has; `None`: it has no heads.
    pub origin: Option<String>,
    pub witnesses: Vec<Witness>,
    /// Between two heads that are sent to each witness.
    pub every: Duration,
}

impl HeadSettings {
    /// The name of the log, empty where it has none.
    pub fn name(&self) -> &str {
        self.origin.as_deref().unwrap_or_default()
    }

    pub fn has_witnesses(&self) -> bool {
        !self.witnesses.is_empty()
    }

    /// The public keys of the witnesses.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.witnesses.iter().map(|witness| &witness.key)
    }

    /// The public key of the log, where both its name and the installation's key are known.
    pub fn log_key(&self, seal: Option<&AuditSeal>) -> Option<VerifyingKey> {
        let (seal, origin) = seal.zip(self.origin.as_ref())?;
        seal.head_key(origin).ok().map(|key| key.verifying().clone())
    }
}

/// A witness, as it is configured.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The prefix of its requests.
    pub url: Url,
    pub key: VerifyingKey,
}

impl Witness {
    /// The address of a request to it.
    pub fn address(&self, request: &str) -> String {
        format!("{}/{request}", self.url.as_str().trim_end_matches('/'))
    }
}

/// The kept heads of these witnesses. Heads of others are passed over: nobody could check them. `log`:
/// the key of this audit, where it is known.
pub fn known_heads<'a>(
    kept: &[CosignedHead],
    witnesses: impl IntoIterator<Item = &'a VerifyingKey>,
    log: Option<&VerifyingKey>,
) -> Result<Vec<KnownHead>, HeadFault> {
    let mut heads = Vec::new();
    for witness in witnesses {
        let label = witness.label();
        for row in kept.iter().filter(|row| row.witness == label) {
            heads.push(known_head(row, witness, log)?);
        }
    }
    Ok(heads)
}

/// The columns must say what the note says.
fn known_head(
    row: &CosignedHead,
    witness: &VerifyingKey,
    log: Option<&VerifyingKey>,
) -> Result<KnownHead, HeadFault> {
    let (head, at) = KnownHead::cosigned(&row.note, witness, log)?;
    let is_same = head.origin == row.origin
        && head.size == row.size
        && head.root.bytes()[..] == row.root[..]
        && u64::try_from(row.cosigned_at.unix_timestamp()).ok() == Some(at);
    is_same.then_some(head).ok_or_else(|| HeadFault::NotCosigned(witness.name().to_owned()))
}
