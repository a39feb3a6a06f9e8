//! The section about images.

use std::collections::BTreeMap;

use super::checks::{at_least, endpoint, millis, one_of};
use super::{Config, Result, wrong};
use crate::domain::image::ImageMode;
use crate::images::{AllowedHosts, archive, download};

/// How images are fetched and kept.
#[derive(Debug)]
pub struct Images {
    /// What is done with the images of a scene that is not named.
    pub mode: ImageMode,
    /// What is done with those of a scene.
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
    /// How images are fetched and kept.
    pub fn images(&self) -> Result<Images> {
        let raw = &self.images;
        let scenes = raw.scenes.iter().map(|(scene, mode)| {
            Ok((scene.clone(), one_of(&format!("images.scenes.{scene}"), mode, &MODES)?))
        });
        let Some(allowed) = AllowedHosts::parse(raw.allowed_hosts.iter().map(String::as_str))
        else {
            return wrong(
                "images.allowed_hosts",
                "must be names of hosts, like images.example.com or *.aliyuncs.com",
            );
        };
        let most = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        Ok(Images {
            mode: one_of("images.mode", &raw.mode, &MODES)?,
            scenes: scenes.collect::<Result<_>>()?,
            concurrency: at_least("images.concurrency", raw.concurrency, 1)?,
            download: download::Settings {
                allowed: allowed.and_simulated(&endpoint(&self.provider.endpoint)?),
                max_bytes: at_least("images.max_bytes", raw.max_bytes, 1024)?.min(most),
                connect_timeout: millis(
                    "provider.connect_timeout_ms",
                    self.provider.connect_timeout_ms,
                )?,
                timeout: millis("images.timeout_ms", raw.timeout_ms)?,
            },
            store: self.image_store()?,
        })
    }
}
