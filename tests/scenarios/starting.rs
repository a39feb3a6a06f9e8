//! Starting a verification: the phone's token is returned, and no personal data is stored.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Options, Reply, TestApp, callback, configuration, dump, eventually, make_key, new_database,
    provider,
};
use verdict::app::{self, Role};
use verdict::config::{Config, Environment};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::http::api_key_auth::Scope;

impl TestApp {
    pub async fn start_verification(&self, body: &Value) -> Reply {
        let url = format!("http://{}/v1/verifications", self.http);
        let request = self.client.post(url).bearer_auth(&self.api_key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        Reply::read(request.send().await.unwrap()).await
    }

    /// Time passes for due times and leases.
    pub async fn minutes_later(&self, minutes: i32) {
        let later = format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return statement_timestamp() + interval '{minutes} minutes'"
        );
        let pool = self.database.pool().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(later)).execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn started_verification_is_found_by_its_callback() {
    for dialect in [["v2", "POST", "JSON"], ["v3", "GET", "XML"]] {
        let app = TestApp::start_with(Options::default().with_dialect(dialect)).await;
        let reply = app
            .start_verification(&json!({
                "biz_type": "test", "biz_id": "pass-97", "reference": "user-1",
                "name": "Marked Person", "id_card_number": "MARKED-NUMBER" }))
            .await;
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.json["token"].as_str().unwrap().len(), 32);
        assert_eq!(reply.json["token_expires_at"], "2026-11-23T10:00:00Z");
        assert_eq!(reply.headers["cache-control"], "no-store");
        let verification = &reply.json["verification"];
        assert_eq!(verification["state"], "unfinished");
        let id = verification["id"].as_str().unwrap();
        assert_eq!(reply.headers["location"], format!("/v1/verifications/{id}"));
        let dump = dump(&app.database.url);
        assert!(!dump.contains("Marked Person") && !dump.contains("MARKED-NUMBER"));

        app.clock.advance(Duration::from_mins(2));
        assert_eq!(app.post(callback("pass-97", app.clock.now())).await.id(), id);
        let settled = app.settled(id).await;
        assert_eq!(
            (settled["reference"].as_str(), settled["attempts"].as_i64()),
            (Some("user-1"), Some(1))
        );
        assert_eq!(settled["decision"]["outcome"], "approve");
    }
}

#[tokio::test]
async fn missing_callback_delays_the_verification_only() {
    let app = TestApp::start().await;
    let start = |biz_id: &str| json!({ "biz_type": "test", "biz_id": biz_id });
    let finished = app.start_verification(&start("pass-97")).await;
    let abandoned = app.start_verification(&start("quit")).await;
    app.minutes_later(29).await;
    app.verified("pass-other").await;
    assert_eq!(app.provider.queries("pass-97"), 0, "only the token was asked for");
    app.minutes_later(31).await;
    for (reply, state) in [(finished, "decided"), (abandoned, "expired")] {
        let id = reply.json["verification"]["id"].as_str().unwrap();
        eventually("it is polled", || async {
            let now = app.get(&format!("/v1/verifications/{id}")).await;
            (now.json["state"] == state).then_some(())
        })
        .await;
    }
    assert_eq!(app.provider.queries("quit"), 1, "one look is enough");
}

#[tokio::test]
async fn refused_start_returns_the_providers_code() {
    let app =
        TestApp::start_with(Options { provider_secret: "wrong".to_owned(), ..Options::default() })
            .await;
    let start = json!({ "biz_type": "test", "biz_id": "pass-97" });
    let reply = app.start_verification(&start).await;
    reply.assert_problem(503, "provider-unavailable");
    assert!(reply.json["detail"].as_str().unwrap().contains("SignatureDoesNotMatch"));
    assert!(reply.headers.contains_key("retry-after"));
    let found = app.get("/v1/verifications").await;
    assert_eq!(found.json["items"], json!([]), "nothing was started");

    for (body, pointer) in [
        (json!({ "biz_type": "test" }), "/biz_id"),
        (json!({ "biz_type": "test", "biz_id": "x", "name": "" }), "/name"),
        (json!({ "biz_type": "test", "biz_id": "x", "Name": "A" }), ""),
        (json!({ "biz_type": "test", "biz_id": "x", "user_ip": 7 }), "/user_ip"),
    ] {
        let reply = app.start_verification(&body).await;
        reply.assert_problem(422, "invalid-field");
        assert_eq!(reply.json["errors"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn erased_person_cannot_be_started_again() {
    let app = TestApp::start().await;
    let id = app.accepted("status-7").await;
    app.settled(&id).await;
    let erase = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let erase = erase.bearer_auth(&app.api_key).header("verdict-purpose", "request 1");
    assert_eq!(erase.send().await.unwrap().status(), 202);
    let calls = app.provider.calls().len();
    let reply = app.start_verification(&json!({ "biz_type": "test", "biz_id": "status-7" })).await;
    reply.assert_problem(410, "erased");
    assert_eq!(app.provider.calls().len(), calls);
}

#[tokio::test]
async fn accepting_process_needs_no_provider_credentials() {
    let database = new_database().await;
    let clock = Clock::system();
    let (_, address) = provider(&clock).await;
    let text = configuration(&Options::default(), &database, address).replace(
        "access_key_secret = \"provider-secret\"",
        "access_key_secret_file = \"/nowhere\"",
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = Environment::new();
    let config = Config::load(Some(file.path()), &environment).unwrap();
    let start = |role| app::start(&config, &environment, role, clock.clone(), Ids::random());
    let refused = start(Role::All).await.unwrap_err().to_string();
    assert!(refused.contains("provider.access_key_secret_file"), "{refused}");
    let running = start(Role::Api).await.unwrap();

    let key = make_key(&database.store(), &Scope::ALL).await;
    let url = format!("http://{}/v1/verifications", running.http.unwrap());
    let body = json!({ "biz_type": "test", "biz_id": "pass" }).to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).bearer_auth(key);
    let request = request.header("content-type", "application/json").body(body);
    Reply::read(request.send().await.unwrap()).await.assert_problem(503, "unavailable");
    running.stop();
    running.stopped().await;
}
