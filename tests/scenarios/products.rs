//! Verifications of more than one product of the provider.

use serde_json::{Value, json};
use verdict::app::Role;

use crate::harness::{Callback, Options, Reply, Setting, TestApp, callback, eventually, now};
use crate::policies::DEFAULT;

/// Accepts only: nothing moves on by itself.
async fn accepting_only() -> TestApp {
    TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await
}

async fn post(app: &TestApp, body: Value) -> Reply {
    app.deliver(Callback::signed(&body.to_string(), app.clock.now())).await
}

fn face_verify(certify_id: &str) -> Value {
    json!({ "product": "face-verify", "biz_type": "1000000006", "certify_id": certify_id })
}

#[tokio::test]
async fn callback_names_its_product_and_the_answer_says_it() {
    let app = accepting_only().await;
    let old = post(&app, json!({ "biz_type": "test", "biz_id": "pass-1" })).await;
    assert_eq!(old.status, 202);
    assert_eq!(old.json["product"], "verify-result");
    assert!(old.json["certify_id"].is_null());

    let new = post(&app, face_verify("sha7")).await;
    assert_eq!(new.status, 202);
    assert_eq!(new.json["product"], "face-verify");
    assert_eq!(new.json["biz_type"], "1000000006");
    assert_eq!((&new.json["biz_id"], &new.json["certify_id"]), (&json!("sha7"), &json!("sha7")));

    // Where it was started elsewhere, the CertifyId is also the `biz_id`.
    let body = json!({ "product": "face-verify", "biz_type": "1000000006", "biz_id": "sha7" });
    let same = post(&app, body).await;
    assert_eq!((same.status, same.id()), (202, new.id()));
    assert_eq!(app.get(&format!("/v1/verifications/{}", new.id())).await.json["attempts"], 0);
}

#[tokio::test]
async fn product_is_the_configured_one_where_none_is_named() {
    let options = Options { role: Role::Api, product: "face-verify", ..Options::default() };
    let app = TestApp::start_with(options).await;
    let reply = post(&app, json!({ "biz_type": "1000000006", "certify_id": "sha7" })).await;
    assert_eq!((reply.status, &reply.json["product"]), (202, &json!("face-verify")));
}

#[tokio::test]
async fn verification_keeps_its_product_and_its_certify_id() {
    let app = accepting_only().await;
    let first = post(&app, face_verify("sha7")).await;
    post(&app, json!({ "biz_type": "test", "biz_id": "order1" })).await;
    for body in [
        // Another product for the pair.
        json!({ "biz_type": "1000000006", "biz_id": "sha7" }),
        json!({ "product": "face-verify", "biz_type": "test", "biz_id": "order1" }),
        // The CertifyId of another verification.
        json!({ "product": "face-verify", "biz_type": "1000000007", "certify_id": "sha7" }),
        json!({ "product": "face-verify", "biz_type": "1000000007", "biz_id": "sha7" }),
        json!({ "product": "face-verify", "biz_type": "1000000006", "biz_id": "order2",
            "certify_id": "sha7" }),
        // Another CertifyId for the verification.
        json!({ "product": "face-verify", "biz_type": "1000000006", "biz_id": "sha7",
            "certify_id": "sha8" }),
    ] {
        let reply = post(&app, body.clone()).await;
        assert_eq!(
            (reply.status, &reply.json["code"]),
            (409, &json!("product-mismatch")),
            "{body}"
        );
    }
    let reply = post(&app, json!({ "product": "x", "biz_type": "1", "biz_id": "1" })).await;
    reply.assert_problem(422, "invalid-field");
    let now = app.get(&format!("/v1/verifications/{}", first.id())).await;
    assert_eq!(now.text, first.text, "nothing was changed");
    let all = app.get("/v1/verifications").await;
    assert_eq!(all.json["items"].as_array().map(Vec::len), Some(2), "nothing was kept");
}

