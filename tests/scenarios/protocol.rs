//! Claim, lease, fence and budget, step by step on the store, with a fixed clock.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::harness::{Database, new_database};
use verdict::domain::answer::{AnswerError, ErrorClass, StoredResult};
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::callback::Callback;
use verdict::domain::ids::{Ids, LeaseToken, VerificationId};
use verdict::domain::source::SourceAccess;
use verdict::domain::verification::State;
use verdict::store::Store;
use verdict::store::account_breaker::Breaker;
use verdict::store::audit::AuditContext;
use verdict::store::callbacks::{Accepted, Incoming};
use verdict::store::claims::{self, Claim, ClaimLimits, Claimed, DuePosition};
use verdict::store::completions::{Completion, NewResult, NextStep, Written};
use verdict::store::lease::LeaseKey;

const NOW: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);
const WINDOW: Duration = Duration::from_mins(40);
const LEASE: Duration = Duration::from_secs(5);

struct Bench {
    database: Database,
    store: Store,
    ids: Ids,
}

impl Bench {
    async fn new() -> Self {
        let database = new_database().await;
        let store = database.store();
        store.accounts().open_account("a").await.unwrap();
        Self { database, store, ids: Ids::random() }
    }

    async fn accept(&self, biz_id: &str) -> Accepted {
        let message_id = self.ids.nonce();
        let body = serde_json::json!({ "biz_type": "t", "biz_id": biz_id }).to_string();
        let incoming = Incoming {
            source: SourceAccess::alone("app"),
            message_id,
            body: BodyDigest::of(&[7]),
            salt: self.ids.salt(),
            callback: Callback::parse(body.as_bytes(), policy::product::Product::default())
                .unwrap(),
            received_at: NOW,
            verification_id: self.ids.next(NOW),
            trace: None,
        };
        self.store.accept(vec![incoming], WINDOW).await.unwrap().remove(0)
    }

    async fn claim_at(&self, rate: f64, burst: f64, rows: i32) -> Claim {
        self.claim_since(None, rate, burst, rows).await
    }

    async fn claim_since(
        &self,
        due_since: Option<OffsetDateTime>,
        rate: f64,
        burst: f64,
        rows: i32,
    ) -> Claim {
        let limits = ClaimLimits {
            account: "a",
            max_rows: rows,
            lease: LEASE,
            queries_per_second: rate,
            burst,
            probe_every: Duration::from_secs(30),
            due_since,
            first: &[],
        };
        self.store.claim(&limits, self.ids.next(NOW)).await.unwrap()
    }

    async fn claim(&self) -> Vec<Claimed> {
        self.claim_at(1000.0, 100.0, 100).await.rows
    }

    async fn complete(&self, claimed: &Claimed, next: NextStep) -> Written {
        self.store.complete(&[completion(claimed, next)]).await.unwrap().remove(0)
    }

    async fn state(&self, id: VerificationId) -> State {
        self.store.verifications().find(id).await.unwrap().unwrap().state
    }
}

/// Nothing came of this claim but a next step.
fn completion(claimed: &Claimed, next: NextStep) -> Completion {
    Completion {
        verification_id: claimed.id,
        lease_token: claimed.lease_token,
        attempt: claimed.attempt,
        called: true,
        callbacks_seen: claimed.callbacks,
        next,
        result: None,
        decision: None,
        shadow: None,
        new_data_key: None,
        at: NOW,
    }
}

fn done() -> NextStep {
    NextStep { state: Some(State::Failed), closed: false, due_in: None, failures: 0, polls: 0 }
}

#[tokio::test]
async fn leased_row_is_not_claimed_until_the_lease_ends() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let first = bench.claim().await;
    assert_eq!(first.len(), 1);
    assert!(bench.claim().await.is_empty());
    bench.database.shift_clock(4).await;
    assert!(bench.claim().await.is_empty());
    bench.database.shift_clock(6).await;
    let second = bench.claim().await;
    assert_eq!((second.len(), second[0].attempt), (1, 2));
    assert_ne!(second[0].lease_token, first[0].lease_token);
}

