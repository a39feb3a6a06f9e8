//! Whether the object store holds the images that the database says it holds, and no others. After a
//! restore of either of them it may not.

use futures_util::TryStreamExt;
use uuid::Uuid;

use crate::domain::ids::{ResultId, VerificationId};
use crate::images::archive::{Archive, ArchiveError, ImageId, StoredObject};
use crate::store::audit::AuditContext;
use crate::store::image_check::ArchivedRow;
use crate::store::{self, Store};

/// Rows held in memory at once.
const PAGE: i64 = 1000;

/// One difference between database and object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The database has the image, the store has no object.
    RowWithoutObject(ImageId),
    /// The store has an object that no row, and no work under way, knows of.
    ObjectWithoutRow(ImageId),
    /// The store has something that no process of ours has put there.
    NotOurs,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Compares both, and tells each difference as it is found.
pub struct ImageCheck<'a> {
    pub store: &'a Store,
    pub archive: &'a Archive,
    /// With it, an image without an object becomes `lost`, and an object without a row is
    /// deleted.
    pub fix: Option<&'a AuditContext>,
}

impl ImageCheck<'_> {
    /// Calls `compared` with the number of images and objects compared so far.
    pub async fn run(
        &self,
        mut tell: impl FnMut(Difference),
        mut compared: impl FnMut(u64),
    ) -> Result<(), CheckError> {
        let mut count = 0;
        let mut one_more = || {
            count += 1;
            compared(count);
        };
        self.rows(&mut tell, &mut one_more).await?;
        self.objects(&mut tell, &mut one_more).await
    }

    async fn rows(
        &self,
        tell: &mut impl FnMut(Difference),
        one_more: &mut impl FnMut(),
    ) -> Result<(), CheckError> {
        let (mut result, mut kind) = (Uuid::nil(), String::new());
        loop {
            let page = self.store.images().archived_after(result, &kind, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            (result, kind) = (last.result_id, last.kind.clone());
            for row in page {
                one_more();
                // The database allows only kinds that can be read.
                let Some(image) = image(&row) else { continue };
                if self.archive.exists(&image).await? {
                    continue;
                }
                let still = match self.fix {
                    Some(doing) => self.store.images().note_missing(&row, doing).await?,
                    None => self.store.images().is_settled(&row).await?,
                };
                if still {
                    tell(Difference::RowWithoutObject(image));
                }
            }
        }
    }

    async fn objects(
        &self,
        tell: &mut impl FnMut(Difference),
        one_more: &mut impl FnMut(),
    ) -> Result<(), CheckError> {
        let mut listed = self.archive.list();
        while let Some(object) = listed.try_next().await? {
            one_more();
            let StoredObject::Image(image) = object else {
                tell(Difference::NotOurs);
                continue;
            };
            if self.is_expected(&image).await? {
                continue;
            }
            if self.fix.is_some() {
                self.archive.delete(&image).await?;
            }
            tell(Difference::ObjectWithoutRow(image));
        }
        Ok(())
    }

    async fn is_expected(&self, image: &ImageId) -> store::Result<bool> {
        let kind = image.kind.to_string();
        self.store.images().is_expected(image.verification.0, image.result.0, &kind).await
    }
}

fn image(row: &ArchivedRow) -> Option<ImageId> {
    let (verification, result) = (VerificationId(row.verification_id), ResultId(row.result_id));
    Some(ImageId { verification, result, kind: row.kind.parse().ok()? })
}
