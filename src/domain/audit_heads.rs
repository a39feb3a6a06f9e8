//! Heads of the audit's tree that are known from elsewhere: signed by a witness, or kept by an operator.

use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{SignedNote, VerifyingKey};

/// The content of the audit at some time, according to a witness or an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHead {
    /// Which head it is, as a part of a sentence: `that witness.example/w1 signed`.
    pub which: String,
    /// The name of the log that it is a head of.
    pub origin: String,
    /// Position of its newest row.
    pub size: i64,
    pub root: NodeHash,
}

/// A head that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    #[error("the head {0} is no head of an audit")]
    NotAHead(String),
    #[error(
        "the head {0} is not signed by the key of this audit: the key was exchanged, or the head is of \
         another log"
    )]
    OtherKey(String),
    #[error("the head that is kept for {0} is not signed by it: it was forged, or changed")]
    NotCosigned(String),
}

impl KnownHead {
    /// A head that an operator stored outside the database. The operator is trusted, so it needs no
    /// witness. `log`: the key of this audit, where it is known.
    pub fn kept(note: &str, which: &str, log: Option<&VerifyingKey>) -> Result<Self, HeadFault> {
        read(note, which.to_owned(), log).map(|(_, head)| head)
    }

    /// A head that the witness signed, and when, in seconds since 1970.
    pub fn cosigned(
        note: &str,
        witness: &VerifyingKey,
        log: Option<&VerifyingKey>,
    ) -> Result<(Self, u64), HeadFault> {
        let name = witness.name();
        let (note, head) = read(note, format!("that {name} signed"), log)?;
        let at = note.cosigned_at(witness);
        Ok((head, at.map_err(|_| HeadFault::NotCosigned(name.to_owned()))?))
    }
}

fn read(
    note: &str,
    which: String,
    log: Option<&VerifyingKey>,
) -> Result<(SignedNote, KnownHead), HeadFault> {
    let parsed = SignedNote::parse(note).ok();
    let parsed = parsed.and_then(|note| TreeHead::parse(note.text()).map(|head| (note, head)));
    let Some((note, head)) = parsed else { return Err(HeadFault::NotAHead(which)) };
    let Ok(size) = i64::try_from(head.size) else { return Err(HeadFault::NotAHead(which)) };
    if log.is_some_and(|log| head.origin != log.name() || note.verify(log).is_err()) {
        return Err(HeadFault::OtherKey(which));
    }
    Ok((note, KnownHead { which, origin: head.origin, size, root: head.root }))
}
