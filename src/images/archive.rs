//! The object store: where sealed images are, by file or by S3.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::memory_budget::MemoryBudget;
pub use super::memory_budget::MemoryPermit;
pub use super::s3::TIMEOUT;
use super::s3::{self, PutStatus, S3, Seen};
use crate::causes::{self, Cause, Service};
use crate::domain::ids::{ResultId, VerificationId};
use crate::domain::image::ImageKind;
use crate::vault::SealedAt;
use crate::vault::seal::OVERHEAD;

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Settings {
    /// `file://`: a folder, for one machine or a shared file system.
    Folder(PathBuf),
    /// `s3://`: anything that speaks S3, Alibaba OSS among it.
    S3(S3),
}

impl Settings {
    /// A folder that is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Folder(folder) if !folder.exists())
    }
}

/// Bytes of images in memory at once for those who read them.
const READING_BYTES: usize = 32 * 1024 * 1024;
/// Slow readers hold that memory. A reader that waits longer than this gets 503.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
/// Names of objects held in memory at once.
const LISTED: usize = 1000;
/// Put to find out whether there is room: as large as images usually are.
static PROBE: [u8; 256 * 1024] = [0; 256 * 1024];
/// How long the answer of a probe stays valid.
const ASKED_ANEW_AFTER: Duration = Duration::from_secs(5);

/// Errors of the store, without its own text, which may hold paths and keys of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be used as configured.
    #[error("the object store cannot be used as configured")]
    Setup,
    /// It did not answer in time.
    #[error("the object store did not answer in time")]
    Timeout,
    /// It refused or failed.
    #[error("the object store failed ({0})")]
    Failed(Cause),
}

impl ArchiveError {
    /// Why, for logs, metrics and hints.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Setup => Cause::BadUrl,
            Self::Timeout => Cause::Timeout,
            Self::Failed(cause) => *cause,
        }
    }
}

/// The result of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Written.
    New,
    /// Something was there already: an earlier try got this far.
    Already,
}

/// The identity of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageId {
    /// Whose.
    pub verification: VerificationId,
    /// The answer that had the link.
    pub result: ResultId,
    pub kind: ImageKind,
}

impl ImageId {
    pub fn sealed_at(&self) -> SealedAt {
        SealedAt::Image(self.result, self.kind)
    }
}

/// One object of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredObject {
    Image(ImageId),
    /// No name of ours.
    Other,
}

/// The objects of a verification that a deletion is about.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    All(VerificationId),
    /// The images of one result, except those of the kinds that are kept.
    AllBut {
        verification: VerificationId,
        result: ResultId,
        kept: &'a [String],
    },
}

/// Objects that are about to be deleted, a bounded number at once.
#[derive(Clone, Debug, Default)]
pub struct FoundObjects {
    names: Vec<Path>,
}

impl FoundObjects {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Nothing else was there when these were found.
    pub fn is_last(&self) -> bool {
        self.names.len() < LISTED
    }

    pub fn extend(&mut self, others: Self) {
        self.names.extend(others.names);
    }

    /// A digest of each name: it identifies the object among those of one verification.
    pub fn digests(&self) -> Vec<i64> {
        let digest = |name: &Path| {
            let name: &str = name.as_ref();
            let mut first = [0; 8];
            first.copy_from_slice(&Sha256::digest(name)[..8]);
            i64::from_be_bytes(first)
        };
        self.names.iter().map(digest).collect()
    }
}

/// When it was asked whether it takes more, and what came of it.
type Asked = (Instant, Result<(), ArchiveError>);

/// The store of sealed images.
#[derive(Clone, Debug)]
pub struct Archive {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where the objects are files.
    root: Option<PathBuf>,
    /// The store cannot put "only if absent": configured, or found out.
    unconditional: Arc<AtomicBool>,
    reading: MemoryBudget,
    asked: Arc<Mutex<Option<Asked>>>,
}

