//! Webhook endpoints: added, changed, paused, rotated, asked for more, removed; by HTTP and by command.
//! No worker runs in most of these scenarios, so nothing is delivered.

use serde_json::{Value, json};
use sqlx::PgPool;
use standardwebhooks::Webhook;
use uuid::Uuid;
use verdict::app::Role;
use verdict::domain::ids::EndpointId;
use verdict::http::api_key_auth::Scope;
use verdict::store::api_keys::KeyTerms;
use verdict::vault::{EndpointSecret, Key, KeyRing, SealedAt, Vault, WrappedKey};

use crate::harness::{
    Options, Reply, Setting, TestApp, dump, make_key, make_key_with, vault_secret,
};

const ENDPOINTS: &str = "/v1/webhook-endpoints";
const URL: &str = "https://receiver.invalid/events?token=t0k3n";

fn options() -> Options {
    Options { role: Role::Api, ..Options::default() }
}

async fn app() -> TestApp {
    TestApp::start_with(options()).await
}

async fn send_as(app: &TestApp, key: &str, method: &str, path: &str, body: &Value) -> Reply {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = app.client.request(method, format!("http://{}{path}", app.http));
    let request = request.bearer_auth(key).header("verdict-purpose", "ticket 7");
    let request = match body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(body.to_string()),
    };
    Reply::read(request.send().await.unwrap()).await
}

async fn send(app: &TestApp, method: &str, path: &str, body: &Value) -> Reply {
    send_as(app, &app.api_key, method, path, body).await
}

