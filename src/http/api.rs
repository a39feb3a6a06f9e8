//! The state that all handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::api_key_auth::ApiKeys;
use super::body_limits::BodyLimits;
use super::event_watch::EventWatch;
use super::long_polls::LongPolls;
use super::one_second_cache::OneSecondCache;
use super::openapi::CallbackForm;
use super::query_throttle::QueryThrottles;
use super::sources::CurrentSources;
use super::wakeups::Wakeups;
use super::webhook_state::Webhooks;
use crate::domain::case;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::review::FourEyes;
use crate::domain::starting::Starter;
use crate::images::archive::Archive;
use crate::policies::cache::PolicyCache;
use crate::store::Store;
use crate::store::callbacks::Accepting;
use crate::store::signals::Signals;
use crate::store::verifications::VerificationLoader;
use crate::vault::{PersonIndex, Vault};
use policy::product::Product;

/// The handlers' state. Every layer around a handler clones it with each request, so it is one
/// pointer: cloning the parts one by one took 3 % of the CPU of an accept.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for Api {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// The parts of an [`Api`].
pub struct Parts {
    pub store: Store,
    /// Group commit of callbacks.
    pub accepting: Accepting,
    /// Loads verifications in groups.
    pub loader: VerificationLoader,
    pub wakeups: Wakeups,
    pub signals: Signals,
    pub long_polls: LongPolls,
    pub event_watch: EventWatch,
    /// Of the public listener.
    pub readiness: OneSecondCache<bool>,
    /// The public listener serves `/docs`.
    pub docs: bool,
    /// The form on them that posts a callback. Only a demo has it.
    pub callback_form: Option<CallbackForm>,
    pub keys: ApiKeys,
    pub sources: CurrentSources,
    /// The product of callbacks that name none.
    pub product: Product,
    /// How long an unfinished verification is polled after its last callback.
    pub window: Duration,
    pub bodies: BodyLimits,
    /// The provider account, for readiness.
    pub account: String,
    /// `None`: this process has no keys.
    pub vault: Option<Arc<Vault>>,
    /// Loaded by the first start that names a number.
    pub persons: OnceCell<PersonIndex>,
    /// `None`: this process has no image store.
    pub archive: Option<Archive>,
    /// Where users and the provider reach the public listener. `None`: unknown.
    pub public_url: Option<Url>,
    /// Where the provider reports completed verifications of face-verify. `None`: nowhere.
    pub callback_url: Option<Url>,
    /// `None`: this process starts no verifications.
    pub starter: Option<Starter>,
    /// The reviews that need a second person.
    pub four_eyes: FourEyes,
    /// How people work on cases.
    pub reviews: Arc<case::Settings>,
    /// Changing the active policy needs a second person.
    pub policies_need_two: bool,
    /// Compiled policies, for the texts of their reasons.
    pub policy_cache: Arc<PolicyCache>,
    pub webhooks: Webhooks,
    /// This process also runs workers.
    pub works: bool,
    /// The public listener's address.
    pub listens: Option<std::net::SocketAddr>,
    /// Throttles the metrics' queries.
    pub query_throttles: QueryThrottles,
    pub render_metrics: Box<dyn Fn() -> String + Send + Sync>,
    pub clock: Clock,
    pub ids: Ids,
    /// Work that continues without its client. A stop waits for it.
    pub detached: TaskTracker,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}
