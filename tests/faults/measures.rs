//! What is measured beside the promises: how long things took to heal. Nothing here is asserted,
//! because other faults may be under way at the same time, and the machine may be slow.

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::ledger::Ledger;
use super::world::World;

/// A table of medians and worst cases.
pub async fn measures(world: &World, ledger: &Ledger) -> String {
    let mut db = world.admin().await;
    let mut claimed = Vec::new();
    let mut done = Vec::new();
    let kills = world.moments.kills.lock().expect("not poisoned").clone();
    for (service, at) in kills {
        let (again, written) = after_kill(&mut db, service, at).await;
        claimed.extend(again);
        done.extend(written);
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

/// Of what the process held when it was killed: how long until somebody claimed it again, and
/// until it was written.
async fn after_kill(
    db: &mut PgConnection,
    service: usize,
    at: OffsetDateTime,
) -> (Vec<f64>, Vec<f64>) {
    let rows = sqlx::query(
        "with last as (
             select distinct on (verification_id) * from lease_log where at <= $1
             order by verification_id, id desc
         ), held as (
             select * from last where event = 'claimed' and service = $2
         )
         select extract(epoch from claim.at - $1)::float8 as claimed,
             extract(epoch from written.at - $1)::float8 as written
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
    .unwrap();
    let claimed = rows.iter().map(|row| row.get("claimed")).collect();
    (claimed, rows.iter().filter_map(|row| row.get("written")).collect())
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
