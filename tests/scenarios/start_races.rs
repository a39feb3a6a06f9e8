//! A start is billed. No event in this process or another one repeats the call or loses its answer.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use sqlx::PgPool;
use verdict::app::Role;
use verdict::domain::callback::CertifyId;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{Ids, LeaseToken, VerificationId};
use verdict::store::starts::StartCall;

use crate::harness::{Options, Reply, Setting, TestApp, eventually, new_database, now, provider};

const DONE: &str = "https://app.example/done";

fn app_start(order_number: &str) -> Value {
    json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": order_number,
        "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD", "cert_name": "Marked Person",
        "cert_no": "11010519491231002X", "meta_info": { "deviceType": "ios" }
    })
}

/// With a page, whose address only the answer of the start tells.
fn page_start(order_number: &str) -> Value {
    let mut body = app_start(order_number);
    body["source"] = "web".into();
    body["certify_url_type"] = "H5".into();
    body["return_url"] = DONE.into();
    body
}

fn options() -> Options {
    let secret = "whsec_dGhlIHNlY3JldCBvZiB0aGUgd2ViIHBhZ2UncyBiYWNrZW5k";
    let more = format!("[sources.web]\nsecrets = [\"{secret}\"]\nreturn_urls = [\"{DONE}\"]\n");
    Options { role: Role::Api, more, ..Options::default() }
}

impl TestApp {
    fn inits_of(&self, order_number: &str) -> usize {
        let calls = self.provider.calls().into_iter();
        let of =
            calls.filter(|call| call.action == "InitFaceVerify" && call.biz_id == order_number);
        of.count()
    }

    /// Waits until the provider has started it; its answer is slower.
    async fn is_being_started(&self, order_number: &str) {
        eventually("the provider is called", || async {
            (!self.provider.certify_ids(order_number).is_empty()).then_some(())
        })
        .await;
    }
}

/// All of them have read that nothing was sent when the first one takes the start.
#[tokio::test]
async fn simultaneous_repeats_after_a_throttled_call_make_one_call() {
    let app = TestApp::start_with(options()).await;
    let body = app_start("initthrottled1slow300passu1");
    app.start_verification(&body).await.assert_problem(503, "provider-unavailable");
    let pool = app.database.pool().await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select 1 from starts for update").execute(&mut *holder).await.unwrap();
    let released = async {
        eventually("all wait for the row", || async {
            let waiting = "select count(*) = 3 from pg_stat_activity where wait_event_type = 'Lock'
                and datname = current_database()";
            let all: bool = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
            all.then_some(())
        })
        .await;
        holder.commit().await.unwrap();
    };
    let replies = futures_util::future::join_all((0..3).map(|_| app.start_verification(&body)));
    let (replies, ()) = tokio::join!(replies, released);
    let mut created = 0;
    for reply in replies {
        match reply.status {
            201 => created += 1,
            200 => {}
            _ => reply.assert_problem(409, "start-running"),
        }
    }
    let of = "initthrottled1slow300passu1";
    assert_eq!((created, app.provider.certify_ids(of).len(), app.inits_of(of)), (1, 1, 2));
}

