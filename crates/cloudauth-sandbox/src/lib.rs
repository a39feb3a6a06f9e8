//! A simulated provider for real-person verification by Alibaba Cloud (Cloudauth).
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod face;
pub mod scenario;

mod answer;
mod auth;
mod damage;
mod desk;
mod document;
mod identity;
mod images;
mod memory;
mod nonces;
mod question;
mod refusal;
mod reply;
#[cfg(test)]
mod room;
mod server;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// More `DeleteFaceVerifyResult` than that in a second are refused (the vendor: 10); `None`: as
    /// other calls.
    pub deletes_per_second: Option<u32>,
    /// How long links to pictures of face-verify work (the vendor: 15 minutes from the query).
    pub picture_ttl: Duration,
    /// How long a `CertifyId` can be submitted (the vendor: 30 minutes).
    pub certify_ttl: Duration,
    /// The account may call `DescribeVerifySearchPageList`, which needs rights of the console.
    pub searchable: bool,
    /// Callbacks may go to plain http anywhere, not only on this machine (the vendor: https only).
    pub plain_http_callbacks: bool,
    /// How long a picture at `FaceContrastPictureUrl` may take (the vendor: 3 s).
    pub download_timeout: Duration,
    /// How long a try of a callback may take (the vendor: 3 s for both).
    pub callback_timeout: Duration,
    /// How long after the first try of a callback the second follows.
    pub callback_pause: Duration,
    /// Where image links and pages point; by default to wherever the caller has reached us.
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
            deletes_per_second: None,
            picture_ttl: Duration::from_mins(15),
            certify_ttl: Duration::from_mins(30),
            searchable: true,
            plain_http_callbacks: false,
            download_timeout: Duration::from_secs(3),
            callback_timeout: Duration::from_millis(1_400),
            callback_pause: Duration::from_millis(200),
            public_base_url: None,
            latency: Duration::ZERO,
            image_latency: Duration::ZERO,
        }
    }
}

/// The simulated provider. Clones are handles to the same one.
#[derive(Clone)]
pub struct Sandbox(Arc<Parts>, Region);

/// At which of the vendor's two addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Region {
    Main,
    Spare,
}

struct Parts {
    settings: Settings,
    clock: Clock,
    nonces: Nonces,
    links: LinkKey,
    memory: Mutex<Memory>,
    /// Kinds of images that are not answered for now.
    held: watch::Sender<Vec<String>>,
    /// Calls the customer; made when it is first needed, `None` if that fails.
    client: OnceLock<Option<reqwest::Client>>,
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
            settings.deletes_per_second,
        );
        let links = LinkKey::new(nonces.next());
        let held = watch::Sender::default();
        let memory = Mutex::new(memory);
        let client = OnceLock::new();
        let parts = Parts { settings, clock, nonces, links, memory, held, client };
        Self(Arc::new(parts), Region::Main)
    }

    /// The same provider at the address of its spare region: serve this handle at another port.
    /// Both know the same verifications.
    #[must_use]
    pub fn spare(&self) -> Self {
        Self(Arc::clone(&self.0), Region::Spare)
    }

    fn is_main(&self) -> bool {
        self.1 == Region::Main
    }

    /// The newest 100,000 calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.memory().calls()
    }

    /// How many rightly signed queries or starts have come for that `biz_id`, `CertifyId` or order
    /// number.
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

    /// The same for the main region alone: the spare one answers.
    pub fn fail_main(&self, behaviour: Option<Behaviour>) {
        self.memory().main_outage = behaviour;
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
