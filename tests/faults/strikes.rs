//! The injection of each kind of fault. Each tells whether it met what it was meant for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloudauth_sandbox::Behaviour;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

use super::receivers::Manner;
use super::schedule::{Fault, Kind, Target};
use super::service::Service;
use super::starts;
use super::world::World;
use crate::harness::{COMPLETION, Proxy, READY_FOR_QUERY, now};

/// For a process to end after SIGTERM: calls, batches and the pool have 2, 5 and 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// The service's own connections.
const OURS: &str = "application_name = 'verdict'";

/// Bytes that only occur in parameters of ACCEPT: our message ids.
const ACCEPTANCE: &[u8] = b"ledger-";
/// Only in those of the statement that stores a start.
const START: &[u8] = starts::PURPOSE.as_bytes();
/// In those of the statement that stores its answer: how the simulated provider's ids begin.
const STARTED: &[u8] = b"sha";
/// In the call that starts a verification.
const INIT: &[u8] = b"InitFaceVerify";

/// Does it, and returns when it is over: whether it struck. A process that is killed while it rests,
/// a network that is cut while nothing is sent and a statement that did not come by prove nothing.
pub async fn strike(world: &World, fault: &Fault) -> bool {
    match fault.kind {
        Kind::Kill | Kind::KillDuringAStart | Kind::StartDisturbed => {
            kill(world, service(world, fault), fault).await
        }
        Kind::AcceptanceOutlivesItsSender
        | Kind::CompletionOutlivesItsSender
        | Kind::StartOutlivesItsSender
        | Kind::StartedOutlivesItsSender => outlive(world, service(world, fault), fault).await,
        Kind::Freeze | Kind::FreezeDuringAStart => {
            freeze(world, service(world, fault), fault).await
        }
        Kind::PostgresRestartsDuringAStart => {
            let met = world.until_it_starts_one(None).await;
            world.restart_postgres(true, fault.lasts).await;
            met
        }
        Kind::DatabaseCutDuringAStart => {
            let service = service(world, fault);
            let met = world.until_it_starts_one(Some(service)).await;
            cut(&[&service.database]).await && met
        }
        Kind::ProviderCutDuringAStart => {
            let service = service(world, fault);
            let met = world.until_it_starts_one(Some(service)).await;
            cut(&[&service.provider]).await && met
        }
        Kind::Terminate => terminate(world, service(world, fault), fault.lasts).await,
        Kind::PostgresRestartsFast => {
            world.restart_postgres(false, fault.lasts).await;
            true
        }
        Kind::PostgresRestartsImmediately => {
            world.moments.after_an_acceptance().await;
            world.restart_postgres(true, fault.lasts).await;
            true
        }
        Kind::BackendCrashes => crash_a_backend(world).await,
        Kind::AllBackendsTerminated => terminate_backends(world, "").await,
        Kind::BackendTerminated => terminate_backends(world, " order by random() limit 1").await,
        Kind::ConnectionsExhausted => exhaust(world, fault.lasts).await,
        _ if fault.target == Target::Provider => misbehave(world, fault).await,
        _ if fault.target == Target::Receivers => trouble(world, fault).await,
        _ => disturb(world, fault).await,
    }
}

fn service<'a>(world: &'a World, fault: &Fault) -> &'a Service {
    match fault.target {
        Target::Service(number) => &world.services[number],
        _ => panic!("{fault} has no process"),
    }
}

