//! The context for images that every part of the worker shares: modes, the downloader and the
//! archive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::image::ImageMode;
use crate::images::{Archive, Downloader};

/// A longer time enters the average as this one.
const LONGEST_TAKEN: Duration = Duration::from_secs(20);

/// Everything that the worker needs to download and store images.
#[derive(Debug)]
pub struct Images {
    /// For scenes without their own mode.
    pub mode: ImageMode,
    /// Modes of single scenes.
    pub scenes: BTreeMap<String, ImageMode>,
    /// Results whose images are fetched at once by this process.
    pub concurrency: usize,
    /// Follows links.
    pub downloader: Downloader,
    /// The object store; `None`: nothing is archived.
    pub archive: Option<Archive>,
    /// How long following a result's links took recently: a moving average, in microseconds.
    pub took_micros: AtomicU64,
}

impl Images {
    /// How long following a result's links takes at present.
    pub(super) fn takes(&self) -> Duration {
        Duration::from_micros(self.took_micros.load(Ordering::Relaxed))
    }

    pub(super) fn took(&self, time: Duration) {
        let (before, now) = (self.takes(), time.min(LONGEST_TAKEN));
        let micros = (before * 7 + now).as_micros() / 8;
        // Lost updates do no harm to an average.
        self.took_micros.store(u64::try_from(micros).unwrap_or(0), Ordering::Relaxed);
    }

    pub fn mode_of(&self, biz_type: &str) -> ImageMode {
        self.scenes.get(biz_type).copied().unwrap_or(self.mode)
    }
}
