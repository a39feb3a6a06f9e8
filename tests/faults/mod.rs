//! The fault harness: an outside ledger posts callbacks to several real processes, starts
//! verifications of face-verify there, reviews cases, erases persons, and records every 2xx. Meanwhile a seeded schedule injects
//! faults into processes, Postgres, the network and the provider, and an open transaction keeps all
//! dead rows. At the end everything is reconciled.
//!
//! The short form runs with the other scenarios, with one fault of each kind. The long form:
//!
//! ```sh
//! FAULTS=1000 SEED=7 cargo test --locked --test scenarios faults:: -- --nocapture
//! ```
//!
//! The same seed gives the same faults at the same times; their effect depends on the machine.

mod edge;
mod event_log;
mod idle_time;
mod ledger;
mod log_queries;
mod measures;
mod persons;
mod receivers;
mod reckoning;
mod schedule;
mod service;
mod starts;
mod strikes;
mod struck;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use ledger::{CLIENTS, Ledger};
use schedule::{DECK, Dice};
use struck::Struck;
use world::World;

use crate::harness::now;

/// For the backlog to drain once nothing disturbs it any more; and as much again for every second
/// of faults, because a budget may have a lot to catch up with.
const DRAIN_WITHIN: Duration = Duration::from_mins(1);
/// What settles by itself; starts wait for the end of leases and for their first poll.
const NO_START: &str = "s is null";
/// What settles once these have passed: not what nobody submits, or of which only the provider knows.
const CAN_SETTLE: &str = "s is null or (v.certify_id is not null and v.biz_id not like 'waits%')";
/// For the receivers to have every event after that.
const DELIVER_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_lose_duplicate_and_misdecide_nothing() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    };
    let seed = number("SEED", 1);
    let count = usize::try_from(number("FAULTS", DECK.len() as u64)).expect("a number");
    let faults = schedule::draw(seed, count);
    say(&format!("{count} faults, seed {seed}; again: FAULTS={count} SEED={seed}"));

    let world = World::new().await;
    world.start().await;
    receivers::subscribe(&world).await;
    let watchman = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.watch().await }
    });
    let forgotten = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.hold_a_snapshot().await }
    });
    let ledger = Arc::new(Ledger::default());
    let mut clients = JoinSet::new();
    // Not the schedule's own numbers.
    let mut source = Dice::new(!seed);
    for _ in 0..CLIENTS {
        let dice = source.another();
        clients.spawn(Arc::clone(&ledger).post(Arc::clone(&world), dice));
    }

    let reader = Arc::new(event_log::Reader::default());
    let reading = tokio::spawn(Arc::clone(&reader).follow(Arc::clone(&world)));
    let (began, began_at) = (Instant::now(), now());
    let mut striking = JoinSet::new();
    let outcomes = Arc::new(Struck::default());
    for fault in faults {
        tokio::time::sleep(fault.at.saturating_sub(began.elapsed())).await;
        say(&fault.to_string());
        let (world, outcomes) = (Arc::clone(&world), Arc::clone(&outcomes));
        striking.spawn(async move {
            let began = Instant::now();
            outcomes.note(fault.kind, strikes::strike(&world, &fault).await);
            let over = began.elapsed().saturating_sub(fault.lasts);
            if over > Duration::from_secs(5) {
                say(&format!("#{:<4} took {over:?} longer than it was to last", fault.number));
            }
        });
    }
    while let Some(struck) = striking.join_next().await {
        struck.expect("a fault is done");
    }
    world.heal();
    say(&format!("          +{:8.3} s  all healed", began.elapsed().as_secs_f64()));
    ledger.stop();
    while let Some(client) = clients.join_next().await {
        client.expect("a client");
    }
    let said = |what| say(&format!("          +{:8.3} s  {what}", began.elapsed().as_secs_f64()));
    drained(&world, NO_START, DRAIN_WITHIN + began.elapsed()).await;
    said("drained");
    // The leases of killed processes end, and what nobody has reported is asked for.
    world.is_later(3).await;
    starts::finish(&ledger, &world).await;
    // What was answered only now is asked for a minute later.
    world.is_later(5).await;
    drained(&world, CAN_SETTLE, DRAIN_WITHIN).await;
    said("starts finished");
    // Every `CertifyId` lives out its time.
    world.is_later(60).await;
    drained(&world, "true", DRAIN_WITHIN).await;
    said("expired");
    persons::erased(&world).await;
    said("erased");

    event_log::numbered(&world).await;
    receivers::delivered(&world, DELIVER_WITHIN).await;
    said("delivered");
    reader.stop();
    let read = reading.await.expect("the reader");
    let mut reckoning = reckoning::reckon(&world, &ledger).await;
    let mut db = world.admin().await;
    event_log::reckon(&mut reckoning, &world, &mut db, &read).await;
    receivers::reckon(&mut reckoning, &world, &mut db).await;
    starts::reckon(&mut reckoning, &world, &ledger, &mut db).await;
    persons::reckon(&mut reckoning, &ledger, &mut db).await;
    let measures = measures::measures(&mut reckoning, &world, &ledger, began_at).await;
    watchman.abort();
    forgotten.abort();
    stop(&world).await;
    reckoning::processes(&mut reckoning, &world);
    outcomes.reckon(&mut reckoning);
    say(&format!("\n{}\n{}\n{measures}", outcomes.table(), reckoning.table()));
    world.end().await;
    assert_eq!(reckoning.broken(), 0, "promises broken; again: FAULTS={count} SEED={seed}");
}

/// Waits until nothing is due, leased or unfinished any more; what is then still open, the
/// reckoning tells.
async fn drained(world: &World, which: &str, within: Duration) {
    let began = Instant::now();
    let mut db = world.admin().await;
    let query = format!(
        "select count(*) from verifications v left join starts s on s.verification_id = v.id
         where (state in ('pending', 'unfinished') or lease_token is not null) and ({which})"
    );
    while began.elapsed() < within {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query.clone()));
        let open: i64 = query.fetch_one(&mut db).await.unwrap();
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Tells every process to stop, and sees that it does.
async fn stop(world: &World) {
    for service in &world.services {
        if let Some(mut process) = service.process.lock().await.take() {
            process.signal(rustix::process::Signal::TERM);
            strikes::stopped(service, &mut process).await;
        }
    }
}

#[expect(clippy::print_stdout, reason = "a failed run must be had again: seed and schedule")]
fn say(line: &str) {
    println!("{line}");
}
