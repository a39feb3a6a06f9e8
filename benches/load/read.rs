//! GET by id, against `pgbench`'s select by the same key on the same table.

use std::time::Duration;

use crate::baseline;
use crate::cost::{Cost, Meter};
use crate::environment::Environment;
use crate::fill;
use crate::load::{Latencies, Outcome, closed_loop};
use crate::table::{self, median, millis, thousands};

/// How many, how long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Decided verifications in the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: i64,
    /// Connections, each a row of the table.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64")]
    connections: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out().await?;
    let database = environment.database("verdict").await?;
    let key = environment.api_key(&database).await?;
    fill::decided(&database, 1, arguments.rows).await?;
    fill::settle_down(&database).await?;
    let service = environment.serve("service", "api", &database, None, "").await?;
    let script = format!(
        "\\set n random(1, {})\nselect * from verifications where id = {};\n",
        arguments.rows,
        fill::id_in_sql(":n")
    );
    let measured = Duration::from_secs(arguments.seconds);
    let mut rows = Vec::new();
    for &connections in &arguments.connections {
        let (mut bare_rates, mut rates) = (Vec::new(), Vec::new());
        let (mut bare, mut ours) = (Latencies::default(), Latencies::default());
        let [mut bare_cpu, mut cpu] = [const { Vec::new() }; 2];
        for _ in 0..arguments.rounds {
            let bin = environment.programs.bin();
            let meter = Meter::start(&environment, &database, None, None).await?;
            let outcome =
                baseline::pgbench(bin, &database.url, &script, connections, measured).await?;
            bare_cpu.push(meter.stop(outcome.completed as f64).await?);
            bare_rates.push(outcome.rate);
            bare.extend(outcome.latencies);
            let meter = Meter::start(&environment, &database, Some(&service), None).await?;
            let outcome = get(service.http, connections, measured, arguments.rows, &key).await?;
            cpu.push(meter.stop(outcome.completed as f64).await?);
            rates.push(outcome.rate);
            ours.extend(outcome.latencies);
        }
        let (bare_rate, rate) = (median(&mut bare_rates), median(&mut rates));
        let both = |share: f64, ours: &mut Latencies, theirs: &mut Latencies| {
            format!("{} ({})", millis(ours.percentile(share)), millis(theirs.percentile(share)))
        };
        rows.push(vec![
            connections.to_string(),
            thousands(bare_rate),
            thousands(rate),
            format!("{:.2}×", rate / bare_rate),
            both(0.5, &mut ours, &mut bare),
            both(0.99, &mut ours, &mut bare),
            parts(&bare_cpu),
            parts(&cpu),
        ]);
    }
    table::print(
        &[
            "connections",
            "pgbench -S, selects/s",
            "GET/s",
            "against pgbench",
            "p50 (pgbench)",
            "p99 (pgbench)",
            "CPU µs per select: pgbench + Postgres",
            "CPU µs per GET: client + service + Postgres",
        ],
        &rows,
    );
    println!(
        "{} verifications. Service: serving after {} ms, peak memory {:.1} MiB.",
        thousands(arguments.rows as f64),
        service.startup.as_millis(),
        service.peak_rss()
    );
    Ok(())
}

/// The medians of the CPU times of each process.
fn parts(costs: &[Cost]) -> String {
    let middle = |of: fn(&Cost) -> Option<f64>| {
        let mut all: Vec<f64> = costs.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| format!("{:.0}", median(&mut all)))
    };
    let parts = [
        middle(|cost| Some(cost.client)),
        middle(|cost| cost.service),
        middle(|cost| Some(cost.postgres)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
}

/// Reads one of the first `rows` after the other, in no order.
pub async fn get(
    address: std::net::SocketAddr,
    connections: usize,
    measured: Duration,
    rows: i64,
    key: &str,
) -> anyhow::Result<Outcome> {
    use std::io::Write;
    let key = key.to_owned();
    let nth = std::cell::Cell::new(1_i64);
    let warm_up = Duration::from_secs(1);
    closed_loop(address, connections, warm_up, measured, 200, move |request| {
        // A step that has no divisor in common with any power of ten visits every row.
        nth.set((nth.get() + 618_033_989) % rows);
        let _ = write!(
            request,
            "GET /v1/verifications/{} HTTP/1.1\r\nhost: verdict\r\nauthorization: Bearer {key}\r\n\r\n",
            fill::id(nth.get() + 1)
        );
    })
    .await
}
