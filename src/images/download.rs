//! Following one link: only where it may lead, only so much, only so long.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::format::Recognised;
use super::guard::{AllowedHosts, Refusal, vet};
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

/// Resolves names: a function, so that tests can replace it.
pub type Lookup = Arc<dyn Fn(String) -> Answered + Send + Sync>;
pub type Answered = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

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
        Self::with_lookup(settings, Arc::new(|name| Box::pin(system_lookup(name))))
    }

    /// With that way of looking names up.
    pub fn with_lookup(settings: Settings, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let resolver = Vetting { allowed: settings.allowed.clone(), lookup };
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

/// Gives the connector only addresses that were checked: there is no second lookup between the
/// check and the connection.
struct Vetting {
    allowed: AllowedHosts,
    lookup: Lookup,
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let loopback = self.allowed.may_be_loopback(&name);
        let answered = (self.lookup)(name);
        Box::pin(async move {
            let addresses = answered.await?;
            // One bad address spoils the name: an honest one has none.
            for address in &addresses {
                if !(loopback && address.is_loopback()) {
                    vet(*address)?;
                }
            }
            let addresses: Addrs =
                Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

async fn system_lookup(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
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
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return refused(*refusal);
        }
        source = cause.source();
    }
    DownloadError::Transient(match error {
        error if error.is_connect() => "no-connection",
        error if error.is_timeout() => "timeout",
        _ => "cut",
    })
}

#[cfg(test)]
mod tests;
