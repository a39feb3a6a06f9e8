//! Legal holds: what is held is neither erased nor deleted by retention, whoever asks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;
use verdict::domain::event::EventKind;
use verdict::domain::ids::{Ids, VerificationId};
use verdict::store::audit::AuditContext;
use verdict::store::erasure::Erased;
use verdict::store::events::Filter;
use verdict::store::legal_holds::Placed;

use crate::harness::protocol::{START, Steps, waits_for_a_lock};
use crate::harness::{Options, Setting, TestApp, callback, eventually, now};

const WHY: (&str, &str) = ("verdict-purpose", "appeal 4711");

fn audit_context() -> AuditContext {
    AuditContext { actor: "cli:tester".to_owned(), purpose: Some("court 7".to_owned()), at: START }
}

async fn count(pool: &PgPool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

async fn id_of(setting: &Setting, at: std::net::SocketAddr, biz_id: &str) -> String {
    let path = format!("/v1/verifications?biz_type=test&biz_id={biz_id}");
    setting.get(at, &path).await.json["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn held_verification_is_erased_only_once_the_hold_is_lifted() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-person-5-a", "pass-97-person-5-b"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let held = id_of(&setting, process.http, "pass-97-person-5-a").await;
    let other = id_of(&setting, process.http, "pass-97-person-5-b").await;
    let material = format!("/v1/verifications/{held}/material");
    let shown = setting.ask("GET", process.http, &material, &[WHY]).await;
    let number = shown.json["number"].as_str().unwrap().to_owned();

    let ask_for = |command: &'static str, id: &str| {
        let arguments = ["hold", command, "--purpose", "court 7", "--verification", id];
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let setting = &setting;
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            setting.run(&arguments, "").await
        }
    };
    let (code, said, error) = ask_for("place", &held).await;
    assert_eq!((code, said), (0, format!("{held} is under a legal hold\n")), "{error}");
    assert_eq!(ask_for("place", &held).await.1, format!("{held} was under a legal hold before\n"));

    setting.ask("DELETE", process.http, &material, &[WHY]).await.assert_problem(409, "on-hold");
    let erase = ["erase", "--purpose", "request 1", "--verification", &held];
    let (code, said, error) = setting.run(&erase, "").await;
    assert_eq!(code, 1, "{said}");
    assert!(error.contains("1 of 1 verification is under a legal hold"), "{error}");
    // By number, the others are erased all the same.
    let (code, said, _) = setting.run(&["erase", "--person", "--purpose", "r"], &number).await;
    assert_eq!((code, said.lines().count()), (1, 2), "{said}");
    assert!(said.contains(&format!(r#""on_hold":true,"verification_id":"{held}""#)), "{said}");
    assert_eq!(setting.ask("GET", process.http, &material, &[WHY]).await.status, 200);
    let view = setting.get(process.http, &format!("/v1/verifications/{other}")).await;
    assert_eq!(view.json["state"], "erased");
    let (code, said, _) = ask_for("place", &other).await;
    assert_eq!(code, 1);
    assert!(said.contains("was erased before: there is nothing to hold"), "{said}");
    assert_eq!(ask_for("place", &Uuid::nil().to_string()).await.0, 1);

    let (_, listed, _) = setting.run(&["hold", "list", "--json"], "").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["verification_id"], &listed["purpose"]),
        (&held.as_str().into(), &"court 7".into())
    );
    assert!(listed["placed_by"].as_str().unwrap().starts_with("cli:"));
    assert_eq!(ask_for("lift", &held).await.0, 0);
    let (code, _, error) = ask_for("lift", &held).await;
    assert_eq!(code, 1);
    assert!(error.contains("there was no legal hold to lift"), "{error}");
    assert_eq!(setting.run(&["hold", "list"], "").await.1, "there is no legal hold\n");
    let (_, all, _) = setting.run(&["hold", "list", "--all"], "").await;
    assert!(all.starts_with("VERIFICATION ") && all.contains("lifted "), "{all}");

    assert_eq!(setting.ask("DELETE", process.http, &material, &[WHY]).await.status, 202);
    let pool = setting.database.pool().await;
    let recorded: String = sqlx::query_scalar(
        "select string_agg(concat_ws(' ', action, purpose), ', ' order by position)
         from audit where subject = $1 and action <> 'material.read'",
    )
    .bind(held.parse::<Uuid>().unwrap())
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(
        recorded,
        "hold.place court 7, hold.lift court 7, verification.erase appeal 4711, verification.erased"
    );
    process.kill().await;
}

#[tokio::test]
async fn whole_person_is_held_by_the_identity_number() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for biz_id in ["pass-97-person-5-a", "pass-97-person-5-b", "pass-97-person-6"] {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let id = id_of(&setting, process.http, "pass-97-person-5-a").await;
    let path = format!("/v1/verifications/{id}/material");
    let shown = setting.ask("GET", process.http, &path, &[WHY]).await;
    let number = format!("{}\n", shown.json["number"].as_str().unwrap());
    let place = ["hold", "place", "--person", "--purpose", "court 7"];
    let (code, said, error) = setting.run(&place, &number).await;
    assert_eq!((code, said.lines().count()), (0, 2), "{error}");
    assert!(!said.contains(number.trim()) && !error.contains(number.trim()));
    let (code, said, _) = setting.run(&["erase", "--person", "--purpose", "r"], &number).await;
    assert_eq!((code, said.matches("\"on_hold\":true").count()), (1, 2), "{said}");
    let lift = ["hold", "lift", "--person", "--purpose", "case closed"];
    assert_eq!(setting.run(&lift, &number).await.1.lines().count(), 2);
    assert_eq!(setting.run(&["erase", "--person", "--purpose", "r"], &number).await.0, 0);
    assert_eq!(setting.run(&place, &number).await.0, 1, "nothing is kept of the person");
    assert_eq!(setting.run(&place, "").await.0, 2);
    process.kill().await;
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn held_verification_outlives_every_clock_of_retention() {
    const DAY: Duration = Duration::from_hours(24);
    let folder = tempfile::TempDir::new().unwrap();
    let options = || Options {
        images: format!("store = \"file://{}\"", folder.path().display()),
        more: "[retention]\nperson_days = 90\nimages_days = 30\ncallbacks_days = 30".to_owned(),
        ..Options::default()
    };
    let clock = verdict::domain::clock::Clock::fixed(START);
    let (provider, address) = crate::harness::provider(&clock).await;
    let app = TestApp::start_beside(options(), provider, address, clock).await;
    let held = app.verified("pass-97-held").await["id"].as_str().unwrap().to_owned();
    let other = app.verified("pass-97-other").await["id"].as_str().unwrap().to_owned();
    eventually("all images are kept", || async { (files(folder.path()) == 8).then_some(()) }).await;
    let id: VerificationId = held.parse().unwrap();
    let fresh: Uuid = Ids::counted(1).next(START);
    let placed = app.store.legal_holds().place(fresh, id, &audit_context()).await.unwrap();
    assert_eq!(placed, Placed::New);
    let pool = app.database.pool().await;

    app.clock.advance(31 * DAY);
    // The next pass; a worker's first round comes with its start.
    app.database.shift_clock(7200).await;
    let _another = app.another(options(), address).await;
    eventually("the other's images and callback are deleted", || async {
        let callbacks = count(&pool, "select count(*) from callbacks").await;
        (files(folder.path()) == 4 && callbacks == 1).then_some(())
    })
    .await;
    app.clock.advance(60 * DAY);
    app.database.shift_clock(2 * 7200).await;
    let _third = app.another(options(), address).await;
    let state = async |id: &str| {
        app.get(&format!("/v1/verifications/{id}")).await.json["state"].as_str().unwrap().to_owned()
    };
    eventually("the other is erased", || async { (state(&other).await == "erased").then_some(()) })
        .await;
    // Its turn was before the other's in each pass.
    assert_eq!(state(&held).await, "decided");
    assert_eq!(files(folder.path()), 4);
    let images = app.get(&format!("/v1/verifications/{held}/images")).await;
    assert_eq!(images.json["items"].as_array().unwrap().len(), 4);
    assert_eq!(count(&pool, "select count(*) from callbacks where digest is not null").await, 1);

    // A pass that ended after the clock is moved would rest until after the next one.
    eventually("all passes rest", || async {
        let under_way = "select count(*) from retention_passes where rests_until <= verdict_now()";
        (count(&pool, under_way).await == 0).then_some(())
    })
    .await;
    assert!(app.store.legal_holds().lift(id, &audit_context()).await.unwrap());
    app.database.shift_clock(3 * 7200).await;
    let _fourth = app.another(options(), address).await;
    eventually("it is erased once the hold is lifted", || async {
        (state(&held).await == "erased" && files(folder.path()) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hold_and_erasure_at_the_same_moment_exclude_each_other() {
    let steps = Arc::new(Steps::new().await);
    let first = steps.accept_new(&steps.message("x")).await.id;
    // A hold that is placed and not committed yet.
    let mut placing = steps.look.begin().await.unwrap();
    sqlx::query("select from verifications where id = $1 for update")
        .bind(first.0)
        .execute(&mut *placing)
        .await
        .unwrap();
    sqlx::query(
        "insert into legal_holds (id, verification_id, purpose, placed_at, placed_by)
         values (gen_random_uuid(), $1, 'court 7', now(), 'cli:tester')",
    )
    .bind(first.0)
    .execute(&mut *placing)
    .await
    .unwrap();
    let eraser = Arc::clone(&steps);
    let erasing =
        tokio::spawn(async move { eraser.store.erasures().erase(first, &audit_context()).await });
    waits_for_a_lock(&steps.look).await;
    placing.commit().await.unwrap();
    assert_eq!(erasing.await.unwrap().unwrap(), Erased::OnHold);
    assert_eq!(count(&steps.look, "select count(*) from erasures").await, 0);

    let second = steps.accept_new(&steps.message("y")).await.id;
    let mut erasing = steps.look.begin().await.unwrap();
    sqlx::query("update verifications set state = 'erased', closed = true where id = $1")
        .bind(second.0)
        .execute(&mut *erasing)
        .await
        .unwrap();
    let placer = Arc::clone(&steps);
    let placing = tokio::spawn(async move {
        let fresh: Uuid = Ids::counted(2).next(START);
        placer.store.legal_holds().place(fresh, second, &audit_context()).await
    });
    waits_for_a_lock(&steps.look).await;
    erasing.commit().await.unwrap();
    assert_eq!(placing.await.unwrap().unwrap(), Placed::Erased);
    assert_eq!(count(&steps.look, "select count(*) from legal_holds").await, 1);
}

/// As a version does that knows nothing of holds, or somebody with a shell at the database.
#[tokio::test]
async fn database_keeps_what_is_held_whatever_is_sent_to_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    let held: VerificationId =
        app.verified("pass-97").await["id"].as_str().unwrap().parse().unwrap();
    eventually("all images are kept", || async { (files(folder.path()) == 4).then_some(()) }).await;
    let fresh: Uuid = Ids::counted(1).next(START);
    app.store.legal_holds().place(fresh, held, &audit_context()).await.unwrap();
    let pool = app.database.pool().await;
    let attacks = [
        "update verifications set state = 'erased', closed = true, reference = null",
        "delete from callbacks",
        "delete from images",
        "delete from material",
        "delete from data_keys",
    ];
    for attack in attacks {
        let done = sqlx::query(attack).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), 0, "{attack}");
    }
    app.store.legal_holds().lift(held, &audit_context()).await.unwrap();
    for attack in &attacks[1..] {
        assert!(sqlx::query(*attack).execute(&pool).await.unwrap().rows_affected() > 0, "{attack}");
    }
}

#[tokio::test]
async fn held_images_do_not_stop_the_retention_of_others() {
    let steps = Steps::new().await;
    let held = steps.accept_new(&steps.message("x")).await.id;
    let fresh: Uuid = Ids::counted(1).next(START);
    steps.store.legal_holds().place(fresh, held, &audit_context()).await.unwrap();
    // The held ones are the oldest.
    sqlx::query(
        "insert into images (result_id, kind, verification_id, state, settled_at, sha256)
         select gen_random_uuid(), 'face', case when n <= 100 then $1 else gen_random_uuid() end,
             'archived', $2 - interval '40 days' + n * interval '1 minute', '\\x01'
         from generate_series(1, 150) as n",
    )
    .bind(held.0)
    .bind(START)
    .execute(&steps.look)
    .await
    .unwrap();
    let cutoff = START - time::Duration::days(10);
    let retired = steps.store.archiving().retire_images(cutoff, 50).await.unwrap();
    assert_eq!(retired, 50);
    assert_eq!(steps.store.archiving().retire_images(cutoff, 50).await.unwrap(), 0);
    assert_eq!(count(&steps.look, "select count(*) from images").await, 100);
    assert_eq!(
        count(&steps.look, "select count(*) from tasks where kind = 'retire-images'").await,
        50
    );
}

#[tokio::test]
async fn events_and_deliveries_about_a_held_verification_are_kept() {
    let app = TestApp::start().await;
    let held = app.verified("pass-97-held").await["id"].as_str().unwrap().parse().unwrap();
    let logged = async |many: usize| {
        let filter = Filter { kinds: Some(vec![EventKind::Decided]), scenes: None };
        eventually("the events are logged", || async {
            let page = app.store.events().after(0, 100, 100, &filter).await.unwrap();
            (page.events.len() == many).then_some(page.events)
        })
        .await
    };
    let number = logged(1).await[0].number;
    app.database.shift_clock(14 * 86_400).await;
    app.verified("pass-97-other").await;
    logged(2).await;
    let fresh: Uuid = Ids::counted(1).next(START);
    app.store.legal_holds().place(fresh, held, &audit_context()).await.unwrap();
    let pool = app.database.pool().await;
    sqlx::query(
        "insert into webhook_attempts (endpoint_id, number, event_id, at, attempt, latency_ms)
         select gen_random_uuid(), n, 'evt_', $2 - interval '40 days', 1, 1
         from unnest(array[$1, $1, $1 + 1, null]) as n",
    )
    .bind(number)
    .bind(START)
    .execute(&pool)
    .await
    .unwrap();
    let attempts = async || {
        app.store.webhook_deliveries().delete_attempts(START - time::Duration::days(30), 2).await
    };
    assert_eq!(app.store.events().drop_weeks(0).await.unwrap(), 1);
    assert_eq!(attempts().await.unwrap(), 2, "those behind the held ones");
    assert_eq!(attempts().await.unwrap(), 0);
    app.store.legal_holds().lift(held, &audit_context()).await.unwrap();
    assert_eq!(attempts().await.unwrap(), 2);
    assert!(app.store.events().drop_weeks(0).await.unwrap() > number);
}
