//! Callback to decision: idle latency, saturated throughput, WAL and commits per verification.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::LocalSet;

use crate::load::{Callbacks, Connection, Latencies};
use crate::machine;
use crate::stage::{Database, Stage};
use crate::table::{self, millis, thousands};

/// How many.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Verifications one after the other, for the idle latency.
    #[arg(long, default_value_t = 500)]
    singles: usize,
    /// Verifications at saturation.
    #[arg(long, default_value_t = 20_000)]
    saturated: usize,
    /// Connections that post them.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// More than two cores can ask for: the provider's rate is not what is measured.
pub const UNLIMITED: &str = "queries_per_second = 100000";

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let database = stage.database("verdict").await?;
    let key = database.api_key().await?;
    let provider = stage.provider().await?;
    let service =
        stage.serve("service", "all", &database, Some(provider.address), UNLIMITED).await?;

    let mut seen = idle(service.http, &key, arguments.singles).await?;
    table::print(
        &["callback to decision, idle", "p50", "p99", "worst"],
        &[vec![
            format!("{} one after the other", arguments.singles),
            millis(seen.percentile(0.5)),
            millis(seen.percentile(0.99)),
            millis(seen.percentile(1.0)),
        ]],
    );

    stage.checkpoint().await?;
    let cpu = || {
        let client = machine::cpu_of(std::process::id());
        [client, service.cpu(), stage.postgres_cpu(), provider.cpu()]
    };
    let (cpu_before, before) = (cpu(), Written::read(&database).await?);
    let started = Instant::now();
    let decisions = arguments.singles + 50 + arguments.saturated;
    post(service.http, arguments.saturated, arguments.connections).await?;
    let posted = started.elapsed();
    decided(&database, decisions).await?;
    let took = started.elapsed();
    let after = Written::read(&database).await?;
    let each = |total: f64| total / arguments.saturated as f64;
    let cpu: Vec<String> = cpu()
        .iter()
        .zip(cpu_before)
        .map(|(after, before)| format!("{:.0}", each((after - before) * 1e6)))
        .collect();
    table::print(
        &[
            "verifications",
            "posted in",
            "all decided in",
            "per second",
            "WAL besides what is sealed, each",
            "of it full pages",
            "commits each",
            "CPU µs each: client + service + Postgres + provider",
        ],
        &[vec![
            thousands(arguments.saturated as f64),
            format!("{:.2} s", posted.as_secs_f64()),
            format!("{:.2} s", took.as_secs_f64()),
            thousands(arguments.saturated as f64 / took.as_secs_f64()),
            format!("{:.0} B", each(after.wal - before.wal - (after.bodies - before.bodies))),
            format!("{:.0} B", each((after.full_pages - before.full_pages) * 8192.0)),
            format!("{:.2}", each(after.commits - before.commits)),
            cpu.join(" + "),
        ]],
    );
    println!(
        "Service: serving after {} ms, peak memory {:.1} MiB. Sealed: {:.0} B each.",
        service.startup.as_millis(),
        service.peak_rss(),
        each(after.bodies - before.bodies)
    );
    Ok(())
}

/// From sending the callback to the answer of the long poll that waits for its decision.
async fn idle(address: SocketAddr, key: &str, singles: usize) -> anyhow::Result<Latencies> {
    use std::io::Write;
    let callbacks = Callbacks::new()?;
    let mut connection = Connection::open(address).await?;
    let mut latencies = Latencies::default();
    for n in 0..singles + 50 {
        let sent = Instant::now();
        let (status, body) = connection.exchange(|request| callbacks.write(request)).await?;
        ensure!(status == 202, "status {status}");
        let accepted: serde_json::Value = serde_json::from_slice(body)?;
        let id = accepted["id"].as_str().context("no id")?.to_owned();
        let (status, body) = connection
            .exchange(|request| {
                let _ = write!(
                    request,
                    "GET /v1/verifications/{id}?wait=30 HTTP/1.1\r\nhost: verdict\r\n\
                     authorization: Bearer {key}\r\n\r\n"
                );
            })
            .await?;
        let elapsed = sent.elapsed();
        ensure!(status == 200, "status {status}");
        let view: serde_json::Value = serde_json::from_slice(body)?;
        ensure!(view["state"] == "decided", "not decided: {view}");
        // The first ones open connections and plan statements.
        if n >= 50 {
            latencies.add(elapsed);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(latencies)
}

/// Posts so many callbacks as fast as they are taken.
pub async fn post(address: SocketAddr, count: usize, connections: usize) -> anyhow::Result<()> {
    let left = Rc::new(Cell::new(count));
    let callbacks = Rc::new(Callbacks::new()?);
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (left, callbacks) = (Rc::clone(&left), Rc::clone(&callbacks));
        tasks.push(local.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                let (status, _) = connection.exchange(|request| callbacks.write(request)).await?;
                ensure!(status == 202, "status {status}");
            }
            anyhow::Ok(())
        }));
    }
    local
        .run_until(async {
            for task in tasks {
                task.await??;
            }
            anyhow::Ok(())
        })
        .await
}

/// Waits until so many decisions have been made in all. Asks the sequence that numbers them: the
/// tables would cost what is measured, above all while dead rows pile up.
pub async fn decided(database: &Database, decisions: usize) -> anyhow::Result<()> {
    let decisions = i64::try_from(decisions)?;
    while database.count("select last_value from decisions_position_seq").await? < decisions {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What Postgres has written so far.
struct Written {
    wal: f64,
    full_pages: f64,
    commits: f64,
    bodies: f64,
}

impl Written {
    async fn read(database: &Database) -> anyhow::Result<Self> {
        // The server's processes report their counts at most once a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let (wal, full_pages, commits, bodies): (f64, f64, f64, f64) = sqlx::query_as(
            "select (pg_current_wal_insert_lsn() - '0/0')::float8,
                (select wal_fpi::float8 from pg_stat_wal),
                (select xact_commit::float8 from pg_stat_database where datname = current_database()),
                (select coalesce(sum(octet_length(sealed_body)), 0)::float8 from results)
                    + (select coalesce(sum(octet_length(sealed)), 0)::float8 from material)",
        )
        .fetch_one(&database.pool)
        .await?;
        Ok(Self { wal, full_pages, commits, bodies })
    }
}
