//! Damaged text, other encodings, any script: a text that decides nothing never costs a
//! verification.

use serde_json::{Value, json};

use crate::harness::{Callback, TestApp};

#[tokio::test]
async fn damaged_answer_is_decided_by_its_readable_part() {
    let app = TestApp::start().await;
    for (damage, outcome, noted) in [
        ("surrogate", "approve", "/Message"),
        ("control", "approve", "/Message"),
        ("byte", "approve", "/Message"),
        ("gbk", "approve", "/Message"),
        ("trailing", "approve", "trailing_text"),
    ] {
        let verification = app.verified(&format!("pass-97-damaged-{damage}")).await;
        assert_eq!(verification["decision"]["outcome"], outcome, "{damage}: {verification}");
        let results = app.results(verification["id"].as_str().unwrap()).await;
        assert_eq!(results.len(), 1, "{damage}");
        assert_eq!(results[0]["evidence"]["damaged_texts"], json!([noted]), "{damage}");
        assert_eq!(results[0]["evidence"]["malformed"], json!([]), "{damage}");
    }
}

#[tokio::test]
async fn answer_with_ambiguous_status_goes_to_review() {
    let app = TestApp::start().await;
    for (damage, noted) in [("second", "second_answer"), ("denied", "contradiction")] {
        let verification = app.verified(&format!("pass-97-damaged-{damage}")).await;
        assert_eq!(verification["decision"]["outcome"], "review", "{damage}: {verification}");
        let results = app.results(verification["id"].as_str().unwrap()).await;
        assert_eq!(results[0]["evidence"]["malformed"], json!([noted]), "{damage}");
    }
}

#[tokio::test]
async fn a_callback_with_damaged_hints_is_accepted_and_decided() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    for (n, member) in [
        &br#""client":{"message":"\ud83d"}"#[..],
        b"\"client\":{\"message\":\"\xb2\xe2\xca\xd4\"}",
        b"\"client\":{\"message\":\"two\nlines\",\"audit\":7}",
        b"\"client\":\"AUDIT_PASS\"",
        b"\"new\xff\":\"\x01\"",
        br#""occurred_at":"2026-11-26 12:00:00""#,
        br#""occurred_at":1795665601000,"client":{"message":{"a":[1]}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let start = format!(r#"{{"biz_type":"test","biz_id":"pass-9{n}","#);
        let body = [start.as_bytes(), member, b"}"].concat();
        let reply = app.post(Callback::signed(&body, now)).await;
        assert_eq!(reply.status, 202, "{}: {}", body.escape_ascii(), reply.text);
        assert_eq!(app.settled(&reply.id()).await["decision"]["outcome"], "approve");
    }
}

#[tokio::test]
async fn ids_in_any_script_are_stored_exactly() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    // The second and third look alike and are two ids: nothing is normalised.
    for id in
        [" a b ", "caf\u{e9}", "cafe\u{301}", "a/b\\c?d#e%2F+", "订单一😀", "\u{200b}\u{fffd}"]
    {
        let body = json!({ "biz_type": "test", "biz_id": id }).to_string();
        let reply = app.post(Callback::signed(&body, now)).await;
        assert_eq!((reply.status, &reply.json["biz_id"]), (202, &Value::from(id)), "{id:?}");
        app.settled(&reply.id()).await;
        assert_eq!(app.provider.queries(id), 1, "{id:?}");
        let query = url_encoded(id);
        let found = app.get(&format!("/v1/verifications?biz_type=test&biz_id={query}")).await;
        assert_eq!(found.json["items"].as_array().map(Vec::len), Some(1), "{found:?}");
        assert_eq!(found.json["items"][0]["id"], reply.json["id"], "{id:?}");
    }
}

fn url_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
