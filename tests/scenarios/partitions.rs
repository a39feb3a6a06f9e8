//! Results and decisions lie in partitions by month, which the service makes ahead.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{Ids, VerificationId};
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::store::months::{DropOutcome, MonthlyTable, OldMonth};

use crate::harness::{
    Database, Options, Setting, TestApp, callback, empty_database, eventually, new_database, now,
    run_verdict,
};

const START: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);

/// The newest migration before there were partitions.
const BEFORE: i64 = 20_261_129_000_031;
const DAY: i64 = 86_400;

/// A result and its decision in one statement, as every version writes them.
const WRITE: &str = "with result as (
        insert into results (id, verification_id, attempt, fetched_at, http_status, verify_status,
            evidence, sealed_body)
        values ($1, $2, $3, now(), 200, 1, '{\"verify_status\": 1}', '\\x01'))
    insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at)
    values ($1, $2, $1, 'sha256:00', 'approve', '[]', 'policy', now()) returning position";

/// A database as the version before left it.
async fn database_of_before() -> Database {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrator = Migrator::new(root.join("migrations")).await.unwrap();
    migrator.run_to(BEFORE, &mut connection).await.unwrap();
    connection.close().await.unwrap();
    database
}

async fn write(connection: &mut PgConnection, id: Uuid, attempt: i32) -> sqlx::Result<i64> {
    let verification = Uuid::from_u128(1);
    sqlx::query_scalar(WRITE).bind(id).bind(verification).bind(attempt).fetch_one(connection).await
}

/// An id that was made so many days from now.
fn id_in(days: i64) -> Uuid {
    Ids::random().next(now() + time::Duration::days(days))
}

async fn partition_of(pool: &PgPool, table: &str, id: Uuid) -> String {
    let find = format!("select tableoid::regclass::text from {table} where id = $1");
    sqlx::query_scalar(AssertSqlSafe(find)).bind(id).fetch_one(pool).await.unwrap()
}

async fn is_gone(pool: &PgPool, table: &str) -> Option<()> {
    let find = "select to_regclass($1) is null";
    let gone: bool = sqlx::query_scalar(find).bind(table).fetch_one(pool).await.unwrap();
    gone.then_some(())
}

/// The numbers of the oldest event and of the newest.
async fn log_of_events(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("select oldest, number from event_log").fetch_one(pool).await.unwrap()
}

async fn months(pool: &PgPool, table: &str) -> Vec<String> {
    let find = "select name from verdict_months($1) order by upper nulls last";
    sqlx::query_scalar(find).bind(table).fetch_all(pool).await.unwrap()
}

/// The finding of doctor about the months.
async fn doctor(setting: &Setting) -> String {
    let (_, said, _) = setting.run(&["doctor"], "").await;
    let lines = said.lines().skip_while(|line| !line.contains(" months "));
    let mut found = lines.take_while(|line| line.contains(" months ") || line.starts_with("   "));
    let mut all = found.next().unwrap_or_default().to_owned();
    found.for_each(|line| all.push_str(line));
    all
}

