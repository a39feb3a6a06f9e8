//! The one place where HTTP connections are made and bodies are read.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, redirect, retry};
use zeroize::Zeroizing;

/// How long an idle connection is kept: below the idle time of usual load balancers (60 s), so
/// that this side closes first.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// The default `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("cloudauth/", env!("CARGO_PKG_VERSION"));

/// Why no answer came. The text does not mention the request; the source holds the library's
/// error without its URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot connect: {}", innermost(.0))]
    Connect(#[source] reqwest::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection was cut")]
    Cut(#[source] reqwest::Error),
}

/// A client that goes to one address only: no redirects, no proxy of the environment, no
/// decompression, and no automatic retries, because each try needs a fresh nonce and is counted.
/// `timeout` covers a whole call, the body included.
pub(crate) fn http_client(
    user_agent: &str,
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(user_agent)
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .pool_idle_timeout(POOL_IDLE)
        .build()
}

/// Sends a request and returns the head of the answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    request.send().await.map_err(failure)
}

/// The body, or its first `limit + 1` bytes: one byte too many says that there is more.
pub(crate) async fn read_body(
    response: &mut Response,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    // Large enough for usual bodies: a vector that grows leaves unwiped copies behind.
    let capacity = announced.unwrap_or(0).clamp(16 * 1024, limit + 1);
    let mut body = Zeroizing::new(Vec::with_capacity(capacity));
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        let wanted = (limit + 1 - body.len()).min(chunk.len());
        body.extend_from_slice(&chunk[..wanted]);
        if body.len() > limit {
            break;
        }
    }
    Ok(body)
}

fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_connect() {
        Failure::Connect(error)
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Cut(error)
    }
}

/// The last error of the chain, which is the most precise one.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(source) = innermost.and_then(std::error::Error::source) {
        innermost = Some(source);
    }
    innermost.map_or_else(|| error.to_string(), ToString::to_string)
}
