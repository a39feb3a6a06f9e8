//! Accept, claim, read, list, backtest and vacuum at growing numbers of verifications: the curve.
//!
//! Each size has its database in one server, and its process. The sizes take turns in every round, so that
//! a disturbance of the machine meets all of them, and each round compares its own neighbours.

use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::Executor;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::store::Store;
use verdict::store::claims::ClaimLimits;

use crate::backtest;
use crate::environment::{Database, Environment, Service};
use crate::fill::{self, Contents};
use crate::load::{Callbacks, Latencies, closed_loop};
use crate::read::get;
use crate::rounds::{interval, ratios};
use crate::table::{self, median, thousands};

/// How far.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Numbers of verifications, each a row of the table; the others are compared with the first.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
    sizes: Vec<i64>,
    /// Verifications and dedupe keys alone: no keys, results, decisions and events.
    #[arg(long)]
    lean: bool,
    /// GiB that all databases may take together. A size that does not fit is cut to the part that does.
    /// The write-ahead log takes up to 8 GiB more.
    #[arg(long, default_value_t = 40.0)]
    disk: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
}

/// For accepts and reads.
const CONNECTIONS: usize = 8;
/// Rows of one claim, and claims of one round.
const CLAIMED: i32 = 16;
const CLAIMS: i64 = 200;
/// Of a process, one after the other.
const STARTS: usize = 5;
const GIB: f64 = (1_u64 << 30) as f64;

/// A database of one size, and what was measured on it.
struct Site {
    size: i64,
    database: Database,
    store: Store,
    service: Service,
    key: String,
    bytes_a_row: f64,
    /// A list for each of `MEASURED`, with a number for each round.
    seen: [Vec<f64>; MEASURED.len()],
    startups: Vec<f64>,
    backtest: Option<f64>,
    vacuum: Duration,
}

const EMPTY: &str = "truncate verifications, callbacks, data_keys, results, decisions, events,
    event_weeks cascade";

/// Medians in milliseconds.
const MEASURED: [&str; 4] =
    ["accept, p50", "claim of 16, p50", "GET by id, p50", "list of 50, p50 of the slowest kind"];

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out_within("8GB").await?;
    let contents = if arguments.lean { Contents::Lean } else { Contents::Everything };
    let mut sites: Vec<Site> = Vec::new();
    for (place, &size) in arguments.sizes.iter().enumerate() {
        let space = arguments.disk * GIB - taken(&sites);
        let known = sites.last().map(|site| site.bytes_a_row);
        let size = fitting(size, space, known);
        let name = format!("size_{place}");
        let filled = Site::fill(&environment, &name, size, contents).await;
        sites.push(filled.with_context(|| format!("{size} verifications"))?);
    }
    let measured = Duration::from_secs(arguments.seconds);
    for round in 0..arguments.rounds {
        for (what, name) in MEASURED.iter().enumerate() {
            for site in in_turn(&mut sites, round) {
                let micros = site.measure(what, measured, contents).await;
                let micros = micros.with_context(|| format!("{name} at {}", site.size));
                site.seen[what].push(micros? / 1000.0);
            }
        }
        for site in &sites {
            site.stay_of_size(contents).await?;
        }
    }
    for round in 0..STARTS {
        for site in in_turn(&mut sites, round) {
            let name = format!("again-{}", site.size);
            let started = environment.serve(&name, "api", &site.database, None, "").await?;
            site.startups.push(started.startup.as_secs_f64() * 1000.0);
        }
    }
    for site in &mut sites {
        if contents == Contents::Everything {
            site.backtest = Some(site.backtest(&environment).await?);
        }
        let started = Instant::now();
        site.database.pool.execute("vacuum").await?;
        site.vacuum = started.elapsed();
    }
    print(&sites);
    Ok(())
}

/// The bytes that the databases take.
fn taken(sites: &[Site]) -> f64 {
    sites.iter().map(|site| site.bytes_a_row * site.size as f64).sum()
}

/// As many of `size` rows as fit into `space` bytes.
fn fitting(size: i64, space: f64, bytes_a_row: Option<f64>) -> i64 {
    let Some(bytes_a_row) = bytes_a_row else { return size };
    #[expect(clippy::cast_possible_truncation, reason = "a number of rows")]
    let most = (space / bytes_a_row) as i64;
    if most < size {
        let (asked, most) = (thousands(size as f64), thousands(most as f64));
        println!("{asked} verifications do not fit: {most} do");
    }
    size.min(most)
}

/// Each round begins with another site and goes the other way round.
fn in_turn(sites: &mut [Site], round: usize) -> Vec<&mut Site> {
    let count = sites.len();
    let mut all: Vec<&mut Site> = sites.iter_mut().collect();
    all.rotate_left(round / 2 % count);
    if !round.is_multiple_of(2) {
        all.reverse();
    }
    all
}

impl Site {
    async fn fill(
        environment: &Environment,
        name: &str,
        size: i64,
        contents: Contents,
    ) -> anyhow::Result<Self> {
        let database = environment.database(name).await?;
        let key = environment.api_key(&database).await?;
        let store = database.store(2)?;
        store.accounts().open_account("default").await?;
        let (empty, started) = (bytes(&database).await?, Instant::now());
        fill::in_bulk(&database, size, contents).await?;
        fill::settle_down(&database).await?;
        let bytes_a_row = (bytes(&database).await? - empty) / size as f64;
        let rows = thousands(size as f64);
        println!("{rows} verifications filled in {:.0} s", started.elapsed().as_secs_f64());
        let service = environment.serve(name, "api", &database, None, "").await?;
        Ok(Self {
            size,
            database,
            store,
            service,
            key,
            bytes_a_row,
            seen: [const { Vec::new() }; MEASURED.len()],
            startups: Vec::new(),
            backtest: None,
            vacuum: Duration::ZERO,
        })
    }