/// `kill -9`; started again after a while, with or without a network that breaks all the time.
async fn kill(world: &World, service: &Service, fault: &Fault) -> bool {
    let mut place = service.process.lock().await;
    let met = until_it_is_busy(world, service, fault).await;
    let mut process = place.take().expect("it runs");
    world.moments.kills.lock().expect("not poisoned").push((service.number, now()));
    let _outage = world.moments.outage(Some(service.number));
    process.kill().await;
    service.move_to(None);
    if fault.kind != Kind::StartDisturbed {
        tokio::time::sleep(fault.lasts).await;
        *place = Some(service.start().await);
        return met;
    }
    let before = service.database.disturbed();
    let cutting = async {
        let began = Instant::now();
        while began.elapsed() < fault.lasts {
            // From 2 to 20 ms: within the few statements of a start.
            tokio::time::sleep(fault.delay / 10).await;
            service.database.cut();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        process = service.start() => *place = Some(process),
        () = cutting => {}
    }
    service.database.disturbed() > before
}

/// The network holds a write until its sender is dead and others have done its work; then it
/// arrives.
async fn outlive(world: &World, service: &Service, fault: &Fault) -> bool {
    let needle = match fault.kind {
        Kind::AcceptanceOutlivesItsSender => ACCEPTANCE,
        Kind::StartOutlivesItsSender => START,
        Kind::StartedOutlivesItsSender => STARTED,
        _ => COMPLETION,
    };
    let mut place = service.process.lock().await;
    let held = service.database.hold_message_with(needle, fault.lasts);
    if !matches!(tokio::time::timeout(fault.lasts, held).await, Ok(Ok(()))) {
        service.database.lose_nothing();
        return false;
    }
    world.moments.held.fetch_add(1, Ordering::SeqCst);
    let mut process = place.take().expect("it runs");
    world.moments.kills.lock().expect("not poisoned").push((service.number, now()));
    let _outage = world.moments.outage(Some(service.number));
    process.kill().await;
    service.move_to(None);
    *place = Some(service.start().await);
    true
}

/// Still for longer than a lease, and then on as if nothing had been.
async fn freeze(world: &World, service: &Service, fault: &Fault) -> bool {
    let place = service.process.lock().await;
    let met = until_it_is_busy(world, service, fault).await;
    let process = place.as_ref().expect("it runs");
    let _outage = world.moments.outage(Some(service.number));
    process.signal(Signal::STOP);
    tokio::time::sleep(fault.lasts).await;
    process.signal(Signal::CONT);
    met
}

/// Waits a little for work that the fault can interrupt, and tells whether there is some.
async fn until_it_is_busy(world: &World, service: &Service, fault: &Fault) -> bool {
    match fault.kind {
        Kind::KillDuringAStart | Kind::FreezeDuringAStart => {
            world.until_it_starts_one(Some(service)).await
        }
        _ => world.until_it_works(service).await,
    }
}

/// Receivers do not answer as they should, for a while.
async fn trouble(world: &World, fault: &Fault) -> bool {
    let _turn = world.manners.lock().await;
    let manner = match fault.kind {
        Kind::ReceiversHang => Manner::Hangs,
        Kind::ReceiversFail => Manner::Fails,
        Kind::ReceiversCutTheAnswer => Manner::CutsTheAnswer,
        Kind::ReceiversAreSlow => Manner::IsSlow(fault.delay),
        _ => panic!("{fault} strikes no receiver"),
    };
    let troubled = || world.receivers.iter().filter(|receiver| receiver.is_troubled);
    let struck = || troubled().map(|receiver| receiver.struck()).sum::<usize>();
    let before = struck();
    troubled().for_each(|receiver| receiver.behave(manner));
    // While the database is down nothing is delivered, so the fault would hit nothing.
    let began = Instant::now();
    while struck() == before && began.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(fault.lasts).await;
    troubled().for_each(|receiver| receiver.behave(Manner::Answers));
    struck() > before
}

/// As an orchestrator ends a process.
async fn terminate(world: &World, service: &Service, down: Duration) -> bool {
    let mut place = service.process.lock().await;
    let _outage = world.moments.outage(Some(service.number));
    let mut process = place.take().expect("it runs");
    process.signal(Signal::TERM);
    stopped(service, &mut process).await;
    tokio::time::sleep(down).await;
    *place = Some(service.start().await);
    true
}

/// Waits for a stopped process to exit. A late exit or an error is a trouble.
pub async fn stopped(service: &Service, process: &mut super::service::Process) {
    match tokio::time::timeout(STOP_WITHIN, process.wait()).await {
        Ok(Some(status)) if status.success() => {}
        Ok(status) => {
            let how = format!("{status:?}");
            service.troubles.stopped_badly(service.number, &how, &process.said());
        }
        Err(_) => {
            process.kill().await;
            let how = format!("still there after {STOP_WITHIN:?}");
            service.troubles.stopped_badly(service.number, &how, &process.said());
        }
    }
    service.move_to(None);
}

/// A backend dies oddly; Postgres ends all others and recovers.
async fn crash_a_backend(world: &World) -> bool {
    // Not while it is down anyway.
    let mut admin = world.admin().await;
    let place = world.postgres.lock().await;
    let query = format!("select pid from pg_stat_activity where {OURS} limit 1");
    let pid: Option<i32> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .fetch_optional(&mut admin)
        .await
        .ok()
        .flatten();
    let Some(pid) = pid.and_then(Pid::from_raw) else { return false };
    world.moments.after_an_acceptance().await;
    let _outage = world.moments.outage(None);
    let met = kill_process(pid, Signal::KILL).is_ok();
    drop(admin);
    let url = place.as_ref().expect("it runs").url("postgres");
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Ok(mut connection) = PgConnection::connect(&url).await else { continue };
        // The old server may still be letting people in.
        if sqlx::query("select 1").execute(&mut connection).await.is_ok() {
            break;
        }
    }
    world.postgres_is_up();
    met
}

