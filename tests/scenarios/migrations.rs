//! Migrations: forward-only, one by one, on tables that hold rows.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::harness::{empty_database, new_database, run_verdict};

#[tokio::test]
async fn every_migration_applies_to_tables_that_hold_rows() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrator = Migrator::new(root.join("migrations")).await.unwrap();
    for migration in migrator.iter() {
        assert!(!migration.migration_type.is_down_migration(), "forward only");
        connection.execute(migration.sql.clone()).await.unwrap();
        let rows = root.join(format!("tests/fixtures/migrations/{}.sql", migration.version));
        // One that makes no table or column needs none; a table without is found below.
        if let Ok(rows) = std::fs::read_to_string(&rows) {
            connection.execute(AssertSqlSafe(rows)).await.unwrap();
        }
    }
    let empty: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class c
         where relkind = 'r' and relnamespace = 'public'::regnamespace
           and (xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %I', relname),
                false, true, '')))[1]::text = '0'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(empty.is_empty(), "without sample rows: {empty:?}");
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
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
async fn what_a_claim_or_a_renewal_writes_is_in_no_index() {
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
async fn migrating_twice_or_by_several_at_once_is_harmless() {
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
async fn a_schema_that_is_newer_or_was_tampered_with_is_refused() {
    for (change, says) in [
        ("insert into _sqlx_migrations select 99990101000000, description, now(), true, checksum, 0
          from _sqlx_migrations limit 1", "newer"),
        ("update _sqlx_migrations set checksum = '\\x00'", "changed"),
    ] {
        let database = new_database().await;
        let pool = database.pool().await;
        sqlx::query(AssertSqlSafe(change)).execute(&pool).await.unwrap();
        let environment = [("DATABASE_URL", database.url.as_str())];
        let (code, _, error) = run_verdict(&["migrate"], &environment).await;
        assert_eq!(code, 1);
        assert!(error.contains(says), "{error}");
    }
}
