//! Accepting callbacks: durable, idempotent, with the same answer for each repetition.

use std::collections::HashSet;

use sqlx::Row;

use crate::harness::{Callback, TestApp, callback};
use verdict::app::Role;

use crate::harness::Options;

/// Accepts only: nothing moves on by itself.
async fn accepting_only() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let statement = format!("select count(*) as n from {table}");
    let pool = app.database.pool().await;
    sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_one(&pool).await.unwrap().get("n")
}

#[tokio::test]
async fn accepted_callback_returns_its_verification_and_location() {
    let app = accepting_only().await;
    let body = r#"{ "biz_type": "test", "biz_id": "pass-1", "reference": "user-8812",
        "client": { "audit": "AUDIT_PASS", "code": "1", "message": "", "platform": "android" } }"#;
    let reply = app.post(Callback::signed(body, app.clock.now())).await;

    assert_eq!(reply.status, 202);
    assert_eq!(reply.headers["location"], format!("/v1/verifications/{}", reply.id()));
    assert_eq!(reply.json["state"], "pending");
    assert_eq!(reply.json["reference"], "user-8812");
    assert_eq!(reply.json["created_at"], "2026-11-23T09:30:00Z");
    assert_eq!(reply.json["attempts"], 0);
    assert!(reply.json["decision"].is_null());
    assert_eq!(app.get(&format!("/v1/verifications/{}", reply.id())).await.json, reply.json);
}

#[tokio::test]
async fn repeated_callback_gets_its_first_answer() {
    let app = TestApp::start().await;
    let message = callback("pass-1", app.clock.now());
    let first = app.post(message.clone()).await;
    app.settled(&first.id()).await;

    let again = app.post(message).await;
    assert_eq!((again.status, &again.text), (202, &first.text));
    assert_eq!(count(&app, "callbacks").await, 1);
    assert_eq!(app.provider.queries("pass-1"), 1);
}

#[tokio::test]
async fn same_id_with_other_bytes_is_refused_and_changes_nothing() {
    let app = accepting_only().await;
    let now = app.clock.now();
    let message = callback("pass-1", now);
    let first = app.post(message.clone()).await;
    let id = &message.headers[1].1;
    let body = r#"{"biz_type":"test","biz_id":"pass-2"}"#;
    let other = Callback::signed_as(id, body, now.unix_timestamp(), crate::harness::SECRET);

    app.post(other).await.assert_problem(409, "idempotency-mismatch");
    assert_eq!(count(&app, "verifications").await, 1);
    assert_eq!(app.post(message).await.text, first.text);
}

#[tokio::test]
async fn callback_sent_many_times_at_once_is_stored_once() {
    let app = accepting_only().await;
    let message = callback("pass-1", app.clock.now());
    let replies = futures(&app, (0..50).map(|_| message.clone()).collect()).await;
    let texts: HashSet<String> = replies.iter().map(|reply| reply.text.clone()).collect();
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(count(&app, "callbacks").await, 1);
    let pool = app.database.pool().await;
    let hints: i32 =
        sqlx::query_scalar("select callbacks from verifications").fetch_one(&pool).await.unwrap();
    assert_eq!(hints, 1);
}

#[tokio::test]
async fn many_callbacks_on_two_replicas_are_all_stored() {
    let app = accepting_only().await;
    let other = app
        .another(
            Options { role: Role::Api, ..Options::default() },
            "127.0.0.1:9".parse().expect("an address"),
        )
        .await;
    let messages: Vec<Callback> =
        (0..200).map(|n| callback(&format!("pass-{}", n % 5), app.clock.now())).collect();
    // Both replicas get every message, in opposite order.
    let mut reversed = messages.clone();
    reversed.reverse();
    let (here, there) = tokio::join!(futures(&app, messages), futures(&other, reversed));
    assert!(here.iter().chain(&there).all(|reply| reply.status == 202));
    for (a, b) in here.iter().zip(there.iter().rev()) {
        assert_eq!(a.id(), b.id());
    }
    assert_eq!((count(&app, "callbacks").await, count(&app, "verifications").await), (200, 5));
    let pool = app.database.pool().await;
    let hints: i64 = sqlx::query_scalar("select sum(callbacks) from verifications")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(hints, 200);
}

#[tokio::test]
async fn any_secret_and_any_signature_verifies() {
    let new = "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=";
    let old = "whsec_dGhlIG9sZCBzZWNyZXQgb2YgdGhlIHBhcnRuZXIncyBiYWNrZW5k";
    let more = format!("[sources.rotating]\nsecrets = [\"{old}\", \"{new}\"]");
    let app = TestApp::start_with(Options { role: Role::Api, more, ..Options::default() }).await;
    let now = app.clock.now().unix_timestamp();
    let body = r#"{"biz_type":"test","biz_id":"pass-1"}"#;

    let mut with_new = Callback::signed_as("msg_new", body, now, new);
    with_new.source = "rotating".to_owned();
    assert_eq!(app.post(with_new.clone()).await.status, 202);
    with_new.source = "app".to_owned();
    app.post(with_new.clone()).await.assert_problem(401, "signature-invalid");

    let with_old = Callback::signed_as("msg_new", body, now, old);
    let both = format!("v1a,xyz {} {}", with_new.headers[3].1, with_old.headers[3].1);
    with_new.source = "rotating".to_owned();
    assert_eq!(app.post(with_new.with("webhook-signature", &both)).await.status, 202);
}

#[tokio::test]
async fn phone_with_a_broken_clock_breaks_nothing() {
    let app = TestApp::start().await;
    for (n, at) in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"].iter().enumerate() {
        for again in 0..3 {
            let biz_id = format!("pass-97-u{n}{again}");
            let body =
                serde_json::json!({ "biz_type": "test", "biz_id": biz_id, "occurred_at": at });
            let reply = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
            assert_eq!(reply.status, 202, "{reply:?}");
        }
    }
    assert_eq!(app.verified("pass-97").await["decision"]["outcome"], "approve");
}

#[tokio::test]
async fn source_above_its_rate_gets_429() {
    let chatty = "whsec_dGhlIHNlY3JldCBvZiBhIGNoYXR0eSBiYWNrZW5kLCAzMiBieXRlcw==";
    let more = format!("[sources.chatty]\nsecrets = [\"{chatty}\"]\nrequests_per_second = 3");
    let app = TestApp::start_with(Options { role: Role::Api, more, ..Options::default() }).await;
    let mut refused = 0;
    for n in 0..10 {
        let body = format!(r#"{{"biz_type":"test","biz_id":"pass-{n}"}}"#);
        let (id, now) = (format!("msg_chatty_{n}"), app.clock.now().unix_timestamp());
        let mut message = Callback::signed_as(&id, &body, now, chatty);
        message.source = "chatty".to_owned();
        let reply = app.post(message).await;
        if reply.status != 202 {
            reply.assert_problem(429, "rate-limited");
            assert!(reply.headers.contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused > 0);
    // The other source is not affected.
    assert_eq!(app.post(callback("pass-x", app.clock.now())).await.status, 202);
}

/// Posts all at once; answers in order.
async fn futures(app: &TestApp, messages: Vec<Callback>) -> Vec<crate::harness::Reply> {
    let mut tasks = Vec::new();
    for message in messages {
        let url = format!("http://{}/v1/callbacks/{}", app.http, message.source);
        let mut request = app.client.post(url).body(message.body);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        tasks.push(tokio::spawn(async move {
            crate::harness::Reply::read(request.send().await.expect("an answer")).await
        }));
    }
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.expect("posted"));
    }
    replies
}
