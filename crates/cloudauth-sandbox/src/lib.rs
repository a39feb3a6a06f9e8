//! A simulated provider for real-person verification by Alibaba Cloud (Cloudauth).
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod scenario;

mod answer;
mod auth;
mod damage;
mod desk;
mod document;
mod identity;
mod images;
mod memory;
mod question;
mod refusal;
mod reply;
mod server;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use cloudauth::{Clock, Nonces};

pub use memory::Call;
pub use question::Version;
pub use scenario::{Behaviour, Scenario};

use images::LinkKey;
use memory::Memory;

/// How the simulated provider is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The only `AccessKeyId` it knows.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: SecretString,
    /// The STS token that must come along, if the two are to pass for temporary ones.
    pub security_token: Option<SecretString>,
    /// More calls than that in a second are refused with `Throttling.User`; `None`: no limit.
    pub queries_per_second: Option<u32>,
    /// How long image links work (the vendor: 5 minutes from the query).
    pub image_ttl: Duration,
    /// How long a `VerifyToken` works (the vendor: 30 minutes).
    pub token_ttl: Duration,
    /// Where image links point; by default to wherever the caller has reached us.
    pub public_base_url: Option<Url>,
    /// How long every answer takes.
    pub latency: Duration,
    /// How long every image takes.
    pub image_latency: Duration,
}

impl Settings {
    /// For that key, with the vendor's times, no limit and no delay.
    pub fn new(access_key_id: impl Into<String>, access_key_secret: SecretString) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            access_key_secret,
            security_token: None,
            queries_per_second: None,
            image_ttl: Duration::from_mins(5),
            token_ttl: Duration::from_mins(30),
            public_base_url: None,
            latency: Duration::ZERO,
            image_latency: Duration::ZERO,
        }
    }
}

/// The simulated provider. Clones are handles to the same one.
#[derive(Clone)]
pub struct Sandbox(Arc<Parts>);

struct Parts {
    settings: Settings,
    clock: Clock,
    nonces: Nonces,
    links: LinkKey,
    memory: Mutex<Memory>,
    /// Kinds of images that are not answered for now.
    held: watch::Sender<Vec<String>>,
}

impl Sandbox {
    /// One with the machine's clock and random identifiers, and with nothing remembered yet.
    pub fn new(settings: Settings) -> Self {
        Self::with_sources(settings, Clock::system(), Nonces::random())
    }

    /// The same with another clock and other identifiers: 32 hex digits each, none twice.
    pub fn with_sources(settings: Settings, clock: Clock, nonces: Nonces) -> Self {
        let memory = Memory::new(
            settings.access_key_secret.clone(),
            settings.queries_per_second,
            clock.now(),
        );
        let links = LinkKey::new(nonces.next());
        let held = watch::Sender::default();
        Self(Arc::new(Parts { settings, clock, nonces, links, memory: Mutex::new(memory), held }))
    }

    /// The newest 100,000 calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.memory().calls()
    }

    /// How many rightly signed `DescribeVerifyResult` have come for that `biz_id`.
    pub fn queries(&self, biz_id: &str) -> u64 {
        self.memory().queries(biz_id)
    }

    /// From now on that `biz_id` means this, from its first step.
    pub fn set_scenario(&self, biz_id: &str, scenario: Scenario) {
        let mut memory = self.memory();
        memory.scenarios.insert(biz_id.to_owned(), scenario);
        memory.rewind(biz_id);
    }

    /// An outage: every call gets this, rightly signed or not; `None` ends it. Scripts do not
    /// advance meanwhile.
    pub fn fail_all(&self, behaviour: Option<Behaviour>) {
        self.memory().outage = behaviour;
    }

    /// The host of images is in trouble: it answers with this HTTP status; `None` ends it.
    pub fn fail_images(&self, status: Option<u16>) {
        self.memory().image_outage = status;
    }

    /// From now on links to images of this kind lead to these bytes.
    pub fn set_image(&self, kind: &str, bytes: Vec<u8>) {
        self.memory().images.insert(kind.to_owned(), bytes);
    }

    /// From now on whoever asks for an image of these kinds (`face`, `card-back` …) waits until a
    /// later call names them no more.
    pub fn hold_images(&self, kinds: &[&str]) {
        self.0.held.send_replace(kinds.iter().map(|kind| (*kind).to_owned()).collect());
    }

    /// The secret was rotated: the old one is refused from now on.
    pub fn set_secret(&self, secret: SecretString) {
        self.memory().secret = secret;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request id as the vendor's: a UUID in upper case.
    fn request_id(&self) -> String {
        let id = Uuid::parse_str(&self.0.nonces.next()).unwrap_or_default();
        id.to_string().to_ascii_uppercase()
    }
}
