//! Reviews: a review becomes the current decision, is explained, and no callback undoes it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Options, Reply, TestApp, callback, make_key, make_key_of};
use verdict::http::api_key_auth::Scope;

struct Reviewer<'a> {
    app: &'a TestApp,
    key: String,
}

impl<'a> Reviewer<'a> {
    async fn new(app: &'a TestApp) -> Self {
        Self { app, key: make_key(&app.store, &[Scope::ReviewsWrite]).await }
    }

    async fn person(app: &'a TestApp, name: &str) -> Self {
        Self { app, key: make_key_of(&app.store, name, &[Scope::ReviewsWrite]).await }
    }

    async fn says_to(&self, id: &str, body: &Value, tag: Option<&str>) -> Reply {
        let url = format!("http://{}/v1/verifications/{id}/reviews", self.app.http);
        let mut request = self.app.client.post(url).bearer_auth(&self.key);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        let request = request.header("content-type", "application/json").body(body.to_string());
        Reply::read(request.send().await.unwrap()).await
    }

    async fn says(&self, id: &str, outcome: &str, reason: &str) -> Reply {
        self.says_to(id, &json!({ "outcome": outcome, "reason": reason }), None).await
    }

    async fn reads(&self, id: &str) -> Reply {
        let url = format!("http://{}/v1/verifications/{id}/reviews", self.app.http);
        let request = self.app.client.get(url).bearer_auth(&self.key);
        let request = request.header("verdict-purpose", "second look");
        Reply::read(request.send().await.unwrap()).await
    }
}

fn four_eyes(which: &str) -> Options {
    Options { more: format!("[reviews]\nfour_eyes = \"{which}\""), ..Options::default() }
}

#[tokio::test]
async fn review_becomes_the_current_decision_with_its_reason() {
    let app = TestApp::start().await;
    let reviewer = Reviewer::new(&app).await;
    let verification = app.verified("pass-88").await;
    let id = verification["id"].as_str().unwrap();
    assert_eq!(verification["decision"]["outcome"], "review");
    let note =
        json!({ "outcome": "reject", "reason": "forged-card", "note": "Zhang's card: 换过照片" });
    let reply = reviewer.says_to(id, &note, None).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.json["about"], verification["decision"]["id"]);
    assert_eq!(reply.json["verification"]["decision"]["outcome"], "reject");

    let history = app.decisions(id).await;
    assert_eq!(history.len(), 2);
    let (first, second) = (&history[0], &history[1]);
    assert_eq!(
        (second["by"].as_str(), second["outcome"].as_str()),
        (Some("person"), Some("reject"))
    );
    assert_eq!(second["reasons"], json!(["forged-card"]));
    assert_eq!((&second["policy"], &second["result_id"]), (&first["policy"], &first["result_id"]));
    let listed = app.get("/v1/verifications?outcome=reject").await;
    assert_eq!(listed.json["items"][0]["id"], id);
    assert!(app.get("/v1/verifications?outcome=review").await.json["items"][0].is_null());

    // The note is sealed, shown to reviewers, and that it was read is on record.
    let dump = crate::harness::dump(&app.database.url);
    assert!(dump.contains("forged-card") && !dump.contains("换过照片"));
    let read = reviewer.reads(id).await;
    assert_eq!(read.json["items"][0]["note"], note["note"], "{read:?}");
    assert_eq!(read.json["items"][0]["decision_id"], second["id"]);
    let timeline = app.get(&format!("/v1/verifications/{id}/timeline")).await;
    assert!(timeline.text.contains("\"action\":\"review.read\""));
    assert!(!timeline.text.contains("换过照片"));

    let erase = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let erase = erase.bearer_auth(&app.api_key).header("verdict-purpose", "request 1");
    assert_eq!(erase.send().await.unwrap().status(), 202);
    assert!(reviewer.reads(id).await.json["items"][0]["note"].is_null());
    reviewer.says(id, "approve", "x").await.assert_problem(410, "erased");
}

#[tokio::test]
async fn later_callback_does_not_undo_a_review() {
    let app = TestApp::start().await;
    let reviewer = Reviewer::new(&app).await;
    for (outcome, biz_id) in [("approve", "status-7-a"), ("reject", "status-9-then-pass-b")] {
        let id = app.accepted(biz_id).await;
        app.settled(&id).await;
        assert_eq!(reviewer.says(&id, outcome, "seen-in-person").await.status, 201);
        let before = app.provider.queries(biz_id);
        app.clock.advance(Duration::from_secs(1));
        let reply = app.post(callback(biz_id, app.clock.now())).await;
        assert_eq!((reply.status, reply.json["state"].as_str()), (202, Some("decided")));
        let now = app.get(&format!("/v1/verifications/{id}")).await;
        assert_eq!(now.json["decision"]["outcome"], outcome);
        assert_eq!(app.provider.queries(biz_id), before, "nobody asked again");
        // A reviewer with a purpose may refetch.
        let refetch = app.client.post(format!("http://{}/v1/verifications/{id}/refetch", app.http));
        let refetch = refetch.bearer_auth(&app.api_key).header("verdict-purpose", "appeal 4711");
        assert_eq!(refetch.send().await.unwrap().status(), 202);
        assert_eq!(app.settled(&id).await["decision"]["by"], "policy");
    }
    // A `retry` closes nothing: another try counts.
    let id = app.accepted("status-6-then-pass").await;
    app.settled(&id).await;
    assert_eq!(reviewer.says(&id, "retry", "blurred").await.status, 201);
    app.clock.advance(Duration::from_secs(1));
    app.post(callback("status-6-then-pass", app.clock.now())).await;
    assert_eq!(app.settled(&id).await["decision"]["outcome"], "approve");
}