#[tokio::test]
async fn callbacks_that_contradict_each_other_at_once_spoil_nothing() {
    let app = accepting_only().await;
    let mut posts = Vec::new();
    for n in 0..12 {
        let scene = format!("100000000{}", n % 3);
        let body = match n % 4 {
            0 => json!({ "biz_type": scene, "biz_id": "same" }),
            _ => json!({ "product": "face-verify", "biz_type": scene, "biz_id": "same" }),
        };
        posts.push(body);
        posts.push(json!({ "biz_type": "test", "biz_id": format!("other-{n}") }));
    }
    let replies = futures_util::future::join_all(posts.into_iter().map(|body| post(&app, body)));
    let replies = replies.await;
    for reply in &replies {
        assert!([202, 409].contains(&reply.status), "{reply:?}");
    }
    let others = replies.iter().skip(1).step_by(2);
    assert!(others.into_iter().all(|reply| reply.status == 202));
    // One scene has the CertifyId; each scene has one product.
    let with_id = app.get("/v1/verifications").await;
    let with_id = with_id.json["items"].as_array().unwrap().iter();
    assert!(with_id.filter(|item| item["certify_id"] == "same").count() <= 1);
}

#[tokio::test]
async fn result_of_face_verify_is_fetched_and_decided() {
    let app = TestApp::start().await;
    let id = post(&app, face_verify("fv-424-x2-then-pass97-u1")).await.id();
    app.settled(&id).await;
    let decided = app.get(&format!("/v1/verifications/{id}")).await.json;
    assert_eq!((&decided["state"], &decided["attempts"]), (&json!("decided"), &json!(3)));
    let results = app.get(&format!("/v1/verifications/{id}/results")).await.json;
    let waiting = &results["items"][0];
    assert_eq!((&waiting["code"], &waiting["passed"]), (&json!("424"), &Value::Null));
    assert_eq!((&waiting["family"], &waiting["error"]), (&Value::Null, &Value::Null));
    let passed = &results["items"][2];
    assert_eq!(passed["product"], "face-verify");
    assert_eq!((&passed["verify_status"], &passed["code"]), (&Value::Null, &json!("200")));
    assert_eq!((&passed["passed"], &passed["family"]), (&json!(true), &json!("pass")));
    assert_eq!(passed["scores"]["verify"], 97.0);
    let scores: Vec<&String> = passed["scores"].as_object().unwrap().keys().collect();
    assert_eq!(scores, ["attack", "id_card", "quality", "verify"]);

    // This result is final, so another callback does not make the verification due.
    let again = post(&app, face_verify("fv-424-x2-then-pass97-u1")).await;
    assert_eq!(again.json["state"], "decided");
    app.verified("pass-97-after").await;
    assert_eq!(app.provider.queries("fv-424-x2-then-pass97-u1"), 3);
}

#[tokio::test]
async fn refusals_and_failures_of_face_verify_end_as_the_provider_means_them() {
    let app = TestApp::start().await;
    for (certify_id, state, family) in [
        ("fv-204-u1", "decided", json!("face")),
        ("fv-417-u1", "decided", json!("refused")),
        ("fv-299-u1", "decided", json!("unknown")),
        ("true205-u1", "decided", json!("attack-or-risk")),
        ("fv-404-u1", "failed", Value::Null),
        ("fv-406-u1", "expired", Value::Null),
    ] {
        let id = post(&app, face_verify(certify_id)).await.id();
        app.settled(&id).await;
        let settled = app.get(&format!("/v1/verifications/{id}")).await.json;
        assert_eq!(settled["state"], state, "{certify_id}");
        let results = app.get(&format!("/v1/verifications/{id}/results")).await.json;
        assert_eq!(results["items"][0]["family"], family, "{certify_id}");
        assert_ne!(settled["decision"]["outcome"], "approve", "{certify_id}");
    }
}

