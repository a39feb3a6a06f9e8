//! Events: how long from a decision to its delivery, how many deliveries per second, what they add
//! to the cost of a verification, and what one endpoint's trouble does to another.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::MissedTickBehavior;

use crate::cost::Meter;
use crate::end_to_end::{UNLIMITED, post};
use crate::environment::{Binaries, Binary, Database, Environment, Provider, Service};
use crate::load::{Callbacks, Connection, Latencies};
use crate::receiver::{Manner, Receiver};
use crate::rounds::{self, Round, Subject};
use crate::table::{self, millis, thousands};

/// What, and how much of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these parts; all, if none is named.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Decisions one after the other, for the idle latency.
    #[arg(long, default_value_t = 500)]
    singles: usize,
    /// Events that are in the log when the endpoints of `throughput` are added.
    #[arg(long, default_value_t = 20_000)]
    backlog: usize,
    /// Endpoints of the second measurement of `throughput`.
    #[arg(long, default_value_t = 16)]
    endpoints: usize,
    /// Verifications of each measurement of `cost`.
    #[arg(long, default_value_t = 8_000)]
    saturated: usize,
    /// How often each is measured in `cost`; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Connections that post callbacks.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Events that the endpoint of `catch-up` misses while it is dead.
    #[arg(long, default_value_t = 100_000)]
    dead: usize,
    /// Callbacks per second of the live traffic in `catch-up` and `hanging`.
    #[arg(long, default_value_t = 100)]
    live: u32,
    /// Seconds of live traffic without trouble, to compare with.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// `max_in_flight` of all endpoints.
    #[arg(long, default_value_t = 10)]
    in_flight: u32,
    /// Compares the cost with that of this binary, which may know nothing of events.
    #[command(flatten)]
    binaries: Binaries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Decision to received, without other load.
    Latency,
    /// Deliveries per second with one endpoint and with several.
    Throughput,
    /// CPU and WAL of a verification, with and without an endpoint.
    Cost,
    /// An endpoint that was dead catches up while live decisions go on.
    CatchUp,
    /// An endpoint that hangs beside one that answers.
    Hanging,
}

/// Deliveries that open connections and plan statements before anything is measured.
const WARM_UP: usize = 50;
/// Receivers are on this machine.
const WEBHOOKS: &str = "\n[webhooks]\nallow_private = [\"127.0.0.1\"]";

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let provider = environment.provider().await?;
    let asked = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if asked(Part::Latency) {
        latency(&environment, &provider, arguments).await?;
    }
    if asked(Part::Throughput) {
        throughput(&environment, &provider, arguments).await?;
    }
    if asked(Part::CatchUp) {
        catch_up(&environment, &provider, arguments).await?;
    }
    if asked(Part::Hanging) {
        hanging(&environment, &provider, arguments).await?;
    }
    // Last: it switches off what cleans up behind the others.
    if asked(Part::Cost) {
        environment.keep_background_work_out().await?;
        cost(&environment, &provider, arguments).await?;
    }
    Ok(())
}

/// A service on its own database, and a client that adds endpoints to it.
struct System {
    database: Database,
    service: Service,
    endpoints: Endpoints,
}

impl System {
    async fn start(
        environment: &Environment,
        provider: &Provider,
        name: &str,
    ) -> anyhow::Result<Self> {
        let database = environment.database(name).await?;
        let key = environment.api_key_with(&database, "webhooks:write").await?;
        let more = format!("{UNLIMITED}{WEBHOOKS}");
        let service =
            environment.serve(name, "all", &database, Some(provider.address), &more).await?;
        Ok(Self { endpoints: Endpoints { api: service.http, key }, database, service })
    }
}

/// The API of endpoints.
struct Endpoints {
    api: SocketAddr,
    key: String,
}

impl Endpoints {
    /// Adds one; its id.
    async fn add(
        &self,
        receiver: &Receiver,
        start: &str,
        arguments: &Arguments,
    ) -> anyhow::Result<String> {
        let body = serde_json::json!({
            "url": format!("http://{}/", receiver.address),
            "start": start,
            "max_in_flight": arguments.in_flight,
        });
        let added = self.post("/v1/webhook-endpoints", &body.to_string()).await?;
        Ok(added["id"].as_str().context("no id")?.to_owned())
    }

