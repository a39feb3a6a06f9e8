//! The client of both products. `DescribeVerifyResult` returns the result of a verification of the
//! older one, and `DescribeVerifyToken` starts one. `InitFaceVerify`, `DescribeFaceVerify`,
//! `DescribeVerifySearchPageList` and `DeleteFaceVerifyResult` are the calls of the newer one.

mod face_verify;
mod request;
mod retry_after;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::clock::{Clock, Nonces};
use crate::credentials::{self, Chain, Credentials};
use crate::face_verify as face;
use crate::transport::{self, Failure};
use crate::wire::{self, AnswerError, ErrorClass, Reading, VerifyToken};

pub use settings::{Format, Method, Settings, SignatureVersion};

use request::{Operation, Place};

const RESULT: &str = "DescribeVerifyResult";
const TOKEN: &str = "DescribeVerifyToken";

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint cannot be used.
    #[error("the provider's endpoint {0}")]
    Endpoint(&'static str),
    /// TLS could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
}

/// An answer, a refusal included. Its `Debug` shows no body.
pub struct Answer<R = Reading> {
    /// HTTP status.
    pub http_status: u16,
    /// The very bytes: personal data. Of an answer beyond [`wire::MAX_BODY_BYTES`] only the
    /// beginning, which is unreadable.
    pub body: Zeroizing<Vec<u8>>,
    /// How long to wait before the next call, at most an hour.
    pub retry_after: Option<Duration>,
    /// The provider's time, by the header `Date`.
    pub date: Option<OffsetDateTime>,
    /// The simulated provider answered ([`wire::SIMULATED`]): nobody was really verified.
    pub simulated: bool,
    /// The spare endpoint of [`Settings::face_verify_endpoints`] answered.
    pub from_spare: bool,
    /// The answer, read.
    pub reading: R,
}

/// An answer of [`Client::describe_face_verify`].
pub type FaceVerifyAnswer = Answer<face::Reading>;
/// An answer of [`Client::init_face_verify`].
pub type StartAnswer = Answer<face::Reading<face::Start>>;
/// An answer of [`Client::find_face_verify`].
pub type FoundAnswer = Answer<face::Reading<Vec<face::Found>>>;
/// An answer of [`Client::delete_face_verify_result`].
pub type DeletionAnswer = Answer<face::Reading<face::Deletion>>;

impl<R: fmt::Debug> fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("http_status", &self.http_status)
            .field("retry_after", &self.retry_after)
            .field("from_spare", &self.from_spare)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

/// An answer of [`Client::describe_verify_token`].
#[derive(Debug)]
pub struct TokenAnswer {
    /// How long to wait before the next call, at most an hour.
    pub retry_after: Option<Duration>,
    /// The simulated provider answered ([`wire::SIMULATED`]): nobody will really be verified.
    pub simulated: bool,
    /// The token, or why there is none.
    pub outcome: Result<VerifyToken, AnswerError>,
}

/// Why no answer came. The text does not mention the request. Where a library met the fault, the
/// source is its error, without the URL.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No credentials to sign with. Nothing was sent.
    #[error(transparent)]
    NoCredentials(#[from] credentials::Error),
    /// No connection: name, route, TLS, or a closed port. Nothing was sent.
    #[error("cannot connect to the provider")]
    Connect(#[source] reqwest::Error),
    /// No complete answer in time.
    #[error("the provider did not answer in time")]
    Timeout,
    /// The connection ended before the answer did, or carried something else than HTTP.
    #[error("the connection to the provider was cut")]
    Cut(#[source] reqwest::Error),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect(error) => Self::Connect(error),
            Failure::Timeout => Self::Timeout,
            Failure::Cut(error) => Self::Cut(error),
        }
    }
}

/// Calls the provider. It never retries: each call is one request, with a fresh nonce and time
/// stamp. Only face verification with a spare endpoint may send a second one there.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    http: reqwest::Client,
    credentials: Arc<Chain>,
    clock: Clock,
    nonces: Nonces,
}

impl Client {
    /// A client with the machine's clock and random nonces. Nothing is sent yet.
    pub fn new(
        settings: Settings,
        credentials: impl Into<Arc<Chain>>,
    ) -> Result<Self, ClientError> {
        for endpoint in settings.face_verify_endpoints.iter().chain([&settings.endpoint]) {
            check_endpoint(endpoint).map_err(ClientError::Endpoint)?;
        }
        let http = transport::http_client(
            &settings.user_agent,
            settings.connect_timeout,
            settings.timeout,
        )
        .map_err(ClientError::Setup)?;
        let credentials = credentials.into();
        Ok(Self { settings, http, credentials, clock: Clock::system(), nonces: Nonces::random() })
    }

