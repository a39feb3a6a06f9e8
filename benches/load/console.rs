//! The queue of reviewers at 100,000 open cases among a million verifications: how long its queries
//! take beside the same statements in Postgres alone, how long its pages take beside their queries,
//! and what the triggers that open and close cases cost.

use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, Row};
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
use crate::load::Latencies;
use crate::table::{self, millis};
use crate::{case_triggers, console_pages, fill};

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
    /// Prints the plans of the statements.
    #[arg(long)]
    plans: bool,
}

const QUEUE: &str = "page of 50, oldest";
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

    let alone = InPostgres::measure(&database, anna, arguments.plans).await?;
    let mut rows = Vec::new();
    let deep = deep_cursor(&database, arguments.cases / 2).await?;
    let filter = |standing| Filter { standing, ..Filter::default() };
    let rare = Filter { scene: Some(scene("rare")?), ..Filter::default() };
    for (name, filter, after) in [
        (QUEUE, filter(None), None),
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
        rows.push(row(name, &seen, (name == QUEUE).then_some(alone.page)));
    }
    let mut seen = Latencies::default();
    for _ in 0..arguments.rounds {
        let began = Instant::now();
        store.cases().counts(None, &targets(), now()).await?;
        seen.add(began.elapsed());
    }
    rows.push(row("counts by scene and age", &seen, Some(alone.counts)));
    rows.push(row(
        "claim of the next case",
        &claims(&store, anna, "bo", arguments.rounds).await?,
        Some(alone.claim),
    ));
    rows.push(row(
        "the same, with 5,000 cases that wait for another's review",
        &claims(&store, anna, "anna", arguments.rounds).await?,
        Some(alone.claim_behind_reviews),
    ));
    table::print(&["", "p50", "p99", "in Postgres alone"], &rows);
    console_pages::run(&environment, &database, anna, arguments.rounds).await?;
    case_triggers::run(&environment, &database).await
}

fn row(name: &str, seen: &Latencies, alone: Option<f64>) -> Vec<String> {
    let alone = alone.map_or_else(String::new, |ms| format!("{ms:.2} ms"));
    vec![name.to_owned(), millis(seen.percentile(0.5)), millis(seen.percentile(0.99)), alone]
}

pub fn targets() -> Targets {
    Targets { general: Duration::from_hours(24 * 365), scenes: std::collections::BTreeMap::new() }
}

pub fn now() -> time::OffsetDateTime {
    Clock::system().now()
}

fn scene(name: &str) -> anyhow::Result<BizType> {
    BizType::parse(name).map_err(|problem| anyhow::anyhow!(problem))
}

/// The newest verifications wait for a person, the oldest of them for nine months: late, soon late
/// and on time are all there.
async fn open_cases(database: &Database, arguments: &Arguments) -> anyhow::Result<()> {
    sqlx::query(
        "insert into cases (decision_id, verification_id, biz_type, opened_at)
         select decision_id, id, case when random() < 0.1 then 'rare' else biz_type end,
             now() - row_number() over (order by id desc) * interval '1 year' / $1::bigint
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

/// The times of the longest statements as `psql` would run them, in milliseconds.
struct InPostgres {
    page: f64,
    counts: f64,
    /// By a reviewer without reviews.
    claim: f64,
    /// By the reviewer of the oldest cases.
    claim_behind_reviews: f64,
}

impl InPostgres {
    async fn measure(database: &Database, user: UserId, plans: bool) -> anyhow::Result<Self> {
        let user = user.0;
        let own = "'{}', '{}', '{}'";
        let page = format!(
            "null, {own}, '1970-01-01', '9999-01-01', '1970-01-01',
             '00000000-0000-0000-0000-000000000000', false, false, false, '{user}', 51"
        );
        let counts =
            format!("null, {own}, now() - interval '1 year', now() - interval '9 months', 10000");
        let claim = |person: &str| format!("null, '{user}', '{person}', 20");
        let time = async |name: &str, types: &str, values: &str| {
            explained(database, name, types, values, plans).await
        };
        let candidates = ("claim_cases::find_candidates", "text[], uuid, text, bigint");
        Ok(Self {
            page: time(
                "cases::find_page",
                "text[], text[], timestamptz[], timestamptz[], timestamptz, timestamptz,
                 timestamptz, uuid, boolean, boolean, boolean, uuid, bigint",
                &page,
            )
            .await?,
            counts: time(
                "cases::count",
                "text[], text[], timestamptz[], timestamptz[], timestamptz, timestamptz, bigint",
                &counts,
            )
            .await?,
            claim: time(candidates.0, candidates.1, &claim("bo")).await?,
            claim_behind_reviews: time(candidates.0, candidates.1, &claim("anna")).await?,
        })
    }
}

/// The median of 20 executions, in milliseconds.
async fn explained(
    database: &Database,
    name: &str,
    types: &str,
    values: &str,
    plans: bool,
) -> anyhow::Result<f64> {
    let statement = all_statements().into_iter().find(|statement| statement.name() == name);
    let statement = statement.with_context(|| format!("{name} has another name"))?;
    // No connection of the pool: the settings and the prepared statement would stay on it.
    let mut connection = PgConnection::connect(&database.url).await?;
    // As the service's connections do.
    let prepare = format!(
        "set plan_cache_mode = force_generic_plan;
         prepare measured ({types}) as {}",
        statement.sql
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await?;
    let mut times = Vec::new();
    for round in 0..20 {
        let explain = format!("explain (analyze, buffers, timing off) execute measured ({values})");
        let lines = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await?;
        let lines: Vec<String> =
            lines.iter().map(|line| line.try_get(0)).collect::<Result<_, _>>()?;
        if plans && round == 0 {
            println!("{name} ({values})\n{}", lines.join("\n"));
        }
        let last = lines.last().context("no plan")?;
        let number = last.trim_start_matches("Execution Time:").trim_end_matches("ms").trim();
        times.push(number.parse::<f64>()?);
    }
    Ok(table::median(&mut times))
}
