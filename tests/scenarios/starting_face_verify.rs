//! Starting verifications of face-verify: the call is billed, so it is made once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use verdict::app::Role;

use crate::harness::{Options, Reply, Setting, TestApp, dump, eventually};

/// What an app sends: no page is asked for.
fn app_start(order_number: &str) -> Value {
    json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": order_number,
        "reference": "user-1", "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD",
        "cert_name": "Marked Person", "cert_no": "11010519491231002X",
        "meta_info": { "deviceType": "ios", "marked": "MARKED-DEVICE" }
    })
}

fn with(mut body: Value, member: &str, value: impl Into<Value>) -> Value {
    body[member] = value.into();
    body
}

impl TestApp {
    fn inits(&self, order_number: &str) -> usize {
        let calls = self.provider.calls();
        let of = |action: &str, id: &str| action == "InitFaceVerify" && id == order_number;
        calls.iter().filter(|call| of(&call.action, &call.biz_id)).count()
    }

    async fn state_of(&self, started: &Reply, state: &str) -> Value {
        let id = started.json["verification"]["id"].as_str().unwrap();
        eventually(state, || async {
            let now = self.get(&format!("/v1/verifications/{id}")).await;
            (now.json["state"] == state).then_some(now.json)
        })
        .await
    }
}

#[tokio::test]
async fn repeated_start_gets_the_same_answer_and_one_call() {
    let app = TestApp::start().await;
    let first = app.start_verification(&app_start("pass97u1")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let certify_id = first.json["certify_id"].as_str().unwrap();
    assert_eq!(app.provider.certify_ids("pass97u1"), [certify_id]);
    assert_eq!(first.json["certify_url"], Value::Null, "an app needs no page");
    assert_eq!(first.json["expires_at"], "2026-11-23T10:00:00Z");
    let verification = &first.json["verification"];
    assert_eq!(
        (&verification["state"], &verification["product"]),
        (&json!("unfinished"), &json!("face-verify"))
    );
    assert_eq!(verification["certify_id"], certify_id);
    let id = verification["id"].as_str().unwrap();
    assert_eq!(first.headers["location"], format!("/v1/verifications/{id}"));
    assert_eq!(first.headers["cache-control"], "no-store");

    app.clock.advance(Duration::from_mins(29));
    let newer = with(app_start("pass97u1"), "meta_info", "{\"deviceType\":\"android\"}");
    let again = app.start_verification(&newer).await;
    assert_eq!(again.status, 200, "{again:?}");
    for member in ["certify_id", "certify_url", "expires_at"] {
        assert_eq!(again.json[member], first.json[member]);
    }
    assert_eq!(again.json["verification"]["id"], id);
    for (member, value) in [("cert_name", "Other"), ("model", "LIVENESS"), ("crop", "T")] {
        let other = app.start_verification(&with(app_start("pass97u1"), member, value)).await;
        other.assert_problem(409, "order-number-used");
    }
    app.clock.advance(Duration::from_mins(1));
    let late = app.start_verification(&newer).await;
    late.assert_problem(409, "order-number-used");
    assert_eq!(app.inits("pass97u1"), 1);
}

#[tokio::test]
async fn start_is_polled_from_one_minute_on_until_its_id_has_lived_out() {
    let app = TestApp::start().await;
    let finished = app.start_verification(&app_start("pass97u2")).await;
    let abandoned = app.start_verification(&app_start("fv424u2")).await;
    app.verified("pass-other").await;
    let id = |reply: &Reply| reply.json["certify_id"].as_str().unwrap().to_owned();
    assert_eq!(app.provider.queries(&id(&finished)), 0, "nobody can have finished yet");
    app.minutes_later(2).await;
    let decided = app.state_of(&finished, "decided").await;
    assert_eq!(decided["decision"]["outcome"], "approve");
    eventually("it is polled", || async {
        (app.provider.queries(&id(&abandoned)) > 1).then_some(())
    })
    .await;
    app.state_of(&abandoned, "unfinished").await;
    app.minutes_later(36).await;
    app.state_of(&abandoned, "expired").await;
}

#[tokio::test]
async fn refused_start_fails_the_verification_for_good() {
    let app = TestApp::start().await;
    for code in ["405", "417", "422", "427"] {
        let order_number = format!("init{code}u3");
        for _ in 0..2 {
            let reply = app.start_verification(&app_start(&order_number)).await;
            reply.assert_problem(422, "provider-refused");
            assert!(reply.json["detail"].as_str().unwrap().contains(code), "{reply:?}");
        }
        assert_eq!(app.inits(&order_number), 1);
        let path = format!("/v1/verifications?biz_type=1000000006&biz_id={order_number}");
        let found = &app.get(&path).await.json["items"][0];
        assert_eq!(found["state"], "failed");
        assert_eq!(found["failure"]["code"], "refused-by-provider");
        assert_eq!(found["failure"]["provider_code"], code);
    }
    let other = app.start_verification(&with(app_start("init417u3"), "cert_name", "B")).await;
    other.assert_problem(409, "order-number-used");
}

#[tokio::test]
async fn start_that_started_nothing_may_be_repeated() {
    let app = TestApp::start().await;
    for order_number in ["initthrottled1u4", "init500x1u4", "initnoperm1u4"] {
        let reply = app.start_verification(&app_start(order_number)).await;
        reply.assert_problem(503, "provider-unavailable");
        assert!(reply.headers.contains_key("retry-after"));
        let again = app.start_verification(&app_start(order_number)).await;
        assert_eq!(again.status, 201, "{order_number}: {again:?}");
        assert_eq!(app.provider.certify_ids(order_number).len(), 1);
    }
}

#[tokio::test]
async fn lost_answer_is_never_called_for_again() {
    let app = TestApp::start().await;
    for order_number in ["initcutunlistedu5", "initgarbagesearchnopermu5", "inithttp503u5"] {
        for _ in 0..2 {
            let reply = app.start_verification(&app_start(order_number)).await;
            reply.assert_problem(409, "start-unknown");
        }
        assert_eq!(app.inits(order_number), 1, "{order_number}");
    }
    // Nobody can complete it: it expires.
    let path = "/v1/verifications?biz_type=1000000006&biz_id=initcutunlistedu5";
    assert_eq!(app.get(path).await.json["items"][0]["state"], "unfinished");
    app.minutes_later(36).await;
    eventually("it expires", || async {
        (app.get(path).await.json["items"][0]["state"] == "expired").then_some(())
    })
    .await;
    app.start_verification(&app_start("initcutunlistedu5"))
        .await
        .assert_problem(409, "start-unknown");
}

#[tokio::test]
async fn lost_answer_is_looked_up_by_order_number() {
    let app = TestApp::start_with(with_returns()).await;
    for order_number in ["initcutpass97u30", "initgarbagepass97u31", "initcutsearch500x2pass97u32"]
    {
        let mut started = app.start_verification(&app_start(order_number)).await;
        if order_number.contains("search") {
            started.assert_problem(409, "start-unknown");
            app.start_verification(&app_start(order_number)).await;
            started = app.start_verification(&app_start(order_number)).await;
        }
        assert!([200, 201].contains(&started.status), "{order_number}: {started:?}");
        let certify_id = started.json["certify_id"].as_str().unwrap();
        assert_eq!(app.provider.certify_ids(order_number), [certify_id]);
        assert_eq!(started.json["verification"]["certify_id"], certify_id);
        let again = app.start_verification(&app_start(order_number)).await;
        assert_eq!((again.status, &again.json["certify_id"]), (200, &json!(certify_id)));
        assert_eq!(app.inits(order_number), 1);
    }
    // A callback has told it.
    let lost = app_start("initcutsearchnopermpass97u34");
    app.start_verification(&lost).await.assert_problem(409, "start-unknown");
    let certify_id = &app.provider.certify_ids("initcutsearchnopermpass97u34")[0];
    let callback = json!({ "product": "face-verify", "biz_type": "1000000006",
        "biz_id": lost["biz_id"], "certify_id": certify_id });
    let callback = crate::harness::Callback::signed(&callback.to_string(), app.clock.now());
    let accepted = app.post(callback).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let known = app.start_verification(&lost).await;
    assert_eq!((known.status, &known.json["certify_id"]), (200, &json!(certify_id)));
    // The address of its page is nowhere on record.
    let page = page_start("initcutu33", DONE);
    for _ in 0..2 {
        app.start_verification(&page).await.assert_problem(409, "start-unknown");
    }
    assert_eq!(app.inits("initcutu33"), 1);
}

/// Verifications are claimed here whose `CertifyId` is not known: nobody can be asked about them.
#[tokio::test]
async fn claim_that_asks_nobody_counts_as_no_call() {
    // No poll comes by itself while the test looks.
    let app = TestApp::start_with(Options::default().patient()).await;
    let order_number = "initcutsearchnopermpass97u50";
    let lost = app_start(order_number);
    app.start_verification(&lost).await.assert_problem(409, "start-unknown");
    let pool = app.database.pool().await;
    let polls = "select polls from verifications";
    let mut callback = json!({ "product": "face-verify", "biz_type": "1000000006",
        "biz_id": order_number });
    let post = async |body: &Value| {
        app.deliver(crate::harness::Callback::signed(&body.to_string(), app.clock.now())).await
    };
    for _ in 0..3 {
        assert_eq!(post(&callback).await.status, 202);
        eventually("it was claimed", || async {
            let polls: i32 = sqlx::query_scalar(polls).fetch_one(&pool).await.unwrap();
            (polls == 1).then_some(())
        })
        .await;
    }
    let path = format!("/v1/verifications?biz_type=1000000006&biz_id={order_number}");
    let waiting = &app.get(&path).await.json["items"][0];
    assert_eq!((&waiting["state"], &waiting["attempts"]), (&json!("unfinished"), &json!(0)));
    let spent = "select max(draws) from budgets";
    let spent: i64 = sqlx::query_scalar(spent).fetch_one(&pool).await.unwrap();
    assert_eq!(spent, 0, "the budget is for calls");

    callback["certify_id"] = json!(app.provider.certify_ids(order_number)[0]);
    let id = post(&callback).await.id();
    assert_eq!(app.settled(&id).await["attempts"], 1);
    assert_eq!(app.results(&id).await[0]["evidence"]["attempts"], 1);
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    assert!(metrics.contains("verdict_provider_calls_total{product=\"face-verify\""));
    assert!(!metrics.contains("class=\"not-asked\""), "{metrics}");
}

/// The answer of a start is lost, and a callback names its `CertifyId` before the start learns it.
#[tokio::test]
async fn start_is_answered_by_the_verification_that_had_its_certify_id_first() {
    let app = TestApp::start().await;
    let order_number = "initcutsearch500x2pass97u60";
    let lost = app_start(order_number);
    app.start_verification(&lost).await.assert_problem(409, "start-unknown");
    let certify_id = app.provider.certify_ids(order_number)[0].clone();
    let callback = json!({ "product": "face-verify", "biz_type": "1000000006",
        "certify_id": certify_id });
    let callback = crate::harness::Callback::signed(&callback.to_string(), app.clock.now());
    let first = app.post(callback).await.id();
    let decided = app.settled(&first).await;
    assert_eq!(decided["decision"]["outcome"], "approve");

    app.start_verification(&lost).await.assert_problem(409, "start-unknown");
    for _ in 0..2 {
        let known = app.start_verification(&lost).await;
        assert_eq!((known.status, &known.json["certify_id"]), (200, &json!(certify_id)));
        assert_eq!(known.json["verification"]["id"], json!(first));
        assert_eq!(known.headers["location"], format!("/v1/verifications/{first}"));
    }
    app.minutes_later(2).await;
    let path = format!("/v1/verifications?biz_type=1000000006&biz_id={order_number}");
    let started = eventually("the start expires", || async {
        let started = app.get(&path).await.json["items"][0].clone();
        (started["state"] == "expired").then_some(started)
    })
    .await;
    assert_eq!((&started["answered_by"], &started["attempts"]), (&json!(first), &json!(0)));
    let pool = app.database.pool().await;
    let decisions = "select count(*) from decisions";
    let decisions: i64 = sqlx::query_scalar(decisions).fetch_one(&pool).await.unwrap();
    assert_eq!((decisions, app.inits(order_number)), (1, 1));

    // One session, one erasure.
    let id = started["id"].as_str().unwrap();
    let erase = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let erase = erase.bearer_auth(&app.api_key).header("verdict-purpose", "request 1");
    assert_eq!(erase.send().await.unwrap().status(), 202);
    for id in [id, &first] {
        assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json["state"], "erased");
    }
}

