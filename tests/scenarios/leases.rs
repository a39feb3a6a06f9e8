//! Every leased table keeps the same protocol: `store/lease.rs`, and `worker/leases.rs` on top.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use verdict::store::claims::Claimed;
use verdict::store::lease::{LeaseKey, Leased};
use verdict::store::leased_tables::TABLES;
use verdict::store::retention::RetentionClock;
use verdict::store::tasks::Task;
use verdict::store::webhook_deliveries::ClaimedEndpoint;
use verdict::worker::leases::{Lease, Leases};

use crate::harness::eventually;
use crate::harness::protocol::{LEASE, START, Steps};

/// With one row of each kind that may be claimed.
async fn steps() -> Steps {
    let steps = Steps::new().await;
    steps.accept_new(&steps.message("x")).await;
    let task = "insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
         select id, 'delete-images', id, verdict_now(), verdict_now(), verdict_now()
         from verifications";
    steps.look.execute(task).await.unwrap();
    let endpoint =
        "insert into webhook_endpoints (id, url, cursor, key_id, wrapped, secret, due_at,
             created_at, created_by, updated_at)
         values (gen_random_uuid(), 'https://example.com/', 0, 'test', '', '', verdict_now(),
             verdict_now(), 'test', verdict_now())";
    steps.look.execute(endpoint).await.unwrap();
    steps
}

/// Claims the row of this kind, if it is free.
async fn claim(steps: &Steps, table: &Leased) -> Option<LeaseKey> {
    let token = steps.ids.next(START);
    match table.kind {
        "verification" => steps.claim(1).await.unwrap().first().map(Claimed::lease),
        "task" => {
            let claim = steps.store.tasks().claim_tasks(1, LEASE, Duration::ZERO, token);
            claim.await.unwrap().tasks.first().map(Task::lease)
        }
        "retention" => {
            let claim = steps.store.retention().claim(RetentionClock::Persons, LEASE, token);
            claim.await.unwrap().map(|pass| pass.lease())
        }
        "endpoint" => {
            let claim = steps.store.webhook_deliveries().claim(1, LEASE, token);
            claim.await.unwrap().endpoints.first().map(ClaimedEndpoint::lease)
        }
        other => panic!("{other}: claim a row of the new table here"),
    }
}

fn table_name(table: &Leased) -> &'static str {
    match table.kind {
        "verification" => "verifications",
        "task" => "tasks",
        "retention" => "retention_passes",
        "endpoint" => "webhook_endpoints",
        other => panic!("{other}: name the new table here"),
    }
}

#[tokio::test]
async fn every_leased_table_keeps_the_lease_protocol() {
    let steps = steps().await;
    let leases = steps.store.leases();
    for table in TABLES {
        let renew = async |key: LeaseKey| leases.renew(table, &[key], LEASE).await.unwrap();
        let release = async |key: LeaseKey| leases.release(table, &[key]).await.unwrap();
        let first = claim(&steps, table).await.expect("free");
        assert_eq!(claim(&steps, table).await, None, "{table:?}: leased");

        // Renewed, it lasts longer than it would have.
        steps.advance(4).await;
        assert_eq!(renew(first).await, [first.id], "{table:?}");
        steps.advance(4).await;
        assert_eq!(claim(&steps, table).await, None, "{table:?}: still leased");

        // Another token changes nothing.
        let stranger = LeaseKey { token: steps.ids.next(START), ..first };
        assert!(renew(stranger).await.is_empty(), "{table:?}");
        assert_eq!(release(stranger).await, 0, "{table:?}");

        // One that ended is still good until another process claims the row.
        steps.advance(6).await;
        assert_eq!(renew(first).await, [first.id], "{table:?}");
        steps.advance(6).await;
        let second = claim(&steps, table).await.expect("ended");
        assert_ne!(first.token, second.token);
        assert!(renew(first).await.is_empty(), "{table:?}: fenced");
        assert_eq!(release(first).await, 0, "{table:?}: fenced");
        assert_eq!(claim(&steps, table).await, None, "{table:?}: the successor's");

        // Given back, it is free at once.
        assert_eq!(release(second).await, 1, "{table:?}");
        let third = claim(&steps, table).await.expect("released");
        assert_eq!(release(third).await, 1, "{table:?}");
        assert_eq!(release(third).await, 0, "{table:?}: released before");
    }
}

