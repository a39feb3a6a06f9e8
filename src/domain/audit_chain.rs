//! The audit chain: each row is bound to all rows before it, so a change can be found.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use merkle_log::hash::NodeHash;
use merkle_log::tree::Edge;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit_cut::{Cut, Fold, Leaves, bytes_of};
use super::audit_details::Details;
use super::audit_heads::KnownHead;

/// One row, as it is exported: a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// From 1, without gaps.
    pub position: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub actor: String,
    pub action: String,
    pub subject: Option<Uuid>,
    pub purpose: Option<String>,
    pub details: Option<Details>,
    /// The database user who added the row, set by Postgres; absent in older rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_user: Option<String>,
    /// Digest of the row before, in hex.
    pub previous: String,
    /// Digest of this row, in hex.
    pub digest: String,
}

/// A line of an export: the digests of dropped rows, then rows in order, each checkpoint and cut behind
/// the row that it is about, and the head at the end. A truncated export lacks the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Line {
    Row(Link),
    /// The chain's end at some time, signed with the installation's key.
    Checkpoint {
        checkpoint: Checkpoint,
    },
    /// Digests of rows that retention dropped.
    Leaves {
        leaves: Leaves,
    },
    /// Retention dropped the rows up to here; signed with the installation's key.
    Cut {
        cut: Cut,
    },
    /// The chain's end when it was exported.
    Head {
        /// Position and digest of the last row.
        head: Place,
    },
}

impl Line {
    /// `None` if the text is no such line.
    pub fn parse(text: &str) -> Option<Self> {
        /// Absent in a row.
        #[derive(Deserialize)]
        struct Other {
            checkpoint: Option<Checkpoint>,
            leaves: Option<Leaves>,
            cut: Option<Cut>,
            head: Option<Place>,
        }
        match serde_json::from_str(text).ok()? {
            Other { checkpoint: Some(checkpoint), .. } => Some(Self::Checkpoint { checkpoint }),
            Other { leaves: Some(leaves), .. } => Some(Self::Leaves { leaves }),
            Other { cut: Some(cut), .. } => Some(Self::Cut { cut }),
            Other { head: Some(head), .. } => Some(Self::Head { head }),
            // An untagged enum would lose the spelling of the details.
            Other { checkpoint: None, leaves: None, cut: None, head: None } => {
                serde_json::from_str(text).ok().map(Self::Row)
            }
        }
    }
}

/// A checkpoint as it is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Position of the newest row then.
    pub position: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub digest: String,
    /// Covers position, time and digest; in hex.
    pub mac: String,
}

/// A place in the chain. A copy stored elsewhere proves later that the chain up to this place is
/// unchanged. As text: `POSITION:DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub position: i64,
    pub digest: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.digest)
    }
}

/// The text is no place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a position, a colon, and 64 hex digits")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (position, digest) = text.split_once(':').ok_or(NotAPlace)?;
        let position = position.parse().ok().filter(|position| *position > 0).ok_or(NotAPlace)?;
        let digest = digest.to_ascii_lowercase();
        let good = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then_some(Self { position, digest }).ok_or(NotAPlace)
    }
}

/// A fault in a chain, and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The content does not match its digest.
    #[error("row {0} was changed")]
    Changed(i64),
    /// Rows are missing, or in another order.
    #[error("after row {after} comes row {found}: rows are missing, inserted or out of order")]
    Gap {
        /// The last valid row.
        after: i64,
        /// The row in place of the next one.
        found: i64,
    },
    /// The row does not continue the one before.
    #[error("row {0} does not continue the row before it: one of the two was replaced")]
    Unlinked(i64),
    /// A checkpoint, or a place stored elsewhere, has another digest for this position.
    #[error("the chain was written anew: row {0} is not the one that it was")]
    Rewritten(i64),
    /// The chain ends before a row that is known to exist.
    #[error("the newest rows are missing: {last} is the last, {known} was written")]
    Cut {
        /// The last row of the chain.
        last: i64,
        /// The row that is known to exist.
        known: i64,
    },
    /// The first row is not row 1.
    #[error("the rows before row {0} are missing, and no cut accounts for them")]
    NoCut(i64),
    /// The leaves end after the newest cut, or there is none.
    #[error(
        "there are digests of dropped rows up to row {0}, and no cut at row {0} accounts for them"
    )]
    LeavesWithoutCut(i64),
    /// The leaves do not reach their cut.
    #[error("digests of dropped rows are missing: after row {after} comes row {next}")]
    LeavesMissing {
        /// The last leaf before the gap.
        after: i64,
        /// The next leaf, or the cut that covers the missing ones.
        next: i64,
    },
    /// A leaf is not the one that the cut was signed for.
    #[error("digests of dropped rows were changed: they are not those of the cut at row {0}")]
    LeavesChanged(i64),
    /// The tree over the rows has another root than a known head.
    #[error(
        "the rows up to row {size} are not those of the head {head}: the audit was written anew"
    )]
    OtherThanHead {
        /// Its rows.
        size: i64,
        /// Which head it is.
        head: String,
    },
    /// A known head has more rows.
    #[error(
        "the head {head} goes up to row {size}, and row {last} is the last: the newest are missing, as \
         after an old backup was restored"
    )]
    FewerThanHead {
        /// Its rows.
        size: i64,
        /// Which head it is.
        head: String,
        /// The last row of the chain.
        last: i64,
    },
    /// No rows at all: every installation has some.
    #[error("there is not a single row")]
    Empty,
    /// An export without its last line.
    #[error("the export has no head after row {0}: its end is missing")]
    NoHead(i64),
    /// A line after the head, or a misplaced checkpoint.
    #[error("after row {0} comes what does not belong there")]
    OutOfPlace(i64),
}

