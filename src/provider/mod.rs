//! The provider as the rest of Verdict sees it. The crate `cloudauth` calls it and reads its
//! answers; here its answers become evidence and its faults become causes.

mod answer;
mod calendar;
mod card_document;
mod error;
mod face_verify;
mod product;
mod registry;
mod verify_result;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use cloudauth::client::ClientError;
use cloudauth::{Chain, Client, client, credentials};

pub use answer::{Answer, Outcome, Person, Progress, Reading};
pub use cloudauth::Unanswered;
pub use product::{Deletion, Key};

use crate::causes::{self, Cause, Service};
use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::callback::CertifyId;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::starting::{NotStarted, Started, Starting};
use policy::product::Product;
use product::StartError;

/// How Verdict introduces itself.
pub const USER_AGENT: &str = concat!("verdict/", env!("CARGO_PKG_VERSION"));

/// Calls the provider, and counts what fails.
#[derive(Debug)]
pub struct Provider {
    client: Client,
    simulation_seen: AtomicBool,
}

impl Provider {
    /// Nothing is sent yet.
    pub fn new(
        settings: client::Settings,
        credentials: credentials::Settings,
        environment: credentials::Environment,
        clock: &Clock,
        ids: &Ids,
    ) -> Result<Self, ClientError> {
        let chain = Chain::new(credentials, environment)
            .map_err(ClientError::Setup)?
            .with_clock(clock.into());
        let client = Client::new(settings, chain)?.with_sources(clock.into(), ids.into());
        Ok(Self { client, simulation_seen: AtomicBool::new(false) })
    }

    /// Asks a product for a verification's result. Idempotent.
    pub async fn ask(&self, product: Product, key: Key<'_>) -> Result<Answer, NoAnswer> {
        let asking = registry::serving(product).ask(&self.client, key);
        let answer = asking.ok_or(NoAnswer::NoCertifyId)?.await;
        self.note(answer.as_ref().map(|answer| answer.simulated));
        answer.map_err(NoAnswer::Call)
    }

    /// Has a product delete its own copy of the person. Idempotent.
    pub async fn delete(&self, product: Product, key: Key<'_>) -> Result<Deletion, NotDeleted> {
        let call = registry::serving(product).delete(&self.client, key);
        let answer = call.ok_or(NotDeleted::Impossible)?.await;
        self.note(answer.as_ref().map(|(simulated, _)| *simulated));
        let (_, outcome) = answer.map_err(NotDeleted::Call)?;
        match outcome {
            // The provider knows no such verification, or nothing of it any more.
            Err(error) if error.class == ErrorClass::Gone => Ok(Deletion::Deleted),
            outcome => outcome.map_err(NotDeleted::Error),
        }
    }

    /// Has the provider start a verification.
    pub async fn start(&self, starting: &Starting) -> Result<Started, NotStarted> {
        let product = registry::serving(starting.product);
        let answer = product.start(&self.client, starting).await;
        self.note(answer.as_ref().map(|answer| answer.simulated));
        let answer = answer.map_err(|error| {
            let cause = cause_of(&error).code();
            tracing::warn!(error = sentence(&error), cause, "a verification could not be started");
            let nothing_sent =
                matches!(error, Unanswered::NoCredentials(_) | Unanswered::Connect(_));
            if nothing_sent || product.may_repeat_start() {
                NotStarted::Unavailable { wait: None, code: None }
            } else {
                NotStarted::Unknown
            }
        })?;
        let error = match answer.outcome {
            Ok(started) => return Ok(started),
            Err(StartError::Refused(code)) => return Err(NotStarted::Refused(Some(code))),
            Err(StartError::Failed(error)) => error,
        };
        let class = error.class.as_str();
        tracing::warn!(class, code = error.code, "a verification was not started");
        Err(match error.class {
            ErrorClass::BadRequest | ErrorClass::Gone => NotStarted::Refused(error.code),
            _ if product.may_repeat_start() || starts_nothing(&error) => {
                NotStarted::Unavailable { wait: answer.retry_after, code: error.code }
            }
            _ => NotStarted::Unknown,
        })
    }

