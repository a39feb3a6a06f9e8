//! Processes are killed, stopped and frozen: each accepted callback is decided, once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Row;

use crate::harness::protocol::Steps;
use crate::harness::{COMPLETION, Options, PATIENCE, Setting, callback, eventually, now};

/// Posts `count` callbacks from 16 clients; the ones that got a 2xx.
async fn post_many(client: &reqwest::Client, http: SocketAddr, count: usize) -> HashSet<String> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..16 {
        let (next, client) = (Arc::clone(&next), client.clone());
        clients.push(tokio::spawn(async move {
            let mut accepted = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                if n >= count {
                    return accepted;
                }
                let biz_id = format!("pass-97-u{n}");
                let message = callback(&biz_id, now());
                let mut request = client.post(format!("http://{http}/v1/callbacks/app"));
                for (name, value) in message.headers {
                    request = request.header(name, value);
                }
                match request.body(message.body).send().await {
                    Ok(answer) if answer.status() == 202 => accepted.push(biz_id),
                    Ok(_) | Err(_) => {}
                }
            }
        }));
    }
    let mut accepted = HashSet::new();
    for client in clients {
        accepted.extend(client.await.expect("a client"));
    }
    accepted
}

/// Every one of these is decided, with one decision; no attempt has two results.
pub async fn assert_decided_once(setting: &Setting, accepted: &HashSet<String>) {
    let pool = setting.database.pool().await;
    let rows = sqlx::query(
        "select v.biz_id, v.state,
            (select count(*) from decisions d where d.verification_id = v.id) as decisions,
            (select count(*) from results r where r.verification_id = v.id) as results,
            (select count(distinct attempt) from results r where r.verification_id = v.id) as attempts
         from verifications v where v.biz_type = 'test'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut known = HashSet::new();
    for row in rows {
        let biz_id: String = row.get("biz_id");
        let numbers: [i64; 3] = ["decisions", "results", "attempts"].map(|name| row.get(name));
        assert_eq!((row.get("state"), numbers), ("decided", [1, 1, 1]), "{biz_id}");
        known.insert(biz_id);
    }
    assert!(known.is_superset(accepted), "lost: {:?}", accepted.difference(&known));
}

fn options() -> Options {
    Options { fixed_clock: false, queries_per_second: 2000.0, ..Options::default() }
}

/// Waits until this many decisions are written.
async fn decisions_reach(setting: &Setting, count: i64) {
    let pool = setting.database.pool().await;
    eventually("decisions are falling", || async {
        let decided: i64 =
            sqlx::query_scalar("select count(*) from decisions").fetch_one(&pool).await.unwrap();
        (decided >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_during_500_callbacks_loses_and_repeats_nothing() {
    let setting = Setting::new(options()).await;
    let process = setting.serve().await;
    let posting = post_many(&setting.client, process.http, 500);
    // The knife falls once work is well under way.
    let (accepted, _) = tokio::join!(posting, async {
        decisions_reach(&setting, 50).await;
        process.kill().await
    });
    assert!((50..500).contains(&accepted.len()), "{} accepted", accepted.len());

    let process = setting.serve().await;
    setting.drained().await;
    assert_decided_once(&setting, &accepted).await;
    process.kill().await;
}

#[tokio::test]
async fn sigterm_under_load_drains_and_loses_nothing() {
    let setting = Setting::new(options()).await;
    let process = setting.serve().await;
    let posting = post_many(&setting.client, process.http, 500);
    let (accepted, (code, log)) = tokio::join!(posting, async {
        decisions_reach(&setting, 50).await;
        process.signal("TERM").await;
        tokio::time::timeout(std::time::Duration::from_secs(20), process.ended())
            .await
            .expect("it ends within the drain time")
    });
    assert_eq!(code, Some(0));
    assert!(log.last().is_some_and(|line| line.contains("stopped")), "{:?}", log.last());
    // It finished all work under way: no lease is left.
    let pool = setting.database.pool().await;
    let leased: i64 =
        sqlx::query_scalar("select count(*) from verifications where lease_token is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(leased, 0);

    let process = setting.serve().await;
    setting.drained().await;
    assert_decided_once(&setting, &accepted).await;
    process.kill().await;
}

#[tokio::test]
async fn thawed_worker_does_not_overwrite_its_successor() {
    let setting = Setting::new(options()).await;
    let frozen = setting.serve().await;
    let message = callback("slow-1500-pass-97", now());
    assert_eq!(frozen.post(&setting.client, message).await, Some(202));
    let pool = setting.database.pool().await;
    eventually("the call is under way", || async {
        (!setting.provider.calls().is_empty()).then_some(())
    })
    .await;
    frozen.signal("STOP").await;

    let successor = setting.serve().await;
    setting.drained().await;
    frozen.signal("CONT").await;
    // Thawed, it finds its lease gone: the call is dropped, or its write is fenced off.
    frozen.signal("TERM").await;
    let (_, log) = frozen.ended().await;
    assert!(
        log.iter()
            .any(|line| line.contains("lease lost") || line.contains("\"written\":\"fenced\"")),
        "{log:?}"
    );
    let counts: (i64, i64) =
        sqlx::query_as("select (select count(*) from results), (select count(*) from decisions)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(counts, (1, 1));
    successor.kill().await;
}

#[tokio::test]
async fn start_survives_lost_database_connections() {
    let mut setting = Setting::new(options()).await;
    let (database, proxy) = setting.database.behind_proxy().await;
    setting.database = database;
    // Each of these is lost as often as a statement is tried.
    let mut lost = Vec::new();
    for statement in ["_sqlx_migrations", "verdict_activations", "insert into accounts"] {
        for _ in 0..2 {
            lost.push(proxy.lose_message_with(statement.as_bytes()));
        }
    }
    let process = setting.serve().await;
    for lost in lost {
        lost.await.expect("the network has lost it");
    }
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    process.kill().await;
}

#[tokio::test]
async fn slow_completion_is_not_mistaken_for_a_lost_lease() {
    let more = "lease_seconds = 1".to_owned();
    let mut setting = Setting::new(Options { more, ..options() }).await;
    let (database, proxy) = setting.database.behind_proxy().await;
    setting.database = database;
    let process = setting.serve().await;
    // Several renewals find no lease, because the completion has already ended it.
    let held = proxy.hold_answer_to(COMPLETION, Duration::from_millis(1500));
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    tokio::time::timeout(PATIENCE, held).await.expect("in time").expect("it is written");
    setting.drained().await;
    process.signal("TERM").await;
    let (_, log) = process.ended().await;
    let says = |what: &str| log.iter().any(|line| line.contains(what));
    assert!(says("\"written\":\"committed\"") && !says("lease lost"), "{log:?}");
}

#[tokio::test]
async fn slow_network_does_not_delay_rows_of_a_killed_worker() {
    let mut setting = Setting::new(options().patient()).await;
    let (behind, proxy) = setting.database.behind_proxy().await;
    let direct = std::mem::replace(&mut setting.database, behind);
    let process = setting.serve().await;
    // Long enough for claims that take a second and more, and for the search for old work too. A new
    // connection and its first statement take seven round trips, within the limit of 5 s.
    proxy.delay(Duration::from_millis(250));
    let steps = Steps::beside(&direct).await;
    steps.accept_new(&steps.message("quit-1-then-pass-97")).await;
    let pool = direct.pool().await;
    let is_now = async |state: &str| {
        let found: i64 = sqlx::query_scalar("select count(*) from verifications where state = $1")
            .bind(state)
            .fetch_one(&pool)
            .await
            .unwrap();
        (found == 1).then_some(())
    };
    eventually("it was asked once", || is_now("unfinished")).await;
    proxy.delay(Duration::ZERO);

    // As a worker leaves it behind that claimed it a minute ago and died.
    sqlx::query(
        "update verifications set due_at = verdict_now() - interval '1 minute',
             lease_token = gen_random_uuid(), lease_until = verdict_now() + interval '1 second'",
    )
    .execute(&pool)
    .await
    .unwrap();
    // At most ten seconds are promised. If slow scans delayed the next one, it would take half a
    // minute.
    let decided = eventually("its successor has decided it", || is_now("decided"));
    tokio::time::timeout(Duration::from_secs(20), decided).await.expect("in time");
    process.kill().await;
}

/// Rows in the backlog: a minute's work, three times as long as the test waits.
const BACKLOG: i32 = 6000;

#[tokio::test]
async fn rows_of_a_killed_worker_are_claimed_before_an_older_backlog() {
    let options = Options { queries_per_second: 100.0, ..options() };
    let setting = Setting::new(options).await;
    let pool = setting.database.pool().await;
    let insert = async |name: &str, count: i32, age: &str, lease: Option<&str>| {
        sqlx::query(
            "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at,
                 give_up_at, due_at, lease_token, lease_until)
             select gen_random_uuid(), 'test', 'pass-97-' || $1 || n, 'pending', now(), now(),
                 now() + interval '1 hour', verdict_now() - $3::interval,
                 case when $4 is not null then gen_random_uuid() end, verdict_now() + $4::interval
             from generate_series(1, $2) n",
        )
        .bind(name)
        .bind(count)
        .bind(age)
        .bind(lease)
        .execute(&pool)
        .await
        .unwrap();
    };
    insert("waiting-", BACKLOG, "1 minute", None).await;
    insert("left-", 20, "10 seconds", Some("2 seconds")).await;
    let process = setting.serve().await;

    let claimed = async |name: &str| -> i64 {
        sqlx::query_scalar(
            "select count(*) from verifications where attempts > 0 and biz_id like 'pass-97-' || $1 || '%'",
        )
        .bind(name)
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    eventually("what the killed worker left is claimed", || async {
        (claimed("left-").await == 20).then_some(())
    })
    .await;
    let before = claimed("waiting-").await;
    assert!(before < i64::from(BACKLOG) / 3, "{before} of the backlog went before");
    process.kill().await;
}