#[tokio::test]
async fn start_goes_on_without_its_client() {
    let app = TestApp::start_with(options()).await;
    let body = page_start("slow500passu2");
    let gone = {
        let url = format!("http://{}/v1/verifications", app.http);
        let request = app.client.post(url).bearer_auth(&app.api_key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        tokio::spawn(request.send())
    };
    app.is_being_started("slow500passu2").await;
    gone.abort();
    let again = eventually("the start is done", || async {
        let again = app.start_verification(&body).await;
        (again.json["code"] != "start-running").then_some(again)
    })
    .await;
    assert_eq!(again.status, 200, "{again:?}");
    assert!(again.json["certify_url"].is_string(), "the page is not lost: {again:?}");
    assert_eq!(app.inits_of("slow500passu2"), 1);
}

#[tokio::test]
async fn stop_waits_for_a_start_whose_client_has_gone() {
    let more = format!("drain_seconds = 60\n{}", options().more);
    let setting = Setting::new(Options { fixed_clock: false, more, ..options() }).await;
    let process = setting.serve().await;
    // Slower than a stop that waits for nothing.
    let of = "slow8000passu20";
    let post = |at: SocketAddr| {
        let request = setting.client.post(format!("http://{at}/v1/verifications"));
        let request = request.bearer_auth(&setting.api_key);
        request.header("content-type", "application/json").body(page_start(of).to_string()).send()
    };
    let gone = tokio::spawn(post(process.http));
    eventually("the provider is called", || async {
        (!setting.provider.certify_ids(of).is_empty()).then_some(())
    })
    .await;
    gone.abort();
    assert!(gone.await.is_err(), "the provider has not answered yet");
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log:?}");

    let process = setting.serve().await;
    let again = Reply::read(post(process.http).await.unwrap()).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.json["certify_id"], setting.provider.certify_ids(of)[0]);
    assert!(again.json["certify_url"].is_string(), "the page is not lost: {again:?}");
    assert_eq!(setting.provider.certify_ids(of).len(), 1);
    process.kill().await;
}

#[tokio::test]
async fn answer_is_stored_when_postgres_is_back() {
    let (database, network) = new_database().await.behind_proxy().await;
    let clock = Clock::fixed(time::macros::datetime!(2026-11-23 09:30 UTC));
    let (sandbox, address) = provider(&clock).await;
    let options = Options { database: Some(database), ..options() };
    let app = TestApp::start_beside(options, sandbox, address, clock).await;
    let body = page_start("slow500passu3");
    let interrupted = async {
        app.is_being_started("slow500passu3").await;
        network.refuse(true);
        network.cut();
        // Until the answer has come, and could not be stored.
        tokio::time::sleep(Duration::from_millis(900)).await;
        network.refuse(false);
    };
    let (started, ()) = tokio::join!(app.start_verification(&body), interrupted);
    assert_eq!(started.status, 201, "{started:?}");
    let again = app.start_verification(&body).await;
    assert_eq!((again.status, &again.json["certify_url"]), (200, &started.json["certify_url"]));
    assert_eq!(app.inits_of("slow500passu3"), 1);
}

