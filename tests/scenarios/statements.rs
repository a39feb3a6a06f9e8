//! Every statement that Verdict can run fits the migrated schema: tables, columns, parameters, and
//! the columns that the code reads.

use std::collections::BTreeSet;
use std::fmt::Write;

use policy::decision::Outcome;
use policy::product::Product;
use sqlx::postgres::{PgConnection, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Column, Connection, Either, Executor, Row, SqlSafeStr, Statement, TypeInfo,
};
use verdict::domain::callback::{BizId, BizType, CertifyId};
use verdict::domain::ids::VerificationId;
use verdict::domain::verification::State;
use verdict::store::listing::{Filter, built};
use verdict::store::{self, all_statements};

use crate::harness::{Database, new_database};

/// Two connections: a prepared statement is cached by its text, whatever types it was given.
struct Check {
    with_types: PgConnection,
    without: PgConnection,
}

type Found = Result<(), String>;

impl Check {
    async fn of(database: &Database) -> Self {
        let with_types = PgConnection::connect(&database.url).await.unwrap();
        let without = PgConnection::connect(&database.url).await.unwrap();
        Self { with_types, without }
    }

    async fn statement(&mut self, statement: &store::Statement) -> Found {
        let declared = statement.parameters();
        let sql = statement.sql;
        let used = parameters_in(sql);
        if used != (1..=declared.len()).collect() {
            return Err(format!("{} parameters are declared, {used:?} are used", declared.len()));
        }
        let prepared = self.with_types.prepare_with(sql.into_sql_str(), &declared).await;
        let prepared = prepared.map_err(|error| message(&error))?;
        // Where Postgres finds no type by itself, the declared one is the type.
        if let Ok(inferred) = self.without.prepare(sql.into_sql_str()).await {
            compare(&declared, &inferred)?;
        }
        read(&mut self.without, statement.name(), &prepared, |row| statement.read(row)).await
    }
}

/// The numbers of the parameters in the text.
fn parameters_in(sql: &str) -> BTreeSet<usize> {
    let number = |text: &str| -> Option<usize> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    sql.split('$').skip(1).filter_map(number).collect()
}

fn compare(declared: &[PgTypeInfo], inferred: &PgStatement) -> Found {
    let Some(Either::Left(inferred)) = inferred.parameters() else { return Ok(()) };
    for (n, (declared, inferred)) in declared.iter().zip(inferred).enumerate() {
        if declared.name() != inferred.name() {
            return Err(format!(
                "parameter ${} is declared as {}, and Postgres takes {}",
                n + 1,
                declared.name(),
                inferred.name()
            ));
        }
    }
    Ok(())
}