#[tokio::test]
async fn migration_makes_partitions_while_others_write() {
    let database = database_of_before().await;
    let pool = database.pool().await;
    let role = format!("partitions_{}", Ids::random().nonce());
    for prepare in [
        "insert into policies values ('sha256:00', 'default', 'name = \"default\"', now())"
            .to_owned(),
        format!("create role {role}"),
        format!("grant select (id, evidence), insert (id) on results to {role}"),
        format!("grant select on decisions to {role}"),
    ] {
        pool.execute(AssertSqlSafe(prepare)).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (url, done) = (database.url.clone(), Arc::clone(&done));
        async move {
            // One session throughout, with the plans that it has kept.
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute("set plan_cache_mode = force_generic_plan").await.unwrap();
            let (mut positions, mut slowest) = (Vec::new(), Duration::ZERO);
            for attempt in 1.. {
                let (id, began) = (id_in(0), Instant::now());
                positions.push(write(&mut connection, id, attempt).await.unwrap());
                let found: String =
                    sqlx::query_scalar("select outcome from decisions where id = $1")
                        .bind(id)
                        .fetch_one(&mut connection)
                        .await
                        .unwrap();
                assert_eq!(found, "approve");
                slowest = slowest.max(began.elapsed());
                sqlx::query("select verdict_number_events(1000)")
                    .execute(&mut connection)
                    .await
                    .unwrap();
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
            (positions, slowest)
        }
    });
    eventually("rows are there", || async {
        let count: i64 =
            sqlx::query_scalar("select count(*) from decisions").fetch_one(&pool).await.unwrap();
        (count > 20).then_some(())
    })
    .await;
    let (code, said, error) = run_verdict(&["migrate"], &[("DATABASE_URL", &database.url)]).await;
    assert_eq!(code, 0, "{said}{error}");
    done.store(true, Ordering::SeqCst);
    let (positions, slowest) = writer.await.unwrap();
    // Some milliseconds on a quiet machine.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");

    let all = i64::try_from(positions.len()).unwrap();
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from results), (select count(*) from decisions),
             (select count(*) from results_before), (select count(distinct decision_id) from events)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(counts, (all, all, all, all), "every row is there, and every decision is an event");

    let rights: (bool, bool, bool, bool, bool) = sqlx::query_as(AssertSqlSafe(format!(
        "select has_column_privilege('{role}', 'results', 'evidence', 'select'),
             has_column_privilege('{role}', 'results', 'id', 'insert'),
             has_table_privilege('{role}', 'decisions', 'select'),
             has_column_privilege('{role}', 'results', 'sealed_body', 'select'),
             has_any_column_privilege('{role}', 'results_before', 'select')"
    )))
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(rights, (true, true, true, false, false));
}

#[tokio::test]
async fn migration_keeps_rows_whose_ids_lie_far_ahead() {
    let database = database_of_before().await;
    let pool = database.pool().await;
    pool.execute(
        "insert into policies values ('sha256:00', 'default', 'name = \"default\"', now())",
    )
    .await
    .unwrap();
    let (usual, ahead, other) = (id_in(0), id_in(3_000), Uuid::from_u128(u128::MAX));
    for (attempt, id) in (1..).zip([usual, ahead, other]) {
        write(&mut pool.acquire().await.unwrap(), id, attempt).await.unwrap();
    }
    let (code, said, error) = run_verdict(&["migrate"], &[("DATABASE_URL", &database.url)]).await;
    assert_eq!(code, 0, "{said}{error}");
    for table in ["results", "decisions"] {
        let lies = |id| partition_of(&pool, table, id);
        assert_eq!(lies(usual).await, format!("{table}_before"));
        assert_eq!(lies(ahead).await, format!("{table}_default"));
        assert_eq!(lies(other).await, format!("{table}_default"));
    }
}

#[tokio::test]
async fn processes_make_the_same_months_at_once() {
    let database = new_database().await;
    let pool = database.pool().await;
    let before = months(&pool, "results").await;
    database.shift_clock(100 * DAY).await;
    let stores: Vec<Store> = (0..4).map(|_| database.store()).collect();
    let made = futures_util::future::join_all(
        stores.iter().map(|store| async move { store.months().make_ahead().await }),
    )
    .await;
    let made: i32 = made.into_iter().map(|made| made.unwrap()).sum();
    let after = months(&pool, "results").await;
    assert!(after.len() > before.len(), "{after:?}");
    let new = i32::try_from(after.len() - before.len()).unwrap();
    // As many of decisions.
    assert_eq!(made, 2 * new);
    assert_eq!(months(&pool, "decisions").await.len(), after.len());
    let again = stores[0].months().make_ahead().await.unwrap();
    assert_eq!(again, 0, "everything is there");
}

#[tokio::test]
async fn doctor_finds_missing_months_and_a_worker_makes_them() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let said = doctor(&setting).await;
    assert!(said.starts_with("ok"), "{said}");
    let pool = setting.database.pool().await;
    for table in ["results", "decisions"] {
        for month in months(&pool, table).await.iter().skip(1) {
            pool.execute(AssertSqlSafe(format!("drop table {month}"))).await.unwrap();
        }
    }
    // The first partition ends at least two weeks after the migration.
    setting.database.shift_clock(40 * DAY).await;
    let said = doctor(&setting).await;
    assert!(said.starts_with("warning") && said.contains("results has no partition"), "{said}");
    let process = setting.serve().await;
    eventually("a worker makes them", || async {
        doctor(&setting).await.starts_with("ok").then_some(())
    })
    .await;
    process.kill().await;
    // So does `verdict migrate`, with nothing to migrate.
    setting.database.shift_clock(200 * DAY).await;
    assert_eq!(setting.run(&["migrate"], "").await.0, 0);
    let said = doctor(&setting).await;
    assert!(said.starts_with("ok"), "{said}");
}

