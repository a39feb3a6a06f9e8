//! After a seed: what was promised against what is there. The numbers are those of the invariants in
//! ARCHITECTURE.md.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::log_queries;
use super::receiver::Receiver;
use super::senders::Senders;
use super::world::QUERIES_PER_SECOND;

/// As the worker grants it: less than what is configured, and a little at once.
const GRANTED: f64 = QUERIES_PER_SECOND * 0.955;
const BURST: f64 = 1.0 + QUERIES_PER_SECOND * 0.01;

/// Promises that one query each finds broken: it returns what breaks them.
const QUERIES: [(&str, &str); 16] = [
    (
        "3: two results for one attempt",
        "select verification_id || ' attempt ' || attempt from results
         group by verification_id, attempt having count(*) > 1",
    ),
    (
        "3: two decisions for one result",
        "select result_id::text from decisions group by result_id having count(*) > 1",
    ),
    (
        "3: results of another lease than the one that ended",
        "select verification_id || ' attempt ' || attempt from results r where not exists (
             select from sim_leases l where l.event = 'ended' and l.transaction = r.xmin
             and (l.verification_id, l.attempt) = (r.verification_id, r.attempt))
         -- An erasure rewrites the results.
         and verification_id not in (select id from verifications where state = 'erased')",
    ),
    (
        "3: attempts that were claimed twice",
        "select verification_id || ' attempt ' || attempt from sim_leases
         where event = 'claimed' group by verification_id, attempt having count(*) > 1",
    ),
    (
        "2: decisions that were not written with their result",
        "select d.id::text from decisions d join results r on r.id = d.result_id
         where d.verification_id <> r.verification_id or d.xmin <> r.xmin
             and d.verification_id not in (select id from verifications where state = 'erased')",
    ),
    (
        "2: results of status 1 or 7 without a decision",
        "select r.id::text from results r where r.verify_status in (1, 7)
         and not exists (select from decisions d where d.result_id = r.id)",
    ),
    (
        "2: callbacks without a call after them",
        "select v.biz_id from verifications v
         where not v.closed and v.state <> 'erased' and not exists (
             select from results r join sim_leases l on l.verification_id = r.verification_id
                 and l.attempt = r.attempt and l.event = 'claimed'
             where r.verification_id = v.id and r.verify_status in (1, 7) and l.callbacks = v.callbacks)",
    ),
    (
        "7: current decisions that are not the newest",
        "select v.biz_id from verifications v where v.decision_id is distinct from (
             select d.id from decisions d where d.verification_id = v.id
             order by position desc limit 1)",
    ),
    (
        "12: callbacks that are counted otherwise than they are kept",
        "select v.biz_id from verifications v
         where v.callbacks <> (select count(*) from callbacks c where c.verification_id = v.id)",
    ),
    (
        "42: decisions and other changes without exactly one event",
        log_queries::WITHOUT_ONE_EVENT,
    ),
    (
        "42: events without a decision or another change",
        "select e.number::text from events e where not exists (
             select from decisions d where d.id = e.decision_id) and not exists (
             select from event_notes n where n.id = e.id)",
    ),
    (
        "43: numbers of the log that are missing or double",
        log_queries::NUMBERS,
    ),
    (
        "43: events of a verification out of its order",
        log_queries::OUT_OF_ORDER,
    ),
    (
        "45: deliveries that are still open",
        "select number::text from webhook_pending
         union all select 'cursor ' || cursor from webhook_endpoints
         where cursor <> (select number from event_log)",
    ),
    (
        "18: what is left of an erased person",
        "select v.biz_id from verifications v where v.state = 'erased' and (
             v.reference is not null or v.lease_token is not null
             or exists (select from data_keys k where k.verification_id = v.id)
             or exists (select from material m where m.verification_id = v.id)
             or exists (select from callbacks c where c.verification_id = v.id
                 and (c.digest is not null or c.message_id not like 'erased-%'))
             or not exists (select from erasures e where e.verification_id = v.id))",
    ),
    (
        "settled, and still due or leased",
        "select biz_id from verifications where due_at is not null or lease_token is not null",
    ),
];

/// Each promise that is broken, and by what.
pub async fn reckon(
    look: &mut PgConnection,
    base: i64,
    senders: &Senders,
    receiver: &Receiver,
) -> Vec<(&'static str, Vec<String>)> {
    let mut broken = vec![
        ("1: accepted and lost", lost(look, senders).await),
        ("12: repeats that were answered otherwise", senders.broken()),
        ("18: acknowledged erasures that did not happen", not_erased(look, senders).await),
        ("11: budget broken", budget(look).await),
    ];
    for (promise, query) in QUERIES {
        let found: Vec<String> = if query.contains("$1") {
            sqlx::query_scalar(query).bind(base).fetch_all(&mut *look).await
        } else {
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *look).await
        }
        .unwrap_or_else(|error| panic!("{promise}: {error}"));
        broken.push((promise, found));
    }
    let events: i64 = sqlx::query_scalar("select number - $1 from event_log")
        .bind(base)
        .fetch_one(&mut *look)
        .await
        .expect("the log");
    broken.push(("45: a receiver", receiver.broken(events)));
    broken.retain(|(_, found)| !found.is_empty());
    broken
}

async fn not_erased(look: &mut PgConnection, senders: &Senders) -> Vec<String> {
    let all = senders.all_erased();
    sqlx::query_scalar(
        "select id from unnest($1::text[]) as id
         where id not in (select v.id::text from verifications v where v.state = 'erased')",
    )
    .bind(all)
    .fetch_all(look)
    .await
    .expect("verifications")
}

async fn lost(look: &mut PgConnection, senders: &Senders) -> Vec<String> {
    let erased: Vec<String> =
        sqlx::query_scalar("select id::text from verifications where state = 'erased'")
            .fetch_all(&mut *look)
            .await
            .expect("verifications");
    let kept: Vec<(String, String, String)> = sqlx::query_as(
        "select c.message_id, v.id::text, v.biz_id
         from callbacks c join verifications v on v.id = c.verification_id",
    )
    .fetch_all(look)
    .await
    .expect("callbacks");
    let kept: HashMap<String, (String, String)> =
        kept.into_iter().map(|(message, id, biz_id)| (message, (id, biz_id))).collect();
    let acknowledged = senders.acknowledged().into_iter();
    let lost = acknowledged.filter(|(message, id)| {
        // The callbacks of an erased one do not name the message any more.
        !erased.contains(id) && kept.get(&message.id) != Some(&(id.clone(), message.biz_id.clone()))
    });
    lost.map(|(message, _)| format!("{} about {}", message.id, message.biz_id)).collect()
}

/// Over any stretch of time no more claims than rate × time + burst.
async fn budget(look: &mut PgConnection) -> Vec<String> {
    let claims: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from at - min(at) over ())::float8
         from sim_leases where event = 'claimed' and not is_probe order by place",
    )
    .fetch_all(look)
    .await
    .expect("claims");
    // With f(k) = k − rate × t(k), claims i to j break it where f(j) − f(i) + 1 > burst.
    let (mut lowest, mut k, mut broken) = (f64::INFINITY, 0.0, Vec::new());
    for at in claims {
        let f = k - GRANTED * at;
        lowest = lowest.min(f);
        let above = f - lowest + 1.0 - BURST;
        if above > 0.01 {
            broken.push(format!("a claim at {at:.6} s is {above:.3} calls above the budget"));
        }
        k += 1.0;
    }
    broken
}
