//! Commands for people at a terminal: reviewers see and decide cases, and every list is a table with
//! headers or JSON.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;

use crate::cases::Person;
use crate::harness::{Options, Reply, Setting, TestApp, make_key, make_key_of, run_verdict};

const REVIEWER: &[Scope] = &[Scope::DecisionsRead, Scope::ReviewsWrite];

/// A reviewer with an API key.
struct Reviewer {
    url: String,
    key: String,
}

impl Reviewer {
    async fn of(app: &TestApp, person: &str) -> Self {
        let url = format!("http://{}", app.http);
        Self { url, key: make_key_of(&app.store, person, REVIEWER).await }
    }

    /// Exit code, stdout, stderr.
    async fn review(&self, words: &[&str]) -> (i32, String, String) {
        let variables = [("VERDICT_URL", self.url.as_str()), ("VERDICT_API_KEY", &self.key)];
        run_verdict(&[&["review"], words].concat(), &variables).await
    }

    async fn cases(&self, words: &[&str]) -> Value {
        let (code, said, error) = self.review(&[&["list", "--json"], words].concat()).await;
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&said).unwrap()
    }
}

#[tokio::test]
async fn reviewers_list_open_cases_oldest_first() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for biz_id in ["pass-88-first", "pass-88-second", "pass-88-third"] {
        ids.push(app.verified(biz_id).await["id"].clone());
        app.clock.advance(Duration::from_secs(1));
    }
    // Decided otherwise: no case.
    app.verified("pass-97").await;
    Person::new(&app, "carla").await.claims().await;

    let anna = Reviewer::of(&app, "anna").await;
    let over_http = anna.cases(&[]).await;
    let environment = [("DATABASE_URL", app.database.url.as_str())];
    let list = ["review", "list", "--json"];
    let (code, said, error) = run_verdict(&list, &environment).await;
    assert_eq!(code, 0, "{error}");
    let on_database: Value = serde_json::from_str(&said).unwrap();
    let of = |listed: &Value, name: &str| -> Vec<Value> {
        listed["items"].as_array().unwrap().iter().map(|case| case[name].clone()).collect()
    };
    assert_eq!(of(&over_http, "verification_id"), ids);
    for name in ["verification_id", "decision_id", "biz_type", "biz_id", "reference", "opened_at"] {
        assert_eq!(of(&over_http, name), of(&on_database, name), "{name}");
    }
    // Members that the API lacks are absent, not empty.
    assert!(over_http["items"][0].get("holder").is_none(), "{over_http}");
    let names: Vec<Value> =
        of(&on_database, "holder").iter().map(|holder| holder["name"].clone()).collect();
    assert_eq!(names, [json!("carla"), Value::Null, Value::Null]);
    let ages = of(&on_database, "age");
    assert!(ages.iter().all(|age| ["on-time", "soon", "late"].contains(&age.as_str().unwrap())));
    assert!(of(&on_database, "due_at").iter().all(Value::is_string), "{on_database}");
    let limited = anna.cases(&["--limit", "2"]).await;
    assert_eq!(
        (of(&limited, "verification_id"), &limited["more"]),
        (ids[..2].to_vec(), &json!(true))
    );
    assert_eq!(anna.cases(&["--biz-type", "other"]).await, json!({ "items": [], "more": false }));

    // For people.
    let (_, said, error) = run_verdict(&["review", "list"], &environment).await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("VERIFICATION ") && lines[0].ends_with("REMARKS"),
        "{said}{error}"
    );
    assert!(lines[1].contains("carla, since ") && lines[2].contains("nobody"), "{said}");
    let (code, said, error) = anna.review(&["list"]).await;
    assert!(code == 0 && said.lines().count() == 4, "{said}");
    assert!(!said.contains("carla") && error.contains("--config"), "{error}");
}

