//! The list of erasures that is kept outside the database, and applied to a restored one.
//!
//! One JSON object a line, each signed with the key of the audit's checkpoints: nobody who has no key
//! can add to it. The last line is signed over all others, so a line that is missing is noticed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::erasure_list::ErasureRow;
use crate::store::{self, Store};
use crate::vault::AuditSeal;

/// Erasures held in memory at once.
const PAGE: i64 = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub verification_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
}

/// The last line: its digest covers all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub count: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub listed_at: OffsetDateTime,
    /// Of all lines before, in hexadecimal.
    pub digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Erasure(Listed),
    End(End),
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    content: Content,
    mac: String,
}

/// Why a list is refused. Nothing of it is applied then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("line {0} is not of a list of erasures")]
    NotOfAList(u64),
    #[error("line {0} is not signed by this installation")]
    Forged(u64),
    #[error("lines were added, removed or moved: the signature of the last line is over others")]
    OtherLines,
    #[error("the last line is missing: the list is cut off")]
    CutOff,
}

/// Writes a list.
pub struct Writer<'a> {
    seal: &'a AuditSeal,
    digest: Sha256,
    count: u64,
}

impl<'a> Writer<'a> {
    pub fn new(seal: &'a AuditSeal) -> Self {
        Self { seal, digest: Sha256::new(), count: 0 }
    }

    /// One erasure as a line.
    pub fn line(&mut self, row: &ErasureRow) -> serde_json::Result<String> {
        let ErasureRow { verification_id, requested_at, completed_at } = *row;
        self.count += 1;
        let line =
            self.sign(Content::Erasure(Listed { verification_id, requested_at, completed_at }))?;
        self.digest.update(line.as_bytes());
        Ok(line)
    }

    /// The last line.
    pub fn end(self, listed_at: OffsetDateTime) -> serde_json::Result<String> {
        let digest = hex::encode(self.digest.clone().finalize());
        self.sign(Content::End(End { count: self.count, listed_at, digest }))
    }

    fn sign(&self, content: Content) -> serde_json::Result<String> {
        let mac = hex::encode(self.seal.sign_erasure(&serde_json::to_vec(&content)?));
        serde_json::to_string(&Line { content, mac })
    }
}

/// Reads a list as it was written, or refuses all of it.
pub fn read<'a>(
    seal: &AuditSeal,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<Listed>, Refused> {
    let (mut erasures, mut digest, mut ended) = (Vec::new(), Sha256::new(), false);
    for (number, text) in (1..).zip(lines) {
        let line: Line = serde_json::from_str(text).map_err(|_| Refused::NotOfAList(number))?;
        let signed = serde_json::to_vec(&line.content).map_err(|_| Refused::NotOfAList(number))?;
        let mac = hex::decode(&line.mac).map_err(|_| Refused::NotOfAList(number))?;
        if !seal.verifies_erasure(&signed, &mac) {
            return Err(Refused::Forged(number));
        }
        match line.content {
            Content::Erasure(erasure) if !ended => {
                digest.update(text.as_bytes());
                erasures.push(erasure);
            }
            Content::End(end) if !ended => {
                let digest = hex::encode(digest.clone().finalize());
                if end.digest != digest || usize::try_from(end.count) != Ok(erasures.len()) {
                    return Err(Refused::OtherLines);
                }
                ended = true;
            }
            // Behind the last line.
            Content::Erasure(_) | Content::End(_) => return Err(Refused::OtherLines),
        }
    }
    if ended { Ok(erasures) } else { Err(Refused::CutOff) }
}

/// The erasures of the database, a page at a time.
pub struct Pages<'a> {
    store: &'a Store,
    since: Option<OffsetDateTime>,
    after: Uuid,
}

impl<'a> Pages<'a> {
    pub fn new(store: &'a Store, since: Option<OffsetDateTime>) -> Self {
        Self { store, since, after: Uuid::nil() }
    }

    /// The next page; empty at the end.
    pub async fn next(&mut self) -> store::Result<Vec<ErasureRow>> {
        let rows = self.store.erasures().list(self.since, self.after, PAGE).await?;
        self.after = rows.last().map_or(self.after, |last| last.verification_id);
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::DataKey;

    fn row(n: u128) -> ErasureRow {
        let requested_at = OffsetDateTime::UNIX_EPOCH;
        ErasureRow { verification_id: Uuid::from_u128(n), requested_at, completed_at: None }
    }

    fn written(seal: &AuditSeal, rows: impl IntoIterator<Item = u128>) -> Vec<String> {
        let mut writer = Writer::new(seal);
        let mut lines: Vec<String> =
            rows.into_iter().map(|n| writer.line(&row(n)).unwrap()).collect();
        lines.push(writer.end(OffsetDateTime::UNIX_EPOCH).unwrap());
        lines
    }

    #[test]
    fn a_list_reads_only_as_it_was_written() {
        let seal = AuditSeal::new(DataKey::generate().unwrap());
        let lines = written(&seal, [1, 2, 3]);
        let read = |lines: &[String]| read(&seal, lines.iter().map(String::as_str));
        let ids = |read: Vec<Listed>| -> Vec<u128> {
            read.iter().map(|erasure| erasure.verification_id.as_u128()).collect()
        };
        assert_eq!(read(&lines).map(ids), Ok(vec![1, 2, 3]));
        assert_eq!(read(&written(&seal, [])).map(ids), Ok(Vec::new()));

        let other = AuditSeal::new(DataKey::generate().unwrap());
        let mut forged = lines.clone();
        forged[1] = written(&other, [9])[0].clone();
        assert_eq!(read(&forged), Err(Refused::Forged(2)));
        let mut edited = lines.clone();
        edited[0] = edited[0].replace("-000000000001", "-000000000009");
        assert_eq!(read(&edited), Err(Refused::Forged(1)));
        // Each line is signed, but not this list.
        let mut added = lines.clone();
        added.insert(1, written(&seal, [9])[0].clone());
        assert_eq!(read(&added), Err(Refused::OtherLines));
        let mut removed = lines.clone();
        removed.remove(1);
        assert_eq!(read(&removed), Err(Refused::OtherLines));
        let mut moved = lines.clone();
        moved.swap(0, 1);
        assert_eq!(read(&moved), Err(Refused::OtherLines));
        let behind = [lines.clone(), written(&seal, [9])].concat();
        assert_eq!(read(&behind), Err(Refused::OtherLines));
        assert_eq!(read(&lines[..3]), Err(Refused::CutOff));
        assert_eq!(read(&[]), Err(Refused::CutOff));
        assert_eq!(read(&["{}".to_owned()]), Err(Refused::NotOfAList(1)));
    }
}
