//! Policies under races and after faults: concurrent activations, killed processes, missing rows,
//! decisions that the database refuses.

use policy::Policy;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use verdict::domain::clock::Clock;
use verdict::domain::ids::{Ids, earliest};
use verdict::policies::active::PolicySnapshot;
use verdict::policies::cache::PolicyCache;
use verdict::policies::past::{Pace, Range, Stopped, sample};
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::store::policies::{Changed, Use};

use crate::harness::protocol::waits_for_a_lock;
use crate::harness::{Options, Setting, TestApp, eventually, new_database, now};
use crate::policies::{DEFAULT, added, decided, milder, one, past, send};

fn audit_context() -> AuditContext {
    AuditContext { actor: "cli:tester".to_owned(), purpose: Some("CR 12".to_owned()), at: now() }
}

/// The default policy under another name, so that it is another one.
fn named(name: &str) -> String {
    DEFAULT.replace("= \"default\"", &format!("= \"{name}\""))
}

async fn keep(store: &Store, text: &str) -> String {
    let policy = Policy::load_stored(text).expect("it compiles");
    store
        .policies()
        .add_policy(policy.digest(), policy.name(), text, &audit_context())
        .await
        .unwrap();
    policy.digest().to_owned()
}

/// A database with the default policy.
async fn seeded() -> (Store, PgPool, String) {
    let database = new_database().await;
    let store = database.store();
    let default = Policy::load(DEFAULT).unwrap();
    store.policies().seed_policy(default.digest(), default.name(), DEFAULT, now()).await.unwrap();
    (store, database.pool().await, default.digest().to_owned())
}

/// More of what is there: copies of the decided answer about one `biz_id`, of the same time.
async fn more_like(pool: &PgPool, biz_id: &str, count: i32) {
    let copies = "
        with one as (
            select v.id, v.result_id, v.decision_id from verifications v where biz_id = $1
        ), ids as (
            select n, (left(id::text, 24) || tail)::uuid as id,
                (left(result_id::text, 24) || tail)::uuid as result_id,
                (left(decision_id::text, 24) || tail)::uuid as decision_id
            from one, generate_series(1, $2) n, lpad(to_hex(n), 12, '0') tail
        ), verifications_too as (
            insert into verifications select (jsonb_populate_record(v, jsonb_build_object('id', i.id,
                'biz_id', 'copy-' || n, 'result_id', i.result_id, 'decision_id', i.decision_id))).*
            from one o join verifications v on v.id = o.id, ids i
        ), results_too as (
            insert into results select (jsonb_populate_record(r, jsonb_build_object('id', i.result_id,
                'verification_id', i.id))).*
            from one o join results r on r.id = o.result_id, ids i
        )
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
            decided_by, decided_at)
        select i.decision_id, i.id, i.result_id, d.policy_digest, d.outcome, d.reasons,
            d.decided_by, d.decided_at
        from one o join decisions d on d.id = o.decision_id, ids i";
    sqlx::query(copies).bind(biz_id).bind(count).execute(pool).await.unwrap();
}

/// Standing decisions by a policy.
async fn standing(pool: &PgPool, policy: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from verifications v join decisions d on d.id = v.decision_id
         where d.policy_digest = $1",
    )
    .bind(policy)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn policy_changes_are_serialised_with_rising_ids() {
    let (store, pool, default) = seeded().await;
    let other = keep(&store, &named("other")).await;
    store
        .policies()
        .use_policy(Use::Active, "own", Some(&other), None, &audit_context())
        .await
        .unwrap();
    store
        .policies()
        .use_policy(Use::Shadow, "", Some(&other), None, &audit_context())
        .await
        .unwrap();
    for change in ["use", "promote", "rollback", "deactivate", "seed"] {
        let given = "select last_value from policy_activations_id_seq";
        let before = one(&pool, given).await;
        // Another transaction activates a policy and has not committed.
        let mut first = pool.begin().await.unwrap();
        sqlx::query("select count(*) from verdict_activations()")
            .execute(&mut *first)
            .await
            .unwrap();
        let waiting = tokio::spawn({
            let (store, default) = (store.clone(), default.clone());
            async move {
                match change {
                    "use" => {
                        store
                            .policies()
                            .use_policy(Use::Active, "a", Some(&default), None, &audit_context())
                            .await
                            .unwrap()
                            == Changed::Now
                    }
                    "promote" => store
                        .policies()
                        .promote_shadow("", None, &audit_context())
                        .await
                        .unwrap()
                        .is_some(),
                    "rollback" => store
                        .policies()
                        .roll_back_policy("", &audit_context())
                        .await
                        .unwrap()
                        .is_some(),
                    "deactivate" => store
                        .policies()
                        .deactivate_policy("own", None, &audit_context())
                        .await
                        .unwrap(),
                    _ => !store
                        .policies()
                        .seed_policy(&default, "default", DEFAULT, now())
                        .await
                        .unwrap(),
                }
            }
        });
        waits_for_a_lock(&pool).await;
        assert_eq!(one(&pool, given).await, before, "{change}: an id before its turn");
        first.commit().await.unwrap();
        assert!(waiting.await.unwrap(), "{change}");
    }
}

