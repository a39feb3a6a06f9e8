//! Times when no worker could claim: Postgres was unavailable or had no free connection, each
//! worker was dead, frozen or behind a broken or slow network, or calls to the provider were
//! stopped.
//!
//! This time does not count against the service, so its definition is narrow. A fault counts from
//! its injection to its repair. Time in which workers reconnect and retry afterwards does not count
//! as idle. Neither does time without budget, because a killed worker's rows must be claimed before
//! others. If a claim was written, some worker could claim, whatever faults there were.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::schedule::WORKERS;
use super::world::{Outage, World};

/// A claim shows that some worker could claim this long before it.
const BEFORE_A_CLAIM: Duration = Duration::milliseconds(100);

type Span = (OffsetDateTime, OffsetDateTime);

/// Spans in order, none of which touches another.
pub struct IdleTime(Vec<Span>);

impl IdleTime {
    pub async fn of(db: &mut PgConnection, world: &World) -> Self {
        let outages = world.moments.outages.lock().expect("not poisoned").clone();
        let mut spans = all_workers_out(&outages);
        spans.extend(calls_stopped(db).await);
        let claims: Vec<OffsetDateTime> = sqlx::query_scalar(
            "select at from lease_log where event = 'claimed' and not probe order by at",
        )
        .fetch_all(&mut *db)
        .await
        .unwrap();
        Self(without_claims(union(spans), &claims))
    }

    /// How long each stretch of the other time was, from one moment to another: the stretches in
    /// which some worker could claim.
    pub fn stretches(&self, from: OffsetDateTime, to: OffsetDateTime) -> Vec<Duration> {
        let mut stretches = Vec::new();
        let mut begin = from;
        for (idle_from, idle_to) in self.0.iter().filter(|span| span.1 > from && span.0 < to) {
            stretches.push(*idle_from - begin);
            begin = (*idle_to).min(to);
        }
        stretches.push(to - begin);
        stretches.retain(|stretch| stretch.is_positive());
        stretches
    }

    pub fn summary(&self) -> String {
        let all: Duration = self.0.iter().map(|(begin, end)| *end - *begin).sum();
        format!("{:.1} s in {} spans", all.as_seconds_f64(), self.0.len())
    }
}

/// While Postgres is unavailable, or each worker is out for its own reason.
fn all_workers_out(outages: &[Outage]) -> Vec<Span> {
    let of = |number: usize| {
        let fits = |outage: &&Outage| outage.service.is_none_or(|service| service == number);
        union(outages.iter().filter(fits).map(|outage| (outage.from, outage.to)).collect())
    };
    WORKERS.into_iter().map(of).reduce(|a, b| intersection(&a, &b)).unwrap_or_default()
}

/// While the breaker is open, or the provider has throttled the account.
async fn calls_stopped(db: &mut PgConnection) -> Vec<Span> {
    sqlx::query_as(
        "select at, until from (
             select at, is_open, lead(at, 1, clock_timestamp()) over (order by at) as until
             from breaker_log) as breaker
         where is_open and until > at
         union all select at, until from pause_log where until > at",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for (begin, end) in spans {
        match joined.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((begin, end)),
        }
    }
    joined
}

fn intersection(a: &[Span], b: &[Span]) -> Vec<Span> {
    let both = a.iter().flat_map(|x| b.iter().map(move |y| (x.0.max(y.0), x.1.min(y.1))));
    both.filter(|(begin, end)| begin < end).collect()
}

/// The parts before these claims are cut out.
fn without_claims(spans: Vec<Span>, claims: &[OffsetDateTime]) -> Vec<Span> {
    let mut idle = Vec::new();
    for (mut begin, end) in spans {
        let from = claims.partition_point(|at| *at < begin);
        for at in claims[from..].iter().take_while(|at| **at - BEFORE_A_CLAIM < end) {
            if *at - BEFORE_A_CLAIM > begin {
                idle.push((begin, *at - BEFORE_A_CLAIM));
            }
            begin = begin.max(*at);
        }
        if begin < end {
            idle.push((begin, end));
        }
    }
    idle
}

#[test]
fn idle_time_counts_only_without_any_able_worker() {
    let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds);
    let outage = |service, from, to| Outage { service, from: at(from), to: at(to) };
    let outages = [
        outage(Some(0), 0, 10),
        outage(Some(1), 5, 20),
        outage(Some(3), 8, 30),
        // Accepts only.
        outage(Some(2), 0, 30),
        outage(None, 40, 50),
    ];
    let spans = all_workers_out(&outages);
    assert_eq!(spans, [(at(8), at(10)), (at(40), at(50))]);
    let idle = IdleTime(without_claims(spans, &[at(45), at(60)]));
    let seconds = Duration::seconds;
    assert_eq!(
        idle.stretches(at(0), at(100)),
        [seconds(8), seconds(30), BEFORE_A_CLAIM, seconds(50)]
    );
    assert_eq!(idle.stretches(at(9), at(41)), [seconds(30)]);
    assert_eq!(idle.stretches(at(20), at(21)), [seconds(1)]);
    assert!(idle.stretches(at(41), at(42)).is_empty());
}
