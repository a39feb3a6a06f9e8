//! Sends one request to an endpoint, within limits: only to a permitted target, with a timeout, and
//! with a limit on how much of the answer is read.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{StatusCode, redirect, retry};
use tokio::time::Instant;

use crate::images::dial::{Lookup, Vetting, refusal_in, system_lookup};
use crate::webhooks::request::{TIMEOUT, USER_AGENT};
use crate::webhooks::targets::Targets;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading of an answer stops at this many bytes.
const MOST_READ: usize = 16 * 1024;
/// Maximum number of bytes that are kept of an answer.
pub const MOST_KEPT: usize = 1024;
/// Maximum number of idle connections per host.
const MOST_IDLE: usize = 32;

/// Sends requests to endpoints.
#[derive(Debug)]
pub struct Sender {
    http: reqwest::Client,
    targets: Targets,
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// The outcome of one request.
#[derive(Clone, Debug)]
pub struct Received {
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// Why it failed: one of a closed list of words.
    pub error: Option<&'static str>,
    pub retry_after: Option<String>,
    /// The beginning of the answer's body.
    pub beginning: Vec<u8>,
    pub latency: Duration,
}

impl Sender {
    pub fn new(targets: Targets) -> Result<Self, reqwest::Error> {
        Self::with_lookup(targets, system_lookup())
    }

    pub fn with_lookup(targets: Targets, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let listed = targets.clone();
        let exempt = move |name: &str, _: IpAddr| listed.may_be_private(name);
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(MOST_IDLE)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .dns_resolver(std::sync::Arc::new(Vetting::new(exempt, lookup)))
            .build()?;
        Ok(Self { http, targets })
    }

    pub async fn send(&self, request: Request) -> Received {
        let began = Instant::now();
        let mut received = self.answer_to(request).await;
        received.latency = began.elapsed();
        received
    }