async fn add(app: &TestApp, body: &Value) -> Reply {
    let reply = send(app, "POST", ENDPOINTS, body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply
}

fn path_of(reply: &Reply) -> String {
    format!("{ENDPOINTS}/{}", reply.id())
}

/// Logs so many activations of policies, an hour apart from noon on, in these scenes by turns.
async fn log_events(pool: &PgPool, many: i32, scenes: &[Option<&str>]) {
    sqlx::query(
        "insert into event_notes (kind, at, details)
         select 'policy.activated', timestamptz '2026-11-20 12:00Z' + make_interval(hours => n),
             jsonb_build_object('policy', 'sha256:00', 'actor', 'cli:test',
                 'biz_type', ($2::text[])[1 + n % cardinality($2)])
         from generate_series(0, $1 - 1) n",
    )
    .bind(many)
    .bind(scenes)
    .execute(pool)
    .await
    .unwrap();
    let numbered: i32 =
        sqlx::query_scalar("select verdict_number_events(100000)").fetch_one(pool).await.unwrap();
    assert_eq!(numbered, many);
}

/// The numbers that wait for a redelivery.
async fn asked_for(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar("select number from webhook_pending where redelivery order by number")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Pointers of a refusal's errors.
#[track_caller]
fn wrong(reply: &Reply) -> Vec<&str> {
    reply.assert_problem(422, "invalid-field");
    let errors = reply.json["errors"].as_array().unwrap();
    errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

fn vault() -> Vault {
    let key = Key::parse("test", &vault_secret("test")).unwrap();
    Vault::new(KeyRing::new(vec![key]).unwrap())
}

async fn data_key(pool: &PgPool, id: &str) -> (EndpointId, verdict::vault::DataKey) {
    let id: EndpointId = id.parse().unwrap();
    let (key_id, bytes) =
        sqlx::query_as("select key_id, wrapped from webhook_endpoints where id = $1")
            .bind(id.0)
            .fetch_one(pool)
            .await
            .unwrap();
    (id, vault().open_endpoint_key(id, &WrappedKey { key_id, bytes }).unwrap())
}

#[tokio::test]
async fn endpoints_beyond_the_limit_are_refused() {
    let more = "[webhooks]\nmax_endpoints = 2".to_owned();
    let app = TestApp::start_with(Options { more, ..options() }).await;
    let body = json!({"url": URL});
    let first = add(&app, &body).await;
    add(&app, &body).await;
    let refused = send(&app, "POST", ENDPOINTS, &body).await;
    refused.assert_problem(409, "too-many-endpoints");
    assert_eq!(send(&app, "GET", ENDPOINTS, &Value::Null).await.json["items"][1]["url"], URL);
    // One that is removed makes room.
    assert_eq!(send(&app, "DELETE", &path_of(&first), &Value::Null).await.status, 204);
    add(&app, &body).await;
}

#[tokio::test]
async fn an_endpoint_is_added_changed_paused_and_removed_on_record() {
    let app = app().await;
    let added = add(&app, &json!({ "url": URL })).await;
    let endpoint = path_of(&added);
    assert_eq!(added.headers["location"], endpoint);
    let secret = added.json["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && Webhook::new(secret).is_ok(), "{secret}");
    let shown = app.get(&endpoint).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let expected = json!({
        "id": added.id(), "url": URL, "description": "", "types": null, "biz_types": null,
        "ordering": "per-verification", "signing": "v1", "max_in_flight": 10,
        "requests_per_second": null, "status": "active", "acknowledged_through": 0, "behind": 0,
        "dead_letters": 0, "failing_since": null, "last_status": null, "next_try_at": null,
        "disabled_because": null, "public_key": null, "previous_secret_until": null,
        "created_at": "2026-11-23T09:30:00Z", "updated_at": "2026-11-23T09:30:00Z",
    });
    assert_eq!(shown.json, expected);
    app.clock.advance(std::time::Duration::from_secs(1));
    let other = add(&app, &json!({ "url": URL })).await;
    let list = app.get(ENDPOINTS).await;
    let ids: Vec<&str> = list.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [added.id(), other.id()]);
    assert!(!list.text.contains("secret\":\"whsec"), "{}", list.text);

    let change = json!({ "description": "changed" });
    assert_eq!(send(&app, "PATCH", &endpoint, &change).await.status, 200);
    let paused = send(&app, "POST", &format!("{endpoint}/pause"), &Value::Null).await;
    assert_eq!((paused.status, &paused.json["status"]), (200, &json!("paused")), "{paused:?}");
    let again = send(&app, "POST", &format!("{endpoint}/pause"), &Value::Null).await;
    assert_eq!(again.status, 200);
    let resumed = send(&app, "POST", &format!("{endpoint}/resume"), &Value::Null).await;
    assert_eq!((resumed.status, &resumed.json["status"]), (200, &json!("active")));
    assert_eq!(send(&app, "DELETE", &endpoint, &Value::Null).await.status, 204);
    for (method, rest) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/test"),
        ("POST", "/rotate-secret"),
        ("GET", "/deliveries"),
    ] {
        let body = if method == "PATCH" { json!({}) } else { Value::Null };
        let gone = send(&app, method, &format!("{endpoint}{rest}"), &body).await;
        gone.assert_problem(404, "not-found");
    }
    let failed = json!({ "failed": true });
    let gone = send(&app, "POST", &format!("{endpoint}/redeliveries"), &failed).await;
    gone.assert_problem(404, "not-found");
    app.get(&format!("{ENDPOINTS}/1")).await.assert_problem(404, "not-found");

    let record: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "select action, actor, purpose from audit where action like 'webhook.%' order by position",
    )
    .fetch_all(&app.database.pool().await)
    .await
    .unwrap();
    let actions: Vec<&str> = record.iter().map(|(action, ..)| action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "webhook.create",
            "webhook.create",
            "webhook.change",
            "webhook.pause",
            "webhook.resume",
            "webhook.remove",
        ]
    );
    assert!(record.iter().all(|(_, actor, purpose)| {
        actor.starts_with("key:") && purpose.as_deref() == Some("ticket 7")
    }));
    // The rest of a URL may be a token of its receiver.
    let audit: String = sqlx::query_scalar("select string_agg(a::text, '') from audit a")
        .fetch_one(&app.database.pool().await)
        .await
        .unwrap();
    assert!(audit.contains("https://receiver.invalid") && !audit.contains("t0k3n"), "{audit}");
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let app = app().await;
    let other = json!({
        "url": "https://other.example/", "description": " orders ", "types": ["verification.failed", "verification.failed"],
        "biz_types": ["a", "b"], "ordering": "strict", "signing": "v1a", "start": "beginning",
        "max_in_flight": 1, "requests_per_second": 0.5,
    });
    let other = add(&app, &other).await;
    assert_eq!(other.json["secret"], Value::Null);
    assert!(other.json["public_key"].as_str().unwrap().starts_with("whpk_"));
    // Members that are left out keep their values; null takes a limit away.
    let change = json!({ "url": "https://changed.example", "types": ["policy.activated"] });
    let changed = send(&app, "PATCH", &path_of(&other), &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json["url"], "https://changed.example/");
    assert_eq!(changed.json["types"], json!(["policy.activated"]));
    assert_eq!(changed.json["description"], "orders");
    assert_eq!(changed.json["biz_types"], json!(["a", "b"]));
    let change = json!({ "types": null, "biz_types": null, "requests_per_second": null,
        "description": null, "ordering": "per-verification", "max_in_flight": 100.0 });
    let changed = send(&app, "PATCH", &path_of(&other), &change).await;
    for name in ["types", "biz_types", "requests_per_second"] {
        assert_eq!(changed.json[name], Value::Null, "{name}");
    }
    assert_eq!(changed.json["max_in_flight"], 100);
    let same = send(&app, "PATCH", &path_of(&other), &json!({})).await;
    assert_eq!((same.status, &same.json["max_in_flight"]), (200, &json!(100)));
}