#[tokio::test]
async fn rows_of_a_fast_clock_move_to_their_month() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    let id = id_in(150);
    write(&mut pool.acquire().await.unwrap(), id, 1).await.unwrap();
    for table in ["results", "decisions"] {
        assert_eq!(partition_of(&pool, table, id).await, format!("{table}_default"));
    }
    let said = doctor(&setting).await;
    assert!(said.starts_with("warning") && said.contains("1 row of results"), "{said}");

    setting.database.shift_clock(150 * DAY).await;
    setting.database.store().months().make_ahead().await.unwrap();
    let month = now() + time::Duration::days(150);
    let name = format!("_{}_{:02}", month.year(), u8::from(month.month()));
    for table in ["results", "decisions"] {
        assert_eq!(partition_of(&pool, table, id).await, format!("{table}{name}"));
    }
    let said = doctor(&setting).await;
    assert!(said.starts_with("ok"), "{said}");
    let numbered: i64 =
        sqlx::query_scalar("select count(*) from cases").fetch_one(&pool).await.unwrap();
    assert_eq!(numbered, 0, "moving a row is no new decision");
}

#[tokio::test]
async fn very_many_late_rows_stay_where_they_are() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    let many = "insert into results (id, verification_id, attempt, fetched_at, http_status,
            error_class, sealed_body)
        select verdict_id_at(now() + interval '100 days' + n * interval '1 ms'), gen_random_uuid(), 1,
            now(), 400, 'gone', '' from generate_series(1, 10001) as n";
    pool.execute(many).await.unwrap();
    database.shift_clock(100 * DAY).await;
    store.months().make_ahead().await.unwrap();
    let [results, decisions] = store.months().reach().await.unwrap();
    assert_eq!((results.of_no_month, decisions.of_no_month), (1000, 0), "counted up to 1,000");
    assert_eq!(results.until, decisions.until, "the months after it are made");
    let made = |months: Vec<String>| months.len();
    assert_eq!(made(months(&pool, "results").await) + 1, made(months(&pool, "decisions").await));
}

#[tokio::test]
async fn history_is_protected_in_every_partition() {
    let database = new_database().await;
    let pool = database.pool().await;
    for (attempt, days) in (1..).zip([0, 45, 3_000]) {
        write(&mut pool.acquire().await.unwrap(), id_in(days), attempt).await.unwrap();
    }
    for table in ["results", "decisions"] {
        let partitions: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select tableoid::regclass::text from {table}"
        )))
        .fetch_all(&pool)
        .await
        .unwrap();
        assert_eq!(partitions.len(), 3);
        for partition in partitions {
            let edit = format!("update {partition} set verification_id = gen_random_uuid()");
            let refused = pool.execute(AssertSqlSafe(edit)).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("rows of {table} are never edited")), "{refused}");
        }
    }
}

#[tokio::test]
async fn verification_across_a_month_is_read_whole() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-97").await;
    let id = verification["id"].as_str().unwrap();
    let pool = app.database.pool().await;
    // Another result and decision, in another month.
    let later = id_in(45);
    let attempt = "with result as (
            insert into results select (jsonb_populate_record(r, jsonb_build_object(
                'id', $2::uuid, 'attempt', r.attempt + 1))).* from results r
            where verification_id = $1::text::uuid)
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
            decided_by, decided_at)
        select $2, verification_id, $2, policy_digest, 'review', reasons, decided_by, decided_at
        from decisions where verification_id = $1::text::uuid";
    sqlx::query(attempt).bind(id).bind(later).execute(&pool).await.unwrap();
    assert_ne!(partition_of(&pool, "decisions", later).await, "decisions_before");
    sqlx::query(
        "update verifications set decision_id = $2, result_id = $2 where id = $1::text::uuid",
    )
    .bind(id)
    .bind(later)
    .execute(&pool)
    .await
    .unwrap();
    let shown = app.get(&format!("/v1/verifications/{id}")).await;
    assert_eq!(shown.json["decision"]["outcome"], "review");
    assert_eq!(app.results(id).await.len(), 2);
    let outcomes: Vec<_> =
        app.decisions(id).await.iter().map(|decision| decision["outcome"].clone()).collect();
    assert_eq!(outcomes, ["approve", "review"]);
    let open: i64 = sqlx::query_scalar("select count(*) from cases where closed_at is null")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(open, 1, "a decision in any partition opens its case");
}