/// Postgres' message, which names the column and its position.
fn message(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Makes one row with the columns of the statement, and has it read.
async fn read(
    connection: &mut PgConnection,
    name: &str,
    statement: &PgStatement,
    read: impl Fn(&PgRow) -> store::Result<()>,
) -> Found {
    if statement.columns().is_empty() {
        return Ok(());
    }
    let mut row = "select".to_owned();
    for column in statement.columns() {
        let (kind, comma) = (column.type_info().name(), if row.len() > 6 { "," } else { "" });
        let value = value_of(name, column.name(), kind);
        let _ = write!(row, "{comma} {value} as \"{}\"", column.name());
    }
    let row = sqlx::query(AssertSqlSafe(row.clone()))
        .fetch_one(connection)
        .await
        .map_err(|error| format!("no row can be made: {}: {row}", message(&error)))?;
    read(&row).map_err(|error| error.to_string())
}

/// A value that the code understands, by its column or its type.
fn value_of(statement: &str, column: &str, kind: &str) -> String {
    let evidence = r#"{"verify_status": 1, "scores": {}, "images": {"face": false,
        "card_front": false, "card_back": false, "face_global": false}, "biz_type": "s",
        "attempts": 1, "malformed": []}"#;
    match (column, kind) {
        ("kind", "TEXT") if statement == "backtests::claim" => "'backtest'".to_owned(),
        ("kind", "TEXT") if statement.starts_with("events::") => {
            "'verification.decided'".to_owned()
        }
        ("kind", "TEXT") => "'archive'".to_owned(),
        ("state", "TEXT") => "'decided'".to_owned(),
        ("product", "TEXT") => "'face-verify'".to_owned(),
        ("outcome" | "active_outcome", "TEXT") => "'approve'".to_owned(),
        ("error_class", "TEXT") => "'credentials'".to_owned(),
        ("answer", "TEXT") => "'new'".to_owned(),
        ("evidence", "JSONB") => format!("'{evidence}'::jsonb"),
        (_, "JSONB" | "JSON") => format!("'[]'::{kind}"),
        (_, "TIMESTAMPTZ") => "now()".to_owned(),
        (_, "UUID") => "'01990000-0000-7000-8000-000000000001'::uuid".to_owned(),
        (_, "BYTEA") => "'\\x00'::bytea".to_owned(),
        (_, "BOOL") => "true".to_owned(),
        (_, kind) if kind.ends_with("[]") => format!("'{{}}'::{kind}"),
        (_, kind) => format!("'1'::{kind}"),
    }
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let mut check = Check::of(&new_database().await).await;
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for statement in all_statements() {
        if !names.insert(statement.name()) {
            wrong.push(format!("{}: declared twice", statement.name()));
        }
        if let Err(what) = check.statement(statement).await {
            wrong.push(format!("{}: {what}", statement.name()));
        }
    }
    assert!(names.len() > 100, "only {} statements are known", names.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The planner may answer an `exists` that it cannot join by reading the whole table into a hash,
/// which is cheap only while the table is small. Accepting once did so for each batch.
#[tokio::test]
async fn no_statement_reads_a_table_into_a_hash_to_answer_exists() {
    let database = new_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute(PLANS).await.unwrap();
    let (mut hashed, mut plans) = (Vec::new(), 0);
    for (n, statement) in all_statements().into_iter().enumerate() {
        let plan = plan(&mut connection, n, statement).await;
        plans += usize::from(!plan.is_empty());
        if let Some(table) = hashed_table(&plan) {
            hashed.push(format!("{}: {table}", statement.name()));
        }
    }
    assert!(plans > 100, "only {plans} plans are known");
    assert!(hashed.is_empty(), "\n{}", hashed.join("\n"));
}

/// Statements that read the event log by numbers, and what each reads near its end.
const NEAR_THE_END: [(&str, &str, f64); 4] = [
    ("events::find_after", "99990, 100000, null, null, 100", 10.0),
    ("events::find_ids", "99990, 100000, null, null, 100", 10.0),
    ("events::find_numbers", "'{99990, 99995}'", 2.0),
    // The endpoint takes none of them.
    (
        "webhook_redeliveries::redeliver_range",
        "'01990000-0000-7000-8000-000000000001', 99990, 100000, null, null, 100",
        0.0,
    ),
];

/// The key of the log begins with the day. A condition on the number alone reads every key since the
/// Monday.
#[tokio::test]
async fn events_are_found_without_reading_their_week() {
    let database = new_database().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute(
            "select verdict_event_week('2026-09-07');
             insert into event_weeks values ('2026-09-07', 1);
             insert into events (logged_on, number, kind, with_reference, at, id)
             select date '2026-09-07' + n / 20001, n, 'policy.activated', false, now(),
                 gen_random_uuid()
             from generate_series(1, 100000) as n;
             update event_log set number = 100000, logged_on = '2026-09-11';
             insert into webhook_endpoints (id, url, types, cursor, key_id, wrapped, secret,
                 created_at, created_by, updated_at)
             values ('01990000-0000-7000-8000-000000000001', 'https://receiver.example',
                 '{verification.erased}', 100000, 'test', '', '', now(), 'test', now());
             analyze events",
        )
        .await
        .unwrap();
    let all = all_statements();
    let mut wrong = Vec::new();
    for (n, (name, values, rows)) in NEAR_THE_END.into_iter().enumerate() {
        let statement = all.iter().find(|statement| statement.name() == name).unwrap();
        connection.execute(AssertSqlSafe(prepared(n, statement))).await.unwrap();
        let explain = format!("explain (analyze, buffers, format json) execute s{n}({values})");
        let row = connection.fetch_one(AssertSqlSafe(explain)).await.unwrap();
        let plan = &row.get::<serde_json::Value, _>(0)[0]["Plan"];
        // Postgres 18 writes rows with a fraction.
        let number = |name: &str| plan[name].as_f64().unwrap();
        let blocks = number("Shared Hit Blocks") + number("Shared Read Blocks");
        if blocks > 100.0 || (number("Actual Rows") - rows).abs() > 0.5 {
            wrong.push(format!("{name}: {blocks} blocks: {plan:#}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// As sessions of the service plan.
const PLANS: &str =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";

/// The plan of a statement; empty for one that has none, or only one for each set of values.
async fn plan(connection: &mut PgConnection, n: usize, statement: &store::Statement) -> String {
    let values = match statement.parameters().len() {
        0 => String::new(),
        count => format!("({})", vec!["null"; count].join(",")),
    };
    if connection.execute(AssertSqlSafe(prepared(n, statement))).await.is_err() {
        return String::new();
    }
    let explain = format!("explain (costs off) execute s{n}{values}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{}: {}", statement.name(), message(&error)));
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// Prepares it as `s…`.
fn prepared(n: usize, statement: &store::Statement) -> String {
    let types: Vec<String> =
        statement.parameters().iter().map(|kind| kind.name().to_owned()).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(",")) };
    format!("prepare s{n}{types} as {}", statement.sql)
}

/// The first scan of a table in the subplans that are hashed. `api_keys` and `users` have a few rows.
fn hashed_table(plan: &str) -> Option<&str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    plan.match_indices("hashed SubPlan ").find_map(|(at, text)| {
        let name = &plan[at + text.len()..];
        let name = name[..name.find(|c: char| !c.is_ascii_digit())?].to_owned();
        let title = format!("SubPlan {name}");
        let mut lines = plan.lines().skip_while(|line| line.trim() != title);
        let above = depth(lines.next()?);
        lines.take_while(|line| depth(line) > above).find(|line| {
            let scans = ["Scan using ", "Seq Scan on ", "Heap Scan on "];
            scans.iter().any(|scan| line.contains(scan))
                && ![" on api_keys", " on users"].iter().any(|few| line.contains(few))
        })
    })
}

#[tokio::test]
async fn every_list_fits_the_schema() {
    let mut check = Check::of(&new_database().await).await;
    let mut wrong = Vec::new();
    for filter in filters() {
        for before in [None, Some(VerificationId(uuid::Uuid::nil()))] {
            // A refetch of many has no filter by outcome.
            let refetched = if filter.outcome.is_some() { 1 } else { 3 };
            for statement in built(&filter, before).into_iter().take(refetched) {
                let sql = AssertSqlSafe(statement.sql.clone()).into_sql_str();
                let found = match check.without.prepare(sql).await {
                    Ok(prepared) => {
                        read(&mut check.with_types, statement.name, &prepared, statement.read).await
                    }
                    Err(error) => Err(message(&error)),
                };
                if let Err(what) = found {
                    wrong.push(format!("{}: {what}: {filter:?}", statement.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// No filter, each alone, and each two together.
fn filters() -> Vec<Filter> {
    let narrowed: [fn(&mut Filter); 13] = [
        |filter| filter.biz_type = BizType::parse("scene").ok(),
        |filter| filter.biz_id = BizId::parse("task").ok(),
        |filter| filter.reference = Some("reference".to_owned()),
        |filter| filter.state = Some(State::Pending),
        |filter| filter.state = Some(State::Failed),
        |filter| filter.outcome = Some(Outcome::Approve),
        |filter| filter.outcome = Some(Outcome::Review),
        |filter| filter.created_after = Some(time::OffsetDateTime::UNIX_EPOCH),
        |filter| filter.created_before = Some(time::OffsetDateTime::UNIX_EPOCH),
        |filter| filter.error_code = Some("NoPermission".to_owned()),
        |filter| filter.scenes = Some(vec![BizType::parse("scene").unwrap()]),
        |filter| filter.product = Some(Product::FaceVerify),
        |filter| filter.certify_id = CertifyId::parse("sha7").ok(),
    ];
    let mut filters = vec![Filter::default()];
    for (n, first) in narrowed.iter().enumerate() {
        for second in &narrowed[n..] {
            let mut filter = Filter::default();
            first(&mut filter);
            second(&mut filter);
            filters.push(filter);
        }
    }
    filters
}

#[test]
fn large_statement_is_named_in_pg_stat_activity() {
    for statement in all_statements() {
        let parts = statement.sql.matches(" as (").count()
            + statement.sql.matches(" as materialized (").count();
        let name = format!("/* verdict {} */\n", statement.name());
        let named = statement.sql.starts_with("/* verdict ");
        assert!(named || parts < 3, "{}: move it to store/sql", statement.name());
        assert!(!named || statement.sql.starts_with(&name), "{name}: names another");
    }
}

#[test]
fn claim_in_turn_differs_from_claim_only_in_marked_lines() {
    let sql = |name: &str| {
        let all = all_statements();
        all.iter().find(|statement| statement.name() == name).unwrap().sql
    };
    let (claim, in_turn) = (sql("hot::claims::claim"), sql("hot::claims::claim_in_turn"));
    let unmarked = in_turn.lines().filter(|line| !line.ends_with("-- in turn"));
    assert!(claim.lines().skip(1).eq(unmarked.skip(1)));
}
