//! A started person, whose every datum is a canary: from the start over page, return and the provider's
//! callback to the deletion, none of it is in logs, metrics, spans, errors, events or a dump of the
//! database; nor are the tokens that open the verification.

use std::net::SocketAddr;

use base64::Engine;
use cloudauth_sandbox::face::Finding;
use serde_json::{Value, json};

use crate::harness::{
    Collector, Options, Process, Reply, Setting, dump, eventually, mark_in_bytes, person_in,
    spellings,
};
use crate::starting_face_verify::listener;

const WEB: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgd2ViIHBhZ2UncyBiYWNrZW5k";
const DONE: &str = "https://app.example/done?session=canary-session";
const NAME: &str = "卡纳里";
const NUMBER: &str = "110101198707070777";
const PICTURE_URL: &str =
    "https://127.0.0.1:1/canary.jpg?OSSAccessKeyId=canary-key&Signature=canary-signature";

/// The person's data that a start sends to the provider.
const CANARIES: [&str; 12] = [
    NAME,
    NUMBER,
    "13912345678",
    "canary-user-4711",
    "canary-consent-1",
    "CANARY-DEVICE",
    "203.0.113.77",
    "CANARY-PICTURE",
    "canary-session",
    "canary-signature",
    "canary-ui",
    // URLs that strangers call.
    "canary-extra",
];

/// A start with all of them.
fn start(order_number: &str) -> Value {
    json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": order_number, "source": "web",
        "product_code": "ID_PLUS", "cert_type": "IDENTITY_CARD", "cert_name": NAME,
        "cert_no": NUMBER, "mobile": CANARIES[2], "user_id": CANARIES[3], "auth_id": CANARIES[4],
        "meta_info": { "deviceType": "h5", "token": CANARIES[5] }, "ip": CANARIES[6],
        "ui_custom_url": "https://cdn.example/canary-ui.json"
    })
}

