//! `verdict listen`: events reach a receiver on this machine as deliveries would.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Options, PATIENCE, Setting, callback, eventually, make_key, now, run_verdict,
};
use verdict::http::api_key_auth::Scope;

/// A receiver under development. Clones share what came.
#[derive(Clone)]
struct Receiver {
    came: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answer: Arc<AtomicU16>,
}

impl Receiver {
    fn new() -> Self {
        Self { came: Arc::default(), answer: Arc::new(AtomicU16::new(204)) }
    }

    /// Runs until its token is cancelled.
    async fn serve(&self, address: SocketAddr) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().unwrap();
        let (stop, receiver) = (CancellationToken::new(), self.clone());
        let take = move |headers: HeaderMap, body: Bytes| async move {
            receiver.came.lock().unwrap().push((headers, body));
            StatusCode::from_u16(receiver.answer.load(Ordering::SeqCst)).unwrap()
        };
        let router = Router::new().route("/hook", post(take));
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await },
        );
        (address, stop)
    }

    fn bodies(&self) -> Vec<String> {
        let came = self.came.lock().unwrap();
        came.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    async fn has(&self, count: usize) {
        let what = format!("{count} events arrive");
        eventually(&what, || async { (self.bodies().len() >= count).then_some(()) }).await;
    }
}

struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(key: &str, server: SocketAddr, receiver: SocketAddr, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["listen", "--forward-to", &format!("http://{receiver}/hook")])
            .args(more)
            .env_clear()
            .env("VERDICT_API_KEY", key)
            .env("VERDICT_URL", format!("http://{server}/"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The words of the next line.
    async fn line(&mut self) -> Vec<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line");
        let line = line.unwrap().expect("it goes on");
        line.split_whitespace().map(ToOwned::to_owned).collect()
    }
}

async fn feed(setting: &Setting, at: SocketAddr) -> Vec<Value> {
    let reply = setting.get(at, "/v1/events?limit=1000").await;
    reply.json["items"].as_array().unwrap().clone()
}

async fn logged(setting: &Setting, at: SocketAddr, count: usize) {
    let what = format!("{count} events are logged");
    eventually(&what, || async { (feed(setting, at).await.len() >= count).then_some(()) }).await;
}

