//! The service's own code under simulated time and network: workers and intakes on a real Postgres,
//! one step at a time, in an order and with faults that a seed determines.
//!
//! `STEPS=1 SEED=n SEEDS=1 cargo test --locked --test simulation no_seed -- --nocapture` replays one seed
//! and prints its steps.

mod defects;
mod erasers;
mod http;
#[path = "../faults/log_queries.rs"]
mod log_queries;
mod process;
mod provider;
mod proxy;
mod random;
mod receiver;
mod reckoning;
mod run;
mod senders;
mod sim;
mod wire;
mod world;

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use defects::{DEFECTS, Defect};
use run::{Report, run};
use world::World;

/// A database on which one seed has run: the first one makes what every other one finds.
fn world() -> World {
    let world = World::new();
    run(&world, 0, None);
    world
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The broken promises of a seed, and its steps.
fn told(seed: u64, report: &Report) -> String {
    let mut text = format!("seed {seed}:\n");
    // Writing to a string cannot fail.
    for line in &report.trace {
        let _ = writeln!(text, "{line}");
    }
    for (promise, found) in &report.broken {
        let _ = writeln!(text, "BROKEN {promise}");
        for line in found {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Seeds of a bounded run: less than a minute on two cores.
const SEEDS: u64 = 20;
/// A run ends when so many seeds broke a promise.
const MOST_BROKEN: usize = 5;

#[derive(Default)]
struct Totals {
    seeds: u64,
    steps: u64,
    broken: Vec<u64>,
}

/// `SEED` is the first one, `SEEDS` how many, `JOBS` how many run at a time. The steps of a seed that
/// breaks a promise go into a file; with `STEPS=1` those of every seed are printed.
#[expect(clippy::print_stdout, reason = "the table is the result")]
#[test]
fn no_seed_breaks_a_promise() {
    let first = number("SEED").unwrap_or(1);
    let end = first + number("SEEDS").unwrap_or(SEEDS);
    let (next, totals) = (AtomicU64::new(first), Mutex::new(Totals::default()));
    let are_steps_wanted = number("STEPS") == Some(1);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..number("JOBS").unwrap_or(1) {
            scope.spawn(|| {
                let world = world();
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end || totals.lock().unwrap().broken.len() >= MOST_BROKEN {
                        return world.verify_audit();
                    }
                    let report = run(&world, seed, None);
                    if are_steps_wanted {
                        println!("{}", told(seed, &report));
                    }
                    let mut totals = totals.lock().unwrap();
                    totals.seeds += 1;
                    totals.steps += u64::from(report.steps);
                    if !report.broken.is_empty() {
                        totals.broken.push(seed);
                        println!("{}", kept(seed, &report));
                    }
                }
            });
        }
    });
    let Totals { seeds, steps, broken } = totals.into_inner().unwrap();
    let took = began.elapsed().as_secs();
    let per_minute = seeds * 60 / took.max(1);
    println!(
        "seeds {first} to {}: {seeds} seeds, {steps} steps, {took} s, {per_minute} seeds a minute, {} broken",
        end - 1,
        broken.len()
    );
    assert!(broken.is_empty(), "seeds that break a promise: {broken:?}");
}

/// Writes the steps of a seed into a file, and names it with what is broken.
fn kept(seed: u64, report: &Report) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-seed-{seed}.txt"));
    std::fs::write(&file, told(seed, report)).expect("written");
    let promises: Vec<&str> = report.broken.iter().map(|(promise, _)| *promise).collect();
    format!("seed {seed}: {}; its steps are in {}", promises.join("; "), file.display())
}

#[test]
fn a_seed_takes_the_same_steps_again() {
    let world = world();
    let first = number("SEED").unwrap_or(1);
    for seed in first..first + number("SEEDS").unwrap_or(4) {
        let (first, second) = (run(&world, seed, None), run(&world, seed, None));
        let same = first.trace.iter().zip(&second.trace).take_while(|(a, b)| a == b).count();
        assert_eq!(
            (first.trace.len(), same),
            (second.trace.len(), first.trace.len()),
            "seed {seed}: {:#?}\n{:#?}",
            first.trace.get(same.saturating_sub(5)..(same + 5).min(first.trace.len())),
            second.trace.get(same.saturating_sub(5)..(same + 5).min(second.trace.len())),
        );
    }
}

/// The first seed that finds this defect, if one of so many does, and everything that it breaks.
fn found(defect: &'static Defect, seeds: u64) -> Option<(u64, String)> {
    let world = world();
    for seed in 1..=seeds {
        let report = run(&world, seed, Some(defect));
        let broken: Vec<&str> = report.broken.iter().map(|(promise, _)| *promise).collect();
        if defect.breaks.iter().any(|promise| broken.contains(promise)) {
            return Some((seed, broken.join("; ")));
        }
    }
    None
}

/// The defects that many seeds meet; with `DEFECT=all` every one, or the one with that name.
#[expect(clippy::print_stdout, reason = "the table is the result")]
#[test]
fn planted_defects_are_found() {
    let asked = std::env::var("DEFECT").ok();
    let seeds = if asked.is_some() { 400 } else { 40 };
    let chosen: Vec<&Defect> = DEFECTS
        .iter()
        .filter(|defect| match asked.as_deref() {
            None => defect.is_met_often,
            Some(name) => name == "all" || name == defect.name,
        })
        .collect();
    assert!(!chosen.is_empty(), "no defect has this name: {asked:?}");
    let mut missed = Vec::new();
    for defect in chosen {
        let Defect { name, what, .. } = defect;
        match found(defect, seeds) {
            Some((seed, broken)) => println!("| `{name}` | {what} | {seed} | {broken} |"),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
