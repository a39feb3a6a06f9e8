//! The client of `DescribeVerifyResult`, and of `DescribeVerifyToken`, which starts one.

mod request;
mod retry_after;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::connection::{self, Failure};
use super::credentials::{self, Chain};
use super::wire::{self, Reading};
use crate::causes::{self, Cause, Service};
use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::starting::{NotStarted, Started, Starting};

/// The API's names of the calls.
pub(super) const RESULT: &str = "DescribeVerifyResult";
const TOKEN: &str = "DescribeVerifyToken";
/// The API's version (2017-09-12 to 2018-09-16 do not have the call).
pub(super) const VERSION: &str = "2019-03-07";

/// Which signature is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureVersion {
    /// HMAC-SHA1 over the parameters.
    V2,
    /// `ACS3-HMAC-SHA256` over the request.
    V3,
}

/// How the parameters travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In a form body, which access logs do not keep.
    Post,
    /// In the query.
    Get,
}

/// Which form is asked for. Either is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The usual one.
    Json,
    /// The provider's default; its own FAQ advises against it.
    Xml,
}

/// Where and how to ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port; plain `http` only to loopback.
    pub endpoint: Url,
    /// `RegionId`; not sent if empty.
    pub region: String,
    /// Which signature.
    pub signature: SignatureVersion,
    /// Where the parameters go.
    pub method: Method,
    /// What is asked for.
    pub format: Format,
    /// For name resolution, TCP and TLS.
    pub connect_timeout: Duration,
    /// For a whole call, its body included.
    pub timeout: Duration,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is not one.
    #[error("the provider's endpoint {0}")]
    Endpoint(&'static str),
    /// TLS could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
}

/// An answer, whatever it says. Its `Debug` shows no body.
pub struct Answer {
    /// HTTP status.
    pub http_status: u16,
    /// The very bytes: personal data. Of an answer beyond [`wire::MAX_BODY_BYTES`] only the
    /// beginning, which is unreadable.
    pub body: Zeroizing<Vec<u8>>,
    /// How long the provider wants to be left alone; at most an hour.
    pub retry_after: Option<Duration>,
    /// What time it was there, by the header `Date`.
    pub date: Option<OffsetDateTime>,
    /// The simulated provider answered, as it says itself.
    pub simulated: bool,
    /// What we made of it.
    pub reading: Reading,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("http_status", &self.http_status)
            .field("retry_after", &self.retry_after)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nothing to sign with; nothing was sent.
    #[error(transparent)]
    NoCredentials(#[from] credentials::Error),
    /// No connection; nothing was sent.
    #[error("cannot connect to the provider: {0}")]
    Connect(Cause),
    /// No complete answer in time.
    #[error("the provider did not answer in time")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("the connection to the provider was cut: {0}")]
    Cut(Cause),
}

impl Unanswered {
    /// Why, for logs, metrics and hints.
    pub fn cause(&self) -> Cause {
        match self {
            Self::NoCredentials(_) => Cause::NoCredentials,
            Self::Connect(cause) | Self::Cut(cause) => *cause,
            Self::Timeout => Cause::Timeout,
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect(cause) => Self::Connect(cause),
            Failure::Timeout => Self::Timeout,
            Failure::Cut(cause) => Self::Cut(cause),
        }
    }
}

/// Asks the provider.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    http: reqwest::Client,
    credentials: Arc<Chain>,
    clock: Clock,
    ids: Ids,
    simulation_seen: AtomicBool,
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(
        settings: Settings,
        credentials: Arc<Chain>,
        clock: Clock,
        ids: Ids,
    ) -> Result<Self, ClientError> {
        check_endpoint(&settings.endpoint).map_err(ClientError::Endpoint)?;
        let http = connection::http_client(settings.connect_timeout, settings.timeout)
            .map_err(ClientError::Setup)?;
        let simulation_seen = AtomicBool::new(false);
        Ok(Self { settings, http, credentials, clock, ids, simulation_seen })
    }

    /// Asks once, with a nonce and a timestamp of its own. Safe to repeat: a read.
    pub async fn describe_verify_result(
        &self,
        biz_type: &str,
        biz_id: &str,
    ) -> Result<Answer, Unanswered> {
        let params = request::pairs(&[("BizType", biz_type), ("BizId", biz_id)]);
        let called = self.call(self.settings.method, RESULT, params).await?;
        let reading = wire::read(called.http_status, &called.body);
        self.look_at(reading.outcome.as_ref().err(), &called).await;
        let Called { http_status, retry_after, date, simulated, body, .. } = called;
        Ok(Answer { http_status, body, retry_after, date, simulated, reading })
    }

    /// Has the provider start a verification. Always in a form body: what is handed through names
    /// the person, and URLs are logged along the way.
    pub async fn describe_verify_token(&self, starting: &Starting) -> Result<Started, NotStarted> {
        let mut params = request::pairs(&[
            ("BizType", starting.biz_type.as_str()),
            ("BizId", starting.biz_id.as_str()),
        ]);
        params.extend(
            starting
                .handed_through
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_str().to_owned())),
        );
        let called = self.call(Method::Post, TOKEN, params).await.map_err(|error| {
            tracing::warn!(%error, cause = error.cause().code(), "a verification could not be started");
            NotStarted::Unavailable { wait: None, code: None }
        })?;
        let reading = wire::read_token(called.http_status, &called.body);
        self.look_at(reading.as_ref().err(), &called).await;
        reading.map_err(|error| {
            tracing::warn!(
                class = error.class.as_str(),
                code = error.code,
                "a verification was not started"
            );
            match error.class {
                ErrorClass::BadRequest | ErrorClass::Gone => NotStarted::Refused(error.code),
                _ => NotStarted::Unavailable { wait: called.retry_after, code: error.code },
            }
        })
    }

    async fn call(
        &self,
        method: Method,
        action: &str,
        params: Vec<(String, String)>,
    ) -> Result<Called, Unanswered> {
        let called = self.call_once(method, action, params).await;
        if let Err(error) = &called {
            causes::count(Service::Provider, error.cause());
        }
        called
    }

    async fn call_once(
        &self,
        method: Method,
        action: &str,
        params: Vec<(String, String)>,
    ) -> Result<Called, Unanswered> {
        let credentials = self.credentials.get().await?;
        let stamp = request::Stamp { at: self.clock.now(), nonce: self.ids.nonce() };
        let settings = Settings { method, ..self.settings.clone() };
        let signed = request::sign(&settings, &credentials, &stamp, action, params);
        let mut response = connection::send(signed.into_builder(&self.http)).await?;

        let http_status = response.status().as_u16();
        let retry_after = retry_after::read(response.headers(), stamp.at);
        let date = date(response.headers());
        let simulated = response.headers().contains_key(wire::SIMULATED);
        if simulated && !self.simulation_seen.swap(true, Ordering::Relaxed) {
            tracing::warn!("the provider is a simulated one: nobody is really verified");
        }
        let body = connection::read_body(&mut response, wire::MAX_BODY_BYTES).await?;
        Ok(Called { http_status, body, retry_after, date, simulated, credentials })
    }

    /// Perhaps only this key or token is bad: the next call looks again.
    async fn look_at(&self, error: Option<&AnswerError>, called: &Called) {
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
    credentials: Arc<credentials::Credentials>,
}

fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(headers.get(DATE)?.to_str().ok()?, &Rfc2822).ok()
}

/// `https`, or `http` to this machine, and nothing but scheme, host and port.
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
