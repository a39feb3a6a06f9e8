//! The section about images.

use std::collections::BTreeMap;
use std::path::Path;

use url::Url;

use super::checks::{at_least, endpoint, millis, one_of, secret};
use super::{Config, Result, wrong};
use crate::domain::image::ImageMode;
use crate::images::{AllowedHosts, archive, download};
use crate::provider::client;

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

    fn image_store(&self) -> Result<archive::Settings> {
        const KEY: &str = "images.store";
        let text = self.images.store.as_str();
        if let Some(folder) = text.strip_prefix("file://") {
            if !Path::new(folder).is_absolute() {
                return wrong(
                    KEY,
                    "must name an absolute folder, like file:///var/lib/verdict/images",
                );
            }
            return Ok(archive::Settings::Folder(folder.into()));
        }
        let Some(place) = text.strip_prefix("s3://") else {
            return wrong(KEY, "must begin with file:// or s3://");
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return wrong(KEY, "must name a bucket: s3://bucket/prefix");
        }
        let Some(raw) = &self.images.s3 else {
            return wrong("images.s3", "is required with an s3:// store");
        };
        let at = Url::parse(&raw.endpoint).ok().map(|url| client::check_endpoint(&url));
        match at {
            Some(Ok(())) => {}
            Some(Err(problem)) => return wrong("images.s3.endpoint", problem),
            None => return wrong("images.s3.endpoint", "is not a URL"),
        }
        let key_secret = secret(
            "images.s3.access_key_secret",
            &raw.access_key_secret,
            raw.access_key_secret_file.as_deref(),
        )?;
        if raw.access_key_id.is_empty() || key_secret.is_empty() {
            return wrong("images.s3", "access_key_id and access_key_secret are required");
        }
        Ok(archive::Settings::S3(archive::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: virtual_host(&raw.endpoint, bucket, raw.virtual_hosted),
            region: raw.region.clone(),
            access_key_id: raw.access_key_id.clone(),
            access_key_secret: key_secret.into(),
            virtual_hosted: raw.virtual_hosted,
            conditional_put: raw.conditional_put,
        }))
    }
}

/// The client wants the bucket in the endpoint where it belongs to the host's name.
fn virtual_host(endpoint: &str, bucket: &str, virtual_hosted: bool) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if virtual_hosted => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_owned(),
    }
}
