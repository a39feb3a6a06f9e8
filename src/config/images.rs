//! The section about images.

use std::collections::BTreeMap;

use super::checks::{at_least, endpoint, millis, one_of};
use super::error::{Collector, ConfigError, ConfigErrors};
use super::raw::Config;
use crate::domain::image::ImageMode;
use crate::images::{AllowedHosts, archive, download};

/// How images are fetched and kept.
#[derive(Clone, Debug)]
pub struct Images {
    /// For the images of scenes that are not named.
    pub mode: ImageMode,
    /// For the images of a scene.
    pub scenes: BTreeMap<String, ImageMode>,
    /// Results whose images are fetched at once by one process.
    pub concurrency: usize,
    /// How links are followed.
    pub download: download::Settings,
    /// Where they are kept.
    pub store: archive::Settings,
}

impl Images {
    /// Whether any scene's images are kept.
    pub fn archives(&self) -> bool {
        [&self.mode].into_iter().chain(self.scenes.values()).any(|mode| *mode == ImageMode::Archive)
    }
}

const MODES: [(&str, ImageMode); 3] =
    [("archive", ImageMode::Archive), ("digest", ImageMode::Digest), ("off", ImageMode::Off)];

impl Config {
    pub fn images(&self) -> Result<Images, ConfigErrors> {
        let raw = &self.images;
        let mut found = Collector::default();
        let mode = found.take(one_of("images.mode", &raw.mode, &MODES));
        let scenes = raw.scenes.iter().map(|(scene, mode)| {
            let mode = one_of(&format!("images.scenes.{scene}"), mode, &MODES);
            found.take(mode).map(|mode| (scene.clone(), mode))
        });
        // Every one is read before any is given up, so that each mistake is reported.
        let scenes: Vec<_> = scenes.collect();
        let concurrency = found.take(at_least("images.concurrency", raw.concurrency, 1));
        let download = found.take(self.download());
        let store = found.take(self.image_store());
        found.finish(|| {
            Some(Images {
                mode: mode?,
                scenes: scenes.into_iter().collect::<Option<_>>()?,
                concurrency: concurrency?,
                download: download?,
                store: store?,
            })
        })
    }

    fn download(&self) -> Result<download::Settings, ConfigErrors> {
        let raw = &self.images;
        let most = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        let mut found = Collector::default();
        let allowed = AllowedHosts::parse(raw.allowed_hosts.iter().map(String::as_str));
        let allowed = found.take(allowed.ok_or_else(|| {
            ConfigError::new(
                "images.allowed_hosts",
                "must be names of hosts, like images.example.com or *.aliyuncs.com",
            )
        }));
        let provider = found.take(endpoint("provider.endpoint", &self.provider.endpoint));
        let max_bytes = found.take(at_least("images.max_bytes", raw.max_bytes, 1024));
        let connect_timeout =
            found.take(millis("provider.connect_timeout_ms", self.provider.connect_timeout_ms));
        let timeout = found.take(millis("images.timeout_ms", raw.timeout_ms));
        found.finish(|| {
            Some(download::Settings {
                allowed: allowed?.and_simulated(&provider?),
                max_bytes: max_bytes?.min(most),
                connect_timeout: connect_timeout?,
                timeout: timeout?,
            })
        })
    }
}
