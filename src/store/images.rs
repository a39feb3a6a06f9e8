//! What became of images: reading them is recorded, persons whose faces are kept are counted.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;
use crate::domain::image::ImageKind;

/// What became of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sealed, in the object store.
    Archived,
    /// Looked at, digested, let go.
    Digested,
    /// Could not be had: why, of a closed list.
    Lost(&'static str),
}

impl Fate {
    /// As it is stored.
    pub const fn state(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::Digested => "digest",
            Self::Lost(_) => "lost",
        }
    }

    /// Why it was lost.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Lost(reason) => Some(reason),
            Self::Archived | Self::Digested => None,
        }
    }
}

/// One image that needs no more work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledImage {
    /// Which.
    pub kind: ImageKind,
    /// What became of it.
    pub fate: Fate,
    /// By its bytes.
    pub content_type: Option<&'static str>,
    /// Why it may be more, or less, than an image.
    pub unusual: Vec<&'static str>,
    /// Length in the clear.
    pub bytes: Option<i32>,
    /// Of the bytes in the clear.
    pub sha256: Option<[u8; 32]>,
    /// Whose face is kept.
    pub person: Option<Vec<u8>>,
}

/// Where an archived image is, with the wrapped key that opens it.
#[derive(Clone, Debug, FromRow)]
pub struct ArchivedImage {
    /// The answer it came with.
    pub result_id: Uuid,
    /// By its bytes.
    pub content_type: String,
    /// Why it may be more, or less, than an image.
    pub unusual: Vec<String>,
    /// Length in the clear.
    pub bytes: i32,
    /// Of the bytes in the clear.
    pub sha256: Vec<u8>,
    /// Which key wraps the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped: Vec<u8>,
}

/// One image, without anything of the person.
#[derive(Clone, Debug, FromRow)]
pub struct ImageRow {
    /// The answer that had the link.
    pub result_id: Uuid,
    /// Which.
    pub kind: String,
    /// `archived`, `digest`, `lost`, or `pending`.
    pub state: String,
    /// Why it was lost.
    pub reason: Option<String>,
    /// Since when.
    pub settled_at: Option<OffsetDateTime>,
    /// By its first bytes.
    pub content_type: Option<String>,
    /// Why it may be more, or less, than an image.
    pub unusual: Vec<String>,
    /// Length in the clear.
    pub bytes: Option<i32>,
    /// Of the bytes in the clear.
    pub sha256: Option<Vec<u8>>,
}

/// Persons are counted up to here: the last threshold is below.
const MOST_PERSONS: i64 = 120_000;

/// Images that are kept, and who read them.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a>(pub(super) &'a Store);

impl Store {
    /// Images that are kept, and who read them.
    pub fn images(&self) -> Images<'_> {
        Images(self)
    }
}

impl Images<'_> {
    /// The newest archived image of a kind; that it was read is recorded by the same statement.
    pub async fn read_image(
        self,
        id: VerificationId,
        kind: ImageKind,
        doing: &AuditContext,
    ) -> Result<Option<ArchivedImage>> {
        // Nobody learns where an image is unless the reading is on record.
        self.0
            .once(
                read_archived(
                    id.0,
                    doing.at,
                    &doing.actor,
                    doing.purpose.as_deref(),
                    &kind.to_string(),
                )
                .fetch_optional(&self.0.pool),
            )
            .await
    }

    /// All images of a verification, oldest answer first, and the answers whose images are still
    /// to be fetched (kind `all`, state `pending`).
    pub async fn images_of(self, id: VerificationId) -> Result<Vec<ImageRow>> {
        self.0.run(|| find_images(id.0).fetch_all(&self.0.pool)).await
    }

    /// Distinct persons whose faces are kept; counting stops at 120,000.
    pub async fn persons_with_faces(self) -> Result<i64> {
        // Goes through the index from one person to the next, however many faces
        // each has.
        self.0.run(|| count_persons(MOST_PERSONS).fetch_one(&self.0.pool)).await
    }
}

statements! {
    row read_archived(
        id: Uuid,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        kind: &str,
    ) -> ArchivedImage =
        "with wanted as (
             select i.result_id, i.content_type, coalesce(i.unusual, '{}') as unusual,
                 i.bytes, i.sha256, k.key_id, k.wrapped
             from (select result_id, content_type, unusual, bytes, sha256 from images
                  where verification_id = $1 and kind = $5 and state = 'archived'
                  order by result_id desc limit 1) i
             join data_keys k on k.verification_id = $1
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $2, $3, 'image.read', $1, $4,
                 json_build_object('result', result_id, 'kind', $5::text)::text
             from wanted returning 1
         )
         select wanted.* from wanted, recorded";

    row find_images(verification: Uuid) -> ImageRow =
        "select result_id, kind, state, reason, settled_at, content_type,
             coalesce(unusual, '{}') as unusual, bytes, sha256
         from images where verification_id = $1
         union all
         select id, 'all', 'pending', null, null, null, '{}', null, null
         from tasks where verification_id = $1 and kind = 'archive'
         order by 1, 2";

    scalar count_persons(most: i64) -> i64 =
        "with recursive persons (person) as (
             (select person from images where person is not null order by person limit 1)
             union all
             select (select i.person from images i
                     where i.person is not null and i.person > p.person
                     order by i.person limit 1)
             from persons p where p.person is not null
         )
         select count(person) from (select person from persons limit $1) as counted";
}
