//! Following one link: only where it may lead, only so much, only so long.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{StatusCode, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::dial::{Lookup, Vetting, refusal_in, system_lookup};
use super::format::Recognised;
use super::guard::{AllowedHosts, Refusal};
use super::memory_budget::{MemoryBudget, MemoryPermit};

/// Limits of a download.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where links may lead.
    pub allowed: AllowedHosts,
    /// Most bytes of one image.
    pub max_bytes: usize,
    /// For name resolution, TCP and TLS.
    pub connect_timeout: Duration,
    /// For one image, its last byte included.
    pub timeout: Duration,
}

/// An image in hand.
pub struct Picture {
    /// Of the memory that downloads may use.
    _memory: MemoryPermit,
    /// Its format and size.
    pub recognised: Recognised,
    /// All of it; wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("recognised", &self.recognised).finish_non_exhaustive()
    }
}

/// Why there is no image. The reasons are a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadError {
    /// The link has expired. The provider makes a new one when it is asked again.
    LinkExpired,
    /// A retry may succeed.
    Transient(&'static str),
    /// A retry fails in the same way.
    Permanent(&'static str),
}

/// Bytes of images that may be in memory at once, their sealed forms not counted.
const MEMORY: usize = 32 * 1024 * 1024;

/// Follows links.
#[derive(Debug)]
pub struct Downloader {
    settings: Settings,
    memory: MemoryBudget,
    http: reqwest::Client,
}

impl Downloader {
    /// With the system's way of looking names up.
    pub fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        Self::with_lookup(settings, system_lookup())
    }

    /// With that way of looking names up.
    pub fn with_lookup(settings: Settings, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let allowed = settings.allowed.clone();
        let exempt = move |name: &str, address: IpAddr| {
            address.is_loopback() && allowed.may_be_loopback(name)
        };
        let resolver = Vetting::new(exempt, lookup);
        let http = reqwest::Client::builder()
            .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .dns_resolver(Arc::new(resolver))
            .build()?;
        let memory = MemoryBudget::new(MEMORY.max(settings.max_bytes));
        Ok(Self { settings, memory, http })
    }

    /// Most bytes of one image.
    pub fn max_bytes(&self) -> usize {
        self.settings.max_bytes
    }

    /// Fetches one image. The link is a secret: whoever has it needs no key.
    pub async fn fetch(&self, link: &SecretString) -> Result<Picture, DownloadError> {
        let limit = self.settings.max_bytes;
        let url = self.settings.allowed.admit(link.expose_secret()).map_err(refused)?;
        let mut response = self.http.get(url).send().await.map_err(|error| failure(&error))?;
        match response.status() {
            StatusCode::OK => {}
            // Expired, or no longer there, as the vendor's object store says it.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(DownloadError::LinkExpired);
            }
            status if status.is_redirection() => return Err(DownloadError::Permanent("redirect")),
            status if status.is_server_error() => {
                return Err(DownloadError::Transient("server-error"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                return Err(DownloadError::Transient("server-busy"));
            }
            _ => return Err(DownloadError::LinkExpired),
        }
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(DownloadError::Permanent("too-large"));
        }
        // One that does not say how long it is may be as long as any.
        let memory = self.memory.acquire(announced.unwrap_or(limit)).await;
        let memory = memory.ok_or(DownloadError::Transient("no-room"))?;
        // Growing leaves unwiped copies behind; a length that is a lie costs a moment's memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(limit).min(limit)));
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if bytes.len() + chunk.len() > limit {
                return Err(DownloadError::Permanent("too-large"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let recognised = Recognised::of(&bytes).ok_or(DownloadError::Permanent("not-an-image"))?;
        Ok(Picture { _memory: memory, recognised, bytes })
    }
}

fn refused(refusal: Refusal) -> DownloadError {
    DownloadError::Permanent(match refusal {
        Refusal::NotAUrl => "refused-not-a-url",
        Refusal::Scheme => "refused-scheme",
        Refusal::UserInfo => "refused-user-info",
        Refusal::Port => "refused-port",
        Refusal::Host => "refused-host",
        Refusal::Address => "refused-address",
    })
}

/// An error of reqwest, without its text: that one holds the link.
fn failure(error: &reqwest::Error) -> DownloadError {
    if let Some(refusal) = refusal_in(error) {
        return refused(refusal);
    }
    DownloadError::Transient(match error {
        error if error.is_connect() => "no-connection",
        error if error.is_timeout() => "timeout",
        _ => "cut",
    })
}

#[cfg(test)]
mod tests;
