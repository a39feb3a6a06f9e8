//! Requests to a witness, and whether it may sign. A witness stores the newest head that it signed, and
//! signs another only if that continues it.

use crate::hash::NodeHash;
use crate::head::{TreeHead, decimal};
use crate::note::{SignedNote, VerifyingKey};
use crate::proof::verify_consistency;

/// A request never has more hashes than this.
const MOST_HASHES: usize = 63;

/// A head to be signed, with the proof that it continues the one that the witness signed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Size of the head that the witness signed last, as the log has it; 0: none.
    pub older: u64,
    pub proof: Vec<NodeHash>,
    pub note: SignedNote,
}

/// Why a witness does not sign. Each has its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request is malformed")]
    Malformed,
    #[error("the witness does not know this log")]
    UnknownLog,
    #[error("the head is not signed by its log")]
    NotSigned,
    #[error("the witness signed a head of size {0} last")]
    OtherSize(u64),
    #[error("the head does not continue the one that the witness signed last")]
    Inconsistent,
}

impl Refusal {
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::UnknownLog => 404,
            Self::NotSigned => 403,
            Self::OtherSize(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl Request {
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let (lines, note) = body.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let mut lines = lines.split('\n');
        let older = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let proof: Option<Vec<NodeHash>> =
            lines.take(MOST_HASHES + 1).map(NodeHash::from_base64).collect();
        let (Some(older), Some(proof)) = (older, proof.filter(|it| it.len() <= MOST_HASHES)) else {
            return Err(Refusal::Malformed);
        };
        let note = SignedNote::parse(note).map_err(|_| Refusal::Malformed)?;
        Ok(Self { older, proof, note })
    }

    /// The body of a request.
    pub fn body(&self) -> String {
        let mut lines = vec![format!("old {}", self.older)];
        lines.extend(self.proof.iter().map(|hash| hash.to_base64()));
        format!("{}\n\n{}", lines.join("\n"), self.note)
    }

    /// The head that the witness may sign, and must keep before it answers. `last`: size and root of
    /// the one that it signed last.
    pub fn judge(
        &self,
        log: &VerifyingKey,
        last: Option<(u64, NodeHash)>,
    ) -> Result<TreeHead, Refusal> {
        let head = TreeHead::parse(self.note.text()).ok_or(Refusal::Malformed)?;
        if head.origin != log.name() {
            return Err(Refusal::UnknownLog);
        }
        self.note.verify(log).map_err(|_| Refusal::NotSigned)?;
        if self.older > head.size {
            return Err(Refusal::Malformed);
        }
        let (size, root) = last.unwrap_or((0, NodeHash::of_nothing()));
        if self.older != size {
            return Err(Refusal::OtherSize(size));
        }
        verify_consistency((size, root), head.place(), &self.proof)
            .map_err(|_| Refusal::Inconsistent)?;
        Ok(head)
    }
}
