//! The life of a policy: added, activated, rolled back, backtested, run in shadow; and the past
//! decided again, bit for bit.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{Options, Reply, Setting, TestApp, callback, eventually, make_key, now};
use verdict::http::api_key_auth::Scope;

pub const DEFAULT: &str = include_str!("../../config/policy.toml");

/// The default policy with a milder bound for scores: 60 instead of 90.
pub fn milder() -> String {
    milder_than(DEFAULT)
}

/// The default policy of this or another version with that bound.
pub fn milder_than(default: &str) -> String {
    let text = default.replace("= \"default\"", "= \"milder\"");
    // Its examples are about the bound; they go.
    let end = text.find("\n[[example]]").unwrap_or(text.len());
    text[..end].replace("\"far-0.01%\" }", "\"far-1%\" }")
}

pub async fn send(app: &TestApp, method: &str, path: &str, body: impl Into<String>) -> Reply {
    let (method, body) = (reqwest::Method::from_bytes(method.as_bytes()).unwrap(), body.into());
    let kind = if body.starts_with('{') { "application/json" } else { "application/toml" };
    let request = app.client.request(method, format!("http://{}{path}", app.http));
    let request = request.bearer_auth(&app.api_key).header("content-type", kind).body(body);
    Reply::read(request.send().await.unwrap()).await
}

pub async fn added(app: &TestApp, text: &str) -> String {
    let reply = send(app, "POST", "/v1/policies", text).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json["digest"].as_str().unwrap().to_owned()
}

/// The outcome that a score gets, as soon as it is the expected one: activations take a moment.
pub async fn decided(app: &TestApp, biz_type: &str, score: &str, expected: &str) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    eventually("the policy decides", || async {
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let body = json!({ "biz_type": biz_type, "biz_id": format!("pass-{score}-u{n}-{expected}-{biz_type}") });
        let callback = crate::harness::Callback::signed(&body.to_string(), app.clock.now());
        let id = app.post(callback).await.id();
        let settled = app.settled(&id).await;
        (settled["decision"]["outcome"] == expected).then_some(())
    })
    .await;
}