#[tokio::test]
async fn worker_with_an_expired_lease_changes_nothing() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let overslept = bench.claim().await.remove(0);
    bench.database.shift_clock(6).await;
    let owner = bench.claim().await.remove(0);

    assert_eq!(bench.complete(&overslept, done()).await, Written::Fenced);
    let (leases, held) = (bench.store.leases(), [overslept.lease()]);
    assert!(leases.renew(&claims::LEASED, &held, LEASE).await.unwrap().is_empty());
    assert_eq!(leases.release(&claims::LEASED, &held).await.unwrap(), 0);
    assert_eq!(bench.state(owner.id).await, State::Pending);
    assert_eq!(bench.complete(&owner, done()).await, Written::Committed);
    assert_eq!(bench.complete(&owner, done()).await, Written::Fenced);
    assert_eq!(bench.state(owner.id).await, State::Failed);
}

#[tokio::test]
async fn stale_completion_in_its_successors_batch_is_fenced() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let overslept = bench.claim().await.remove(0);
    bench.database.shift_clock(6).await;
    let owner = bench.claim().await.remove(0);
    let answered = |claimed: &Claimed| Completion {
        result: Some(NewResult {
            bucket_objects: Vec::new(),
            stored: StoredResult {
                coarsened: false,
                id: bench.ids.next(NOW),
                attempt: claimed.attempt,
                fetched_at: NOW,
                request_id: None,
                http_status: 400,
                evidence: None,
                error: Some(AnswerError { class: ErrorClass::BadRequest, code: None }),
                simulated: false,
            },
            sealed_body: vec![1],
            material: None,
            links: None,
        }),
        ..completion(claimed, done())
    };
    let batch = [answered(&overslept), answered(&owner)];
    let written = bench.store.complete(&batch).await.unwrap();
    assert_eq!(written, [Written::Fenced, Written::Committed]);
    let results = bench.store.results().results_of(owner.id).await.unwrap();
    assert_eq!(results.iter().map(|result| result.attempt).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn renewed_lease_lasts_and_released_row_is_free() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let claimed = bench.claim().await.remove(0);
    let (leases, held) = (bench.store.leases(), [claimed.lease()]);
    bench.database.shift_clock(4).await;
    assert_eq!(leases.renew(&claims::LEASED, &held, LEASE).await.unwrap(), [claimed.id.0]);
    bench.database.shift_clock(8).await;
    assert!(bench.claim().await.is_empty());
    assert_eq!(leases.release(&claims::LEASED, &held).await.unwrap(), 1);
    assert_eq!(bench.claim().await.len(), 1);
}

#[tokio::test]
async fn a_callback_during_the_fetch_keeps_the_row_due() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let claimed = bench.claim().await.remove(0);
    bench.accept("x").await;
    assert_eq!(bench.complete(&claimed, done()).await, Written::Committed);
    assert_eq!(bench.state(claimed.id).await, State::Pending);
    let again = bench.claim().await.remove(0);
    assert_eq!(bench.complete(&again, done()).await, Written::Committed);
    assert!(bench.claim().await.is_empty());
}

#[tokio::test]
async fn many_claimers_never_hold_the_same_row() {
    let bench = Bench::new().await;
    for n in 0..200 {
        bench.accept(&format!("x{n}")).await;
    }
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (store, ids) = (bench.store.clone(), bench.ids.clone());
        tasks.push(tokio::spawn(async move {
            let mut mine: Vec<(VerificationId, LeaseToken)> = Vec::new();
            loop {
                let limits = ClaimLimits {
                    account: "a",
                    max_rows: 7,
                    lease: Duration::from_mins(10),
                    queries_per_second: 100_000.0,
                    burst: 10_000.0,
                    probe_every: Duration::from_secs(30),
                    due_since: None,
                    first: &[],
                };
                let claim = store.claim(&limits, ids.next(NOW)).await.unwrap();
                if claim.rows.is_empty() {
                    return mine;
                }
                mine.extend(claim.rows.iter().map(|row| (row.id, row.lease_token)));
            }
        }));
    }
    let mut all: Vec<Uuid> = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap().into_iter().map(|(id, _)| id.0));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 200);
}

