//! Reading verifications: by id, by pair, with long polls; API keys and scopes; health and metrics.

use std::time::Duration;

use crate::harness::{Options, Reply, TestApp, make_key, run_verdict};
use verdict::app::Role;
use verdict::domain::ids::{ApiKeyId, Ids};
use verdict::http::api_key_auth::Scope;
use verdict::store::audit::AuditContext;
use verdict::vault::api_key;

#[tokio::test]
async fn a_verification_is_found_by_its_pair() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-97").await;
    let found = app.get("/v1/verifications?biz_type=test&biz_id=pass-97").await;
    assert_eq!(found.json["items"][0], verification);
    assert!(found.json["next_cursor"].is_null());
    for nothing in
        ["biz_type=test&biz_id=other", "biz_type=Test&biz_id=pass-97", "biz_type=%20&biz_id=x"]
    {
        let found = app.get(&format!("/v1/verifications?{nothing}")).await;
        assert_eq!((found.status, found.json["items"].as_array().unwrap().len()), (200, 0));
    }
}

#[tokio::test]
async fn long_poll_returns_the_decision_or_the_present_state() {
    let app = TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await;
    let id = app.accepted("pass-97").await;
    let pending = app.get(&format!("/v1/verifications/{id}?wait=1")).await;
    assert_eq!((pending.status, pending.json["state"].as_str()), (200, Some("pending")));

    // Many wait here; the deciding happens in another process's place.
    let url = format!("http://{}/v1/verifications/{id}?wait=60", app.http);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let request = app.client.get(&url).bearer_auth(&app.api_key);
            tokio::spawn(async move { Reply::read(request.send().await.unwrap()).await })
        })
        .collect();
    let provider = crate::harness::provider(&app.clock).await;
    let options =
        Options { database: Some(app.database.clone()), role: Role::Worker, ..Options::default() };
    let _worker = TestApp::start_beside(options, provider.0, provider.1, app.clock.clone()).await;
    for waiter in waiting {
        let reply = tokio::time::timeout(Duration::from_secs(30), waiter).await.unwrap().unwrap();
        assert_eq!(reply.json["decision"]["outcome"], "approve");
    }
}

#[tokio::test]
async fn each_endpoint_requires_its_scope_and_a_live_key() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let decisions = make_key(&app.store, &[Scope::DecisionsRead]).await;
    let results = make_key(&app.store, &[Scope::ResultsRead]).await;
    let eraser = make_key(&app.store, &[Scope::ErasuresWrite]).await;
    for (path, right, wrong) in [
        (format!("/v1/verifications/{id}"), &decisions, &results),
        ("/v1/verifications?biz_type=a&biz_id=b".to_owned(), &decisions, &results),
        (format!("/v1/verifications/{id}/decisions"), &decisions, &results),
        (format!("/v1/verifications/{id}/results"), &results, &decisions),
    ] {
        assert_eq!(app.get_as(&path, right).await.status, 200, "{path}");
        app.get_as(&path, wrong).await.assert_problem(403, "scope-missing");
        app.get_as(&path, &eraser).await.assert_problem(403, "scope-missing");
    }
    let refetch = app.client.post(format!("http://{}/v1/verifications/{id}/refetch", app.http));
    let reply = Reply::read(refetch.bearer_auth(&decisions).send().await.unwrap()).await;
    reply.assert_problem(403, "scope-missing");

    let keys = app.store.api_keys().list_api_keys().await.unwrap();
    let id = keys.iter().find(|key| key.scopes == ["erasures:write"]).expect("the eraser's key").id;
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    assert!(app.store.api_keys().revoke_api_key(ApiKeyId(id), &doing).await.unwrap());
    crate::harness::eventually("the revoked key is refused", || async {
        let reply = app.get_as("/v1/verifications?biz_type=a&biz_id=b", &eraser).await;
        (reply.json["code"] == "api-key-invalid").then_some(())
    })
    .await;
}

