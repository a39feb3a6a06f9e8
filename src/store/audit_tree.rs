//! The leaves of the tree over the audit, and its newest heads that witnesses signed.
//! [0036](../../docs/decisions/0036-witnessed-heads-of-the-audit.md) says why.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::audit_cuts::AuditLeaf;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;

/// The newest head that a witness signed.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct CosignedHead {
    /// Name and id of the key of the witness.
    pub witness: String,
    /// The name of the log in the head. A witness may sign the heads of several.
    pub origin: String,
    /// Position of the newest row in the head.
    pub size: i64,
    pub root: Vec<u8>,
    pub cosigned_at: OffsetDateTime,
    /// The head as a note, signed by the log and by the witness.
    pub note: String,
}

/// The tree over the audit.
#[derive(Clone, Copy, Debug)]
pub struct AuditTree<'a>(&'a Store);

impl Store {
    pub fn audit_tree(&self) -> AuditTree<'_> {
        AuditTree(self)
    }
}

impl AuditTree<'_> {
    /// The digests of rows after a position, dropped ones included, in order, at most `limit`.
    pub async fn leaves_after(self, position: i64, limit: i64) -> Result<Vec<AuditLeaf>> {
        // One statement, so that rows which are dropped meanwhile are found in one of the two tables.
        self.0.run(|| leaves_after(position, limit).fetch_all(&self.0.pool)).await
    }

    /// The newest head of the log that each witness signed.
    pub async fn cosigned(self, origin: &str) -> Result<Vec<CosignedHead>> {
        self.0.run(|| cosigned(origin).fetch_all(&self.0.pool)).await
    }

    /// Keeps a head in the place of the one before, unless that has more rows: another process may
    /// have been ahead.
    pub async fn keep_cosigned(self, head: &CosignedHead) -> Result<()> {
        let CosignedHead { witness, origin, size, root, cosigned_at, note } = head;
        self.0
            .run(|| async {
                keep_cosigned(witness, origin, *size, root, *cosigned_at, note)
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }
}

statements! {
    row leaves_after(position: i64, limit: i64) -> AuditLeaf =
        "select position, digest from (
             (select position, digest from audit_leaves where position > $1
              order by position limit $2)
             union all
             (select position, digest from audit where position > $1
              order by position limit $2)) leaves
         order by position limit $2";

    row cosigned(origin: &str) -> CosignedHead =
        "select witness, origin, size, root, cosigned_at, note from audit_cosigned_heads
         where origin = $1 order by witness";

    execute keep_cosigned(
        witness: &str,
        origin: &str,
        size: i64,
        root: &[u8],
        cosigned_at: OffsetDateTime,
        note: &str,
    ) =
        "insert into audit_cosigned_heads as kept
             (witness, origin, size, root, cosigned_at, note)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (witness, origin) do update set size = excluded.size, root = excluded.root,
             cosigned_at = excluded.cosigned_at, note = excluded.note
         where excluded.size > kept.size
             or excluded.size = kept.size and excluded.cosigned_at > kept.cosigned_at";
}