#[tokio::test]
async fn budget_is_spent_for_exactly_the_claimed_rows() {
    let bench = Bench::new().await;
    for n in 0..10 {
        bench.accept(&format!("x{n}")).await;
    }
    // Two a second, two at once: two now, then nothing until half a second has passed.
    let claim = bench.claim_at(2.0, 2.0, 100).await;
    assert_eq!(claim.rows.len(), 2);
    let claim = bench.claim_at(2.0, 2.0, 100).await;
    assert!(claim.rows.is_empty());
    assert!(claim.wait.is_some_and(|wait| wait <= Duration::from_millis(500)));
    bench.database.shift_clock(3).await;
    // However long the pause was, never more than the burst.
    assert_eq!(bench.claim_at(2.0, 2.0, 100).await.rows.len(), 2);
    bench.database.shift_clock(4).await;
    assert_eq!(bench.claim_at(2.0, 2.0, 1).await.rows.len(), 1);
    assert_eq!(bench.claim_at(2.0, 2.0, 100).await.rows.len(), 1);
}

#[tokio::test]
async fn many_small_claims_spend_no_less_than_they_were_granted() {
    let bench = Bench::new().await;
    let pool = bench.database.pool().await;
    let ahead = async || -> f64 {
        let spent_to = "select extract(epoch from spent_to)::float8 from budgets
                        order by draws desc limit 1";
        sqlx::query_scalar(spent_to).fetch_one(&pool).await.unwrap()
    };
    // Spent ahead of the clock, so that nothing but the claims moves it.
    let far_ahead = "update budgets set spent_to = verdict_now() + interval '1 hour'";
    sqlx::query(far_ahead).execute(&pool).await.unwrap();
    // A call takes no whole number of microseconds: at some rates a little more, at some less.
    for (n, rate) in [95.5, 3.0, 700.0, 1910.0].into_iter().enumerate() {
        let before = ahead().await;
        for row in 0..40 {
            bench.accept(&format!("x{n}-{row}")).await;
            assert_eq!(bench.claim_at(rate, 1e9, 1).await.rows.len(), 1);
        }
        let (spent, granted) = (ahead().await - before, 40.0 / rate);
        // A number of seconds since 1970 is exact to a quarter of a microsecond.
        assert!(spent > granted - 1e-6, "{rate}: {spent} for {granted}");
        assert!(spent < granted + 40e-6 + 1e-6, "{rate}: {spent} for {granted}");
    }
}

#[tokio::test]
async fn an_idle_claim_costs_no_budget() {
    let bench = Bench::new().await;
    for _ in 0..20 {
        assert!(bench.claim_at(2.0, 2.0, 100).await.rows.is_empty());
    }
    bench.accept("x").await;
    assert_eq!(bench.claim_at(2.0, 2.0, 100).await.rows.len(), 1);
}

#[tokio::test]
async fn nothing_is_claimed_without_the_account_row() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let pool = bench.database.pool().await;
    sqlx::query("delete from accounts").execute(&pool).await.unwrap();
    let limits = ClaimLimits {
        account: "a",
        max_rows: 10,
        lease: LEASE,
        queries_per_second: 10.0,
        burst: 10.0,
        probe_every: LEASE,
        due_since: None,
        first: &[],
    };
    assert!(bench.store.claim(&limits, bench.ids.next(NOW)).await.is_err());
    bench.store.accounts().open_account("a").await.unwrap();
    assert_eq!(bench.claim().await[0].attempt, 1);
}

/// Verifications that nobody can be asked about: the provider's id of them is not known.
#[tokio::test]
async fn row_that_asks_nobody_spends_no_budget_and_is_no_probe() {
    let bench = Bench::new().await;
    let pool = bench.database.pool().await;
    for n in 0..4 {
        bench.accept(&format!("x{n}")).await;
    }
    let started = "update verifications set product = 'face-verify' where biz_id in ('x0', 'x1')";
    sqlx::query(started).execute(&pool).await.unwrap();
    bench.database.shift_clock(1).await;
    // Two calls a second, two at once: the two that call nobody leave room for two others.
    assert_eq!(bench.claim_at(2.0, 2.0, 2).await.rows.len(), 2);
    assert_eq!(bench.claim_at(2.0, 2.0, 100).await.rows.len(), 2);
    bench.accept("x5").await;
    assert!(bench.claim_at(2.0, 2.0, 100).await.rows.is_empty());

    let pause = Duration::from_secs(1);
    let broken = Breaker::Credentials;
    bench.store.accounts().trip("a", broken, false, pause, pause).await.unwrap();
    bench.database.shift_clock(10).await;
    sqlx::query("update verifications set product = 'face-verify'").execute(&pool).await.unwrap();
    let claim = bench.claim_at(2.0, 2.0, 100).await;
    assert!(claim.rows.is_empty() && claim.breaker_open, "{claim:?}");
    sqlx::query("update verifications set certify_id = 'c' where biz_id = 'x1'")
        .execute(&pool)
        .await
        .unwrap();
    let probe = bench.claim_at(2.0, 2.0, 100).await.rows;
    assert_eq!((probe.len(), &*probe[0].biz_id), (1, "x1"));
}

