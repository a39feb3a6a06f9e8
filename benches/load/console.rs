//! The queue of reviewers at 100,000 open cases among a million verifications: how long a page, the
//! counts and a claim take, beside the time that Postgres alone takes for the same statement.

use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;
use verdict::domain::callback::BizType;
use verdict::domain::case::{Mix, Standing, Targets};
use verdict::domain::clock::Clock;
use verdict::domain::ids::{Ids, UserId};
use verdict::store::Store;
use verdict::store::all_statements;
use verdict::store::cases::{Cursor, Filter};
use verdict::store::claim_cases::{Next, Reviewing};

use crate::environment::{Database, Environment};
use crate::fill;
use crate::load::Latencies;
use crate::table::{self, millis};

/// How much.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000_000)]
    verifications: i64,
    /// Cases among them, by scene: nine of ten of one, the others of another.
    #[arg(long, default_value_t = 100_000)]
    cases: i64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
}

/// Rows of a page of the queue.
const PAGE: i64 = 50;
const LEASE: Duration = Duration::from_mins(10);

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let database = environment.database("verdict").await?;
    let store = database.store(2)?;
    fill::decided(&database, 1, arguments.verifications).await?;
    open_cases(&database, arguments).await?;
    let anna = user(&database, "anna").await?;
    review_first(&database, "anna", 5_000).await?;
    fill::settle_down(&database).await?;

    let mut rows = Vec::new();
    let deep = deep_cursor(&database, arguments.cases / 2).await?;
    let filter = |standing| Filter { standing, ..Filter::default() };
    let rare = Filter { scene: Some(scene("rare")?), ..Filter::default() };
    for (name, filter, after) in [
        ("page of 50, oldest", filter(None), None),
        ("page of 50, in the middle", filter(None), Some(deep)),
        ("page of 50 of those on time", filter(Some(Standing::OnTime)), None),
        ("page of 50 of one scene", rare, None),
        ("page of 50 that nobody has", Filter { free: true, ..filter(None) }, None),
    ] {
        let mut seen = Latencies::default();
        for _ in 0..arguments.rounds {
            let began = Instant::now();
            let page = store.cases().queue(&filter, &targets(), now(), anna, after, PAGE).await?;
            seen.add(began.elapsed());
            anyhow::ensure!(!page.is_empty(), "{name}: nothing was found");
        }
        rows.push(row(name, &seen, None));
    }
    let mut seen = Latencies::default();
    for _ in 0..arguments.rounds {
        let began = Instant::now();
        store.cases().counts(None, &targets(), now()).await?;
        seen.add(began.elapsed());
    }
    rows.push(row("counts by scene and age", &seen, None));
    let alone = in_postgres(&database, anna).await?;
    rows.push(row(
        "claim of the next case",
        &claims(&store, anna, "bo", arguments.rounds).await?,
        Some(alone[0]),
    ));
    rows.push(row(
        "the same, with 5,000 cases that wait for another's review",
        &claims(&store, anna, "anna", arguments.rounds).await?,
        Some(alone[1]),
    ));
    table::print(&["", "p50", "p99", "in Postgres alone"], &rows);
    Ok(())
}

fn row(name: &str, seen: &Latencies, alone: Option<f64>) -> Vec<String> {
    let alone = alone.map_or_else(String::new, |ms| format!("{ms:.2} ms"));
    vec![name.to_owned(), millis(seen.percentile(0.5)), millis(seen.percentile(0.99)), alone]
}

fn targets() -> Targets {
    Targets { general: Duration::from_hours(24 * 365), scenes: std::collections::BTreeMap::new() }
}

fn now() -> time::OffsetDateTime {
    Clock::system().now()
}

fn scene(name: &str) -> anyhow::Result<BizType> {
    BizType::parse(name).map_err(|problem| anyhow::anyhow!(problem))
}

/// The newest verifications wait for a person.
async fn open_cases(database: &Database, arguments: &Arguments) -> anyhow::Result<()> {
    sqlx::query(
        "insert into cases (decision_id, verification_id, biz_type, opened_at)
         select decision_id, id, case when random() < 0.1 then 'rare' else biz_type end, updated_at
         from verifications order by id desc limit $1
         on conflict (decision_id) do nothing",
    )
    .bind(arguments.cases)
    .execute(&database.pool)
    .await?;
    Ok(())
}

async fn user(database: &Database, name: &str) -> anyhow::Result<UserId> {
    let id: UserId = Ids::random().next(now());
    sqlx::query(
        "insert into users (id, name, language, time_zone, scopes, created_at)
         values ($1, $2, 'en', 'UTC', '{reviews:write}', now())",
    )
    .bind(id.0)
    .bind(name)
    .execute(&database.pool)
    .await?;
    Ok(id)
}

/// This person was the first of two eyes of the oldest cases.
async fn review_first(database: &Database, person: &str, count: i64) -> anyhow::Result<()> {
    sqlx::query(
        "insert into reviews (id, verification_id, about, outcome, reason, reviewer, person,
             reviewed_at)
         select gen_random_uuid(), verification_id, decision_id, 'approve', 'seen',
             'user:' || gen_random_uuid(), $1, now()
         from cases order by opened_at, decision_id limit $2",
    )
    .bind(person)
    .bind(count)
    .execute(&database.pool)
    .await?;
    Ok(())
}

async fn deep_cursor(database: &Database, at: i64) -> anyhow::Result<Cursor> {
    let found = sqlx::query(
        "select opened_at, decision_id from cases order by opened_at, decision_id offset $1 limit 1",
    )
    .bind(at)
    .fetch_one(&database.pool)
    .await?;
    let decision: Uuid = found.try_get("decision_id")?;
    Ok(Cursor { opened_at: found.try_get("opened_at")?, decision: decision.into() })
}

async fn claims(
    store: &Store,
    user: UserId,
    person: &str,
    rounds: usize,
) -> anyhow::Result<Latencies> {
    let who = Reviewing { user, person, scenes: None };
    let (ids, mut seen) = (Ids::random(), Latencies::default());
    for _ in 0..rounds {
        let began = Instant::now();
        let next = store.assignments().next(&who, Mix::NOTHING, LEASE, ids.next(now()), now());
        let Next::Claimed(id) = next.await? else { anyhow::bail!("nothing to claim") };
        seen.add(began.elapsed());
        store.assignments().release(id, user).await?;
    }
    Ok(seen)
}

/// The longest statement of a claim as `psql` would run it, in milliseconds: of somebody who has
/// reviewed nothing, and of somebody who has reviewed the oldest cases.
async fn in_postgres(database: &Database, user: UserId) -> anyhow::Result<[f64; 2]> {
    let statement = all_statements()
        .into_iter()
        .find(|statement| statement.name() == "claim_cases::find_candidates")
        .context("the statement has another name")?;
    let mut connection = database.pool.acquire().await?;
    let prepare = format!("prepare candidates (text[], uuid, text, bigint) as {}", statement.sql);
    connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await?;
    let mut times = [0.0; 2];
    for (time, person) in times.iter_mut().zip(["bo", "anna"]) {
        let mut seen = Vec::new();
        for _ in 0..20 {
            let explain = format!(
                "explain (analyze, timing off) execute candidates (null, '{}', '{person}', 20)",
                user.0
            );
            let lines = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await?;
            let last: String = lines.last().context("no plan")?.try_get(0)?;
            let number = last.trim_start_matches("Execution Time:").trim_end_matches("ms").trim();
            seen.push(number.parse::<f64>()?);
        }
        *time = table::median(&mut seen);
    }
    Ok(times)
}
