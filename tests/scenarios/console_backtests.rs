//! Backtests and shadows in the console: what a policy would change, in a sentence, in numbers, and
//! case by case.

use std::time::Duration;

use serde_json::{Value, json};
use verdict::domain::ids::{Ids, LeaseToken, VerificationId};
use verdict::domain::scope::Scope;
use verdict::store::tasks::{Task, Work};

use crate::harness::browser::{Browser, Page};
use crate::harness::{Callback, Options, TestApp, eventually, make_key, now, run_verdict};
use crate::policies::{added, milder, send};

const ALL: [&str; 4] = ["policies:write", "decisions:read", "results:read", "audit:read"];

async fn app() -> TestApp {
    let more = "[console]\nlisten = \"127.0.0.1:0\"".to_owned();
    TestApp::start_with(Options { more, fixed_clock: false, ..Options::default() }).await
}

/// One verification, decided; of this person if there is one.
async fn decided(app: &TestApp, scene: &str, biz_id: &str, reference: Option<&str>) -> Value {
    let mut body = json!({ "biz_type": scene, "biz_id": biz_id });
    if let Some(reference) = reference {
        body["reference"] = json!(reference);
    }
    let id = app.post(Callback::signed(&body.to_string(), now())).await.id();
    app.settled(&id).await
}

/// The page, once the backtest is done.
async fn done(browser: &Browser, path: &str) -> Page {
    eventually("the backtest is done", || async {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        (!page.has("data-reload-after")).then_some(page)
    })
    .await
}