#[tokio::test]
async fn open_breaker_allows_one_probe_that_closes_it() {
    let bench = Bench::new().await;
    for n in 0..10 {
        bench.accept(&format!("x{n}")).await;
    }
    let trip = |probing| {
        bench.store.accounts().trip(
            "a",
            Breaker::Credentials,
            probing,
            Duration::from_secs(1),
            Duration::from_secs(30),
        )
    };
    trip(false).await.unwrap();
    // Answers to earlier calls do not delay the probe.
    trip(false).await.unwrap();
    trip(false).await.unwrap();
    let claim = bench.claim_at(1000.0, 100.0, 100).await;
    assert!(claim.rows.is_empty() && claim.breaker_open);
    bench.database.shift_clock(2).await;
    let claim = bench.claim_at(1000.0, 100.0, 100).await;
    assert_eq!((claim.rows.len(), claim.breaker_open), (1, true));
    assert!(bench.claim_at(1000.0, 100.0, 100).await.rows.is_empty(), "one probe at a time");
    // It failed: the next one waits twice as long.
    trip(true).await.unwrap();
    bench.database.shift_clock(3).await;
    assert!(bench.claim_at(1000.0, 100.0, 100).await.rows.is_empty());
    bench.database.shift_clock(5).await;
    assert_eq!(bench.claim_at(1000.0, 100.0, 100).await.rows.len(), 1);
    bench.store.accounts().account_is_well("a").await.unwrap();
    assert_eq!(bench.store.accounts().breaker("a").await.unwrap(), Breaker::Closed);
    assert_eq!(bench.claim_at(1000.0, 100.0, 100).await.rows.len(), 8);
}

#[tokio::test]
async fn probe_prefers_a_row_that_has_not_failed() {
    let bench = Bench::new().await;
    for n in 0..3 {
        bench.accept(&format!("bad{n}")).await;
    }
    for claimed in bench.claim().await {
        let again = NextStep { state: None, due_in: Some(Duration::ZERO), failures: 3, ..done() };
        assert_eq!(bench.complete(&claimed, again).await, Written::Committed);
    }
    bench.accept("good").await;
    let second = Duration::from_secs(1);
    bench.store.accounts().trip("a", Breaker::Outage, false, second, second).await.unwrap();
    bench.database.shift_clock(2).await;
    let probe = bench.claim().await;
    assert_eq!((probe.len(), probe[0].biz_id.as_str()), (1, "good"));
    // Where all have failed before, one of them has to do.
    bench.database.shift_clock(40).await;
    bench.complete(&probe[0], NextStep { failures: 1, ..done() }).await;
    let probe = bench.claim().await;
    assert_eq!((probe.len(), probe[0].biz_id.as_str()), (1, "bad0"));
}

#[tokio::test]
async fn throttled_account_pauses_every_worker() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    bench.store.accounts().pause("a", Duration::from_secs(2)).await.unwrap();
    let claim = bench.claim_at(1000.0, 100.0, 100).await;
    assert!(claim.rows.is_empty() && claim.wait.is_some());
    bench.database.shift_clock(3).await;
    assert_eq!(bench.claim().await.len(), 1);
}

#[tokio::test]
async fn connections_are_reused() {
    let database = new_database().await;
    let store = database.store();
    let mut backends: Vec<i32> = Vec::new();
    for _ in 0..50 {
        let backend = sqlx::query_scalar("select pg_backend_pid()").fetch_one(store.pool()).await;
        backends.push(backend.unwrap());
    }
    backends.sort_unstable();
    backends.dedup();
    assert!(backends.len() <= 8, "{} connections for 50 statements", backends.len());
}

