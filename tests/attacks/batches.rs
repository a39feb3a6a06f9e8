//! Batches of callbacks that look all new, while other processes write what they are about.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;
use uuid::Uuid;
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::callback::Callback;
use verdict::domain::source::SourceAccess;
use verdict::domain::trace::TraceParent;
use verdict::domain::verification::Verification;
use verdict::store::callbacks::{Accepted, Incoming};
use verdict::store::{Result, Store};

use crate::harness::eventually;
use crate::harness::protocol::{START, Steps, WINDOW, waits_for_a_lock};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A message of the source `app`.
fn message(steps: &Steps, id: &str, body: &Value) -> Incoming {
    let bytes = body.to_string();
    Incoming {
        source: SourceAccess::alone("app"),
        message_id: id.to_owned(),
        body: BodyDigest::of(bytes.as_bytes()),
        salt: steps.ids.salt(),
        callback: Callback::parse(bytes.as_bytes(), policy::product::Product::default()).unwrap(),
        received_at: START,
        verification_id: steps.ids.next(START),
        trace: TraceParent::parse(TRACE),
    }
}

fn about(steps: &Steps, biz_id: &str) -> Incoming {
    let body = json!({ "biz_type": "test", "biz_id": biz_id, "reference": "order-7" });
    message(steps, &format!("msg-{}", steps.ids.nonce()), &body)
}

async fn accept(steps: &Steps, batch: &[Incoming]) -> Vec<Accepted> {
    steps.store.accept(batch.to_vec(), WINDOW).await.unwrap()
}

fn accepting(store: &Store, batch: &[Incoming]) -> JoinHandle<Result<Vec<Accepted>>> {
    let (store, batch) = (store.clone(), batch.to_vec());
    tokio::spawn(async move { store.accept(batch, WINDOW).await })
}

fn new(outcome: &Accepted) -> &Verification {
    let Accepted::New(verification) = outcome else { panic!("not new: {outcome:?}") };
    verification
}

fn repeated(outcome: &Accepted) -> &Verification {
    let Accepted::Repeated(verification) = outcome else { panic!("not repeated: {outcome:?}") };
    verification
}

async fn counts(steps: &Steps) -> (i64, i64) {
    let counts = "select (select count(*) from callbacks), (select count(*) from verifications)";
    sqlx::query_as(counts).fetch_one(&steps.look).await.unwrap()
}

/// Statements of that name that were the last of their session.
async fn ran(steps: &Steps, name: &str) -> i64 {
    let pattern = format!("/* verdict hot::{name} */%");
    let count = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query like $1";
    sqlx::query_scalar(count).bind(pattern).fetch_one(&steps.look).await.unwrap()
}

/// Another process has written this verification, and not committed yet.
async fn being_written(
    steps: &Steps,
    biz_id: &str,
    more: (&str, &str),
) -> (sqlx::Transaction<'static, sqlx::Postgres>, Uuid) {
    let (columns, values) = more;
    let mut writer = steps.look.begin().await.unwrap();
    let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    let insert = format!(
        "insert into verifications (id, biz_type, biz_id, created_at, updated_at, give_up_at,
             source, {columns})
         values ('{id}', 'test', '{biz_id}', '{START}', '{START}', '{START}', 'app', {values})"
    );
    sqlx::query(AssertSqlSafe(insert)).execute(&mut *writer).await.unwrap();
    (writer, id)
}

