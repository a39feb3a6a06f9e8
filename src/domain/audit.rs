//! The audit chain: what binds each row to all before it, and finding what was changed.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

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
    /// More, as JSON text.
    pub details: Option<String>,
    /// Digest of the row before, in hex.
    pub previous: String,
    /// Digest of this row, in hex.
    pub digest: String,
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
        if link.digest_of_content() != link.digest {
            return Err(Broken::Changed(link.position));
        }
        if link.previous != self.digest {
            return Err(Broken::Unlinked(link.position));
        }
        self.position = link.position;
        self.digest.clone_from(&link.digest);
        Ok(())
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

impl Link {
    /// As the database computes it (`verdict_audit_digest`): netstrings, so that nothing can move
    /// from one column into the next.
    fn digest_of_content(&self) -> String {
        let micros = self.at.unix_timestamp_nanos() / 1000;
        let mut content = String::new();
        for part in [
            Some(self.position.to_string()),
            Some(micros.to_string()),
            Some(self.actor.clone()),
            Some(self.action.clone()),
            self.subject.map(|subject| subject.to_string()),
            self.purpose.clone(),
            self.details.clone(),
            Some(self.previous.clone()),
        ] {
            match part {
                // Into a string: cannot fail.
                Some(part) => _ = write!(content, "{}:{part},", part.len()),
                None => content.push('-'),
            }
        }
        hex::encode(Sha256::digest(content))
    }
}