/// Follows a chain, row by row.
#[derive(Clone, Debug)]
pub struct Chain {
    position: i64,
    digest: String,
    /// Over the digests of all rows up to here.
    fold: Fold,
    /// The tree over the same digests; `None`: the chain does not begin with row 1.
    tree: Option<Edge>,
    /// Position of the last cut.
    cut: i64,
    has_rows: bool,
}

impl Default for Chain {
    /// Before the first row.
    fn default() -> Self {
        let digest = hex::encode(Sha256::digest(b"verdict audit"));
        let (fold, tree) = (Fold::default(), Some(Edge::default()));
        Self { position: 0, digest, fold, tree, cut: 0, has_rows: false }
    }
}

impl Chain {
    /// Begins behind a cut whose leaves are not checked again; `None`: its digests are none.
    pub fn behind(cut: &Cut) -> Option<Self> {
        let (position, fold) = (cut.position, Fold::from_hex(&cut.leaves)?);
        let digest = cut.digest.clone();
        Some(Self { position, digest, fold, tree: None, cut: position, has_rows: false })
    }

    /// Takes the digest of the next dropped row, which only a later cut confirms.
    pub fn follow_leaf(&mut self, position: i64, digest: &str) -> Result<(), Broken> {
        if self.has_rows {
            return Err(Broken::OutOfPlace(self.position));
        }
        if position != self.position + 1 {
            return Err(Broken::LeavesMissing { after: self.position, next: position });
        }
        self.step(position, digest).ok_or(Broken::LeavesChanged(position))
    }

    /// Compares the leaves with the cut that covers them.
    pub fn follow_cut(&mut self, cut: &Cut) -> Result<(), Broken> {
        if cut.position > self.position && !self.has_rows {
            return Err(Broken::LeavesMissing { after: self.position, next: cut.position });
        }
        if cut.position != self.position || self.has_rows {
            return Err(Broken::OutOfPlace(self.position));
        }
        if cut.digest != self.digest || cut.leaves != self.fold.to_hex() {
            return Err(Broken::LeavesChanged(cut.position));
        }
        self.cut = cut.position;
        Ok(())
    }

    /// The end of the leaves: a cut must cover all of them.
    pub fn leaves_end(&self) -> Result<(), Broken> {
        if !self.has_rows && self.position != self.cut {
            return Err(Broken::LeavesWithoutCut(self.position));
        }
        Ok(())
    }

    fn step(&mut self, position: i64, digest: &str) -> Option<()> {
        self.fold = self.fold.with_hex(digest)?;
        if let Some(tree) = &mut self.tree {
            tree.push(NodeHash::of_leaf(&bytes_of(digest)?));
        }
        self.position = position;
        digest.clone_into(&mut self.digest);
        Some(())
    }

    /// Checks the next row. After a fault the following rows cannot be checked.
    pub fn follow(&mut self, link: &Link) -> Result<(), Broken> {
        self.leaves_end()?;
        if self.position == 0 && link.position > 1 {
            return Err(Broken::NoCut(link.position));
        }
        if link.position != self.position + 1 {
            return Err(Broken::Gap { after: self.position, found: link.position });
        }
        if !link.fits_its_digest() {
            return Err(Broken::Changed(link.position));
        }
        if link.previous != self.digest {
            return Err(Broken::Unlinked(link.position));
        }
        self.has_rows = true;
        self.step(link.position, &link.digest).ok_or(Broken::Changed(link.position))
    }

    /// Compares the chain with a known place, once the chain has reached it.
    pub fn confirm(&self, known: &Place) -> Result<(), Broken> {
        if known.position == self.position && known.digest != self.digest {
            return Err(Broken::Rewritten(self.position));
        }
        Ok(())
    }

    /// Compares the tree over all rows so far with the known heads of this size.
    pub fn agrees_with(&self, heads: &[KnownHead]) -> Result<(), Broken> {
        for KnownHead { which, size, root, .. } in heads {
            let tree = self.tree.as_ref().filter(|_| *size == self.position);
            if tree.is_some_and(|tree| tree.root() != *root) {
                return Err(Broken::OtherThanHead { size: *size, head: which.clone() });
            }
        }
        Ok(())
    }

    /// The end of the chain: no known head has more rows.
    pub fn ends_beyond_heads(&self, heads: &[KnownHead]) -> Result<(), Broken> {
        match heads.iter().max_by_key(|head| head.size) {
            Some(KnownHead { which, size, .. }) if *size > self.position => {
                let (size, head, last) = (*size, which.clone(), self.position);
                Err(Broken::FewerThanHead { size, head, last })
            }
            _ => Ok(()),
        }
    }

