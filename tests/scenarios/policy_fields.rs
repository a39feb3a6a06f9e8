//! Evidence of a person's behaviour: callbacks, answers and earlier verifications, separate from
//! the calls that Verdict itself makes.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Callback, Options, SECRET, TestApp, callback, now};
use crate::policies::{DEFAULT, added, send};

const SHOP: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcCdzIG93biBiYWNrZW5k";
const BANK: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgYmFuaydzIG93biBiYWNrZW5k";
const DAY: Duration = Duration::from_hours(24);

/// `app` alone; `shop` and `bank` in one group.
fn three_sources() -> Options {
    let more = format!(
        "[sources.shop]\nsecrets = [\"{SHOP}\"]\ngroup = \"retail\"\n\
         [sources.bank]\nsecrets = [\"{BANK}\"]\ngroup = \"retail\"\n"
    );
    Options { more, ..Options::default() }
}

/// The evidence of the newest answer about a new verification that this source begins.
async fn begun(app: &TestApp, source: &str, biz_id: &str, reference: Option<&str>) -> Value {
    let secret = match source {
        "shop" => SHOP,
        "bank" => BANK,
        _ => SECRET,
    };
    let body = json!({ "biz_type": "test", "biz_id": biz_id, "reference": reference }).to_string();
    let id = format!("msg_{source}_{biz_id}");
    let callback = Callback::signed_as(&id, &body, app.clock.now().unix_timestamp(), secret);
    let reply = app.post(Callback { source: source.to_owned(), ..callback }).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    app.settled(&reply.id()).await;
    evidence(app, &reply.id()).await
}

async fn evidence(app: &TestApp, id: &str) -> Value {
    app.results(id).await.pop().expect("a result")["evidence"].take()
}

fn earlier(evidence: &Value) -> [Option<i64>; 2] {
    ["earlier_1d", "earlier_30d"].map(|name| evidence[name].as_i64())
}

