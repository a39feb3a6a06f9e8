//! The cost of the triggers that open and close cases, for the writes that make decisions: the same
//! statement with and without them, in transactions that are rolled back.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::environment::{Database, Environment};
use crate::table::{self, median};

/// Rows of one statement.
const ROWS: i64 = 10_000;
const ROUNDS: usize = 9;

const WITHOUT: &str = "alter table decisions disable trigger decisions_case;
    alter table verifications disable trigger verifications_case";
const PENDING: &str = "create temporary table measured on commit drop as
    select gen_random_uuid() as id, gen_random_uuid() as first, gen_random_uuid() as second
    from generate_series(1, {ROWS});
    insert into verifications (id, biz_type, biz_id, state, created_at, updated_at, callbacks,
        due_at, give_up_at)
    select id, 'onboarding', id::text, 'pending', now(), now(), 1, now(), now() from measured";
const DECIDE: &str = "with decided as (
        insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
            decided_by, decided_at)
        select {WHICH}, id, id, 'sha256:bench', '{OUTCOME}', '[]', 'policy', now() from measured
    )
    update verifications v set state = 'decided', decision_id = m.{WHICH}, updated_at = now(),
        due_at = null
    from measured m where v.id = m.id";
const CALLBACK: &str = "update verifications v
    set state = 'pending', callbacks = callbacks + 1, updated_at = now(), due_at = now()
    from measured m where v.id = m.id";

fn decide(which: &str, outcome: &str) -> String {
    DECIDE.replace("{WHICH}", which).replace("{OUTCOME}", outcome)
}

pub async fn run(environment: &Environment, database: &Database) -> anyhow::Result<()> {
    environment.keep_background_work_out().await?;
    let (approve, review) = (decide("first", "approve"), decide("first", "review"));
    let second = decide("second", "approve");
    let mut rows = Vec::new();
    for (name, before, measured) in [
        ("callback about a decided verification", approve.as_str(), CALLBACK),
        ("first decision, an approval", "", approve.as_str()),
        ("first decision, a review", "", review.as_str()),
        ("decision that replaces an approval", approve.as_str(), second.as_str()),
        ("decision that closes a case", review.as_str(), second.as_str()),
    ] {
        let (mut with, mut without) = (Samples::default(), Samples::default());
        for round in 0..=ROUNDS {
            for is_on in [round % 2 == 0, round % 2 != 0] {
                let (micros, wal) = once(database, before, measured, is_on).await?;
                // The first one touches pages for the first time.
                if round > 0 {
                    if is_on { &mut with } else { &mut without }.add(micros, wal);
                }
            }
        }
        rows.push(row(name, with, without));
    }
    let headings = ["per row", "without triggers", "with", "ratio", "WAL without", "WAL with"];
    table::print(&headings, &rows);
    Ok(())
}

#[derive(Default)]
struct Samples {
    micros: Vec<f64>,
    wal: Vec<f64>,
}

impl Samples {
    fn add(&mut self, micros: f64, wal: f64) {
        self.micros.push(micros);
        self.wal.push(wal);
    }
}

fn row(name: &str, mut with: Samples, mut without: Samples) -> Vec<String> {
    let (on, off) = (median(&mut with.micros), median(&mut without.micros));
    let bytes = |samples: &mut Samples| format!("{:.0} B", median(&mut samples.wal));
    vec![
        name.to_owned(),
        format!("{off:.2} µs"),
        format!("{on:.2} µs"),
        format!("{:.2}×", on / off),
        bytes(&mut without),
        bytes(&mut with),
    ]
}

/// Microseconds and WAL bytes of one row.
async fn once(
    database: &Database,
    before: &str,
    measured: &str,
    with_triggers: bool,
) -> anyhow::Result<(f64, f64)> {
    let mut connection = PgConnection::connect(&database.url).await?;
    let run = AssertSqlSafe;
    let pending = PENDING.replace("{ROWS}", &ROWS.to_string());
    connection.execute(sqlx::raw_sql(run(format!("begin; {pending}")))).await?;
    if !before.is_empty() {
        connection.execute(run(before.to_owned())).await?;
    }
    connection.execute("analyze measured").await?;
    if !with_triggers {
        connection.execute(sqlx::raw_sql(WITHOUT)).await?;
    }
    let from = wal(&mut connection).await?;
    let began = Instant::now();
    connection.execute(run(measured.to_owned())).await?;
    let took = began.elapsed().as_secs_f64();
    let written = wal(&mut connection).await? - from;
    connection.execute("rollback").await?;
    connection.close().await?;
    let rows = ROWS as f64;
    Ok((took * 1e6 / rows, written / rows))
}

async fn wal(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let position = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(sqlx::query_scalar(position).fetch_one(connection).await?)
}