#[tokio::test]
async fn default_policy_decides_every_code_and_odd_form_of_face_verify() {
    let app = TestApp::start().await;
    let expected = [
        ("approve", &["fv-200", "fv-210", "pass50", "passnoscore", "passmaterialnull"][..]),
        ("approve", &["passmaterialobject", "passnomaterial", "passfaceattackattack0p01"]),
        ("reject", &["fv-201", "fv-204", "fv-207", "sub204score99"]),
        ("review", &["fv-202", "fv-203", "fv-205", "fv-206", "fv-209", "fv-299", "sub206risk"]),
        ("retry", &["fv-220", "fv-221", "fv-222", "fv-414", "fv-415", "fv-416"]),
        ("review", &["fv-417", "fv-418", "fv-427"]),
        ("review", &["true205", "true201", "false200", "passmaterialcut", "sub204materialcut"]),
        ("review", &["passbadscore", "passbadpassed", "passbadsub", "sub201badsub"]),
    ];
    let scripts = expected.iter().flat_map(|(outcome, scripts)| {
        scripts.iter().enumerate().map(move |(n, script)| (outcome, format!("{script}-u{n}")))
    });
    let app = &app;
    let decided = scripts.map(|(outcome, script)| async move {
        let id = post(app, face_verify(&script)).await.id();
        let decision = app.settled(&id).await["decision"].take();
        assert_eq!(decision["outcome"], **outcome, "{script}: {decision}");
    });
    futures_util::future::join_all(decided).await;
}

/// The default policy, which also asks for a score of face-verify.
fn stricter() -> String {
    let rule = r#"[[rule]]
id = "face-weak"
reason = "verify-score-low"
outcome = "review"
text = { en = "The score of face-verify is low." }
when = { all = [
    { field = "product", eq = "face-verify" },
    { field = "provider_outcome", eq = "passed" },
    { field = "verify_score", lt = 60, missing = false },
] }
"#;
    let (rules, _examples) = DEFAULT.split_once("[[example]]").unwrap();
    rules.replace("= \"default\"", "= \"stricter\"") + rule
}

#[tokio::test]
async fn backtest_replay_and_calibration_cover_both_products() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-a", "status-7-b"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    for certify_id in ["pass97-u1", "pass50-u2", "fv-204-u3", "fv-417-u4"] {
        let signed = Callback::signed(&face_verify(certify_id).to_string(), now());
        assert_eq!(process.post(&setting.client, signed).await, Some(202));
    }
    setting.drained().await;
    process.kill().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (candidate, page) = (file("stricter.toml"), file("report.html"));
    std::fs::write(&candidate, stricter()).unwrap();

    let backtest = ["policy", "backtest", &candidate, "--json", "--html", &page];
    let (code, said, error) = setting.run(&backtest, "").await;
    assert_eq!(code, 0, "{error}");
    let comparison: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&comparison["decisions"], &comparison["flips"]), (&json!(6), &json!(1)));
    assert_eq!(comparison["kinds"], json!({ "approve → review: verify-score-low": 1 }));
    assert_eq!(comparison["flipped_verify_scores"][50], 1);
    assert_eq!(comparison["scores"][50], 0, "another scale");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains(">verify score</text>") && page.contains(">60</text>"),
        "its own picture"
    );

    let (code, said, error) = setting.run(&["policy", "replay", "--json"], "").await;
    let replayed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &replayed["decisions"]), (0, &json!(6)), "{error}{said}");

    let calibrate = ["policy", "calibrate", "--threshold", "40", "--moved-to", "60"];
    let (code, said, error) = setting.run(&calibrate, "").await;
    assert_eq!(code, 0, "{error}");
    let verify = said.split("\nverify: passed and not passed").nth(1).expect(&said);
    assert!(verify.contains("1 of the answers that passed lies between 40 and 60"), "{said}");
    assert!(said.contains("there is none for those of face-verify"), "{said}");
}

#[tokio::test]
async fn events_and_lists_name_the_product() {
    let app = TestApp::start().await;
    let id = post(&app, face_verify("pass97-u2")).await.id();
    app.settled(&id).await;
    let events = app.get("/v1/events?types=verification.decided&wait=10").await.json;
    let data = &events["items"][0]["data"];
    assert_eq!((&data["product"], &data["verification_id"]), (&json!("face-verify"), &json!(id)));
    assert_eq!(app.get("/v1/verifications").await.json["items"][0]["product"], "face-verify");
}

async fn erase(app: &TestApp, id: &str) -> Value {
    let url = format!("http://{}/v1/verifications/{id}/material", app.http);
    let request = app.client.delete(url).bearer_auth(&app.api_key);
    let request = request.header("verdict-purpose", "request 4711");
    Reply::read(request.send().await.unwrap()).await.json
}