async fn execute(app: &TestApp, statement: &str) {
    let pool = app.database.pool().await;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn faults_of_the_provider_count_as_calls_only() {
    let app = TestApp::start().await;
    let counts = |evidence: &Value| {
        ["attempts", "callbacks", "answers"].map(|name| evidence[name].as_i64().unwrap())
    };
    for (biz_id, expected) in [
        ("pass-97-a", [1, 1, 1]),
        ("throttled-2-then-pass-97", [3, 1, 1]),
        ("html-3-then-pass-97", [4, 1, 1]),
        ("cut-2-then-pass-97", [3, 1, 1]),
        ("unfinished-2-then-pass-97", [3, 1, 3]),
    ] {
        let verified = app.verified(biz_id).await;
        let evidence = evidence(&app, verified["id"].as_str().unwrap()).await;
        assert_eq!(counts(&evidence), expected, "{biz_id}");
        assert_eq!(earlier(&evidence), [None, None], "{biz_id} has no reference");
    }
    // A second try of the same person; a repeated message is no second callback.
    let biz_id = "status-7-x1-then-throttled-2-then-pass-97";
    app.verified(biz_id).await;
    let second = callback(biz_id, app.clock.now());
    let reply = app.post(second.clone()).await;
    app.post(second).await;
    app.settled(&reply.id()).await;
    assert_eq!(counts(&evidence(&app, &reply.id()).await), [4, 2, 2]);
}

#[tokio::test]
async fn rules_on_answers_ignore_outages_and_rules_on_calls_do_not() {
    let app = TestApp::start().await;
    let rule = |field: &str| {
        let rule = format!(
            "[[rule]]\nid = \"many\"\nreason = \"many\"\noutcome = \"review\"\n\
             text = {{ zh = \"多\", en = \"many\" }}\n\
             when = {{ field = \"{field}\", gt = 2, missing = false }}\n[[rule]]"
        );
        DEFAULT.replacen("[[rule]]\nid = \"passed\"", &(rule + "\nid = \"passed\""), 1)
    };
    for (field, outcome) in [("answers", "approve"), ("calls", "review"), ("attempts", "review")] {
        let digest = added(&app, &rule(field)).await;
        let activate = format!("/v1/policies/{digest}/activate");
        let body = json!({ "biz_type": field }).to_string();
        assert_eq!(send(&app, "POST", &activate, body).await.status, 204);
        crate::harness::eventually("the policy decides", || async {
            let n = now().unix_timestamp_nanos();
            let body = json!({ "biz_type": field, "biz_id": format!("html-2-then-pass-97-u{n}") });
            let id = app.post(Callback::signed(&body.to_string(), app.clock.now())).await.id();
            let decision = app.settled(&id).await["decision"].take();
            (decision["policy"] == digest.as_str()).then(|| {
                assert_eq!(decision["outcome"], outcome, "{field}: {decision}");
            })
        })
        .await;
    }
}

#[tokio::test]
async fn earlier_verifications_count_within_the_group_and_by_reference() {
    let app = TestApp::start_with(three_sources()).await;
    let who = Some("user-1");
    assert_eq!(earlier(&begun(&app, "shop", "pass-1", who).await), [Some(0), Some(0)]);
    app.clock.advance(DAY + Duration::from_mins(1));
    assert_eq!(earlier(&begun(&app, "shop", "pass-2", who).await), [Some(0), Some(1)]);
    app.clock.advance(Duration::from_mins(24 * 60 - 1));
    assert_eq!(earlier(&begun(&app, "bank", "pass-3", who).await), [Some(1), Some(2)]);
    // Another source, another reference, no reference.
    assert_eq!(earlier(&begun(&app, "app", "pass-4", who).await), [Some(0), Some(0)]);
    assert_eq!(earlier(&begun(&app, "shop", "pass-5", Some("user-2")).await), [Some(0), Some(0)]);
    assert_eq!(earlier(&begun(&app, "shop", "pass-6", None).await), [None, None]);
    app.clock.advance(28 * DAY + Duration::from_mins(1));
    let at_30_days = begun(&app, "shop", "status-7-x1-then-pass-7", who).await;
    assert_eq!(earlier(&at_30_days), [Some(0), Some(2)], "the first is older than 30 days");

    // A later answer about the same verification counts from when it began.
    app.clock.advance(DAY / 2);
    begun(&app, "shop", "pass-8", who).await;
    let body = json!({ "biz_type": "test", "biz_id": "status-7-x1-then-pass-7" }).to_string();
    let second = Callback::signed_as("again", &body, app.clock.now().unix_timestamp(), SHOP);
    let reply = app.post(Callback { source: "shop".to_owned(), ..second }).await;
    app.settled(&reply.id()).await;
    let again = evidence(&app, &reply.id()).await;
    assert_eq!((earlier(&again), &again["answers"]), ([Some(0), Some(2)], &json!(2)));
}

#[tokio::test]
async fn rows_of_a_version_without_sources_count_for_their_first_source() {
    let app = TestApp::start_with(three_sources()).await;
    let who = Some("user-1");
    begun(&app, "shop", "pass-1", who).await;
    begun(&app, "app", "pass-2", who).await;
    execute(&app, "update verifications set source = null").await;
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(earlier(&begun(&app, "bank", "pass-3", who).await), [Some(1), Some(1)]);
    assert_eq!(earlier(&begun(&app, "app", "pass-4", who).await), [Some(1), Some(1)]);
}

#[tokio::test]
async fn shared_reference_is_counted_up_to_a_bound() {
    let app = TestApp::start_with(three_sources()).await;
    // As many of another source, newer: they must not push ours out.
    execute(
        &app,
        "insert into verifications (id, biz_type, biz_id, reference, state, created_at, updated_at,
            callbacks, attempts, give_up_at, source)
         select (lpad(to_hex((1000 * extract(epoch from at))::int8), 12, '0')
                || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid, 'test', source || n, 'everybody', 'decided', at, at, 1, 1, at, source
         from generate_series(1, 3000) as n,
            (values ('shop', timestamptz '2026-11-23 05:00Z'), ('app', '2026-11-23 09:00Z'))
                as s (source, at);
         analyze verifications",
    )
    .await;
    let bank = begun(&app, "bank", "pass-1", Some("everybody")).await;
    assert_eq!(earlier(&bank), [Some(1000), Some(1000)]);
}

#[tokio::test]
async fn erasure_removes_counts_and_reference() {
    let app = TestApp::start_with(three_sources()).await;
    let who = Some("user-1");
    begun(&app, "shop", "pass-1", who).await;
    app.clock.advance(Duration::from_mins(1));
    begun(&app, "shop", "pass-2", who).await;
    let found = app.get("/v1/verifications?biz_type=test&biz_id=pass-2").await;
    let id = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    let url = format!("http://{}/v1/verifications/{id}/material", app.http);
    let request = app.client.delete(url).bearer_auth(&app.api_key);
    let erased = request.header("verdict-purpose", "test").send().await.unwrap();
    assert!(erased.status().is_success(), "{erased:?}");
    let kept: Vec<Value> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select evidence from results where verification_id = '{id}'"
    )))
    .fetch_all(&app.database.pool().await)
    .await
    .unwrap();
    assert_eq!(kept.len(), 1);
    for name in ["callbacks", "answers", "earlier_1d", "earlier_30d"] {
        assert!(kept[0].get(name).is_none(), "{name}: {}", kept[0]);
    }
    app.clock.advance(Duration::from_mins(1));
    let third = begun(&app, "shop", "pass-3", who).await;
    assert_eq!(earlier(&third), [Some(1), Some(1)], "the erased one is nobody's any more");
}
