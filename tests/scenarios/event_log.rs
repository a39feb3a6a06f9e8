//! The event log: each change is one event, in order, without gaps, whatever commits when.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection};
use verdict::domain::event::{Event, EventKind};
use verdict::store::audit::AuditContext;
use verdict::store::events::{Epoch, Filter};

use crate::harness::{TestApp, eventually};

/// All events of these kinds, once there are so many of them.
async fn events(app: &TestApp, kinds: &[EventKind], many: usize) -> Vec<Event> {
    let filter = Filter { kinds: Some(kinds.to_vec()), scenes: None };
    eventually("the events are logged", || async {
        let page = app.store.events().after(0, 100_000, 100_000, &filter).await.unwrap();
        (page.events.len() >= many).then_some(page.events)
    })
    .await
}

fn numbers(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.number).collect()
}

const NEW_EPOCH: uuid::Uuid = uuid::Uuid::from_u128(7);

/// As an operator does after a restore.
async fn begin_epoch(app: &TestApp) -> Epoch {
    let doing = AuditContext {
        actor: "cli:test".to_owned(),
        purpose: Some("restored".to_owned()),
        at: app.clock.now(),
    };
    app.store.events().begin_epoch(NEW_EPOCH, &doing).await.unwrap()
}

const OF_VERIFICATIONS: [EventKind; 4] =
    [EventKind::Decided, EventKind::Failed, EventKind::Expired, EventKind::Erased];

#[tokio::test]
async fn each_reported_change_is_one_event() {
    let app = TestApp::start().await;
    let decided = app.verified("pass-97").await;
    let expired = app.verified("expired").await;
    let failed = app.verified("unknown").await;
    let id = decided["id"].as_str().unwrap();
    let erased = app
        .client
        .delete(format!("http://{}/v1/verifications/{id}/material", app.http))
        .bearer_auth(&app.api_key)
        .header("verdict-purpose", "asked by the person")
        .send()
        .await
        .unwrap();
    assert!(erased.status().is_success(), "{}", erased.text().await.unwrap());

    let told = events(&app, &OF_VERIFICATIONS, 4).await;
    let of = |verification: &serde_json::Value| -> Vec<(EventKind, serde_json::Value)> {
        let id = verification["id"].as_str().unwrap();
        told.iter()
            .filter(|event| event.verification().unwrap().to_string() == id)
            .map(|event| (event.kind, serde_json::from_str(&event.body()).unwrap()))
            .collect()
    };
    let [first, second] = &of(&decided)[..] else { panic!("{told:?}") };
    assert_eq!((first.0, second.0), (EventKind::Decided, EventKind::Erased));
    assert_eq!(first.1["data"]["verification_sequence"], 1);
    assert_eq!(second.1["data"]["verification_sequence"], 2);
    assert_eq!(first.1["data"]["decision_id"], decided["decision"]["id"]);
    assert_eq!(first.1["data"]["outcome"], "approve");
    assert_eq!(first.1["data"]["reasons"], serde_json::json!(["provider-passed"]));
    assert_eq!(second.1["data"]["state"], "erased");
    assert_eq!(second.1["data"]["biz_id"], "pass-97");
    for (verification, kind) in [(&expired, EventKind::Expired), (&failed, EventKind::Failed)] {
        let [only] = &of(verification)[..] else { panic!("{told:?}") };
        assert_eq!(only.0, kind);
        assert!(only.1["data"]["outcome"].is_null());
    }
    let policies = events(&app, &[EventKind::PolicyActivated], 1).await;
    assert_eq!(policies.len(), 1, "the first policy was activated once: {policies:?}");

    let all = events(&app, EventKind::ALL, 5).await;
    assert_eq!(numbers(&all), (1..=5).collect::<Vec<_>>(), "numbers have no gaps");
    for event in &all {
        let found = app.store.events().find(event.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(event));
    }
}