/// Results of `ID_PRO` have no number: only the start has it.
#[tokio::test]
async fn person_of_a_start_is_erased_by_identity_number() {
    let options = Options { fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options).await;
    let process = setting.serve().await;
    let start = async |body: Value| {
        let request = setting.client.post(format!("http://{}/v1/verifications", process.http));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let reply = Reply::read(request.bearer_auth(&setting.api_key).send().await.unwrap()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json["verification"]["id"].as_str().unwrap().to_owned()
    };
    let mine = start(app_start("pass97u70")).await;
    let other = start(with(app_start("pass97u71"), "cert_no", "110105194912310038")).await;
    let sealed = with(app_start("pass97u72"), "encrypt_type", "SM2");
    let point = format!("BA{}", "A".repeat(150));
    start(with(with(sealed, "cert_no", point.as_str()), "cert_name", point.as_str())).await;
    let pool = setting.database.pool().await;
    let persons = "select count(person) from starts";
    let count = async || -> i64 { sqlx::query_scalar(persons).fetch_one(&pool).await.unwrap() };
    assert_eq!(count().await, 2, "a ciphertext is nobody's number");
    let digest = "select encode(person, 'hex') from starts where verification_id = $1::uuid";
    let digest: String = sqlx::query_scalar(digest).bind(&mine).fetch_one(&pool).await.unwrap();
    assert!(!dump(&setting.database.url).contains("11010519491231002X"));

    let erase = ["erase", "--person", "--purpose", "request 4711"];
    let (code, receipts, error) = setting.run(&erase, "110105 19491231 002x\n").await;
    assert_eq!((code, receipts.lines().count()), (0, 1), "{error}");
    assert!(receipts.contains(&mine), "{receipts}");
    let state = async |id: &str| {
        setting.get(process.http, &format!("/v1/verifications/{id}")).await.json["state"].clone()
    };
    assert_eq!((state(&mine).await, state(&other).await), (json!("erased"), json!("unfinished")));
    assert_eq!(count().await, 1);
    assert!(!dump(&setting.database.url).contains(&digest), "the index goes, too");
    process.kill().await;
}

#[tokio::test]
async fn simultaneous_starts_make_one_call() {
    let app = TestApp::start().await;
    let body = app_start("pass97u7");
    let replies = (0..8).map(|_| app.start_verification(&body));
    let replies = futures_util::future::join_all(replies).await;
    let mut created = 0;
    for reply in replies {
        match reply.status {
            201 => created += 1,
            200 => {}
            _ => reply.assert_problem(409, "start-running"),
        }
    }
    assert_eq!((created, app.inits("pass97u7")), (1, 1));
    assert_eq!(app.provider.certify_ids("pass97u7").len(), 1);
}

#[tokio::test]
async fn nothing_of_the_person_is_stored_and_an_erasure_ends_the_start() {
    let app = TestApp::start().await;
    let picture = "TUFSS0VE".repeat(40_000);
    let body = json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": "pass97u8",
        "product_code": "LR_FR", "user_id": "MARKED-USER", "mobile": "13900001111",
        "meta_info": "{\"marked\":\"MARKED-DEVICE\"}"
    });
    let large = with(with(body.clone(), "biz_id", "pass97u9"), "product_code", "PV_FV");
    let large = app.start_verification(&with(large, "face_contrast_picture", picture)).await;
    // The provider has read all 320 KB: they are no picture.
    large.assert_problem(422, "provider-refused");
    let started = app.start_verification(&body).await;
    assert_eq!(started.status, 201, "{started:?}");
    let dump = dump(&app.database.url);
    for marked in ["MARKED", "13900001111", "TUFSS0VE"] {
        assert!(!dump.contains(marked), "{marked}");
    }
    for call in app.provider.calls().iter().filter(|call| call.action == "InitFaceVerify") {
        assert_eq!(call.method, "POST");
    }
    let id = started.json["verification"]["id"].as_str().unwrap();
    let erase = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let erase = erase.bearer_auth(&app.api_key).header("verdict-purpose", "request 1");
    assert_eq!(erase.send().await.unwrap().status(), 202);
    app.start_verification(&body).await.assert_problem(410, "erased");
    assert_eq!(app.inits("pass97u8"), 1);
}

