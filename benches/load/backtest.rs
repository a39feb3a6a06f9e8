//! The time machine over a million decisions: backtest and replay, alone and while accepting goes
//! on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use policy::decision::Decision;
use policy::evidence::{Evidence, FaceQuality, History, ImagesOffered, Product, Scores};
use policy::{Policy, decide};
use serde_json::Value;
use sqlx::types::Json;
use tempfile::TempDir;
use time::macros::datetime;
use tokio::process::Command;
use uuid::Uuid;
use verdict::domain::ids::Ids;

use crate::environment::{Database, Environment};
use crate::fill;
use crate::load::{Callbacks, closed_loop};
use crate::machine;
use crate::table::{self, thousands};

/// How much.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Decisions of the past.
    #[arg(long, default_value_t = 1_000_000)]
    decisions: u32,
    /// Connections that post meanwhile.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// Policies that made them.
const VERSIONS: u32 = 20;
/// Decisions written by one statement.
const CHUNK: u32 = 10_000;
const DEFAULT: &str = include_str!("../../config/policy.toml");

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let database = environment.database("backtest").await?;
    let started = Instant::now();
    write_the_past(&database, arguments.decisions).await?;
    fill::settle_down(&database).await?;
    println!(
        "{} decisions written in {:.0} s",
        arguments.decisions,
        started.elapsed().as_secs_f64()
    );

    let folder = TempDir::new()?;
    let candidate = folder.path().join("candidate.toml");
    std::fs::write(&candidate, version(60))?;
    let candidate = candidate.to_str().context("a path")?.to_owned();
    let service = environment.serve("accepting", "api", &database, None, "").await?;
    let config = environment.config_file("accepting");
    let config = config.to_str().context("a path")?;
    let backtest = ["policy", "backtest", &candidate, "--json", "--config", config];
    let full_speed: Vec<&str> = backtest.iter().copied().chain(["--full-speed"]).collect();
    let replay = ["policy", "replay", "--json", "--full-speed", "--config", config];

    let mut rows = Vec::new();
    for (what, command) in [
        ("backtest, full speed", &full_speed[..]),
        ("backtest, polite", &backtest[..]),
        ("replay, full speed", &replay[..]),
    ] {
        let ran = timed(command).await?;
        let decisions = ran.said["decisions"].as_f64().context("decisions")?;
        ensure!((decisions - f64::from(arguments.decisions)).abs() < 0.5, "{}", ran.said);
        let found = match what {
            "backtest, full speed" | "backtest, polite" => format!("{} flips", ran.said["flips"]),
            _ => format!(
                "{} policies, {} differences",
                ran.said["policies"], ran.said["differences"]
            ),
        };
        rows.push(vec![
            what.to_owned(),
            format!("{:.1} s", ran.took.as_secs_f64()),
            thousands(decisions / ran.took.as_secs_f64()),
            thousands(decisions / ran.cpu),
            format!("{:.1} MiB", ran.peak_rss),
            found,
        ]);
    }
    table::print(
        &["", "took", "decisions/s", "decisions per second of its CPU", "peak memory", "found"],
        &rows,
    );

    // Accepting alone, then beside backtests that begin again and again.
    let seconds = Duration::from_secs(15);
    let accept = || async {
        let callbacks = Callbacks::new()?;
        let warm_up = Duration::from_secs(1);
        let posting = closed_loop(service.http, arguments.connections, warm_up, seconds, 202, {
            move |request| callbacks.write(request)
        });
        anyhow::Ok(posting.await?.rate)
    };
    let mut columns = Vec::new();
    for _ in 0..3 {
        let alone = accept().await?;
        let beside = tokio::select! {
            rate = accept() => rate?,
            ended = again_and_again(&backtest) => return ended,
        };
        let pressed = tokio::select! {
            rate = accept() => rate?,
            ended = again_and_again(&full_speed) => return ended,
        };
        columns.push((alone, beside, pressed));
    }
    columns.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (alone, beside, pressed) = columns[1];
    let kept = |rate: f64| format!("{} ({:.0} %)", thousands(rate), rate / alone * 100.0);
    table::print(
        &["accepts/s alone", "beside a polite backtest", "beside one at full speed"],
        &[vec![thousands(alone), kept(beside), kept(pressed)]],
    );
    Ok(())
}

/// A command that has run, and what it printed.
pub struct Ran {
    pub said: Value,
    pub took: Duration,
    cpu: f64,
    peak_rss: f64,
}

