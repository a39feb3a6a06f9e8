//! The baseline: Postgres' own load program, without anything of ours.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::Executor;
use tempfile::TempDir;
use tokio::process::Command;

use crate::environment::{Database, Environment};
use crate::load::{Latencies, Outcome};

/// The callbacks table as one would write it first: one row, one commit.
const TABLE: &str = "create table callbacks (
    source text not null, message_id text not null, digest bytea not null,
    verification_id uuid not null, received_at timestamptz not null,
    primary key (source, message_id))";
const ONE_ROW: &str = "insert into callbacks values
    ('app', 'msg_' || gen_random_uuid()::text, '\\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
     gen_random_uuid(), now());\n";

/// Makes the baseline's table.
pub async fn prepare(database: &Database) -> anyhow::Result<()> {
    database.pool.execute(TABLE).await?;
    Ok(())
}

/// One durable row per commit.
pub async fn one_row_commits(
    environment: &Environment,
    database: &Database,
    connections: usize,
    measured: Duration,
) -> anyhow::Result<Outcome> {
    pgbench(environment.programs.bin(), &database.url, ONE_ROW, connections, measured).await
}

/// Runs a script of pgbench's with prepared statements over TCP.
pub async fn pgbench(
    bin: &Path,
    url: &str,
    script: &str,
    connections: usize,
    measured: Duration,
) -> anyhow::Result<Outcome> {
    let folder = TempDir::new()?;
    let file = folder.path().join("script.sql");
    std::fs::File::create(&file)?.write_all(script.as_bytes())?;
    let output = Command::new(bin.join("pgbench"))
        .args(["--no-vacuum", "--protocol", "prepared", "--log", "--log-prefix", "each"])
        .args(["--client", &connections.to_string()])
        .args(["--jobs", "1", "--time", &measured.as_secs().max(1).to_string(), "--file"])
        .arg(&file)
        .arg(url)
        .current_dir(folder.path())
        .output()
        .await
        .context("pgbench cannot be run")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let rate = report
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .context("pgbench reports no rate")?;
    let mut latencies = Latencies::default();
    for entry in std::fs::read_dir(folder.path())?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("each") {
            for line in std::fs::read_to_string(entry.path())?.lines() {
                // client, transaction, time, …
                let time = line.split(' ').nth(2).and_then(|micros| micros.parse().ok());
                latencies.push(time.context("pgbench's log")?);
            }
        }
    }
    Ok(Outcome { rate, completed: latencies.len() as u64, latencies })
}