    async fn answer_to(&self, request: Request) -> Received {
        // The URL was permitted when the endpoint was added, but the configuration may have
        // changed.
        let Ok(url) = self.targets.admit(&request.url) else {
            return Received::failed("refused-url");
        };
        let mut builder = self.http.post(url).header(CONTENT_TYPE, "application/json");
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut response = match builder.body(request.body).send().await {
            Ok(response) => response,
            Err(error) => return Received::failed(failure(&error)),
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        // Only the status counts, even if the body is cut off. Reading the body to its end lets the
        // connection be reused.
        let (mut beginning, mut read) = (Vec::new(), 0);
        while let Ok(Some(chunk)) = response.chunk().await {
            let kept = chunk.len().min(MOST_KEPT - beginning.len());
            beginning.extend_from_slice(&chunk[..kept]);
            read += chunk.len();
            if read >= MOST_READ {
                break;
            }
        }
        let error = refused(status);
        let status = Some(status.as_u16());
        Received { status, error, retry_after, beginning, latency: Duration::ZERO }
    }
}

impl Received {
    const fn failed(error: &'static str) -> Self {
        Self {
            status: None,
            error: Some(error),
            retry_after: None,
            beginning: Vec::new(),
            latency: Duration::ZERO,
        }
    }
}

/// Why an answer is not an acknowledgement.
fn refused(status: StatusCode) -> Option<&'static str> {
    match status {
        status if status.is_success() => None,
        StatusCode::GONE => Some("gone"),
        status if status.is_redirection() => Some("redirect"),
        status if status.is_server_error() => Some("server-error"),
        StatusCode::TOO_MANY_REQUESTS => Some("too-many-requests"),
        _ => Some("refused"),
    }
}

/// Names an error of reqwest without its text, because the text contains the URL.
fn failure(error: &reqwest::Error) -> &'static str {
    match error {
        error if refusal_in(error).is_some() => "refused-address",
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "no-connection",
        _ => "cut",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request with these bytes and closes the connection. Returns the port and the
    /// requests that were received.
    async fn server(answer: &'static [u8]) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let asks = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 64 * 1024];
                let mut text = String::new();
                while !text.ends_with("{}") {
                    let read = stream.read(&mut bytes).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    text.push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
                asks.lock().unwrap().push(text);
                let _ = stream.write_all(answer).await;
            }
        });
        (port, asked)
    }

    fn request(url: String) -> Request {
        Request { url, headers: vec![("webhook-id", "evt_1".to_owned())], body: "{}".to_owned() }
    }

    async fn answer_to(answer: &'static [u8]) -> Received {
        let (port, _) = server(answer).await;
        let sender = Sender::new(Targets::parse(["127.0.0.1"]).unwrap()).unwrap();
        sender.send(request(format!("http://127.0.0.1:{port}/hook"))).await
    }

    #[tokio::test]
    async fn only_2xx_is_an_acknowledgement() {
        let (port, asked) = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let sender = Sender::new(Targets::parse(["127.0.0.1"]).unwrap()).unwrap();
        let received = sender.send(request(format!("http://127.0.0.1:{port}/hook?a=b"))).await;
        assert_eq!((received.status, received.error), (Some(204), None));
        let asked = asked.lock().unwrap()[0].to_ascii_lowercase();
        assert!(asked.starts_with("post /hook?a=b http/1.1\r\n"), "{asked}");
        for header in [
            "content-type: application/json\r\n",
            "webhook-id: evt_1\r\n",
            concat!("user-agent: verdict/", env!("CARGO_PKG_VERSION"), "\r\n"),
        ] {
            assert!(asked.contains(header), "{asked}");
        }
        for (answer, status, error) in [
            (&b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"[..], 302, "redirect"),
            (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410, "gone"),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, "refused"),
            (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 503, "server-error"),
        ] {
            let received = answer_to(answer).await;
            assert_eq!((received.status, received.error), (Some(status), Some(error)));
        }
        let busy = b"HTTP/1.1 429 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        let received = answer_to(busy).await;
        assert_eq!(received.error, Some("too-many-requests"));
        assert_eq!(received.retry_after.as_deref(), Some("7"));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_or_endless_is_judged_by_its_status() {
        let received = answer_to(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nabc").await;
        assert_eq!((received.status, received.error), (Some(200), None));
        assert_eq!(received.beginning, b"abc");
        let endless: Vec<u8> =
            [b"HTTP/1.1 200 OK\r\n\r\n", vec![b'a'; 200_000].as_slice()].concat();
        let received = answer_to(Box::leak(endless.into_boxed_slice())).await;
        assert_eq!((received.status, received.error), (Some(200), None));
        assert_eq!(received.beginning.len(), MOST_KEPT);
        let received = answer_to(b"HTTP/1.1 2").await;
        assert_eq!((received.status, received.error), (None, Some("cut")));
        let received = answer_to(b"").await;
        assert_eq!((received.status, received.error), (None, Some("cut")));
    }

    #[tokio::test]
    async fn host_that_resolves_to_a_private_address_is_refused() {
        // The name was public when the endpoint was added, and is private when it is dialled.
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lookups);
        let lookup: Lookup = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { io::Result::Ok(vec![[169, 254, 169, 254].into()]) })
        });
        let sender = Sender::with_lookup(Targets::default(), lookup).unwrap();
        let received = sender.send(request("https://rebound.example.com/".to_owned())).await;
        assert_eq!((received.status, received.error), (None, Some("refused-address")));
        assert_eq!(lookups.load(Ordering::SeqCst), 1, "the injected lookup was used once");
        for url in
            ["https://10.0.0.1/", "http://example.com/", "https://[::1]/", "https://localhost/"]
        {
            let received = sender.send(request(url.to_owned())).await;
            assert_eq!(received.error, Some("refused-url"), "{url}");
        }
    }

    #[tokio::test]
    async fn a_listed_name_may_lead_inside() {
        let (port, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let lookup: Lookup =
            Arc::new(|_| Box::pin(async { io::Result::Ok(vec![[127, 0, 0, 1].into()]) }));
        let targets = Targets::parse(["receiver.internal"]).unwrap();
        let sender = Sender::with_lookup(targets, lookup).unwrap();
        let url = |host: &str| format!("http://{host}:{port}/");
        assert_eq!(sender.send(request(url("receiver.internal"))).await.status, Some(200));
        let refused = sender.send(request(format!("https://other.internal:{port}/"))).await;
        assert_eq!(refused.error, Some("refused-address"));
    }

    #[tokio::test]
    async fn nobody_there_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let sender = Sender::new(Targets::parse(["127.0.0.1"]).unwrap()).unwrap();
        let received = sender.send(request(format!("http://127.0.0.1:{port}/"))).await;
        assert_eq!((received.status, received.error), (None, Some("no-connection")));
    }
}
