//! Bad input: a stable problem+json for each kind, nothing stored, only the code in the log.

use crate::harness::{Callback, Options, SECRET, Setting, TestApp, callback, now};
use verdict::app::Role;

async fn nothing_stored(app: &TestApp) {
    let pool = app.database.pool().await;
    let rows: i64 = sqlx::query_scalar(
        "select (select count(*) from callbacks) + (select count(*) from verifications)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(rows, 0);
}

async fn app() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

#[tokio::test]
async fn every_kind_of_wrong_signature_is_refused() {
    let app = app().await;
    let now = app.clock.now();
    let seconds = now.unix_timestamp();
    let good = || callback("pass-1", now);
    let body = r#"{"biz_type":"test","biz_id":"pass-1"}"#;
    let at = |timestamp: i64| Callback::signed_as("msg_t", body, timestamp, SECRET);
    let signature = good().headers[3].1.clone();
    let truncated = &signature[..signature.len() - 5];
    let other_secret = "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=";
    let mut tampered = good();
    tampered.body.push(b' ');

    let cases: Vec<(&str, Callback, &str)> = vec![
        ("no signature", good().with("webhook-signature", ""), "signature-missing"),
        ("no id", good().with("webhook-id", ""), "signature-missing"),
        ("no timestamp", good().with("webhook-timestamp", ""), "signature-missing"),
        ("wrong", good().with("webhook-signature", "v1,AAAA"), "signature-invalid"),
        ("not base64", good().with("webhook-signature", "v1,%%%"), "signature-invalid"),
        ("no version", good().with("webhook-signature", &signature[3..]), "signature-invalid"),
        ("truncated", good().with("webhook-signature", truncated), "signature-invalid"),
        ("signature twice", good().twice("webhook-signature"), "signature-invalid"),
        ("id twice", good().twice("webhook-id"), "signature-invalid"),
        ("timestamp twice", good().twice("webhook-timestamp"), "signature-invalid"),
        ("another id", good().with("webhook-id", "msg_other"), "signature-invalid"),
        (
            "another timestamp",
            good().with("webhook-timestamp", &(seconds + 1).to_string()),
            "signature-invalid",
        ),
        ("stale and unsigned", good().with("webhook-timestamp", "1"), "timestamp-out-of-tolerance"),
        (
            "timestamp not a number",
            good().with("webhook-timestamp", "soon"),
            "timestamp-out-of-tolerance",
        ),
        ("tampered body", tampered, "signature-invalid"),
        (
            "another secret",
            Callback::signed_as("msg_t", body, seconds, other_secret),
            "signature-invalid",
        ),
        ("stale", at(seconds - 301), "timestamp-out-of-tolerance"),
        ("future", at(seconds + 301), "timestamp-out-of-tolerance"),
        ("the smallest number", at(i64::MIN), "timestamp-out-of-tolerance"),
        ("the largest number", at(i64::MAX), "timestamp-out-of-tolerance"),
    ];
    for (what, message, code) in cases {
        let reply = app.post(message).await;
        assert_eq!(reply.json["code"], code, "{what}: {reply:?}");
        reply.assert_problem(401, code);
    }
    for per_second in [1_000, 1_000_000, 1_000_000_000] {
        let of_sender = app.post(at(seconds * per_second)).await;
        of_sender.assert_problem(401, "timestamp-not-seconds");
        let title = of_sender.json["title"].as_str().unwrap();
        assert!(title.contains("whole seconds since 1970"), "{title}");
        let stale = app.post(at((seconds - 301) * per_second)).await;
        stale.assert_problem(401, "timestamp-out-of-tolerance");
        // A stranger gets the same answer as for any wrong time.
        let stranger = Callback::signed_as("msg_t", body, seconds * per_second, other_secret);
        app.post(stranger).await.assert_problem(401, "timestamp-out-of-tolerance");
    }
    nothing_stored(&app).await;
    // Exactly at the tolerance it is still good.
    assert_eq!(app.post(at(seconds - 300)).await.status, 202);
}

#[tokio::test]
async fn invalid_callback_body_is_refused_with_every_wrong_field() {
    let app = app().await;
    let now = app.clock.now();
    let long = "x".repeat(65);
    for body in ["", "{", "null", "[1]", "\"text\"", "{\"biz_type\":\"a\"} trailing"] {
        app.post(Callback::signed(body, now)).await.assert_problem(400, "malformed-json");
    }
    let with_id = |id: &str| serde_json::json!({ "biz_type": "test", "biz_id": id }).to_string();
    let with_type = |id: &str| serde_json::json!({ "biz_type": id, "biz_id": "x" }).to_string();
    let mut cases = vec![
        ("{}".to_owned(), vec!["/biz_type", "/biz_id"]),
        (r#"{"biz_type":1,"biz_id":[]}"#.to_owned(), vec!["/biz_type", "/biz_id"]),
        (r#"{"biz_type":"a","biz_id":null}"#.to_owned(), vec!["/biz_id"]),
        (
            r#"{"biz_type":"a","biz_id":"b","occurred_at":"now","reference":7,"client":"x"}"#
                .to_owned(),
            vec!["/reference"],
        ),
    ];
    for id in ["", &long, "line\nbreak", "\u{0}", "\u{85}"] {
        cases.push((with_id(id), vec!["/biz_id"]));
        cases.push((with_type(id), vec!["/biz_type"]));
    }
    for damaged in [r#""\ud83d""#, r#""\udc00x""#] {
        let body = format!(r#"{{"biz_type":{damaged},"biz_id":{damaged},"reference":{damaged}}}"#);
        cases.push((body, vec!["/biz_type", "/biz_id", "/reference"]));
    }
    for (body, pointers) in cases {
        let reply = app.post(Callback::signed(&body, now)).await;
        reply.assert_problem(422, "invalid-field");
        let named: Vec<&str> = reply.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(named, pointers, "{body}");
    }
    let long_id = "m".repeat(256);
    let message = Callback::signed_as(&long_id, &with_id("x"), now.unix_timestamp(), SECRET);
    app.post(message).await.assert_problem(422, "invalid-field");
    nothing_stored(&app).await;
}

#[tokio::test]
async fn large_or_non_json_bodies_are_refused_first() {
    let app = app().await;
    let now = app.clock.now();
    let large = format!(r#"{{"biz_type":"a","biz_id":"b","more":"{}"}}"#, "x".repeat(16 * 1024));
    app.post(Callback::signed(&large, now)).await.assert_problem(413, "body-too-large");
    let good = || callback("pass-1", now);
    for message in [
        good().with("content-type", "text/plain"),
        good().with("content-type", ""),
        good().with("content-type", "application/x-www-form-urlencoded"),
        good().with("content-encoding", "gzip"),
    ] {
        app.post(message).await.assert_problem(415, "unsupported-media-type");
    }
    nothing_stored(&app).await;
    let with_charset = good().with("content-type", "application/json; charset=utf-8");
    assert_eq!(app.post(with_charset).await.status, 202);
}

#[tokio::test]
async fn unknown_sources_routes_and_methods_are_problems_too() {
    let app = app().await;
    let mut message = callback("pass-1", app.clock.now());
    message.source = "nobody".to_owned();
    app.post(message).await.assert_problem(401, "signature-invalid");

    let http = app.http;
    let send = |method: reqwest::Method, path: &str| {
        let request = app.client.request(method, format!("http://{http}{path}"));
        async move { crate::harness::Reply::read(request.send().await.unwrap()).await }
    };
    let reply = send(reqwest::Method::GET, "/v1/callbacks/app").await;
    reply.assert_problem(405, "method-not-allowed");
    assert_eq!(reply.headers["allow"], "POST");
    send(reqwest::Method::DELETE, "/v1/verifications")
        .await
        .assert_problem(405, "method-not-allowed");
    for path in
        ["/", "/v1", "/v1/callbacks", "/v1/callbacks/a/b", "/admin", "/%ff", "/v1/%E8%AE%A2"]
    {
        send(reqwest::Method::GET, path).await.assert_problem(404, "not-found");
    }
    // Metrics are not for callers.
    send(reqwest::Method::GET, "/metrics").await.assert_problem(404, "not-found");
    nothing_stored(&app).await;
}

#[tokio::test]
async fn invalid_read_requests_get_the_right_problem_and_status() {
    let app = app().await;
    let none = "/v1/verifications/0199b2c4-0000-7000-8000-000000000000";
    for path in [none.to_owned(), format!("{none}/results"), format!("{none}/decisions")] {
        app.get(&path).await.assert_problem(404, "not-found");
    }
    app.get("/v1/verifications/not-an-id").await.assert_problem(404, "not-found");
    for query in ["wait=61", "wait=-1", "wait=x", "wait=1&wait=2", "what=1"] {
        app.get(&format!("{none}?{query}")).await.assert_problem(422, "invalid-field");
    }
    for query in ["?wait=1", "?limit=x", "?biz_type=a&biz_id=b&color=red"] {
        let reply = app.get(&format!("/v1/verifications{query}")).await;
        reply.assert_problem(422, "invalid-field");
        assert!(!reply.json["errors"].as_array().unwrap().is_empty(), "{reply:?}");
    }
    app.get_as(none, "").await.assert_problem(401, "api-key-missing");
    app.get_as(none, "vk_wrong").await.assert_problem(401, "api-key-invalid");
}

#[tokio::test]
async fn the_log_of_refusals_holds_codes_and_nothing_of_the_request() {
    let setting = Setting::new(Options::default()).await;
    let process = setting.serve().await;
    let now = now();
    let marked = r#"{"biz_type":"MARK-TYPE","biz_id":"MARK\nID","reference":"MARK-REFERENCE"}"#;
    let posts = [
        Callback::signed(marked, now),
        Callback::signed(marked, now).with("webhook-signature", "v1,MARK"),
        Callback::signed_as("MARK-ID", "MARK{", now.unix_timestamp(), SECRET),
        Callback { source: "MARK-SOURCE".to_owned(), ..callback("x", now) },
    ];
    for message in posts {
        assert!(process.post(&setting.client, message).await.unwrap() >= 400);
    }
    setting.get(process.http, "/MARK-PATH?MARK=1").await.assert_problem(404, "not-found");
    let request = setting.client.get(format!("http://{}/v1/verifications", process.http));
    request.bearer_auth("MARK-KEY").send().await.unwrap();
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    assert!(!log.contains("MARK"), "{log}");
    for code in ["invalid-field", "signature-invalid", "malformed-json", "not-found"] {
        assert!(log.contains(&format!("\"code\":\"{code}\"")), "{code} is not in the log");
    }
}
