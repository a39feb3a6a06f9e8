//! A stranger without a secret or key: learns nothing about sources, and takes neither memory nor
//! connections from others.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::app::Role;
use verdict::http::api_key_auth::Scope;

use crate::harness::{
    Callback, Options, PATIENCE, Reply, SECRET, Setting, TestApp, callback, eventually, make_key,
    now, run_verdict,
};

/// Long enough that nothing in a test is closed by a time limit.
const UNHURRIED: &str = "first_byte_seconds = 60\nbody_read_seconds = 60\n\
    header_read_seconds = 60\nwrite_stall_seconds = 60";
/// An answer to a stranger that waits for nothing comes within it.
const AT_ONCE: Duration = Duration::from_secs(5);

fn api(more: &str, http: &'static str, max_connections: usize) -> Options {
    Options { role: Role::Api, more: more.to_owned(), http, max_connections, ..Options::default() }
}

async fn app() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

/// The head of a callback that no secret signed, with whole headers; more of them, and an end.
fn head(app: &TestApp, more: &str) -> String {
    let forged = Callback::signed_as(
        "msg_forged",
        "never sent",
        app.clock.now().unix_timestamp(),
        "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=",
    );
    forged.head(more)
}

/// Sends it, and nothing more; the answer.
async fn said(app: &TestApp, bytes: &str) -> String {
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = vec![0; 4096];
    let reading = tokio::time::timeout(AT_ONCE, stream.read(&mut said));
    let length = reading.await.expect("it waits for a body").unwrap();
    String::from_utf8_lossy(&said[..length]).into_owned()
}

/// Everything by which a stranger can distinguish two answers.
fn visible(reply: &Reply) -> (u16, Vec<(String, String)>, serde_json::Value) {
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let mut body = reply.json.clone();
    body["instance"] = "".into();
    (reply.status, headers, body)
}

#[tokio::test]
async fn unknown_source_answers_exactly_like_bad_signature() {
    let app = app().await;
    let now = app.clock.now();
    let good = || callback("pass-1", now);
    let large = "x".repeat(17 * 1024);
    let cases = [
        ("signed with another secret", {
            let other = "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=";
            Callback::signed_as("msg_1", "{}", now.unix_timestamp(), other)
        }),
        ("no signature", good().with("webhook-signature", "")),
        ("malformed signature", good().with("webhook-signature", "v1,AAAA")),
        ("stale", good().with("webhook-timestamp", "1")),
        ("media type", good().with("content-type", "text/plain")),
        ("too large", Callback::signed(&large, now).with("webhook-id", "other")),
        ("no JSON", Callback::signed("{", now).with("webhook-id", "other")),
        ("id too long", good().with("webhook-id", &"m".repeat(300))),
    ];
    for (what, message) in cases {
        let known = app.post(message.clone()).await;
        for name in ["no-such-sender", "App", "app%20", "%F0%9F%98%80", &"x".repeat(500)] {
            let unknown = app.post(Callback { source: name.to_owned(), ..message.clone() }).await;
            assert_eq!(visible(&unknown), visible(&known), "{what}, {name}");
        }
    }
    // Even well signed by a secret of another source.
    let reply = app.post(Callback { source: "no-such-sender".to_owned(), ..good() }).await;
    reply.assert_problem(401, "signature-invalid");
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let counted = "verdict_callbacks_refused_total{source=\"unknown\",code=\"signature-invalid\"}";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(!metrics.contains("no-such-sender"), "names of strangers are no labels");
    assert!(!verdict::http::description().to_string().contains("unknown-source"));
}

#[tokio::test]
async fn refusals_that_need_no_body_wait_for_none() {
    let app = app().await;
    let length = "content-length: 1000";
    let whole = head(&app, length);
    let stale = whole.replace("webhook-timestamp: ", "webhook-timestamp: 1");
    let unsigned = whole.replace("webhook-signature", "x-signature");
    let malformed = whole.replace("v1,", "v9,");
    let plain = whole.replace("application/json", "text/plain");
    let large = head(&app, "content-length: 16385");
    for (bytes, code) in [
        (stale, "timestamp-out-of-tolerance"),
        (unsigned, "signature-missing"),
        (malformed, "signature-invalid"),
        (plain, "unsupported-media-type"),
        (large, "body-too-large"),
    ] {
        let said = said(&app, &bytes).await;
        assert!(said.starts_with("HTTP/1.1 4") && said.contains(code), "{code}: {said}");
        // And it is not invited to send one.
        let expecting = bytes.replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        let said = self::said(&app, &expecting).await;
        assert!(said.starts_with("HTTP/1.1 4"), "{code}: {said}");
    }
    // Only the one that could be good is read.
    let good = whole.replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    assert!(said(&app, &good).await.starts_with("HTTP/1.1 100"));
}

