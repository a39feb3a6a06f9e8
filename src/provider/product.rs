//! The seam between Verdict and the products of the provider. A product is a folder beside this
//! file and one line in `registry.rs`.

use std::pin::Pin;
use std::time::Duration;

use cloudauth::{Client, Unanswered};

use super::answer::{Answer, Outcome};
use crate::domain::answer::AnswerError;
use crate::domain::callback::CertifyId;
use crate::domain::starting::{Started, Starting};

/// The names of a verification, of which each product uses its own.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub biz_type: &'a str,
    pub biz_id: &'a str,
    /// Of face-verify, once known.
    pub certify_id: Option<&'a str>,
}

/// What is asked of a product. Reading its answers is pure; only the call itself does I/O.
pub(super) trait Served: Sync {
    /// Asks for the result of a verification. Idempotent. `None`: it cannot be asked for yet.
    fn ask<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Option<Asking<'a>>;

    /// Reads the bytes of an answer.
    fn read(&self, http_status: u16, body: &[u8]) -> Outcome;

    /// Whether the provider will never answer the same request otherwise.
    fn is_conclusive(&self, code: &str) -> bool;

    /// Whether this refusal of credentials is about the product: others may be served.
    fn is_about_product(&self, _code: &str) -> bool {
        false
    }

    /// Has the provider delete its own copy of the person. Idempotent. `None`: the product cannot,
    /// or there is no copy yet.
    fn delete<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Option<DeletionCall<'a>>;

    /// Has the provider start a verification.
    fn start<'a>(&'a self, client: &'a Client, starting: &'a Starting) -> StartCall<'a>;

    /// The ids that the provider's records have for a start. None: there is no record, or we may not
    /// search them.
    fn find_started<'a>(&'a self, client: &'a Client, key: Key<'a>) -> Search<'a>;

    /// Whether a start may be repeated after a call whose outcome is unknown.
    fn may_repeat_start(&self) -> bool;
}

/// An answer to a start.
pub(super) struct StartAnswer {
    pub simulated: bool,
    /// How long to wait before the next call, if the provider says so.
    pub retry_after: Option<Duration>,
    pub outcome: Result<Started, StartError>,
}

/// Why an answer starts nothing.
pub(super) enum StartError {
    /// The provider refuses this person, this device or the picture, with its code.
    Refused(String),
    /// The call failed.
    Failed(AnswerError),
}

pub(super) type StartCall<'a> =
    Pin<Box<dyn Future<Output = Result<StartAnswer, Unanswered>> + Send + 'a>>;

pub(super) type Search<'a> = Pin<Box<dyn Future<Output = Vec<CertifyId>> + Send + 'a>>;

/// What became of a copy at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// There is none any more.
    Deleted,
    /// The provider does not delete it now.
    Refused,
}

/// The simulated provider answered, and what became of the copy.
pub(super) type DeletionAnswer = (bool, Result<Deletion, AnswerError>);

pub(super) type DeletionCall<'a> =
    Pin<Box<dyn Future<Output = Result<DeletionAnswer, Unanswered>> + Send + 'a>>;

pub(super) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>>;