pub async fn one(pool: &PgPool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn policy_changes_are_audited() {
    let app = TestApp::start().await;
    decided(&app, "a", "75", "review").await;
    let digest = added(&app, &milder()).await;
    let again = send(&app, "POST", "/v1/policies", milder()).await;
    assert_eq!((again.status, again.json["digest"].as_str()), (200, Some(digest.as_str())));
    // Added, it decides nothing yet.
    decided(&app, "a", "75.5", "review").await;
    let path = format!("/v1/policies/{digest}/activate");
    assert_eq!(send(&app, "POST", &path, "").await.status, 204);
    decided(&app, "a", "75", "approve").await;
    let back = send(&app, "POST", "/v1/policies/rollback", "").await;
    assert_eq!(back.status, 200, "{back:?}");
    decided(&app, "a", "76", "review").await;

    // The history of activations.
    let list = app.get("/v1/policies").await;
    assert_eq!(list.json["items"].as_array().unwrap().len(), 2);
    let digests: Vec<&str> = list.json["activations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["digest"].as_str().unwrap())
        .collect();
    assert_eq!((digests.len(), digests[0], digests[1]), (3, digests[2], digest.as_str()));
    let active = |item: &&Value| item["active_for"] == json!(["*"]);
    let items = list.json["items"].as_array().unwrap();
    assert_eq!(items.iter().find(active).unwrap()["digest"], digests[0]);
    assert_eq!(app.get(&format!("/v1/policies/{digest}")).await.json["text"], milder());
    let pool = app.database.pool().await;
    let actions: Vec<String> = sqlx::query_scalar(
        "select action from audit where action like 'policy.%' and actor like 'key:%' order by position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(actions, ["policy.add", "policy.active", "policy.rollback"]);
}

#[tokio::test]
async fn refused_policy_requests_change_nothing() {
    let app = TestApp::start().await;
    let broken = DEFAULT.replace("outcome = \"approve\"", "outcome = \"aprove\"");
    let refused = send(&app, "POST", "/v1/policies", broken).await;
    refused.assert_problem(422, "policy-refused");
    let said = refused.json["errors"][0]["detail"].as_str().unwrap();
    assert!(said.contains("did you mean `approve`?"), "{said}");
    send(&app, "POST", "/v1/policies/sha256:none/activate", "")
        .await
        .assert_problem(404, "not-found");
    send(&app, "POST", "/v1/policies/rollback", "").await.assert_problem(409, "nothing-to-change");
    send(&app, "POST", "/v1/policies/promote", "").await.assert_problem(409, "nothing-to-change");
    send(&app, "POST", "/v1/policies/rollback", "{").await.assert_problem(400, "malformed-json");
    let bad = r#"{ "biz_type": "bell\u0007" }"#;
    send(&app, "POST", "/v1/policies/rollback", bad).await.assert_problem(422, "invalid-field");
    let all_but: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| *scope != Scope::PoliciesWrite).collect();
    let key = make_key(&app.store, &all_but).await;
    app.get_as("/v1/policies", &key).await.assert_problem(403, "scope-missing");
    let pool = app.database.pool().await;
    assert_eq!(one(&pool, "select count(*) from policies").await, 1);
    assert_eq!(one(&pool, "select count(*) from policy_activations").await, 1);
}

#[tokio::test]
async fn a_scene_can_have_its_own_policy() {
    let app = TestApp::start().await;
    let digest = added(&app, &milder()).await;
    let path = format!("/v1/policies/{digest}/activate");
    assert_eq!(send(&app, "POST", &path, r#"{ "biz_type": "lenient" }"#).await.status, 204);
    decided(&app, "lenient", "75", "approve").await;
    decided(&app, "strict", "75", "review").await;
    // After a rollback the scene has no own policy again.
    let back = send(&app, "POST", "/v1/policies/rollback", r#"{ "biz_type": "lenient" }"#).await;
    assert_eq!(back.status, 200, "{back:?}");
    decided(&app, "lenient", "75", "review").await;
}

#[tokio::test]
async fn shadow_policy_decides_beside_and_can_be_promoted() {
    let app = TestApp::start().await;
    let digest = added(&app, &milder()).await;
    let path = format!("/v1/policies/{digest}/shadow");
    assert_eq!(send(&app, "POST", &path, "").await.status, 204);
    eventually("the shadow decides", || async {
        decided(&app, "a", "75", "review").await;
        decided(&app, "a", "97", "approve").await;
        let seen = app.get(&path).await.json;
        (seen["decisions"].as_i64().unwrap() >= 2).then_some(())
    })
    .await;
    let seen = app.get(&path).await.json;
    let outcomes = seen["outcomes"].as_array().unwrap();
    let flipped = |count: &&Value| count["active"] == "review" && count["shadow"] == "approve";
    assert!(outcomes.iter().any(|count| flipped(&count)), "{seen}");
    assert!(seen["agree"].as_i64() < seen["decisions"].as_i64());
    let promoted = send(&app, "POST", "/v1/policies/promote", "").await;
    assert_eq!(promoted.json["digest"], digest.as_str());
    decided(&app, "a", "75", "approve").await;
    // It does not run beside itself.
    let pool = app.database.pool().await;
    eventually("the shadow ends", || async {
        let before = one(&pool, "select count(*) from shadow_decisions").await;
        decided(&app, "a", "75", "approve").await;
        (one(&pool, "select count(*) from shadow_decisions").await == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_reason_comes_with_its_texts() {
    let app = TestApp::start().await;
    let id = app.verified("pass-75").await["id"].as_str().unwrap().to_owned();
    let decision = &app.decisions(&id).await[0];
    let reason = &decision["explanation"][0];
    assert_eq!(reason["code"], "score-too-low");
    assert!(reason["text"]["zh"].as_str().unwrap().contains("分数偏低"));
    assert!(reason["text"]["en"].as_str().unwrap().contains("score"));
    assert_eq!(reason["observed"][2]["bound"], 90.0);
}

/// A setting with a decided past: scores below 90, above, and failures.
pub async fn past() -> (Setting, tempfile::TempDir, String) {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in
        ["pass-97-a", "pass-98-b", "pass-75-c", "pass-65-d", "pass-50-e", "status-7-f", "expired-g"]
    {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    process.kill().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("milder.toml");
    std::fs::write(&file, milder()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (setting, folder, file)
}

#[tokio::test]
async fn backtest_shows_which_decisions_would_change() {
    let (setting, folder, candidate) = past().await;
    let page = folder.path().join("report.html").to_str().unwrap().to_owned();
    let flips = folder.path().join("flips.jsonl").to_str().unwrap().to_owned();
    let backtest = ["policy", "backtest", &candidate, "--json", "--html", &page, "--flips", &flips];
    let (code, said, error) = setting.run(&backtest, "").await;
    assert_eq!(code, 0, "{error}");
    let comparison: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&comparison["decisions"], &comparison["flips"]), (&json!(6), &json!(2)));
    // Two approved as before, two from review to approve, one stays in review, one rejected.
    assert_eq!(
        comparison["matrix"],
        json!([[2, 0, 0, 0], [0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 1]])
    );
    assert_eq!(comparison["matrix_by_name"]["review"]["approve"], 2);
    assert_eq!(
        comparison["matrix_by_name"]["reject"],
        json!({ "approve": 0, "retry": 0, "review": 0, "reject": 1 })
    );
    assert_eq!(comparison["kinds"], json!({ "review → approve: provider-passed": 2 }));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains(">60</text>"), "pictures with thresholds");
    assert!(!page.contains("http"), "nothing from outside");
    assert!(page.contains("the first result to the newest result"), "{page}");
    assert!(page.contains("2 of 3 reviews would be approved."), "{page}");
    assert!(page.contains("2 of 6 people would be left with another outcome."), "{page}");
    assert!(page.contains("lowest_score 75 ≥ 60"), "the evidence that decides: {page}");
    let flips = std::fs::read_to_string(flips).unwrap();
    assert_eq!(flips.lines().count(), 2);
    // In part.
    let other = ["policy", "backtest", &candidate, "--json", "--biz-type", "other"];
    let (_, said, _) = setting.run(&other, "").await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["decisions"], 0);
    let text = ["policy", "backtest", &candidate, "--since", "2026-01-01", "--biz-type", "other"];
    let (_, said, _) = setting.run(&text, "").await;
    let period = ": 2026-01-01T00:00:00Z to the newest result, the scene other\n";
    assert!(said.starts_with("milder (sha256:") && said.contains(period), "{said}");
    assert!(said.contains("\nThere is no decision here to compare.\n"), "{said}");
    let future = ["policy", "backtest", &candidate, "--json", "--since", "2100-01-01"];
    let (_, said, _) = setting.run(&future, "").await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["decisions"], 0);
    let (code, _, error) =
        setting.run(&["policy", "backtest", &candidate, "--since", "yesterday"], "").await;
    assert_eq!((code, error.contains("--since")), (2, true), "{error}");

    // The same by the API, as a worker's work.
    let (code, digest, error) = setting.run(&["policy", "add", &candidate], "").await;
    assert_eq!(code, 0, "{error}");
    let process = setting.serve().await;
    let path = format!("/v1/policies/{}/backtests", digest.trim());
    let asked = setting.ask("POST", process.http, &path, &[]).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let at = asked.headers["location"].to_str().unwrap().to_owned();
    let done = eventually("the backtest is done", || async {
        let seen = setting.get(process.http, &at).await.json;
        (seen["state"] == "done").then_some(seen)
    })
    .await;
    assert_eq!(done["comparison"], comparison);
    // Seven answers, one of them an error.
    assert_eq!(done["progress"], json!({ "looked_at": 7, "of": 7 }));
    process.kill().await;
}

#[tokio::test]
async fn replay_reproduces_and_redecide_changes_only_on_request() {
    let (setting, _folder, candidate) = past().await;
    let replay = ["policy", "replay", "--json"];
    let (code, said, error) = setting.run(&replay, "").await;
    assert_eq!(code, 0, "{error}{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["decisions"], 6);

    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let (code, _, error) =
        setting.run(&["policy", "activate", digest.trim(), "--purpose", "CR 12"], "").await;
    assert_eq!(code, 0, "{error}");
    let pool = setting.database.pool().await;
    assert_eq!(one(&pool, "select count(*) from decisions").await, 6, "nothing by itself");
    let redecide = ["policy", "redecide", "--json"];
    let (code, said, error) = setting.run(&redecide, "").await;
    assert_eq!(code, 0, "{error}");
    let done: Value = serde_json::from_str(&said).unwrap();
    // Those whose bound was another one, all that passed: outcome or the reason's words differ.
    assert_eq!((&done["looked_at"], &done["new"]), (&json!(6), &json!(5)));
    let new = 5;
    assert_eq!(one(&pool, "select count(*) from decisions").await, 6 + new, "the old ones stay");
    let approved = "select count(*) from verifications v join decisions d on d.id = v.decision_id
                    where d.outcome = 'approve'";
    assert_eq!(one(&pool, approved).await, 4);
    let (_, said, _) = setting.run(&redecide, "").await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["new"], 0, "done is done");

    // All of it, of both policies, once more; and a backtest counts each answer once.
    let (code, said, _) = setting.run(&replay, "").await;
    let replayed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &replayed["policies"]), (0, &json!(2)));
    assert_eq!(replayed["decisions"], 6 + new);
    let (_, said, _) = setting.run(&["policy", "backtest", &candidate, "--json"], "").await;
    let comparison: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&comparison["decisions"], &comparison["flips"]), (&json!(6), &json!(0)));
    // A superuser of the database changes the past.
    let forced = "alter table decisions disable trigger all;
        update decisions set outcome = 'approve' where outcome = 'reject'";
    sqlx::raw_sql(forced).execute(&pool).await.unwrap();
    let (code, said, _) = setting.run(&replay, "").await;
    assert_eq!(
        (code, &serde_json::from_str::<Value>(&said).unwrap()["differences"]),
        (1, &json!(1))
    );
}

#[tokio::test]
async fn cli_shows_policies_diffs_and_calibration() {
    let (setting, _folder, candidate) = past().await;
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let digest = digest.trim();
    let (code, list, _) = setting.run(&["policy", "list"], "").await;
    // Under a line of headers.
    assert_eq!((code, list.lines().count()), (0, 3), "{list}");
    assert!(list.contains("default  active") && list.contains("milder"), "{list}");
    let short = &digest[..15];
    assert_eq!(setting.run(&["policy", "show", short], "").await.1.trim(), milder().trim());
    assert_eq!(setting.run(&["policy", "show", "sha256:zzz"], "").await.0, 1);
    let (code, diff, _) = setting.run(&["policy", "diff", digest, &candidate], "").await;
    assert_eq!((code, diff.as_str()), (0, ""));
    let default = format!("{}/config/policy.toml", env!("CARGO_MANIFEST_DIR"));
    let (code, diff, _) = setting.run(&["policy", "diff", &default, &candidate], "").await;
    assert_eq!(code, 1);
    assert!(diff.lines().any(|line| line.contains("- name = \"default\"")), "{diff}");
    assert!(diff.lines().any(|line| line.contains("+ name = \"milder\"")), "{diff}");
    for command in ["shadow", "activate"] {
        assert_eq!(setting.run(&["policy", command, short], "").await.0, 0, "{command}");
    }
    assert_eq!(setting.run(&["policy", "rollback", "--purpose", "CR 13"], "").await.0, 0);
    let (code, history, _) = setting.run(&["policy", "history"], "").await;
    assert_eq!((code, history.lines().count()), (0, 5), "{history}");
    let calibrate = ["policy", "calibrate", "--threshold", "90", "--moved-to", "60"];
    let (code, said, error) = setting.run(&calibrate, "").await;
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("6 answers"), "{said}");
    assert!(said.contains("2 of the answers that passed lie between 90 and 60"), "{said}");
    assert!(said.contains("threshold 90: about 100 of a million impostors"), "{said}");
    assert!(said.contains("threshold 60: about 10000 of a million impostors"), "{said}");
}
