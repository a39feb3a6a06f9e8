//! Finds the access key, and renews it.
//!
//! The [`Chain`] is the one of the vendor's SDKs, with the caller's own settings before it:
//! settings, environment, OIDC (RRSA), CLI profile, credentials file, ECS role, credentials URI.
//! The first source that has credentials gives them. A source that is configured on purpose and
//! fails stops the search, so that a passing fault does not switch to another account.
//!
//! ```
//! use cloudauth::credentials::{Chain, Environment, Settings};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let environment = Environment::from_iter([
//!     ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-example"),
//!     ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret"),
//! ]);
//! let chain = Chain::new(Settings::default(), environment)?;
//! assert_eq!(chain.get().await?.access_key_id, "LTAI-example");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access_key;
mod environment;
mod files;
mod remote;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Mutex;
use url::Url;

use crate::clock::Clock;
use crate::transport::{USER_AGENT, http_client};

pub use access_key::{Credentials, Fixed, Secret};
pub use environment::Environment;

use access_key::Miss;

/// Temporary credentials are renewed when less than this remains (as the vendor's SDKs do).
const RENEW_BEFORE: time::Duration = time::Duration::minutes(15);

/// After a failure the sources are not asked again for this long, so that a queue of callers does
/// not wait for the same timeout one by one.
const PAUSE: time::Duration = time::Duration::seconds(5);

/// The metadata service and a local credentials URI are near: 1 s as in the vendor's SDKs.
const NEAR_CONNECT: Duration = Duration::from_secs(1);
const NEAR_TIMEOUT: Duration = Duration::from_secs(2);
/// STS is as far as the provider itself: 5 s and 10 s as in the vendor's SDKs.
const FAR_CONNECT: Duration = Duration::from_secs(5);
const FAR_TIMEOUT: Duration = Duration::from_secs(10);

/// The metadata service of ECS.
pub const ECS_METADATA: &str = "http://100.100.100.200";

/// Settings of the chain; usually [`Settings::default`].
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A key that goes before all other sources.
    pub fixed: Option<Fixed>,
    /// STS, if not at the usual place.
    pub sts_endpoint: Option<Url>,
    /// The metadata service, if not at [`ECS_METADATA`].
    pub ecs_metadata: Option<Url>,
    /// The header `User-Agent`, if not the crate's name.
    pub user_agent: Option<String>,
    /// How sessions of an assumed role are named, unless `ALIBABA_CLOUD_ROLE_SESSION_NAME` says
    /// it; by default `cloudauth`.
    pub session_name: Option<String>,
}

/// No source has usable credentials. Its text says what each of them lacks, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    tried: Vec<Note>,
}

/// Why one source of the chain has no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    source: &'static str,
    lacks: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes: Vec<String> =
            self.tried.iter().map(|note| format!("{}: {}", note.source, note.lacks)).collect();
        write!(f, "no usable credentials for the provider ({})", notes.join("; "))
    }
}

impl std::error::Error for Error {}

/// The sources of credentials, and what was found last. Clone an [`Arc`] to share it.
#[derive(Debug)]
pub struct Chain {
    settings: Settings,
    environment: Environment,
    clock: Clock,
    near: reqwest::Client,
    far: reqwest::Client,
    /// Held while the sources are asked: one asks, the others wait for what it gets.
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    credentials: Option<Arc<Credentials>>,
    failure: Option<(OffsetDateTime, Error)>,
}

impl Chain {
    /// A chain with the machine's clock. No source is asked yet.
    pub fn new(settings: Settings, environment: Environment) -> Result<Self, reqwest::Error> {
        let user_agent = settings.user_agent.as_deref().unwrap_or(USER_AGENT);
        let near = http_client(user_agent, NEAR_CONNECT, NEAR_TIMEOUT)?;
        let far = http_client(user_agent, FAR_CONNECT, FAR_TIMEOUT)?;
        let (clock, found) = (Clock::system(), Mutex::default());
        Ok(Self { settings, environment, clock, near, far, found })
    }

    /// The same chain with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Credentials that are valid now. Those about to expire are renewed. While that fails, the old
    /// ones serve until they expire.
    pub async fn get(&self) -> Result<Arc<Credentials>, Error> {
        let mut found = self.found.lock().await;
        let now = self.clock.now();
        let good = found.credentials.clone().filter(|known| known.last_past(now));
        if let Some(good) = good.as_ref().filter(|known| known.last_past(now + RENEW_BEFORE)) {
            return Ok(Arc::clone(good));
        }
        let failure = match found.failure.take() {
            Some((at, failure)) if (at..at + PAUSE).contains(&now) => (at, failure),
            _ => match self.ask().await {
                Ok(credentials) => {
                    let credentials = Arc::new(credentials);
                    found.credentials = Some(Arc::clone(&credentials));
                    return Ok(credentials);
                }
                Err(failure) => (now, failure),
            },
        };
        found.failure = Some(failure.clone());
        good.ok_or(failure.1)
    }

    /// Drops credentials that the provider has refused, so that the next call asks the sources
    /// again: a renewed token or a corrected file works without a restart. Newer credentials are
    /// kept.
    pub async fn invalidate(&self, refused: &Arc<Credentials>) {
        let mut found = self.found.lock().await;
        if found.credentials.as_ref().is_some_and(|known| Arc::ptr_eq(known, refused)) {
            *found = Found::default();
        }
    }

    async fn ask(&self) -> Result<Credentials, Error> {
        let mut tried = Vec::new();
        for source in SOURCES {
            let lacks = match self.ask_one(source).await {
                Ok(credentials) if credentials.last_past(self.clock.now()) => {
                    tracing::info!(source, "provider credentials found");
                    return Ok(credentials);
                }
                Ok(_) => "they have expired".to_owned(),
                Err(Miss::Next(lacks)) => lacks,
                Err(Miss::Stop(lacks)) => {
                    return Err(Error { tried: vec![Note { source, lacks }] });
                }
            };
            tried.push(Note { source, lacks });
        }
        Err(Error { tried })
    }

    async fn ask_one(&self, source: &str) -> Result<Credentials, Miss> {
        match source {
            FIXED => files::fixed(self.settings.fixed.as_ref()).await,
            ENVIRONMENT => self.environment.credentials(),
            OIDC => self.oidc().await,
            CLI_PROFILE => files::cli_profile(&self.environment).await,
            CREDENTIALS_FILE => files::credentials_file(&self.environment).await,
            ECS_ROLE => self.ecs_role().await,
            _ => self.credentials_uri().await,
        }
    }
}

const FIXED: &str = "settings";
const ENVIRONMENT: &str = "environment";
const OIDC: &str = "OIDC";
const CLI_PROFILE: &str = "CLI profile";
const CREDENTIALS_FILE: &str = "credentials file";
const ECS_ROLE: &str = "ECS role";
const CREDENTIALS_URI: &str = "credentials URI";

/// In the order they are asked.
const SOURCES: [&str; 7] =
    [FIXED, ENVIRONMENT, OIDC, CLI_PROFILE, CREDENTIALS_FILE, ECS_ROLE, CREDENTIALS_URI];
