//! How images are downloaded, and where they are kept.

use std::sync::atomic::AtomicU64;

use anyhow::Context;

use crate::config::{self, ConfigError};
use crate::images::{Archive, Downloader};
use crate::worker::Images;

pub(super) fn worker_images(images: &config::Images) -> anyhow::Result<Images> {
    let downloader =
        Downloader::new(images.download.clone()).context("the HTTP client cannot be set up")?;
    Ok(Images {
        archive: None,
        took_micros: AtomicU64::new(0),
        mode: images.mode,
        scenes: images.scenes.clone(),
        concurrency: images.concurrency,
        downloader,
    })
}

/// The object store, for a command that reads images.
pub fn archive(config: &config::Config) -> anyhow::Result<Option<Archive>> {
    Ok(archive_of(&config.images()?)?)
}

/// The object store. Where nothing is archived any more it may be gone too; while it is there,
/// images from before can be shown and deleted.
pub(super) fn archive_of(images: &config::Images) -> Result<Option<Archive>, ConfigError> {
    if !images.archives() && images.store.is_missing() {
        return Ok(None);
    }
    match Archive::open(&images.store) {
        Ok(archive) => Ok(Some(archive)),
        Err(_) if !images.archives() => Ok(None),
        Err(error) => Err(ConfigError::new("images.store", error)),
    }
}