    /// One of `MEASURED`, in microseconds.
    async fn measure(
        &self,
        what: usize,
        measured: Duration,
        contents: Contents,
    ) -> anyhow::Result<f64> {
        let (address, key) = (self.service.http, &self.key);
        let latencies = match what {
            0 => {
                let callbacks = Callbacks::new()?;
                let write = move |request: &mut Vec<u8>| callbacks.write(request);
                let warm_up = Duration::from_millis(500);
                closed_loop(address, CONNECTIONS, warm_up, measured, 202, write).await?.latencies
            }
            1 => claim(&self.database, &self.store).await?,
            2 => get(address, CONNECTIONS, measured, self.size, key).await?.latencies,
            _ => return slowest_list(address, measured, key, contents).await,
        };
        Ok(f64::from(latencies.percentile(0.5)))
    }

    /// A small table would be a larger one after the accepts of some rounds.
    async fn stay_of_size(&self, contents: Contents) -> anyhow::Result<()> {
        let rows = self.database.count("select count(*) from callbacks").await?;
        if rows > self.size.saturating_mul(2) {
            self.database.pool.execute(EMPTY).await?;
            fill::in_bulk(&self.database, self.size, contents).await?;
            self.database.vacuum().await?;
        }
        Ok(())
    }

    /// Decisions per second of a backtest of everything at full speed.
    async fn backtest(&self, environment: &Environment) -> anyhow::Result<f64> {
        let folder = tempfile::TempDir::new()?;
        let candidate = folder.path().join("candidate.toml");
        std::fs::write(&candidate, backtest::version(60))?;
        let candidate = candidate.to_str().context("a path")?;
        let config = environment.config_file(self.database.name());
        let config = config.to_str().context("a path")?;
        let command =
            ["policy", "backtest", candidate, "--json", "--full-speed", "--config", config];
        let ran = backtest::timed(&command).await?;
        let decisions = ran.said["decisions"].as_f64().context("decisions")?;
        anyhow::ensure!(decisions >= self.size as f64, "{}", ran.said);
        Ok(decisions / ran.took.as_secs_f64())
    }
}

async fn bytes(database: &Database) -> anyhow::Result<f64> {
    Ok(database.count("select pg_database_size(current_database())").await? as f64)
}

fn print(sites: &[Site]) {
    let Some(first) = sites.first() else { return };
    let rows: Vec<Vec<String>> = sites
        .iter()
        .map(|site| {
            let mut row = vec![thousands(site.size as f64), thousands(site.bytes_a_row)];
            for (seen, of_first) in site.seen.iter().zip(&first.seen) {
                let middle = median(&mut seen.clone());
                let compared = interval(&ratios(of_first, seen));
                row.push(format!("{middle:.2} ms, {compared}"));
            }
            row.push(format!("{:.0} ms", median(&mut site.startups.clone())));
            row.push(site.backtest.map_or_else(|| "–".to_owned(), thousands));
            row.push(format!("{:.1} s", site.vacuum.as_secs_f64()));
            row.push(format!("{:.1} MiB", site.service.peak_rss()));
            row
        })
        .collect();
    let mut headings = vec!["verifications", "bytes each"];
    headings.extend(MEASURED);
    headings.extend(["start-up", "backtest, decisions/s", "vacuum", "peak memory"]);
    table::print(&headings, &rows);
}

/// Lists of verifications that every database has.
const LISTS: [&str; 6] = [
    "",
    "biz_type=rare",
    "biz_type=onboarding",
    "reference=user-5000",
    "state=failed",
    "created_before=2026-01-01T00:10:00Z",
];

/// Without decisions a list of these would read every verification, and find none.
const LISTS_OF_DECIDED: [&str; 3] = ["state=decided", "outcome=review", "outcome=approve"];

/// Each kind of list from its beginning; the kind that takes longest, in microseconds.
async fn slowest_list(
    address: std::net::SocketAddr,
    measured: Duration,
    key: &str,
    contents: Contents,
) -> anyhow::Result<f64> {
    use std::io::Write;
    let mut slowest: f64 = 0.0;
    let of_decided = if contents == Contents::Lean { &[] } else { &LISTS_OF_DECIDED[..] };
    for filters in LISTS.iter().chain(of_decided) {
        let key = key.to_owned();
        let write = move |request: &mut Vec<u8>| {
            let _ = write!(
                request,
                "GET /v1/verifications?limit=50&{filters} HTTP/1.1\r\nhost: verdict\r\nauthorization: Bearer {key}\r\n\r\n",
            );
        };
        let warm_up = Duration::from_millis(200);
        let seen = closed_loop(address, 1, warm_up, measured / 9, 200, write).await?;
        slowest = slowest.max(f64::from({ seen }.latencies.percentile(0.5)));
    }
    Ok(slowest)
}

/// Claims of due rows, without a worker's pauses between them.
async fn claim(database: &Database, store: &Store) -> anyhow::Result<Latencies> {
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
    let settle = "update verifications set due_at = null, lease_token = null, lease_until = null
         where due_at is not null";
    database.pool.execute(settle).await?;
    Ok(latencies)
}
