//! What is in the write-ahead log between two positions, by Postgres' own `pg_waldump`.

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Totals of a stretch of the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Bytes of whole pages, written once per page after each checkpoint.
    pub full_pages: f64,
    pub commits: f64,
}

/// Reads the log of the data folder from one position to the other.
pub async fn between(bin: &Path, data: &Path, from: &str, to: &str) -> anyhow::Result<Written> {
    let output = Command::new(bin.join("pg_waldump"))
        .args(["--stats=record", "--start", from, "--end", to, "--path"])
        .arg(data.join("pg_wal"))
        .output()
        .await
        .context("pg_waldump cannot be run")?;
    ensure!(output.status.success(), "pg_waldump: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let total = row(&text, "Total").context("pg_waldump reports no total")?;
    let commits = row(&text, "Transaction/COMMIT").map_or(0.0, |row| row.count);
    Ok(Written { full_pages: total.full_pages, commits })
}

struct Row {
    count: f64,
    full_pages: f64,
}

/// A row of the table: after its name come the count, and the sizes of records, of full pages and of
/// both together, each with its share in brackets.
fn row(text: &str, name: &str) -> Option<Row> {
    let cells = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut numbers = Vec::new();
    for cell in cells.split([')', ']']) {
        let number = cell.split(['(', '[']).next().unwrap_or_default();
        numbers.extend(number.split_whitespace().filter_map(|number| number.parse::<f64>().ok()));
    }
    // The total has no share for its count.
    Some(Row { count: *numbers.first()?, full_pages: *numbers.get(2)? })
}