/// The parts that the timeline reports as removed, each with its days.
async fn removed(app: &TestApp, id: &str) -> Vec<Value> {
    let timeline = app.get(&format!("/v1/verifications/{id}/timeline")).await;
    let items = timeline.json["items"].as_array().unwrap();
    let removed = items.iter().filter(|item| item["event"] == "removed-by-retention");
    let mut removed: Vec<Value> =
        removed.map(|item| json!([item["what"], item["after_days"]])).collect();
    // By name: months of both are dropped in turns.
    removed.sort_by_key(ToString::to_string);
    removed
}

/// The shortest clocks that go together.
const KEEP: &str = "[retention]
    person_days = 30
    events_days = 30
    results_days = 30
    decisions_days = 30";

#[tokio::test]
async fn retention_drops_months_once_everybody_in_them_is_erased() {
    const DAY_LONG: Duration = Duration::from_hours(24);
    let options = || Options { more: KEEP.to_owned(), ..Options::default() };
    let clock = Clock::fixed(START);
    let (provider, address) = crate::harness::provider(&clock).await;
    let app = TestApp::start_beside(options(), provider, address, clock).await;
    let held = app.verified("pass-97-held").await["id"].as_str().unwrap().to_owned();
    let other = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let held_id: VerificationId = held.parse().unwrap();
    let audit = AuditContext { actor: "cli:tester".to_owned(), purpose: None, at: START };
    let fresh: Uuid = Ids::random().next(START);
    app.store.legal_holds().place(fresh, held_id, &audit).await.unwrap();
    let pool = app.database.pool().await;
    let state = async |id: &str| {
        let shown = app.get(&format!("/v1/verifications/{id}")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.json["state"].as_str().unwrap().to_owned()
    };

    // Past the end of the first partition, and its clock.
    app.clock.advance(120 * DAY_LONG);
    app.database.shift_clock(120 * DAY).await;
    let _another = app.another(options(), address).await;
    eventually("the other is erased", || async { (state(&other).await == "erased").then_some(()) })
        .await;
    let month = &app.store.months().older_than(MonthlyTable::Results, 30).await.unwrap()[0];
    assert_eq!(month.name, "results_before");
    let kept = app.store.months().drop_old(month, 30).await.unwrap();
    assert_eq!(kept, DropOutcome::Needed, "a legal hold keeps its month");
    assert_eq!((state(&held).await, app.decisions(&held).await.len()), ("decided".to_owned(), 1));
    assert_eq!(app.decisions(&other).await.len(), 1);

    assert!(app.store.legal_holds().lift(held_id, &audit).await.unwrap());
    app.clock.advance(DAY_LONG);
    app.database.shift_clock(121 * DAY).await;
    let _third = app.another(options(), address).await;
    eventually("it is erased, too", || async { (state(&held).await == "erased").then_some(()) })
        .await;
    // A worker's first round comes with its start.
    let _fourth = app.another(options(), address).await;
    eventually("results are dropped", || is_gone(&pool, "results_before")).await;
    // Events that are kept tell of the erasures, and of the decisions that were current then.
    let (oldest, before) = log_of_events(&pool).await;
    let kept = app.get(&format!("/v1/events?after={}", oldest - 1)).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    assert_eq!(app.decisions(&held).await.len(), 1);

    assert_eq!(removed(&app, &held).await, [json!(["results", 30])], "its decision is there");
    // Until they leave the log, for which a newer week is needed.
    app.clock.advance(49 * DAY_LONG);
    app.database.shift_clock(170 * DAY).await;
    app.verified("pass-98").await;
    eventually("its decision is numbered", || async {
        (log_of_events(&pool).await.1 > before).then_some(())
    })
    .await;
    let _fifth = app.another(options(), address).await;
    eventually("decisions are dropped", || is_gone(&pool, "decisions_before")).await;
    let recorded: Vec<(String, String)> = sqlx::query_as(
        "select purpose, details::json ->> 'rows' from audit where action = 'retention.drop'
             and details like '%_before%' order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let rows = |clock: &str| (format!("retention.{clock}"), "2".to_owned());
    assert_eq!(recorded, [rows("decisions_days"), rows("results_days")]);

    // Everything else goes on without them, and says what is missing.
    for id in [&held, &other] {
        let removed = removed(&app, id).await;
        assert_eq!(removed, [json!(["decisions", 30]), json!(["results", 30])]);
        assert_eq!(state(id).await, "erased");
        assert!(app.results(id).await.is_empty() && app.decisions(id).await.is_empty());
        for path in ["", "/timeline", "/images"] {
            let shown = app.get(&format!("/v1/verifications/{id}{path}")).await;
            assert_eq!(shown.status, 200, "{path}: {shown:?}");
        }
    }
    for list in ["/v1/verifications", "/v1/verifications?outcome=approve"] {
        let shown = app.get(list).await;
        assert_eq!(shown.status, 200, "{list}: {shown:?}");
    }
    let (oldest, _) = log_of_events(&pool).await;
    let events = app.get(&format!("/v1/events?after={}", oldest - 1)).await;
    assert_eq!(events.status, 200, "{events:?}");
    assert_eq!(app.post(callback("pass-97", app.clock.now())).await.status, 410);
    let new = app.verified("pass-99").await;
    assert_eq!(new["decision"]["outcome"], "approve");
}

#[tokio::test]
async fn dropping_a_month_waits_for_no_long_reader() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    write(&mut pool.acquire().await.unwrap(), id_in(0), 1).await.unwrap();
    let erased = "insert into verifications (id, biz_type, biz_id, state, closed, created_at, updated_at,
            callbacks, attempts, give_up_at)
        values ('00000000-0000-0000-0000-000000000001', 'test', '1', 'erased', true, now(), now(), 1, 1, now())";
    pool.execute(erased).await.unwrap();
    database.shift_clock(120 * DAY).await;
    let month = store.months().older_than(MonthlyTable::Results, 30).await.unwrap().remove(0);
    let mut reader = pool.begin().await.unwrap();
    reader.execute("select count(*) from results").await.unwrap();
    let dropping = store.months().drop_old(&month, 30);
    let others = async {
        for _ in 0..20 {
            let reading = sqlx::query("select id from results limit 1").execute(&pool);
            tokio::time::timeout(Duration::from_secs(5), reading).await.expect("held up").unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (dropped, ()) = tokio::join!(dropping, others);
    let refused = dropped.unwrap_err().to_string();
    assert!(refused.contains("55P03"), "{refused}");
    reader.rollback().await.unwrap();
    assert_eq!(store.months().drop_old(&month, 30).await.unwrap(), DropOutcome::Dropped(1));
    assert_eq!(store.months().drop_old(&month, 30).await.unwrap(), DropOutcome::Gone);
}

#[tokio::test]
async fn month_of_a_verification_that_is_not_erased_is_never_dropped() {
    let database = new_database().await;
    let (pool, store) = (database.pool().await, database.store());
    write(&mut pool.acquire().await.unwrap(), id_in(0), 1).await.unwrap();
    let month = |table| OldMonth { table, name: format!("{}_before", table.as_str()) };
    for table in MonthlyTable::ALL {
        let young = store.months().drop_old(&month(table), 1).await.unwrap_err().to_string();
        assert!(young.contains("23001"), "{young}");
    }
    database.shift_clock(120 * DAY).await;
    for table in MonthlyTable::ALL {
        let kept = store.months().drop_old(&month(table), 1).await.unwrap();
        assert_eq!(kept, DropOutcome::Needed);
        let at_once = store.months().drop_old(&month(table), 0).await.unwrap_err().to_string();
        assert!(at_once.contains("23001"), "{at_once}");
    }
    let count: i64 =
        sqlx::query_scalar("select count(*) from results").fetch_one(&pool).await.unwrap();
    assert_eq!(count, 1);
}