#[tokio::test]
async fn chunked_callback_beyond_16_kib_is_cut_and_answered() {
    let app = app().await;
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    stream.write_all(head(&app, "transfer-encoding: chunked").as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    // More than is read; the answer must not be lost to what nobody reads.
    for _ in 0..40 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut said = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    reading.expect("it ends").expect("it is not reset");
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
}

#[tokio::test]
async fn half_sent_bodies_exhaust_only_their_own_budget() {
    let app =
        TestApp::start_with(api("[callbacks]\nunverified_bytes = 65536", UNHURRIED, 4096)).await;
    let mut hostile = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(app.http).await.unwrap();
        let half = head(&app, "content-length: 16384") + &"x".repeat(16_000);
        stream.write_all(half.as_bytes()).await.unwrap();
        hostile.push(stream);
    }
    let long = |id: &str| {
        let body = serde_json::json!({
            "biz_type": "test", "biz_id": id, "more": "x".repeat(15_000)
        });
        Callback::signed(&body.to_string(), app.clock.now())
    };
    // A large body is refused while the budget is used up, with `Retry-After`.
    eventually("the budget is used up", || async {
        let reply = app.post(long("pass-2")).await;
        (reply.status == 503).then(|| {
            reply.assert_problem(503, "unavailable");
            assert!(reply.headers.contains_key("retry-after"));
        })
    })
    .await;
    // A documented callback needs no budget, even from a slow sender.
    assert_eq!(app.post(callback("pass-1", app.clock.now())).await.status, 202);
    let slow = callback("pass-3", app.clock.now());
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    let head = slow.head(&format!("content-length: {}", slow.body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    for byte in &slow.body {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut said = vec![0; 4096];
    let length = stream.read(&mut said).await.unwrap();
    assert!(said[..length].starts_with(b"HTTP/1.1 202"));
    // Gone with those who held it.
    drop(hostile);
    eventually("the budget is given back", || async {
        (app.post(long("pass-2")).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_waiting_for_clients_are_evicted_for_others() {
    let app = TestApp::start_with(api("", UNHURRIED, 20)).await;
    let half = head(&app, "content-length: 1000");
    let says =
        ["", "GET /healthz HTTP/1.1\r\nhost:", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", &half];
    let mut hostile = Vec::new();
    for n in 0..80 {
        let mut stream = TcpStream::connect(app.http).await.unwrap();
        stream.write_all(says[n % says.len()].as_bytes()).await.unwrap();
        hostile.push(stream);
    }
    // Behind all of them, and none of them would be closed by a time limit.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    for n in 0..3 {
        let message = callback(&format!("pass-{n}"), app.clock.now());
        let mut request = client.post(format!("http://{}/v1/callbacks/app", app.http));
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        let answer = tokio::time::timeout(PATIENCE / 2, request.body(message.body).send());
        let answer = answer.await.expect("hostile connections keep all slots").unwrap();
        assert_eq!(answer.status(), 202);
    }
    drop(hostile);
}

#[tokio::test]
async fn long_polls_are_bounded_in_all_and_per_key() {
    let http = "first_byte_seconds = 5\nbody_read_seconds = 5\nheader_read_seconds = 60\n\
        write_stall_seconds = 5\nwaits_per_key = 3";
    let app = std::sync::Arc::new(TestApp::start_with(api("", http, 10)).await);
    let id = app.accepted("pass-1").await;
    let keys = [
        make_key(&app.store, &[Scope::DecisionsRead]).await,
        make_key(&app.store, &[Scope::DecisionsRead]).await,
    ];
    let path = format!("/v1/verifications/{id}?wait=60");
    // More waits than this key gets: so many are refused at once, and the others go on.
    let wait = async |key: &str, refused: usize, held: usize| {
        let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..refused + held {
            let (app, path, key) = (app.clone(), path.clone(), key.to_owned());
            let answered = answered.clone();
            tokio::spawn(async move {
                let _ = answered.send(app.get_as(&path, &key).await);
            });
        }
        for _ in 0..refused {
            let reply = tokio::time::timeout(PATIENCE, answers.recv()).await;
            let reply = reply.expect("more are let in").expect("an answer");
            reply.assert_problem(429, "too-many-waits");
            assert!(reply.headers.contains_key("retry-after"));
        }
        answers
    };
    let mut of_one = wait(&keys[0], 3, 3).await;
    // Half of ten slots, of which three are taken.
    let mut of_other = wait(&keys[1], 2, 2).await;
    // Without waiting it answers, and callbacks come in.
    let plain = app.get_as(&format!("/v1/verifications/{id}"), &keys[0]).await;
    assert_eq!(plain.status, 200);
    app.accepted("pass-2").await;
    assert!(of_one.try_recv().is_err() && of_other.try_recv().is_err(), "they still wait");
}

#[tokio::test]
async fn few_descriptors_still_leave_the_operations_listener_some() {
    let folder = tempfile::TempDir::new().unwrap();
    let script = folder.path().join("verdict");
    let binary = env!("CARGO_BIN_EXE_verdict");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 128\nexec '{binary}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut setting = Setting::new(api("", UNHURRIED, 4096)).await;
    setting.binary = script;
    let process = setting.serve().await;
    let mut hostile = Vec::new();
    for _ in 0..300 {
        let connecting = tokio::time::timeout(AT_ONCE, TcpStream::connect(process.http));
        let Ok(Ok(stream)) = connecting.await else { break };
        hostile.push(stream);
    }
    assert!(hostile.len() >= 128, "fewer than there are descriptors: {}", hostile.len());
    for path in ["/healthz", "/readyz", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(setting.get(process.operations, path).await.status, 200, "{path}");
        assert!(asked.elapsed() < AT_ONCE, "{path}");
    }
    assert_eq!(process.post(&setting.client, callback("pass-1", now())).await, Some(202));
    drop(hostile);
    process.signal("TERM").await;
    let (_, log) = process.ended().await;
    let log = log.join("\n");
    assert!(log.contains("http.max_connections lowered"), "{log}");
    assert!(!log.contains("accept failed"), "{log}");
}

#[tokio::test]
async fn readiness_answers_strangers_with_one_word() {
    let app = TestApp::start().await;
    assert_eq!(app.get_as("/readyz", "").await.text, "{\"status\":\"ready\"}");
    let answer = app.client.get(format!("http://{}/readyz", app.operations)).send().await.unwrap();
    let details = Reply::read(answer).await;
    assert_eq!(
        (&details.json["provider"], &details.json["database"]),
        (&"ok".into(), &"ok".into())
    );
}

#[tokio::test]
async fn a_nul_in_any_text_is_the_callers_mistake() {
    let app = app().await;
    let id = app.accepted("pass-1").await;
    let verification = format!("/v1/verifications/{id}");
    let digest = format!("sha256:{}", "0".repeat(64));
    let mut paths = Vec::new();
    for text in ["%00", "a%00b", "sha256:%00", "%ED%A0%80", "%FF"] {
        paths.extend([
            ("GET", format!("/v1/policies/{text}"), ""),
            ("GET", format!("/v1/policies/{text}/shadow"), ""),
            ("POST", format!("/v1/policies/{text}/shadow"), "{}"),
            ("POST", format!("/v1/policies/{text}/activate"), "{}"),
            ("POST", format!("/v1/policies/{text}/backtests"), "{}"),
            ("GET", format!("/v1/policies/{text}/diff/{digest}"), ""),
            ("GET", format!("/v1/policies/{digest}/diff/{text}"), ""),
            ("GET", format!("/v1/backtests/{text}"), ""),
            ("GET", format!("/v1/backtests/{id}/flips?cursor={text}"), ""),
            ("GET", format!("/v1/verifications/{text}"), ""),
            ("GET", format!("/v1/verifications?reference={text}"), ""),
            ("GET", format!("/v1/verifications?biz_type={text}"), ""),
            ("GET", format!("/v1/verifications?biz_type=a&biz_id={text}"), ""),
            ("GET", format!("/v1/verifications?cursor={text}"), ""),
            ("GET", format!("/v1/verifications?{text}=x"), ""),
            ("GET", format!("{verification}/images/{text}"), ""),
            ("GET", format!("{verification}?wait={text}"), ""),
        ]);
    }
    let bodies = [
        ("/v1/verifications", "{\"biz_type\":\"NUL\",\"biz_id\":\"NUL\",\"reference\":\"NUL\"}"),
        ("/v1/verifications/refetch", "{\"state\":\"NUL\",\"biz_type\":\"NUL\"}"),
        ("/v1/verifications/refetch", "{\"state\":\"failed\",\"error_code\":\"NUL\"}"),
        ("/v1/policies/rollback", "{\"biz_type\":\"NUL\"}"),
        ("/v1/policies/promote", "{\"biz_type\":\"NUL\"}"),
        ("/v1/policies", "name = \"NUL\"\n"),
        ("/v1/policies/check", "name = \"NUL\"\n"),
        (&format!("{verification}/reviews"), "{\"outcome\":\"approve\",\"reason\":\"NUL\"}"),
        (
            &format!("{verification}/reviews"),
            "{\"outcome\":\"approve\",\"reason\":\"x\",\"note\":\"NUL\"}",
        ),
    ];
    let bodies: Vec<(&str, String, String)> = bodies
        .iter()
        .flat_map(|(path, body)| {
            ["\\u0000", "a\\u0000", "\\ud800", "\u{0}"]
                .map(|text| ("POST", (*path).to_owned(), body.replace("NUL", text)))
        })
        .collect();
    let paths =
        paths.iter().map(|(method, path, body)| (*method, path.clone(), (*body).to_owned()));
    for (method, path, body) in paths.chain(bodies) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = app
            .client
            .request(method.clone(), format!("http://{}{path}", app.http))
            .bearer_auth(&app.api_key)
            .header("content-type", "application/json")
            .header("verdict-purpose", "test")
            .body(body.clone());
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert!(reply.status < 500, "{method} {path} {body:?}: {reply:?}");
        // No policy has such a digest, so the database is not asked.
        if path.starts_with("/v1/policies/") && body.len() < 3 {
            assert!([400, 404].contains(&reply.status), "{method} {path}: {reply:?}");
        }
    }
    for text in ["\\u0000", "\\ud800"] {
        let body = r#"{"biz_type":"test","biz_id":"x","reference":"T","client":{"audit":"T","code":"T","platform":"T","message":"T"}}"#;
        let message = Callback::signed(&body.replace('T', text), app.clock.now());
        let status = app.post(message).await.status;
        assert!(status < 500, "{text}: {status}");
    }
}

#[tokio::test]
async fn all_responses_carry_security_headers() {
    let app = app().await;
    for path in [
        "/docs/",
        "/docs/swagger-ui.css",
        "/openapi.json",
        "/v1/nothing",
        "/healthz",
        "/problems/not-found",
    ] {
        let reply = app.get(path).await;
        let header = |name: &str| reply.headers.get(name).map_or("", |v| v.to_str().unwrap());
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-eval") && !policy.contains("script-src *"), "{policy}");
        assert_eq!(policy.contains("script-src 'self'"), path.starts_with("/docs"), "{path}");
    }
    let page = app.get("/docs/").await.text;
    for path in ["/docs/", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"] {
        let answer = app.client.get(format!("http://{}{path}", app.http)).send().await.unwrap();
        let encoding = answer.headers().get("content-encoding").cloned();
        assert!(encoding.is_none(), "{path}: nobody asked for {encoding:?}");
    }
    assert!(!page.contains("<script>") && !page.contains("<style>"), "its policy forbids them");
    let without = TestApp::start_with(api("", "header_read_seconds = 2\ndocs = false", 4096)).await;
    for path in ["/docs", "/docs/", "/docs/index.html", "/openapi.json"] {
        without.get(path).await.assert_problem(404, "not-found");
    }
}

#[tokio::test]
async fn printed_curl_command_runs_nothing_else() {
    let folder = tempfile::TempDir::new().unwrap();
    let planted = folder.path().join("planted");
    let evil = format!("x';touch${{IFS}}{};'$(touch${{IFS}}{0})", planted.display());
    let send = ["callback", "send", "--secret", SECRET, "--biz-type", &evil, "--biz-id", &evil];
    for option in ["--id", "--to", "--source", "--reference"] {
        let arguments = [&send[..], &["--curl", option, &evil]].concat();
        let (code, command, error) = run_verdict(&arguments, &[]).await;
        assert_eq!(code, 0, "{error}");
        // In place of curl: what it was called with.
        let script = format!("curl() {{ printf '[%s]' \"$@\"; }}\n{command}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let called_with = String::from_utf8(output.stdout).unwrap();
        assert!(called_with.contains(&evil), "{option}: {called_with}");
        assert!(!planted.exists(), "{option}: {command}");
    }
    // A line break would start another header.
    let broken = ["callback", "send", "--secret", SECRET, "--biz-type", "a", "--biz-id", "b"];
    for option in ["--id", "--to", "--source"] {
        let arguments = [&broken[..], &["--curl", option, "a\nx-evil: 1"]].concat();
        let (code, _, error) = run_verdict(&arguments, &[]).await;
        assert!(code == 2 && error.contains(option), "{option}: {error}");
    }
}

/// All that is said until the connection is closed.
async fn said_until_closed(app: &TestApp, bytes: &str) -> String {
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    // It may be closed before it took everything.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut said = Vec::new();
    let closing = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    let _ = closing.expect("it is closed");
    String::from_utf8_lossy(&said).into_owned()
}

/// A proxy in front of the service might see one request where the service sees two, or the other way
/// round.
#[tokio::test]
async fn request_that_a_proxy_may_read_otherwise_is_the_last_of_its_connection() {
    let app = TestApp::start_with(api("", UNHURRIED, 4096)).await;
    let get = |more: &str| format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let many = "x-a: y\r\n".repeat(101);
    for (request, status) in [
        (get("content-length: 5\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n", "200"),
        (get("transfer-encoding: chunked\r\ncontent-length: 5\r\n") + "0\r\n\r\n", "200"),
        (get("content-length: 5\r\ncontent-length: 6\r\n") + "hello", "400"),
        (get("content-length: 5, 5\r\n") + "hello", "400"),
        (get("content-length: +5\r\n") + "hello", "400"),
        (get("content-length: 99999999999999999999\r\n") + "hello", "400"),
        (get("transfer-encoding: chunked, identity\r\n") + "0\r\n\r\n", "400"),
        (get("transfer-encoding: \u{b}chunked\r\n") + "0\r\n\r\n", "400"),
        (get("transfer-encoding: chunked\r\n").replace("/1.1", "/1.0") + "0\r\n\r\n", "400"),
        (get("content-length : 5\r\n") + "hello", "400"),
        (get("x-a: b\r\n content-length: 5\r\n") + "hello", "400"),
        (get("x-a: b\0c\r\n"), "400"),
        (get("x-a: b\rc\r\n"), "400"),
        (get("x a: b\r\n"), "400"),
        (get(&many), "431"),
        (get(&format!("x-a: {}\r\n", "y".repeat(20_000))), "431"),
        (get("").replace("/healthz", &format!("/{}", "y".repeat(20_000))), "431"),
    ] {
        let said = said_until_closed(&app, &(request.clone() + &get(""))).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request:?}: {said}");
    }
}

#[tokio::test]
async fn chunks_that_are_more_frame_than_content_are_cut() {
    let app = TestApp::start_with(api("", UNHURRIED, 4096)).await;
    for body in [
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(30_000)),
        format!("5\r\nhello\r\n0\r\n{}\r\n", "x-t: y\r\n".repeat(5_000)),
        "1;x=y\r\nh\r\n".repeat(10_000) + "0\r\n\r\n",
        "10000000000000000\r\nhello".to_owned(),
        "-5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "0x5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5\r\nhello!\r\n0\r\n\r\n".to_owned(),
    ] {
        let shown: String = body.chars().take(40).collect();
        let whole = head(&app, "transfer-encoding: chunked\r\nconnection: close") + &body;
        let said = said_until_closed(&app, &whole).await;
        assert!(said.starts_with("HTTP/1.1 4"), "{shown}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{shown}: {said}");
    }
}