#[tokio::test]
async fn events_arrive_signed_and_each_is_shown() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let key = make_key(&setting.database.store(), &[Scope::EventsRead]).await;
    let service = setting.serve().await;
    for biz_id in ["pass-97-a", "status-7-b"] {
        assert_eq!(service.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    logged(&setting, service.http, 3).await;
    let receiver = Receiver::new();
    let (address, stop) = receiver.serve("127.0.0.1:0".parse().unwrap()).await;
    let more = ["--after", "0", "--print-secret"];
    let mut listening = Listening::start(&key, service.http, address, &more);
    let [secret] = &listening.line().await[..] else { panic!("a secret") };
    for (sequence, kind) in
        [("1", "policy.activated"), ("2", "verification.decided"), ("3", "verification.decided")]
    {
        let line = listening.line().await;
        assert_eq!(
            (&line[..3], line[4].as_str()),
            (&[sequence, kind, "204"].map(String::from)[..], "ms")
        );
    }
    let feed_bodies = feed(&setting, service.http).await;
    let library = Webhook::new(secret).unwrap();
    let came = receiver.came.lock().unwrap().clone();
    for ((headers, body), item) in came.iter().zip(&feed_bodies) {
        library.verify(body, headers).expect("a good signature");
        assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), *item);
        assert_eq!(headers["webhook-id"], item["id"].as_str().unwrap());
        assert_eq!(headers["content-type"], "application/json");
        assert!(headers.contains_key("verdict-epoch"));
        assert!(headers["user-agent"].to_str().unwrap().starts_with("Verdict/"));
    }
    assert_eq!(came[2].0["verdict-acknowledged-through"], "2");
    // An event that is refused is shown, and the next one comes.
    receiver.answer.store(500, Ordering::SeqCst);
    service.post(&setting.client, callback("pass-97-c", now())).await;
    assert_eq!(listening.line().await[..3], ["4", "verification.decided", "500"]);
    // A receiver that is restarted misses nothing.
    receiver.answer.store(200, Ordering::SeqCst);
    stop.cancel();
    eventually("it is gone", || async { TcpListener::bind(address).await.ok().map(drop) }).await;
    service.post(&setting.client, callback("pass-97-d", now())).await;
    let waits = listening.line().await;
    assert_eq!(
        (&waits[..3], waits.last().unwrap().as_str()),
        (&["5", "verification.decided", "-"].map(String::from)[..], "again")
    );
    let (_, _stop) = receiver.serve(address).await;
    assert_eq!(listening.line().await[..3], ["5", "verification.decided", "200"]);
    let (headers, _) = receiver.came.lock().unwrap().last().unwrap().clone();
    assert_eq!(headers["verdict-acknowledged-through"], "3", "4 was refused");
    assert!(listening.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn listening_goes_on_after_the_service_was_away() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let service = setting.serve().await;
    logged(&setting, service.http, 1).await;
    let receiver = Receiver::new();
    let (address, _stop) = receiver.serve("127.0.0.1:0".parse().unwrap()).await;
    // The address stays the same while the service behind it is replaced.
    let (front, to) = front(service.http).await;
    let more = ["--types", "verification.decided,verification.failed"];
    let _listening = Listening::start(&setting.api_key, front, address, &more);
    // Earlier events are not forwarded, so the first event has to come after the start.
    let mut posted = 0;
    eventually("the first event arrives", || {
        posted += 1;
        let message = callback(&format!("pass-97-first-{posted}"), now());
        let (service, client, receiver) = (&service, &setting.client, &receiver);
        async move {
            service.post(client, message).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            (!receiver.bodies().is_empty()).then_some(())
        }
    })
    .await;
    setting.drained().await;
    service.kill().await;
    let service = setting.serve().await;
    assert_eq!(service.post(&setting.client, callback("invalidbiz", now())).await, Some(202));
    *to.lock().unwrap() = service.http;
    let before = feed(&setting, service.http).await.len();
    logged(&setting, service.http, before.max(2 + posted)).await;
    let log = feed(&setting, service.http).await;
    let first = serde_json::from_str::<Value>(&receiver.bodies()[0]).unwrap();
    let place = log.iter().position(|item| item["id"] == first["id"]).unwrap();
    receiver.has(log.len() - place).await;
    let came: Vec<Value> =
        receiver.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(came, log[place..], "each once, in order");
    assert_eq!(came.last().unwrap()["type"], "verification.failed");
}

/// A port that passes connections on to the service that is there now.
async fn front(service: SocketAddr) -> (SocketAddr, Arc<Mutex<SocketAddr>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let to = Arc::new(Mutex::new(service));
    let target = Arc::clone(&to);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = *target.lock().unwrap();
            tokio::spawn(async move {
                if let Ok(mut server) = tokio::net::TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, to)
}

#[tokio::test]
async fn wrong_use_of_listen_says_what_to_do() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let service = setting.serve().await;
    let url = format!("http://{}", service.http);
    let unable = make_key(&setting.database.store(), &[Scope::DecisionsRead]).await;
    let here = "http://127.0.0.1:9/hook";
    for (arguments, key, code, says) in [
        (&["--forward-to", here][..], "", 2, "VERDICT_API_KEY"),
        (&["--forward-to", "http://example.com/hook"], "vk_x", 2, "on this machine"),
        (&["--forward-to", here, "--server", "nowhere"], "vk_x", 2, "--server"),
        (&["--forward-to", here, "--after", "-1"], "vk_x", 2, "--after"),
        (&["--forward-to", here], "vk_x", 1, "unknown, expired or revoked"),
        (&["--forward-to", here], &unable, 1, "lacks the required scope"),
        (
            &["--forward-to", here, "--types", "decided"],
            &setting.api_key,
            1,
            "verification.decided",
        ),
        (&[], &setting.api_key, 2, "--forward-to"),
    ] {
        let words = [&["listen"], arguments].concat();
        let environment = [("VERDICT_URL", url.as_str()), ("VERDICT_API_KEY", key)];
        let (ended, said, error) = run_verdict(&words, &environment).await;
        assert_eq!((ended, said.as_str()), (code, ""), "{words:?}: {error}");
        assert!(error.contains(says), "{words:?}: {error}");
        assert!(key.is_empty() || !error.contains(key), "{error}");
    }
    let environment = [("VERDICT_API_KEY", setting.api_key.as_str())];
    let (code, secret, error) = run_verdict(&["listen", "--print-secret"], &environment).await;
    assert_eq!(code, 0, "{error}");
    assert!(secret.starts_with("whsec_") && Webhook::new(secret.trim()).is_ok());
}
