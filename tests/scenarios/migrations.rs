//! Migrations: forward-only, one by one, on tables that hold rows.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::harness::{
    Options, Setting, callback, empty_database, eventually, new_database, now, run_verdict,
};

/// From this migration on each says in `schema_floor` which binaries it still serves.
const FLOOR_BEGINS: i64 = 20_261_125_000_003;

#[tokio::test]
async fn every_migration_applies_to_tables_that_hold_rows() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrator = Migrator::new(root.join("migrations")).await.unwrap();
    let mut floor = 0;
    for migration in migrator.iter() {
        assert!(!migration.migration_type.is_down_migration(), "forward only");
        connection.execute(migration.sql.clone()).await.unwrap();
        let rows = root.join(format!("tests/fixtures/migrations/{}.sql", migration.version));
        // One that makes no table or column needs none; a table without is found below.
        if let Ok(rows) = std::fs::read_to_string(&rows) {
            connection.execute(AssertSqlSafe(rows)).await.unwrap();
        }
        // An index built beside the traffic is alone in its file, and serves whom the one before
        // served.
        if migration.version >= FLOOR_BEGINS && !migration.no_tx {
            let (oldest_served, said_by): (i64, i64) =
                sqlx::query_as("select oldest_served, said_by from schema_floor")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            assert_eq!(said_by, migration.version, "it does not say which binaries it serves");
            assert!(oldest_served >= floor, "{said_by}: a floor does not sink");
            floor = oldest_served;
        }
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relkind in ('r', 'p') and not relispartition
           and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut empty = Vec::new();
    for table in tables {
        let filled = format!("select exists (select from \"{table}\")");
        let filled = sqlx::query_scalar::<_, bool>(AssertSqlSafe(filled));
        if !filled.fetch_one(&mut connection).await.unwrap() {
            empty.push(table);
        }
    }
    assert!(empty.is_empty(), "without sample rows: {empty:?}");
}

/// Indexes that the migration builds on tables it did not make, and not beside the traffic: every
/// write waits until they are there.
fn indexes_that_block_writes(sql: &str) -> Vec<String> {
    let bare: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
    let bare = bare.join(" ");
    let statements: Vec<Vec<&str>> =
        bare.split(';').map(|statement| statement.split_whitespace().collect()).collect();
    let made: Vec<&str> = statements
        .iter()
        .filter(|words| words.starts_with(&["create", "table"]))
        .map(|words| words[2])
        .collect();
    let mut found = Vec::new();
    for words in statements {
        let plain = words.starts_with(&["create", "index"])
            || words.starts_with(&["create", "unique", "index"]);
        let on = words.iter().position(|word| *word == "on");
        if let (true, Some(on)) = (plain, on)
            && !words.contains(&"concurrently")
            && !made.contains(&words[on + 1])
        {
            found.push(words[on - 1].to_owned());
        }
    }
    found
}

#[tokio::test]
async fn no_migration_blocks_writers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrator = Migrator::new(root.join("migrations")).await.unwrap();
    let blocking: Vec<(i64, Vec<String>)> = migrator
        .iter()
        .map(|migration| (migration.version, indexes_that_block_writes(migration.sql.as_str())))
        .filter(|(_, indexes)| !indexes.is_empty())
        .collect();
    // From before anybody served; the second is on a table of a few rows. The others take the indexes
    // of the first partition over; the other partitions are empty.
    let known = [
        (20_261_124_000_003, vec!["callbacks_of".to_owned()]),
        (20_261_124_000_005, vec!["policy_activations_newest".to_owned()]),
        (20_261_130_000_014, vec!["results_of".to_owned()]),
        (
            20_261_130_000_015,
            ["decisions_of", "decisions_by_transaction", "decisions_not_approved"]
                .map(ToOwned::to_owned)
                .to_vec(),
        ),
    ];
    assert_eq!(blocking, known, "build it with `create index concurrently` (docs/upgrades.md)");
}

#[tokio::test]
async fn every_table_and_column_has_a_comment() {
    let pool = new_database().await.pool().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select format('%s.%s', c.relname, a.attname)
         from pg_class c left join pg_attribute a
             on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
           and c.relname <> '_sqlx_migrations'
           and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(silent.is_empty(), "without a comment: {silent:?}");
}