#[tokio::test]
async fn two_processes_seed_the_policy_once() {
    let database = new_database().await;
    let pool = database.pool().await;
    let mut first = pool.begin().await.unwrap();
    sqlx::query("select count(*) from verdict_activations()").execute(&mut *first).await.unwrap();
    let seed = |name: &'static str| {
        let store = database.store();
        tokio::spawn(async move {
            let text = named(name);
            let policy = Policy::load(&text).unwrap();
            store.policies().seed_policy(policy.digest(), name, &text, now()).await.unwrap()
        })
    };
    let (a, b) = (seed("a"), seed("b"));
    eventually("both wait", || async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        (one(&pool, waiting).await == 2).then_some(())
    })
    .await;
    first.commit().await.unwrap();
    assert_ne!(a.await.unwrap(), b.await.unwrap());
    assert_eq!(one(&pool, "select count(*) from policy_activations").await, 1);
    assert_eq!(one(&pool, "select count(*) from policies").await, 1);
    let recorded = "select count(*) from audit where action = 'policy.seed' and actor = 'service'";
    assert_eq!(one(&pool, recorded).await, 1);
}

#[tokio::test]
async fn second_rollback_skips_what_was_rolled_back() {
    let (store, _, default) = seeded().await;
    let mut known = vec![default];
    for name in ["b", "c", "d"] {
        known.push(keep(&store, &named(name)).await);
    }
    let [a, b, c, d] = &known[..] else { panic!() };
    let active = async |scene: &str| -> Option<String> {
        let in_use = store.policies().policies_in_use().await.unwrap();
        in_use.into_iter().find(|p| p.kind == "active" && p.biz_type == scene).map(|p| p.digest)
    };
    let activate = async |scene: &str, digest: &String| {
        let used = store
            .policies()
            .use_policy(Use::Active, scene, Some(digest), None, &audit_context())
            .await;
        used.unwrap()
    };
    let back = async |scene: &str| {
        store.policies().roll_back_policy(scene, &audit_context()).await.unwrap()
    };

    activate("", b).await;
    assert_eq!(activate("", c).await, Changed::Now);
    // Activating the active policy again is no step.
    assert_eq!(activate("", c).await, Changed::Before);
    assert_eq!(back("").await, Some(Some(b.clone())));
    assert_eq!(back("").await, Some(Some(a.clone())));
    assert_eq!((back("").await, active("").await), (None, Some(a.clone())));
    // An activation after a rollback rolls back to the policy that was active then.
    activate("", d).await;
    activate("", b).await;
    assert_eq!(back("").await, Some(Some(d.clone())));
    assert_eq!(back("").await, Some(Some(a.clone())));
    assert_eq!(back("").await, None);

    // A scene can return to having no own policy.
    activate("own", b).await;
    activate("own", c).await;
    assert_eq!(back("own").await, Some(Some(b.clone())));
    assert_eq!((back("own").await, active("own").await), (Some(None), None));
    assert_eq!(back("own").await, None);
    assert_eq!(back("other").await, None);
    // And loses it by itself, which can be rolled back, too.
    activate("own", c).await;
    assert!(store.policies().deactivate_policy("own", None, &audit_context()).await.unwrap());
    assert!(!store.policies().deactivate_policy("own", None, &audit_context()).await.unwrap());
    assert!(
        !store.policies().deactivate_policy("", None, &audit_context()).await.unwrap(),
        "never the general one"
    );
    assert_eq!(back("own").await, Some(Some(c.clone())));
    assert_eq!((back("own").await, active("").await), (Some(None), Some(a.clone())));
}