#[tokio::test]
async fn answer_under_way_does_not_override_a_review() {
    let app = TestApp::start().await;
    let reviewer = Reviewer::new(&app).await;
    let id = app.accepted("status-7-then-slow-1500-pass").await;
    let decided = app.settled(&id).await;
    app.clock.advance(Duration::from_secs(1));
    app.post(callback("status-7-then-slow-1500-pass", app.clock.now())).await;
    crate::harness::eventually("a worker calls the provider", || async {
        let held: Option<uuid::Uuid> = sqlx::query_scalar("select lease_token from verifications")
            .fetch_one(&app.database.pool().await)
            .await
            .unwrap();
        held
    })
    .await;
    let reply = reviewer.says(&id, "reject", "known-fraud").await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.json["about"], decided["decision"]["id"]);
    // One that takes longer: when it is decided, the other's answer has come.
    app.verified("slow-2500-pass-97").await;
    assert_eq!(app.provider.queries("status-7-then-slow-1500-pass"), 2);
    assert_eq!(
        app.get(&format!("/v1/verifications/{id}")).await.json["decision"]["outcome"],
        "reject"
    );
    assert_eq!(app.decisions(&id).await.len(), 2);
}

#[tokio::test]
async fn review_of_an_outdated_decision_is_refused() {
    let app = TestApp::start().await;
    let reviewer = Reviewer::new(&app).await;
    let id = app.accepted("status-7-then-pass").await;
    app.settled(&id).await;
    let seen = app.get(&format!("/v1/verifications/{id}")).await;
    let tag = seen.headers["etag"].to_str().unwrap().to_owned();
    app.clock.advance(Duration::from_secs(1));
    app.post(callback("status-7-then-pass", app.clock.now())).await;
    assert_eq!(app.settled(&id).await["decision"]["outcome"], "approve");
    let verdict = json!({ "outcome": "reject", "reason": "face-differs" });
    reviewer.says_to(&id, &verdict, Some(&tag)).await.assert_problem(412, "decision-changed");
    assert_eq!(app.decisions(&id).await.len(), 2);
    let seen = app.get(&format!("/v1/verifications/{id}")).await;
    let tag = seen.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(reviewer.says_to(&id, &verdict, Some(&tag)).await.status, 201);
}

#[tokio::test]
async fn invalid_review_is_refused() {
    let app = TestApp::start().await;
    let reviewer = Reviewer::new(&app).await;
    let verification = app.verified("pass-88").await;
    let id = verification["id"].as_str().unwrap();
    for (body, pointer) in [
        (json!({}), "/outcome"),
        (json!({ "outcome": "review", "reason": "x" }), "/outcome"),
        (json!({ "outcome": "approve" }), "/reason"),
        (json!({ "outcome": "approve", "reason": "Not A Code" }), "/reason"),
        (json!({ "outcome": "approve", "reason": "x", "note": 7 }), "/note"),
        (json!({ "outcome": "approve", "reason": "x", "why": "" }), ""),
    ] {
        let reply = reviewer.says_to(id, &body, None).await;
        reply.assert_problem(422, "invalid-field");
        assert_eq!(reply.json["errors"][0]["pointer"], pointer, "{body}");
    }
    let failed = app.verified("invalidbiz").await;
    let failed = failed["id"].as_str().unwrap();
    reviewer.says(failed, "approve", "x").await.assert_problem(409, "nothing-to-review");
    let reader = Reviewer { app: &app, key: make_key(&app.store, &[Scope::DecisionsRead]).await };
    reader.says(id, "approve", "x").await.assert_problem(403, "scope-missing");
    assert_eq!(app.decisions(id).await.len(), 1);
}

#[tokio::test]
async fn an_approval_may_need_four_eyes() {
    let app = TestApp::start_with(four_eyes("approvals")).await;
    let (anna, bo) = (Reviewer::person(&app, "anna").await, Reviewer::person(&app, "bo").await);
    let verification = app.verified("pass-88").await;
    let id = verification["id"].as_str().unwrap();
    // Not enough: Anna alone, however often; Bo with another outcome or about another decision.
    for _ in 0..2 {
        let reply = anna.says(id, "approve", "seen").await;
        assert_eq!(
            (reply.status, reply.json["decided"].as_bool()),
            (202, Some(false)),
            "{reply:?}"
        );
    }
    assert_eq!(app.decisions(id).await.len(), 1);
    assert_eq!(bo.says(id, "retry", "blurred").await.status, 201, "only approvals need two");
    assert_eq!(bo.says(id, "approve", "seen").await.status, 202, "another decision stands by now");
    let reply = anna.says(id, "approve", "seen-too").await;
    assert_eq!((reply.status, reply.json["decided"].as_bool()), (201, Some(true)));
    assert_eq!(reply.json["verification"]["decision"]["outcome"], "approve");
    let read = bo.reads(id).await;
    assert_eq!(read.json["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn two_simultaneous_agreeing_reviews_decide_once() {
    let app = TestApp::start_with(four_eyes("all")).await;
    let reviewers = [Reviewer::person(&app, "anna").await, Reviewer::person(&app, "bo").await];
    for n in 0..20 {
        let verification = app.verified(&format!("pass-88-{n}")).await;
        let id = verification["id"].as_str().unwrap();
        let (a, b) = tokio::join!(
            reviewers[0].says(id, "reject", "a"),
            reviewers[1].says(id, "reject", "b")
        );
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        // One may also find that the other has just decided with both reviews.
        assert!([[201, 202], [201, 412]].contains(&statuses), "{a:?} {b:?}");
        let decisions = app.decisions(id).await;
        assert_eq!(decisions.len(), 2, "{decisions:?}");
        assert_eq!(decisions[1]["outcome"], "reject");
    }
}