#[tokio::test]
async fn reviewers_decide_a_case_with_four_eyes() {
    let more = "[reviews]\nfour_eyes = \"approvals\"".to_owned();
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let verification = app.verified("pass-88").await;
    let id = verification["id"].as_str().unwrap();
    let path = format!("/v1/verifications/{id}");
    let outcome = async || app.get(&path).await.json["decision"]["outcome"].clone();
    let approve = ["decide", "test/pass-88", "approve", "--reason", "faces-match"];

    // A key without a person, a wrong word, and no key at all.
    let program =
        Reviewer { url: format!("http://{}", app.http), key: make_key(&app.store, REVIEWER).await };
    let (code, said, error) = program.review(&approve).await;
    assert!(code == 1 && said.is_empty() && error.contains("person-missing"), "{error}");
    for wrong in [
        ["decide", id, "review", "--reason", "faces-match"],
        ["decide", id, "approve", "--reason", "Faces match"],
    ] {
        assert_eq!(program.review(&wrong).await.0, 2, "{wrong:?}");
    }
    let words = [&["review"], &approve[..]].concat();
    let environment = [("DATABASE_URL", app.database.url.as_str())];
    let (code, _, error) = run_verdict(&words, &environment).await;
    assert!(code == 2 && error.contains("VERDICT_API_KEY"), "{error}");
    assert_eq!(outcome().await, "review");

    // One person counts once, however often; another person decides.
    let (anna, ben) = (Reviewer::of(&app, "anna").await, Reviewer::of(&app, "ben").await);
    for _ in 0..2 {
        let (code, said, error) = anna.review(&approve).await;
        assert!(code == 0 && said.contains("a second person"), "{said}{error}");
        assert_eq!(outcome().await, "review");
    }
    let (code, said, error) = ben.review(&approve).await;
    assert_eq!((code, said), (0, format!("{id} is decided: approve, faces-match\n")), "{error}");
    assert_eq!(outcome().await, "approve");

    // A decided verification is reviewed again only on request.
    let reject = ["decide", id, "reject", "--reason", "forged-card", "--note", "换过照片"];
    let (code, _, error) = anna.review(&reject).await;
    assert!(code == 1 && error.contains("--overrule"), "{error}");
    let overrule = ["--overrule", "--purpose", "complaint 7", "--json"];
    let (code, said, error) = anna.review(&[&reject[..], &overrule].concat()).await;
    assert_eq!(code, 0, "{error}");
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&answer["decided"], outcome().await), (&json!(true), json!("reject")));
    let reviews = app.client.get(format!("http://{}{path}/reviews", app.http));
    let reviews = reviews.bearer_auth(&anna.key).header("verdict-purpose", "a test");
    let reviews = Reply::read(reviews.send().await.unwrap()).await.json;
    // They come in the order of their ids, and the clock stands still.
    let mut reviews = reviews["items"].as_array().unwrap().iter();
    let last = reviews.find(|review| review["outcome"] == "reject").unwrap();
    assert_eq!((&last["note"], &last["person"]), (&json!("换过照片"), &json!("anna")));
}

/// A service in which the verification changes after it was read.
async fn changing_service() -> String {
    let verification =
        json!({ "id": "one", "state": "decided", "decision": { "outcome": "review" } });
    let found = json!({ "items": [verification] });
    let router = Router::new()
        .route("/v1/search", get(move || async move { Json(found) }))
        .route(
            "/v1/verifications/one",
            get(move || async move { ([("etag", "\"as-read\"")], Json(verification)) }),
        )
        .route(
            "/v1/verifications/one/reviews",
            post(|headers: HeaderMap| async move {
                let is_tagged = headers.get("if-match").is_some_and(|tag| tag == "\"as-read\"");
                let code = if is_tagged { "decision-changed" } else { "internal" };
                (StatusCode::PRECONDITION_FAILED, Json(json!({ "code": code, "title": "Refused" })))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn review_of_what_has_changed_meanwhile_is_refused() {
    let reviewer = Reviewer { url: changing_service().await, key: "vk_any".to_owned() };
    let approve = ["decide", "one", "approve", "--reason", "faces-match"];
    let (code, said, error) = reviewer.review(&approve).await;
    assert!(code == 1 && said.is_empty(), "{said}");
    assert!(error.contains("verdict explain decision-changed"), "{error}");
}

/// Lists that have rows after `setting`, and the first header of each.
const LISTS: [(&[&str], &str); 7] = [
    (&["keys", "list"], "ID"),
    (&["users", "list"], "ID"),
    (&["webhooks", "list"], "ID"),
    (&["policy", "list"], "DIGEST"),
    (&["policy", "history"], "WHEN"),
    (&["audit", "list"], "ROW"),
    (&["explain"], "KIND"),
];
/// Commands that print no list, or that have nothing to list here.
const OTHERS: [&[&str]; 7] = [
    &["golden", "list"],
    &["hold", "list"],
    &["vault", "status"],
    &["review", "list"],
    &["migrate"],
    &["audit", "verify"],
    &["refetch", "--state", "failed"],
];

#[tokio::test]
async fn every_list_is_a_table_with_headers_or_json() {
    let setting = Setting::new(Options::default()).await;
    let address = "https://example.com/events";
    let (code, _, error) = setting.run(&["webhooks", "add", "--url", address], "").await;
    assert_eq!(code, 0, "{error}");
    Person::of(&setting.database.store(), &Clock::system(), "anna").await;
    let process = setting.serve().await;
    for (words, header) in LISTS {
        let (code, said, error) = setting.run(words, "").await;
        assert_eq!(code, 0, "{words:?}: {error}");
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines.len() > 1 && lines[0].starts_with(&format!("{header} ")),
            "{words:?}: {said}"
        );
    }
    for words in LISTS.map(|(words, _)| words).iter().chain(&OTHERS) {
        let (code, said, error) = setting.run(&[*words, &["--json"]].concat(), "").await;
        assert_eq!(code, 0, "{words:?}: {error}");
        // An audit has one object a line, and so have holds.
        let mut stream = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        assert!(stream.all(|value| value.is_ok()), "{words:?}: {said}");
        // Colour and progress are for terminals.
        assert!(!format!("{said}{error}").contains(['\r', '\u{1b}']), "{words:?}: {said}{error}");
    }
    // Digests are short for people and whole for programs; both name the policy.
    let (_, table, _) = setting.run(&["policy", "list"], "").await;
    let short = table.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(short.len(), "sha256:".len() + 8, "{table}");
    let (_, listed, _) = setting.run(&["policy", "list", "--json"], "").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert!(listed[0]["digest"].as_str().unwrap().starts_with(short), "{listed}");
    assert_eq!(setting.run(&["policy", "show", short], "").await.0, 0);
    process.kill().await;
}