    /// The same client with another clock and other nonces.
    #[must_use]
    pub fn with_sources(self, clock: Clock, nonces: Nonces) -> Self {
        Self { clock, nonces, ..self }
    }

    /// Fetches a verification's result. Idempotent.
    pub async fn describe_verify_result(
        &self,
        biz_type: &str,
        biz_id: &str,
    ) -> Result<Answer, Unanswered> {
        let params = [("BizType", biz_type), ("BizId", biz_id)];
        let operation = self.operation(self.settings.method, RESULT, &params);
        let called = self.call(&self.settings.endpoint, &operation).await?;
        let reading = wire::read(called.http_status, &called.body);
        self.drop_refused_key(reading.outcome.as_ref().err(), &called).await;
        Ok(called.into_answer(reading))
    }

    /// Starts a verification. `parameters` are further ones by the provider's names, such as `Name`
    /// or `UserId`. They travel in a form body, whatever the settings say: they name the person,
    /// and URLs are logged along the way.
    pub async fn describe_verify_token(
        &self,
        biz_type: &str,
        biz_id: &str,
        parameters: &[(&str, &str)],
    ) -> Result<TokenAnswer, Unanswered> {
        let params = [&[("BizType", biz_type), ("BizId", biz_id)], parameters].concat();
        let operation = self.operation(Method::Post, TOKEN, &params);
        let called = self.call(&self.settings.endpoint, &operation).await?;
        let outcome = wire::read_token(called.http_status, &called.body);
        self.drop_refused_key(outcome.as_ref().err(), &called).await;
        Ok(TokenAnswer { retry_after: called.retry_after, simulated: called.simulated, outcome })
    }

    /// A call of the older product: signed as the settings say, a form body wherever there is one.
    const fn operation<'a>(
        &self,
        method: Method,
        action: &'static str,
        params: &'a [(&'a str, &'a str)],
    ) -> Operation<'a> {
        let place = match method {
            Method::Post => Place::Form,
            Method::Get => Place::Query,
        };
        Operation { action, signature: self.settings.signature, method, place, params }
    }

    async fn call(&self, endpoint: &Url, operation: &Operation<'_>) -> Result<Called, Unanswered> {
        let credentials = self.credentials.get().await?;
        let stamp = request::Stamp { at: self.clock.now(), nonce: self.nonces.next() };
        let signed = request::sign(operation, endpoint, &self.settings, &credentials, &stamp);
        let mut response = transport::send(signed.into_builder(&self.http)).await?;

        let http_status = response.status().as_u16();
        let retry_after = retry_after::read(response.headers(), stamp.at);
        let date = date(response.headers());
        let simulated = response.headers().contains_key(wire::SIMULATED);
        let body = transport::read_body(&mut response, wire::MAX_BODY_BYTES).await?;
        Ok(Called { http_status, body, retry_after, date, simulated, credentials })
    }

    /// Perhaps only this key or token is bad: the next call asks the sources again.
    async fn drop_refused_key(&self, error: Option<&AnswerError>, called: &Called) {
        if error.is_some_and(|error| error.class == ErrorClass::Credentials) {
            self.credentials.invalidate(&called.credentials).await;
        }
    }
}

struct Called {
    http_status: u16,
    body: Zeroizing<Vec<u8>>,
    retry_after: Option<Duration>,
    date: Option<OffsetDateTime>,
    simulated: bool,
    credentials: Arc<Credentials>,
}

impl Called {
    fn into_answer<R>(self, reading: R) -> Answer<R> {
        let Self { http_status, body, retry_after, date, simulated, .. } = self;
        Answer { http_status, body, retry_after, date, simulated, from_spare: false, reading }
    }
}

fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(headers.get(DATE)?.to_str().ok()?, &Rfc2822).ok()
}

/// Whether an endpoint can be used: `https`, or `http` to this machine, and nothing but scheme,
/// host and port. The error completes a sentence that begins with the endpoint's name.
pub fn check_endpoint(endpoint: &Url) -> Result<(), &'static str> {
    let loopback = match endpoint.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("needs a host"),
    };
    match endpoint.scheme() {
        "https" => (),
        "http" if loopback => (),
        "http" => return Err("must be https, unless it is on this machine"),
        _ => return Err("must be an https URL"),
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err("must not contain a user or a password");
    }
    if endpoint.path() != "/" || endpoint.query().is_some() || endpoint.fragment().is_some() {
        return Err("must be scheme, host and port only");
    }
    Ok(())
}