#[tokio::test]
async fn a_worker_renews_leases_of_every_table_and_notices_a_lost_one() {
    let steps = steps().await;
    // Far longer than a round trip takes on a busy machine.
    let length = Duration::from_secs(6);
    let leases = Leases::new(steps.store.clone(), length);
    let mut held = Vec::new();
    for table in TABLES {
        let claimed_at = Instant::now();
        let key = claim(&steps, table).await.expect("free");
        held.push((table, leases.hold(table, key, claimed_at)));
    }
    let renewing = tokio::spawn({
        let (leases, ids) = (leases.clone(), steps.ids.clone());
        async move { leases.keep_renewing(&ids).await }
    });
    for (table, lease) in &held {
        let name = table_name(table);
        let renewed = format!(
            "select exists (select from {name}
             where extract(epoch from lease_until - verdict_now()) = {})",
            length.as_secs()
        );
        eventually("a renewed lease", || async {
            let query = sqlx::query_scalar::<_, bool>(AssertSqlSafe(renewed.clone()));
            query.fetch_one(&steps.look).await.unwrap().then_some(())
        })
        .await;
        assert!(!lease.lost.is_cancelled(), "{table:?}");
        // A successor has it.
        let stolen = format!(
            "update {name} set lease_token = '{}' where lease_token is not null",
            Uuid::max()
        );
        steps.look.execute(AssertSqlSafe(stolen)).await.unwrap();
    }
    for (table, lease) in held {
        let never = std::future::pending::<()>();
        let lost = timeout(Duration::from_secs(30), lease.while_held(never)).await;
        assert_eq!(lost.expect("noticed"), None, "{table:?}");
    }
    renewing.abort();
}

/// Work that drops its lease as soon as it is cancelled, as on another thread.
struct DropsAtOnce(Mutex<Option<Lease>>);

impl Wake for DropsAtOnce {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[tokio::test]
async fn stopping_worker_gives_back_leases_that_its_work_drops_meanwhile() {
    let steps = steps().await;
    let leases = Leases::new(steps.store.clone(), LEASE);
    for table in TABLES {
        let key = claim(&steps, table).await.expect("free");
        let lease = leases.hold(table, key, Instant::now());
        let lost = lease.lost.clone();
        let waker = Waker::from(Arc::new(DropsAtOnce(Mutex::new(Some(lease)))));
        let mut lost = pin!(lost.cancelled());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        leases.release_all().await;
        assert!(lost.poll(&mut Context::from_waker(&waker)).is_ready());
        assert!(claim(&steps, table).await.is_some(), "{table:?}: free at once");
    }
}

#[tokio::test]
async fn work_under_an_earlier_lease_of_the_same_row_ends() {
    let steps = steps().await;
    let leases = Leases::new(steps.store.clone(), LEASE);
    // The rows of retention are known by their tokens only.
    for table in TABLES.into_iter().filter(|table| table.kind != "retention") {
        let key = claim(&steps, table).await.expect("free");
        let first = leases.hold(table, key, Instant::now());
        steps.advance(6).await;
        let key = claim(&steps, table).await.expect("ended");
        let second = leases.hold(table, key, Instant::now());
        assert!(first.lost.is_cancelled(), "{table:?}");
        assert!(!second.lost.is_cancelled(), "{table:?}");
        drop(first);
        second.give_back().await;

        // The claim took as long as the lease.
        let key = claim(&steps, table).await.expect("given back");
        let late = leases.hold(table, key, Instant::now().checked_sub(LEASE).unwrap());
        assert!(late.lost.is_cancelled(), "{table:?}");
        late.give_back().await;
    }
}