    /// The end of the chain: it must reach the row that is known to exist.
    pub fn ends_beyond<'a>(
        &self,
        known: impl IntoIterator<Item = &'a Place>,
    ) -> Result<(), Broken> {
        // Dropping rows is a row.
        if !self.has_rows {
            return Err(Broken::Empty);
        }
        match known.into_iter().map(|place| place.position).max() {
            Some(known) if known > self.position => Err(Broken::Cut { last: self.position, known }),
            _ => Ok(()),
        }
    }

    /// The place of the last checked row.
    pub fn place(&self) -> Place {
        Place { position: self.position, digest: self.digest.clone() }
    }

    /// Position of the last checked row.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Position of the last cut; 0 if there is none.
    pub fn cut(&self) -> i64 {
        self.cut
    }

    /// Over the digests of all rows so far.
    pub fn leaves(&self) -> Fold {
        self.fold
    }

    /// Digest of the last row, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Follows an export, line by line.
#[derive(Clone, Debug, Default)]
pub struct Export {
    chain: Chain,
    checkpoints: usize,
    checkpointed_to: i64,
    head: Option<Place>,
    heads: Vec<KnownHead>,
}

/// Summary of a complete export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeExport {
    pub last: Place,
    /// How many checkpoints it has.
    pub checkpoints: usize,
    /// Position of the newest one; 0 if there is none.
    pub checkpointed_to: i64,
    /// Rows up to here were dropped; 0: none.
    pub dropped: i64,
}

impl Export {
    /// With heads that are known from elsewhere.
    pub fn against(heads: Vec<KnownHead>) -> Self {
        Self { heads, ..Self::default() }
    }

    /// Checks the next line.
    pub fn follow(&mut self, next: &Line, expected: &[Place]) -> Result<(), Broken> {
        let at = self.chain.position();
        if self.head.is_some() {
            return Err(Broken::OutOfPlace(at));
        }
        match next {
            Line::Row(link) => {
                self.chain.follow(link)?;
                self.chain.agrees_with(&self.heads)?;
                expected.iter().try_for_each(|place| self.chain.confirm(place))
            }
            Line::Checkpoint { checkpoint } if checkpoint.position != at => {
                Err(Broken::OutOfPlace(at))
            }
            Line::Checkpoint { checkpoint } => {
                self.checkpoints += 1;
                self.checkpointed_to = checkpoint.position;
                let (position, digest) = (checkpoint.position, checkpoint.digest.clone());
                self.chain.confirm(&Place { position, digest })
            }
            Line::Leaves { leaves } => {
                for (position, digest) in leaves.each() {
                    self.chain.follow_leaf(position, digest)?;
                    self.chain.agrees_with(&self.heads)?;
                    expected.iter().try_for_each(|place| self.chain.confirm(place))?;
                }
                Ok(())
            }
            Line::Cut { cut } => self.chain.follow_cut(cut),
            Line::Head { head } => {
                self.chain.ends_beyond([head])?;
                self.head = Some(head.clone());
                if head.position < at {
                    return Err(Broken::OutOfPlace(at));
                }
                self.chain.confirm(head)
            }
        }
    }

    /// The end of the export.
    pub fn end(self, expected: &[Place]) -> Result<WholeExport, Broken> {
        self.chain.ends_beyond(expected)?;
        self.chain.ends_beyond_heads(&self.heads)?;
        if self.head.is_none() {
            return Err(Broken::NoHead(self.chain.position()));
        }
        Ok(WholeExport {
            last: self.chain.place(),
            checkpoints: self.checkpoints,
            checkpointed_to: self.checkpointed_to,
            dropped: self.chain.cut(),
        })
    }
}

impl Link {
    /// Whether the content is that of the digest. A tool may have reformatted the JSON of an export.
    pub fn fits_its_digest(&self) -> bool {
        let Some(details) = &self.details else {
            return self.digest_of_content(None) == self.digest;
        };
        let mut spellings = details.spellings().into_iter();
        spellings.any(|details| self.digest_of_content(Some(details)) == self.digest)
    }

    /// Computed as in the database (`verdict_audit_digest`): netstrings, so that no text can move
    /// from one column to the next. An absent database user adds nothing, so older rows keep their
    /// digests.
    fn digest_of_content(&self, details: Option<String>) -> String {
        let micros = self.at.unix_timestamp_nanos() / 1000;
        let mut content = String::new();
        let parts = [
            Some(self.position.to_string()),
            Some(micros.to_string()),
            Some(self.actor.clone()),
            Some(self.action.clone()),
            self.subject.map(|subject| subject.to_string()),
            self.purpose.clone(),
            details,
            Some(self.previous.clone()),
        ];
        let database_user = self.database_user.clone().map(Some);
        for part in parts.into_iter().chain(database_user) {
            match part {
                // Writing into a string cannot fail.
                Some(part) => _ = write!(content, "{}:{part},", part.len()),
                None => content.push('-'),
            }
        }
        hex::encode(Sha256::digest(content))
    }
}
