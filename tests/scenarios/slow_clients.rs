//! Slow clients: the server closes each within its limit, and others never notice. One
//! scenario for each row of the table; the limits are those of the harness's configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::app::Role;

use crate::harness::{Options, PATIENCE, TestApp, callback};

/// `http.header_read_seconds`.
const HEAD: Duration = Duration::from_secs(2);
/// `http.body_read_seconds`, and `http.write_stall_seconds`.
const BODY: Duration = Duration::from_secs(1);
/// For a busy machine to get to it.
const GRACE: Duration = Duration::from_secs(3);
/// Slower than that is not being served normally.
const NORMAL: Duration = Duration::from_secs(5);

/// Others, who post and read all the while; fails if one of them waits.
struct Others {
    app: Arc<TestApp>,
    done: Arc<AtomicBool>,
    posting: tokio::task::JoinHandle<usize>,
}

impl Others {
    async fn begin() -> Self {
        let options = Options { role: Role::Api, ..Options::default() };
        let app = Arc::new(TestApp::start_with(options).await);
        let done = Arc::new(AtomicBool::new(false));
        let posting = tokio::spawn({
            let (app, done) = (Arc::clone(&app), Arc::clone(&done));
            async move {
                let mut served = 0;
                while !done.load(Ordering::SeqCst) {
                    let started = Instant::now();
                    let message = callback(&format!("pass-{served}"), app.clock.now());
                    assert_eq!(app.post(message).await.status, 202);
                    assert_eq!(app.get("/healthz").await.status, 200);
                    assert!(started.elapsed() < NORMAL, "others wait for it");
                    served += 1;
                }
                served
            }
        });
        Self { app, done, posting }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.app.http).await.unwrap()
    }

    /// The head of a callback with so many bytes, which is read: its headers are whole.
    fn post(&self, length: usize) -> String {
        let callback = callback("pass-slow", self.app.clock.now());
        callback.head(&format!("content-length: {length}"))
    }

    async fn end(self) {
        self.done.store(true, Ordering::SeqCst);
        assert!(self.posting.await.expect("others are served") > 0);
    }
}

/// Reads to the end, which must come within `limit`, and returns the text.
async fn let_go_within(limit: Duration, stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    // A reset connection is closed too.
    let _ = tokio::time::timeout(limit + GRACE, reading).await.expect("it keeps its connection");
    String::from_utf8_lossy(&said).into_owned()
}

/// Sends one byte now and then until the server closes the connection; returns how long that took.
async fn trickle(stream: &mut TcpStream, bytes: &str, limit: Duration) -> Duration {
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let mut endless = bytes.bytes().cycle();
    let dripping = async {
        loop {
            pace.tick().await;
            let byte = endless.next().unwrap();
            let mut heard = [0; 1024];
            if stream.write_all(&[byte]).await.is_err()
                || matches!(stream.try_read(&mut heard), Ok(0))
            {
                return;
            }
        }
    };
    tokio::time::timeout(limit + GRACE, dripping).await.expect("the server ends it");
    started.elapsed()
}

#[tokio::test]
async fn silent_client() {
    let others = Others::begin().await;
    let mut silent = others.connect().await;
    assert_eq!(let_go_within(HEAD, &mut silent).await, "");
    others.end().await;
}

#[tokio::test]
async fn connection_without_first_byte_closes_before_idle_ones() {
    let http = "first_byte_seconds = 0.5\nheader_read_seconds = 60";
    let options = Options { role: Role::Api, http, ..Options::default() };
    let app = TestApp::start_with(options).await;
    let mut kept = TcpStream::connect(app.http).await.unwrap();
    let mut silent = TcpStream::connect(app.http).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    kept.write_all(ask).await.unwrap();
    let mut answer = [0; 4096];
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    // Its body has the same limit.
    let mut bodiless = TcpStream::connect(app.http).await.unwrap();
    let head = "POST /v1/policies/check HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n";
    let head = format!("{head}authorization: Bearer {}\r\n\r\n", app.api_key);
    bodiless.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(let_go_within(BODY, &mut silent).await, "");
    let read = tokio::time::timeout(BODY + GRACE, bodiless.read(&mut answer)).await.unwrap();
    assert!(answer[..read.unwrap()].starts_with(b"HTTP/1.1 408"));
    // The one that asked before is still there.
    kept.write_all(ask).await.unwrap();
    assert!(kept.read(&mut answer).await.unwrap() > 0);
}

