//! Verifications in every state that the previous version leaves behind: the new one reads them as they
//! were and completes what is open. Then it serves the product that the previous one never met.

use std::net::SocketAddr;

use cloudauth_sandbox::Scenario;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{Callback, Process, Reply, Setting, eventually, now};

/// Its own scene: the load beside it has another one.
const SCENE: &str = "states";
const WHY: (&str, &str) = ("verdict-purpose", "request 12");

/// Verifications that the previous version has settled: `biz_id`, state, outcome.
const SETTLED: [(&str, &str, Option<&str>); 7] = [
    ("pass-97-approve", "decided", Some("approve")),
    ("status-2-reject", "decided", Some("reject")),
    ("status-3-retry", "decided", Some("retry")),
    ("status-12-review", "decided", Some("review")),
    ("pass-97-erased", "erased", Some("approve")),
    ("expired", "expired", None),
    ("invalidbiz", "failed", None),
];
/// Verifications that it leaves open: not called for yet, polled once, and under a call at its stop.
const PENDING: &str = "pass-97-pending";
const UNFINISHED: &str = "quit-unfinished";
const UNDER_CALL: &str = "slow-2000-pass-97-called";

/// The verifications, and how the previous version showed them.
pub struct States {
    shown: Vec<(String, [Value; 3])>,
}

impl States {
    /// Brings one into each state, by processes of the previous version.
    pub async fn begin(setting: &Setting, http: SocketAddr, pool: &PgPool) -> Self {
        for (biz_id, ..) in SETTLED {
            post(setting, http, biz_id).await;
        }
        for (biz_id, state, outcome) in SETTLED {
            let state = if state == "erased" { "decided" } else { state };
            comes_to(setting, http, biz_id, state, outcome).await;
        }
        let erased = id_of(setting, http, "pass-97-erased").await;
        let path = format!("/v1/verifications/{erased}/material");
        let erased = setting.ask("DELETE", http, &path, &[WHY]).await;
        assert_eq!(erased.status, 202, "{erased:?}");
        post(setting, http, UNFINISHED).await;
        comes_to(setting, http, UNFINISHED, "unfinished", None).await;
        sleeps(pool, UNFINISHED).await;
        post(setting, http, PENDING).await;
        sleeps(pool, PENDING).await;
        // A worker may have been faster.
        let pending = "update verifications set state = 'pending' where biz_id = $1
             and not exists (select from results where verification_id = verifications.id)";
        sqlx::query(pending).bind(PENDING).execute(pool).await.unwrap();
        let mut shown = Vec::new();
        for (biz_id, ..) in SETTLED {
            let id = id_of(setting, http, biz_id).await;
            shown.push((id.clone(), read(setting, http, &id).await));
        }
        Self { shown }
    }

    /// The previous worker gets its stop signal while a call is under way.
    pub async fn call_is_under_way(setting: &Setting, api: SocketAddr, pool: &PgPool) {
        post(setting, api, UNDER_CALL).await;
        eventually("it is called for", || async {
            let leased = "select lease_token is not null from verifications where biz_id = $1";
            let leased = sqlx::query_scalar(leased).bind(UNDER_CALL).fetch_optional(pool).await;
            (leased.unwrap() == Some(true)).then_some(())
        })
        .await;
    }

    /// The new version shows what is settled as the previous one did. A version that is another one may
    /// show more.
    pub async fn are_shown_as_before(&self, setting: &Setting, api: SocketAddr, exactly: bool) {
        for (id, before) in &self.shown {
            let now = read(setting, api, id).await;
            if exactly {
                assert_eq!(&now, before, "{id}");
            }
            for (now, before) in now.iter().zip(before) {
                assert_eq!(essence(now), essence(before), "{id}");
            }
        }
    }