pub async fn timed(command: &[&str]) -> anyhow::Result<Ran> {
    let started = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(command)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("a pid")?;
    let watching = async {
        let (mut cpu, mut peak) = (0.0, 0.0);
        loop {
            // The last look before it ends counts.
            (cpu, peak) = (machine::cpu_of(pid).max(cpu), machine::peak_rss(pid).max(peak));
            WATCHED.with(|watched| watched.set((cpu, peak)));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output?,
        () = watching => anyhow::bail!("watching never ends"),
    };
    let took = started.elapsed();
    ensure!(!output.stdout.is_empty(), "it says nothing");
    let (cpu, peak_rss) = WATCHED.with(std::cell::Cell::get);
    Ok(Ran { said: serde_json::from_slice(&output.stdout)?, took, cpu, peak_rss })
}

thread_local! {
    static WATCHED: std::cell::Cell<(f64, f64)> = const { std::cell::Cell::new((0.0, 0.0)) };
}

async fn again_and_again(command: &[&str]) -> anyhow::Result<()> {
    loop {
        timed(command).await?;
    }
}

/// The default policy with another bound for scores.
pub fn version(bound: u32) -> String {
    let end = DEFAULT.find("[[example]]").unwrap_or(DEFAULT.len());
    DEFAULT[..end].replace("\"far-0.01%\" }", &format!("{bound}.0 }}"))
}

/// Mixed answers, each decided by one of the versions, as the service would have written them.
async fn write_the_past(database: &Database, count: u32) -> anyhow::Result<()> {
    let policies: Vec<Policy> = (0..VERSIONS)
        .map(|n| Policy::load(&version(75 + n)).map_err(|findings| anyhow::anyhow!("{findings:?}")))
        .collect::<anyhow::Result<_>>()?;
    for policy in &policies {
        sqlx::query("insert into policies values ($1, $2, $3, now())")
            .bind(policy.digest())
            .bind(policy.name())
            .bind(policy.text())
            .execute(&database.pool)
            .await?;
    }
    sqlx::query("insert into policy_activations (digest, activated_at, activated_by) values ($1, now(), 'seed')")
        .bind(policies[0].digest())
        .execute(&database.pool)
        .await?;
    let ids = Ids::counted(1);
    let mut first = 0;
    while first < count {
        let last = count.min(first + CHUNK);
        let rows: Vec<Value> = (first..last)
            .map(|n| {
                let at = datetime!(2026-01-01 00:00 UTC) + time::Duration::seconds(i64::from(n));
                let evidence = evidence(n);
                let policy = &policies[(n % VERSIONS) as usize];
                let Decision { outcome, reasons } = decide(policy, &evidence);
                let id = || -> Uuid { ids.next(at) };
                serde_json::json!({ "verification": id(), "result": id(), "decision": id(),
                    "status": evidence.verify_status, "evidence": evidence,
                    "policy": policy.digest(), "outcome": outcome, "reasons": reasons,
                    "at": format!("{at}") })
            })
            .collect();
        sqlx::query(WRITE).bind(Json(rows)).execute(&database.pool).await?;
        first = last;
    }
    Ok(())
}

const WRITE: &str = "
with i as materialized (
    select * from jsonb_to_recordset($1) as i (verification uuid, result uuid, decision uuid,
        status int, evidence jsonb, policy text, outcome text, reasons jsonb, at timestamptz)
), verification as (
    insert into verifications (id, biz_type, biz_id, state, closed, created_at, updated_at,
        callbacks, attempts, give_up_at, result_id, decision_id)
    select verification, 'onboarding', verification::text, 'decided', true, at, at, 1, 1, at,
        result, decision from i
), result as (
    insert into results (id, verification_id, attempt, fetched_at, http_status, verify_status,
        evidence, sealed_body)
    select result, verification, 1, at, 200, status, evidence, '\\x01' from i
)
insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
    decided_by, decided_at)
select decision, verification, result, policy, outcome, reasons, 'policy', at from i";

/// Nine of ten passed; scores over the whole scale, mostly high; some things absent.
pub fn evidence(n: u32) -> Evidence {
    let mixed = n.wrapping_mul(2_654_435_761);
    let share = f64::from(mixed) / f64::from(u32::MAX);
    let score = (1.0 - share * share * share) * 100.0;
    let passed = !mixed.is_multiple_of(10);
    let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
    Evidence {
        verify_status: Some(if passed { 1 } else { 2 + i32::try_from(mixed % 11).unwrap_or(0) }),
        scores: Scores {
            authority: (!mixed.is_multiple_of(50)).then_some((score * 100.0).round() / 100.0),
            face: None,
            id_card_face: mixed.is_multiple_of(3).then_some(95.5),
            ..Scores::default()
        },
        face_quality: Some(FaceQuality::Normal),
        face_mask: Some(mixed.is_multiple_of(97)),
        images: ImagesOffered { face: true, card_front: true, card_back: true, face_global: false },
        name_matches: Some(true),
        number_matches: (!mixed.is_multiple_of(7)).then_some(true),
        card_days_left: Some(i64::from(mixed % 4000)),
        age_years: Some(18 + i64::from(mixed % 60)),
        ..Evidence::blank(Product::VerifyResult, "onboarding", history)
    }
}
