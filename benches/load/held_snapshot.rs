//! The same load with and without a transaction that stays open: somebody's forgotten `psql`, a
//! long report, a stuck replica. Nothing dead can be removed meanwhile.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::end_to_end::{UNLIMITED, decided, post};
use crate::environment::{Database, Environment};
use crate::table::{self, thousands};

/// How long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Minutes with the transaction open, and as many without before it.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Connections that post.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// Verifications posted and decided before the next are posted.
const WAVE: usize = 2000;

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let provider = environment.provider().await?;
    let mut columns = Vec::new();
    for held in [false, true] {
        let database = environment.database(if held { "held" } else { "free" }).await?;
        let name = if held { "held" } else { "free" };
        let service =
            environment.serve(name, "all", &database, Some(provider.address), UNLIMITED).await?;
        let mut holder = PgConnection::connect(&database.url).await?;
        if held {
            holder.execute("begin isolation level repeatable read").await?;
            holder.execute("select count(*) from verifications").await?;
        }
        let (mut per_minute, mut waves) = (Vec::new(), 0);
        for _ in 0..arguments.minutes {
            let (started, before) = (Instant::now(), waves);
            while started.elapsed() < Duration::from_mins(1) {
                post(service.http, WAVE, arguments.connections).await?;
                waves += 1;
                decided(&database, waves * WAVE).await?;
            }
            per_minute.push(((waves - before) * WAVE) as f64 / started.elapsed().as_secs_f64());
        }
        columns.push((per_minute, dead(&database).await?, service.peak_rss(), service.startup));
        holder.close().await?;
    }
    let [free, held] = &columns[..] else { anyhow::bail!("two runs") };
    let rows: Vec<Vec<String>> = free
        .0
        .iter()
        .zip(&held.0)
        .enumerate()
        .map(|(minute, (free, held))| {
            let kept = format!("{:.0} %", held / free * 100.0);
            vec![(minute + 1).to_string(), thousands(*free), thousands(*held), kept]
        })
        .collect();
    table::print(&["minute", "free, verifications/s", "held, verifications/s", "kept"], &rows);
    println!("Dead tuples at the end: {} free, {} held.", free.1, held.1);
    println!(
        "Service: serving after {} and {} ms, peak memory {:.1} and {:.1} MiB.",
        free.3.as_millis(),
        held.3.as_millis(),
        free.2,
        held.2
    );
    Ok(())
}

/// Dead tuples by table, as Postgres counts them.
async fn dead(database: &Database) -> anyhow::Result<String> {
    let tables: String = sqlx::query_scalar(
        "select string_agg(relname || ' ' || n_dead_tup, ', ' order by n_dead_tup desc)
         from pg_stat_user_tables where n_dead_tup > 0",
    )
    .fetch_optional(&database.pool)
    .await?
    .flatten()
    .unwrap_or_default();
    Ok(tables)
}