#[tokio::test]
async fn new_batch_writes_and_answers_what_any_other_does() {
    let steps = Steps::new().await;
    let bodies = [
        json!({ "biz_type": "test", "biz_id": "plain" }),
        json!({ "biz_type": "test", "biz_id": "whole", "reference": "order-8",
            "occurred_at": "2026-11-23T09:29:00Z",
            "client": { "audit": "AUDIT_PASS", "code": "1", "platform": "android" } }),
        json!({ "biz_type": "face", "biz_id": "order", "product": "face-verify",
            "certify_id": "certify-1" }),
        json!({ "biz_type": "face", "certify_id": "certify-2", "product": "face-verify" }),
    ];
    let batch: Vec<Incoming> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| message(&steps, &format!("msg-{n}"), body))
        .collect();
    let rows = || async {
        let rows = "select jsonb_build_object(
                'v', (select jsonb_agg(to_jsonb(v) order by biz_id) from verifications v
                    where biz_id <> 'known'),
                'c', (select jsonb_agg(to_jsonb(c) order by message_id) from callbacks c
                    where message_id like 'msg-_'))";
        sqlx::query_scalar::<_, Value>(rows).fetch_one(&steps.look).await.unwrap()
    };
    let answers = accept(&steps, &batch).await;
    assert_eq!(
        (ran(&steps, "new_callbacks::insert").await, ran(&steps, "callbacks::accept").await),
        (1, 0)
    );
    let written = rows().await;
    let again = accept(&steps, &batch).await;
    for (answer, again) in answers.iter().zip(&again) {
        assert_eq!(new(answer), repeated(again));
    }
    assert_eq!(rows().await, written, "a repetition changes nothing");

    // One that is known sends the batch through the other statement.
    steps.begin().await;
    let known = about(&steps, "known");
    new(&accept(&steps, std::slice::from_ref(&known)).await[0]);
    let mixed: Vec<Incoming> = batch.iter().cloned().chain([known]).collect();
    let mut others = accept(&steps, &mixed).await;
    assert_ne!(ran(&steps, "callbacks::accept").await, 0);
    repeated(&others.pop().unwrap());
    assert_eq!(rows().await, written);
    assert_eq!(
        others.iter().map(new).collect::<Vec<_>>(),
        answers.iter().map(new).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn verification_that_another_process_is_writing_is_joined() {
    let steps = Steps::new().await;
    let (writer, id) = being_written(&steps, "b", ("state, due_at", "'pending', now()")).await;
    let batch = [about(&steps, "a"), about(&steps, "b"), about(&steps, "c")];
    let sent = accepting(&steps.store, &batch);
    waits_for_a_lock(&steps.look).await;
    assert_eq!(counts(&steps).await, (0, 0), "nothing is visible before all of it");
    writer.commit().await.unwrap();

    let answers = sent.await.unwrap().unwrap();
    assert_eq!(new(&answers[1]).id.0, id);
    for place in [0, 2] {
        assert_eq!(new(&answers[place]).id, batch[place].verification_id);
    }
    assert_eq!(counts(&steps).await, (3, 3));
}

#[tokio::test]
async fn new_batch_writes_in_the_order_of_its_keys() {
    let steps = Steps::new().await;
    let (writer, _) = being_written(&steps, "b", ("state, due_at", "'pending', now()")).await;
    // Any other order than `accept`'s would let the two deadlock.
    let sent = accepting(&steps.store, &[about(&steps, "b"), about(&steps, "a")]);
    waits_for_a_lock(&steps.look).await;

    let mut third = steps.look.begin().await.unwrap();
    sqlx::query("set local lock_timeout = '50ms'").execute(&mut *third).await.unwrap();
    let insert = "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at,
            give_up_at)
        values (gen_random_uuid(), 'test', 'a', 'pending', now(), now(), now())";
    let refused = sqlx::query(insert).execute(&mut *third).await.unwrap_err();
    let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("55P03"), "`a` is written before `b` is waited for");
    third.rollback().await.unwrap();
    writer.rollback().await.unwrap();

    for outcome in &sent.await.unwrap().unwrap() {
        new(outcome);
    }
    assert_eq!(counts(&steps).await, (2, 2));
}