#[tokio::test]
async fn one_id_with_two_bodies_in_a_batch_is_answered_right() {
    let bench = Bench::new().await;
    let message = |digest: u8| {
        let body = serde_json::json!({ "biz_type": "t", "biz_id": "x" }).to_string();
        Incoming {
            source: SourceAccess::alone("app"),
            message_id: "msg".to_owned(),
            body: BodyDigest::of(&[digest]),
            salt: bench.ids.salt(),
            callback: Callback::parse(body.as_bytes(), policy::product::Product::default())
                .unwrap(),
            received_at: NOW,
            verification_id: bench.ids.next(NOW),
            trace: None,
        }
    };
    let kinds = |outcomes: Vec<Accepted>| -> Vec<&str> {
        outcomes
            .iter()
            .map(|outcome| match outcome {
                Accepted::New(_) => "new",
                Accepted::Repeated(_) => "repeated",
                Accepted::Mismatch
                | Accepted::Erased
                | Accepted::OtherSource
                | Accepted::OtherProduct
                | Accepted::CertifyIdTaken(_) => "mismatch",
            })
            .collect()
    };
    let accept = |digests: &[u8]| {
        let batch = digests.iter().map(|digest| message(*digest)).collect();
        bench.store.accept(batch, WINDOW)
    };
    let first = accept(&[1, 2, 1, 2]).await.unwrap();
    assert_eq!(kinds(first), ["new", "mismatch", "repeated", "mismatch"]);
    let known = accept(&[2, 1, 1, 3]).await.unwrap();
    assert_eq!(kinds(known), ["mismatch", "repeated", "repeated", "mismatch"]);
}