#[tokio::test]
async fn order_number_of_another_verification_is_refused() {
    let app = TestApp::start_with(Options { product: "face-verify", ..Options::default() }).await;
    let old = json!({ "product": "verify-result", "biz_type": "1000000006", "biz_id": "pass97" });
    assert_eq!(app.start_verification(&old).await.status, 201);
    let mut body = app_start("pass97");
    body.as_object_mut().unwrap().remove("product");
    app.start_verification(&body).await.assert_problem(409, "product-mismatch");
    // Started elsewhere.
    let callback = json!({ "biz_type": "1000000006", "biz_id": "fv200u10" }).to_string();
    let callback = crate::harness::Callback::signed(&callback, app.clock.now());
    assert_eq!(app.post(callback).await.status, 202);
    let used = app.start_verification(&app_start("fv200u10")).await;
    used.assert_problem(409, "order-number-used");
    assert_eq!(app.inits("pass97") + app.inits("fv200u10"), 0);
}

#[tokio::test]
async fn wrong_parameters_start_nothing() {
    let app = TestApp::start().await;
    let picture = "A".repeat(1_548_577);
    for (member, value, pointer) in [
        ("biz_id", json!("has-dash"), "/biz_id"),
        ("biz_id", json!("a".repeat(33)), "/biz_id"),
        ("biz_id", Value::Null, "/biz_id"),
        ("biz_type", json!("test"), "/biz_type"),
        ("product", json!("x"), "/product"),
        ("product", json!(7), "/product"),
        ("meta_info", Value::Null, "/meta_info"),
        ("meta_info", json!(["x"]), "/meta_info"),
        ("meta_info", json!("x".repeat(16_385)), "/meta_info"),
        ("cert_type", json!("VISA"), "/cert_type"),
        ("cert_no", Value::Null, "/cert_no"),
        ("model", json!("ID_PRO"), "/model"),
        ("suitable_type", json!("3"), "/suitable_type"),
        ("birthday", json!("1.2.1990"), "/birthday"),
        ("oss_bucket_name", json!("b"), "/oss_object_name"),
        ("face_contrast_picture", json!("data:image/png;base64,AAAA"), "/face_contrast_picture"),
        ("face_contrast_picture", json!(picture), "/face_contrast_picture"),
        ("callback_token", json!("mine"), ""),
    ] {
        let body = with(app_start("pass97u11"), member, value);
        let reply = app.start_verification(&body).await;
        reply.assert_problem(422, "invalid-field");
        let errors = reply.json["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{member}: {reply:?}");
    }
    // `encrypt_type` says SM2, but the values are in clear or are no SM2 ciphertexts.
    let sample =
        include_str!("../../crates/cloudauth/tests/fixtures/face_verify/init_request_sm2.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let good = sample["params"]["CertNo"].as_str().unwrap();
    for (wrong, member) in [
        ("11010519491231002X", "cert_no"),
        ("BIm=", "cert_no"),
        (&good[4..], "cert_no"),
        (&good[..80], "cert_no"),
        ("张三", "cert_name"),
    ] {
        let body = with(app_start("pass97u11"), "encrypt_type", "SM2");
        let body = with(
            with(body, "cert_no", good),
            "cert_name",
            sample["params"]["CertName"].as_str().unwrap(),
        );
        let reply = app.start_verification(&with(body, member, wrong)).await;
        reply.assert_problem(422, "invalid-field");
        let pointer = format!("/{member}");
        assert_eq!(reply.json["errors"].as_array().unwrap().len(), 1, "{reply:?}");
        assert_eq!(reply.json["errors"][0]["pointer"], pointer, "{wrong}: {reply:?}");
    }
    for order in ["params", "other_order_C1C3C2"] {
        let of = |name: &str| sample[order][name].as_str().unwrap();
        let body = with(app_start(&format!("pass97u12{}", order.len())), "encrypt_type", "SM2");
        let body = with(with(body, "cert_no", of("CertNo")), "cert_name", of("CertName"));
        assert_eq!(app.start_verification(&body).await.status, 201, "{order}");
    }
    let two = with(app_start("pass97u11"), "face_contrast_picture", "AAAA");
    let two = app.start_verification(&with(two, "certify_id", "sha7")).await;
    two.assert_problem(422, "invalid-field");
    let huge = with(app_start("pass97u11"), "cert_name", "x".repeat(2 << 20));
    app.start_verification(&huge).await.assert_problem(413, "body-too-large");
    assert_eq!(app.inits("pass97u11"), 0);
    let kept = app.get("/v1/verifications?biz_type=1000000006&biz_id=pass97u11").await;
    assert_eq!(kept.json["items"], json!([]));
}

const DONE: &str = "https://app.example/done";

/// Beside `app`, which has nowhere to return to: `mobile`.
fn with_returns() -> Options {
    let more = format!(
        "[sources.mobile]\nsecrets = [\"whsec_dGhlIHNlY3JldCBvZiBtb2JpbGUncyBvd24gYmFja2VuZA==\"]\n\
         return_urls = [\"{DONE}\", \"https://app.example/other?tab=1#/end\"]\n"
    );
    let http = "body_read_seconds = 1\npublic_url = \"https://verdict.example/base/\"";
    Options { more, http, ..Options::default() }
}

/// What a browser page sends.
fn page_start(order_number: &str, return_url: &str) -> Value {
    let body = with(with(app_start(order_number), "source", "mobile"), "certify_url_type", "H5");
    with(body, "return_url", return_url)
}

#[tokio::test]
async fn page_leads_back_only_to_listed_addresses() {
    let app = TestApp::start_with(with_returns()).await;
    let ours = "https://verdict.example/base/v1/returns/mobile";
    let to = format!("{ours}?to=https%3A%2F%2Fapp.example%2Fdone");
    for (n, return_url) in
        [DONE, ours, &to, "https://app.example/other?tab=1#/end"].into_iter().enumerate()
    {
        let body = page_start(&format!("pass97u20{n}"), return_url);
        let started = app.start_verification(&body).await;
        assert_eq!(started.status, 201, "{return_url}: {started:?}");
        let page = started.json["certify_url"].as_str().unwrap();
        let again = app.start_verification(&body).await;
        assert_eq!((again.status, &again.json["certify_url"]), (200, &json!(page)));
        assert!(!dump(&app.database.url).contains(page), "the page is kept sealed");
    }
    let other = page_start("pass97u200", ours);
    app.start_verification(&other).await.assert_problem(409, "order-number-used");

    for return_url in [
        "",
        "nowhere",
        "https://evil.example/done",
        "https://app.example/done?x",
        "https://app.example@evil.example/done",
        "https://verdict.example/base/v1/returns/app",
        "https://verdict.example/v1/returns/mobile",
        "http://verdict.example/base/v1/returns/mobile",
        "https://verdict.example:444/base/v1/returns/mobile",
        "https://user@verdict.example/base/v1/returns/mobile",
        "https://verdict.example/base/v1/returns/mobile/",
        "https://verdict.example/base/v1/returns/mobile#to",
        "https://verdict.example/base/v1/returns/mobile?",
        "https://verdict.example/base/v1/returns/mobile?to=https%3A%2F%2Fevil.example",
        "https://verdict.example/base/v1/returns/mobile?to=https%3A%2F%2Fapp.example%2Fdone&to=x",
        "javascript:alert(1)",
    ] {
        let reply = app.start_verification(&page_start("pass97u21", return_url)).await;
        reply.assert_problem(422, "invalid-field");
        assert_eq!(reply.json["errors"][0]["pointer"], "/return_url", "{return_url}");
    }
    // Without a source, or without an address, there is nowhere to go.
    for (member, value) in [("source", Value::Null), ("return_url", Value::Null)] {
        let body = with(page_start("pass97u21", DONE), member, value);
        app.start_verification(&body).await.assert_problem(422, "invalid-field");
    }
    assert_eq!(app.inits("pass97u21"), 0);
}

/// Answers every request with 200; the request lines.
pub async fn listener() -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = vec![0; 4096];
            let read = stream.read(&mut text).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&text[..read]).into_owned();
            seen.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    (address, lines)
}

