//! Memory that readers share, and folders that cannot do everything.

use std::fmt;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::*;

#[tokio::test]
async fn readers_of_images_share_a_memory_budget() {
    let folder = tempfile::TempDir::new().unwrap();
    let archive = Archive::open(&Settings::Folder(folder.path().to_owned())).unwrap();
    // Sealed and in the clear it fills all of it; in the clear a half.
    let mut permit = archive.memory_for(READING_BYTES / 2).await.unwrap();
    assert!(archive.clone().memory_for(1).now_or_never().is_none());
    permit.shrink_to(READING_BYTES / 2);
    assert!(archive.memory_for(READING_BYTES / 4).now_or_never().is_some());
    assert!(archive.memory_for(READING_BYTES / 4 + 1).now_or_never().is_none());
}

/// A folder on a file system without hard links: SMB, exFAT, s3fs, gcsfuse.
#[derive(Debug)]
struct WithoutLinks(LocalFileSystem, std::io::ErrorKind);

impl fmt::Display for WithoutLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for WithoutLinks {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        if options.mode == PutMode::Create {
            let source = Box::new(std::io::Error::from(self.1));
            return Err(StoreError::Generic { store: "LocalFileSystem", source });
        }
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_folder_without_hard_links_keeps_images() {
    use std::io::ErrorKind::{PermissionDenied, TooManyLinks, Unsupported};
    for error in [PermissionDenied, Unsupported, TooManyLinks] {
        let folder = tempfile::TempDir::new().unwrap();
        let files = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let objects = Arc::new(WithoutLinks(files, error));
        let mut archive = Archive::over(objects, Path::default());
        archive.root = Some(folder.path().to_owned());
        let image = ImageId {
            verification: VerificationId(uuid::Uuid::from_u128(1)),
            result: ResultId(uuid::Uuid::from_u128(2)),
            kind: ImageKind::Face,
        };
        assert_eq!(archive.put(&image, b"one".to_vec()).await, Ok(Put::New), "{error}");
        // The stored image stays, and no partial file is left.
        assert_eq!(archive.put(&image, b"two".to_vec()).await, Ok(Put::Already), "{error}");
        assert_eq!(archive.get(&image, 3).await.unwrap().unwrap(), "one");
        assert_eq!(archive.delete_all(image.verification).await, Ok(1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
