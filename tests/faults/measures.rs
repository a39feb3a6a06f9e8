//! How long things took to heal. Times are measured only, because other faults may be under way,
//! and the machine may be slow. Judged is whether a killed worker's work was passed over.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::reckoning::Reckoning;

use super::ledger::Ledger;
use super::world::{LEASE_SECONDS, World};

/// Seconds after the end of its lease for which work may be passed over by work that fell due
/// later: at the 99th percentile, and at worst.
const PASSED_OVER: [(usize, f64); 2] = [(99, 1.0), (100, 8.0)];

/// A table of medians and worst cases.
pub async fn measures(reckoning: &mut Reckoning, world: &World, ledger: &Ledger) -> String {
    let mut db = world.admin().await;
    let mut claimed = Vec::new();
    let mut done = Vec::new();
    let mut passed_over = Vec::new();
    let kills = world.moments.kills.lock().expect("not poisoned").clone();
    for (service, at) in kills {
        for work in after_kill(&mut db, service, at).await {
            claimed.push(work.claimed);
            done.extend(work.written);
            passed_over.push(work.passed_over);
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
    let too_long = PASSED_OVER.into_iter().filter_map(|(percent, most)| {
        let seconds = percentile(&mut passed_over, percent)?;
        (seconds > most).then(|| format!("{seconds:.1} s at {percent} %, not {most} s"))
    });
    reckoning.zero("a killed worker's work passed over for too long", too_long.collect());
    [
        row("a killed worker's work: claimed again", claimed),
        row("a killed worker's work: done", done),
        row("and passed over by later work, of that", passed_over),
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
    /// For how many seconds of those after the end of its lease work was claimed, by age, that had
    /// fallen due after it. In the others it waited for its turn in a backlog, or nobody could claim.
    passed_over: f64,
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
             (select count(distinct floor(extract(epoch from l.at) * 10)) / 10.0
              from lease_log l where l.event = 'claimed' and not l.probe
                 and l.at > $1 + make_interval(secs => $3) and l.at < claim.at
                 and l.due_at > held.due_at)::float8 as passed_over
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
    .bind(LEASE_SECONDS)
    .fetch_all(db)
    .await
    .unwrap()
}

fn row(what: &str, mut seconds: Vec<f64>) -> String {
    let mut at = |percent| percentile(&mut seconds, percent).map(|seconds| 1000.0 * seconds);
    let (Some(p50), Some(p99), Some(max)) = (at(50), at(99), at(100)) else {
        return format!("  {what:<50} never seen\n");
    };
    let n = seconds.len();
    format!("  {what:<50} p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms (n = {n})\n")
}

fn percentile(seconds: &mut [f64], percent: usize) -> Option<f64> {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len().checked_sub(1)? * percent / 100).copied()
}