#[tokio::test]
async fn late_commit_is_numbered_and_delays_nothing() {
    let app = TestApp::start().await;
    let decided = app.verified("pass-97").await;
    let before = events(&app, &[EventKind::Decided], 1).await;

    // Two transactions stay open: one has written a decision, the other anything at all.
    let mut late = PgConnection::connect(&app.database.url).await.unwrap();
    let mut idle = PgConnection::connect(&app.database.url).await.unwrap();
    let mut late = late.begin().await.unwrap();
    let mut idle = idle.begin().await.unwrap();
    sqlx::query("create table somebody_elses (n int)").execute(&mut *idle).await.unwrap();
    sqlx::query(
        "insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
             decided_by, decided_at)
         select gen_random_uuid(), verification_id, result_id, policy_digest, 'review', reasons,
             decided_by, decided_at
         from decisions where verification_id = $1::uuid",
    )
    .bind(decided["id"].as_str().unwrap())
    .execute(&mut *late)
    .await
    .unwrap();

    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(app.accepted(&format!("pass-97-{n}")).await);
    }
    for id in &ids {
        app.settled(id).await;
    }
    let meanwhile = events(&app, &[EventKind::Decided], 21).await;
    assert_eq!(meanwhile[..1], before[..], "events that were read stay the same");

    late.commit().await.unwrap();
    let after = events(&app, &[EventKind::Decided], 22).await;
    assert_eq!(after[..21], meanwhile[..]);
    let last = after.last().unwrap();
    assert_eq!(last.verification().unwrap().to_string(), decided["id"].as_str().unwrap());
    assert!(last.body().contains(r#""verification_sequence":2,"#), "{}", last.body());
    let all = events(&app, EventKind::ALL, 23).await;
    assert_eq!(numbers(&all), (1..=23).collect::<Vec<_>>());
    idle.rollback().await.unwrap();
}

#[tokio::test]
async fn backlog_is_numbered_in_order_in_batches() {
    let app = TestApp::start().await;
    // The worker stops numbering while this lock is held, as if it were slow.
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    events(&app, EventKind::ALL, 1).await;
    let mut hold = connection.begin().await.unwrap();
    sqlx::query("select from event_log for update").execute(&mut *hold).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(app.accepted(&format!("status-3-then-pass-{n}")).await);
    }
    for id in &ids {
        app.settled(id).await;
    }
    for (n, id) in ids.iter().enumerate() {
        app.accepted(&format!("status-3-then-pass-{n}")).await;
        eventually("decided again", || async {
            (app.decisions(id).await.len() == 2).then_some(())
        })
        .await;
    }
    assert_eq!(events(&app, EventKind::ALL, 1).await.len(), 1, "nobody could number");
    hold.rollback().await.unwrap();

    // Small batches, by whoever comes: this test and the worker.
    for _ in 0..80 {
        app.store.events().number_step(7).await.unwrap();
    }
    let all = events(&app, EventKind::ALL, 61).await;
    assert_eq!(numbers(&all), (1..=61).collect::<Vec<_>>());
    let mut seen: HashMap<_, i32> = HashMap::new();
    for event in all.iter().filter(|event| event.kind == EventKind::Decided) {
        let count = seen.entry(event.verification().unwrap()).or_default();
        *count += 1;
        let sequence = format!(r#""verification_sequence":{count},"#);
        assert!(event.body().contains(&sequence), "{}", event.body());
    }
    assert!(seen.values().all(|count| *count == 2) && seen.len() == 30);
}

#[tokio::test]
async fn old_weeks_go_and_numbers_go_on() {
    let app = TestApp::start().await;
    for week in 0..3 {
        app.database.shift_clock(week * 7 * 86_400).await;
        app.verified(&format!("status-7-x1-then-pass-97-{week}")).await;
        events(&app, &[EventKind::Decided], usize::try_from(week + 1).unwrap()).await;
    }
    app.database.shift_clock(3 * 7 * 86_400).await;
    let all = events(&app, EventKind::ALL, 4).await;
    assert_eq!(numbers(&all), [1, 2, 3, 4]);
    let log = app.store.events();
    assert_eq!(log.drop_weeks(21).await.unwrap(), 1, "no week ended so long ago");
    // An endpoint has not had the third yet: its week stays, though it is old enough.
    let pool = app.database.pool().await;
    sqlx::query(
        "insert into webhook_endpoints (id, url, status, cursor, key_id, wrapped, secret,
             created_at, created_by, updated_at)
         values (gen_random_uuid(), 'https://example.com/', 'paused', 2, 'test', '', '',
             now(), 'test', now())",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(log.drop_weeks(0).await.unwrap(), 3);
    sqlx::query("delete from webhook_endpoints").execute(&pool).await.unwrap();
    assert_eq!(log.drop_weeks(0).await.unwrap(), 4, "the newest week stays");
    let page = log.after(0, 100, 100, &Filter::default()).await.unwrap();
    assert_eq!((numbers(&page.events), page.oldest, page.head), (vec![4], 4, 4));

    // A verification whose first event is gone counts on.
    app.verified("status-7-x1-then-pass-97-0").await;
    let all = events(&app, EventKind::ALL, 2).await;
    assert_eq!(numbers(&all), [4, 5]);
    assert!(all[1].body().contains(r#""verification_sequence":2,"#), "{}", all[1].body());
}

#[tokio::test]
async fn after_a_restore_from_a_dump_each_decision_is_still_told_once() {
    let app = TestApp::start().await;
    app.verified("pass-97-before").await;
    events(&app, &[EventKind::Decided], 1).await;
    // As a dump brings it: ids of transactions of another server, which are far ahead of ours.
    let pool = app.database.pool().await;
    let elsewhere = "update event_log set seen = '90000000000:90000000000:'";
    sqlx::query(elsewhere).execute(&pool).await.unwrap();
    app.verified("pass-97-unnumbered").await;
    let refused = app.store.events().number_step(10).await.unwrap_err();
    assert!(refused.to_string().contains("verdict events new-epoch"), "{refused}");
    assert_eq!(events(&app, &[EventKind::Decided], 1).await.len(), 1);

    let begun = begin_epoch(&app).await;
    assert_eq!((begun.epoch, begun.after), (NEW_EPOCH, 3), "what was there is numbered before");
    app.verified("pass-97-after").await;
    let decided = events(&app, &[EventKind::Decided], 3).await;
    let places: Vec<(i64, i64)> = decided.iter().map(|e| (e.number, e.sequence)).collect();
    assert_eq!(places, [(2, 2), (3, 3), (4, 1)], "the epoch begins with 1");
    assert_eq!(decided[2].epoch, NEW_EPOCH);
}

#[tokio::test]
async fn a_new_epoch_numbers_no_event_of_a_dropped_week_again() {
    for elsewhere in [false, true] {
        let app = TestApp::start().await;
        app.verified("pass-97-dropped").await;
        events(&app, &[EventKind::Decided], 1).await;
        app.database.shift_clock(14 * 86_400).await;
        app.verified("pass-97-kept").await;
        events(&app, &[EventKind::Decided], 2).await;
        assert_eq!(app.store.events().drop_weeks(0).await.unwrap(), 3);
        if elsewhere {
            let other_server = "update event_log set seen = '90000000000:90000000000:'";
            sqlx::query(other_server).execute(&app.database.pool().await).await.unwrap();
        }
        let begun = begin_epoch(&app).await;
        assert_eq!(begun.after, 3, "nothing was numbered again");
        app.verified("pass-97-after").await;
        let decided = events(&app, &[EventKind::Decided], 2).await;
        assert_eq!(numbers(&decided), [3, 4]);
    }
}

#[tokio::test]
async fn log_of_another_server_waits_for_a_new_epoch_even_once_ids_overlap() {
    let app = TestApp::start().await;
    app.verified("pass-97-before").await;
    events(&app, &[EventKind::Decided], 1).await;
    let pool = app.database.pool().await;
    // The other server was a few transactions ahead of this one.
    let ahead = "update event_log set seen = format('%1$s:%1$s:',
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 200)::pg_snapshot";
    sqlx::query(ahead).execute(&pool).await.unwrap();
    app.verified("pass-97-unnumbered").await;
    assert!(app.store.events().number_step(10).await.is_err());
    for _ in 0..250 {
        sqlx::query("select pg_current_xact_id()").execute(&pool).await.unwrap();
    }
    app.verified("pass-97-later").await;
    assert!(app.store.events().number_step(10).await.is_err(), "it forgot");

    let begun = begin_epoch(&app).await;
    assert_eq!(begun.after, 4, "each has one event");
    app.verified("pass-97-after").await;
    let decided = events(&app, &[EventKind::Decided], 4).await;
    assert_eq!(numbers(&decided), [2, 3, 4, 5]);
}
