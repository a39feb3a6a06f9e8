//! The load benchmarks: the real binary, a durable Postgres of their own, baselines in the same run.
//!
//! `cargo bench --bench load -- accept` and so on; `benches/README.md` says what each measures and
//! what came out. Nothing here asserts a time: machines differ, ratios are for reading.

#![expect(clippy::print_stdout, reason = "tables are what this program is for")]
#![expect(clippy::cast_precision_loss, reason = "rates need no more digits than a double has")]

mod accept;
#[path = "../peers/axum.rs"]
mod axum_peer;
mod backtest;
mod baseline;
mod case_triggers;
mod console;
mod console_pages;
mod cost;
mod drain;
mod end_to_end;
mod environment;
mod events;
mod fill;
mod growth;
mod held_snapshot;
mod hostile;
mod images;
mod lists;
mod load;
mod machine;
mod peers;
mod read;
mod receiver;
mod recovery;
mod rounds;
mod table;
mod versions;
mod wal;

use clap::Parser;

/// What to measure.
#[derive(Debug, Parser)]
enum Bench {
    /// Durable accepts per second, against one-row commits and against batches of one.
    Accept(accept::Arguments),
    /// Callback to decision: idle latency, saturated throughput, and what a verification costs.
    EndToEnd(end_to_end::Arguments),
    /// Events: decision to delivery, deliveries per second, their cost, and endpoints in trouble.
    Events(events::Arguments),
    /// A backlog under a budget: how much of it three processes use.
    Drain(drain::Arguments),
    /// GET by id among a million, against `pgbench` on the same table.
    Read(read::Arguments),
    /// Lists of verifications among a million, by each kind of filter.
    Lists(lists::Arguments),
    /// Accept, claim and read at growing numbers of verifications.
    Growth(growth::Arguments),
    /// The same load while a transaction stays open.
    HeldSnapshot(held_snapshot::Arguments),
    /// Backtest and replay of a million decisions, alone and while accepting goes on.
    Backtest(backtest::Arguments),
    /// Images whose links die within seconds, from a slow host, under a throttling provider.
    Images(images::Arguments),
    /// Memory and honest callers' latency under thousands of hostile connections.
    Hostile(hostile::Arguments),
    /// Queue and case at 100,000 open reviews among a million verifications: queries, pages, triggers.
    Console(console::Arguments),
    /// The same accept in four frameworks; `benches/peers/run.sh` installs them and starts this.
    Peers(peers::Arguments),
    /// Serves the accept in plain axum.
    #[command(hide = true)]
    AxumPeer,
    /// Accepts and one-row commits on two versions of Postgres, in turns.
    Versions(versions::Arguments),
    /// A killed worker and a restarted Postgres: how long until the work goes on.
    Recovery(recovery::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // cargo adds `--bench` to whatever follows `--`.
    let bench = Bench::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    println!("{}", machine::describe());
    match bench {
        Bench::Accept(arguments) => accept::run(&arguments).await,
        Bench::EndToEnd(arguments) => end_to_end::run(&arguments).await,
        Bench::Events(arguments) => events::run(&arguments).await,
        Bench::Drain(arguments) => drain::run(&arguments).await,
        Bench::Read(arguments) => read::run(&arguments).await,
        Bench::Lists(arguments) => lists::run(&arguments).await,
        Bench::Growth(arguments) => growth::run(&arguments).await,
        Bench::HeldSnapshot(arguments) => held_snapshot::run(&arguments).await,
        Bench::Backtest(arguments) => backtest::run(&arguments).await,
        Bench::Images(arguments) => images::run(&arguments).await,
        Bench::Hostile(arguments) => hostile::run(&arguments).await,
        Bench::Console(arguments) => console::run(&arguments).await,
        Bench::Peers(arguments) => peers::run(&arguments).await,
        Bench::AxumPeer => peers::serve_axum(),
        Bench::Versions(arguments) => versions::run(&arguments).await,
        Bench::Recovery(arguments) => recovery::run(&arguments).await,
    }
}