#[tokio::test]
async fn erasure_has_the_provider_delete_its_copy() {
    let app = TestApp::start().await;
    let certify_id = "idplus-pass97-u7";
    let id = post(&app, face_verify(certify_id)).await.id();
    app.settled(&id).await;
    let stranger = post(&app, face_verify("pass97-u8")).await.id();
    app.settled(&stranger).await;
    let old = post(&app, json!({ "biz_type": "test", "biz_id": "pass-97" })).await.id();
    app.settled(&old).await;

    let receipt = erase(&app, &id).await;
    let stays = receipt["provider_copy"]["stays"].as_array().expect("objects");
    assert!(!stays.is_empty(), "{receipt}");
    assert!(stays.iter().all(|object| object.as_str().unwrap().contains('/')), "{receipt}");
    let deleted = eventually("the provider's copy is gone", || async {
        let receipt = erase(&app, &id).await;
        receipt["provider_copy"]["deleted_at"].as_str().map(ToOwned::to_owned)
    })
    .await;
    assert!(deleted.starts_with("2026-"), "{deleted}");
    assert!(app.provider.is_deleted(certify_id) && !app.provider.is_deleted("pass97-u8"));
    // What is left of the evidence says nothing but the product, the code and the scene.
    let evidence = "select evidence from results where verification_id = $1::uuid";
    let pool = app.database.pool().await;
    let evidence: Value = sqlx::query_scalar(evidence).bind(&id).fetch_one(&pool).await.unwrap();
    assert_eq!((&evidence["product"], &evidence["code"]), (&json!("face-verify"), &json!("200")));
    assert!(evidence["scores"].as_object().unwrap().values().all(Value::is_null), "{evidence}");

    assert!(erase(&app, &old).await["provider_copy"].is_null(), "that product deletes nothing");
}

#[tokio::test]
async fn deletion_that_fails_is_asked_for_again() {
    let app = TestApp::start().await;
    let certify_id = "pass97-delete500x1-u9";
    let id = post(&app, face_verify(certify_id)).await.id();
    app.settled(&id).await;
    erase(&app, &id).await;
    let pool = app.database.pool().await;
    let attempts = async |least: i32| {
        let asked = "select true from provider_deletions where attempts >= $1";
        sqlx::query_scalar::<_, bool>(asked).bind(least).fetch_optional(&pool).await.unwrap()
    };
    eventually("it was asked", || attempts(1)).await;
    assert!(!app.provider.is_deleted(certify_id));
    app.database.shift_clock(7200).await;
    eventually("it was asked again", || attempts(2)).await;
    eventually("the provider's copy is gone", || async {
        app.provider.is_deleted(certify_id).then_some(())
    })
    .await;
}

/// The provider takes ten deletions a second of an account, whichever process asks.
#[tokio::test]
async fn copies_are_deleted_ten_a_second_by_all_processes_together() {
    let app = accepting_only().await;
    for n in 0..25 {
        let id = post(&app, face_verify(&format!("pass97-u{n}"))).await.id();
        assert!(erase(&app, &id).await["provider_copy"].is_object());
    }
    // The time that passes is the test's.
    let pool = app.database.pool().await;
    let at = async |seconds: f64| {
        let clock = format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return '2027-01-01'::timestamptz + interval '{seconds} s'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(clock)).execute(&pool).await.unwrap();
    };
    let (here, there) = (app.store.clone(), app.database.store());
    let claim = async |store: &verdict::store::Store| {
        store.provider_deletions().claim().await.unwrap().len()
    };
    at(0.0).await;
    let (one, two) = tokio::join!(claim(&here), claim(&there));
    assert_eq!((one.max(two), one.min(two)), (10, 0));
    at(0.9).await;
    assert_eq!((claim(&here).await, claim(&there).await), (0, 0));
    at(1.0).await;
    assert_eq!((claim(&there).await, claim(&here).await), (10, 0));
    at(2.1).await;
    assert_eq!((claim(&here).await, claim(&there).await), (5, 0));
}
