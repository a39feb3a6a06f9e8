//! Accept, claim, read and list at growing numbers of verifications: the curve.

use std::time::{Duration, Instant};

use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::store::claims::ClaimLimits;

use crate::environment::{Database, Environment};
use crate::fill;
use crate::load::{Callbacks, Latencies, closed_loop};
use crate::read::get;
use crate::table::{self, median, millis, thousands};

/// How far.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Numbers of verifications, each a row of the table.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
    sizes: Vec<i64>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// For accepts and reads.
const CONNECTIONS: usize = 8;
/// Rows of one claim, and claims of one round.
const CLAIMED: i32 = 16;
const CLAIMS: i64 = 200;

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let database = environment.database("verdict").await?;
    let key = environment.api_key(&database).await?;
    let store = database.store(2)?;
    store.accounts().open_account("default").await?;
    let measured = Duration::from_secs(arguments.seconds);
    let mut have = 0;
    let mut first: Option<[f64; 4]> = None;
    let mut rows = Vec::new();
    for &size in &arguments.sizes {
        fill::decided(&database, have + 1, size).await?;
        have = size;
        fill::settle_down(&database).await?;
        // A new process each time: it starts on a table of this size, as after a deployment.
        let service = environment.serve(&format!("at-{size}"), "api", &database, None, "").await?;
        let [mut accepts, mut claims, mut reads, mut lists] = [const { Vec::new() }; 4];
        for _ in 0..arguments.rounds {
            let callbacks = Callbacks::new()?;
            let write = move |request: &mut Vec<u8>| callbacks.write(request);
            let warm_up = Duration::from_secs(1);
            let accepted = closed_loop(service.http, CONNECTIONS, warm_up, measured, 202, write);
            accepts.push(f64::from(accepted.await?.latencies.percentile(0.5)));
            claims.push(f64::from(claim(&database, &store).await?.percentile(0.5)));
            let read = get(service.http, CONNECTIONS, measured, size, &key).await?;
            reads.push(f64::from({ read }.latencies.percentile(0.5)));
            lists.push(slowest_list(service.http, measured, &key).await?);
        }
        let now = [&mut accepts, &mut claims, &mut reads, &mut lists].map(|seen| median(seen));
        let then = *first.get_or_insert(now);
        let cell = |place: usize| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "microseconds"
            )]
            let micros = now[place] as u32;
            format!("{} ({:.2}×)", millis(micros), now[place] / then[place])
        };
        rows.push(vec![
            thousands(size as f64),
            cell(0),
            cell(1),
            cell(2),
            cell(3),
            format!("{} ms", service.startup.as_millis()),
            format!("{:.1} MiB", service.peak_rss()),
        ]);
    }
    table::print(
        &[
            "verifications",
            "accept, p50",
            "claim of 16, p50",
            "GET by id, p50",
            "list of 50, p50 of the slowest kind",
            "start-up",
            "peak memory",
        ],
        &rows,
    );
    Ok(())
}

/// Each kind of list from its beginning; the kind that takes longest, in microseconds.
async fn slowest_list(
    address: std::net::SocketAddr,
    measured: Duration,
    key: &str,
) -> anyhow::Result<f64> {
    use std::io::Write;
    let mut slowest: f64 = 0.0;
    for filters in [
        "",
        "biz_type=rare",
        "biz_type=onboarding",
        "reference=user-5000",
        "state=failed",
        "state=decided",
        "outcome=review",
        "outcome=approve",
        "created_before=2026-01-01T01:00:00Z",
    ] {
        let key = key.to_owned();
        let write = move |request: &mut Vec<u8>| {
            let _ = write!(
                request,
                "GET /v1/verifications?limit=50&{filters} HTTP/1.1\r\nhost: verdict\r\nauthorization: Bearer {key}\r\n\r\n",
            );
        };
        let warm_up = Duration::from_millis(200);
        let seen = closed_loop(address, 1, warm_up, measured / 8, 200, write).await?;
        slowest = slowest.max(f64::from({ seen }.latencies.percentile(0.5)));
    }
    Ok(slowest)
}

/// Claims of due rows, without a worker's pauses between them.
async fn claim(database: &Database, store: &verdict::store::Store) -> anyhow::Result<Latencies> {
    fill::due(database, CLAIMS * i64::from(CLAIMED)).await?;
    let (ids, clock) = (Ids::random(), Clock::system());
    let limits = ClaimLimits {
        account: "default",
        max_rows: CLAIMED,
        lease: Duration::from_hours(1),
        queries_per_second: 1e6,
        burst: 1e6,
        probe_every: Duration::from_secs(1),
        due_since: None,
        first: &[],
    };
    let mut latencies = Latencies::default();
    for _ in 0..CLAIMS {
        let started = Instant::now();
        let claim = store.claim(&limits, ids.next(clock.now())).await?;
        latencies.add(started.elapsed());
        anyhow::ensure!(claim.rows.len() == usize::try_from(CLAIMED)?, "too few claimed");
    }
    // Whatever else was due is none of the next round's.
    sqlx::query(
        "update verifications set due_at = null, lease_token = null, lease_until = null
         where due_at is not null",
    )
    .execute(&database.pool)
    .await?;
    Ok(latencies)
}