#[tokio::test]
async fn accept_renew_and_complete_never_deadlock() {
    let bench = std::sync::Arc::new(Bench::new().await);
    for n in 0..64 {
        bench.accept(&format!("x{n}")).await;
    }
    let held: Vec<LeaseKey> = bench.claim().await.iter().map(Claimed::lease).collect();
    assert_eq!(held.len(), 64);
    let mut tasks = Vec::new();
    for task in 0..6_usize {
        let (bench, mut held) = (std::sync::Arc::clone(&bench), held.clone());
        held.rotate_left(task * 11);
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                if task % 2 == 0 {
                    let leases = bench.store.leases();
                    let renewed = leases.renew(&claims::LEASED, &held, LEASE).await.unwrap();
                    assert_eq!(renewed.len(), 64);
                } else {
                    let batch = (0..64)
                        .map(|n| {
                            let body = format!(
                                r#"{{"biz_type":"t","biz_id":"x{}"}}"#,
                                (n * 7 + round) % 64
                            );
                            Incoming {
                                source: SourceAccess::alone("app"),
                                message_id: bench.ids.nonce(),
                                body: BodyDigest::of(&[7]),
                                salt: bench.ids.salt(),
                                callback: Callback::parse(
                                    body.as_bytes(),
                                    policy::product::Product::default(),
                                )
                                .unwrap(),
                                received_at: NOW,
                                verification_id: bench.ids.next(NOW),
                                trace: None,
                            }
                        })
                        .collect();
                    bench.store.accept(batch, WINDOW).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let pool = bench.database.pool().await;
    let deadlocks: i64 = sqlx::query_scalar(
        "select deadlocks from pg_stat_database where datname = current_database()",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(deadlocks, 0);
}

#[tokio::test]
async fn claim_from_a_large_backlog_scans_no_whole_table() {
    let bench = Bench::new().await;
    let pool = bench.database.pool().await;
    sqlx::query(
        "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at, due_at, give_up_at)
         select gen_random_uuid(), 't', 'b' || n, 'pending', now(), now(),
             verdict_now() - interval '1 minute', now() from generate_series(1, 20000) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("analyze verifications").execute(&pool).await.unwrap();
    let scans = || async {
        sqlx::query("select pg_stat_force_next_flush()").execute(bench.store.pool()).await.ok();
        let counted: Option<i64> = sqlx::query_scalar(
            "select seq_scan from pg_stat_user_tables where relname = 'verifications'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        counted.unwrap_or(0)
    };
    let before = scans().await;
    for _ in 0..8 {
        assert_eq!(bench.claim_at(100_000.0, 100.0, 50).await.rows.len(), 50);
    }
    bench.store.close().await;
    // A session reports its counters when it ends.
    let after = crate::harness::eventually("the counters are reported", || async {
        let counted: i64 = sqlx::query_scalar(
            "select coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'verifications'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        (counted > 0).then_some(())
    });
    after.await;
    let seq_scans: i64 = sqlx::query_scalar(
        "select seq_scan from pg_stat_user_tables where relname = 'verifications'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(seq_scans, before, "a claim scanned the whole table");
}

#[tokio::test]
async fn a_cancelled_begin_loses_no_later_write() {
    let database = new_database().await;
    let store = database.store();
    let pool = store.pool();
    sqlx::query("create table written (n int)").execute(pool).await.unwrap();
    for n in 0..300 {
        // Cancelled at another point each time, some of them just after BEGIN was sent.
        let begin = tokio::time::timeout(Duration::from_micros(n * 7 % 900), pool.begin());
        drop(begin.await);
        sqlx::query("insert into written values (1)").execute(pool).await.unwrap();
    }
    store.close().await;
    let other = database.pool().await;
    let kept: i64 =
        sqlx::query_scalar("select count(*) from written").fetch_one(&other).await.unwrap();
    assert_eq!(kept, 300);
}

#[tokio::test]
async fn a_cancelled_statement_loses_no_later_write() {
    let bench = Bench::new().await;
    for n in 0..200 {
        let ping = bench.store.ping();
        drop(tokio::time::timeout(Duration::from_micros(n * 7 % 600), ping).await);
        assert!(matches!(bench.accept(&n.to_string()).await, Accepted::New(_)));
    }
    let other = bench.database.pool().await;
    let kept: i64 =
        sqlx::query_scalar("select count(*) from verifications").fetch_one(&other).await.unwrap();
    assert_eq!(kept, 200);
}

#[tokio::test]
async fn one_connection_serves_many_callers_and_then_the_pool() {
    let database = new_database().await;
    let settings = verdict::store::Settings {
        url: database.url.clone().into(),
        max_connections: 1,
        timeout: Duration::from_secs(10),
        schema: None,
    };
    let store = Store::new(&settings).unwrap();
    let pings = (0..100).map(|_| store.ping());
    assert!(futures_util::future::join_all(pings).await.iter().all(Result::is_ok));
    assert_eq!(store.connections(), (1, 1));
    // A transaction takes its connection from the pool.
    let transaction = store.pool().begin().await.unwrap();
    transaction.rollback().await.unwrap();
    store.ping().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), store.close()).await.expect("closed");
}

#[tokio::test]
async fn cancelled_transaction_rolls_back_and_loses_no_later_write() {
    const TRIES: u64 = 150;
    let bench = Bench::new().await;
    let Accepted::New(verification) = bench.accept("x").await else { panic!("it is new") };
    let actor = "cli:test".to_owned();
    let audit = AuditContext { actor, purpose: None, at: NOW };
    let refetch = || bench.store.verifications().refetch(verification.id, WINDOW, None, &audit);
    for n in 0..TRIES {
        // Several statements, cancelled at another point each time: before, between, after them.
        drop(tokio::time::timeout(Duration::from_micros(n * 37 % 5000), refetch()).await);
        assert!(matches!(bench.accept(&format!("after-{n}")).await, Accepted::New(_)));
    }
    refetch().await.unwrap();
    let pool = bench.database.pool().await;
    let (kept, made_due, recorded): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from verifications where biz_id like 'after-%'),
            (select callbacks - 1 from verifications where biz_id = 'x')::bigint,
            (select count(*) from audit where action = 'verification.refetch')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(kept, i64::try_from(TRIES).unwrap());
    assert_eq!(made_due, recorded, "each was made whole or not at all");
    assert!((1..=kept).contains(&made_due), "{made_due} were not cancelled");
}

#[tokio::test]
async fn store_recovers_after_its_connections_were_cut() {
    let bench = Bench::new().await;
    bench.accept("x").await;
    let other = bench.database.pool().await;
    for _ in 0..5 {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()",
        )
        .execute(&other)
        .await
        .unwrap();
        assert!(matches!(bench.accept("x").await, Accepted::New(_)));
    }
}

#[tokio::test]
async fn claim_takes_prioritised_rows_before_older_ones() {
    let bench = Bench::new().await;
    for biz_id in ["a", "b", "c"] {
        bench.accept(biz_id).await;
    }
    let pool = bench.database.pool().await;
    let [b, c]: [Uuid; 2] =
        sqlx::query_scalar("select id from verifications where biz_id <> 'a' order by biz_id")
            .fetch_all(&pool)
            .await
            .unwrap()
            .try_into()
            .unwrap();
    let claim_first = async |due_since, first: &[Uuid]| -> Vec<String> {
        let limits = ClaimLimits {
            account: "a",
            max_rows: 1,
            lease: LEASE,
            queries_per_second: 1000.0,
            burst: 100.0,
            probe_every: Duration::from_secs(30),
            due_since,
            first,
        };
        let claim = bench.store.claim(&limits, bench.ids.next(NOW)).await.unwrap();
        claim.rows.into_iter().map(|row| row.biz_id).collect()
    };
    assert_eq!(claim_first(None, &[c, b]).await, ["c"]);
    // Nothing has fallen due since the last claim.
    let now: OffsetDateTime =
        sqlx::query_scalar("select verdict_now()").fetch_one(&pool).await.unwrap();
    assert_eq!(claim_first(Some(now), &[c, b]).await, ["b"]);
    // Leased rows are not free, and what is older than `due_since` is left alone.
    assert!(claim_first(Some(now), &[c, b]).await.is_empty());
    assert_eq!(claim_first(None, &[c, b]).await, ["a"]);
}

#[tokio::test]
async fn expiring_lease_scan_is_stepwise_and_skips_renewed_rows() {
    let bench = Bench::new().await;
    for n in 0..7 {
        bench.accept(&format!("b{n}")).await;
    }
    let pool = bench.database.pool().await;
    sqlx::query(
        "update verifications set lease_token = gen_random_uuid(), lease_until = verdict_now()
             + case biz_id when 'b1' then interval '-1 second' when 'b2' then interval '1 minute'
                           when 'b6' then interval '2 seconds' end
         where biz_id in ('b1', 'b2', 'b6')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut from = DuePosition { due_at: OffsetDateTime::UNIX_EPOCH, id: Uuid::nil() };
    let (mut found, mut steps) = (Vec::new(), 0);
    loop {
        let step = bench.store.scan_expiring_leases(from, LEASE, 3).await.unwrap();
        found.extend(step.expiring);
        steps += 1;
        let Some(next) = step.next else { break };
        from = next;
    }
    assert_eq!(steps, 3);
    let by_id: Vec<Uuid> = sqlx::query_scalar(
        "select id from verifications where biz_id in ('b1', 'b6') order by biz_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(found.iter().map(|lease| lease.id).collect::<Vec<_>>(), by_id);
    assert_eq!(found[0].ends_in, Duration::ZERO);
    assert!(found[1].ends_in > Duration::ZERO && found[1].ends_in <= LEASE);
}

#[tokio::test]
async fn claim_starts_at_its_horizon_and_returns_the_next() {
    let bench = Bench::new().await;
    for biz_id in ["a", "b", "c"] {
        bench.accept(biz_id).await;
    }
    let pool = bench.database.pool().await;
    let due: Vec<OffsetDateTime> =
        sqlx::query_scalar("select due_at from verifications order by due_at")
            .fetch_all(&pool)
            .await
            .unwrap();
    // Cut short by its hands: seen to the last one taken, and whatever is older is left alone.
    let cut = bench.claim_since(Some(due[1]), 1000.0, 100.0, 1).await;
    assert_eq!((cut.rows[0].biz_id.as_str(), cut.claimed_to), ("b", Some(due[1])));
    // Everything taken: seen to the present.
    let rest = bench.claim_since(cut.claimed_to, 1000.0, 100.0, 100).await;
    assert_eq!((rest.rows[0].biz_id.as_str(), rest.rows.len()), ("c", 1));
    assert!(rest.claimed_to.unwrap() > due[2]);
    // Nothing since: seen to the present too.
    let none = bench.claim_since(rest.claimed_to, 1000.0, 100.0, 100).await;
    assert!(none.rows.is_empty() && none.claimed_to > rest.claimed_to);
    // A search of all rows finds those that were passed over.
    assert_eq!(bench.claim().await[0].biz_id, "a");
    // Without budget no row was examined.
    bench.accept("d").await;
    bench.store.accounts().pause("a", Duration::from_mins(1)).await.unwrap();
    assert_eq!(bench.claim_at(1000.0, 1.0, 100).await.claimed_to, None);
}
