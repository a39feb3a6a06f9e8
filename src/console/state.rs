//! The state that all pages share.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use url::Url;

use super::signing_in::oidc;
use super::signing_in::oidc::client::{Client, Unusable};
use crate::audit_log::heads::HeadSettings;
use crate::http::Api;
use crate::http::problem::Problem;
use crate::http::rate_limit::Bucket;
use crate::vault::DataKey;

/// Tries to sign in per second that one process checks, of each kind, all names together.
const TRIES_PER_SECOND: u32 = 10;
/// Redirects to the identity provider per second: they cost next to nothing, and any page of any site
/// can make a browser request one.
const REDIRECTS_PER_SECOND: u32 = 100;

/// Sessions and invitations that one process looks up at once: anybody can invent tokens, and callbacks
/// need most of the connections to the database.
const LOOKUPS: usize = 4;

/// Limits of tries to sign in. Each kind has its own, so that strangers keep out nobody who is known.
pub struct Tries {
    /// By password, from any browser.
    pub unknown: TryLimit,
    /// By password, from a browser in which the same person signed in before.
    pub known: TryLimit,
    /// Of people who are signed in and prove again who they are.
    pub signed_in: TryLimit,
    pub to_identity: TryLimit,
    pub from_identity: TryLimit,
}

/// The limit of one kind.
pub struct TryLimit(Bucket);

impl TryLimit {
    fn new(per_second: u32) -> Self {
        Self(Bucket::new(per_second))
    }

    pub fn take(&self) -> Result<(), Problem> {
        self.0.take(Instant::now()).map_err(|wait| Problem::rate_limited().retry_after(wait))
    }
}

impl Tries {
    fn new() -> Self {
        let [unknown, known, signed_in, from_identity] =
            std::array::from_fn(|_| TryLimit::new(TRIES_PER_SECOND));
        let to_identity = TryLimit::new(REDIRECTS_PER_SECOND);
        Self { unknown, known, signed_in, to_identity, from_identity }
    }
}

/// How the console is reached, and who signs people in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers reach it. `None`: where it listens.
    pub public_url: Option<Url>,
    /// `None`: people sign in with passwords alone.
    pub oidc: Option<oidc::Settings>,
    pub retention: RetentionClocks,
    /// The witnesses of the audit.
    pub audit: HeadSettings,
}

/// The retention clocks that this process's configuration sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetentionClocks {
    pub persons: bool,
    pub images: bool,
    pub callbacks: bool,
}

/// The pages' state, cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Parts>);

/// The parts of a [`Console`].
pub struct Parts {
    pub api: Api,
    pub settings: Settings,
    /// Where it listens.
    pub listens: SocketAddr,
    /// Seals what users keep with us. `None`: this process has no keys.
    pub key: Option<DataKey>,
    pub tries: Tries,
    /// A permit for each look-up of a token that a stranger may have invented.
    pub lookups: Semaphore,
    /// The identity provider. `None`: there is none.
    pub identity: Option<Client>,
}

impl Console {
    pub fn new(
        api: Api,
        settings: Settings,
        listens: SocketAddr,
        key: Option<DataKey>,
    ) -> Result<Self, Unusable> {
        let identity = settings.oidc.clone().map(Client::new).transpose()?;
        let (tries, lookups) = (Tries::new(), Semaphore::new(LOOKUPS));
        Ok(Self(Arc::new(Parts { api, settings, listens, key, tries, lookups, identity })))
    }

    /// Its address in a browser, with a slash at the end.
    pub fn url(&self) -> String {
        match &self.settings.public_url {
            Some(url) => url.to_string(),
            None => format!("http://{}/", self.listens),
        }
    }

    /// The identity provider's host, for people to read.
    pub fn issuer_host(&self) -> Option<String> {
        let issuer = Url::parse(&self.settings.oidc.as_ref()?.issuer).ok()?;
        issuer.host_str().map(ToOwned::to_owned)
    }
}

impl Deref for Console {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
