//! Images whose links die within seconds, from a slow host, while the provider throttles: what is
//! kept, and how long it takes.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::environment::Environment;
use crate::load::{Callbacks, Connection};
use crate::table::{self, thousands};

/// How much, how short, how slow.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Verifications, each with four images.
    #[arg(long, default_value_t = 1000)]
    verifications: u32,
    /// Seconds that links live (the provider's: 300).
    #[arg(long, default_value_t = 3)]
    image_seconds: u32,
    /// How long every image takes.
    #[arg(long, default_value_t = 400)]
    image_latency_ms: u32,
    /// Calls per second that the provider allows; the service believes in twice as many.
    #[arg(long, default_value_t = 100)]
    queries_per_second: u32,
    /// Answers whose images are fetched at once.
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
}

/// A run that takes longer than this has lost something.
const PATIENCE: Duration = Duration::from_mins(10);

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let folder = TempDir::new()?;
    let options = [
        ("--image-seconds", arguments.image_seconds),
        ("--image-latency-ms", arguments.image_latency_ms),
        ("--queries-per-second", arguments.queries_per_second),
    ];
    let options: Vec<String> =
        options.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    let provider = environment.provider_with(&options).await?;
    let database = environment.database("images").await?;
    let more = format!(
        "queries_per_second = {}\n[images]\nstore = \"file://{}\"\nconcurrency = {}",
        arguments.queries_per_second * 2,
        folder.path().display(),
        arguments.concurrency,
    );
    let service =
        environment.serve("images", "all", &database, Some(provider.address), &more).await?;
    let callbacks = Callbacks::about("pass-97-u")?;
    let mut connection = Connection::open(service.http).await?;
    let started = Instant::now();
    for _ in 0..arguments.verifications {
        anyhow::ensure!(connection.exchange(|request| callbacks.write(request)).await?.0 == 202);
    }
    let kept =
        "select count(distinct (verification_id, kind)) from images where state = 'archived'";
    let all = arguments.verifications * 4;
    while database.count(kept).await? < i64::from(all) && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = started.elapsed();
    // The first answer's time, whichever answer's links led to the image in the end.
    let (p50, p99, worst): (f64, f64, f64) = sqlx::query_as(
        "with kept as (
            select verification_id, kind, min(settled_at) as at from images
            where state = 'archived' group by 1, 2
         ), answered as (
            select verification_id, min(fetched_at) as at from results
            where verify_status is not null group by 1
         ), waited as (
            select extract(epoch from max(kept.at) - min(answered.at))::float8 as seconds
            from kept join answered using (verification_id) group by verification_id
         )
         select percentile_cont(0.5) within group (order by seconds),
            percentile_cont(0.99) within group (order by seconds), max(seconds) from waited",
    )
    .fetch_one(&database.pool)
    .await?;
    let again = "select count(*) from (select from results where verify_status is not null
                 group by verification_id having count(*) > 1) as v";
    let throttled = "select count(*) from results where error_class = 'throttled'";
    let lost = "select count(*) from images where state = 'lost'";
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    table::print(
        &["images", "seen"],
        &[
            row("archived", count_of(&database, kept).await?),
            row("of", thousands(f64::from(all))),
            row("lost", count_of(&database, lost).await?),
            row("verifications asked about again for links", count_of(&database, again).await?),
            row("calls throttled by the provider", count_of(&database, throttled).await?),
            row("answer to last image kept, median", format!("{p50:.2} s")),
            row("p99", format!("{p99:.2} s")),
            row("worst", format!("{worst:.2} s")),
            row("the whole run", format!("{:.1} s", took.as_secs_f64())),
            row("memory of the service, most", format!("{:.1} MiB", service.peak_rss())),
        ],
    );
    Ok(())
}

async fn count_of(
    database: &crate::environment::Database,
    query: &'static str,
) -> anyhow::Result<String> {
    Ok(thousands(database.count(query).await? as f64))
}
