//! Steps 4, 8, 9, 10 and 13 of the table in `protocol_steps`, which need a whole service: workers
//! lose answers, are killed and come too late; notifications are lost.

use crate::harness::protocol::{Answer, Steps, assert_done, waits_for_a_lock};
use crate::harness::{
    Callback, Options, PATIENCE, Proxy, Setting, TestApp, callback, eventually, new_database, now,
};
use cloudauth_sandbox::Scenario;
use verdict::app::Role;
use verdict::store::completions::Written;

/// One hand, and a lease that lasts until the test moves the clock.
fn options() -> Options {
    let more = "concurrency = 1\nlease_seconds = 600".to_owned();
    Options { fixed_clock: false, more, ..Options::default() }
}
/// Past the end of such a lease.
const PAST_THE_LEASE: i64 = 601;

fn id_of(message: &Callback) -> String {
    let id = message.headers.iter().find(|(name, _)| name == "webhook-id");
    id.expect("an id").1.clone()
}

/// All is done, with so many calls and so many results of them.
async fn assert_outcome(setting: &Setting, message: &str, calls: usize, results: i64) {
    setting.drained().await;
    let look = setting.database.pool().await;
    assert_done(&look, &[message]).await;
    let kept: i64 =
        sqlx::query_scalar("select count(*) from results").fetch_one(&look).await.unwrap();
    assert_eq!((setting.provider.calls().len(), kept), (calls, results));
}

#[tokio::test]
async fn notification_after_an_accept_is_lost() {
    let app = TestApp::start().await;
    let steps = Steps::beside(&app.database).await;
    // Accepted by a process that has died before it could tell anyone.
    let message = steps.message("pass-97");
    let accepted = steps.accept_new(&message).await;
    let verification = app.settled(&accepted.id.to_string()).await;
    assert_eq!(verification["decision"]["outcome"], "approve");
    assert_done(&steps.look, &[&message.id]).await;
}

#[tokio::test]
async fn the_providers_answer_is_lost() {
    let mut setting = Setting::new(options()).await;
    let wire = Proxy::start(setting.provider_address).await;
    setting.provider_address = wire.address();
    let process = setting.serve().await;
    let lost = wire.lose_answer_to(b"BizId", b"");
    let message = callback("pass-97", now());
    let id = id_of(&message);
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    lost.await.unwrap();
    assert_outcome(&setting, &id, 2, 1).await;
    process.kill().await;
}

#[tokio::test]
async fn a_worker_is_killed_during_its_call() {
    let setting = Setting::new(options()).await;
    let process = setting.serve().await;
    let message = callback("slow-60000-pass-97", now());
    let id = id_of(&message);
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    eventually("the provider is asked", || async {
        (!setting.provider.calls().is_empty()).then_some(())
    })
    .await;
    process.kill().await;

    setting.provider.set_scenario("slow-60000-pass-97", Scenario::default());
    setting.database.shift_clock(PAST_THE_LEASE).await;
    let successor = setting.serve().await;
    assert_outcome(&setting, &id, 2, 1).await;
    successor.kill().await;
}

#[tokio::test]
async fn worker_is_killed_between_answer_and_write() {
    let setting = Setting::new(options()).await;
    let process = setting.serve().await;
    let look = setting.database.pool().await;
    let mut blocker = look.begin().await.unwrap();
    sqlx::query("lock table results in share row exclusive mode")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let message = callback("pass-97", now());
    let id = id_of(&message);
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    waits_for_a_lock(&look).await;
    process.kill().await;
    // Postgres would still carry out the statement that the killed worker had sent.
    sqlx::query(
        "select pg_terminate_backend(pid, 30000) from pg_stat_activity
         where datname = current_database() and application_name = 'verdict'",
    )
    .execute(&look)
    .await
    .unwrap();
    blocker.rollback().await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("select count(*) from results").fetch_one(&look).await.unwrap();
    assert_eq!(kept, 0);

    setting.database.shift_clock(PAST_THE_LEASE).await;
    let successor = setting.serve().await;
    assert_outcome(&setting, &id, 2, 1).await;
    successor.kill().await;
}

#[tokio::test]
async fn answer_arrives_after_the_lease_ended() {
    let mut setting = Setting::new(options()).await;
    let provider = setting.provider_address;
    let wire = Proxy::start(provider).await;
    setting.provider_address = wire.address();
    let late = setting.serve().await;
    wire.stall(true);
    let message = callback("pass-97", now());
    let id = id_of(&message);
    assert_eq!(late.post(&setting.client, message).await, Some(202));
    let look = setting.database.pool().await;
    eventually("it is claimed", || async {
        let held: i64 = sqlx::query_scalar("select count(lease_token) from verifications")
            .fetch_one(&look)
            .await
            .unwrap();
        (held == 1).then_some(())
    })
    .await;

    setting.database.shift_clock(PAST_THE_LEASE).await;
    setting.provider_address = provider;
    let successor = setting.serve().await;
    assert_outcome(&setting, &id, 1, 1).await;
    // Now it comes (or has come to nothing, if this machine is very slow). The process must not stop
    // before: while it stops, it notices that its lease is lost, and drops the call.
    wire.stall(false);
    eventually("it is refused", || async {
        let metrics = setting.get(late.operations, "/metrics").await.text;
        metrics.contains("written=\"fenced\"").then_some(())
    })
    .await;
    late.signal("TERM").await;
    let (_, log) = late.ended().await;
    assert!(log.iter().any(|line| line.contains("\"written\":\"fenced\"")), "{log:?}");
    assert_outcome(&setting, &id, setting.provider.calls().len(), 1).await;
    successor.kill().await;
}

#[tokio::test]
async fn notification_after_a_completion_is_lost() {
    // A long poll gets the decision although the process that wrote it has died.
    let options = Options { role: Role::Api, ..Options::default() };
    let api = TestApp::start_with(options).await;
    let id = api.accepted("pass-97").await;
    let steps = Steps::beside(&api.database).await;
    // Told, that is, long before his time is over and he is answered in any case.
    let path = format!("/v1/verifications/{id}?wait=60");
    let waits = tokio::time::timeout(PATIENCE, api.get(&path));
    let (settled, _) = tokio::join!(waits, async {
        // Requests that came later have been answered: the first one is waiting by now.
        for _ in 0..5 {
            let reply = api.get(&format!("/v1/verifications/{id}")).await;
            assert_eq!(reply.json["state"], "pending");
        }
        steps.fetch(Answer::Passed).await
    });
    assert_eq!(settled.expect("told").json["state"], "decided");

    // A callback came during the fetch, so the row is due again, without a notification.
    let database = new_database().await;
    let steps = Steps::beside(&database).await;
    let messages = [steps.message("pass-97"), steps.message("pass-97")];
    let accepted = steps.accept_new(&messages[0]).await;
    let claimed = steps.claim_for_ten_minutes().await;
    steps.accept_new(&messages[1]).await;
    let options = Options { database: Some(database), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let written = steps.complete(&[steps.answered(&claimed, Answer::Rejected)]).await.unwrap();
    assert_eq!(written, [Written::Committed]);
    let verification = app.settled(&accepted.id.to_string()).await;
    assert_eq!(verification["decision"]["outcome"], "approve");
    assert_eq!(app.decisions(&accepted.id.to_string()).await.len(), 2);
    assert_done(&steps.look, &[&messages[0].id, &messages[1].id]).await;
}
