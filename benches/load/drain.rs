//! A backlog under a budget: how much of it several processes use together, and the worst second.

use std::time::Duration;

use crate::fill;
use crate::stage::Stage;
use crate::table;

/// What to drain.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Due verifications.
    #[arg(long, default_value_t = 5000)]
    due: i64,
    /// Worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Rates of the account, each a row of the table.
    #[arg(long, value_delimiter = ',', default_value = "50,200")]
    queries_per_second: Vec<u32>,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let provider = stage.provider().await?;
    let mut rows = Vec::new();
    for &rate in &arguments.queries_per_second {
        let database = stage.database(&format!("drain_{rate}")).await?;
        fill::due(&database, arguments.due).await?;
        fill::settle_down(&database).await?;
        let limit = format!("queries_per_second = {rate}");
        let mut workers = Vec::new();
        for n in 0..arguments.workers {
            let name = format!("worker-{rate}-{n}");
            workers.push(
                stage.serve(&name, "worker", &database, Some(provider.address), &limit).await?,
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
        let peak = workers.iter().map(crate::stage::Service::peak_rss).fold(0.0, f64::max);
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
