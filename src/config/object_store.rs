//! The keys about the object store: `images.store` and `[images.s3]`.

use std::path::Path;

use url::{Host, Url};

use super::checks::{one_of, secret};
use super::error::{self, Collector, ConfigError, ConfigErrors, wrong};
use super::raw::{Config, S3 as Raw};
use crate::images::archive::Settings;
use crate::images::guard;
use crate::images::s3::{Credentials, S3};

/// Signed for stores without regions.
const NO_REGION: &str = "us-east-1";

impl Config {
    pub(super) fn image_store(&self) -> Result<Settings, ConfigErrors> {
        const KEY: &str = "images.store";
        let text = self.images.store.as_str();
        if let Some(folder) = text.strip_prefix("file://") {
            if !Path::new(folder).is_absolute() {
                let problem = "must name an absolute folder, like file:///var/lib/verdict/images";
                return Err(ConfigError::new(KEY, problem).into());
            }
            return Ok(Settings::Folder(folder.into()));
        }
        let Some(place) = text.strip_prefix("s3://") else {
            return Err(ConfigError::new(KEY, "must begin with file:// or s3://").into());
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(name) {
            let problem =
                "must name a bucket, of letters, digits, hyphens and dots: s3://bucket/prefix";
            return Err(ConfigError::new(KEY, problem).into());
        }
        let Some(raw) = &self.images.s3 else {
            return Err(ConfigError::new("images.s3", "is required with an s3:// store").into());
        };
        raw.checked(bucket, prefix).map(Settings::S3)
    }
}

impl Raw {
    fn checked(&self, bucket: &str, prefix: &str) -> Result<S3, ConfigErrors> {
        let mut found = Collector::default();
        let region = if self.region.is_empty() { NO_REGION } else { &self.region };
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let problem = "must be letters, digits and hyphens";
            found.take(wrong::<()>("images.s3.region", problem));
        }
        let place = found.take(self.place(bucket));
        let credentials = found.take(self.checked_credentials());
        found.finish(|| {
            let (endpoint, virtual_hosted) = place?;
            Some(S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.trim_matches('/').to_owned(),
                endpoint,
                region: region.to_owned(),
                credentials: credentials?,
                virtual_hosted,
                conditional_put: self.conditional_put,
            })
        })
    }

    /// The endpoint as requests name it, and whether the bucket is part of it.
    fn place(&self, bucket: &str) -> error::Result<(String, bool)> {
        let url = self.checked_endpoint()?;
        let virtual_hosted = self.is_virtual_hosted(&url)?;
        let endpoint = match (virtual_hosted, self.is_bucket_in_endpoint(&url, bucket)) {
            (true, false) => with_bucket(&url, bucket)?,
            _ => url.as_str().trim_end_matches('/').to_owned(),
        };
        Ok((endpoint, virtual_hosted))
    }

    /// `https`; `http` to this machine, or where it is allowed and does not lead outside.
    fn checked_endpoint(&self) -> error::Result<Url> {
        const KEY: &str = "images.s3.endpoint";
        let Ok(url) = Url::parse(&self.endpoint) else { return wrong(KEY, "is not a URL") };
        let (loopback, public) = match url.host() {
            Some(Host::Domain(name)) => (name == "localhost", false),
            Some(Host::Ipv4(address)) => {
                (address.is_loopback(), guard::vet(address.into()).is_ok())
            }
            Some(Host::Ipv6(address)) => {
                (address.is_loopback(), guard::vet(address.into()).is_ok())
            }
            None => return wrong(KEY, "needs a host"),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" if self.allow_http && !public => {}
            "http" if self.allow_http => {
                return wrong(KEY, "must be https: its address is a public one");
            }
            "http" => {
                return wrong(
                    KEY,
                    "must be https; for a store in a private network set allow_http = true",
                );
            }
            _ => return wrong(KEY, "must be an https URL"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong(KEY, "must not contain a user or a password");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return wrong(KEY, "must be scheme, host and port only; the bucket is in images.store");
        }
        Ok(url)
    }

    /// Addresses have no names below them, and Alibaba OSS knows nothing else.
    fn is_virtual_hosted(&self, url: &Url) -> error::Result<bool> {
        const KEY: &str = "images.s3.virtual_hosted";
        let name = match url.host() {
            Some(Host::Domain(name)) => name,
            _ if self.bucket_in_endpoint == Some(true) => {
                return wrong(
                    "images.s3.bucket_in_endpoint",
                    "cannot be true for an address: name the bucket's own domain in endpoint",
                );
            }
            _ if self.virtual_hosted == Some(true) => {
                return wrong(
                    KEY,
                    "cannot be true for an address: set it to false, or name the host in endpoint",
                );
            }
            _ => return Ok(false),
        };
        if self.virtual_hosted == Some(false) && name.ends_with(".aliyuncs.com") {
            return wrong(KEY, "must be true for Alibaba OSS, which refuses endpoint/bucket");
        }
        if self.virtual_hosted == Some(false) && self.bucket_in_endpoint == Some(true) {
            return wrong(KEY, "must be true where bucket_in_endpoint is");
        }
        Ok(self.bucket_in_endpoint == Some(true)
            || self.virtual_hosted.unwrap_or_else(|| name.contains('.')))
    }

    /// Said, or seen: the vendor's console shows the bucket's own domain.
    fn is_bucket_in_endpoint(&self, url: &Url, bucket: &str) -> bool {
        self.bucket_in_endpoint.unwrap_or_else(|| {
            let below = url.host_str().and_then(|host| host.strip_prefix(bucket));
            below.is_some_and(|rest| rest.starts_with('.'))
        })
    }

    fn checked_credentials(&self) -> error::Result<Credentials> {
        let role =
            one_of("images.s3.credentials", &self.credentials, &[("key", false), ("role", true)])?;
        let secret = secret(
            "images.s3.access_key_secret",
            &self.access_key_secret,
            self.access_key_secret_file.as_deref(),
        )?;
        let given = !self.access_key_id.is_empty() || !secret.is_empty();
        match (role, given) {
            (true, false) => return Ok(Credentials::Role),
            (true, true) => {
                return wrong("images.s3.credentials", "is role: leave the access key out");
            }
            _ => {}
        }
        if self.access_key_id.is_empty() || secret.is_empty() {
            return wrong(
                "images.s3",
                "access_key_id and access_key_secret are required, or credentials = \"role\"",
            );
        }
        if !self.access_key_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("images.s3.access_key_id", "must be letters and digits, without blanks");
        }
        Ok(Credentials::Key { id: self.access_key_id.clone(), secret: secret.as_str().into() })
    }
}

fn with_bucket(url: &Url, bucket: &str) -> error::Result<String> {
    let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
    let mut with_bucket = url.clone();
    let set = with_bucket.set_host(Some(&host));
    // A host's name has no capitals and no underscores, and is no address.
    let same = matches!(with_bucket.host(), Some(Host::Domain(name)) if name == host);
    if set.is_err() || !same || bucket.contains('_') || bucket.starts_with(['.', '-']) {
        return wrong(
            "images.store",
            "names a bucket that cannot be part of a host's name: use lower-case letters, \
             digits and hyphens, or set images.s3.virtual_hosted = false",
        );
    }
    Ok(with_bucket.as_str().trim_end_matches('/').to_owned())
}