#[tokio::test]
async fn each_start_has_its_own_callback_token_of_which_a_digest_is_kept() {
    let (address, lines) = listener().await;
    let more = format!("[provider.face_verify]\ncallback_url = \"http://{address}/cb\"\n");
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let mut tokens = Vec::new();
    for order_number in ["pass97submitsu22", "pass97submitsu23"] {
        let started = app.start_verification(&app_start(order_number)).await;
        assert_eq!(started.status, 201, "{started:?}");
        let certify_id = started.json["certify_id"].as_str().unwrap();
        let token = eventually("the provider calls back", || async {
            let lines = lines.lock().unwrap();
            let line = lines.iter().find(|line| line.contains(certify_id))?;
            let query = line.split([' ', '?']).nth(2)?;
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == "callbackToken").map(|(_, token)| token.into_owned())
        })
        .await;
        assert!(token.len() >= 43, "256 bits");
        let pool = app.database.pool().await;
        let kept = "select s.callback_token = sha256($1::text::bytea) from starts s
             join verifications v on v.id = s.verification_id where v.certify_id = $2";
        let kept: bool =
            sqlx::query_scalar(kept).bind(&token).bind(certify_id).fetch_one(&pool).await.unwrap();
        assert!(kept && !dump(&app.database.url).contains(&token));
        // The token is new for each call, and no part of what is compared.
        assert_eq!(app.start_verification(&app_start(order_number)).await.status, 200);
        tokens.push(token);
    }
    assert_ne!(tokens[0], tokens[1]);
}