#[tokio::test]
async fn every_invalid_member_of_an_endpoint_is_named_at_once() {
    let app = app().await;
    let all = json!({
        "url": "http://example.com/", "description": "a\u{0}b", "types": [], "biz_types": "a",
        "ordering": "none", "signing": "v2", "start": 0, "max_in_flight": 0.5,
        "requests_per_second": 0, "secret": "mine",
    });
    let refused = send(&app, "POST", ENDPOINTS, &all).await;
    let pointers = [
        "/url",
        "/description",
        "/types",
        "/biz_types",
        "/ordering",
        "/signing",
        "/start",
        "/max_in_flight",
        "/requests_per_second",
        "",
    ];
    assert_eq!(wrong(&refused), pointers);
    let good = "https://example.com/";
    for (body, pointer) in [
        (json!({}), "/url"),
        (json!({ "url": null }), "/url"),
        (json!({ "url": 7 }), "/url"),
        (json!({ "url": "https://localhost/" }), "/url"),
        (json!({ "url": "https://10.0.0.1/" }), "/url"),
        (json!({ "url": "https://me:pw@example.com/" }), "/url"),
        (json!({ "url": "https://example.com/#a" }), "/url"),
        (json!({ "url": good, "description": "d".repeat(201) }), "/description"),
        (json!({ "url": good, "types": ["verification.made"] }), "/types"),
        (json!({ "url": good, "types": [7] }), "/types"),
        (json!({ "url": good, "types": "verification.decided" }), "/types"),
        (json!({ "url": good, "types": { "0": "verification.decided" } }), "/types"),
        (json!({ "url": good, "biz_types": [] }), "/biz_types"),
        (json!({ "url": good, "biz_types": [""] }), "/biz_types"),
        (
            json!({ "url": good, "biz_types": (0..101).map(|n| n.to_string()).collect::<Vec<_>>() }),
            "/biz_types",
        ),
        (json!({ "url": good, "start": "later" }), "/start"),
        (json!({ "url": good, "start": 1.5 }), "/start"),
        (json!({ "url": good, "start": 2 }), "/start"),
        (json!({ "url": good, "start": i64::MAX }), "/start"),
        (json!({ "url": good, "max_in_flight": 101 }), "/max_in_flight"),
        (json!({ "url": good, "max_in_flight": 1e30 }), "/max_in_flight"),
        (json!({ "url": good, "max_in_flight": "10" }), "/max_in_flight"),
        (json!({ "url": good, "requests_per_second": 1000.5 }), "/requests_per_second"),
    ] {
        assert_eq!(wrong(&send(&app, "POST", ENDPOINTS, &body).await), [pointer], "{body}");
    }
    send(&app, "POST", ENDPOINTS, &json!([])).await.assert_problem(400, "malformed-json");
    assert_eq!(app.get(ENDPOINTS).await.json["items"], json!([]));
}

#[tokio::test]
async fn an_invalid_change_or_request_leaves_an_endpoint_as_it_was() {
    let app = app().await;
    let good = "https://example.com/";
    let endpoint = path_of(&add(&app, &json!({ "url": good })).await);
    let all = json!({ "url": null, "description": 7, "types": [], "biz_types": [7], "ordering": null,
        "max_in_flight": null, "requests_per_second": "1", "signing": "v1a" });
    let refused = send(&app, "PATCH", &endpoint, &all).await;
    let pointers = [
        "/url",
        "/description",
        "/types",
        "/biz_types",
        "/ordering",
        "/max_in_flight",
        "/requests_per_second",
        "",
    ];
    assert_eq!(wrong(&refused), pointers);
    let private = json!({ "url": "http://127.0.0.1/" });
    assert_eq!(wrong(&send(&app, "PATCH", &endpoint, &private).await), ["/url"]);
    for body in [
        json!({ "keep_seconds": -1 }),
        json!({ "keep_seconds": 2_592_001 }),
        json!({ "keep_seconds": "1" }),
        json!({ "keep_seconds": 1.5 }),
    ] {
        let refused = send(&app, "POST", &format!("{endpoint}/rotate-secret"), &body).await;
        assert_eq!(wrong(&refused), ["/keep_seconds"], "{body}");
    }
    for query in ["limit=0", "limit=101", "cursor=a", "cursor=-1", "page=2"] {
        let refused = app.get(&format!("{endpoint}/deliveries?{query}")).await;
        assert_eq!(wrong(&refused), [query.split('=').next().unwrap()]);
    }
    let list = app.get(ENDPOINTS).await;
    assert_eq!(list.json["items"].as_array().unwrap().len(), 1);
    assert_eq!(list.json["items"][0]["url"], good);
}

#[tokio::test]
async fn only_listed_hosts_are_reached_by_plain_http_or_at_private_addresses() {
    let more = "[webhooks]\nallow_private = [\"127.0.0.1\", \"*.internal\"]".to_owned();
    let app = TestApp::start_with(Options { more, ..options() }).await;
    for url in ["http://127.0.0.1:3000/hook", "https://127.0.0.1/", "http://a.internal/"] {
        add(&app, &json!({ "url": url })).await;
    }
    for url in
        ["http://127.0.0.2/", "http://localhost/", "http://internal/", "http://a.internal.b/"]
    {
        let refused = send(&app, "POST", ENDPOINTS, &json!({ "url": url })).await;
        assert_eq!(wrong(&refused), ["/url"], "{url}");
        assert!(refused.text.contains("allow_private"), "{refused:?}");
    }
}

#[tokio::test]
async fn an_endpoint_starts_now_at_the_beginning_or_at_a_sequence() {
    let app = app().await;
    log_events(&app.database.pool().await, 5, &[None]).await;
    for (start, behind) in [
        (Value::Null, 0),
        (json!("now"), 0),
        (json!("beginning"), 5),
        (json!(1), 5),
        (json!(4), 2),
        (json!(4.0), 2),
        (json!(6), 0),
    ] {
        let added = add(&app, &json!({ "url": URL, "start": start })).await;
        assert_eq!(added.json["behind"], behind, "{start}");
        assert_eq!(added.json["acknowledged_through"], 5 - behind, "{start}");
    }
    for start in [7, 1_000_000] {
        let body = json!({ "url": URL, "start": start });
        assert_eq!(wrong(&send(&app, "POST", ENDPOINTS, &body).await), ["/start"]);
    }
}

