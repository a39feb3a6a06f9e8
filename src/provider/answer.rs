//! An answer of any product: what the worker needs of it, whatever the product is called.

use std::fmt;
use std::time::Duration;

use cloudauth::{client, wire};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::error::answer_error;
use crate::domain::answer::AnswerError;
use crate::domain::folding;
use crate::domain::image::ImageKind;
use policy::evidence::{Evidence, History};

/// An answer about one verification, a refusal included. Its `Debug` shows no body.
pub struct Answer {
    pub http_status: u16,
    /// The bytes as they came: personal data.
    pub body: Zeroizing<Vec<u8>>,
    /// How long to wait before the next call, at most an hour.
    pub retry_after: Option<Duration>,
    /// The provider's time, by the header `Date`.
    pub date: Option<OffsetDateTime>,
    /// The simulated provider answered: nobody was really verified.
    pub simulated: bool,
    /// The provider's id of the request. Its support asks for it.
    pub request_id: Option<String>,
    /// What it says about the verification, or why it says nothing.
    pub outcome: Outcome,
}

impl Answer {
    /// An answer of the client; `read` takes the request id and the outcome out of its reading.
    pub(super) fn of<R, T: Reading + 'static>(
        answer: client::Answer<R>,
        read: impl FnOnce(R) -> (Option<String>, Result<T, wire::AnswerError>),
    ) -> Self {
        let (request_id, read) = read(answer.reading);
        Self {
            http_status: answer.http_status,
            body: answer.body,
            retry_after: answer.retry_after,
            date: answer.date,
            simulated: answer.simulated,
            request_id,
            outcome: outcome(read),
        }
    }
}

pub(super) fn outcome<T: Reading + 'static>(read: Result<T, wire::AnswerError>) -> Outcome {
    match read {
        Ok(reading) => Ok(Box::new(reading)),
        Err(error) => Err(answer_error(&error)),
    }
}

/// What an answer says about a verification, or why it says nothing.
pub type Outcome = Result<Box<dyn Reading>, AnswerError>;

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("http_status", &self.http_status)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

/// What an answer says about a verification.
pub trait Reading: Send + Sync {
    fn progress(&self) -> Progress;

    /// The evidence: what a policy may see, without the person. The same answer always gives the
    /// same evidence for the same time of arrival.
    fn evidence(&self, biz_type: &str, history: History, fetched_at: OffsetDateTime) -> Evidence;

    /// The person, if the answer has any data of one.
    fn person(&self) -> Option<Person>;

    /// Links to images, each secret. They expire: see [`Self::links_live`].
    fn links(&self) -> Vec<(ImageKind, &SecretString)>;

    /// Objects (bucket/object) in the customer's own bucket, which the provider never deletes.
    fn bucket_objects(&self) -> Vec<String>;

    /// How long links are valid from the answer, by the provider's documentation.
    fn links_live(&self) -> Duration;
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The person has not finished: ask again later.
    Unfinished,
    /// There is a result to decide.
    Finished {
        /// No other result can follow, so the provider is not asked again.
        last: bool,
    },
}

/// The personal data in an answer, to be sealed.
pub struct Person {
    /// A JSON document without links to images.
    pub document: Zeroizing<Vec<u8>>,
    /// The number of the identity card, by which all verifications of a person are found.
    pub number: Option<SecretString>,
}

impl Person {
    /// The first of the numbers that is somebody's counts: the provider may mask one of them. `None`:
    /// the document cannot be written, which does not happen.
    pub(super) fn new(
        document: &impl serde::Serialize,
        numbers: [Option<&SecretString>; 2],
    ) -> Option<Self> {
        let is_whole = |number: &&SecretString| folding::number(number.expose_secret()).is_some();
        let number = numbers.into_iter().flatten().find(is_whole).cloned();
        // Wiped when dropped, and large enough that no copy of a part is left behind.
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        serde_json::to_writer(&mut *text, document).ok()?;
        Some(Self { document: text, number })
    }
}
