//! Lists of verifications among a million: each kind of filter, its first page and one far behind.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, Row};
use verdict::domain::callback::BizType;
use verdict::domain::verification::State;
use verdict::store::listing::{Filter, built};

use crate::cost::Meter;
use crate::environment::{Database, Environment, Service};
use crate::fill;
use crate::load::{Connection, Latencies, closed_loop};
use crate::table::{self, median, millis, thousands};

/// How many, how long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Decided verifications in the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: i64,
    /// Items of a page.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Connections for rate and cost.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Pages before the page that is far behind.
const PAGES_BEFORE: usize = 50;
const WARM_UP: Duration = Duration::from_millis(300);

/// A list, and the statement behind it with the values of its parameters but the last.
struct Kind {
    name: &'static str,
    query: &'static str,
    filter: Filter,
    values: &'static str,
}

fn kinds() -> anyhow::Result<Vec<Kind>> {
    let scene = |name: &str| BizType::parse(name).map_err(|problem| anyhow::anyhow!(problem));
    let kind = |name, query, filter, values| Kind { name, query, filter, values };
    let all = Filter::default;
    Ok(vec![
        kind("all", "", all(), ""),
        kind(
            "a large scene",
            "&biz_type=onboarding",
            Filter { biz_type: Some(scene("onboarding")?), ..all() },
            "'onboarding', 'onboarding', ",
        ),
        kind(
            "a small scene",
            "&biz_type=rare",
            Filter { biz_type: Some(scene("rare")?), ..all() },
            "'rare', 'rare', ",
        ),
        kind(
            "a reference",
            "&reference=user-5000",
            Filter { reference: Some("user-5000".to_owned()), ..all() },
            "'user-5000', ",
        ),
        kind("decided", "&state=decided", Filter { state: Some(State::Decided), ..all() }, ""),
        kind("failed", "&state=failed", Filter { state: Some(State::Failed), ..all() }, ""),
        kind(
            "to be reviewed",
            "&outcome=review",
            Filter { outcome: Some(policy::decision::Outcome::Review), ..all() },
            "",
        ),
        kind(
            "approved",
            "&outcome=approve",
            Filter { outcome: Some(policy::decision::Outcome::Approve), ..all() },
            "",
        ),
    ])
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out().await?;
    let database = environment.database("verdict").await?;
    let key = environment.api_key(&database).await?;
    fill::decided(&database, 1, arguments.rows).await?;
    fill::settle_down(&database).await?;
    let service = environment.serve("service", "api", &database, None, "").await?;
    let first = format!("/v1/verifications?limit={}", arguments.limit);
    let bench = Bench {
        arguments,
        environment: &environment,
        database: &database,
        service: &service,
        key: &key,
    };
    let mut rows = Vec::new();
    for kind in kinds()? {
        let alone = in_postgres(&database, &kind, arguments.limit).await?;
        rows.push(bench.measure(kind.name, format!("{first}{}", kind.query), Some(alone)).await?);
    }
    let behind = far_behind(service.http, &first, &key).await?;
    let name = format!("all, after {PAGES_BEFORE} pages");
    rows.push(bench.measure(&name, behind, None).await?);
    let connections = arguments.connections;
    table::print(
        &[
            &format!("list of {}", arguments.limit),
            "items",
            "KiB",
            "p50",
            "p99",
            "in Postgres alone",
            &format!("lists/s, {connections} connections"),
            "CPU µs each: client + service + Postgres",
        ],
        &rows,
    );
    println!(
        "{} verifications; p50 and p99 with one connection. Peak memory {:.1} MiB.",
        thousands(arguments.rows as f64),
        service.peak_rss()
    );
    Ok(())
}

struct Bench<'a> {
    arguments: &'a Arguments,
    environment: &'a Environment,
    database: &'a Database,
    service: &'a Service,
    key: &'a str,
}

