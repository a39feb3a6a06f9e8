//! Durable accepts per second and their latency, against one-row commits and batches of one.

use std::time::Duration;

use crate::baseline;
use crate::load::{Callbacks, Latencies, closed_loop};
use crate::machine;
use crate::stage::{Database, Service, Stage};
use crate::table::{self, median, millis, thousands};

/// How long, how often.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Connections, each a row of the table.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64,256")]
    connections: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One subject at one number of connections, over all rounds.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    latencies: Latencies,
    /// CPU microseconds per operation: client, service, Postgres.
    cpu: [Vec<f64>; 3],
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let plain = stage.empty_database("plain").await?;
    baseline::prepare(&plain).await?;
    let ours = stage.database("ours").await?;
    let single = stage.database("single").await?;
    let service = stage.serve("ours", "api", &ours, None, "").await?;
    let one_by_one =
        stage.serve("single", "api", &single, None, "[callbacks]\nmax_batch = 1").await?;

    let mut rows = Vec::new();
    for &connections in &arguments.connections {
        let (mut bare, mut grouped, mut alone) = Default::default();
        for _ in 0..arguments.rounds {
            measure_baseline(&stage, &plain, connections, arguments.seconds, &mut bare).await?;
            measure(&stage, &service, connections, arguments.seconds, &mut grouped).await?;
            measure(&stage, &one_by_one, connections, arguments.seconds, &mut alone).await?;
        }
        rows.push(row(connections, &mut bare, &mut grouped, &mut alone));
    }
    table::print(
        &[
            "connections",
            "one-row commits/s",
            "batches of 1, accepts/s",
            "accepts/s",
            "against one-row",
            "against batch 1",
            "p50 (one-row)",
            "p99 (one-row)",
            "CPU µs per accept: client + service + Postgres",
        ],
        &rows,
    );
    println!(
        "Service: serving after {} ms, peak memory {:.1} MiB.",
        service.startup.as_millis(),
        service.peak_rss()
    );
    Ok(())
}

async fn measure_baseline(
    stage: &Stage,
    database: &Database,
    connections: usize,
    seconds: u64,
    into: &mut Measured,
) -> anyhow::Result<()> {
    stage.checkpoint().await?;
    let outcome =
        baseline::one_row_commits(stage, database, connections, Duration::from_secs(seconds))
            .await?;
    into.rates.push(outcome.rate);
    into.latencies.extend(outcome.latencies);
    Ok(())
}

async fn measure(
    stage: &Stage,
    service: &Service,
    connections: usize,
    seconds: u64,
    into: &mut Measured,
) -> anyhow::Result<()> {
    stage.checkpoint().await?;
    let callbacks = Callbacks::new()?;
    let cpu = || [machine::cpu_of(std::process::id()), service.cpu(), stage.postgres_cpu()];
    let (warm_up, measured) = (Duration::from_secs(1), Duration::from_secs(seconds));
    let before = cpu();
    let outcome = closed_loop(service.http, connections, warm_up, measured, 202, move |request| {
        callbacks.write(request);
    });
    let outcome = outcome.await?;
    // The warm-up is in the CPU's time, so it is counted in the accepts too.
    let accepts = outcome.rate * (warm_up + measured).as_secs_f64();
    for ((into, after), before) in into.cpu.iter_mut().zip(cpu()).zip(before) {
        into.push((after - before) * 1e6 / accepts);
    }
    into.rates.push(outcome.rate);
    into.latencies.extend(outcome.latencies);
    Ok(())
}

fn row(
    connections: usize,
    bare: &mut Measured,
    grouped: &mut Measured,
    alone: &mut Measured,
) -> Vec<String> {
    let [bare_rate, rate, alone_rate] =
        [&mut bare.rates, &mut grouped.rates, &mut alone.rates].map(|rates| median(rates));
    let both = |share: f64, ours: &mut Latencies, theirs: &mut Latencies| {
        format!("{} ({})", millis(ours.percentile(share)), millis(theirs.percentile(share)))
    };
    let [client, service, postgres] = grouped.cpu.each_mut().map(|cpu| median(cpu));
    vec![
        connections.to_string(),
        thousands(bare_rate),
        thousands(alone_rate),
        thousands(rate),
        format!("{:.2}×", rate / bare_rate),
        format!("{:.2}×", rate / alone_rate),
        both(0.5, &mut grouped.latencies, &mut bare.latencies),
        both(0.99, &mut grouped.latencies, &mut bare.latencies),
        format!("{client:.0} + {service:.0} + {postgres:.0}"),
    ]
}