#[tokio::test]
async fn a_scene_can_lose_its_own_policy_again() {
    let app = TestApp::start().await;
    let digest = added(&app, &milder()).await;
    let activate = format!("/v1/policies/{digest}/activate");
    let scene = r#"{ "biz_type": "lenient" }"#;
    assert_eq!(send(&app, "POST", &activate, scene).await.status, 204);
    decided(&app, "lenient", "75", "approve").await;
    assert_eq!(delete_active(&app, scene).await.status, 204);
    decided(&app, "lenient", "75", "review").await;
    delete_active(&app, scene).await.assert_problem(409, "nothing-to-change");
    for (body, status, code) in [
        ("{}", 422, "invalid-field"),
        (r#"{ "biz_type": "" }"#, 422, "invalid-field"),
        (r#"{ "biz_type": "a", "more": 1 }"#, 422, "invalid-field"),
        ("", 400, "malformed-json"),
    ] {
        delete_active(&app, body).await.assert_problem(status, code);
    }
    let pool = app.database.pool().await;
    let recorded = "select count(*) from audit where action = 'policy.deactivate'";
    assert_eq!(one(&pool, recorded).await, 1);
}

async fn delete_active(app: &TestApp, body: &'static str) -> crate::harness::Reply {
    let request = app.client.delete(format!("http://{}/v1/policies/active", app.http));
    let request = request.bearer_auth(&app.api_key).header("content-type", "application/json");
    crate::harness::Reply::read(request.body(body).send().await.unwrap()).await
}

#[tokio::test]
async fn policy_check_and_compare_store_nothing() {
    let app = TestApp::start().await;
    let broken = DEFAULT.replacen("outcome = \"approve\"", "outcome = \"aprove\"", 1);
    let line = 1 + broken.lines().position(|line| line.contains("aprove")).unwrap();
    let checked = send(&app, "POST", "/v1/policies/check", broken).await;
    assert_eq!((checked.status, &checked.json["valid"]), (200, &json!(false)), "{checked:?}");
    assert_eq!(checked.json["digest"], Value::Null);
    let finding = &checked.json["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["line"], &finding["column"], &finding["rule"]),
        (&json!("error"), &json!(line), &json!(11), &json!("passed"))
    );
    assert!(finding["message"].as_str().unwrap().contains("did you mean `approve`?"));
    // Good, with something to say.
    let odd = format!(
        "{DEFAULT}\n[[rule]]\nid = \"more\"\nreason = \"more\"\noutcome = \"retry\"\n\
         text = {{ zh = \"无\", en = \"more\" }}\nwhen = {{ field = \"status\", eq = 7 }}\n"
    )
    .replace(
        "outcome = \"reject\"\nreasons = [\"face-differs-from-authority\"]",
        "outcome = \"reject\"",
    );
    let checked = send(&app, "POST", "/v1/policies/check", odd).await.json;
    assert_eq!(
        (&checked["valid"], &checked["findings"][0]["severity"]),
        (&json!(true), &json!("warning")),
        "{checked}"
    );
    let pool = app.database.pool().await;
    assert_eq!(one(&pool, "select count(*) from policies").await, 1);
    let nonsense = send(&app, "POST", "/v1/policies/check", "name = ").await;
    assert_eq!((nonsense.status, &nonsense.json["valid"]), (200, &json!(false)));

    let default =
        app.get("/v1/policies").await.json["items"][0]["digest"].as_str().unwrap().to_owned();
    let other = added(&app, &named("other")).await;
    let diff = app.get(&format!("/v1/policies/{default}/diff/{other}")).await;
    let line = 1 + DEFAULT.lines().position(|line| line.starts_with("name = ")).unwrap();
    assert_eq!(
        diff.json["changes"],
        json!([{ "change": "removed", "line": line, "text": "name = \"default\"" },
            { "change": "added", "line": line, "text": "name = \"other\"" }])
    );
    let same = app.get(&format!("/v1/policies/{other}/diff/{other}")).await;
    assert_eq!((same.status, &same.json["changes"]), (200, &json!([])));
    app.get(&format!("/v1/policies/{other}/diff/sha256:no")).await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn result_is_stored_even_if_its_decision_is_refused() {
    let app = TestApp::start().await;
    // Stored before such a thing was refused: its explanation holds what JSON in Postgres cannot.
    let good = named("poison");
    let poison = format!(
        "{}[[rule]]\nid = \"poison\"\nreason = \"poison\"\noutcome = \"review\"\n\
         text = {{ zh = \"毒\", en = \"poison\" }}\n\
         when = {{ field = \"biz_type\", ne = \"a\\u0000b\" }}\n",
        &good[..good.find("[[example]]").unwrap()]
    );
    assert!(Policy::load(&poison).is_err());
    let digest = keep(&app.store, &poison).await;
    let path = format!("/v1/policies/{digest}");
    assert_eq!(
        send(&app, "POST", &format!("{path}/activate"), r#"{ "biz_type": "ill" }"#).await.status,
        204
    );
    let mut tries = 0;
    let id = eventually("the policy is in use", || {
        tries += 1;
        let biz_id = format!("pass-97-ill-{tries}");
        let app = &app;
        async move {
            let body = json!({ "biz_type": "ill", "biz_id": &biz_id }).to_string();
            let id = app.post(crate::harness::Callback::signed(&body, app.clock.now())).await.id();
            let settled = app.settled(&id).await;
            (settled["state"] == "failed").then_some((id, biz_id))
        }
    })
    .await;
    let (id, biz_id) = id;
    // One call, and its answer is there.
    let results = app.results(&id).await;
    assert_eq!((results.len(), &results[0]["verify_status"]), (1, &json!(1)));
    assert_eq!(app.provider.queries(&biz_id), 1);
    assert!(app.decisions(&id).await.is_empty());
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    assert!(metrics.contains("verdict_decisions_refused_total"), "{metrics}");

    // In shadow it costs nothing but itself.
    assert_eq!(delete_active(&app, r#"{ "biz_type": "ill" }"#).await.status, 204);
    let shadow = format!("{path}/shadow");
    assert_eq!(send(&app, "POST", &shadow, r#"{ "biz_type": "ill" }"#).await.status, 204);
    for n in 0..3 {
        decided(&app, "ill", &format!("9{n}"), "approve").await;
    }
    // The failed verification is decided after the policy has changed.
    assert_eq!(
        send(&app, "POST", &format!("/v1/verifications/{id}/refetch"), "").await.status,
        202
    );
    eventually("it is decided", || async {
        let seen = app.get(&format!("/v1/verifications/{id}")).await.json;
        (seen["state"] == "decided" && seen["decision"]["outcome"] == "approve").then_some(())
    })
    .await;
}

#[tokio::test]
async fn redecide_stops_at_a_policy_change_and_resumes() {
    let (setting, _folder, candidate) = past().await;
    let pool = setting.database.pool().await;
    more_like(&pool, "pass-75-c", 1600).await;
    let (_, milder, _) = setting.run(&["policy", "add", &candidate], "").await;
    let milder = milder.trim();
    assert_eq!(setting.run(&["policy", "activate", milder], "").await.0, 0);

    // It stops before its second page, and the policy is rolled back meanwhile.
    let mut held = pool.begin().await.unwrap();
    let one_of_the_second = "select id from verifications where biz_id = 'copy-700' for update";
    sqlx::query(one_of_the_second).execute(&mut *held).await.unwrap();
    let redecide = ["policy", "redecide", "--json", "--full-speed", "--purpose", "CR 12"];
    let (redeciding, rolling_back) = tokio::join!(setting.run(&redecide, ""), async {
        waits_for_a_lock(&pool).await;
        let (rolled_back, ()) = tokio::join!(setting.run(&["policy", "rollback"], ""), async {
            eventually("the rollback waits", || async {
                let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'";
                (one(&pool, waiting).await == 2).then_some(())
            })
            .await;
            held.commit().await.unwrap();
        });
        rolled_back
    });
    assert_eq!(rolling_back.0, 0, "{}", rolling_back.2);
    let (code, said, error) = redeciding;
    assert_eq!(code, 1, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    // The page that was being written is whole; after the rollback nothing more was decided by it.
    assert!(error.contains("policies were changed meanwhile"), "{error}");
    let after = said["after"].as_str().unwrap();
    assert!(error.contains(&format!("--after {after}")), "{error}");
    assert_eq!((&said["whole"], &said["overtaken"]), (&json!(false), &json!(0)));
    let (new, looked_at) = (said["new"].as_i64().unwrap(), said["looked_at"].as_i64().unwrap());
    assert!(new > 500 && new < 1600, "{said}");
    assert_eq!(standing(&pool, milder).await, new);

    // By the default policy again: the rest is as it was, and from the start all of it is made so.
    let go_on = ["policy", "redecide", "--json", "--full-speed", "--after", after];
    let (code, said, error) = setting.run(&go_on, "").await;
    assert_eq!(code, 0, "{error}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["new"], &said["looked_at"]), (&json!(0), &json!(1606 - looked_at)));
    let (code, said, error) = setting.run(&redecide, "").await;
    assert_eq!(code, 0, "{error}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["looked_at"], &said["new"], &said["whole"]),
        (&json!(1606), &json!(new), &json!(true))
    );
    assert_eq!(standing(&pool, milder).await, 0);

    // The audit has the account, the purpose and the result.
    let recorded: Vec<(String, Option<String>, String)> = sqlx::query_as(
        "select action, purpose, details from audit where action like 'policy.redecide%' order by position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let actions: Vec<&str> = recorded.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(actions, ["policy.redecide", "policy.redecided"].repeat(3));
    assert_eq!(recorded[0].1.as_deref(), Some("CR 12"));
    let end: Value = serde_json::from_str(&recorded[1].2).unwrap();
    assert_eq!((&end["new"], &end["whole"]), (&json!(new), &json!(false)));
}

#[tokio::test]
async fn redecide_skips_new_decisions_and_resumes() {
    let (setting, _folder, candidate) = past().await;
    let (pool, store) = (setting.database.pool().await, setting.database.store());
    more_like(&pool, "pass-75-c", 1100).await;
    let milder = keep(&store, &std::fs::read_to_string(candidate).unwrap()).await;
    store
        .policies()
        .use_policy(Use::Active, "", Some(&milder), None, &audit_context())
        .await
        .unwrap();
    let policies = PolicySnapshot::load(&store, &PolicyCache::default()).await.unwrap().unwrap();
    let (clock, ids, range) = (Clock::system(), Ids::random(), Range::default());
    let redecide = async |after, tell: &mut dyn FnMut() -> bool| {
        let with = (&clock, &ids, Pace::Full);
        verdict::policies::past::redecide(&store, &policies, (&range, after), with, |_| tell())
            .await
            .unwrap()
    };

    // Told to stop after its first page.
    let first = redecide(uuid::Uuid::nil(), &mut || false).await;
    assert_eq!(first.stopped, Some(Stopped::Told));
    assert_eq!(standing(&pool, &milder).await, i64::try_from(first.new).unwrap());
    // Another process decides a row between reading and writing.
    let page = store.history().standing_after(first.after, 500).await.unwrap();
    let taken = page.items[0].clone();
    let overtaken = sqlx::query("update verifications set decision_id = $2 where id = $1")
        .bind(taken.verification.0)
        .bind(uuid::Uuid::max());
    let mut new = Vec::new();
    for standing in page.items {
        let policy = policies.active("test");
        new.push((
            standing.clone(),
            verdict::domain::decision::StoredDecision {
                id: ids.next(now()),
                result_id: verdict::domain::ids::ResultId(standing.result),
                policy: milder.clone(),
                by: verdict::domain::decision::DecidedBy::Policy,
                decided_at: now(),
                simulated: false,
                decision: policy::decide(policy, &standing.evidence),
            },
        ));
    }
    overtaken.execute(&pool).await.unwrap();
    let as_of = policies.newest_activation();
    let written = store.history().decide_again(&new, as_of, now()).await.unwrap();
    assert_eq!(written, Some(new.len() as u64 - 1));
    let stands: uuid::Uuid =
        sqlx::query_scalar("select decision_id from verifications where id = $1")
            .bind(taken.verification.0)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(stands, uuid::Uuid::max());
    // It continues to the end; rows that were decided before are unchanged.
    let rest = redecide(first.after, &mut || true).await;
    assert_eq!((rest.stopped, rest.overtaken), (None, 0));
    assert!(rest.same >= new.len() as u64 - 1 && rest.same + rest.new == rest.looked_at);
    assert_eq!(first.looked_at + rest.looked_at, 1106 - 1);
    // Another activation, of any scene, and not a row more.
    store
        .policies()
        .use_policy(Use::Active, "elsewhere", Some(&milder), None, &audit_context())
        .await
        .unwrap();
    let decisions = "select count(*) from decisions";
    let before = one(&pool, decisions).await;
    assert_eq!(
        redecide(uuid::Uuid::nil(), &mut || true).await.stopped,
        Some(Stopped::PoliciesChanged)
    );
    assert_eq!(store.history().decide_again(&new, as_of, now()).await.unwrap(), None);
    assert_eq!(one(&pool, decisions).await, before);
}

#[tokio::test]
async fn redecide_does_not_change_past_decisions() {
    let (setting, _folder, candidate) = past().await;
    let pool = setting.database.pool().await;
    // One waits for another result, and one has expired: their decisions are current all the same.
    let open = "update verifications set state = case biz_id when 'pass-75-c' then 'unfinished'
            when 'pass-65-d' then 'expired' else 'pending' end, due_at = now() + interval '1 day'
        where biz_id in ('pass-75-c', 'pass-65-d', 'pass-50-e')";
    sqlx::raw_sql(open).execute(&pool).await.unwrap();
    let answered = (now() + Duration::milliseconds(1)).format(&Rfc3339).unwrap();
    let (_, milder, _) = setting.run(&["policy", "add", &candidate], "").await;
    assert_eq!(setting.run(&["policy", "activate", milder.trim()], "").await.0, 0);
    let ran = async |arguments: &[&str]| -> Value {
        let (code, said, error) = setting.run(arguments, "").await;
        assert_eq!(code, 0, "{arguments:?} {error}");
        serde_json::from_str(&said).unwrap()
    };
    // By when the answers came.
    let later = ran(&["policy", "redecide", "--json", "--since", &answered]).await;
    assert_eq!(later["looked_at"], 0);
    let done = ran(&["policy", "redecide", "--json", "--until", &answered]).await;
    assert_eq!((&done["looked_at"], &done["new"]), (&json!(6), &json!(5)));
    let states =
        "select count(*) from verifications where state in ('unfinished', 'expired', 'pending')";
    // With the one whose answer was an error.
    assert_eq!(one(&pool, states).await, 4);

    for (range, answers, decisions) in [("--until", 6, 11), ("--since", 0, 0)] {
        let tried = ran(&["policy", "backtest", &candidate, "--json", range, &answered]).await;
        assert_eq!(tried["decisions"], answers, "{range}");
        let replayed = ran(&["policy", "replay", "--json", range, &answered]).await;
        assert_eq!(replayed["decisions"], decisions, "{range}");
        let calibrated = ran(&["policy", "calibrate", "--json", range, &answered]).await;
        assert_eq!(calibrated["answers"], answers, "{range}");
    }
}

#[tokio::test]
async fn replay_counts_missing_and_changed_rows_as_different() {
    let (setting, _folder, _) = past().await;
    let pool = setting.database.pool().await;
    let replayed = async |arguments: &[&str]| -> (i32, Value) {
        let arguments = [&["policy", "replay", "--json"], arguments].concat();
        let (code, said, _) = setting.run(&arguments, "").await;
        (code, serde_json::from_str(&said).unwrap())
    };
    let gone = "alter table results disable trigger all;
        delete from results where id = (select result_id from verifications where biz_id = 'pass-97-a')";
    sqlx::raw_sql(gone).execute(&pool).await.unwrap();
    let (code, said) = replayed(&[]).await;
    assert_eq!((code, &said["decisions"], &said["differences"]), (1, &json!(6), &json!(1)));
    assert_eq!((&said["without_answer"], &said["without_policy"]), (&json!(1), &json!(0)));
    assert_eq!(said["different"].as_array().unwrap().len(), 1);
    // Also where only its scene is asked about.
    assert_eq!(replayed(&["--biz-type", "test"]).await.1["differences"], 1);
    assert_eq!(replayed(&["--biz-type", "other"]).await.1["decisions"], 0);
    // A text that is not the one the digest is of, although it decides the same.
    let changed =
        "alter table policies disable trigger all; update policies set body = body || '# more'";
    sqlx::raw_sql(changed).execute(&pool).await.unwrap();
    let (code, said) = replayed(&[]).await;
    assert_eq!((code, &said["differences"], &said["without_policy"]), (1, &json!(6), &json!(6)));
}

#[tokio::test]
async fn backtest_of_a_killed_worker_counts_each_result_once() {
    let (setting, _folder, candidate) = past().await;
    let pool = setting.database.pool().await;
    more_like(&pool, "pass-75-c", 30_000).await;
    // For the estimate of how many there are.
    sqlx::raw_sql("analyze results").execute(&pool).await.unwrap();
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let process = setting.serve().await;
    let path = format!("/v1/policies/{}/backtests", digest.trim());
    let why = [("verdict-purpose", "CR 12")];
    let asked = setting.ask("POST", process.http, &path, &why).await;
    let at = asked.headers["location"].to_str().unwrap().to_owned();
    let begun = eventually("it has begun", || async {
        let seen = setting.get(process.http, &at).await.json;
        (seen["progress"]["looked_at"].as_i64() > Some(0)).then_some(seen)
    })
    .await;
    assert_eq!(begun["state"], "running", "{begun}");
    assert!(begun["progress"]["of"].as_i64() > begun["progress"]["looked_at"].as_i64(), "{begun}");
    process.kill().await;
    let process = setting.serve().await;
    let done = eventually("another finishes it", || async {
        let seen = setting.get(process.http, &at).await.json;
        (seen["state"] == "done").then_some(seen)
    })
    .await;
    assert_eq!(done["progress"], json!({ "looked_at": 30_007, "of": 30_007 }));
    let backtest = ["policy", "backtest", &candidate, "--json", "--full-speed"];
    let (_, said, _) = setting.run(&backtest, "").await;
    let comparison: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["comparison"], &comparison["flips"]), (&comparison, &json!(30_002)));

    // The flips, page by page, each once.
    let mut seen = std::collections::BTreeSet::new();
    let mut next = format!("{at}/flips?limit=100");
    for _ in 0..5 {
        let page = setting.get(process.http, &next).await.json;
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), 100);
        for flip in items {
            assert_eq!((&flip["old"], &flip["new"]), (&json!("review"), &json!("approve")));
            assert!(seen.insert(flip["verification_id"].as_str().unwrap().to_owned()));
        }
        next = format!("{at}/flips?limit=100&cursor={}", page["next_cursor"].as_str().unwrap());
    }
    let end = setting.get(process.http, &format!("{at}/flips?cursor={}", uuid::Uuid::max())).await;
    assert_eq!(end.json, json!({ "items": [], "next_cursor": null }));
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x", "page=2"] {
        let refused = setting.get(process.http, &format!("{at}/flips?{wrong}")).await;
        refused.assert_problem(422, "invalid-field");
    }
    let unknown = format!("/v1/backtests/{}/flips", uuid::Uuid::nil());
    setting.get(process.http, &unknown).await.assert_problem(404, "not-found");
    process.kill().await;
    let recorded =
        "select count(*) from audit where action = 'policy.backtest' and purpose = 'CR 12'
        and subject = (select id from backtests) and actor like 'key:%'";
    assert_eq!(one(&pool, recorded).await, 1);
}

#[tokio::test]
async fn a_stopped_process_gives_its_backtest_back_at_once() {
    let (setting, _folder, candidate) = past().await;
    let pool = setting.database.pool().await;
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let process = setting.serve().await;
    // The backtest waits in the middle of its work.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table decisions in access exclusive mode").execute(&mut *lock).await.unwrap();
    let path = format!("/v1/policies/{}/backtests", digest.trim());
    let asked = setting.ask("POST", process.http, &path, &[("verdict-purpose", "CR 12")]).await;
    assert!(asked.headers.contains_key("location"), "{asked:?}");
    let leased = "select count(*) from tasks where kind = 'backtest' and lease_until is not null";
    eventually("claimed", || async { (one(&pool, leased).await == 1).then_some(()) }).await;
    process.signal("TERM").await;
    eventually("given back", || async { (one(&pool, leased).await == 0).then_some(()) }).await;
    lock.rollback().await.unwrap();
    process.ended().await;
    let unfinished = "select count(*) from backtests join tasks using (id)
         where state = 'running' and due_at <= verdict_now() and failures = 0";
    assert_eq!(one(&pool, unfinished).await, 1, "another process continues it");
}

/// Answers with a face score, this many in the hours from one to another of the last week.
async fn answers(
    pool: &PgPool,
    from: OffsetDateTime,
    (first, last): (i64, i64),
    score: f64,
    count: i64,
) {
    let evidence = json!({ "verify_status": 1, "scores": { "authority": null, "face": score, "id_card_face": null },
        "face_quality": null, "face_mask": null,
        "images": { "face": true, "card_front": false, "card_back": false, "face_global": false },
        "name_matches": null, "number_matches": null, "card_days_left": null, "age_years": null,
        "biz_type": "a", "attempts": 1, "malformed": [] });
    for n in 0..count {
        let at = from
            + Duration::hours(first)
            + Duration::hours(last - first) * f64::from(i32::try_from(n).unwrap())
                / f64::from(i32::try_from(count).unwrap());
        let id = uuid::Uuid::from_u128(earliest(at).as_u128() | u128::from(n.unsigned_abs()));
        sqlx::query(
            "insert into results (id, verification_id, attempt, fetched_at, http_status, verify_status,
                evidence, sealed_body) values ($1, $1, 1, $2, 200, 1, $3, '')",
        )
        .bind(id)
        .bind(at)
        .bind(&evidence)
        .execute(pool)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn score_drift_covers_all_hours_equally() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    let week = now() - Duration::days(7);
    // Very many answers in the first hour, and then others.
    answers(&pool, week, (0, 1), 95.0, 1000).await;
    answers(&pool, week, (1, 24), 65.0, 1000).await;
    let seen =
        sample(&store, (week, week + Duration::days(1)), (24, 20), Pace::Full).await.unwrap();
    let histogram = seen.sum(|group| group.score == "face");
    assert_eq!((histogram[95], histogram[65]), (20, 23 * 20));
    assert_eq!(seen.answers, 24 * 20);
}

#[tokio::test]
async fn cli_arguments_are_validated_like_api_requests() {
    let (setting, folder, candidate) = past().await;
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    let (digest, long) = (digest.trim(), "x".repeat(201));
    for arguments in [
        &["activate", digest, "--biz-type", "no\nscene"][..],
        &["activate", digest, "--purpose", &long],
        &["shadow", digest, "--purpose", "red \u{1b}[31m"],
        &["rollback", "--biz-type", ""],
        &["deactivate"],
        &["redecide", "--biz-type", "a\nb"],
        &["redecide", "--after", "x"],
        &["calibrate", "--moved-to", "120"],
        &["calibrate", "--threshold", "-1"],
    ] {
        let (code, said, _) = setting.run(&[&["policy"], arguments].concat(), "").await;
        assert_eq!((code, said.as_str()), (2, ""), "{arguments:?}");
    }
    let pool = setting.database.pool().await;
    assert_eq!(one(&pool, "select count(*) from policy_activations").await, 1);

    // Its own policy, and without.
    let own = ["policy", "activate", digest, "--biz-type", "own"];
    assert_eq!(setting.run(&own, "").await.0, 0);
    let without = ["policy", "deactivate", "--biz-type", "own", "--purpose", "CR 13"];
    assert_eq!(setting.run(&without, "").await.0, 0);
    assert_eq!(setting.run(&without, "").await.0, 1);

    // Thresholds between whole points.
    let calibrate = ["policy", "calibrate", "--threshold", "74.5", "--moved-to", "75.5"];
    let (_, said, _) = setting.run(&calibrate, "").await;
    assert!(said.contains("1 of the answers that passed lies between 74.5 and 75.5\n"), "{said}");
    let calibrate = ["policy", "calibrate", "--threshold", "75.1", "--moved-to", "75.9"];
    let (_, said, _) = setting.run(&calibrate, "").await;
    assert!(said.contains("0 of the answers that passed lie between 75.1 and 75.9\n"), "{said}");

    // The matrix is aligned in columns.
    let (_, said, _) = setting.run(&["policy", "backtest", &candidate], "").await;
    let header = said.lines().find(|line| line.contains("columns: new")).unwrap();
    assert!(header.starts_with("             approve     retry    review    reject"), "{said}");

    // `policy add` shows the warnings of a policy.
    let odd = std::fs::read_to_string(&candidate).unwrap()
        + "[[rule]]\nid = \"more\"\nreason = \"more\"\noutcome = \"retry\"\n\
        text = { zh = \"无\", en = \"more\" }\nwhen = { field = \"status\", eq = 7 }\n";
    let file = folder.path().join("odd.toml");
    std::fs::write(&file, odd).unwrap();
    let (code, said, warned) = setting.run(&["policy", "add", file.to_str().unwrap()], "").await;
    assert_eq!((code, said.lines().count()), (0, 1), "{said}");
    assert!(warned.contains("this rule cannot decide") && warned.contains("odd.toml:"), "{warned}");
}

#[tokio::test]
async fn interrupted_redecide_stops_and_reports_where() {
    let (setting, _folder, candidate) = past().await;
    let pool = setting.database.pool().await;
    more_like(&pool, "pass-75-c", 1600).await;
    let (_, digest, _) = setting.run(&["policy", "add", &candidate], "").await;
    assert_eq!(setting.run(&["policy", "activate", digest.trim()], "").await.0, 0);
    let mut held = pool.begin().await.unwrap();
    let one_of_the_second = "select id from verifications where biz_id = 'copy-700' for update";
    sqlx::query(one_of_the_second).execute(&mut *held).await.unwrap();
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(["policy", "redecide", "--config"])
        .arg(setting.config_file())
        .env_clear()
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    waits_for_a_lock(&pool).await;
    let pid = child.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success()
    );
    // The signal is pending for a process that waits; it is seen at the end of the page.
    held.commit().await.unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let after = said.trim().rsplit(' ').next().unwrap();
    assert!(said.contains("broken off; to go on: --after "), "{said}");
    let (code, _, error) = setting.run(&["policy", "redecide", "--after", after], "").await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(standing(&pool, digest.trim()).await, 1605);
}

#[tokio::test]
async fn active_policy_is_not_activated_again() {
    let setting = Setting::new(Options::default()).await;
    let process = setting.serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), milder()).unwrap();
    let (_, digest, error) =
        setting.run(&["policy", "add", file.path().to_str().unwrap()], "").await;
    assert_eq!(error, "");
    let digest = digest.trim();
    let pool = setting.database.pool().await;
    let records = async || {
        let activations = one(&pool, "select count(*) from policy_activations").await;
        (activations, one(&pool, "select count(*) from audit where action like 'policy.%'").await)
    };
    for (command, said) in [("activate", "active: "), ("shadow", "shadow: ")] {
        let arguments = ["policy", command, digest, "--purpose", "CR 12"];
        let (code, first, _) = setting.run(&arguments, "").await;
        assert_eq!((code, first.trim()), (0, format!("{said}{digest}").as_str()));
        let before = records().await;
        let (code, again, _) = setting.run(&arguments, "").await;
        assert_eq!(code, 0);
        assert!(again.starts_with(&format!("already {said}{digest}")), "{again}");
        assert_eq!(records().await, before, "{command}");
    }
    // By the API, whose callers repeat a call after a lost answer: the same answer.
    let before = records().await;
    for path in [format!("/v1/policies/{digest}/activate"), format!("/v1/policies/{digest}/shadow")]
    {
        assert_eq!(setting.ask("POST", process.http, &path, &[]).await.status, 204, "{path}");
    }
    assert_eq!(records().await, before);
    // In one scene it is not the same, and a shadow ends once.
    let (_, scene, _) =
        setting.run(&["policy", "activate", digest, "--biz-type", "a", "--purpose", "x"], "").await;
    assert_eq!(scene.trim(), format!("active: {digest}"));
    let (_, ended, _) = setting.run(&["policy", "end-shadow"], "").await;
    assert_eq!(ended.trim(), "the shadow has ended");
    let before = records().await;
    let (_, ended, _) = setting.run(&["policy", "end-shadow"], "").await;
    assert_eq!(ended.trim(), "there is no shadow to end: nothing was changed");
    assert_eq!(records().await, before);

    // The history says why, to both kinds of readers.
    let (_, history, _) = setting.run(&["policy", "history"], "").await;
    let told = history.lines().filter(|line| line.ends_with("  CR 12")).count();
    assert_eq!(told, 2, "{history}");
    let list = setting.ask("GET", process.http, "/v1/policies", &[]).await;
    let purposes = list.json["activations"].as_array().unwrap().iter().map(|of| &of["purpose"]);
    assert_eq!(purposes.filter(|purpose| *purpose == "CR 12").count(), 2, "{list:?}");
}