async fn terminate_backends(world: &World, which: &str) -> bool {
    let mut admin = world.admin().await;
    let query = format!(
        "select pg_terminate_backend(pid)
         from (select pid from pg_stat_activity where {OURS}{which}) as ours"
    );
    // Postgres may be restarting, which is a fault as well.
    let ended = sqlx::query(sqlx::AssertSqlSafe(query)).execute(&mut admin).await;
    ended.is_ok_and(|ended| ended.rows_affected() > 0)
}

/// Takes every connection of the server, ours included.
async fn exhaust(world: &World, time: Duration) -> bool {
    let before = world.moments.turned_away.load(Ordering::SeqCst);
    let mut admin = world.admin().await;
    let url = world.database_url().await;
    let held = async {
        let mut held = Vec::new();
        let mut outage = None;
        loop {
            if let Ok(connection) = PgConnection::connect(&url).await {
                held.push(connection);
            } else {
                // From here on a worker that has lost its connections gets none.
                outage.get_or_insert_with(|| world.moments.outage(None));
                world.moments.turned_away.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if held.len() == 120 {
                outage.get_or_insert_with(|| world.moments.outage(None));
                let query =
                    format!("select pg_terminate_backend(pid) from pg_stat_activity where {OURS}");
                let _ = sqlx::query(sqlx::AssertSqlSafe(query)).execute(&mut admin).await;
            }
        }
    };
    // Takes a second to fill up.
    let _ = tokio::time::timeout(Duration::from_secs(1) + time, held).await;
    world.moments.turned_away.load(Ordering::SeqCst) > before
}

/// Resets all connections of these networks, and tells whether there were any.
async fn cut(proxies: &[&Proxy]) -> bool {
    let disturbed = || proxies.iter().map(|proxy| proxy.disturbed()).sum::<usize>();
    let before = disturbed();
    for proxy in proxies {
        proxy.cut();
    }
    // The connections notice it one after the other.
    tokio::time::sleep(Duration::from_millis(100)).await;
    disturbed() > before
}

/// Everything about the network.
async fn disturb(world: &World, fault: &Fault) -> bool {
    let is_database = matches!(
        fault.kind,
        Kind::DatabaseCut
            | Kind::DatabaseRefused
            | Kind::DatabaseDelayed
            | Kind::DatabaseStalled
            | Kind::AcceptanceUnanswered
            | Kind::CompletionUnanswered
            | Kind::StatementUnanswered
            | Kind::StatementLost
            | Kind::StartUnanswered
            | Kind::StartedUnanswered
    );
    let struck = world.services.iter().filter(|service| match fault.target {
        Target::Service(number) => service.number == number,
        _ => true,
    });
    // Delayed by up to 0.2 s each way, a new connection and a claim take seconds.
    let silences =
        matches!(fault.kind, Kind::DatabaseRefused | Kind::DatabaseStalled | Kind::DatabaseDelayed);
    let _outages: Vec<_> = struck
        .clone()
        .filter(|_| silences)
        .map(|service| world.moments.outage(Some(service.number)))
        .collect();
    let proxies: Vec<&Proxy> = struck
        .map(|service| if is_database { &service.database } else { &service.provider })
        .collect();
    let disturbed = || proxies.iter().map(|proxy| proxy.disturbed()).sum::<usize>();
    let before = disturbed();
    match fault.kind {
        Kind::DatabaseCut | Kind::ProviderCut => return cut(&proxies).await,
        Kind::DatabaseRefused | Kind::ProviderRefused => {
            for proxy in &proxies {
                proxy.refuse(true);
            }
            for proxy in &proxies {
                proxy.cut();
            }
            tokio::time::sleep(fault.lasts).await;
            for proxy in &proxies {
                proxy.refuse(false);
            }
        }
        Kind::DatabaseDelayed | Kind::ProviderDelayed => {
            for proxy in &proxies {
                proxy.delay(fault.delay);
            }
            tokio::time::sleep(fault.lasts).await;
            for proxy in &proxies {
                proxy.delay(Duration::ZERO);
            }
        }
        Kind::DatabaseStalled | Kind::ProviderStalled => {
            for proxy in &proxies {
                proxy.stall(true);
            }
            tokio::time::sleep(fault.lasts).await;
            for proxy in &proxies {
                proxy.stall(false);
            }
        }
        kind => return lose(world, proxies[0], kind, fault.lasts).await,
    }
    disturbed() > before
}

/// Loses one answer or one message, if one comes by in time.
async fn lose(world: &World, proxy: &Proxy, kind: Kind, within: Duration) -> bool {
    let lost = match kind {
        Kind::AcceptanceUnanswered => proxy.lose_answer_to(ACCEPTANCE, READY_FOR_QUERY),
        Kind::CompletionUnanswered => proxy.lose_answer_to(COMPLETION, READY_FOR_QUERY),
        Kind::StartUnanswered => proxy.lose_answer_to(START, READY_FOR_QUERY),
        Kind::StartedUnanswered => proxy.lose_answer_to(STARTED, READY_FOR_QUERY),
        Kind::InitUnanswered => proxy.lose_answer_to(INIT, b""),
        Kind::StatementUnanswered => proxy.lose_answer_to(b"", READY_FOR_QUERY),
        Kind::StatementLost => proxy.lose_message_with(b""),
        _ => proxy.lose_answer_to(b"", b""),
    };
    let is_lost = matches!(tokio::time::timeout(within, lost).await, Ok(Ok(())));
    if is_lost {
        world.moments.lost.fetch_add(1, Ordering::SeqCst);
    } else {
        proxy.lose_nothing();
    }
    is_lost
}

/// Everything about the provider.
async fn misbehave(world: &World, fault: &Fault) -> bool {
    let behaviour = match fault.kind {
        Kind::ProviderThrottles => Behaviour::error("Throttling.User"),
        Kind::ProviderFails => Behaviour::http(503),
        Kind::ProviderShowsAPage => Behaviour::Html { http_status: 200 },
        Kind::ProviderTalksGarbage => Behaviour::Garbage,
        Kind::ProviderIsEmpty => Behaviour::Empty,
        Kind::ProviderForgetsTheStatus => Behaviour::NoStatus,
        Kind::ProviderBreaksOff => Behaviour::Torn,
        Kind::ProviderHangsUp => Behaviour::Cut,
        Kind::ProviderSaysUnfinished => Behaviour::status(-1),
        Kind::ProviderSaysUnderReview => Behaviour::status(0),
        Kind::ProviderRefusesUs => Behaviour::error("InvalidAccessKeyId.NotFound"),
        kind => panic!("{kind:?} is not the provider's"),
    };
    // One after the other: it can only behave in one way.
    let _mine = world.behaviour.lock().await;
    let before = world.provider.calls().len();
    world.provider.fail_all(Some(behaviour));
    tokio::time::sleep(fault.lasts).await;
    world.provider.fail_all(None);
    world.provider.calls().len() > before
}