impl Archive {
    /// Opens it; a folder is made if need be, a bucket is not asked.
    pub fn open(settings: &Settings) -> Result<Self, ArchiveError> {
        match settings {
            Settings::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|error| ArchiveError::Failed(causes::of_io(&error)))?;
                let objects = LocalFileSystem::new_with_prefix(folder)
                    .map_err(|_| ArchiveError::Setup)?
                    .with_automatic_cleanup(true)
                    .with_fsync(true);
                let mut archive = Self::over(Arc::new(objects), Path::default());
                archive.root = Some(folder.clone());
                Ok(archive)
            }
            Settings::S3(s3) => {
                let objects = s3::open(s3).map_err(|_| ArchiveError::Setup)?;
                let archive = Self::over(Arc::new(objects), Path::from(s3.prefix.as_str()));
                archive.unconditional.store(!s3.conditional_put, Ordering::Relaxed);
                Ok(archive)
            }
        }
    }

    fn over(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            objects,
            prefix,
            root: None,
            unconditional: Arc::default(),
            reading: MemoryBudget::new(READING_BYTES),
            asked: Arc::default(),
        }
    }

    /// Memory for opening an image of that length. An image is opened whole, whatever part of it is
    /// requested: one seal covers all of it, and no part can be trusted before. Until it is open it
    /// is in memory twice, sealed and in the clear; then the caller releases half of the permit, and
    /// the rest when the last reader is done. `None`: no memory became free in time.
    pub async fn memory_for(&self, length: usize) -> Option<MemoryPermit> {
        let taken = self.reading.acquire(length.saturating_mul(2));
        tokio::time::timeout(MEMORY_WAIT, taken).await.ok().flatten()
    }

    fn folder(&self, verification: VerificationId) -> Path {
        self.prefix.clone().join(verification.to_string())
    }

    fn name(&self, image: &ImageId) -> Path {
        self.folder(image.verification).join(image.result.to_string()).join(image.kind.to_string())
    }

    /// Keeps sealed bytes, unless something is kept there already. A store that cannot tell
    /// overwrites: the image is the same one.
    pub async fn put(&self, image: &ImageId, sealed: Vec<u8>) -> Result<Put, ArchiveError> {
        let name = self.name(image);
        Ok(within(self.put_if_absent(&name, sealed.into())).await?)
    }

    /// Whether images are put without "only if absent".
    pub fn is_unconditional(&self) -> bool {
        self.unconditional.load(Ordering::Relaxed)
    }

    async fn put_if_absent(&self, name: &Path, sealed: Bytes) -> Result<Put, StoreError> {
        if self.is_unconditional() {
            return self.put_plainly(name, sealed).await;
        }
        let status = PutStatus::default();
        let options = PutOptions {
            mode: PutMode::Create,
            extensions: status.extensions(),
            ..PutOptions::default()
        };
        match self.objects.put_opts(name, sealed.clone().into(), options).await {
            Ok(_) => Ok(Put::New),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                // Some stores answer so whatever is there.
                match self.objects.head(name).await {
                    Err(StoreError::NotFound { .. }) => self.put_plainly(name, sealed).await,
                    _ => Ok(Put::Already),
                }
            }
            // A folder without hard links fails in as many ways as there are file systems.
            Err(_) if self.root.is_some() || status.may_refuse_condition() => {
                let put = self.put_plainly(name, sealed).await?;
                if !self.unconditional.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the object store cannot write only if absent; images are written without that condition"
                    );
                }
                Ok(put)
            }
            Err(error) => Err(error),
        }
    }

    async fn put_plainly(&self, name: &Path, sealed: Bytes) -> Result<Put, StoreError> {
        // In a folder it costs nothing to look first.
        if self.root.is_some() && self.objects.head(name).await.is_ok() {
            return Ok(Put::Already);
        }
        self.objects.put(name, sealed.into()).await.map(|_| Put::New)
    }

    /// The sealed bytes of an image that has at most so many in the clear. `None`: there are none, or
    /// more, which are no image that was put here.
    pub async fn get(
        &self,
        image: &ImageId,
        longest: usize,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let name = self.name(image);
        let longest = u64::try_from(longest.saturating_add(OVERHEAD)).unwrap_or(u64::MAX);
        let got = async {
            let object = self.objects.get(&name).await?;
            // The client allocates at once as much as the store announces.
            if object.meta.size > longest {
                return Ok(None);
            }
            object.bytes().await.map(Some)
        };
        match within(got).await {
            Ok(bytes) => Ok(bytes),
            Err(Failure::Store(StoreError::NotFound { .. }, _)) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Deletes one image; it need not be there.
    pub async fn delete(&self, image: &ImageId) -> Result<(), ArchiveError> {
        let name = self.name(image);
        match within(self.objects.delete(&name)).await {
            Ok(()) | Err(Failure::Store(StoreError::NotFound { .. }, _)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether the object is there, without reading it.
    pub async fn exists(&self, image: &ImageId) -> Result<bool, ArchiveError> {
        match within(self.objects.head(&self.name(image))).await {
            Ok(_) => Ok(true),
            Err(Failure::Store(StoreError::NotFound { .. }, _)) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The images that the store holds, and what else lies there, as they are listed.
    pub fn list(&self) -> BoxStream<'_, Result<StoredObject, ArchiveError>> {
        let prefix = (self.prefix.parts().count() > 0).then_some(&self.prefix);
        let listed = self.objects.list(prefix).map(|object| match object {
            Ok(object) => Ok(self.listed(&object.location)),
            Err(error) => Err(Failure::Store(error, None).into()),
        });
        listed.boxed()
    }

    fn listed(&self, name: &Path) -> StoredObject {
        let parts: Vec<_> = name.prefix_match(&self.prefix).into_iter().flatten().collect();
        let image = if let [verification, result, kind] = &parts[..] {
            let verification = verification.as_ref().parse().ok();
            verification.zip(result.as_ref().parse().ok()).zip(kind.as_ref().parse().ok())
        } else {
            None
        };
        image.map_or(StoredObject::Other, |((verification, result), kind)| {
            StoredObject::Image(ImageId { verification, result, kind })
        })
    }

    /// Deletes everything of a verification; answers how many objects.
    pub async fn delete_all(&self, verification: VerificationId) -> Result<usize, ArchiveError> {
        let mut deleted = 0;
        loop {
            let found = self.find(&Which::All(verification)).await?;
            self.delete_found(&found).await?;
            deleted += found.len();
            if found.is_last() {
                break;
            }
        }
        self.remove_folder(verification).await?;
        Ok(deleted)
    }

    /// Some of the objects that are to be deleted. The caller deletes them before it asks again.
    pub async fn find(&self, which: &Which<'_>) -> Result<FoundObjects, ArchiveError> {
        let (folder, kept) = match which {
            Which::All(verification) => (self.folder(*verification), &[][..]),
            Which::AllBut { verification, result, kept } => {
                (self.folder(*verification).join(result.to_string()), *kept)
            }
        };
        let goes =
            |name: &Path| name.filename().is_none_or(|name| !kept.iter().any(|kind| kind == name));
        let list = self.objects.list(Some(&folder)).map_ok(|object| object.location);
        let list = list.try_filter(|name| std::future::ready(goes(name)));
        let names = within(list.take(LISTED).try_collect()).await?;
        Ok(FoundObjects { names })
    }

    /// Deletes what was found; it need not be there any more.
    pub async fn delete_found(&self, found: &FoundObjects) -> Result<(), ArchiveError> {
        for name in &found.names {
            match within(self.objects.delete(name)).await {
                Ok(()) | Err(Failure::Store(StoreError::NotFound { .. }, _)) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    /// Removes the folder of a verification, where objects are files. A partial file of a killed
    /// process is no object and in no listing.
    pub async fn remove_folder(&self, verification: VerificationId) -> Result<(), ArchiveError> {
        let Some(root) = &self.root else { return Ok(()) };
        match tokio::fs::remove_dir_all(root.join(verification.to_string())).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ArchiveError::Failed(causes::of_io(&error)))
            }
            _ => Ok(()),
        }
    }

    /// The object of one image, if it is there.
    pub async fn find_image(&self, image: &ImageId) -> Result<FoundObjects, ArchiveError> {
        let names = if self.exists(image).await? { vec![self.name(image)] } else { Vec::new() };
        Ok(FoundObjects { names })
    }

    /// Whether the store accepts another image now. A full store still lists and serves, so an
    /// object is put and deleted, always under the same name: at most one is ever left behind.
    /// Callers at about the same time share the answer.
    pub async fn takes_more(&self) -> Result<(), ArchiveError> {
        let mut asked = self.asked.lock().await;
        if let Some((at, outcome)) = *asked
            && at.elapsed() < ASKED_ANEW_AFTER
        {
            return outcome;
        }
        let name = self.folder(VerificationId(uuid::Uuid::nil())).join("probe");
        let outcome = self.put_and_delete(&name).await;
        *asked = Some((Instant::now(), outcome));
        outcome
    }

    async fn put_and_delete(&self, name: &Path) -> Result<(), ArchiveError> {
        within(self.objects.put(name, Bytes::from_static(&PROBE).into())).await?;
        match within(self.objects.delete(name)).await {
            // Another process has just asked as well.
            Ok(()) | Err(Failure::Store(StoreError::NotFound { .. }, _)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}

enum Failure {
    /// With what the store last answered.
    Store(StoreError, Option<Seen>),
    /// With what was last asked.
    Timeout(Option<Seen>),
    Panic,
}

/// The client panics on some addresses and keys; whoever waits for it gets an error instead.
async fn within<T>(request: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    let (watched, seen) = s3::watched(request);
    let failure =
        match tokio::time::timeout(TIMEOUT, AssertUnwindSafe(watched).catch_unwind()).await {
            Ok(Ok(Ok(done))) => return Ok(done),
            // Names of objects are asked for to find out.
            Ok(Ok(Err(error @ StoreError::NotFound { .. }))) => {
                return Err(Failure::Store(error, seen.last()));
            }
            Ok(Ok(Err(error))) => Failure::Store(error, seen.last()),
            Ok(Err(_)) => Failure::Panic,
            Err(_) => Failure::Timeout(seen.last()),
        };
    causes::count(Service::ObjectStore, failure.cause());
    Err(failure)
}

impl Failure {
    fn cause(&self) -> Cause {
        match self {
            Self::Panic => Cause::BadUrl,
            Self::Timeout(seen) => seen.map_or(Cause::Timeout, Seen::timed_out),
            Self::Store(error, seen) => {
                let seen = seen.and_then(Seen::cause);
                seen.or_else(|| causes::of(error)).unwrap_or(match error {
                    StoreError::NotFound { .. } => Cause::NotFound,
                    StoreError::PermissionDenied { .. } => Cause::AccessDenied,
                    StoreError::Unauthenticated { .. } => Cause::UnknownKey,
                    _ => Cause::Unknown,
                })
            }
        }
    }
}

impl From<Failure> for ArchiveError {
    fn from(failure: Failure) -> Self {
        match failure.cause() {
            Cause::Timeout => Self::Timeout,
            Cause::BadUrl => Self::Setup,
            cause => Self::Failed(cause),
        }
    }
}

#[cfg(test)]
mod tests;