fn with(mut body: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn picture() -> String {
    let bytes = [&b"\xff\xd8\xff"[..], "CANARY-PICTURE".repeat(500).as_bytes()].concat();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn post(setting: &Setting, http: SocketAddr, body: String) -> Reply {
    let request = setting.client.post(format!("http://{http}/v1/verifications"));
    let request = request.header("content-type", "application/json").bearer_auth(&setting.api_key);
    Reply::read(request.body(body).send().await.unwrap()).await
}

/// As the browser and the provider ask: without a key, and without following.
async fn stranger(http: SocketAddr, target: &str) -> Reply {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let request = client.build().unwrap().get(format!("http://{http}{target}"));
    Reply::read(request.send().await.unwrap()).await
}

/// Every way in which a start fails; the texts of the errors.
async fn failures(setting: &Setting, http: SocketAddr) -> Vec<String> {
    let mut told = Vec::new();
    let known =
        with(start("passfulluserinforiskguard77u1"), &json!({ "cert_name": "canary-extra" }));
    let by_url = json!({ "product_code": "PV_FV", "face_contrast_picture_url": PICTURE_URL });
    let elsewhere =
        json!({ "certify_url_type": "H5", "return_url": "https://evil.example/canary-session" });
    let huge = json!({ "product_code": "PV_FV", "face_contrast_picture": picture().repeat(250) });
    for (body, status, code) in [
        (start("init417u2").to_string(), 422, "provider-refused"),
        (with(start("passu3"), &by_url).to_string(), 422, "provider-refused"),
        (known.to_string(), 409, "order-number-used"),
        (start("initcutunlistedu4").to_string(), 409, "start-unknown"),
        (start("initgarbageunlistedu4").to_string(), 409, "start-unknown"),
        (start("initthrottled1u5").to_string(), 503, "provider-unavailable"),
        (with(start("passu6"), &elsewhere).to_string(), 422, "invalid-field"),
        (with(start("passu6"), &json!({ "model": NAME })).to_string(), 422, "invalid-field"),
        (with(start("passu6"), &json!({ NAME: NUMBER })).to_string(), 422, "invalid-field"),
        (with(start("passu6"), &huge).to_string(), 413, "body-too-large"),
        (start("passu6").to_string().replace('}', ""), 400, "malformed-json"),
    ] {
        let reply = post(setting, http, body).await;
        reply.assert_problem(status, code);
        told.push(reply.text);
    }
    // The provider echoes everything that was signed.
    setting.provider.set_secret("another".to_owned().into());
    let reply = post(setting, http, start("passu7").to_string()).await;
    reply.assert_problem(503, "provider-unavailable");
    setting.provider.set_secret("provider-secret".to_owned().into());
    told.push(reply.text);
    told
}

/// Returns of the user and callbacks of the provider, and the same from strangers. Returns the answers.
async fn hints(http: SocketAddr, certify_id: &str, callback: &str) -> Vec<String> {
    let encode =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let response = json!({ "code": 1000, "extInfo": { "certifyId": certify_id } }).to_string();
    let home = format!("response={}&canary-extra={NUMBER}", encode(&response));
    let mut told = Vec::new();
    for (target, status) in [
        (format!("/v1/returns/web?{home}&to={}", encode(DONE)), 303),
        (format!("/v1/returns/web?{home}&to=https%3A%2F%2Fevil.example%2Fcanary-extra"), 303),
        (format!("/v1/returns/web?response={}", encode(NAME)), 303),
        (format!("/v1/returns/canary-extra?{home}"), 404),
        (format!("/v1/provider-callbacks/default?{callback}"), 200),
        (format!("/v1/provider-callbacks/canary-extra?{callback}"), 200),
        (
            format!(
                "/v1/provider-callbacks/default?callbackToken=canary-extra&certifyId={certify_id}"
            ),
            200,
        ),
        (
            format!(
                "/v1/provider-callbacks/default?certifyId=canary-extra&passed={}",
                encode(NAME)
            ),
            200,
        ),
    ] {
        let reply = stranger(http, &target).await;
        assert_eq!(reply.status, status, "{target}: {reply:?}");
        told.push(reply.text);
    }
    told
}

/// The query of the provider's callback about this one, and the token in it.
async fn called_back(lines: &std::sync::Mutex<Vec<String>>, certify_id: &str) -> (String, String) {
    eventually("the provider calls back", || async {
        let lines = lines.lock().unwrap();
        let line = lines.iter().find(|line| line.contains(certify_id))?;
        let query = line.split([' ', '?']).nth(2)?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let (_, token) = pairs.find(|(name, _)| name == "callbackToken")?;
        Some((query.to_owned(), token.into_owned()))
    })
    .await
}

async fn decided(setting: &Setting, process: &Process, started: &Reply) -> String {
    let id = started.json["verification"]["id"].as_str().unwrap();
    let read = setting.get(process.http, &format!("/v1/verifications/{id}?wait=30")).await;
    assert_eq!(read.json["state"], "decided", "{read:?}");
    id.to_owned()
}

#[track_caller]
fn assert_none(what: &str, bytes: &[u8], marks: &[String]) {
    let text = String::from_utf8_lossy(bytes);
    for mark in marks {
        for spelling in spellings(mark) {
            assert!(!text.contains(&spelling), "{what}: {mark}, written {spelling}");
        }
    }
    // The people that the simulated provider invents.
    assert_eq!(mark_in_bytes(bytes, &[]), None, "{what}");
}

async fn both_deletions_are_logged(setting: &Setting) {
    let pool = setting.database.pool().await;
    eventually("both of the provider's answers are in the log", || async {
        // A second attempt comes after the line about the first.
        let query =
            "select bool_and(deleted_at is not null or attempts > 1) from provider_deletions";
        let logged: bool = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        logged.then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_started_person_is_told_or_kept_in_clear() {
    let collector = Collector::start().await;
    let (address, lines) = listener().await;
    let more = format!(
        "[log]\nfilter = \"trace\"\n{}[provider.face_verify]\n\
         callback_url = \"http://{address}/callback\"\n\
         [sources.web]\nsecrets = [\"{WEB}\"]\nreturn_urls = [\"{DONE}\"]\n",
        collector.configuration()
    );
    let http = "public_url = \"https://verdict.example\"";
    let setting =
        Setting::new(Options { more, http, fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;

    let to: String = url::form_urlencoded::byte_serialize(DONE.as_bytes()).collect();
    let page = json!({ "certify_url_type": "H5", "certify_url_style": "L",
        "return_url": format!("https://verdict.example/v1/returns/web?to={to}") });
    let page = with(start("passfulluserinforiskguard77u1"), &page);
    let picture = json!({ "product_code": "PV_FV", "face_contrast_picture": picture() });
    let compared = with(start("passsubmitsdelete500u2"), &picture);
    let mut started = Vec::new();
    for body in [&page, &compared] {
        let reply = post(&setting, process.http, body.to_string()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(post(&setting, process.http, body.to_string()).await.status, 200);
        started.push(reply);
    }
    let certify_ids = [0, 1].map(|n| started[n].json["certify_id"].as_str().unwrap());
    setting.provider.submit(certify_ids[0], Finding::PASS).await.unwrap();
    let mut marks: Vec<String> = CANARIES.map(ToOwned::to_owned).into();
    let mut told = failures(&setting, process.http).await;
    for certify_id in certify_ids {
        let (callback, token) = called_back(&lines, certify_id).await;
        marks.push(token);
        told.extend(hints(process.http, certify_id, &callback).await);
    }
    let page = started[0].json["certify_url"].as_str().unwrap();
    marks.push(page.to_owned());
    marks.push(page.rsplit('=').next().unwrap().trim_end_matches("%3D").to_owned());
    marks.push(setting.api_key.clone());
    let secrets = ["provider-secret", &WEB[6..], &crate::harness::vault_secret("test")];
    marks.extend(secrets.map(ToOwned::to_owned));

    let ids = [
        decided(&setting, &process, &started[0]).await,
        decided(&setting, &process, &started[1]).await,
    ];
    let before = dump(&setting.database.url);
    let why = ("verdict-purpose", "appeal 4711");
    let material = format!("/v1/verifications/{}/material", ids[0]);
    let shown = setting.ask("GET", process.http, &material, &[why]).await;
    assert!(person_in(&shown.text, &[]).is_some(), "the person is shown: {shown:?}");
    for id in &ids {
        let path = format!("/v1/verifications/{id}/material");
        told.push(setting.ask("GET", process.http, &path, &[]).await.text);
        let erased = setting.ask("DELETE", process.http, &path, &[why]).await;
        assert_eq!(erased.status, 202, "{erased:?}");
        told.push(erased.text);
        told.push(setting.ask("GET", process.http, &path, &[why]).await.text);
        told.push(
            setting.get(process.http, &format!("/v1/verifications/{id}/timeline")).await.text,
        );
    }
    told.push(post(&setting, process.http, compared.to_string()).await.text);
    eventually("the provider was asked to delete both copies", || async {
        let calls = setting.provider.calls();
        let deletions = calls.iter().filter(|call| call.action == "DeleteFaceVerifyResult");
        let of: std::collections::HashSet<_> = deletions.map(|call| call.biz_id.clone()).collect();
        (setting.provider.is_deleted(certify_ids[0]) && of.len() == 2).then_some(())
    })
    .await;
    both_deletions_are_logged(&setting).await;
    told.push(setting.get(process.http, "/v1/events?limit=500").await.text);
    told.push(setting.get(process.http, "/v1/verifications").await.text);
    let (_, audit, complaints) = setting.run(&["audit", "list", "--json"], "").await;
    assert!(audit.contains("verification.start"), "{audit}");
    told.extend([audit, complaints]);
    let metrics = setting.get(process.operations, "/metrics").await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    for line in [
        "/v1/returns/{source}",
        "/v1/provider-callbacks/{account}",
        "copy deleted",
        "not deleted yet",
    ] {
        assert!(log.contains(line), "{line} is not in the log");
    }
    assert!(collector.spans().iter().any(|span| span.name == "GET /v1/returns/{source}"));
    for text in told {
        assert_none("an answer", text.as_bytes(), &marks);
    }
    assert_none("the log", log.as_bytes(), &marks);
    assert_none("the metrics", metrics.text.as_bytes(), &marks);
    assert_none("the spans", &collector.bytes(), &marks);
    assert_none("a dump before the erasure", before.as_bytes(), &marks);
    assert_none("a dump after it", dump(&setting.database.url).as_bytes(), &marks);
}