#[tokio::test]
async fn columns_written_by_claim_and_renew_are_not_indexed() {
    let pool = new_database().await.pool().await;
    let indexes: Vec<String> = sqlx::query_scalar(
        "select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'verifications'::regclass",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(indexes.len() > 2, "{indexes:?}");
    for column in ["lease_token", "lease_until", "attempts"] {
        let touched = indexes.iter().find(|index| index.contains(column));
        assert_eq!(touched, None, "updates of {column} would not be heap-only");
    }
}

#[tokio::test]
async fn repeated_and_concurrent_migrations_are_harmless() {
    let database = empty_database().await;
    let environment = [("DATABASE_URL", database.url.as_str())];
    let (a, b) = tokio::join!(
        run_verdict(&["migrate"], &environment),
        run_verdict(&["migrate"], &environment)
    );
    assert_eq!((a.0, b.0), (0, 0), "{}{}", a.2, b.2);
    assert_eq!(run_verdict(&["migrate"], &environment).await.0, 0);
}

#[tokio::test]
async fn migration_that_found_no_tables_goes_on_when_another_has_made_them() {
    let database = empty_database().await;
    let (behind, proxy) = database.behind_proxy().await;
    // It has seen that there are no tables, and asks next whether they are in another schema.
    let asks =
        proxy.hold_message_with(b"c.relname = '_sqlx_migrations'", Duration::from_millis(500));
    let (late, first) = (behind.store(), database.store());
    let meanwhile = async {
        asks.await.unwrap();
        proxy.stall(true);
        first.migrate().await.unwrap();
        proxy.stall(false);
    };
    let (migrated, ()) = tokio::join!(late.migrate(), meanwhile);
    assert_eq!(migrated.unwrap().applied, 0);
}

/// A migration of the future.
const NEWER: &str = "insert into _sqlx_migrations
    select 99990101000000, description, now(), true, checksum, 0 from _sqlx_migrations limit 1";

#[tokio::test]
async fn a_schema_that_does_not_serve_this_binary_is_refused() {
    let no_longer =
        "update schema_floor set oldest_served = 99990101000000, said_by = 99990101000000";
    for (changes, says) in [
        (vec![NEWER, no_longer], "too new"),
        // A schema from before `schema_floor`, or without it.
        (vec![NEWER, "drop table schema_floor"], "too new"),
        (vec!["update _sqlx_migrations set checksum = '\\x00'"], "run the binary that applied it"),
        (vec!["delete from _sqlx_migrations where version = 20261125000003"], "too old"),
        // Another line of development: it lacks what this binary needs.
        (vec![NEWER, "delete from _sqlx_migrations where version = 20261125000003"], "too new"),
    ] {
        let setting = Setting::new(Options::default()).await;
        let pool = setting.database.pool().await;
        for change in changes {
            sqlx::query(AssertSqlSafe(change)).execute(&pool).await.unwrap();
        }
        let (code, _, error) = setting.run(&["serve"], "").await;
        assert_eq!(code, 1, "{error}");
        assert!(error.contains(says), "{error}");
        if says != "too old" {
            let (code, _, error) = setting.run(&["migrate"], "").await;
            assert_eq!(code, 1);
            assert!(error.contains(says), "{error}");
        }
    }
}

#[tokio::test]
async fn newer_schema_that_serves_this_binary_is_accepted() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    let before = setting.serve().await;
    sqlx::query(NEWER).execute(&pool).await.unwrap();
    // Those who serve go on, and more of them may come.
    let after = setting.serve().await;
    for process in [&before, &after] {
        let ready = setting.get(process.operations, "/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let message = callback("pass-97", now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;
    // Going back to this binary is no reason to fail.
    let (code, said, _) = setting.run(&["migrate"], "").await;
    assert_eq!((code, said.contains("still serves")), (0, true), "{said}");
    // The next one shrinks.
    let shrink = "update schema_floor set oldest_served = 99990101000000, said_by = 99990101000000";
    sqlx::query(shrink).execute(&pool).await.unwrap();
    let ready = setting.get(after.operations, "/readyz").await;
    assert_eq!((ready.status, ready.text.contains("too new")), (503, true), "{ready:?}");
    before.kill().await;
    after.kill().await;
}

#[tokio::test]
async fn migration_that_waits_for_a_lock_lets_writers_pass() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    // The schema as it was before the newest migrations that change a table that is read all day.
    for undo in [
        "drop table schema_floor, backtests, shadow_decisions",
        "alter table policy_activations drop column kind, drop column biz_type",
        "delete from _sqlx_migrations where version in (20261124000005, 20261125000003)",
    ] {
        sqlx::query(undo).execute(&pool).await.unwrap();
    }
    let mut report = PgConnection::connect(&setting.database.url).await.unwrap();
    let mut report = report.begin().await.unwrap();
    report.execute("select count(*) from policy_activations").await.unwrap();
    let arguments = ["migrate"];
    let migrating = setting.run(&arguments, "");
    let meanwhile = async {
        eventually("it waits for the lock", || async {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_locks where not granted
                    and relation = 'policy_activations'::regclass)",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            waits.then_some(())
        })
        .await;
        // Behind it in the queue, and served all the same, long before the report ends.
        for _ in 0..3 {
            let reading = sqlx::query("select count(*) from policy_activations").execute(&pool);
            let limit = Duration::from_secs(3);
            tokio::time::timeout(limit, reading).await.expect("it is held up").unwrap();
        }
        report.rollback().await.unwrap();
    };
    let ((code, _, error), ()) = tokio::join!(migrating, meanwhile);
    assert_eq!(code, 0, "{error}");
}
