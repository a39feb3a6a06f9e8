//! The provider as the rest of Verdict sees it. The crate `cloudauth` calls it and reads its
//! answers; here its answers become evidence and its faults become causes.

mod reading;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use cloudauth::client::ClientError;
use cloudauth::{Chain, Client, client, credentials};

pub use cloudauth::wire::{CardDate, FaceQuality, IdCard, Material, is_conclusive};
pub use cloudauth::{Answer, Unanswered};
pub use reading::{answer_error, evidence};

use crate::causes::{self, Cause, Service};
use crate::domain::answer::ErrorClass;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::starting::{NotStarted, Started, Starting};

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

    /// Fetches a verification's result. Idempotent.
    pub async fn describe_verify_result(
        &self,
        biz_type: &str,
        biz_id: &str,
    ) -> Result<Answer, Unanswered> {
        let answer = self.client.describe_verify_result(biz_type, biz_id).await;
        self.note(answer.as_ref().map(|answer| answer.simulated));
        answer
    }

    /// Has the provider start a verification.
    pub async fn start(&self, starting: &Starting) -> Result<Started, NotStarted> {
        let parameters: Vec<(&str, &str)> =
            starting.handed_through.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (biz_type, biz_id) = (starting.biz_type.as_str(), starting.biz_id.as_str());
        let answer = self.client.describe_verify_token(biz_type, biz_id, &parameters).await;
        self.note(answer.as_ref().map(|answer| answer.simulated));
        let answer = answer.map_err(|error| {
            let cause = cause_of(&error).code();
            tracing::warn!(error = sentence(&error), cause, "a verification could not be started");
            NotStarted::Unavailable { wait: None, code: None }
        })?;
        match answer.outcome {
            Ok(token) => Ok(Started { token: token.token, page_url: token.page_url }),
            Err(error) => {
                let error = answer_error(&error);
                tracing::warn!(
                    class = error.class.as_str(),
                    code = error.code,
                    "a verification was not started"
                );
                Err(match error.class {
                    ErrorClass::BadRequest | ErrorClass::Gone => NotStarted::Refused(error.code),
                    _ => NotStarted::Unavailable { wait: answer.retry_after, code: error.code },
                })
            }
        }
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