#[tokio::test]
async fn client_silent_within_the_head() {
    let others = Others::begin().await;
    let mut half = others.connect().await;
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    let_go_within(HEAD, &mut half).await;
    others.end().await;
}

#[tokio::test]
async fn client_that_trickles_its_head() {
    let others = Others::begin().await;
    let mut slow = others.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    // Each byte is progress, and does not buy more time.
    let lasted = trickle(&mut slow, "x-more: y\r\n", HEAD).await;
    assert!(lasted >= HEAD / 2, "{lasted:?}: good clients may need that long");
    others.end().await;
}

#[tokio::test]
async fn client_silent_instead_of_its_body() {
    let others = Others::begin().await;
    let mut silent = others.connect().await;
    silent.write_all(others.post(100).as_bytes()).await.unwrap();
    let said = let_go_within(BODY + HEAD, &mut silent).await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("request-timeout"), "{said}");
    others.end().await;
}

#[tokio::test]
async fn client_that_trickles_its_body() {
    let others = Others::begin().await;
    let mut slow = others.connect().await;
    slow.write_all(others.post(16_000).as_bytes()).await.unwrap();
    trickle(&mut slow, "x", BODY + HEAD).await;
    others.end().await;
}

#[tokio::test]
async fn half_open_client() {
    let others = Others::begin().await;
    // The client sends nothing more and would listen indefinitely: without a request, with half a
    // request, and with a whole one, which is answered.
    for (says, hears) in [
        ("", ""),
        ("GET /healthz HTTP/1.1\r\nhost: x", ""),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200"),
    ] {
        let mut half = others.connect().await;
        half.write_all(says.as_bytes()).await.unwrap();
        half.shutdown().await.unwrap();
        let said = let_go_within(HEAD, &mut half).await;
        assert!(said.starts_with(hears), "{says:?}: {said}");
    }
    let mut half = others.connect().await;
    half.write_all(others.post(100).as_bytes()).await.unwrap();
    half.shutdown().await.unwrap();
    let_go_within(BODY + HEAD, &mut half).await;
    others.end().await;
}

#[tokio::test]
async fn many_idle_clients() {
    let others = Others::begin().await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        let mut one = others.connect().await;
        // Served once, and kept alive since.
        one.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        idle.push(one);
    }
    for mut one in idle {
        let said = let_go_within(HEAD, &mut one).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    others.end().await;
}

#[tokio::test]
async fn more_idle_clients_than_connections() {
    let options = Options { role: Role::Api, max_connections: 20, ..Options::default() };
    let app = TestApp::start_with(options).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(TcpStream::connect(app.http).await.unwrap());
    }
    // One who comes after them all waits in the kernel's queue until they are let go.
    let late = tokio::time::timeout(PATIENCE, app.get("/healthz")).await.expect("no place ever");
    assert_eq!(late.status, 200);
    for mut one in idle {
        let_go_within(HEAD, &mut one).await;
    }
}

#[tokio::test]
async fn client_that_pipelines_many_requests() {
    let others = Others::begin().await;
    let mut eager = others.connect().await;
    let asked = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
    eager.write_all(asked.as_bytes()).await.unwrap();
    let said = let_go_within(HEAD, &mut eager).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 200);
    others.end().await;
}

#[tokio::test]
async fn client_that_pipelines_and_never_reads() {
    let others = Others::begin().await;
    let mut deaf = others.connect().await;
    let asked = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    // Once nothing fits anywhere any more this blocks, until the service cuts the connection.
    let cut = async { while deaf.write_all(asked.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, cut).await.expect("the server closes it");
    others.end().await;
}

#[tokio::test]
async fn http_2_client() {
    let others = Others::begin().await;
    let mut whole = others.connect().await;
    whole.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let said = let_go_within(Duration::ZERO, &mut whole).await;
    assert!(said.starts_with("HTTP/1.1 4") || said.is_empty(), "{said}");
    let mut half = others.connect().await;
    half.write_all(b"PRI * HT").await.unwrap();
    let_go_within(HEAD, &mut half).await;
    others.end().await;
}
