//! Four eyes and API keys: persons with two keys, with a revoked key, who call in another's name or
//! outside their scenes, and strangers who invent keys.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use verdict::app::Role;
use verdict::domain::ids::ApiKeyId;
use verdict::http::api_key_auth::Scope;
use verdict::store::api_keys::KeyTerms;
use verdict::store::audit::AuditContext;
use verdict::store::policies::{Changed, Use};

use crate::harness::{
    Callback, Options, Reply, TestApp, callback, eventually, make_key, make_key_of, make_key_with,
    run_verdict,
};

/// Everything that reviewing, refetching and changing policies takes.
const DESK: &[Scope] =
    &[Scope::DecisionsRead, Scope::ReviewsWrite, Scope::VerificationsWrite, Scope::PoliciesWrite];

async fn four_eyes() -> TestApp {
    let more = "[reviews]\nfour_eyes = \"all\"\n[policies]\nfour_eyes = \"on\"".to_owned();
    TestApp::start_with(Options { more, ..Options::default() }).await
}

/// A request with a key and, unless empty, a purpose and a body.
async fn ask(
    app: &TestApp,
    key: &str,
    (method, path): (Method, &str),
    purpose: &str,
    body: &Value,
) -> Reply {
    let request = app.client.request(method, format!("http://{}{path}", app.http)).bearer_auth(key);
    let request = if purpose.is_empty() {
        request
    } else {
        request.header("verdict-purpose", purpose.as_bytes())
    };
    let request = if body.is_null() {
        request
    } else {
        request.header("content-type", "application/json").body(body.to_string())
    };
    Reply::read(request.send().await.unwrap()).await
}

async fn says(app: &TestApp, key: &str, id: &str, outcome: &str) -> Reply {
    let path = format!("/v1/verifications/{id}/reviews");
    let body = json!({ "outcome": outcome, "reason": "seen" });
    ask(app, key, (Method::POST, &path), "", &body).await
}

async fn refetches(app: &TestApp, key: &str, id: &str) -> Reply {
    let path = format!("/v1/verifications/{id}/refetch");
    ask(app, key, (Method::POST, &path), "appeal 4711", &Value::Null).await
}

async fn revoke(app: &TestApp, id: ApiKeyId) {
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    assert!(app.store.api_keys().revoke_api_key(id, &doing).await.unwrap());
}

fn held_by(person: &str) -> KeyTerms {
    KeyTerms { person: Some(person.to_owned()), ..KeyTerms::default() }
}