#[tokio::test]
async fn cli_creates_lists_and_revokes_api_keys() {
    let app = TestApp::start().await;
    let url = app.database.url.clone();
    let environment = [("DATABASE_URL", url.as_str())];
    let made = [
        "keys",
        "create",
        "--name",
        "backoffice",
        "--scopes",
        "decisions:read,results:read",
        "--json",
    ];
    let (code, out, _) = run_verdict(&made, &environment).await;
    assert_eq!(code, 0);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    let key = made["key"].as_str().unwrap();
    let path = "/v1/verifications?biz_type=a&biz_id=b";
    assert_eq!(app.get_as(path, key).await.status, 200);

    let (_, listed, _) = run_verdict(&["keys", "list", "--json"], &environment).await;
    assert!(listed.contains("backoffice") && !listed.contains(key));
    let id = made["id"].as_str().unwrap();
    assert_eq!(run_verdict(&["keys", "revoke", id], &environment).await.0, 0);
    assert_eq!(run_verdict(&["keys", "revoke", id], &environment).await.0, 1);
    let (code, _, error) =
        run_verdict(&["keys", "create", "--name", "x", "--scopes", "everything"], &environment)
            .await;
    assert_eq!(code, 2);
    assert!(error.contains("--scopes") && error.contains("decisions:read"), "{error}");
}

#[tokio::test]
async fn keys_with_the_former_admin_scope_still_erase() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-97").await;
    let path = format!("/v1/verifications/{}/material", verification["id"].as_str().unwrap());
    let environment = [("DATABASE_URL", app.database.url.as_str())];

    // As a version before the renaming stored it.
    let stored = api_key::generate().unwrap();
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    let id: ApiKeyId = Ids::random().next(doing.at);
    let digest = api_key::secret_digest(&stored);
    app.store.api_keys().add_api_key(id, "stored", &digest, &["admin"], &doing).await.unwrap();
    let made = ["keys", "create", "--name", "made", "--scopes", "admin", "--json"];
    let (code, out, error) = run_verdict(&made, &environment).await;
    assert_eq!(code, 0, "{error}");
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();

    for key in [stored.as_str(), made["key"].as_str().unwrap()] {
        let request = app.client.delete(format!("http://{}{path}", app.http)).bearer_auth(key);
        let reply =
            Reply::read(request.header("verdict-purpose", "asked to").send().await.unwrap());
        assert_eq!(reply.await.status, 202);
        app.get_as(&path, key).await.assert_problem(403, "scope-missing");
    }
    let (_, listed, _) = run_verdict(&["keys", "list"], &environment).await;
    for name in ["stored", "made"] {
        let line = listed.lines().find(|line| line.contains(name)).expect(name);
        assert!(line.contains("erasures:write") && !line.contains("admin"), "{line}");
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_report_the_state() {
    let app = TestApp::start().await;
    app.verified("pass-97").await;
    app.verified("status-7").await;
    let operations = |path: &str| {
        let request = app.client.get(format!("http://{}{path}", app.operations));
        async move { Reply::read(request.send().await.unwrap()).await }
    };
    assert_eq!(operations("/healthz").await.json["status"], "ok");
    let ready = operations("/readyz").await;
    assert_eq!((ready.status, ready.json["status"].as_str()), (200, Some("ready")));
    assert_eq!(ready.json["provider"], "ok");
    let metrics = operations("/metrics").await;
    assert!(metrics.content_type.starts_with("text/plain"));
    for line in [
        "# HELP verdict_decisions_total",
        "# TYPE verdict_provider_call_seconds histogram",
        "verdict_decisions_total{outcome=\"reject\"}",
        "verdict_decision_reasons_total{code=\"provider-passed\",outcome=\"approve\"}",
        "verdict_callbacks_total{outcome=\"new\"}",
        "verdict_provider_calls_total{product=\"verify-result\",class=\"answered\"}",
        "verdict_queue_depth{state=\"due\"} 0",
    ] {
        assert!(metrics.text.contains(line), "{line} is missing");
    }
    assert_eq!(app.get("/healthz").await.status, 200);
    assert_eq!(app.get("/readyz").await.status, 200);
}