/// The text of the page without its markup, in one line.
fn words(page: &str) -> String {
    let content = page.split_once("<main").map_or(page, |(_, content)| content);
    let text = content.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text = text.collect::<Vec<_>>().join(" ").replace("&#60;", "<").replace("&#62;", ">");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn limited(app: &TestApp, name: &str, scene: &str) -> Browser {
    let browser = Browser::of(app, name, "en", &ALL).await;
    sqlx::query("update users set scenes = array[$2] where id = $1")
        .bind(browser.user.0)
        .bind(scene)
        .execute(app.store.pool())
        .await
        .unwrap();
    browser
}

#[tokio::test]
async fn backtest_says_what_would_change_for_decisions_and_people() {
    let app = app().await;
    // One person twice, in review and then approved; another one in review; one without a reference.
    decided(&app, "pay", "pass-75-a", Some("user-1")).await;
    decided(&app, "pay", "pass-97-b", Some("user-1")).await;
    let open = decided(&app, "pay", "pass-75-c", Some("user-2")).await;
    decided(&app, "pay", "pass-97-d", None).await;
    // The same reference in another scene is the same person, when that scene counts too.
    decided(&app, "log-in", "pass-97-e", Some("user-2")).await;
    let digest = added(&app, &milder()).await;
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let list = format!("/policies/{digest}/backtests");
    assert!(browser.get(&list).await.has("not tried on the past yet"));
    let policy = browser.get(&format!("/policies/{digest}")).await;
    assert!(policy.has(&format!("href=\"{list}\"")), "{}", policy.text);
    assert!(policy.has(&format!("href=\"/policies/{digest}/shadow\"")), "{}", policy.text);

    let fields = [("scene", "pay"), ("purpose", "fewer reviews")];
    let address = browser.post(&list, &fields).await.leads_to();
    let page = done(&browser, &address).await;
    let said = words(&page.text);
    for text in [
        "2 of 2 reviews would be approved.",
        "1 of 3 people would be left with another outcome.",
        "the first result to the newest result",
        "Review → Approve provider-passed 2 100.0 %",
        // Rows of both tables: outcome, the four new ones, total.
        "Approve 2 100.0 % 0 0 0 2 50.0 %",
        "Review 2 100.0 % 0 0 0 2 50.0 %",
        "Total 4 100.0 % 0 0.0 % 0 0.0 % 0 0.0 % 4",
        "Approve 2 100.0 % 0 0 0 2 66.7 %",
        "Total 3 100.0 % 0 0.0 % 0 0.0 % 0 0.0 % 3",
        "milder (candidate) lowest_score ≥ 60 → Approve · lowest_score < 60 → Review",
        "default (active now) lowest_score ≥ 90 → Approve · lowest_score < 90 → Review",
        "Decisions with another outcome (2)",
        "pass-75-c",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    // The evidence that decides: what was observed, and the bound.
    assert!(said.contains("lowest_score 75 ≥ 60"), "{said}");
    assert!(said.contains("score-too-low"), "the old reason: {said}");
    let id = open["id"].as_str().unwrap();
    assert!(page.has(&format!("<a href=\"/verifications/{id}\">")));
    assert!(!page.has(" style=") && !page.has("<style"));

    // The same by the API, which has the persons as well.
    let seen = app.get(&format!("/v1{address}")).await.json;
    let none = [0; 4];
    let matrix = json!([[2, 0, 0, 0], none, [1, 0, 0, 0], none]);
    let people = json!({ "count": 3, "flips": 1, "matrix": matrix });
    assert_eq!(seen["comparison"]["people"], people, "{seen}");
    let recorded: i64 = sqlx::query_scalar(
        "select count(*) from audit where action = 'policy.backtest' and purpose = 'fewer reviews'
         and actor like 'user:% person:anna'",
    )
    .fetch_one(app.store.pool())
    .await
    .unwrap();
    assert_eq!(recorded, 1);

    // In all scenes the second person was approved last.
    let everywhere = done(&browser, &browser.post(&list, &[]).await.leads_to()).await;
    let said = words(&everywhere.text);
    assert!(said.contains("0 of 3 people would be left"), "{said}");
    let chinese = Browser::of(&app, "bo", "zh", &ALL).await;
    let said = words(&chinese.get(&address).await.text);
    assert!(
        said.contains("2 个“人工审核”中有 2 个会变为“通过”。 3 人中有 1 人的最终结果会不同。"),
        "{said}"
    );
    let said = words(&browser.get(&list).await.text);
    assert!(said.contains("pay the first result to the newest result 4 2 of 2 reviews"), "{said}");

    // A reviewer may be asked about an open case, and sees no score of it here; without the right
    // to decisions nobody does.
    let scopes = ["policies:write", "decisions:read", "reviews:write"];
    let reviewer = Browser::of(&app, "cleo", "en", &scopes).await;
    let said = words(&reviewer.get(&address).await.text);
    assert!(said.contains("you may be asked about this case"), "{said}");
    assert!(!said.contains("lowest_score 75"), "{said}");
    let nobody = Browser::of(&app, "dan", "en", &["policies:write"]).await;
    let page = nobody.get(&address).await;
    assert!(page.has("shown with the right decisions:read"), "{}", page.text);
    assert!(!page.has("lowest_score 75") && !page.has("pass-75-a") && page.has(id));
}

#[tokio::test]
async fn backtest_covers_its_period_to_the_instant() {
    let app = app().await;
    decided(&app, "pay", "pass-75-a", None).await;
    // Not before the millisecond of the first result is over.
    let first = now();
    let between = eventually("the next millisecond", || async {
        let at = now();
        (at - first > time::Duration::milliseconds(2)).then_some(at)
    })
    .await;
    decided(&app, "pay", "pass-65-b", None).await;
    let digest = added(&app, &milder()).await;
    let path = format!("/v1/policies/{digest}/backtests");
    let at = between.format(&time::format_description::well_known::Rfc3339).unwrap();
    let tried = async |body: Value| {
        let asked = send(&app, "POST", &path, body.to_string()).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        let address = asked.headers["location"].to_str().unwrap().to_owned();
        let seen = eventually("it is done", || async {
            let seen = app.get(&address).await.json;
            (seen["state"] == "done").then_some(seen)
        })
        .await;
        let flips = app.get(&format!("{address}/flips")).await.json;
        let count = flips["items"].as_array().unwrap().len();
        let comparison = &seen["comparison"];
        assert_eq!(comparison["flips"].as_u64(), u64::try_from(count).ok(), "{seen} {flips}");
        (comparison["decisions"].clone(), comparison["scores"][75].clone(), seen)
    };
    let (decisions, of_the_first, seen) = tried(json!({ "until": at })).await;
    assert_eq!((&decisions, &of_the_first), (&json!(1), &json!(1)), "{seen}");
    assert!(seen["until"].as_str().is_some_and(|until| until.starts_with(&at[..19])), "{seen}");
    let (decisions, of_the_first, seen) = tried(json!({ "since": at })).await;
    assert_eq!((&decisions, &of_the_first), (&json!(1), &json!(0)), "{seen}");
    assert_eq!(seen["until"], Value::Null);
    let backwards = json!({ "since": at, "until": at }).to_string();
    let refused = send(&app, "POST", &path, backwards).await;
    refused.assert_problem(422, "invalid-field");
    assert_eq!(refused.json["errors"][0]["pointer"], "/until");

    // Days in the console are those of the person's zone, to the end of the last one.
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let list = format!("/policies/{digest}/backtests");
    let shanghai = time::UtcOffset::from_hms(8, 0, 0).unwrap();
    let today = now().to_offset(shanghai).date();
    let (today, tomorrow) = (today.to_string(), today.next_day().unwrap().to_string());
    let until = [("since", today.as_str()), ("until", tomorrow.as_str())];
    let page = done(&browser, &browser.post(&list, &until).await.leads_to()).await;
    assert!(page.has("2 of 2 reviews would be approved."), "{}", words(&page.text));
    for (since, until, said) in [
        (tomorrow.as_str(), today.as_str(), "The last day is before the first day."),
        ("yesterday", "", "A day is written like 2026-11-27."),
    ] {
        let page = browser.post(&list, &[("since", since), ("until", until)]).await;
        assert_eq!((page.status, page.has(said)), (422, true), "{}", words(&page.text));
        assert!(page.has(&format!("value=\"{since}\"")), "what was typed stays");
    }
    let scene = browser.post(&list, &[("scene", "bell\u{7}")]).await;
    assert_eq!((scene.status, scene.has("There can be no such scene.")), (422, true));
}

#[tokio::test]
async fn one_backtest_runs_and_scenes_limit_who_sees_it() {
    let app = app().await;
    decided(&app, "pay", "pass-75-a", None).await;
    let digest = added(&app, &milder()).await;
    let list = format!("/policies/{digest}/backtests");
    // One that never goes on: nobody has its work.
    let running: uuid::Uuid = Ids::random().next(now());
    sqlx::query(
        "insert into backtests (id, digest, asked_by, created_at, updated_at, state, after,
             comparison, lane)
         values ($1, $2, 'test', now(), now(), 'running', $1, '{}', 1)",
    )
    .bind(running)
    .bind(&digest)
    .execute(app.store.pool())
    .await
    .unwrap();
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let busy = browser.post(&list, &[("scene", "pay"), ("purpose", "CR 7")]).await;
    assert_eq!(busy.status, 409, "{}", busy.text);
    let link = format!("href=\"/backtests/{running}\"");
    assert!(busy.has("Another backtest is running") && busy.has(&link));
    assert!(busy.has("value=\"pay\"") && busy.has("value=\"CR 7\""), "what was typed stays");
    let page = browser.get(&format!("/backtests/{running}")).await;
    assert!(page.has("So far: There is no decision here to compare."), "{}", page.text);
    let refresh =
        format!("<noscript><meta http-equiv=\"refresh\" content=\"4; url=/backtests/{running}\">");
    assert!(page.has(&refresh) && page.has("data-reload-after=\"4\"") && page.has("<progress"));

    // It covers all scenes, so a person who is limited to one does not see it.
    let clerk = limited(&app, "bo", "pay").await;
    let busy = clerk.post(&list, &[("scene", "pay")]).await;
    assert_eq!((busy.status, busy.has(&running.to_string())), (409, false), "{}", busy.text);
    assert_eq!(clerk.get(&format!("/backtests/{running}")).await.status, 404);
    assert!(!clerk.get(&list).await.has(&running.to_string()));
    for elsewhere in ["", "log-in"] {
        let refused = clerk.post(&list, &[("scene", elsewhere)]).await;
        assert_eq!((refused.status, refused.has("other-scene")), (403, true), "{elsewhere}");
    }
    let unknown = format!("/policies/sha256:{}/backtests", "0".repeat(64));
    assert_eq!(browser.get(&unknown).await.status, 404);
    assert_eq!(browser.post(&unknown, &[]).await.status, 404);
    assert_eq!(browser.get("/backtests/nothing").await.status, 404);

    let none = [0; 4];
    // An earlier version counted no persons. The page says so.
    sqlx::query("update backtests set state = 'done', comparison = $1")
        .bind(json!({ "decisions": 2, "flips": 0, "matrix": [[2, 0, 0, 0], none, none, none] }))
        .execute(app.store.pool())
        .await
        .unwrap();
    let page = browser.get(&format!("/backtests/{running}")).await;
    assert!(page.has("all 2 decisions stay as they are") && page.has("did not count people"));
    let address = clerk.post(&list, &[("scene", "pay")]).await.leads_to();
    let page = done(&clerk, &address).await;
    assert!(page.has("1 of 1 review would be approved."), "{}", words(&page.text));
}

#[tokio::test]
async fn running_backtest_is_cancelled_and_another_one_starts() {
    let app = app().await;
    decided(&app, "pay", "pass-75-a", None).await;
    let digest = added(&app, &milder()).await;
    let list = format!("/policies/{digest}/backtests");
    let pool = app.store.pool();
    // A worker holds its work, and has noted a part of it.
    let id: uuid::Uuid = Ids::random().next(now());
    let leased: uuid::Uuid = Ids::random().next(now());
    sqlx::query(
        "with run as (
             insert into backtests (id, digest, asked_by, created_at, updated_at, state, after,
                 comparison, lane, biz_type, looked_at, roughly)
             values ($1, $2, 'test', now(), now(), 'running', $1,
                 '{\"decisions\": 1, \"flips\": 0}', 1, 'pay', 1, 9)
         )
         insert into tasks (id, kind, verification_id, created_at, deadline, due_at, lease_token,
             lease_until)
         values ($1, 'backtest', $1, verdict_now(), 'infinity', verdict_now(), $3,
             verdict_now() + interval '1 hour')",
    )
    .bind(id)
    .bind(&digest)
    .bind(leased)
    .execute(pool)
    .await
    .unwrap();
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let page = format!("/backtests/{id}");
    assert!(browser.get(&page).await.has(&format!("action=\"{page}/cancel\"")));

    // Not by a person of other scenes.
    let clerk = limited(&app, "bo", "log-in").await;
    assert_eq!(clerk.post(&format!("{page}/cancel"), &[]).await.status, 404);
    let fields = [("purpose", "wrong scene")];
    assert_eq!(browser.post(&format!("{page}/cancel"), &fields).await.leads_to(), page);
    let shown = browser.get(&page).await;
    assert!(
        shown.has(">Cancelled</span>") && shown.has("cancelled before its end"),
        "{}",
        shown.text
    );
    assert!(!shown.has("<progress") && !shown.has("/cancel\"") && !shown.has("data-reload"));
    let api = app.get(&format!("/v1{page}")).await.json;
    assert_eq!((&api["state"], &api["comparison"]["decisions"]), (&json!("cancelled"), &json!(1)));

    // The worker that held the work writes nothing more, and the work is gone.
    let task = Task {
        id,
        verification: VerificationId(id),
        lease_token: LeaseToken(leased),
        failures: 0,
        age: Duration::ZERO,
        trace: None,
        work: Work::Backtest,
    };
    let backtests = app.store.backtests();
    let late_result = json!({ "decisions": 9 });
    assert!(
        !backtests.backtest_went_on(&task, "done", (id, 9), &late_result, now()).await.unwrap()
    );
    assert!(!backtests.backtest_failed(&task, now()).await.unwrap());
    assert_eq!(app.get(&format!("/v1{page}")).await.json, api);
    let left: i64 = sqlx::query_scalar("select count(*) from tasks where kind = 'backtest'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(left, 0);

    // Once more changes nothing, and is on record once. Another one starts, ends, and stays done.
    assert_eq!(browser.post(&format!("{page}/cancel"), &fields).await.leads_to(), page);
    let again = send(&app, "POST", &format!("/v1{page}/cancel"), "").await;
    assert_eq!((again.status, &again.json), (200, &api), "{again:?}");
    let recorded: Vec<(String, String)> = sqlx::query_as(
        "select actor, purpose from audit where action = 'policy.backtest-cancel' and subject = $1",
    )
    .bind(id)
    .fetch_all(pool)
    .await
    .unwrap();
    let by = format!("user:{} person:anna", browser.user);
    assert_eq!(recorded, [(by, "wrong scene".to_owned())]);
    let next = browser.post(&list, &[("scene", "pay")]).await.leads_to();
    assert!(done(&browser, &next).await.has("1 of 1 review would be approved."));
    let late = send(&app, "POST", &format!("/v1{next}/cancel"), "").await;
    late.assert_problem(409, "backtest-ended");
    let late = browser.post(&format!("{next}/cancel"), &[]).await.leads_to();
    assert!(browser.get(&late).await.has("It had ended before: nothing was cancelled."));
    assert_eq!(app.get(&format!("/v1{next}")).await.json["state"], "done");
    let list = words(&browser.get(&list).await.text);
    assert!(list.contains("Cancelled pay") && list.contains("Done pay"), "{list}");

    // The command line, which needs no right but the database's.
    let environment = [("VERDICT__DATABASE__URL", app.database.url.as_str())];
    let cancel =
        async |id: String| run_verdict(&["policy", "cancel-backtest", &id], &environment).await;
    let (code, said, error) = cancel(next.trim_start_matches("/backtests/").to_owned()).await;
    assert!(code == 0 && said.contains("had ended before"), "{said}{error}");
    let (code, said, error) = cancel(id.to_string()).await;
    assert!(code == 0 && said.contains("is cancelled"), "{said}{error}");
    let nothing: uuid::Uuid = Ids::random().next(now());
    assert_ne!(cancel(nothing.to_string()).await.0, 0);
}

#[tokio::test]
async fn backtest_that_a_worker_is_running_stays_cancelled() {
    let app = app().await;
    decided(&app, "pay", "pass-75-a", None).await;
    let digest = added(&app, &milder()).await;
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let pool = app.database.pool().await;
    // The worker reads the policy first, and waits here.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table policies in access exclusive mode").execute(&mut *lock).await.unwrap();
    let id: uuid::Uuid = Ids::random().next(now());
    sqlx::query(
        "with run as (
             insert into backtests (id, digest, asked_by, created_at, updated_at, state, after,
                 comparison, lane)
             values ($1, $2, 'test', now(), now(), 'running',
                 '00000000-0000-0000-0000-000000000000', '{}', 1)
         )
         insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         values ($1, 'backtest', $1, verdict_now(), 'infinity', verdict_now())",
    )
    .bind(id)
    .bind(&digest)
    .execute(&pool)
    .await
    .unwrap();
    eventually("a worker holds it", || async {
        let held = "select exists (select from tasks where id = $1 and lease_token is not null)";
        let held: bool = sqlx::query_scalar(held).bind(id).fetch_one(&pool).await.unwrap();
        held.then_some(())
    })
    .await;
    let page = format!("/backtests/{id}");
    assert_eq!(browser.post(&format!("{page}/cancel"), &[]).await.leads_to(), page);
    lock.rollback().await.unwrap();
    // A worker runs one at a time: this one begins when the other has come to its end.
    let next = browser.post(&format!("/policies/{digest}/backtests"), &[]).await.leads_to();
    assert!(done(&browser, &next).await.has("1 of 1 review would be approved."));
    let first = app.get(&format!("/v1{page}")).await.json;
    assert_eq!(
        (&first["state"], &first["progress"]["looked_at"]),
        (&json!("cancelled"), &json!(0))
    );
    assert_eq!(first["comparison"]["decisions"], json!(null), "{first}");
}