    /// New processes alone settle the open verifications, and take messages and verdicts about settled ones.
    pub async fn go_on(&self, setting: &Setting, api: &Process, pool: &PgPool) {
        for biz_id in [UNFINISHED, "status-3-retry"] {
            setting.provider.set_scenario(biz_id, Scenario::parse("pass-97"));
        }
        sqlx::query("update verifications set due_at = now() where biz_id = any ($1)")
            .bind(&[PENDING, UNFINISHED][..])
            .execute(pool)
            .await
            .unwrap();
        // A new message: it also wakes the worker.
        post(setting, api.http, "status-3-retry").await;
        for biz_id in [PENDING, UNFINISHED, UNDER_CALL, "status-3-retry"] {
            comes_to(setting, api.http, biz_id, "decided", Some("approve")).await;
        }
        assert_eq!(decisions(setting, api.http, "status-3-retry").await, 2);
        // Closed: asked for once, whatever comes.
        post(setting, api.http, "pass-97-approve").await;
        let id = id_of(setting, api.http, "status-12-review").await;
        let url = format!("http://{}/v1/verifications/{id}/reviews", api.http);
        let review = setting.client.post(url).bearer_auth(&setting.api_key);
        let review = review.header("content-type", "application/json");
        let review = review.body(r#"{"outcome":"reject","reason":"forged-card"}"#).send().await;
        assert_eq!(review.unwrap().status(), 201);
        comes_to(setting, api.http, "status-12-review", "decided", Some("reject")).await;
        assert_eq!(decisions(setting, api.http, "pass-97-approve").await, 1);
        let body = json!({ "biz_type": SCENE, "biz_id": "pass-97-erased" });
        let erased = Callback::signed(&body.to_string(), now());
        assert_eq!(api.post(&setting.client, erased).await, Some(410));
    }
}

/// The product that the previous version never met: reported, started, repeated, erased.
pub async fn face_verify_is_served(setting: &Setting, api: &Process, pool: &PgPool) {
    for (certify_id, outcome) in [("fv-pass97-new", "approve"), ("fv-204-new", "reject")] {
        let body = json!({ "product": "face-verify", "biz_type": "1000000006",
            "certify_id": certify_id });
        let reported = Callback::signed(&body.to_string(), now());
        assert_eq!(api.post(&setting.client, reported).await, Some(202));
        comes_to_in("1000000006", setting, api.http, certify_id, "decided", Some(outcome)).await;
    }
    let start = json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": "pass97new",
        "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD", "cert_name": "Somebody",
        "cert_no": "11010519491231002X", "meta_info": { "deviceType": "ios" }
    });
    let send = async || {
        let request = setting.client.post(format!("http://{}/v1/verifications", api.http));
        let request = request.header("content-type", "application/json");
        let request = request.bearer_auth(&setting.api_key).body(start.to_string());
        Reply::read(request.send().await.unwrap()).await
    };
    let started = send().await;
    assert_eq!(started.status, 201, "{started:?}");
    let again = send().await;
    assert_eq!((again.status, &again.json["certify_id"]), (200, &started.json["certify_id"]));
    let body = json!({ "product": "face-verify", "biz_type": "1000000006", "biz_id": "pass97new" });
    let reported = Callback::signed(&body.to_string(), now());
    assert_eq!(api.post(&setting.client, reported).await, Some(202));
    let decided =
        comes_to_in("1000000006", setting, api.http, "pass97new", "decided", Some("approve")).await;
    let path = format!("/v1/verifications/{}/material", decided["id"].as_str().unwrap());
    let erased = setting.ask("DELETE", api.http, &path, &[WHY]).await;
    assert_eq!(erased.status, 202, "{erased:?}");
    // The previous product's pair stays its own.
    let other = json!({ "product": "face-verify", "biz_type": SCENE, "biz_id": "expired" });
    let other = Callback::signed(&other.to_string(), now());
    assert_eq!(api.post(&setting.client, other).await, Some(409));
    let products = "select string_agg(distinct product, ' ' order by product) from verifications";
    let products: String = sqlx::query_scalar(products).fetch_one(pool).await.unwrap();
    assert_eq!(products, "face-verify verify-result");
}

async fn post(setting: &Setting, http: SocketAddr, biz_id: &str) {
    let body = json!({ "biz_type": SCENE, "biz_id": biz_id });
    let callback = Callback::signed(&body.to_string(), now());
    let mut request = setting.client.post(format!("http://{http}/v1/callbacks/app"));
    for (name, value) in callback.headers {
        request = request.header(name, value);
    }
    let reply = Reply::read(request.body(callback.body).send().await.unwrap()).await;
    assert_eq!(reply.status, 202, "{biz_id}: {reply:?}");
}

/// Nobody calls for it before the test says so.
async fn sleeps(pool: &PgPool, biz_id: &str) {
    let later = "update verifications set due_at = now() + interval '1 hour', lease_token = null,
        lease_until = null where biz_id = $1";
    sqlx::query(later).bind(biz_id).execute(pool).await.unwrap();
}

async fn found(setting: &Setting, http: SocketAddr, scene: &str, biz_id: &str) -> Value {
    let path = format!("/v1/verifications?biz_type={scene}&biz_id={biz_id}");
    setting.get(http, &path).await.json["items"][0].clone()
}

async fn id_of(setting: &Setting, http: SocketAddr, biz_id: &str) -> String {
    found(setting, http, SCENE, biz_id).await["id"].as_str().unwrap().to_owned()
}

async fn comes_to(
    setting: &Setting,
    http: SocketAddr,
    biz_id: &str,
    state: &str,
    outcome: Option<&str>,
) -> Value {
    comes_to_in(SCENE, setting, http, biz_id, state, outcome).await
}

async fn comes_to_in(
    scene: &str,
    setting: &Setting,
    http: SocketAddr,
    biz_id: &str,
    state: &str,
    outcome: Option<&str>,
) -> Value {
    eventually(&format!("{biz_id} is {state} {outcome:?}"), || async {
        let now = found(setting, http, scene, biz_id).await;
        let fits = now["state"] == state && now["decision"]["outcome"].as_str() == outcome;
        fits.then_some(now)
    })
    .await
}

async fn decisions(setting: &Setting, http: SocketAddr, biz_id: &str) -> usize {
    let id = id_of(setting, http, biz_id).await;
    let [_, decisions, _] = read(setting, http, &id).await;
    decisions["items"].as_array().unwrap().len()
}

/// The verification, its decisions, its results.
async fn read(setting: &Setting, http: SocketAddr, id: &str) -> [Value; 3] {
    let mut all = [Value::Null, Value::Null, Value::Null];
    for (place, path) in all.iter_mut().zip(["", "/decisions", "/results"]) {
        let reply = setting.get(http, &format!("/v1/verifications/{id}{path}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        *place = reply.json;
    }
    all
}

/// The answers in which two versions must agree.
fn essence(shown: &Value) -> Vec<Value> {
    let of = |shown: &Value| {
        let members = [
            "id",
            "state",
            "biz_type",
            "biz_id",
            "outcome",
            "reasons",
            "verify_status",
            "attempts",
            "attempt",
            "policy",
            "result_id",
        ];
        let mut kept: Vec<Value> = members.map(|name| shown[name].clone()).into();
        kept.push(shown["decision"]["outcome"].clone());
        Value::Array(kept)
    };
    match shown["items"].as_array() {
        Some(items) => items.iter().map(of).collect(),
        None => vec![of(shown)],
    }
}
