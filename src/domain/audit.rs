//! The audit chain: what binds each row to all before it, and finding what was changed.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit_details::Details;

/// One row, as it is exported: a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// From 1, without gaps.
    pub position: i64,
    /// When it was done.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who did it.
    pub actor: String,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: Option<Uuid>,
    /// Why.
    pub purpose: Option<String>,
    /// More.
    pub details: Option<Details>,
    /// The database user who added it, by Postgres itself; absent in rows from before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_user: Option<String>,
    /// Digest of the row before, in hex.
    pub previous: String,
    /// Digest of this row, in hex.
    pub digest: String,
}

/// A line of an export: rows in order, each checkpoint behind the row that it is about, and the head
/// at the end, so that an export that was cut is known by what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// A row.
    Row(Link),
    /// The chain's end at some moment, under the installation's key.
    Checkpoint {
        /// What was signed.
        checkpoint: Checkpoint,
    },
    /// The chain's end when it was exported.
    Head {
        /// Position and digest of the last row.
        head: Place,
    },
}

impl Line {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        /// Absent in a row.
        #[derive(Deserialize)]
        struct Other {
            checkpoint: Option<Checkpoint>,
            head: Option<Place>,
        }
        match serde_json::from_str(text).ok()? {
            Other { checkpoint: Some(checkpoint), .. } => Some(Self::Checkpoint { checkpoint }),
            Other { head: Some(head), .. } => Some(Self::Head { head }),
            // Not by way of an untagged enum, which would forget how the details are spelled.
            Other { checkpoint: None, head: None } => {
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
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Its digest, in hex.
    pub digest: String,
    /// Over all of that, in hex.
    pub mac: String,
}

/// A place in the chain: written down elsewhere it proves later that the chain up to there is the
/// one of then. As text: `POSITION:DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Position of a row.
    pub position: i64,
    /// Its digest, in hex.
    pub digest: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.digest)
    }
}

/// Not a place in a chain.
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

/// What is wrong with a chain, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The content is not what was digested.
    #[error("row {0} was changed")]
    Changed(i64),
    /// Rows between two neighbours are missing, or the order is another.
    #[error("after row {after} comes row {found}: rows are missing, inserted or out of order")]
    Gap {
        /// The last good one.
        after: i64,
        /// What came instead of the next.
        found: i64,
    },
    /// It does not continue the row before.
    #[error("row {0} does not continue the row before it: one of the two was replaced")]
    Unlinked(i64),
    /// A checkpoint or a place written down elsewhere names another row there.
    #[error("the chain was written anew: row {0} is not the one that it was")]
    Rewritten(i64),
    /// The chain goes on beyond its last row.
    #[error("the newest rows are missing: {last} is the last, {known} was written")]
    Cut {
        /// The last one there is.
        last: i64,
        /// One that there was.
        known: i64,
    },
    /// Nothing at all: every installation has rows.
    #[error("there is not a single row")]
    Empty,
    /// An export without its last line.
    #[error("the export has no head after row {0}: its end is missing")]
    NoHead(i64),
    /// Something after the head, or a checkpoint out of its place.
    #[error("after row {0} comes what does not belong there")]
    OutOfPlace(i64),
}

/// Follows a chain, row by row.
#[derive(Clone, Debug)]
pub struct Chain {
    position: i64,
    digest: String,
}

impl Default for Chain {
    /// Before the first row.
    fn default() -> Self {
        Self { position: 0, digest: hex::encode(Sha256::digest(b"verdict audit")) }
    }
}

impl Chain {
    /// Checks the next row; at the first fault it stops making sense to go on.
    pub fn follow(&mut self, link: &Link) -> Result<(), Broken> {
        if link.position != self.position + 1 {
            return Err(Broken::Gap { after: self.position, found: link.position });
        }
        if !link.fits_its_digest() {
            return Err(Broken::Changed(link.position));
        }
        if link.previous != self.digest {
            return Err(Broken::Unlinked(link.position));
        }
        self.position = link.position;
        self.digest.clone_from(&link.digest);
        Ok(())
    }

    /// A place that is known from elsewhere, at the moment the chain has come there.
    pub fn confirm(&self, known: &Place) -> Result<(), Broken> {
        if known.position == self.position && known.digest != self.digest {
            return Err(Broken::Rewritten(self.position));
        }
        Ok(())
    }

    /// The chain has been followed to its end; these were its rows once.
    pub fn ends_beyond<'a>(
        &self,
        known: impl IntoIterator<Item = &'a Place>,
    ) -> Result<(), Broken> {
        if self.position == 0 {
            return Err(Broken::Empty);
        }
        match known.into_iter().map(|place| place.position).max() {
            Some(known) if known > self.position => Err(Broken::Cut { last: self.position, known }),
            _ => Ok(()),
        }
    }

    /// Where it has come to.
    pub fn place(&self) -> Place {
        Place { position: self.position, digest: self.digest.clone() }
    }

    /// How far it has been followed.
    pub fn position(&self) -> i64 {
        self.position
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
}

/// Summary of a complete export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeExport {
    /// Its last row.
    pub last: Place,
    /// How many checkpoints it has.
    pub checkpoints: usize,
    /// Position of the newest one; 0 if there is none.
    pub checkpointed_to: i64,
}

impl Export {
    /// Checks the next line.
    pub fn follow(&mut self, next: &Line, expected: &[Place]) -> Result<(), Broken> {
        let at = self.chain.position();
        if self.head.is_some() {
            return Err(Broken::OutOfPlace(at));
        }
        match next {
            Line::Row(link) => {
                self.chain.follow(link)?;
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

    /// It has come to its end.
    pub fn end(self, expected: &[Place]) -> Result<WholeExport, Broken> {
        self.chain.ends_beyond(expected)?;
        if self.head.is_none() {
            return Err(Broken::NoHead(self.chain.position()));
        }
        Ok(WholeExport {
            last: self.chain.place(),
            checkpoints: self.checkpoints,
            checkpointed_to: self.checkpointed_to,
        })
    }
}

impl Link {
    /// An export may have gone through a tool that spells JSON in its own way.
    fn fits_its_digest(&self) -> bool {
        let Some(details) = &self.details else {
            return self.digest_of_content(None) == self.digest;
        };
        let mut spellings = details.spellings().into_iter();
        spellings.any(|details| self.digest_of_content(Some(details)) == self.digest)
    }

    /// As the database computes it (`verdict_audit_digest`): netstrings, so that nothing can move
    /// from one column into the next. An absent database user adds nothing: rows from before there
    /// was one keep their digests.
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
                // Into a string: cannot fail.
                Some(part) => _ = write!(content, "{}:{part},", part.len()),
                None => content.push('-'),
            }
        }
        hex::encode(Sha256::digest(content))
    }
}