#[tokio::test]
async fn shadow_page_compares_with_the_active_policy() {
    let app = app().await;
    let digest = added(&app, &milder()).await;
    let browser = Browser::of(&app, "anna", "en", &ALL).await;
    let path = format!("/policies/{digest}/shadow");
    let page = browser.get(&path).await;
    assert!(
        page.has("decided nothing in shadow") && page.has("Not in shadow now"),
        "{}",
        page.text
    );
    assert_eq!(send(&app, "POST", &format!("/v1{path}"), "").await.status, 204);
    let mut n = 0;
    // An activation takes a moment: what the shadow saw counts.
    while app.get(&format!("/v1{path}")).await.json["decisions"] == 0 {
        decided(&app, "pay", &format!("pass-97-first-{n}"), None).await;
        n += 1;
    }
    let flipped = decided(&app, "pay", "pass-75-a", Some("user-1")).await;
    decided(&app, "log-in", "pass-97-b", Some("user-1")).await;
    decided(&app, "pay", "pass-75-c", Some("user-2")).await;
    let page = browser.get(&path).await;
    let said = words(&page.text);
    assert!(said.contains("2 of 2 reviews would be approved."), "{said}");
    assert!(said.contains("In shadow since") && said.contains("(All scenes)"), "{said}");
    assert!(said.contains("lowest_score 75 ≥ 60") && said.contains("pass-75-c"), "{said}");
    let id = flipped["id"].as_str().unwrap();
    assert!(page.has(&format!("<a href=\"/verifications/{id}\">")));
    // The newest first, and the first person by the last result.
    assert!(page.text.find("pass-75-c").unwrap() < page.text.find("pass-75-a").unwrap());
    let compared = app.get(&format!("/v1{path}")).await.json["decisions"].as_u64().unwrap();
    let people = compared - 1;
    let expected = format!("1 of {people} people would be left with another outcome.");
    assert!(said.contains(&expected), "{expected}: {said}");
    assert!(said.contains(&format!("Total {compared} ")), "{said}");
    let clerk = limited(&app, "bo", "log-in").await;
    let said = words(&clerk.get(&path).await.text);
    assert!(said.contains("the one decision stays as it is"), "{said}");
    assert!(!said.contains("pass-75"), "{said}");

    // An erased person is counted as skipped, and listed nowhere.
    let key = make_key(&app.store, &[Scope::ErasuresWrite]).await;
    let erase = app.client.delete(format!("http://{}/v1/verifications/{id}/material", app.http));
    let erase = erase.bearer_auth(&key).header("verdict-purpose", "request 7");
    assert!(erase.send().await.unwrap().status().is_success());
    let said = eventually("the erasure is complete", || async {
        let said = words(&browser.get(&path).await.text);
        said.contains("1 more was skipped: the person was erased.").then_some(said)
    })
    .await;
    assert!(
        said.contains("1 of 1 review would be approved.") && !said.contains("pass-75-a"),
        "{said}"
    );
}
