//! Durable accepts: their number, latency and cost against one-row commits, against batches of one,
//! and against another binary.

use std::time::Duration;

use crate::baseline;
use crate::cost::Meter;
use crate::environment::{Binaries, Database, Environment};
use crate::load::{Callbacks, closed_loop};
use crate::rounds::{self, Round, Subject};
use crate::table::{self, thousands};

/// How long, how often.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Connections, each a table.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64,256")]
    connections: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    binaries: Binaries,
}

/// Not counted: connections are opened and statements planned.
const WARM_UP: Duration = Duration::from_secs(1);
/// The baseline is for reading, not for comparing two binaries.
const BASELINE_ROUNDS: usize = 5;
const ONE_BY_ONE: &str = "[callbacks]\nmax_batch = 1";

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out().await?;
    let plain = environment.empty_database("plain").await?;
    baseline::prepare(&plain).await?;
    // Two services: of two binaries, or of one with two settings.
    let (names, binaries, settings) = if let Some(pair) = arguments.binaries.pair() {
        (["before", "after"], pair, ["", ""])
    } else {
        let binary = arguments.binaries.measured();
        (["batches of 1", "accepts"], [binary.clone(), binary], [ONE_BY_ONE, ""])
    };
    let databases = [
        environment.database_of(&binaries[0], "one").await?,
        environment.database_of(&binaries[1], "other").await?,
    ];

    let mut overview = Vec::new();
    for &connections in &arguments.connections {
        let mut bare = Subject::new("one-row commits");
        let mut subjects = names.map(Subject::new);
        for round in 0..arguments.rounds {
            let seconds = Duration::from_secs(arguments.seconds);
            if round < BASELINE_ROUNDS {
                bare.add(one_row_commits(&environment, &plain, connections, seconds).await?);
            }
            for place in rounds::order(round) {
                let (database, more) = (&databases[place], settings[place]);
                let seen = accepts(&environment, database, more, connections, seconds).await?;
                subjects[place].add(seen);
            }
        }
        let [one, other] = &subjects;
        rounds::print(&format!("{connections} connections, each"), &[&bare, one, other]);
        overview.push(summary(connections, &bare, one, other));
    }
    let against = format!("against {}", names[0]);
    table::print(
        &[
            "connections",
            "one-row commits/s",
            names[0],
            names[1],
            "against one-row",
            &against,
            "p50 (one-row), ms",
            "p99 (one-row), ms",
            "peak memory",
        ],
        &overview,
    );
    Ok(())
}

fn summary(connections: usize, bare: &Subject, one: &Subject, other: &Subject) -> Vec<String> {
    let both = |share: f64| format!("{:.2} ({:.2})", other.latency(share), bare.latency(share));
    vec![
        connections.to_string(),
        thousands(bare.rate()),
        thousands(one.rate()),
        thousands(other.rate()),
        format!("{:.2}×", other.rate() / bare.rate()),
        format!("{:.2}×", other.rate() / one.rate()),
        both(0.5),
        both(0.99),
        format!("{:.1} MiB", other.peak_rss()),
    ]
}

pub async fn one_row_commits(
    environment: &Environment,
    database: &Database,
    connections: usize,
    seconds: Duration,
) -> anyhow::Result<Round> {
    database.vacuum().await?;
    let meter = Meter::start(environment, database, None, None).await?;
    let outcome = baseline::one_row_commits(environment, database, connections, seconds).await?;
    let cost = meter.stop(outcome.completed as f64).await?;
    Ok(Round {
        rate: outcome.rate,
        latencies: Some(outcome.latencies),
        sealed_bytes: None,
        peak_rss: None,
        cost,
    })
}

/// By a process of its own, so that each round is a sample of its own.
pub async fn accepts(
    environment: &Environment,
    database: &Database,
    more: &str,
    connections: usize,
    seconds: Duration,
) -> anyhow::Result<Round> {
    database.vacuum().await?;
    let service = environment.serve("accepting", "api", database, None, more).await?;
    let write = || {
        let callbacks = Callbacks::new()?;
        anyhow::Ok(move |request: &mut Vec<u8>| callbacks.write(request))
    };
    closed_loop(service.http, connections, Duration::ZERO, WARM_UP, 202, write()?).await?;
    let meter = Meter::start(environment, database, Some(&service), None).await?;
    let posting = closed_loop(service.http, connections, Duration::ZERO, seconds, 202, write()?);
    let outcome = posting.await?;
    let cost = meter.stop(outcome.completed as f64).await?;
    Ok(Round {
        rate: outcome.rate,
        latencies: Some(outcome.latencies),
        sealed_bytes: None,
        peak_rss: Some(service.peak_rss()),
        cost,
    })
}
