//! What is measured beside the promises: how long things took to heal. Nothing here is asserted,
//! because other faults may be under way at the same time, and the machine may be slow.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::ledger::Ledger;
use super::world::World;

/// A table of medians and worst cases.
pub async fn measures(world: &World, ledger: &Ledger) -> String {
    let mut db = world.admin().await;
    let mut claimed = Vec::new();
    let mut done = Vec::new();
    let mut passed_over = 0;
    let kills = world.moments.kills.lock().expect("not poisoned").clone();
    for (service, at) in kills {
        for work in after_kill(&mut db, service, at).await {
            claimed.push(work.claimed);
            done.extend(work.written);
            passed_over = passed_over.max(work.passed_over);
        }
    }
    let accepted = ledger.accepted.lock().expect("not poisoned").clone();
    let ups = world.moments.postgres_up.lock().expect("not poisoned").clone();
    let serving = ups
        .iter()
        .filter_map(|up| {
            let next = accepted.iter().map(|(at, _)| *at).filter(|at| at > up).min()?;
            Some((next - *up).as_seconds_f64())
        })
        .collect();
    let accepting =
        accepted.iter().map(|(_, took)| took.as_secs_f64()).filter(|took| *took > 0.0).collect();
    let calls = world.provider.calls();
    let mut worst = 0;
    let mut first = 0;
    for (last, call) in calls.iter().enumerate() {
        while call.at - calls[first].at >= time::Duration::SECOND {
            first += 1;
        }
        worst = worst.max(last + 1 - first);
    }
    [
        row("a killed worker's work: claimed again", claimed),
        row("a killed worker's work: done", done),
        format!("  {:<50} at most {passed_over} times\n", "and passed over by later work"),
        row("Postgres up again: first callback accepted", serving),
        row("a callback accepted", accepting),
        format!(
            "  {:<50} {}, {worst} in the worst second\n",
            "calls the provider saw",
            calls.len()
        ),
    ]
    .concat()
}

/// What became of one lease that its holder took to the grave.
#[derive(sqlx::FromRow)]
struct Orphan {
    /// Seconds until somebody claimed it again,
    claimed: f64,
    /// and until it was written.
    written: Option<f64>,
    /// How many were claimed before it although they had become due after it. (Until the lease and
    /// the wait between two looks are over, all may be.) Else it waited for its turn in a backlog.
    passed_over: i64,
}

async fn after_kill(db: &mut PgConnection, service: usize, at: OffsetDateTime) -> Vec<Orphan> {
    sqlx::query_as(
        "with last as (
             select distinct on (verification_id) * from lease_log where at <= $1
             order by verification_id, id desc
         ), held as (
             select * from last where event = 'claimed' and service = $2
         )
         select extract(epoch from claim.at - $1)::float8 as claimed,
             extract(epoch from written.at - $1)::float8 as written,
             (select count(*) from lease_log l where l.event = 'claimed' and not l.probe
                 and l.at > $1 + interval '3 s' and l.at < claim.at - interval '1 s'
                 and l.due_at > held.due_at) as passed_over
         from held
         join lateral (select * from lease_log l where l.verification_id = held.verification_id
             and l.id > held.id order by l.id limit 1) after on after.event = 'overtaken'
         join lateral (select * from lease_log l where l.verification_id = held.verification_id
             and l.id > held.id and event = 'claimed' order by l.id limit 1) claim on true
         left join lateral (select * from lease_log l
             where l.verification_id = held.verification_id
             and l.id > claim.id and event = 'ended' order by l.id limit 1) written on true",
    )
    .bind(at)
    .bind(i32::try_from(service).unwrap())
    .fetch_all(db)
    .await
    .unwrap()
}

fn row(what: &str, mut seconds: Vec<f64>) -> String {
    if seconds.is_empty() {
        return format!("  {what:<50} never seen\n");
    }
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| 1000.0 * seconds[(seconds.len() - 1) * percent / 100];
    let (p50, p99, max) = (at(50), at(99), at(100));
    let n = seconds.len();
    format!("  {what:<50} p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms (n = {n})\n")
}
