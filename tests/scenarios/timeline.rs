//! Timelines: everything that happened to a verification, with the numbers of its events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Options, Receiver, ReceiverReply, TestApp, callback, eventually, make_key};
use verdict::domain::ids::{Ids, VerificationId};
use verdict::http::api_key_auth::Scope;

impl TestApp {
    async fn timeline(&self, id: &str) -> Vec<Value> {
        let timeline = self.get(&format!("/v1/verifications/{id}/timeline")).await;
        assert_eq!(timeline.status, 200, "{timeline:?}");
        timeline.json["items"].as_array().unwrap().clone()
    }

    /// Waits until the events of a verification are numbered; its timeline then.
    pub async fn numbered(&self, id: &str) -> Vec<Value> {
        eventually("the events are numbered", || async {
            let items = self.timeline(id).await;
            let waits = |item: &Value| REPORTED.contains(&name(item)) && item["sequence"].is_null();
            (!items.iter().any(waits)).then_some(items)
        })
        .await
    }
}

/// Entries of a timeline that are events of the log.
const REPORTED: [&str; 4] = ["decided", "failed", "expired", "erased"];

fn name(item: &Value) -> &str {
    item["event"].as_str().unwrap()
}

#[tokio::test]
async fn timeline_lists_everything_with_causes_first() {
    let app = TestApp::start().await;
    let id = app.accepted("throttled-1-then-status-7").await;
    app.settled(&id).await;
    app.post(callback("throttled-1-then-status-7", app.clock.now())).await;
    app.settled(&id).await;
    let path = format!("/v1/verifications/{id}/refetch");
    let refetch = app.client.post(app.at(&path)).header("verdict-purpose", "they called");
    assert_eq!(app.send(refetch).await.status, 202);
    app.settled(&id).await;

    // As if those who took the callbacks had clocks that are ahead.
    let pool = app.database.pool().await;
    let ahead = "update callbacks set received_at = received_at + interval '3 minutes'";
    sqlx::raw_sql(ahead).execute(&pool).await.unwrap();
    let timeline = app.get(&format!("/v1/verifications/{id}/timeline")).await;
    let items = timeline.json["items"].as_array().unwrap();
    let named: Vec<&str> = items.iter().map(|item| item["event"].as_str().unwrap()).collect();
    let count = |name: &str| named.iter().filter(|event| **event == name).count();
    assert_eq!(
        (
            count("callback-accepted"),
            count("provider-answered"),
            count("decided"),
            count("recorded")
        ),
        (2, 4, 3, 1),
        "{named:?}"
    );
    let mut answers = BTreeSet::new();
    let mut attempts = Vec::new();
    for item in items {
        match item["event"].as_str().unwrap() {
            "provider-answered" => {
                answers.insert(item["result_id"].as_str().unwrap());
                attempts.push(item["attempt"].as_i64().unwrap());
            }
            "decided" => assert!(answers.contains(item["result_id"].as_str().unwrap())),
            "recorded" => assert_eq!(item["action"], "verification.refetch"),
            _ => {}
        }
    }
    assert_eq!(attempts, [1, 2, 3, 4]);
    let first = named.iter().find(|event| **event != "recorded").unwrap();
    assert_eq!(*first, "callback-accepted", "{named:?}");
    let answer = items.iter().find(|item| item["attempt"] == 1).unwrap();
    assert_eq!(answer["error"]["class"], "throttled");
    assert!(!timeline.text.contains("they called"), "a purpose is the auditor's");

    let unknown: VerificationId = Ids::random().next(app.clock.now());
    app.get(&format!("/v1/verifications/{unknown}/timeline"))
        .await
        .assert_problem(404, "not-found");
    let decisions = make_key(&app.store, &[Scope::DecisionsRead]).await;
    let reply = app.get_as(&format!("/v1/verifications/{id}/timeline"), &decisions).await;
    reply.assert_problem(403, "scope-missing");
}

