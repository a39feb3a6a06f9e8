//! The one place where HTTP connections are made and bodies are read.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, redirect, retry};
use zeroize::Zeroizing;

use crate::causes::{self, Cause};

/// How long an idle connection is kept: below the idle time of usual load balancers (60 s), so
/// that it is us who hang up.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Why there is no answer. Tells nothing of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection: name, route, TLS, or a closed port. Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(Cause),
    /// No answer, or not all of it, in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer did, or spoke something else than HTTP.
    #[error("the connection was cut: {0}")]
    Cut(Cause),
}

/// A client that goes where it is told and nowhere else: no redirects, no proxy of the
/// environment, no retries of its own (each try needs a fresh nonce, and is counted), no
/// decompression. `timeout` covers a whole call, the body included.
pub fn http_client(
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .pool_idle_timeout(POOL_IDLE)
        .build()
}

/// Sends a request and gives the head of the answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    request.send().await.map_err(|error| failure(&error))
}

/// The body, or its first `limit + 1` bytes: one too many says that there is more.
pub(super) async fn read_body(
    response: &mut Response,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    // Room for usual bodies, since growing leaves unwiped copies behind.
    let room = announced.unwrap_or(0).clamp(16 * 1024, limit + 1);
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        let wanted = (limit + 1 - body.len()).min(chunk.len());
        body.extend_from_slice(&chunk[..wanted]);
        if body.len() > limit {
            break;
        }
    }
    Ok(body)
}

/// An error of reqwest, without its text: that one holds the URL.
fn failure(error: &reqwest::Error) -> Failure {
    let cause = causes::of(error);
    if error.is_connect() {
        Failure::Connect(cause.unwrap_or(Cause::Unknown))
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Cut(cause.unwrap_or(Cause::Closed))
    }
}
