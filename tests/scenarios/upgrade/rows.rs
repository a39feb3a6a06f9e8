//! Many rows of the previous version, and how long requests wait while each migration runs:
//! `ROWS=1000000 scripts/upgrade-check.sh`.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, Row};
use time::OffsetDateTime;
use verdict::domain::clock::Clock;

use crate::harness::Database;

/// Rows of one statement.
const CHUNK: i64 = 100_000;

/// Decided verifications of the past with callback, result and decision, in the columns that every
/// version has.
const ROWS: [&str; 4] = [
    "insert into verifications (id, biz_type, biz_id, reference, state, closed, created_at, updated_at,
        callbacks, attempts, give_up_at, result_id, decision_id)
     select id, 'onboarding', key, 'user-' || n, 'decided', true, at, at, 1, 1, at, result_id, decision_id",
    "insert into callbacks (source, message_id, digest, verification_id, received_at, answer_state,
        answer_attempts)
     select 'app', 'msg_' || key, sha256(key::bytea), id, at, 'pending', 0",
    "insert into results (id, verification_id, attempt, fetched_at, request_id, http_status,
        verify_status, authority_score, evidence, sealed_body)
     select result_id, id, 1, at, key, 200, 1, 97.5, '{}', decode(repeat('cd', 60), 'hex')",
    "insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons, decided_by,
        decided_at)
     select decision_id, id, result_id, 'sha256:before', 'approve', '[]', 'policy', at",
];

const FROM: &str = " from generate_series($1::bigint, $2::bigint) as n cross join lateral (select
    ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as id,
    ('01900000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid as result_id,
    ('01900000-0000-7000-a000-' || lpad(n::text, 12, '0'))::uuid as decision_id,
    md5(n::text) as key, timestamptz '2026-01-01' + n * interval '1 second' as at) of";

/// As many verifications of the past as the environment's `ROWS` says; whether it says so.
pub async fn fill_if_asked(owner: &Database) -> bool {
    let Ok(rows) = std::env::var("ROWS") else { return false };
    fill(owner, rows.parse().expect("ROWS: a number")).await;
    true
}

async fn fill(owner: &Database, rows: i64) {
    let pool = owner.pool().await;
    let mut connection = pool.acquire().await.unwrap();
    // As a dump is restored: history is not written again by triggers.
    connection.execute("set session_replication_role = replica").await.unwrap();
    let policy = "insert into policies values ('sha256:before', 'before', 'none', now())";
    connection.execute(policy).await.unwrap();
    for first in (1..=rows).step_by(usize::try_from(CHUNK).unwrap()) {
        let last = rows.min(first + CHUNK - 1);
        for insert in ROWS {
            let insert = sqlx::query(AssertSqlSafe(format!("{insert}{FROM}")));
            insert.bind(first).bind(last).execute(&mut *connection).await.unwrap();
        }
    }
    connection.close().await.unwrap();
    pool.execute("vacuum analyze").await.unwrap();
}

/// When requests were sent and how long they took.
pub struct Waits {
    begun: (OffsetDateTime, Instant),
    /// Whether it was an accept.
    seen: Vec<(bool, Instant, Duration)>,
}

impl Default for Waits {
    fn default() -> Self {
        Self { begun: (Clock::system().now(), Instant::now()), seen: Vec::new() }
    }
}

impl Waits {
    pub fn add(&mut self, accept: bool, sent: Instant, took: Duration) {
        self.seen.push((accept, sent, took));
    }

    /// The longest accept and the longest read of those under way at any time in between.
    fn longest(&self, from: OffsetDateTime, to: OffsetDateTime) -> [Duration; 2] {
        let mut longest = [Duration::ZERO; 2];
        for (accept, sent, took) in &self.seen {
            let sent = self.begun.0 + sent.saturating_duration_since(self.begun.1);
            if sent <= to && sent + *took >= from {
                let place = usize::from(!accept);
                longest[place] = longest[place].max(*took);
            }
        }
        longest
    }

    /// Prints a row for each migration that `here` adds, from the end of the one before it to its own:
    /// a migration that does not get its locks in time is tried again.
    #[expect(clippy::print_stdout, reason = "the figures are what the script is run for")]
    pub async fn print(
        &self,
        owner: &Database,
        here: &Path,
        (began, ended): (OffsetDateTime, OffsetDateTime),
    ) {
        let applied = sqlx::query(
            "select version, description, installed_on, greatest(execution_time, 0) as nanoseconds
             from _sqlx_migrations where installed_on >= $1 order by version",
        );
        let applied = applied.bind(began).fetch_all(&owner.pool().await).await.unwrap();
        println!("| migration | took | longest accept | longest read |\n|---|---|---|---|");
        let mut from = began;
        for row in applied {
            let version: i64 = row.get("version");
            let took = Duration::from_nanos(row.get::<i64, _>("nanoseconds").unsigned_abs());
            let mut to: OffsetDateTime = row.get("installed_on");
            // Of one in a transaction the time of its begin is stored, else that of its end.
            if !is_without_transaction(here, version) {
                to += took;
            }
            let [accept, read] = self.longest(from, to);
            let description: String = row.get("description");
            println!(
                "| {version} {description} | {} ms | {} ms | {} ms |",
                took.as_millis(),
                accept.as_millis(),
                read.as_millis()
            );
            from = to;
        }
        let [accept, read] = self.longest(from, ended);
        println!("| config/roles.sql | | {} ms | {} ms |", accept.as_millis(), read.as_millis());
    }
}

fn is_without_transaction(here: &Path, version: i64) -> bool {
    let files =
        std::fs::read_dir(here.join("migrations")).unwrap().map(|entry| entry.unwrap().path());
    let version = version.to_string();
    let mut files =
        files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with(&version));
    files
        .next()
        .is_some_and(|file| std::fs::read_to_string(file).unwrap().starts_with("-- no-transaction"))
}