#[tokio::test]
async fn verification_that_is_erased_meanwhile_stays_erased() {
    let steps = Steps::new().await;
    let (writer, _) = being_written(&steps, "b", ("state, closed", "'erased', true")).await;
    let batch = [about(&steps, "a"), about(&steps, "b")];
    let sent = accepting(&steps.store, &batch);
    waits_for_a_lock(&steps.look).await;
    writer.commit().await.unwrap();

    let answers = sent.await.unwrap().unwrap();
    new(&answers[0]);
    assert!(matches!(answers[1], Accepted::Erased), "{:?}", answers[1]);
    assert_eq!(counts(&steps).await, (1, 2), "nothing is kept of the erased one");
}

#[tokio::test]
async fn certify_id_that_another_process_is_writing_is_taken() {
    let steps = Steps::new().await;
    let started = ("state, product, certify_id", "'pending', 'face-verify', 'certify-1'");
    let (writer, _) = being_written(&steps, "order-1", started).await;
    let body = json!({ "biz_type": "test", "certify_id": "certify-1", "product": "face-verify" });
    let batch = [message(&steps, "msg-1", &body), about(&steps, "a")];
    let sent = accepting(&steps.store, &batch);
    waits_for_a_lock(&steps.look).await;
    writer.commit().await.unwrap();

    let answers = sent.await.unwrap().unwrap();
    let Accepted::CertifyIdTaken(Some((_, owner))) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(owner.as_str(), "order-1");
    new(&answers[1]);
    assert_eq!(counts(&steps).await, (1, 2));
}

#[tokio::test]
async fn batch_that_is_sent_twice_at_once_is_kept_once() {
    let steps = Steps::new().await;
    let batch = [about(&steps, "a"), about(&steps, "b")];
    // Both are in the middle of it: the first has written its verifications and waits for this
    // transaction, the second waits for the first.
    let mut holder = steps.look.begin().await.unwrap();
    let insert = "insert into callbacks (source, message_id, verification_id, received_at,
            answer_state, answer_attempts)
        values ('app', $1, gen_random_uuid(), now(), 'pending', 0)";
    sqlx::query(insert).bind(&batch[1].message_id).execute(&mut *holder).await.unwrap();
    let first = accepting(&steps.store, &batch);
    waits_for_a_lock(&steps.look).await;
    let second = accepting(&steps.store, &batch);
    eventually("both wait", || async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&steps.look).await.unwrap();
        (waiting == 2).then_some(())
    })
    .await;
    holder.rollback().await.unwrap();

    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(new(first), repeated(second));
    }
    assert_eq!(counts(&steps).await, (2, 2));
}

#[tokio::test]
async fn batch_whose_callbacks_share_a_key_is_kept_once() {
    let steps = Steps::new().await;
    let first = about(&steps, "a");
    let mut copy = first.clone();
    copy.verification_id = steps.ids.next(START);
    let mut other_bytes = copy.clone();
    other_bytes.body = BodyDigest::of(b"other");
    let mut elsewhere = about(&steps, "b");
    elsewhere.message_id.clone_from(&first.message_id);
    let once_more = about(&steps, "a");
    let batch = [first, copy, other_bytes, elsewhere, once_more];

    let answers = accept(&steps, &batch).await;
    assert_eq!(new(&answers[0]), repeated(&answers[1]));
    for place in [2, 3] {
        assert!(matches!(answers[place], Accepted::Mismatch), "{:?}", answers[place]);
    }
    assert_eq!(new(&answers[4]).id, new(&answers[0]).id);
    assert_eq!(counts(&steps).await, (2, 1));
}

#[tokio::test]
async fn known_message_about_a_new_verification_is_a_mismatch() {
    let steps = Steps::new().await;
    let known = about(&steps, "a");
    accept(&steps, std::slice::from_ref(&known)).await;
    let mut elsewhere = about(&steps, "b");
    elsewhere.message_id = known.message_id;
    let answers = accept(&steps, &[elsewhere, about(&steps, "c")]).await;
    assert!(matches!(answers[0], Accepted::Mismatch), "{:?}", answers[0]);
    new(&answers[1]);
    assert_eq!(counts(&steps).await, (2, 2), "nothing is left of the verification `b`");
}