/// The write that is held back, of this database alone: others lock as well.
const WAITS: &str = "from pg_locks where locktype = 'advisory' and not granted and objid = 4711
    and database = (select oid from pg_database where datname = current_database())";

/// A process is killed while Postgres holds one of its two writes back. Then that write is lost, or it
/// is committed although nobody waits for it.
#[tokio::test]
async fn start_is_called_for_once_wherever_its_process_is_killed() {
    let options = Options { role: Role::Api, fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options).await;
    let pool = setting.database.pool().await;
    let run = async |text: &str| {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&pool).await.unwrap();
    };
    let later = async |minutes: i32| {
        run(&format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return statement_timestamp() + interval '{minutes} minutes'"
        ))
        .await;
    };
    run("create function stall() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock(4711); return new; end $$")
    .await;
    let mut logs = Vec::new();
    let mut process = setting.serve().await;
    for (write, lost, order_number, answers, calls) in [
        ("insert", true, "pass97u40", vec![201], 1),
        ("insert", false, "pass97u41", vec![409, 409], 0),
        ("update", true, "pass97u42", vec![409, 200], 1),
        ("update", false, "pass97u43", vec![200], 1),
    ] {
        later(0).await;
        run(&format!(
            "create trigger stall before {write} on starts for each row execute function stall()"
        ))
        .await;
        let mut holder = pool.acquire().await.unwrap();
        sqlx::query("select pg_advisory_lock(4711)").execute(&mut *holder).await.unwrap();
        let start = |http: std::net::SocketAddr| {
            let request = setting.client.post(format!("http://{http}/v1/verifications"));
            let request = request.header("content-type", "application/json");
            request.bearer_auth(&setting.api_key).body(app_start(order_number).to_string()).send()
        };
        let cut = tokio::spawn(start(process.http));
        eventually("the write waits", || async {
            let waits = format!("select exists (select {WAITS})");
            let waits = sqlx::query_scalar(AssertSqlSafe(waits)).fetch_one(&pool).await;
            waits.unwrap_or(false).then_some(())
        })
        .await;
        logs.extend(process.kill().await);
        assert!(cut.await.unwrap().is_err(), "nobody was answered");
        if lost {
            run(&format!("select pg_terminate_backend(pid) {WAITS}")).await;
        }
        sqlx::query("select pg_advisory_unlock(4711)").execute(&mut *holder).await.unwrap();
        // Waits for the end of the write.
        run("drop trigger stall on starts").await;

        process = setting.serve().await;
        for (n, status) in answers.iter().enumerate() {
            let reply = Reply::read(start(process.http).await.unwrap()).await;
            assert_eq!(reply.status, *status, "{write} {lost} {n}: {reply:?}");
            if reply.status != 409 {
                let ids = setting.provider.certify_ids(order_number);
                assert_eq!(json!(ids), json!([reply.json["certify_id"]]));
            }
            // The lease of the killed process ends.
            later(3).await;
        }
        let inits = setting
            .provider
            .calls()
            .into_iter()
            .filter(|call| call.action == "InitFaceVerify" && call.biz_id == order_number);
        assert_eq!(inits.count(), calls, "{write} {lost}");
    }
    logs.extend(process.kill().await);
    let logs = logs.join("\n");
    for marked in ["Marked Person", "11010519491231002X", "MARKED-DEVICE"] {
        assert!(logs.len() > 1000 && !logs.contains(marked), "{marked}");
    }
}