    async fn resume(&self, id: &str) -> anyhow::Result<()> {
        self.post(&format!("/v1/webhook-endpoints/{id}/resume"), "").await?;
        Ok(())
    }

    async fn post(&self, path: &str, body: &str) -> anyhow::Result<serde_json::Value> {
        use std::io::Write;
        let mut connection = Connection::open(self.api).await?;
        let (status, answer) = connection
            .exchange(|request| {
                let _ = write!(
                    request,
                    "POST {path} HTTP/1.1\r\nhost: verdict\r\nauthorization: Bearer {key}\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len(),
                    key = self.key,
                );
            })
            .await?;
        ensure!(
            (200..300).contains(&status),
            "{path}: status {status}: {}",
            String::from_utf8_lossy(answer)
        );
        Ok(serde_json::from_slice(answer).unwrap_or_default())
    }
}

async fn latency(
    environment: &Environment,
    provider: &Provider,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let system = System::start(environment, provider, "latency").await?;
    let receiver = Receiver::start(Manner::Answers).await?;
    system.endpoints.add(&receiver, "now", arguments).await?;
    let callbacks = Callbacks::new()?;
    let mut connection = Connection::open(system.service.http).await?;
    let mut from_callback = Latencies::default();
    for n in 0..WARM_UP + arguments.singles {
        if n == WARM_UP {
            receiver.take_latencies();
        }
        let expected = receiver.count() + 1;
        let sent = Instant::now();
        let (status, _) = connection.exchange(|request| callbacks.write(request)).await?;
        ensure!(status == 202, "status {status}");
        receiver.until(expected).await?;
        if n >= WARM_UP {
            from_callback.add(sent.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let from_decision = receiver.take_latencies();
    table::print(
        &["one after the other", "times", "p50", "p99", "worst"],
        &[
            latency_row("decision to received", &from_decision),
            latency_row("callback sent to event received", &from_callback),
        ],
    );
    Ok(())
}

async fn throughput(
    environment: &Environment,
    provider: &Provider,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let system = System::start(environment, provider, "throughput").await?;
    let head = fill(&system, arguments.backlog, arguments.connections).await?;
    let mut rows = Vec::new();
    for count in [1, arguments.endpoints] {
        let before = system.service.cpu();
        let mut receivers = Vec::new();
        for _ in 0..count {
            receivers.push(Receiver::start(Manner::Answers).await?);
        }
        let started = Instant::now();
        for receiver in &receivers {
            system.endpoints.add(receiver, "beginning", arguments).await?;
        }
        for receiver in &receivers {
            receiver.until(head).await?;
        }
        let took = started.elapsed().as_secs_f64();
        let deliveries = (head * count) as f64;
        let repeats: usize = receivers.iter().map(Receiver::repeats).sum();
        rows.push(vec![
            count.to_string(),
            thousands(deliveries),
            thousands(deliveries / took),
            format!("{:.1}", (system.service.cpu() - before) * 1e6 / deliveries),
            repeats.to_string(),
            format!("{:.1} MiB", system.service.peak_rss()),
        ]);
    }
    table::print(
        &[
            "endpoints",
            "deliveries",
            "per second",
            "CPU µs of the service for each",
            "repeats",
            "memory of the service, most",
        ],
        &rows,
    );
    Ok(())
}

async fn catch_up(
    environment: &Environment,
    provider: &Provider,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let system = System::start(environment, provider, "catch_up").await?;
    let (healthy, dead) =
        (Receiver::start(Manner::Answers).await?, Receiver::start(Manner::Dead).await?);
    system.endpoints.add(&healthy, "now", arguments).await?;
    let id = system.endpoints.add(&dead, "now", arguments).await?;
    post(system.service.http, arguments.dead, arguments.connections).await?;
    healthy.until(arguments.dead).await?;

    let alone = live_for(&system, &healthy, arguments).await?;
    // The dead one has missed the live ones as well.
    let missed = healthy.count();
    let started = Instant::now();
    dead.behave(Manner::Answers);
    system.endpoints.resume(&id).await?;
    let caught_up = async {
        dead.until(missed).await?;
        Ok(started.elapsed())
    };
    let (took, posted) = live(system.service.http, arguments.live, caught_up).await?;
    let expected = missed + posted;
    healthy.until(expected).await?;
    let beside = healthy.take_latencies();
    dead.until(expected).await?;
    println!(
        "\nAn endpoint that was dead for {} events has them {:.1} s after it was resumed: {} per \
         second, {} received twice, beside {} live decisions per second. Memory of the service, \
         most: {:.1} MiB.",
        thousands(missed as f64),
        took.as_secs_f64(),
        thousands(missed as f64 / took.as_secs_f64()),
        dead.repeats(),
        arguments.live,
        system.service.peak_rss(),
    );
    compare("while another endpoint catches up", &alone, &beside);
    Ok(())
}

async fn hanging(
    environment: &Environment,
    provider: &Provider,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let system = System::start(environment, provider, "hanging").await?;
    let good = Receiver::start(Manner::Answers).await?;
    system.endpoints.add(&good, "now", arguments).await?;
    live_for(&system, &good, arguments).await?;
    let alone = live_for(&system, &good, arguments).await?;
    let hangs = Receiver::start(Manner::Hangs).await?;
    system.endpoints.add(&hangs, "now", arguments).await?;
    let beside = live_for(&system, &good, arguments).await?;
    compare("beside an endpoint that hangs", &alone, &beside);
    Ok(())
}

/// Live traffic for a while; how long its decisions took to be received.
async fn live_for(
    system: &System,
    receiver: &Receiver,
    arguments: &Arguments,
) -> anyhow::Result<Latencies> {
    let before = receiver.count();
    receiver.take_latencies();
    let over = async {
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        anyhow::Ok(())
    };
    let ((), posted) = live(system.service.http, arguments.live, over).await?;
    receiver.until(before + posted).await?;
    Ok(receiver.take_latencies())
}

/// Posts so many callbacks a second until `over`; what that has brought, and how many they were.
async fn live<T>(
    address: SocketAddr,
    rate: u32,
    over: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, usize)> {
    let stop = Cell::new(false);
    let posting = async {
        let callbacks = Callbacks::new()?;
        let mut connection = Connection::open(address).await?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posted = 0;
        while !stop.get() {
            ticks.tick().await;
            let (status, _) = connection.exchange(|request| callbacks.write(request)).await?;
            ensure!(status == 202, "status {status}");
            posted += 1;
        }
        anyhow::Ok(posted)
    };
    let until = async {
        let outcome = over.await;
        stop.set(true);
        outcome
    };
    let (posted, outcome) = tokio::join!(posting, until);
    Ok((outcome?, posted?))
}

fn compare(beside: &str, before: &Latencies, after: &Latencies) {
    let ratio = |share| {
        let ratio = f64::from(after.percentile(share)) / f64::from(before.percentile(share));
        format!("{ratio:.2}×")
    };
    table::print(
        &["decision to received", "times", "p50", "p99", "worst"],
        &[
            latency_row("alone", before),
            latency_row(beside, after),
            vec!["ratio".to_owned(), String::new(), ratio(0.5), ratio(0.99), ratio(1.0)],
        ],
    );
}

fn latency_row(what: &str, latencies: &Latencies) -> Vec<String> {
    vec![
        what.to_owned(),
        latencies.len().to_string(),
        millis(latencies.percentile(0.5)),
        millis(latencies.percentile(0.99)),
        millis(latencies.percentile(1.0)),
    ]
}

/// Brings so many more events into the log; the newest sequence then.
async fn fill(system: &System, events: usize, connections: usize) -> anyhow::Result<usize> {
    let expected = logged(&system.database).await? + events;
    post(system.service.http, events, connections).await?;
    until_logged(&system.database, expected).await?;
    Ok(expected)
}

/// Events in the log; 0 where there is none.
async fn logged(database: &Database) -> anyhow::Result<usize> {
    Ok(usize::try_from(database.count("select number from event_log").await?)?)
}

async fn until_logged(database: &Database, expected: usize) -> anyhow::Result<()> {
    while logged(database).await? < expected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn cost(
    environment: &Environment,
    provider: &Provider,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let measured = arguments.binaries.measured();
    let mut sides = Vec::new();
    if let Some([before, _]) = arguments.binaries.pair() {
        let side = Side::new(environment, &before, "before", None, arguments).await?;
        sides.push((side, Subject::new("before")));
    }
    let side = Side::new(environment, &measured, "without", None, arguments).await?;
    sides.push((side, Subject::new("no endpoint")));
    let receiver = Receiver::start(Manner::Answers).await?;
    let side = Side::new(environment, &measured, "delivered", Some(receiver), arguments).await?;
    sides.push((side, Subject::new("one endpoint")));
    for round in 0..arguments.rounds {
        let last = sides.len() - 1;
        for place in 0..sides.len() {
            let place = if round.is_multiple_of(2) { place } else { last - place };
            let (side, subject) = &mut sides[place];
            subject.add(side.measure(environment, provider, arguments).await?);
        }
    }
    let subjects: Vec<&Subject> = sides.iter().map(|(_, subject)| subject).collect();
    // The last two of a table are compared.
    for end in 2..=subjects.len() {
        rounds::print("each verification", &subjects[end - 2..end]);
    }
    println!(
        "{} verifications posted by {} connections, until each is decided, in the log and received.",
        arguments.saturated, arguments.connections
    );
    Ok(())
}

/// One binary with its database, and an endpoint or none.
struct Side {
    database: Database,
    receiver: Option<Receiver>,
    configuration: String,
    has_log: bool,
}

impl Side {
    async fn new(
        environment: &Environment,
        binary: &Binary,
        name: &str,
        receiver: Option<Receiver>,
        arguments: &Arguments,
    ) -> anyhow::Result<Self> {
        let database = environment.database_of(binary, name).await?;
        let log = "select count(*) from pg_tables where tablename = 'event_log'";
        let has_log = database.count(log).await? > 0;
        let more = if has_log { WEBHOOKS } else { "" };
        let configuration = format!("{UNLIMITED}{more}");
        if let Some(receiver) = &receiver {
            let key = environment.api_key_with(&database, "webhooks:write").await?;
            let service =
                environment.serve("adding", "api", &database, None, &configuration).await?;
            Endpoints { api: service.http, key }.add(receiver, "now", arguments).await?;
        }
        Ok(Self { database, receiver, configuration, has_log })
    }

    /// Runs in a separate process, so that each round is an independent sample.
    async fn measure(
        &self,
        environment: &Environment,
        provider: &Provider,
        arguments: &Arguments,
    ) -> anyhow::Result<Round> {
        let database = &self.database;
        database.vacuum().await?;
        let address = Some(provider.address);
        let service =
            environment.serve("service", "all", database, address, &self.configuration).await?;
        self.verify(service.http, WARM_UP, arguments.connections).await?;
        if let Some(receiver) = &self.receiver {
            receiver.take_latencies();
        }
        let meter = Meter::start(environment, database, Some(&service), Some(provider)).await?;
        let started = Instant::now();
        self.verify(service.http, arguments.saturated, arguments.connections).await?;
        let took = started.elapsed();
        let count = arguments.saturated as f64;
        let cost = meter.stop(count).await?;
        Ok(Round {
            rate: count / took.as_secs_f64(),
            latencies: self.receiver.as_ref().map(Receiver::take_latencies),
            sealed_bytes: None,
            peak_rss: Some(service.peak_rss()),
            cost,
        })
    }

    /// Posts callbacks, and waits until everything that follows from them is done.
    async fn verify(
        &self,
        service: SocketAddr,
        count: usize,
        connections: usize,
    ) -> anyhow::Result<()> {
        let decisions = crate::end_to_end::decided_so_far(&self.database).await? + count;
        let events = if self.has_log { logged(&self.database).await? + count } else { 0 };
        let received = self.receiver.as_ref().map_or(0, Receiver::count) + count;
        post(service, count, connections).await?;
        crate::end_to_end::decided(&self.database, decisions).await?;
        if self.has_log {
            until_logged(&self.database, events).await?;
        }
        if let Some(receiver) = &self.receiver {
            receiver.until(received).await?;
        }
        Ok(())
    }
}