async fn case(app: &TestApp, biz_id: &str) -> String {
    app.verified(biz_id).await["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_keys_of_one_person_count_as_one_vote() {
    let app = four_eyes().await;
    let first = make_key_of(&app.store, "anna", DESK).await;
    let second = make_key_of(&app.store, "anna", DESK).await;
    let bo = make_key_of(&app.store, "bo", DESK).await;
    let id = case(&app, "pass-88").await;
    assert_eq!(says(&app, &first, &id, "approve").await.status, 202);
    assert_eq!(says(&app, &second, &id, "approve").await.status, 202);
    assert_eq!(app.decisions(&id).await.len(), 1, "anna has agreed with herself");
    let agreed = says(&app, &bo, &id, "approve").await;
    assert_eq!((agreed.status, agreed.json["decided"].as_bool()), (201, Some(true)));
    // Both the key and the person are on record.
    let timeline = app.get(&format!("/v1/verifications/{id}/timeline")).await;
    assert!(timeline.text.contains("\"person\":\"bo\""), "{}", timeline.text);
    assert!(timeline.text.contains(" person:anna\""), "{}", timeline.text);
}

#[tokio::test]
async fn votes_of_programs_and_ended_keys_do_not_count() {
    let app = four_eyes().await;
    let (revoked, revoked_id) = make_key_with(&app.store, DESK, &held_by("anna")).await;
    let terms = KeyTerms { expires_in_days: Some(1), ..held_by("cy") };
    let (expiring, _) = make_key_with(&app.store, DESK, &terms).await;
    let (bo, di) =
        (make_key_of(&app.store, "bo", DESK).await, make_key_of(&app.store, "di", DESK).await);
    let id = case(&app, "pass-88").await;
    let program = make_key(&app.store, DESK).await;
    says(&app, &program, &id, "reject").await.assert_problem(403, "person-missing");
    assert_eq!(says(&app, &revoked, &id, "reject").await.status, 202);
    assert_eq!(says(&app, &expiring, &id, "approve").await.status, 202);
    revoke(&app, revoked_id).await;
    app.database.shift_clock(2 * 86_400).await;
    // Not even in the two seconds for which a list of keys is used.
    says(&app, &revoked, &id, "reject").await.assert_problem(401, "api-key-invalid");
    says(&app, &expiring, &id, "reject").await.assert_problem(401, "api-key-invalid");
    for outcome in ["approve", "reject"] {
        let reply = says(&app, &bo, &id, outcome).await;
        assert_eq!(reply.status, 202, "no vote but bo's counts: {reply:?}");
        // Of two votes at one moment neither is the newest.
        app.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(says(&app, &di, &id, "reject").await.status, 201);
}

#[tokio::test]
async fn only_the_newest_vote_of_a_person_counts() {
    let app = four_eyes().await;
    let anna = make_key_of(&app.store, "anna", DESK).await;
    let anna_too = make_key_of(&app.store, "anna", DESK).await;
    let (bo, cy) =
        (make_key_of(&app.store, "bo", DESK).await, make_key_of(&app.store, "cy", DESK).await);
    let id = case(&app, "pass-88").await;
    // Anna changes her mind, with whichever key: she agrees with nobody who rejects.
    assert_eq!(says(&app, &anna, &id, "reject").await.status, 202);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(says(&app, &anna_too, &id, "approve").await.status, 202);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(says(&app, &bo, &id, "reject").await.status, 202, "only bo rejects");
    assert_eq!(app.decisions(&id).await.len(), 1);
    assert_eq!(says(&app, &cy, &id, "approve").await.status, 201, "anna approves now");
}

#[tokio::test]
async fn one_person_cannot_reverse_a_four_eyes_review() {
    let app = four_eyes().await;
    let anna = make_key_of(&app.store, "anna", DESK).await;
    let anna_too = make_key_of(&app.store, "anna", DESK).await;
    let (bo, bo_id) = make_key_with(&app.store, DESK, &held_by("bo")).await;
    let id = case(&app, "pass-88").await;
    assert_eq!(says(&app, &anna, &id, "reject").await.status, 202);
    assert_eq!(says(&app, &bo, &id, "reject").await.status, 201);
    let asked = app.provider.queries("pass-88");

    let operator = make_key_of(&app.store, "cy", &[Scope::VerificationsWrite]).await;
    refetches(&app, &operator, &id).await.assert_problem(403, "scope-missing");
    let program = make_key(&app.store, DESK).await;
    refetches(&app, &program, &id).await.assert_problem(403, "person-missing");
    let path = format!("/v1/verifications/{id}/refetch");
    let silent = ask(&app, &anna, (Method::POST, &path), "", &Value::Null).await;
    silent.assert_problem(400, "purpose-missing");

    // Anna proposes, and stays alone however often and with whichever key.
    let proposed = refetches(&app, &anna, &id).await;
    assert_eq!((proposed.status, proposed.json["proposed"].is_string()), (202, true));
    let again = refetches(&app, &anna_too, &id).await;
    assert_eq!(again.json, proposed.json);
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json["state"], "decided");
    assert_eq!(app.provider.queries("pass-88"), asked, "nobody has asked the provider");

    // After a day it counts no more; bo's call is a new one.
    app.database.shift_clock(25 * 3_600).await;
    let by_bo = refetches(&app, &bo, &id).await;
    assert!(by_bo.json["proposed"].is_string() && by_bo.json != proposed.json, "{by_bo:?}");
    // One of a revoked key counts no more either.
    revoke(&app, bo_id).await;
    let by_anna = refetches(&app, &anna, &id).await;
    assert!(by_anna.json["proposed"].is_string() && by_anna.json != by_bo.json, "{by_anna:?}");
    let cy = make_key_of(&app.store, "cy", DESK).await;
    let carried_out = refetches(&app, &cy, &id).await;
    assert_eq!((carried_out.status, carried_out.json["id"].as_str()), (202, Some(id.as_str())));
    assert_eq!(app.settled(&id).await["decision"]["by"], "policy");
    let actions: Vec<String> = sqlx::query_scalar(
        "select action || ' ' || split_part(actor, ' ', 2) from audit
         where action like 'proposal.%' or action = 'verification.refetch' order by position",
    )
    .fetch_all(&app.database.pool().await)
    .await
    .unwrap();
    assert_eq!(
        actions,
        [
            "proposal.create person:anna",
            "proposal.create person:bo",
            "proposal.create person:anna",
            "verification.refetch person:cy"
        ]
    );
}

#[tokio::test]
async fn proposal_applies_only_to_the_decision_it_names() {
    let app = four_eyes().await;
    let anna = make_key_of(&app.store, "anna", DESK).await;
    let bo = make_key_of(&app.store, "bo", DESK).await;
    let id = case(&app, "pass-88").await;
    for outcome in ["reject", "approve"] {
        assert_eq!(says(&app, &anna, &id, outcome).await.status, 202);
        if outcome == "approve" {
            // Proposed about the rejection, which an approval replaces.
            assert!(refetches(&app, &anna, &id).await.json["proposed"].is_string());
        }
        assert_eq!(says(&app, &bo, &id, outcome).await.status, 201);
    }
    let reply = refetches(&app, &bo, &id).await;
    assert!(reply.json["proposed"].is_string(), "anna has not seen the approval: {reply:?}");
    // A phone and a refetch of many change nothing about it.
    app.clock.advance(Duration::from_secs(1));
    app.post(crate::harness::callback("pass-88", app.clock.now())).await;
    let failed = "update verifications set state = 'failed'";
    app.database.pool().await.execute(failed).await.unwrap();
    let many = json!({ "state": "failed" });
    let path = "/v1/verifications/refetch";
    let reply = ask(&app, &anna, (Method::POST, path), "appeal 4711", &many).await;
    assert_eq!((reply.status, &reply.json["refetched"]), (202, &json!(0)), "{reply:?}");
}

/// A second policy, added and used nowhere; its digest.
async fn other_policy(app: &TestApp, key: &str) -> (String, String) {
    let default = app.store.policies().policy_in_use(Use::Active, "").await.unwrap().unwrap();
    let text = app.store.policies().policy_text(&default).await.unwrap().unwrap().body;
    let request = app.client.post(format!("http://{}/v1/policies", app.http)).bearer_auth(key);
    let reply = Reply::read(request.body(text + "\n# Other.\n").send().await.unwrap()).await;
    (default, reply.json["digest"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned())
}

#[tokio::test]
async fn one_policies_key_alone_cannot_change_the_active_policy() {
    let app = four_eyes().await;
    let anna = make_key_of(&app.store, "anna", DESK).await;
    let anna_too = make_key_of(&app.store, "anna", DESK).await;
    let bo = make_key_of(&app.store, "bo", DESK).await;
    let program = make_key(&app.store, DESK).await;
    let (default, other) = other_policy(&app, &anna).await;
    let none = Value::Null;
    let activate = format!("/v1/policies/{other}/activate");
    let call = |key: &str, path: &str, body: Value| {
        let (app, key, path) = (&app, key.to_owned(), path.to_owned());
        async move { ask(app, &key, (Method::POST, &path), "CR 12", &body).await }
    };
    call(&program, &activate, none.clone()).await.assert_problem(403, "person-missing");
    for key in [&anna, &anna_too, &anna] {
        let reply = call(key, &activate, none.clone()).await;
        assert!(reply.status == 202 && reply.json["proposed"].is_string(), "{reply:?}");
    }
    // Another scene is another call.
    assert_eq!(call(&bo, &activate, json!({ "biz_type": "test" })).await.status, 202);
    let in_use = async |kind, scene| app.store.policies().policy_in_use(kind, scene).await.unwrap();
    assert_eq!(in_use(Use::Active, "").await, Some(default.clone()));
    assert_eq!(call(&bo, &activate, none.clone()).await.status, 204);
    assert_eq!(in_use(Use::Active, "").await, Some(other.clone()));
    // A proposal is carried out once and permits nothing later.
    assert_eq!(call(&bo, &activate, none.clone()).await.status, 202);
    // One person rolls back.
    assert_eq!(call(&bo, "/v1/policies/rollback", none.clone()).await.status, 200);
    assert_eq!(in_use(Use::Active, "").await, Some(default.clone()));

    // Anna's proposal does not cover a shadow that replaced the one she saw.
    let shadow = |digest: &str| format!("/v1/policies/{digest}/shadow");
    assert_eq!(call(&anna, &shadow(&default), none.clone()).await.status, 204);
    assert_eq!(call(&anna, "/v1/policies/promote", none.clone()).await.status, 202);
    assert_eq!(call(&bo, &shadow(&other), none.clone()).await.status, 204);
    assert_eq!(call(&bo, "/v1/policies/promote", none.clone()).await.status, 202);
    assert_eq!(in_use(Use::Active, "").await, Some(default.clone()));
    let promoted = call(&anna, "/v1/policies/promote", none.clone()).await;
    assert_eq!((promoted.status, &promoted.json["digest"]), (200, &json!(other)));

    // Removing a scene's policy changes decisions too.
    let own = json!({ "biz_type": "test" });
    assert_eq!(call(&anna, &activate, own.clone()).await.status, 204);
    let deactivate = async |key: &str| {
        ask(&app, key, (Method::DELETE, "/v1/policies/active"), "CR 12", &own).await.status
    };
    assert_eq!(deactivate(&anna).await, 202);
    assert_eq!(deactivate(&anna_too).await, 202);
    assert_eq!(in_use(Use::Active, "test").await, Some(other));
    assert_eq!(deactivate(&bo).await, 204);
    assert_eq!(in_use(Use::Active, "test").await, None);
}

#[tokio::test]
async fn two_simultaneous_confirmations_act_once() {
    let app = four_eyes().await;
    let keys = [
        make_key_of(&app.store, "anna", DESK).await,
        make_key_of(&app.store, "bo", DESK).await,
        make_key_of(&app.store, "cy", DESK).await,
    ];
    let (_, other) = other_policy(&app, &keys[0]).await;
    for n in 0..10 {
        let path = format!("/v1/policies/{other}/activate");
        let body = json!({ "biz_type": format!("scene-{n}") });
        let call = |key| ask(&app, key, (Method::POST, &path), "CR 12", &body);
        let replies = tokio::join!(call(&keys[0]), call(&keys[1]), call(&keys[2]));
        let statuses = [replies.0.status, replies.1.status, replies.2.status];
        // The third proposes it once more, or finds the proposal just closed.
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        let activations = app.store.policies().activations().await.unwrap();
        let here = format!("scene-{n}");
        assert_eq!(activations.iter().filter(|of| of.biz_type == here).count(), 1);
    }
}

#[tokio::test]
async fn api_key_reaches_nothing_outside_its_scenes() {
    let app = TestApp::start().await;
    let limited = async |scenes: &[&str]| {
        let scenes = Some(scenes.iter().map(|scene| (*scene).to_owned()).collect());
        make_key_with(&app.store, &Scope::ALL, &KeyTerms { scenes, ..KeyTerms::default() }).await.0
    };
    let (own, elsewhere) = (limited(&["test", "web"]).await, limited(&["web", "desk"]).await);
    let id = case(&app, "pass-88").await;
    let unknown = "01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0";
    // Every operation about one verification there is, and will be.
    let document = verdict::http::description();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/verifications/{id}") {
            continue;
        }
        for method in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let body = if path.ends_with("/reviews") && method == Method::POST {
                json!({ "outcome": "reject", "reason": "seen" })
            } else {
                Value::Null
            };
            let mut answers = Vec::new();
            for id in [id.as_str(), unknown] {
                let path = path.replace("{id}", id).replace("{kind}", "face");
                let reply = ask(&app, &elsewhere, (method.clone(), &path), "why", &body).await;
                reply.assert_problem(404, "not-found");
                answers.push(reply.text.replace(reply.json["instance"].as_str().unwrap(), ""));
            }
            assert_eq!(answers[0], answers[1], "{method} {path} tells that there is one");
            tried += 1;
        }
    }
    assert!(tried >= 11, "only {tried} operations");
    let held = Instant::now();
    let poll = app.get_as(&format!("/v1/verifications/{id}?wait=20"), &elsewhere).await;
    poll.assert_problem(404, "not-found");
    assert!(held.elapsed() < Duration::from_secs(10));
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).await.json["state"], "decided");
    assert_eq!(app.get_as(&format!("/v1/verifications/{id}"), &own).await.status, 200);

    // Lists are as if nothing else were there, page by page.
    for n in 0..3 {
        let at = app.clock.now();
        for scene in ["web", "desk", "other"] {
            let body = json!({ "biz_type": scene, "biz_id": format!("pass-97-{n}") });
            app.post(Callback::signed(&body.to_string(), at)).await;
        }
    }
    let scenes_of = |reply: &Reply| -> Vec<String> {
        let items = reply.json["items"].as_array().unwrap_or_else(|| panic!("{reply:?}"));
        items.iter().map(|item| item["biz_type"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = app.get_as(&format!("/v1/verifications?limit=4{cursor}"), &elsewhere).await;
        seen.extend(scenes_of(&reply));
        let Some(next) = reply.json["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    assert_eq!(seen, ["desk", "desk", "desk", "web", "web", "web"]);
    for filter in ["biz_type=test", "biz_type=test&biz_id=pass-88", "outcome=review"] {
        let reply = app.get_as(&format!("/v1/verifications?{filter}"), &elsewhere).await;
        assert_eq!(scenes_of(&reply).len(), 0, "{filter}");
    }
    let start = json!({ "biz_type": "test", "biz_id": "started" });
    let path = "/v1/verifications";
    let reply = ask(&app, &elsewhere, (Method::POST, path), "", &start).await;
    reply.assert_problem(403, "other-scene");
    let failed = "update verifications set state = 'failed' where biz_id like 'pass-97-%'";
    app.settled(&id).await;
    crate::harness::eventually("all are decided", || async {
        let reply = app.get("/v1/verifications?state=pending").await;
        scenes_of(&reply).is_empty().then_some(())
    })
    .await;
    app.database.pool().await.execute(failed).await.unwrap();
    let path = "/v1/verifications/refetch";
    let reply =
        ask(&app, &elsewhere, (Method::POST, path), "", &json!({ "state": "failed" })).await;
    assert_eq!(reply.json["refetched"], 6, "{reply:?}");
}

#[tokio::test]
async fn policies_and_backtests_respect_the_scenes_of_a_key() {
    let app = TestApp::start().await;
    case(&app, "pass-88").await;
    let scenes = Some(vec!["web".to_owned(), "desk".to_owned()]);
    let terms = KeyTerms { scenes, ..KeyTerms::default() };
    let (key, _) = make_key_with(&app.store, DESK, &terms).await;
    let key = key.as_str();
    let (default, other) = other_policy(&app, &app.api_key).await;
    let own = format!("/v1/policies/{default}");
    for (method, path) in [
        (Method::POST, format!("{own}/activate")),
        (Method::POST, format!("{own}/shadow")),
        (Method::POST, format!("{own}/backtests")),
        (Method::DELETE, "/v1/policies/shadow".to_owned()),
        (Method::POST, "/v1/policies/promote".to_owned()),
        (Method::POST, "/v1/policies/rollback".to_owned()),
        (Method::DELETE, "/v1/policies/active".to_owned()),
    ] {
        let bodies = if path.ends_with("/active") {
            vec![json!({ "biz_type": "test" })]
        } else {
            vec![Value::Null, json!({ "biz_type": "test" })]
        };
        for body in bodies {
            let reply = ask(&app, key, (method.clone(), &path), "", &body).await;
            reply.assert_problem(403, "other-scene");
        }
    }
    let web = json!({ "biz_type": "web" });
    let path = format!("{own}/activate");
    assert_eq!(ask(&app, key, (Method::POST, &path), "", &web).await.status, 204);
    let path = format!("{own}/backtests");
    let within = ask(&app, key, (Method::POST, &path), "", &web).await;
    assert_eq!(within.status, 202, "{within:?}");
    // A policy that only other scenes use is invisible: its text, runs and activations.
    let all = ask(&app, &app.api_key, (Method::POST, &path), "", &Value::Null).await;
    for (run, status) in [(&within, 200), (&all, 404)] {
        let path = format!("/v1/backtests/{}", run.json["id"].as_str().unwrap_or("none"));
        if run.status == 202 {
            assert_eq!(app.get_as(&path, key).await.status, status, "{path}");
            assert_eq!(app.get_as(&format!("{path}/flips"), key).await.status, status, "{path}");
        }
    }
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    let used =
        app.store.policies().use_policy(Use::Active, "test", Some(&other), None, &doing).await;
    assert_eq!(used.unwrap(), Changed::Now);
    for path in [
        format!("/v1/policies/{other}"),
        format!("/v1/policies/{default}/diff/{other}"),
        format!("/v1/policies/{other}/shadow"),
    ] {
        app.get_as(&path, key).await.assert_problem(404, "not-found");
    }
    // Nor is it used or tried in the key's own scenes.
    for what in ["activate", "shadow", "backtests"] {
        let path = format!("/v1/policies/{other}/{what}");
        let reply = ask(&app, key, (Method::POST, &path), "", &web).await;
        reply.assert_problem(404, "not-found");
    }
    let listed = app.get_as("/v1/policies", key).await;
    assert!(!listed.text.contains(&other) && !listed.text.contains("\"test\""), "{}", listed.text);
    assert_eq!(listed.json["items"][0]["active_for"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn revoked_key_gets_no_answer_from_its_open_long_poll() {
    let app =
        TestApp::start_with(Options { role: verdict::app::Role::Api, ..Options::default() }).await;
    let (key, key_id) =
        make_key_with(&app.store, &[Scope::DecisionsRead], &KeyTerms::default()).await;
    let id = app.accepted("pass-97").await;
    let url = format!("http://{}/v1/verifications/{id}?wait=60", app.http);
    assert_eq!(app.get_as(&format!("/v1/verifications/{id}"), &key).await.status, 200);
    let poll = app.client.get(&url).bearer_auth(&key);
    let poll = tokio::spawn(async move { Reply::read(poll.send().await.unwrap()).await });
    let other = app.client.get(url.replace("wait=60", "wait=8")).bearer_auth(&app.api_key);
    let other = tokio::spawn(async move { Reply::read(other.send().await.unwrap()).await });
    revoke(&app, key_id).await;
    let reply = tokio::time::timeout(Duration::from_secs(30), poll).await;
    let reply = reply.expect("the poll ends long before its time").unwrap();
    reply.assert_problem(401, "api-key-invalid");
    assert_eq!(other.await.unwrap().status, 200, "who still may waits on");
}

/// Counts how often the rows of `api_keys` are read: there is one row.
async fn count_key_queries(app: &TestApp) -> sqlx::PgPool {
    let pool = app.database.pool().await;
    let view = "create sequence key_reads; alter table api_keys rename to real_api_keys;
        create view api_keys as select * from real_api_keys where nextval('key_reads') > 0";
    sqlx::raw_sql(view).execute(&pool).await.unwrap();
    pool
}

#[tokio::test]
async fn invented_keys_cost_no_query_and_evict_no_cached_key() {
    let app = TestApp::start().await;
    let pool = count_key_queries(&app).await;
    let path = "/v1/verifications?biz_type=a&biz_id=b";
    let began = Instant::now();
    let invented = |n: usize| format!("vk_{n:043}");
    for batch in 0..10 {
        let tries = (0..60).map(|n| {
            let key = invented(batch * 60 + n);
            let app = &app;
            async move { app.get_as(path, &key).await }
        });
        for reply in futures_util::future::join_all(tries).await {
            reply.assert_problem(401, "api-key-invalid");
        }
        assert_eq!(app.get(path).await.status, 200);
    }
    // The same again and again.
    for _ in 0..100 {
        app.get_as(path, &invented(1_000)).await.assert_problem(401, "api-key-invalid");
    }
    let reads: i64 =
        sqlx::query_scalar("select last_value from key_reads").fetch_one(&pool).await.unwrap();
    // Ten a second, and the one that is written down as used.
    let most = i64::try_from(began.elapsed().as_millis() / 100).unwrap() + 10;
    assert!(reads <= most && reads < 350, "{reads} reads for 700 invented keys");
}

#[tokio::test]
async fn api_key_expires_is_counted_and_shows_its_last_use() {
    let app = TestApp::start().await;
    let environment = [("DATABASE_URL", app.database.url.as_str()), ("USER", "mallory")];
    let create = "keys create --name desk --scopes decisions:read --scenes web,test --person anna \
        --expires-in-days 30 --requests-per-second 5 --json";
    let create: Vec<&str> = create.split_whitespace().collect();
    let (code, out, error) = run_verdict(&create, &environment).await;
    assert_eq!(code, 0, "{error}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let key = made["key"].as_str().unwrap();
    let listed = async || {
        let (_, listed, _) = run_verdict(&["keys", "list", "--json"], &environment).await;
        let keys: Vec<Value> = serde_json::from_str(&listed).unwrap();
        keys.into_iter().find(|listed| listed["id"] == made["id"]).unwrap()
    };
    let before = listed().await;
    assert_eq!((&before["person"], &before["scenes"]), (&json!("anna"), &json!(["test", "web"])));
    assert!(before["expires_at"].is_string() && before["last_used_at"].is_null(), "{before}");

    let path = "/v1/verifications?limit=1";
    let replies = futures_util::future::join_all((0..20).map(|_| app.get_as(path, key))).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!((5..20).contains(&refused.len()), "{} of 20", refused.len());
    refused[0].assert_problem(429, "rate-limited");
    assert!(refused[0].headers.contains_key("retry-after"));
    assert_eq!(app.get(path).await.status, 200, "others are not slowed");
    crate::harness::eventually("its use is written down", || async {
        listed().await["last_used_at"].is_string().then_some(())
    })
    .await;

    // The audit names the account that ran the command, whatever the environment says.
    let actor: String = sqlx::query_scalar(
        "select actor from audit where action = 'api-key.create' and subject = $1::uuid",
    )
    .bind(made["id"].as_str())
    .fetch_one(&app.database.pool().await)
    .await
    .unwrap();
    assert!(actor.starts_with("cli:") && actor.contains('@'), "{actor}");
    assert!(!actor.contains("mallory") && !actor.contains("unknown@"), "{actor}");

    app.database.shift_clock(31 * 86_400).await;
    crate::harness::eventually("the expired key is refused", || async {
        let reply = app.get_as(path, key).await;
        (reply.json["code"] == "api-key-invalid").then_some(())
    })
    .await;
    let (_, lines, _) = run_verdict(&["keys", "list"], &environment).await;
    assert!(lines.contains("expired") && lines.contains(" anna "), "{lines}");
}

#[tokio::test]
async fn text_with_hidden_characters_is_refused() {
    let app = TestApp::start().await;
    let id = case(&app, "pass-88").await;
    let path = format!("/v1/verifications/{id}");
    let environment = [("DATABASE_URL", app.database.url.as_str())];
    let policy = app.store.policies().policy_in_use(Use::Active, "").await.unwrap().unwrap();
    let policy = app.store.policies().policy_text(&policy).await.unwrap().unwrap().body;
    for hidden in
        ['\u{202e}', '\u{200b}', '\u{2066}', '\u{3164}', '\u{feff}', '\u{e0041}', '\u{a0}']
    {
        let text = format!("appeal{hidden}4711");
        let material = format!("{path}/material");
        let reply = ask(&app, &app.api_key, (Method::GET, &material), &text, &Value::Null).await;
        reply.assert_problem(422, "invalid-field");
        let note = json!({ "outcome": "reject", "reason": "seen", "note": text });
        let reviews = format!("{path}/reviews");
        let reply = ask(&app, &app.api_key, (Method::POST, &reviews), "", &note).await;
        reply.assert_problem(422, "invalid-field");
        for added in [
            format!("{policy}\n# {text}\n"),
            policy.replacen("name = \"", &format!("name = \"\\U{:08x}", u32::from(hidden)), 1),
        ] {
            let request = app.client.post(format!("http://{}/v1/policies", app.http));
            let request = request.bearer_auth(&app.api_key).body(added);
            let reply = Reply::read(request.send().await.unwrap()).await;
            reply.assert_problem(422, "policy-refused");
        }
        for wrong in [["--name", &text], ["--person", &text]] {
            let mut create = vec!["keys", "create", "--scopes", "decisions:read"];
            if wrong[0] != "--name" {
                create.extend(["--name", "desk"]);
            }
            create.extend(wrong);
            let (code, _, error) = run_verdict(&create, &environment).await;
            assert_eq!(code, 2, "{error}");
            assert!(error.contains("visible"), "{error}");
        }
        let erase = ["erase", "--verification", id.as_str(), "--purpose", text.as_str()];
        assert_eq!(run_verdict(&erase, &environment).await.0, 2);
    }
    // One person must not become two by a blank or another spelling.
    make_key_of(&app.store, "anna", DESK).await;
    for person in ["anna ", " anna", "an na", "", "Anna", "ａｎｎａ", &"a".repeat(65)] {
        let create =
            ["keys", "create", "--name", "desk", "--scopes", "reviews:write", "--person", person];
        let (code, _, error) = run_verdict(&create, &environment).await;
        assert_eq!(code, 2, "{person:?} {error}");
    }
    // Old names with control characters are shown harmlessly.
    let old = "update api_keys set name = E'desk\\u202Egnp'";
    app.database.pool().await.execute(AssertSqlSafe(old)).await.unwrap();
    let (_, listed, _) = run_verdict(&["keys", "list"], &environment).await;
    assert!(listed.contains("desk\u{fffd}gnp") && !listed.contains('\u{202e}'), "{listed}");
}

#[tokio::test]
async fn summaries_of_the_log_leave_the_database_to_others() {
    let app = TestApp::start_with(Options { role: Role::Api, ..Options::default() }).await;
    let pool = app.database.pool().await;
    let key = make_key(&app.store, &[Scope::EventsRead]).await;
    // Every read of the log keeps its connection for as long as this lock lasts.
    let mut holder = pool.begin().await.unwrap();
    holder.execute("lock table events in access exclusive mode").await.unwrap();
    let summaries: Vec<_> = (0..40)
        .map(|_| {
            let path = format!("http://{}/v1/events/summary?from=1&to=1000000", app.http);
            tokio::spawn(app.client.get(path).bearer_auth(&key).send())
        })
        .collect();
    eventually("summaries wait for the lock", || async {
        let waiting = "select count(*) >= 2 from pg_stat_activity where wait_event_type = 'Lock'
            and datname = current_database()";
        let waiting: bool = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
        waiting.then_some(())
    })
    .await;
    for n in 0..20 {
        let posted = app.post(callback(&format!("pass-{n}"), app.clock.now())).await;
        assert_eq!(posted.status, 202, "{posted:?}");
    }
    holder.rollback().await.unwrap();
    for summary in summaries {
        let status = summary.await.unwrap().unwrap().status();
        assert!([200, 410, 503].contains(&status.as_u16()), "{status}");
    }
}
