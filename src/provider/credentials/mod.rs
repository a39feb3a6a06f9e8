//! Where the access key comes from, and how it stays good.
//!
//! The chain is the one of the vendor's SDKs, with our own settings before it: settings,
//! environment, OIDC (RRSA), CLI profile, credentials file, ECS role, credentials URI. The first
//! that has credentials gives them; one that is configured on purpose and fails stops the search,
//! so that a passing fault does not make us somebody else.

mod environment;
mod files;
mod remote;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use url::Url;

use super::connection::http_client;
use crate::domain::clock::Clock;

pub use environment::Environment;

/// Temporary credentials are renewed when less than this remains (as the vendor's SDKs do).
const RENEW_BEFORE: time::Duration = time::Duration::minutes(15);

/// After a failure the sources are left alone this long, so that a queue of callers does not
/// wait for the same timeout one by one.
const PAUSE: time::Duration = time::Duration::seconds(5);

/// The metadata service and a local credentials URI are near: 1 s as in the vendor's SDKs.
const NEAR_CONNECT: Duration = Duration::from_secs(1);
const NEAR_TIMEOUT: Duration = Duration::from_secs(2);
/// STS is as far as the provider itself: 5 s and 10 s as in the vendor's SDKs.
const FAR_CONNECT: Duration = Duration::from_secs(5);
const FAR_TIMEOUT: Duration = Duration::from_secs(10);

/// The metadata service of ECS.
pub const ECS_METADATA: &str = "http://100.100.100.200";

/// What signs requests.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Names the key; not a secret.
    pub access_key_id: String,
    /// Signs.
    pub access_key_secret: SecretString,
    /// Comes with temporary keys.
    pub security_token: Option<SecretString>,
    /// When they end; `None` for keys that do not.
    pub expires_at: Option<OffsetDateTime>,
}

impl Credentials {
    fn last_past(&self, at: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|end| end > at)
    }
}

/// A secret given as such, or by the file that holds it.
#[derive(Clone, Debug)]
pub enum Secret {
    /// As such.
    Value(SecretString),
    /// The content of a file, but for blanks around it. Read again after it was refused.
    File(PathBuf),
}

/// A key given in our own settings.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub access_key_secret: Secret,
    /// The token of a temporary key.
    pub security_token: Option<SecretString>,
}

/// What the caller decides about the chain.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A key that goes before everything else.
    pub fixed: Option<Fixed>,
    /// STS, if not at the usual place.
    pub sts_endpoint: Option<Url>,
    /// The metadata service, if not at [`ECS_METADATA`].
    pub ecs_metadata: Option<Url>,
}

/// No source has usable credentials. One sentence, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    tried: Vec<Note>,
}

/// What one source lacks.
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

/// Why one source gives nothing.
enum Miss {
    /// It is not set up, or has nothing: the next is asked.
    Next(String),
    /// It is set up on purpose and failed: nobody else is asked.
    Stop(String),
}

/// The chain, and what it found last.
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
    /// A chain; nothing is asked yet.
    pub fn new(
        settings: Settings,
        environment: Environment,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            settings,
            environment,
            clock,
            near: http_client(NEAR_CONNECT, NEAR_TIMEOUT)?,
            far: http_client(FAR_CONNECT, FAR_TIMEOUT)?,
            found: Mutex::default(),
        })
    }

    /// Credentials that are good now. Those about to end are renewed; while that fails they still
    /// serve, up to their end.
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

    /// Forgets credentials that were refused, so that the next call looks again: a renewed token
    /// or a corrected file heals without a restart. Newer ones are kept.
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