async fn erase(app: &TestApp, order_number: &str) -> Reply {
    let path = format!("/v1/verifications?biz_type=1000000006&biz_id={order_number}");
    let found = app.get(&path).await.json;
    let id = found["items"][0]["id"].as_str().unwrap().to_owned();
    let request = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let request = request.bearer_auth(&app.api_key).header("verdict-purpose", "request 1");
    Reply::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn person_erased_during_the_call_is_erased_at_the_provider_too() {
    let app = TestApp::start_with(Options { role: Role::All, ..options() }).await;
    let body = app_start("slow500passu4");
    let erased = async {
        app.is_being_started("slow500passu4").await;
        erase(&app, "slow500passu4").await
    };
    let (started, erased) = tokio::join!(app.start_verification(&body), erased);
    assert_eq!(erased.status, 202, "{erased:?}");
    started.assert_problem(410, "erased");
    app.start_verification(&body).await.assert_problem(410, "erased");
    let certify_id = &app.provider.certify_ids("slow500passu4")[0];
    eventually("the provider's copy is gone", || async {
        app.provider.is_deleted(certify_id).then_some(())
    })
    .await;
    let receipt = eventually("the receipt says so", || async {
        let receipt = erase(&app, "slow500passu4").await.json;
        receipt["provider_copy"]["deleted_at"].is_string().then_some(receipt)
    })
    .await;
    assert_eq!(receipt["provider_copy"]["stays"], json!([]));
    let pool = app.database.pool().await;
    let kept = "select answer is not null from starts";
    assert!(!sqlx::query_scalar::<_, bool>(kept).fetch_one(&pool).await.unwrap());
    assert_eq!(app.inits_of("slow500passu4"), 1);
}

/// Every parameter, and another value than the first request had.
const OTHERS: [(&str, &str); 31] = [
    ("product_code", "ID_PLUS"),
    ("cert_type", "PASSPORT"),
    ("cert_name", "Other"),
    ("cert_no", "110105194912310038"),
    ("user_id", "u"),
    ("ip", "203.0.113.7"),
    ("mobile", "13900001111"),
    ("auth_id", "a"),
    ("model", "LIVENESS"),
    ("certify_url_style", "L"),
    ("procedure_priority", "keep"),
    ("h5_degrade_confirm_btn", "Y"),
    ("ui_custom_url", "https://cdn.example/ui.json"),
    ("camera_selection", "Y"),
    ("face_contrast_picture", "AAAA"),
    ("face_contrast_picture_url", "https://cdn.example/face.jpg"),
    ("certify_id", "sha7"),
    ("crop", "T"),
    ("video_evidence", "true"),
    ("face_guard_output", "DeviceRisk"),
    ("app_quality_check", "Y"),
    ("need_multi_face_check", "Y"),
    ("suitable_type", "1"),
    ("rarely_characters", "Y"),
    ("enable_beauty", "Y"),
    ("mode", "1"),
    ("read_img", "Y"),
    ("birthday", "1990-01-01"),
    ("validity_date", "2030-01-01"),
    ("voluntary_customized_content", "[\"a\"]"),
    ("return_url", DONE),
];

#[tokio::test]
async fn start_with_any_other_parameter_is_another_start() {
    let app = TestApp::start_with(options()).await;
    let mut body = app_start("passu5");
    body["source"] = "web".into();
    assert_eq!(app.start_verification(&body).await.status, 201);
    for (member, value) in OTHERS {
        let mut other = body.clone();
        other[member] = value.into();
        let reply = app.start_verification(&other).await;
        assert_eq!(reply.json["code"], "order-number-used", "{member}: {reply:?}");
    }
    // The form of a ciphertext of SM2.
    let cipher = base64::engine::general_purpose::STANDARD.encode([4; 98]);
    let mut other = body.clone();
    for (member, value) in
        [("encrypt_type", "SM2"), ("cert_name", cipher.as_str()), ("cert_no", cipher.as_str())]
    {
        other[member] = value.into();
    }
    app.start_verification(&other).await.assert_problem(409, "order-number-used");
    for member in ["cert_type", "cert_name", "cert_no"] {
        let mut other = body.clone();
        other["product_code"] = "ID_PLUS".into();
        other.as_object_mut().unwrap().remove(member);
        app.start_verification(&other).await.assert_problem(409, "order-number-used");
    }
    assert_eq!(app.start_verification(&body).await.status, 200);
    assert_eq!(app.inits_of("passu5"), 1);
}

async fn rows(pool: &PgPool) -> Vec<String> {
    let all =
        "select v::text from verifications v union all select s::text from starts s order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

/// The process that called has lost the start to another one.
#[tokio::test]
async fn call_that_was_taken_over_changes_nothing() {
    let app = TestApp::start_with(options()).await;
    app.start_verification(&app_start("initcutunlistedu6")).await;
    let pool = app.database.pool().await;
    // Another process is calling now.
    let calls = "update verifications set lease_until = now() + interval '1 minute',
        lease_token = (select call_token from starts where verification_id = verifications.id)
        returning id";
    let id: uuid::Uuid = sqlx::query_scalar(calls).fetch_one(&pool).await.unwrap();
    let before = rows(&pool).await;
    let (id, ids) = (VerificationId(id), Ids::random());
    let at = now();
    let stale = StartCall {
        token: LeaseToken(uuid::Uuid::from_u128(7)),
        callback_token: None,
        at,
        expires_at: at,
        lease: Duration::from_secs(1),
        window: Duration::from_secs(1),
    };
    let (starts, certify_id) = (app.store.starts(), CertifyId::parse(&ids.nonce()).unwrap());
    assert!(!starts.answered(id, stale, &certify_id, b"sealed", at).await.unwrap());
    starts.refused(id, stale, "417", at).await.unwrap();
    starts.not_sent(id, stale).await.unwrap();
    starts.unknown(id, stale).await.unwrap();
    assert!(!starts.take(id, stale).await.unwrap());
    assert_eq!(rows(&pool).await, before);
}