#[tokio::test]
async fn a_key_limited_to_scenes_has_endpoints_of_its_scenes_only() {
    let app = app().await;
    let terms = KeyTerms { scenes: Some(vec!["a".into(), "b".into()]), ..KeyTerms::default() };
    let (key, _) = make_key_with(&app.store, &[Scope::WebhooksWrite], &terms).await;
    let everywhere = add(&app, &json!({ "url": URL })).await;
    let elsewhere = add(&app, &json!({ "url": URL, "biz_types": ["a", "c"] })).await;
    for body in [
        json!({ "url": URL }),
        json!({ "url": URL, "biz_types": ["c"] }),
        json!({ "url": URL, "biz_types": ["a", "c"] }),
    ] {
        let refused = send_as(&app, &key, "POST", ENDPOINTS, &body).await;
        refused.assert_problem(403, "other-scene");
    }
    let own =
        send_as(&app, &key, "POST", ENDPOINTS, &json!({ "url": URL, "biz_types": ["a"] })).await;
    assert_eq!(own.status, 201, "{own:?}");
    let list = app.get_as(ENDPOINTS, &key).await;
    assert_eq!(list.json["items"].as_array().unwrap().len(), 1, "{list:?}");
    assert_eq!(list.json["items"][0]["id"], own.id());
    for other in [&everywhere, &elsewhere] {
        for (method, rest, body) in [
            ("GET", "", Value::Null),
            ("PATCH", "", json!({ "biz_types": ["a"] })),
            ("DELETE", "", Value::Null),
            ("POST", "/pause", Value::Null),
            ("POST", "/resume", Value::Null),
            ("POST", "/test", Value::Null),
            ("POST", "/rotate-secret", Value::Null),
            ("POST", "/redeliveries", json!({ "failed": true })),
            ("GET", "/deliveries", Value::Null),
        ] {
            let path = format!("{}{rest}", path_of(other));
            let refused = send_as(&app, &key, method, &path, &body).await;
            refused.assert_problem(404, "not-found");
        }
    }
    for scenes in [Value::Null, json!(["c"]), json!(["a", "c"])] {
        let body = json!({ "biz_types": scenes });
        let refused = send_as(&app, &key, "PATCH", &path_of(&own), &body).await;
        refused.assert_problem(403, "other-scene");
    }
    let widened =
        send_as(&app, &key, "PATCH", &path_of(&own), &json!({ "biz_types": ["b"] })).await;
    assert_eq!(widened.json["biz_types"], json!(["b"]), "{widened:?}");

    let others: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| *scope != Scope::WebhooksWrite).collect();
    let other = make_key(&app.store, &others).await;
    send_as(&app, &other, "GET", ENDPOINTS, &Value::Null)
        .await
        .assert_problem(403, "scope-missing");
    let none = send_as(&app, "", "POST", ENDPOINTS, &json!({ "url": URL })).await;
    none.assert_problem(401, "api-key-missing");
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_previous_one_for_the_stated_time() {
    let app = app().await;
    let pool = app.database.pool().await;
    let added = add(&app, &json!({ "url": URL })).await;
    let (endpoint, first) = (path_of(&added), added.json["secret"].as_str().unwrap().to_owned());
    let rotate = async |body: Value| {
        let reply = send(&app, "POST", &format!("{endpoint}/rotate-secret"), &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    };
    let rotated = rotate(json!({ "keep_seconds": 3600.0 })).await;
    let second = rotated.json["secret"].as_str().unwrap().to_owned();
    assert!(second.starts_with("whsec_") && second != first);
    let (sealed, previous, seconds): (Vec<u8>, Vec<u8>, f64) = sqlx::query_as(
        "select secret, previous_secret, extract(epoch from previous_until - verdict_now())::float8
         from webhook_endpoints",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!((3000.0..=3600.0).contains(&seconds), "{seconds}");
    let (id, key) = data_key(&pool, &added.id()).await;
    for (sealed, shown) in [(sealed, &second), (previous, &first)] {
        let opened = key.open(SealedAt::WebhookSecret(id), &sealed).unwrap();
        assert_eq!(EndpointSecret::from_bytes(&opened).unwrap().text().as_str(), shown);
    }
    let shown = app.get(&endpoint).await;
    assert_eq!(shown.json["previous_secret_until"], rotated.json["previous_secret_until"]);
    // Neither secret is anywhere in the database, the audit included.
    let dump = dump(&app.database.url);
    for secret in [&first, &second] {
        use base64::Engine;
        let text = secret.trim_start_matches("whsec_");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        assert!(!dump.contains(text) && !dump.contains(&hex::encode(bytes)));
    }
    app.database.shift_clock(3601).await;
    assert_eq!(app.get(&endpoint).await.json["previous_secret_until"], Value::Null);
    let at_once = rotate(json!({ "keep_seconds": 0 })).await;
    assert_eq!(at_once.json["previous_secret_until"], Value::Null);
    let previous: Option<Vec<u8>> =
        sqlx::query_scalar("select previous_secret from webhook_endpoints")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(previous, None);
    // Without a body the previous secret is kept for a day.
    assert!(rotate(Value::Null).await.json["previous_secret_until"].is_string());
}

#[tokio::test]
async fn public_keys_are_public_and_the_previous_one_stays_while_it_signs() {
    let app = app().await;
    add(&app, &json!({ "url": URL })).await;
    let added = add(&app, &json!({ "url": URL, "signing": "v1a" })).await;
    let first = added.json["public_key"].clone();
    let keys = async || {
        let url = format!("http://{}/v1/webhook-keys", app.http);
        let reply = Reply::read(app.client.get(url).send().await.unwrap()).await;
        assert_eq!(
            (reply.status, &reply.headers["cache-control"]),
            (200, &"public, max-age=60".parse().unwrap())
        );
        reply.json["items"].as_array().unwrap().clone()
    };
    assert_eq!(
        keys().await,
        [json!({ "endpoint_id": added.id(), "public_key": first, "until": null })]
    );
    let path = format!("{}/rotate-secret", path_of(&added));
    let rotated = send(&app, "POST", &path, &json!({ "keep_seconds": 60 })).await;
    assert_eq!(rotated.json["secret"], Value::Null);
    let second = rotated.json["public_key"].clone();
    assert_ne!(second, first);
    let both = [
        json!({ "endpoint_id": added.id(), "public_key": second, "until": null }),
        json!({ "endpoint_id": added.id(), "public_key": first,
            "until": rotated.json["previous_secret_until"] }),
    ];
    assert_eq!(keys().await, both);
    app.database.shift_clock(61).await;
    crate::harness::eventually("the previous key is gone", || async {
        (keys().await == both[..1]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_are_delivered_once_more_by_id_sequence_time_or_failure() {
    let app = app().await;
    let pool = app.database.pool().await;
    log_events(&pool, 10, &[None, Some("a"), Some("b")]).await;
    let added = add(&app, &json!({ "url": URL })).await;
    let path = format!("{}/redeliveries", path_of(&added));
    let again = async |body: Value| {
        sqlx::query("delete from webhook_pending where redelivery").execute(&pool).await.unwrap();
        let reply = send(&app, "POST", &path, &body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let asked = asked_for(&pool).await;
        assert_eq!(reply.json["count"], asked.len(), "{body}");
        asked
    };
    assert_eq!(again(json!({ "from": 3, "to": 5 })).await, [3, 4, 5]);
    assert_eq!(again(json!({ "from": 10, "to": 1_000_000 })).await, [10]);
    assert_eq!(again(json!({ "from": 11, "to": i64::MAX })).await, [0_i64; 0]);
    let (since, until) = ("2026-11-20T13:00:00Z", "2026-11-20T22:00:00+07:00");
    assert_eq!(again(json!({ "since": since, "until": until })).await, [2, 3]);
    let never = json!({ "since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z" });
    assert_eq!(again(never).await, [0_i64; 0]);
    let ids: Vec<String> = sqlx::query_scalar(
        "select 'evt_' || replace(id::text, '-', '') from events order by number",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(again(json!({ "event_id": ids[6] })).await, [7]);
    sqlx::query(
        "insert into webhook_pending (endpoint_id, redelivery, number, state, attempts, first_at)
         select id, false, n, 'dead', 10, now() from webhook_endpoints, (values (4), (8)) v (n)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let shown = app.get(&path_of(&added)).await.json;
    assert_eq!((&shown["dead_letters"], &shown["acknowledged_through"]), (&json!(2), &json!(3)));
    assert_eq!(again(json!({ "failed": true })).await, [4, 8]);
    let due: bool = sqlx::query_scalar("select due_at <= verdict_now() from webhook_endpoints")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(due, "a worker looks at it now");

    // The endpoint's filters hold for what is asked for, too.
    let change = json!({ "biz_types": ["a"], "types": ["policy.activated"] });
    send(&app, "PATCH", &path_of(&added), &change).await;
    assert_eq!(again(json!({ "from": 1, "to": 10 })).await, [2, 5, 8]);
    let refused = send(&app, "POST", &path, &json!({ "event_id": ids[0] })).await;
    assert_eq!(wrong(&refused), ["/event_id"]);
    let unknown = json!({ "event_id": "evt_00000000000000000000000000000000" });
    assert_eq!(wrong(&send(&app, "POST", &path, &unknown).await), ["/event_id"]);
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "failed": true, "from": 1, "to": 2 }), ""),
        (json!({ "event_id": ids[0], "failed": true }), ""),
        (json!({ "failed": false }), "/failed"),
        (json!({ "failed": 1 }), "/failed"),
        (json!({ "event_id": "1" }), "/event_id"),
        (json!({ "from": 1 }), "/to"),
        (json!({ "to": 1 }), "/from"),
        (json!({ "from": 0, "to": 1 }), "/from"),
        (json!({ "from": 2, "to": 1 }), "/to"),
        (json!({ "since": since }), "/until"),
        (json!({ "until": until }), "/since"),
        (json!({ "since": since, "until": since }), "/until"),
        (json!({ "since": "yesterday", "until": until }), "/since"),
        (json!({ "all": true, "failed": true }), ""),
    ] {
        assert_eq!(wrong(&send(&app, "POST", &path, &body).await), [pointer], "{body}");
    }
}

#[tokio::test]
async fn more_events_than_a_request_may_ask_for_are_refused() {
    let app = app().await;
    let pool = app.database.pool().await;
    let added = add(&app, &json!({ "url": URL })).await;
    sqlx::query(
        "insert into webhook_pending (endpoint_id, redelivery, number, state, attempts, first_at)
         select id, false, n, 'dead', 10, now() from webhook_endpoints, generate_series(1, 100001) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    let path = format!("{}/redeliveries", path_of(&added));
    let refused = send(&app, "POST", &path, &json!({ "failed": true })).await;
    assert_eq!(wrong(&refused), [""]);
    assert!(refused.text.contains("100,000"), "{refused:?}");
    assert!(asked_for(&pool).await.is_empty(), "none of them is");
    assert_eq!(app.get(&path_of(&added)).await.json["dead_letters"], 10_000);
}

#[tokio::test]
async fn one_test_waits_at_a_time_and_is_not_in_the_log() {
    let app = app().await;
    let added = add(&app, &json!({ "url": URL })).await;
    send(&app, "POST", &format!("{}/pause", path_of(&added)), &Value::Null).await;
    let path = format!("{}/test", path_of(&added));
    let first = send(&app, "POST", &path, &Value::Null).await;
    assert_eq!(first.status, 202, "{first:?}");
    let id = first.json["event_id"].as_str().unwrap();
    assert!(id.starts_with("evt_") && id.len() == 36, "{id}");
    assert_eq!(send(&app, "POST", &path, &Value::Null).await.json, first.json);
    assert_eq!(asked_for(&app.database.pool().await).await, [0]);
    let shown = app.get(&path_of(&added)).await.json;
    assert_eq!((&shown["status"], &shown["behind"]), (&json!("paused"), &json!(0)));
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_with_what_was_answered() {
    let app = app().await;
    let pool = app.database.pool().await;
    let added = add(&app, &json!({ "url": URL })).await;
    let other = add(&app, &json!({ "url": URL })).await;
    let (id, key) = data_key(&pool, &added.id()).await;
    let sealed = key.seal(SealedAt::WebhookAnswer(id), "bad \u{1F600}".as_bytes()).unwrap();
    for (number, status, error, answer) in [
        (Some(1_i64), Some(500), Some("status"), Some(sealed)),
        (Some(1), None, Some("timeout"), None),
        (None, Some(204), None, None),
    ] {
        sqlx::query(
            "insert into webhook_attempts (endpoint_id, number, event_id, at, attempt, status, error,
                 latency_ms, answer, next_at)
             values ($1, $2, 'evt_00000000000000000000000000000001', '2026-11-23T09:30:00Z', 1, $3,
                 $4, 42, $5, case when $4 = 'status' then timestamptz '2026-11-23T09:30:05Z' end)",
        )
        .bind(id.0)
        .bind(number)
        .bind(status)
        .bind(error)
        .bind(answer)
        .execute(&pool)
        .await
        .unwrap();
    }
    let path = format!("{}/deliveries", path_of(&added));
    let page = app.get(&format!("{path}?limit=2")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let of = |page: &Reply, name: &str| -> Vec<Value> {
        page.json["items"].as_array().unwrap().iter().map(|item| item[name].clone()).collect()
    };
    assert_eq!(of(&page, "sequence"), [Value::Null, json!(1)]);
    assert_eq!(of(&page, "status"), [json!(204), Value::Null]);
    assert_eq!(of(&page, "error"), [Value::Null, json!("timeout")]);
    let next = page.json["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("{path}?limit=2&cursor={next}")).await;
    let expected = json!({
        "event_id": "evt_00000000000000000000000000000001", "sequence": 1, "attempt": 1,
        "at": "2026-11-23T09:30:00Z", "status": 500, "error": "status", "latency_ms": 42,
        "answer": "bad \u{1F600}", "next_try_at": "2026-11-23T09:30:05Z",
    });
    assert_eq!(rest.json, json!({ "items": [expected], "next_cursor": null }));
    let empty = app.get(&format!("{}/deliveries", path_of(&other))).await;
    assert_eq!(empty.json, json!({ "items": [], "next_cursor": null }));
}

/// Records a request to an endpoint for each of these events.
async fn record_attempts(pool: &PgPool, endpoint: EndpointId, answer: &[u8], events: &[Uuid]) {
    sqlx::query(
        "insert into webhook_attempts (endpoint_id, number, event_id, at, attempt, status, error,
             latency_ms, answer)
         select $1, 1, 'evt_' || replace(e.id::text, '-', ''), now(), 1, 500, 'status', 42, $2
         from unnest($3::uuid[]) with ordinality e (id, place) order by place",
    )
    .bind(endpoint.0)
    .bind(answer)
    .bind(events)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn answer_is_not_shown_after_the_person_of_its_event_is_erased() {
    let app = TestApp::start().await;
    let pool = app.database.pool().await;
    let added = add(&app, &json!({ "url": URL, "types": ["policy.activated"] })).await;
    let [erased, failed, kept] = [
        app.verified("pass-97-erased").await,
        app.verified("invalidbiz").await,
        app.verified("pass-97-kept").await,
    ];
    let event_of = async |verification: &Value| -> Uuid {
        let find = "select id from decisions where verification_id = $1::text::uuid
             union all select id from event_notes where verification_id = $1::text::uuid";
        let id = verification["id"].as_str().unwrap();
        sqlx::query_scalar(find).bind(id).fetch_one(&pool).await.unwrap()
    };
    let test = Uuid::from_u128(7);
    let events = [event_of(&erased).await, event_of(&failed).await, event_of(&kept).await, test];
    let (id, key) = data_key(&pool, &added.id()).await;
    let sealed = key.seal(SealedAt::WebhookAnswer(id), b"no user-8812").unwrap();
    record_attempts(&pool, id, &sealed, &events).await;
    let path = format!("{}/deliveries", path_of(&added));
    let answers = async || -> Vec<Value> {
        let page = app.get(&path).await;
        let items = page.json["items"].as_array().unwrap();
        items.iter().map(|item| item["answer"].clone()).collect()
    };
    assert_eq!(answers().await, ["no user-8812"; 4]);

    for verification in [&erased, &failed] {
        let verification = format!("/v1/verifications/{}", verification["id"].as_str().unwrap());
        let material = format!("{verification}/material");
        assert_eq!(send(&app, "DELETE", &material, &Value::Null).await.status, 202);
        crate::harness::eventually("it is erased", || async {
            (app.get(&verification).await.json["state"] == "erased").then_some(())
        })
        .await;
    }
    let shown = [json!("no user-8812"), json!("no user-8812"), Value::Null, Value::Null];
    assert_eq!(answers().await, shown);
    // The attempts may be kept for longer than the events.
    sqlx::query("truncate events").execute(&pool).await.unwrap();
    assert_eq!(answers().await, shown);
}

#[tokio::test]
async fn endpoint_whose_secret_cannot_be_shown_is_not_added() {
    let app = app().await;
    let pool = app.database.pool().await;
    let rename = async |change: &'static str| sqlx::query(change).execute(&pool).await.unwrap();
    // The endpoint can be stored, but not be read with its counts.
    rename("alter table webhook_pending rename to webhook_pending_elsewhere").await;
    let failed = send(&app, "POST", ENDPOINTS, &json!({ "url": URL })).await;
    assert!(failed.status >= 500, "{failed:?}");
    rename("alter table webhook_pending_elsewhere rename to webhook_pending").await;
    assert_eq!(app.get(ENDPOINTS).await.json["items"], json!([]));
}

#[tokio::test]
async fn failing_and_disabled_endpoints_are_logged_by_trigger() {
    let app = app().await;
    let pool = app.database.pool().await;
    let added = add(&app, &json!({ "url": URL })).await;
    for change in [
        "warned = 1, status = 'failing', failing_since = '2026-11-23T10:00:00Z', last_status = 503",
        "warned = 1, failures = 7",
        "warned = 2",
        "status = 'disabled', disabled_because = 'failing'",
        "disabled_because = 'failing'",
    ] {
        let change = format!("update webhook_endpoints set {change}");
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(&pool).await.unwrap();
    }
    let told: Vec<(String, Value)> =
        sqlx::query_as("select kind, details from event_notes order by position")
            .fetch_all(&pool)
            .await
            .unwrap();
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["endpoint.failing", "endpoint.failing", "endpoint.disabled"]);
    let details = json!({ "endpoint_id": added.id(), "since": "2026-11-23T10:00:00.000000Z",
        "last_status": 503 });
    assert!(told.iter().all(|(_, found)| *found == details), "{told:?}");
    sqlx::query(
        "insert into webhook_pending (endpoint_id, redelivery, number, state, first_at, next_at)
         select id, false, 1, 'retry', now(), now() + interval '1 day' from webhook_endpoints",
    )
    .execute(&pool)
    .await
    .unwrap();
    let shown = app.get(&path_of(&added)).await.json;
    assert_eq!(
        (&shown["status"], &shown["disabled_because"]),
        (&json!("disabled"), &json!("failing"))
    );
    let resumed = send(&app, "POST", &format!("{}/resume", path_of(&added)), &Value::Null).await;
    assert_eq!(resumed.json["status"], "active", "{resumed:?}");
    assert_eq!(
        (&resumed.json["failing_since"], &resumed.json["disabled_because"]),
        (&Value::Null, &Value::Null)
    );
    let at_once: bool = sqlx::query_scalar("select next_at <= verdict_now() from webhook_pending")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(at_once, "what failed alone is tried at once, too");
}

#[tokio::test]
async fn a_process_without_keys_seals_no_secret() {
    let app = TestApp::start_with(Options { vault_keys: &[], ..options() }).await;
    let refused = send(&app, "POST", ENDPOINTS, &json!({ "url": URL })).await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(app.get(ENDPOINTS).await.json["items"], json!([]));
}

#[tokio::test]
async fn a_rotation_of_the_vault_takes_the_keys_of_endpoints_along() {
    let mut setting =
        Setting::new(Options { vault_keys: &["old"], fixed_clock: false, ..options() }).await;
    let (code, said, error) = setting.run(&["webhooks", "add", "--url", URL, "--json"], "").await;
    assert_eq!(code, 0, "{error}");
    let id = serde_json::from_str::<Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    setting.options.vault_keys = &["new"];
    let (code, _, error) = setting.run(&["serve", "--role", "api"], "").await;
    assert!(code == 2 && error.contains("the key old is missing"), "{code}: {error}");
    setting.database.shift_clock(120).await;
    let (code, _, error) = setting.run(&["vault", "give-up"], "").await;
    assert!(code == 1 && error.contains("data needs it"), "{code}: {error}");
    setting.options.vault_keys = &["new", "old"];
    let (code, said, error) = setting.run(&["vault", "rotate"], "").await;
    assert_eq!(code, 0, "{said}{error}");
    assert!(
        said.contains("1 data key rewrapped") && said.contains("old is no longer needed"),
        "{said}"
    );
    setting.options.vault_keys = &["new"];
    let (code, status, _) = setting.run(&["vault", "status"], "").await;
    assert_eq!((code, status.trim()), (0, "KEY  STATE\nnew  primary"));
    let (code, said, error) = setting.run(&["webhooks", "rotate", &id], "").await;
    assert!(code == 0 && said.starts_with("whsec_"), "{said}{error}");
}

#[tokio::test]
async fn deliveries_are_listed_without_keys_where_no_answer_is_shown() {
    let mut setting = Setting::new(Options { fixed_clock: false, ..options() }).await;
    let (code, said, error) = setting.run(&["webhooks", "add", "--url", URL, "--json"], "").await;
    assert_eq!(code, 0, "{error}");
    let id = serde_json::from_str::<Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    let pool = setting.database.pool().await;
    record_attempts(&pool, id.parse().unwrap(), b"sealed", &[Uuid::from_u128(7)]).await;
    setting.options.vault_keys = &[];
    let (code, said, error) = setting.run(&["webhooks", "deliveries", &id], "").await;
    assert!(code == 0 && said.contains("500"), "{code}: {said}{error}");
    let (code, _, error) = setting.run(&["webhooks", "deliveries", &id, "--json"], "").await;
    assert!(code == 1 && error.contains("vault.keys is needed"), "{code}: {error}");
}

#[tokio::test]
async fn the_command_line_does_what_the_api_does() {
    let setting = Setting::new(Options { fixed_clock: false, ..options() }).await;
    let run = async |arguments: &[&str]| {
        let arguments: Vec<&str> = [&["webhooks"], arguments].concat();
        setting.run(&arguments, "").await
    };
    let done = async |arguments: &[&str]| {
        let (code, said, error) = run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {said}{error}");
        said
    };
    let said = done(&[
        "add",
        "--url",
        URL,
        "--types",
        "verification.decided,policy.activated",
        "--biz-types",
        "a",
        "--ordering",
        "strict",
        "--requests-per-second",
        "2.5",
    ])
    .await;
    let secret = said.lines().next().unwrap();
    assert!(Webhook::new(secret).is_ok() && secret.starts_with("whsec_"), "{said}");
    let list: Value = serde_json::from_str(&done(&["list", "--json"]).await).unwrap();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    assert!(said.contains(&id));
    assert_eq!(list[0]["types"], json!(["verification.decided", "policy.activated"]));
    let line = done(&["list"]).await;
    assert!(line.contains(&id) && line.contains("active") && !line.contains("whsec_"), "{line}");
    let shown: Value = serde_json::from_str(&done(&["show", &id, "--json"]).await).unwrap();
    assert_eq!(
        (&shown["ordering"], &shown["requests_per_second"]),
        (&json!("strict"), &json!(2.5))
    );
    done(&["pause", &id]).await;
    let shown = done(&["show", &id]).await;
    assert!(shown.contains("paused") && shown.contains(URL), "{shown}");
    let test = done(&["test", &id]).await;
    assert!(test.contains("evt_"), "{test}");
    done(&["resume", &id]).await;
    let rotated = done(&["rotate", &id, "--keep-seconds", "60"]).await;
    assert!(rotated.starts_with("whsec_") && rotated.contains("signs as well until"), "{rotated}");
    let ring: Value =
        serde_json::from_str(&done(&["rotate", &id, "--keep-seconds", "0", "--json"]).await)
            .unwrap();
    assert_eq!(ring["previous_secret_until"], Value::Null);
    let again = done(&["redeliver", &id, "--from", "1", "--to", "5"]).await;
    assert!(again.starts_with("0 events"), "{again}");
    done(&["redeliver", &id, "--failed"]).await;
    done(&["redeliver", &id, "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00Z"])
        .await;
    let deliveries = done(&["deliveries", &id, "--json"]).await;
    assert_eq!(deliveries.trim(), "[]");
    let scenes = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for (arguments, said) in [
        (&["add", "--url", "http://example.com/"][..], "allow_private"),
        (&["add", "--url", URL, "--biz-types", &scenes], "--biz-types must list 1 to 100"),
        (&["add", "--url", URL, "--biz-types", ""], "--biz-types must list 1 to 100"),
        (&["add", "--url", URL, "--types", ""], "--types must list at least one"),
        (&["add", "--url", URL, "--types", "decided"], "verification.decided"),
        (&["add", "--url", URL, "--start", "soon"], "beginning"),
        (&["add", "--url", URL, "--start", "9"], "--start"),
        (&["add", "--url", URL, "--requests-per-second", "0"], "0.1"),
        (&["redeliver", &id], "--failed"),
        (&["redeliver", &id, "--from", "1"], "--to"),
        (&["redeliver", &id, "--from", "2", "--to", "1"], "--to"),
        (&["redeliver", &id, "--failed", "--from", "1", "--to", "2"], "--failed"),
        (&["redeliver", &id, "--event", "evt_00000000000000000000000000000000"], "--event"),
        (&["rotate", &id, "--keep-seconds", "2592001"], "keep-seconds"),
        (&["show", "1"], "endpoint's id"),
    ] {
        let (code, _, error) = run(arguments).await;
        assert!(code == 2 && error.contains(said), "{arguments:?}: {code} {error}");
    }
    done(&["remove", &id]).await;
    let (code, _, error) = run(&["show", &id]).await;
    assert!(code == 1 && error.contains("no such endpoint"), "{code}: {error}");
    let actors: Vec<String> =
        sqlx::query_scalar("select distinct actor from audit where action like 'webhook.%'")
            .fetch_all(&setting.database.pool().await)
            .await
            .unwrap();
    assert!(actors.len() == 1 && actors[0].starts_with("cli:"), "{actors:?}");
}