#[tokio::test]
async fn timeline_has_the_numbers_of_events() {
    let app = TestApp::start().await;
    for (biz_id, ends) in [
        ("invalidbiz-1-then-pass-a", vec!["failed", "decided", "erased"]),
        ("expired-b", vec!["expired", "erased"]),
    ] {
        let id = app.verified(biz_id).await["id"].as_str().unwrap().to_owned();
        if ends.contains(&"decided") {
            let refetch = app.at(&format!("/v1/verifications/{id}/refetch"));
            let refetch = app.client.post(refetch).header("verdict-purpose", "records are back");
            assert_eq!(app.send(refetch).await.status, 202);
            app.settled(&id).await;
        }
        let erase = app.client.delete(app.at(&format!("/v1/verifications/{id}/material")));
        let erased = app.send(erase.header("verdict-purpose", "a request")).await;
        assert_eq!(erased.status, 202, "{erased:?}");
        let items = app.numbered(&id).await;
        let reported: Vec<&Value> =
            items.iter().filter(|item| REPORTED.contains(&name(item))).collect();
        assert_eq!(reported.iter().map(|item| name(item)).collect::<Vec<_>>(), ends, "{items:?}");
        let feed = app.get("/v1/events").await;
        let events = feed.json["items"].as_array().unwrap().iter();
        let events = events.filter(|event| event["data"]["verification_id"] == *id);
        let numbers = |of: &Value, data: &Value| {
            (
                name_of_state(of).to_owned(),
                of["sequence"].clone(),
                data["verification_sequence"].clone(),
            )
        };
        let told: Vec<_> = events.map(|event| numbers(event, &event["data"])).collect();
        let listed: Vec<_> = reported.iter().map(|item| numbers(item, item)).collect();
        assert_eq!(listed, told, "{items:?}");
    }
}

/// The last word of the type of an event, or the name of an entry.
fn name_of_state(of: &Value) -> &str {
    let kind = of["type"].as_str().or_else(|| of["event"].as_str()).unwrap();
    kind.rsplit('.').next().unwrap()
}

#[tokio::test]
async fn number_that_is_not_given_yet_is_null() {
    let app = TestApp::start().await;
    let pool = app.database.pool().await;
    // Events are not numbered while this transaction has the only row of the log locked.
    let mut held = pool.begin().await.unwrap();
    sqlx::query("select from event_log for update").execute(&mut *held).await.unwrap();
    let id = app.accepted("status-7").await;
    app.settled(&id).await;
    let path = format!("/v1/verifications/{id}/timeline");
    let before = app.get(&path).await;
    let items = app.timeline(&id).await;
    let decided = items.iter().find(|item| name(item) == "decided").unwrap();
    assert!(decided["sequence"].is_null() && decided["verification_sequence"].is_null());
    assert!(decided.as_object().unwrap().contains_key("sequence"), "{decided}");
    held.rollback().await.unwrap();

    let items = app.numbered(&id).await;
    let decided = items.iter().find(|item| name(item) == "decided").unwrap();
    assert_eq!(decided["verification_sequence"], 1);
    let known = app.client.get(app.at(&path)).header("if-none-match", &before.headers["etag"]);
    assert_eq!(app.send(known).await.status, 200, "the number changes the entity tag");
}

#[tokio::test]
async fn timeline_lists_deliveries_of_its_events() {
    let more = "[webhooks]\nallow_private = [\"127.0.0.1\"]".to_owned();
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::Status(204));
    let endpoint = json!({ "url": receiver.url(), "types": ["verification.decided"] });
    let add = app.client.post(app.at("/v1/webhook-endpoints"));
    let add = add.header("verdict-purpose", "test").header("content-type", "application/json");
    let added = app.send(add.body(endpoint.to_string())).await;
    assert_eq!(added.status, 201, "{added:?}");
    let ids = ["status-7-a", "status-7-b"].map(|biz_id| app.accepted(biz_id));
    for id in ids {
        let id = id.await;
        app.settled(&id).await;
        let items = eventually("the delivery is in the timeline", || async {
            let items = app.timeline(&id).await;
            items.iter().any(|item| name(item) == "delivered").then_some(items)
        })
        .await;
        let named: Vec<&str> = items.iter().map(name).collect();
        assert_eq!(named, ["callback-accepted", "provider-answered", "decided", "delivered"]);
        let [.., decided, delivered] = &items[..] else { panic!("{items:?}") };
        assert_eq!(delivered["sequence"], decided["sequence"]);
        assert_eq!(delivered["endpoint_id"], added.json["id"]);
        assert_eq!((&delivered["attempt"], &delivered["status"]), (&json!(1), &json!(204)));
        assert!(delivered["error"].is_null() && delivered["latency_ms"].is_u64(), "{delivered}");
    }
}
