//! Callback to decision: idle latency, saturated throughput, and what a verification costs.

use std::cell::Cell;
use std::iter;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::LocalSet;

use crate::cost::Meter;
use crate::environment::{Binaries, Binary, Database, Environment, Provider, Service};
use crate::load::{Callbacks, Connection, Latencies};
use crate::rounds::{self, Round, Subject};

/// How many.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Verifications one after the other, for the idle latency.
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Verifications at saturation.
    #[arg(long, default_value_t = 20_000)]
    saturated: usize,
    /// Connections that post them.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One process accepts and another decides; their costs are added.
    #[arg(long)]
    split: bool,
    #[command(flatten)]
    binaries: Binaries,
}

/// More than two cores can ask for: the provider's rate is not what is measured.
pub const UNLIMITED: &str = "queries_per_second = 100000";
/// Verifications that open connections and plan statements before anything is measured.
const WARM_UP: usize = 50;

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out().await?;
    let provider = environment.provider().await?;
    if let Some([before, after]) = arguments.binaries.pair() {
        let sides = [
            Side::new(&environment, &before, "before").await?,
            Side::new(&environment, &after, "after").await?,
        ];
        let mut subjects = ["before", "after"].map(Subject::new);
        for round in 0..arguments.rounds {
            for place in rounds::order(round) {
                let seen = sides[place].measure(&environment, &provider, arguments).await?;
                subjects[place].add(seen);
            }
        }
        let [before, after] = &subjects;
        rounds::print("each verification", &[before, after]);
    } else {
        let binary = arguments.binaries.measured();
        let side = Side::new(&environment, &binary, "verdict").await?;
        let mut subject = Subject::new("callback to decision");
        for _ in 0..arguments.rounds {
            subject.add(side.measure(&environment, &provider, arguments).await?);
        }
        rounds::print("each verification", &[&subject]);
    }
    println!(
        "Latencies: {} callbacks one after the other. All else: {} posted by {} connections.",
        arguments.singles, arguments.saturated, arguments.connections
    );
    Ok(())
}

/// One binary and its database.
struct Side {
    database: Database,
    key: String,
}

impl Side {
    async fn new(environment: &Environment, binary: &Binary, name: &str) -> anyhow::Result<Self> {
        let database = environment.database_of(binary, name).await?;
        let key = environment.api_key(&database).await?;
        Ok(Self { database, key })
    }

    /// By a process of its own, so that each round is a sample of its own.
    async fn measure(
        &self,
        environment: &Environment,
        provider: &Provider,
        arguments: &Arguments,
    ) -> anyhow::Result<Round> {
        let database = &self.database;
        database.vacuum().await?;
        let address = Some(provider.address);
        let serve =
            |role: &'static str| environment.serve(role, role, database, address, UNLIMITED);
        let (service, worker) = if arguments.split {
            (serve("api").await?, Some(serve("worker").await?))
        } else {
            (serve("all").await?, None)
        };
        let latencies = idle(service.http, &self.key, arguments.singles).await?;

        let decisions = decided_so_far(database).await?;
        let sealed_before = sealed_bytes(database).await?;
        let services = iter::once(&service).chain(&worker);
        let meter = Meter::start(environment, database, services, Some(provider)).await?;
        let started = Instant::now();
        post(service.http, arguments.saturated, arguments.connections).await?;
        decided(database, decisions + arguments.saturated).await?;
        let took = started.elapsed();
        let count = arguments.saturated as f64;
        let cost = meter.stop(count).await?;
        let sealed = sealed_bytes(database).await? - sealed_before;
        Ok(Round {
            rate: count / took.as_secs_f64(),
            latencies: Some(latencies),
            sealed_bytes: Some(sealed / count),
            peak_rss: Some(service.peak_rss().max(worker.as_ref().map_or(0.0, Service::peak_rss))),
            cost,
        })
    }
}

/// From sending the callback to the answer of the long poll that waits for its decision.
async fn idle(address: SocketAddr, key: &str, singles: usize) -> anyhow::Result<Latencies> {
    use std::io::Write;
    let callbacks = Callbacks::new()?;
    let mut connection = Connection::open(address).await?;
    let mut latencies = Latencies::default();
    for n in 0..singles + WARM_UP {
        let sent = Instant::now();
        let (status, body) = connection.exchange(|request| callbacks.write(request)).await?;
        ensure!(status == 202, "status {status}");
        let accepted: serde_json::Value = serde_json::from_slice(body)?;
        let id = accepted["id"].as_str().context("no id")?.to_owned();
        let (status, body) = connection
            .exchange(|request| {
                let _ = write!(
                    request,
                    "GET /v1/verifications/{id}?wait=30 HTTP/1.1\r\nhost: verdict\r\n\
                     authorization: Bearer {key}\r\n\r\n"
                );
            })
            .await?;
        let elapsed = sent.elapsed();
        ensure!(status == 200, "status {status}");
        let view: serde_json::Value = serde_json::from_slice(body)?;
        ensure!(view["state"] == "decided", "not decided: {view}");
        if n >= WARM_UP {
            latencies.add(elapsed);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(latencies)
}

/// Posts so many callbacks as fast as they are taken.
pub async fn post(address: SocketAddr, count: usize, connections: usize) -> anyhow::Result<()> {
    let left = Rc::new(Cell::new(count));
    let callbacks = Rc::new(Callbacks::new()?);
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (left, callbacks) = (Rc::clone(&left), Rc::clone(&callbacks));
        tasks.push(local.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                let (status, _) = connection.exchange(|request| callbacks.write(request)).await?;
                ensure!(status == 202, "status {status}");
            }
            anyhow::Ok(())
        }));
    }
    local
        .run_until(async {
            for task in tasks {
                task.await??;
            }
            anyhow::Ok(())
        })
        .await
}

/// Waits until so many decisions have been made in all. Asks the sequence that numbers them: the
/// tables would cost what is measured, above all while dead rows pile up.
pub async fn decided(database: &Database, decisions: usize) -> anyhow::Result<()> {
    while decided_so_far(database).await? < decisions {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Decisions made in all.
pub async fn decided_so_far(database: &Database) -> anyhow::Result<usize> {
    let last = "select last_value - (not is_called)::int from decisions_position_seq";
    Ok(usize::try_from(database.count(last).await?)?)
}

/// What is sealed of answers and persons.
pub async fn sealed_bytes(database: &Database) -> anyhow::Result<f64> {
    let bytes = database.count(
        "select (select coalesce(sum(octet_length(sealed_body)), 0) from results)
            + (select coalesce(sum(octet_length(sealed)), 0) from material)",
    );
    Ok(bytes.await? as f64)
}
