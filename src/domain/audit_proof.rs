//! Proofs about the audit as files: that a row is in a head, or that a head continues an older one.
//! Verifying one needs the public key of the log, and no database.

use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{NoteError, SignedNote, VerifyingKey};
use merkle_log::proof::{ProofError, verify_consistency, verify_inclusion};
use serde::{Deserialize, Serialize};

use super::audit_chain::Link;

/// A proof and the head that it leads to. As a file: one object of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Inclusion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// A signed note: signed by the log, and by the witnesses that signed this head.
    pub head: String,
}

/// A row is in the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    pub position: i64,
    /// Absent where retention dropped the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Link>,
    /// Digest of the row, in hex: the entry of the log.
    pub digest: String,
    /// From the sibling of the leaf upwards, in base64.
    pub hashes: Vec<String>,
}

/// The audit begins with what it was at an earlier time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    /// Position of the newest row then.
    pub size: u64,
    /// The root then, in base64.
    pub root: String,
    /// From the smallest node upwards, in base64.
    pub hashes: Vec<String>,
}

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    #[error("the file is no proof about an audit")]
    Form,
    #[error("the head in the file is not valid")]
    Note(#[from] NoteError),
    #[error("the head in the file is of another log than the key")]
    OtherLog,
    #[error("row {0} was changed: it does not fit its digest")]
    Changed(i64),
    #[error("the proof does not hold")]
    Proof(#[from] ProofError),
}

/// The facts that a file proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The row is in the audit.
    pub position: Option<i64>,
    /// The audit begins with this head: its size and root.
    pub older: Option<(u64, NodeHash)>,
    /// Both in this head, which the log signed.
    pub head: TreeHead,
    pub note: SignedNote,
}

impl ProofFile {
    /// Checks everything in the file.
    pub fn check(&self, log: &VerifyingKey) -> Result<Proven, ProofFault> {
        let note = SignedNote::parse(&self.head)?;
        let head = TreeHead::parse(note.text()).ok_or(ProofFault::Form)?;
        if head.origin != log.name() {
            return Err(ProofFault::OtherLog);
        }
        note.verify(log)?;
        if self.inclusion.is_none() && self.consistency.is_none() {
            return Err(ProofFault::Form);
        }
        let position = self.inclusion.as_ref().map(|it| it.check(&head)).transpose()?;
        let older = self.consistency.as_ref().map(|it| it.check(&head)).transpose()?;
        Ok(Proven { position, older, head, note })
    }
}

impl Inclusion {
    fn check(&self, head: &TreeHead) -> Result<i64, ProofFault> {
        let position = self.position;
        if let Some(row) = &self.row {
            let fits = row.position == position && row.digest == self.digest;
            if !fits || !row.fits_its_digest() {
                return Err(ProofFault::Changed(position));
            }
        }
        let index = position.checked_sub(1).and_then(|index| u64::try_from(index).ok());
        let index = index.ok_or(ProofError::NoSuchLeaf)?;
        let digest = hex::decode(&self.digest).map_err(|_| ProofFault::Form)?;
        let leaf = NodeHash::of_leaf(&digest);
        verify_inclusion(leaf, index, head.place(), &hashes(&self.hashes)?)?;
        Ok(position)
    }
}

impl Consistency {
    fn check(&self, head: &TreeHead) -> Result<(u64, NodeHash), ProofFault> {
        let root = NodeHash::from_base64(&self.root).ok_or(ProofFault::Form)?;
        let older = (self.size, root);
        verify_consistency(older, head.place(), &hashes(&self.hashes)?)?;
        Ok(older)
    }
}

fn hashes(texts: &[String]) -> Result<Vec<NodeHash>, ProofFault> {
    let hashes: Option<Vec<NodeHash>> =
        texts.iter().map(|text| NodeHash::from_base64(text)).collect();
    hashes.ok_or(ProofFault::Form)
}
