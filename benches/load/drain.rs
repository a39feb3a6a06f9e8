//! A backlog under a budget: how much of it several processes use together, and the worst second.

use std::time::{Duration, Instant};

use crate::cost::Meter;
use crate::end_to_end::{UNLIMITED, decided, decided_so_far, post, sealed_bytes};
use crate::environment::{Binaries, Database, Environment, Provider};
use crate::fill;
use crate::rounds::{self, Round, Subject};
use crate::table;

/// What to drain.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Due verifications.
    #[arg(long, default_value_t = 5000)]
    due: u32,
    /// Worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Rates of the account, each a row of the table.
    #[arg(long, value_delimiter = ',', default_value = "50,200")]
    queries_per_second: Vec<u32>,
    /// With --before: how often each binary is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    binaries: Binaries,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    if arguments.binaries.pair().is_some() {
        return compare(&environment, arguments).await;
    }
    let provider = environment.provider().await?;
    let mut rows = Vec::new();
    for &rate in &arguments.queries_per_second {
        let name = format!("drain_{rate}");
        let database = environment.database_of(&arguments.binaries.measured(), &name).await?;
        fill::due(&database, i64::from(arguments.due)).await?;
        fill::settle_down(&database).await?;
        let limit = format!("queries_per_second = {rate}");
        let mut workers = Vec::new();
        for n in 0..arguments.workers {
            let name = format!("worker-{rate}-{n}");
            workers.push(
                environment
                    .serve(&name, "worker", &database, Some(provider.address), &limit)
                    .await?,
            );
        }
        while database.count("select count(*) from verifications where due_at is not null").await?
            > 0
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // The provider answers at once, so that when an answer came is when the call went out.
        // The share is judged between the first and the last twentieth: processes that start and
        // a burst at the beginning say nothing about a long backlog.
        let (calls, middle, seconds, worst): (i64, i64, f64, i64) = sqlx::query_as(
            "with calls as (
                select fetched_at, row_number() over (order by fetched_at) as nth,
                    count(*) over () as of_all,
                    count(*) over (order by fetched_at
                        range between interval '1 second' preceding and current row) as in_second
                from results
             ), middle as (select * from calls where nth between of_all / 20 and of_all * 19 / 20)
             select (select count(*) from calls), count(*),
                extract(epoch from max(fetched_at) - min(fetched_at))::float8,
                (select max(in_second) from calls)
             from middle",
        )
        .fetch_one(&database.pool)
        .await?;
        let used = (middle - 1) as f64 / seconds / f64::from(rate);
        let peak = workers.iter().map(crate::environment::Service::peak_rss).fold(0.0, f64::max);
        rows.push(vec![
            rate.to_string(),
            calls.to_string(),
            format!("{:.1} %", used * 100.0),
            format!("{worst} calls"),
            format!("{:.2}×", worst as f64 / f64::from(rate)),
            format!("{} ms", workers.iter().map(|w| w.startup.as_millis()).max().unwrap_or(0)),
            format!("{peak:.1} MiB"),
        ]);
    }
    table::print(
        &[
            "rate allowed, per second",
            "drained",
            "budget used",
            "worst second",
            "of the rate",
            "start-up",
            "peak memory, each",
        ],
        &rows,
    );
    Ok(())
}

/// One worker, without a limit on its rate: what claiming and deciding a backlog costs.
async fn compare(environment: &Environment, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(pair) = arguments.binaries.pair() else { return Ok(()) };
    environment.keep_background_work_out().await?;
    let provider = environment.provider().await?;
    let databases = [
        environment.database_of(&pair[0], "before").await?,
        environment.database_of(&pair[1], "after").await?,
    ];
    let mut subjects = ["before", "after"].map(Subject::new);
    for round in 0..arguments.rounds {
        for place in rounds::order(round) {
            let due = arguments.due as usize;
            let seen = drain(environment, &databases[place], &provider, due).await?;
            subjects[place].add(seen);
        }
    }
    let [before, after] = &subjects;
    rounds::print("each verification claimed and decided", &[before, after]);
    Ok(())
}

/// Callbacks are accepted by one process, which then ends; a worker takes up what is due.
async fn drain(
    environment: &Environment,
    database: &Database,
    provider: &Provider,
    due: usize,
) -> anyhow::Result<Round> {
    let before = decided_so_far(database).await?;
    let api = environment.serve("api", "api", database, None, "").await?;
    post(api.http, due, 64).await?;
    drop(api);
    database.vacuum().await?;
    let address = Some(provider.address);
    let worker = environment.serve("worker", "worker", database, address, UNLIMITED).await?;
    // Some are decided by the time that its line is read.
    let sealed_before = sealed_bytes(database).await?;
    let meter = Meter::start(environment, database, Some(&worker), Some(provider)).await?;
    let started = Instant::now();
    let at_start = decided_so_far(database).await?;
    decided(database, before + due).await?;
    let took = started.elapsed();
    let count = (before + due - at_start) as f64;
    let cost = meter.stop(count).await?;
    let sealed = sealed_bytes(database).await? - sealed_before;
    Ok(Round {
        rate: count / took.as_secs_f64(),
        latencies: None,
        sealed_bytes: Some(sealed / count),
        peak_rss: Some(worker.peak_rss()),
        cost,
    })
}