    /// The ids that the provider's records have for a start whose outcome is unknown.
    pub async fn find_started(&self, product: Product, key: Key<'_>) -> Vec<CertifyId> {
        registry::serving(product).find_started(&self.client, key).await
    }

    fn note(&self, simulated: Result<bool, &Unanswered>) {
        match simulated {
            Ok(true) if !self.simulation_seen.swap(true, Ordering::Relaxed) => {
                tracing::warn!("the provider is a simulated one: nobody is really verified");
            }
            Ok(_) => {}
            Err(error) => causes::count(Service::Provider, cause_of(error)),
        }
    }
}

/// Whether an answer with this error proves that no verification was started. A gateway's 5xx does
/// not: the service behind it may have done its work.
fn starts_nothing(error: &AnswerError) -> bool {
    match error.class {
        ErrorClass::Throttled | ErrorClass::Clock | ErrorClass::Credentials => true,
        ErrorClass::Transient => error.code.as_deref() == Some("500"),
        ErrorClass::BadRequest | ErrorClass::Gone | ErrorClass::Unreadable => false,
    }
}

/// Why there is no answer about a verification.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Its `CertifyId` is not known yet: nothing was asked.
    #[error("the provider's id of the verification is not known yet")]
    NoCertifyId,
    #[error(transparent)]
    Call(#[from] Unanswered),
}

impl NoAnswer {
    /// Whether the provider was called. Without credentials there is nothing to sign with.
    pub const fn was_called(&self) -> bool {
        !matches!(self, Self::NoCertifyId | Self::Call(Unanswered::NoCredentials(_)))
    }

    /// For logs, metrics and hints. `None`: nothing was asked.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::NoCertifyId => None,
            Self::Call(error) => Some(cause_of(error)),
        }
    }
}

/// Why the provider did not say what became of its copy.
#[derive(Debug)]
pub enum NotDeleted {
    /// The product deletes nothing, or the verification has no copy.
    Impossible,
    Call(Unanswered),
    Error(AnswerError),
}

impl NotDeleted {
    /// For logs and metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Impossible => "impossible",
            Self::Call(_) => "no-answer",
            Self::Error(error) => error.class.as_str(),
        }
    }
}

/// Reads the bytes of an answer of this product. Pure.
pub fn read(product: Product, http_status: u16, body: &[u8]) -> Outcome {
    registry::serving(product).read(http_status, body)
}

/// Whether this product of the provider will never answer the same request otherwise.
pub fn is_conclusive(product: Product, code: &str) -> bool {
    registry::serving(product).is_conclusive(code)
}

/// Whether this refusal of credentials may be about one scene (not saved, not granted) or one product
/// as well as about the account; bad keys, signatures and tokens are always about the account.
pub fn is_about_permission(product: Product, code: &str) -> bool {
    let known = ["NoPermission", "Error.NoPermissionAccess"];
    known.contains(&code)
        || code.starts_with("Forbidden")
        || registry::serving(product).is_about_product(code)
}

/// Why no answer came, for logs, metrics and hints.
pub fn cause_of(error: &Unanswered) -> Cause {
    match error {
        Unanswered::NoCredentials(_) => Cause::NoCredentials,
        Unanswered::Connect(error) => causes::of(error).unwrap_or(Cause::Unknown),
        Unanswered::Timeout => Cause::Timeout,
        Unanswered::Cut(error) => causes::of(error).unwrap_or(Cause::Closed),
    }
}

/// The same as a sentence.
pub fn sentence(error: &Unanswered) -> String {
    match error {
        Unanswered::Connect(_) | Unanswered::Cut(_) => format!("{error}: {}", cause_of(error)),
        Unanswered::NoCredentials(_) | Unanswered::Timeout => error.to_string(),
    }
}

impl From<&Clock> for cloudauth::Clock {
    fn from(clock: &Clock) -> Self {
        let clock = clock.clone();
        Self::new(move || clock.now())
    }
}

impl From<&Ids> for cloudauth::Nonces {
    fn from(ids: &Ids) -> Self {
        let ids = ids.clone();
        Self::new(move || ids.nonce())
    }
}