impl Bench<'_> {
    async fn measure(
        &self,
        name: &str,
        path: String,
        alone: Option<f64>,
    ) -> anyhow::Result<Vec<String>> {
        let (address, request) = (self.service.http, get(&path, self.key));
        let body = answer(address, &request).await?;
        let items = serde_json::from_slice::<serde_json::Value>(&body)?["items"]
            .as_array()
            .map_or(0, Vec::len);
        ensure!(items > 0, "{name}: nothing was found");
        let measured = Duration::from_secs(self.arguments.seconds);
        let mut latencies = Latencies::default();
        let [mut rates, mut client, mut served, mut postgres] = [const { Vec::new() }; 4];
        for _ in 0..self.arguments.rounds {
            let write = |request: &str| {
                let request = request.to_owned();
                move |out: &mut Vec<u8>| out.extend_from_slice(request.as_bytes())
            };
            let one = closed_loop(address, 1, WARM_UP, measured, 200, write(&request)).await?;
            latencies.extend(one.latencies);
            let meter =
                Meter::start(self.environment, self.database, Some(self.service), None).await?;
            let connections = self.arguments.connections;
            let many =
                closed_loop(address, connections, WARM_UP, measured, 200, write(&request)).await?;
            let cost = meter.stop(many.completed as f64).await?;
            rates.push(many.rate);
            client.push(cost.client);
            served.push(cost.service.unwrap_or(f64::NAN));
            postgres.push(cost.postgres);
        }
        Ok(vec![
            name.to_owned(),
            items.to_string(),
            format!("{:.1}", body.len() as f64 / 1024.0),
            millis(latencies.percentile(0.5)),
            millis(latencies.percentile(0.99)),
            alone.map_or_else(String::new, |ms| format!("{ms:.2} ms")),
            thousands(median(&mut rates)),
            format!(
                "{:.0} + {:.0} + {:.0}",
                median(&mut client),
                median(&mut served),
                median(&mut postgres)
            ),
        ])
    }
}

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: verdict\r\nauthorization: Bearer {key}\r\n\r\n")
}

async fn answer(address: SocketAddr, request: &str) -> anyhow::Result<Vec<u8>> {
    let mut connection = Connection::open(address).await?;
    let write = |out: &mut Vec<u8>| out.extend_from_slice(request.as_bytes());
    let (status, body) = connection.exchange(write).await?;
    ensure!(status == 200, "status {status}");
    Ok(body.to_vec())
}

/// The path of a page that has so many before it.
async fn far_behind(address: SocketAddr, first: &str, key: &str) -> anyhow::Result<String> {
    let mut path = first.to_owned();
    for _ in 0..PAGES_BEFORE {
        let page: serde_json::Value =
            serde_json::from_slice(&answer(address, &get(&path, key)).await?)?;
        let cursor = page["next_cursor"].as_str().context("the list is too short")?;
        path = format!("{first}&cursor={cursor}");
    }
    Ok(path)
}

/// The statement as `psql` would run it, with one more row than the page has; the median of 20
/// executions, in milliseconds.
async fn in_postgres(database: &Database, kind: &Kind, limit: usize) -> anyhow::Result<f64> {
    let [page, ..] = built(&kind.filter, None);
    // No connection of the pool: the settings and the prepared statement would stay on it.
    let mut connection = PgConnection::connect(&database.url).await?;
    // As the service's connections do.
    let prepare = format!(
        "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off;
         prepare measured as {}",
        page.sql
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await?;
    let explain =
        format!("explain (analyze, timing off) execute measured ({}{})", kind.values, limit + 1);
    let mut times = Vec::new();
    for _ in 0..20 {
        let lines =
            sqlx::raw_sql(AssertSqlSafe(explain.clone())).fetch_all(&mut connection).await?;
        let last: String = lines.last().context("no plan")?.try_get(0)?;
        let number = last.trim_start_matches("Execution Time:").trim_end_matches("ms").trim();
        times.push(number.parse::<f64>()?);
    }
    Ok(median(&mut times))
}
