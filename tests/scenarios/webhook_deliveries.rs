//! Events arrive at webhook endpoints: signed, in order, whatever happens on the way.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Executor, PgPool};
use tokio_util::sync::CancellationToken;
use url::Url;
use verdict::domain::ids::{EndpointId, Ids, LeaseToken};
use verdict::store::lease::LeaseKey;
use verdict::store::webhook_deliveries::{DeliveryProgress, GonePending, PutPending};

use crate::harness::{
    Database, Delivery, Options, Proxy, Receiver, ReceiverReply, Reply, Setting, TestApp, callback,
    eventually, new_database, now,
};

const LOOPBACK: &str = "[webhooks]\nallow_private = [\"127.0.0.1\"]";

async fn start() -> TestApp {
    TestApp::start_with(Options { more: LOOPBACK.to_owned(), ..Options::default() }).await
}

/// An endpoint, and what can be done to it.
struct Endpoint<'a> {
    app: &'a TestApp,
    id: String,
    secret: String,
    pool: PgPool,
}

impl<'a> Endpoint<'a> {
    /// One that is sent what is decided, from the beginning of the log.
    async fn add(app: &'a TestApp, receiver: &Receiver) -> Self {
        Self::add_with(app, receiver, json!({})).await
    }

    async fn add_with(app: &'a TestApp, receiver: &Receiver, more: Value) -> Self {
        let mut body = json!({
            "url": receiver.url(), "types": ["verification.decided"], "start": "beginning",
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let reply = post(app, "/v1/webhook-endpoints", Some(body)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let text = |name: &str| reply.json[name].as_str().unwrap_or_default().to_owned();
        Self { app, id: text("id"), secret: text("secret"), pool: app.database.pool().await }
    }

    async fn ask(&self, what: &str, body: Option<Value>) -> Reply {
        let reply =
            post(self.app, &format!("/v1/webhook-endpoints/{}/{what}", self.id), body).await;
        assert!(reply.status < 300, "{what}: {reply:?}");
        reply
    }

    async fn view(&self) -> Value {
        let reply = self.app.get(&format!("/v1/webhook-endpoints/{}", self.id)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json
    }

    async fn comes_to(&self, status: &str) -> Value {
        eventually(&format!("the endpoint is {status}"), || async {
            Some(self.view().await).filter(|view| view["status"] == status)
        })
        .await
    }

    /// Waits until nobody holds it, so that everything is written down.
    async fn at_rest(&self) {
        eventually("nobody holds the endpoint", || async {
            let held: bool = sqlx::query_scalar(
                "select lease_token is not null or coalesce(due_at <= verdict_now(), false)
                     or status = 'active' and next_try_at is null
                         and cursor < (select number from event_log)
                 from webhook_endpoints where id = $1::uuid",
            )
            .bind(&self.id)
            .fetch_one(&self.pool)
            .await
            .unwrap();
            (!held).then_some(())
        })
        .await;
    }

    /// Runs a statement whose first parameter is the id of the endpoint.
    async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).bind(&self.id).execute(&self.pool).await.unwrap();
    }

    async fn attempts(&self) -> Vec<Value> {
        let path = format!("/v1/webhook-endpoints/{}/deliveries?limit=100", self.id);
        self.app.get(&path).await.json["items"].as_array().unwrap().clone()
    }
}

async fn post(app: &TestApp, path: &str, body: Option<Value>) -> Reply {
    let mut request =
        app.client.post(format!("http://{}{path}", app.http)).bearer_auth(&app.api_key);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    Reply::read(request.send().await.unwrap()).await
}

/// Decides so many verifications, one after another.
async fn decide(app: &TestApp, name: &str, many: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..many {
        let biz_id = format!("pass-97-{name}{n}");
        ids.push((app.accepted(&biz_id).await, biz_id));
    }
    for (id, _) in &ids {
        app.settled(id).await;
    }
    ids.into_iter().map(|(_, biz_id)| biz_id).collect()
}

/// Decides a verification twice: its second event follows the first.
async fn decide_twice(app: &TestApp, name: &str) -> String {
    let biz_id = format!("status-7-x1-then-pass-98-{name}");
    app.verified(&biz_id).await;
    app.verified(&biz_id).await;
    biz_id
}

/// Claims what is due, and returns how many endpoints that were.
async fn claimed(app: &TestApp) -> usize {
    let token: LeaseToken = Ids::random().next(app.clock.now());
    let claim = app.store.webhook_deliveries().claim(8, Duration::from_secs(5), token);
    claim.await.unwrap().endpoints.len()
}

/// The counter of dead letters.
async fn dead_letters(app: &TestApp) -> u64 {
    let metrics = app.client.get(format!("http://{}/metrics", app.operations)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix("verdict_dead_letters_total "));
    value.map_or(0, |value| value.parse().unwrap())
}

fn biz_ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(Delivery::biz_id).collect()
}

/// First deliveries of each verification are in the order of its history, without gaps.
fn assert_in_order(deliveries: &[Delivery]) {
    let mut last: HashMap<&str, i64> = HashMap::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for delivery in deliveries {
        if !seen.insert(delivery.id()) {
            continue;
        }
        let data = &delivery.json["data"];
        let id = data["verification_id"].as_str().unwrap();
        let sequence = data["verification_sequence"].as_i64().unwrap();
        let before = last.insert(id, sequence).unwrap_or(0);
        assert_eq!(sequence, before + 1, "{delivery:?}");
    }
}

#[tokio::test]
async fn delivery_is_signed_and_is_the_event_byte_for_byte() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 3).await;
    decide_twice(&app, "a").await;
    let deliveries = receiver.received(5).await;
    assert_in_order(&deliveries);
    for delivery in &deliveries {
        assert!(delivery.is_signed_with(&endpoint.secret), "{delivery:?}");
        let event = app.store.events().find(delivery.id().parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(delivery.body, event.body());
        assert_eq!(delivery.header("verdict-epoch"), event.epoch.to_string());
        assert_eq!(delivery.header("content-type"), "application/json");
        assert!(delivery.header("user-agent").starts_with("Verdict/"));
        let at = app.clock.now().unix_timestamp().to_string();
        assert_eq!(delivery.header("webhook-timestamp"), at);
        let through: i64 = delivery.header("verdict-acknowledged-through").parse().unwrap();
        assert!(through < delivery.sequence(), "{delivery:?}");
    }
    endpoint.at_rest().await;
    let attempts = endpoint.attempts().await;
    assert_eq!(attempts.len(), 5);
    assert!(attempts.iter().all(|attempt| attempt["status"] == 204), "{attempts:?}");

    // Everything is acknowledged, and the next delivery says so.
    decide(&app, "b", 1).await;
    let last = receiver.received(6).await.pop().unwrap();
    let through: i64 = last.header("verdict-acknowledged-through").parse().unwrap();
    assert_eq!(through, last.sequence() - 1);
}

#[tokio::test]
async fn failing_event_holds_back_only_its_own_verification() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let poison = "status-7-x1-then-pass-98-poison";
    receiver.answer(move |delivery| {
        ReceiverReply::Status(if delivery.biz_id() == poison { 500 } else { 204 })
    });
    let endpoint = Endpoint::add(&app, &receiver).await;
    assert_eq!(decide_twice(&app, "poison").await, poison);
    let others = decide(&app, "a", 4).await;
    let mut arrived =
        biz_ids(&receiver.received(4).await).into_iter().map(String::from).collect::<Vec<_>>();
    arrived.sort_unstable();
    assert_eq!(arrived, others);
    endpoint.at_rest().await;
    let failed: Vec<Delivery> =
        receiver.all().into_iter().filter(|delivery| delivery.answered == 500).collect();
    assert!(failed.iter().all(|delivery| delivery.id() == failed[0].id()), "the second waits");
    let view = endpoint.view().await;
    assert_eq!(view["status"], "active");

    receiver.answer(|_| ReceiverReply::Status(200));
    app.database.shift_clock(3600).await;
    let all = receiver.received(6).await;
    assert_in_order(&all);
    let again = &all[4];
    assert_eq!((again.id(), &again.body), (failed[0].id(), &failed[0].body), "the same event");
}

#[tokio::test]
async fn strict_order_holds_back_everything() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::Status(500));
    let endpoint = Endpoint::add_with(&app, &receiver, json!({ "ordering": "strict" })).await;
    let ids = decide(&app, "a", 6).await;
    receiver.asked(1).await;
    endpoint.at_rest().await;
    let all = receiver.all();
    assert!(all.iter().all(|delivery| delivery.id() == all[0].id()), "{:?}", biz_ids(&all));

    receiver.answer(|_| ReceiverReply::Status(200));
    app.database.shift_clock(3600).await;
    let all = receiver.received(ids.len()).await;
    let sequences: Vec<i64> = all.iter().map(Delivery::sequence).collect();
    assert!(sequences.is_sorted() && sequences.len() == 6, "{sequences:?}");
}

#[tokio::test]
async fn receiver_that_was_down_gets_everything_in_order() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::Status(503));
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 40).await;
    for n in 0..5 {
        decide_twice(&app, &n.to_string()).await;
    }
    let failing = endpoint.comes_to("failing").await;
    assert!(failing["failing_since"].is_string(), "{failing}");
    receiver.answer(|_| ReceiverReply::Status(200));
    endpoint.ask("resume", None).await;
    let all = receiver.received(50).await;
    assert_in_order(&all);
    let mut ids: Vec<&str> = all.iter().map(Delivery::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert_eq!(endpoint.comes_to("active").await["failing_since"], Value::Null);
}

#[tokio::test]
async fn failing_endpoint_recovers_by_itself() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::With(307, "location", "http://127.0.0.1:1/"));
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 5).await;
    endpoint.comes_to("failing").await;
    let attempts = endpoint.attempts().await;
    assert!(attempts.iter().all(|attempt| attempt["error"] == "redirect"), "{attempts:?}");
    receiver.answer(|_| ReceiverReply::Status(200));
    // At most a few seconds until the next try.
    assert_in_order(&receiver.received(5).await);
}

#[tokio::test]
async fn gone_disables_at_once_and_the_others_are_told() {
    let app = start().await;
    let (receiver, watcher) = (Receiver::start().await, Receiver::start().await);
    let types = json!({ "types": ["endpoint.disabled", "endpoint.failing"] });
    Endpoint::add_with(&app, &watcher, types).await;
    receiver.answer(|_| ReceiverReply::Status(410));
    let endpoint = Endpoint::add_with(&app, &receiver, json!({ "types": null })).await;
    let ids = decide(&app, "a", 1).await;
    let disabled = endpoint.comes_to("disabled").await;
    assert_eq!(disabled["disabled_because"], "gone");
    let told = watcher.received(1).await.remove(0);
    assert_eq!(told.json["type"], "endpoint.disabled");
    assert_eq!(told.json["data"]["endpoint_id"], endpoint.id.as_str());
    assert_eq!(told.json["data"]["last_status"], 410);

    // It continues from the same event, and gets no event about itself.
    receiver.answer(|_| ReceiverReply::Status(200));
    endpoint.ask("resume", None).await;
    eventually("the event arrives", || async {
        biz_ids(&receiver.acknowledged()).contains(&ids[0].as_str()).then_some(())
    })
    .await;
    endpoint.at_rest().await;
    assert!(receiver.acknowledged().iter().all(|one| one.json["type"] != "endpoint.disabled"));
}

#[tokio::test]
async fn receiver_that_asks_for_time_is_left_alone() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::With(429, "retry-after", "600"));
    let endpoint = Endpoint::add_with(&app, &receiver, json!({ "max_in_flight": 1 })).await;
    decide(&app, "a", 3).await;
    receiver.asked(1).await;
    endpoint.at_rest().await;
    assert_eq!(receiver.all().len(), 1, "nothing else is sent");
    receiver.answer(|_| ReceiverReply::Status(200));
    app.database.shift_clock(500).await;
    assert_eq!(claimed(&app).await, 0, "not due yet");
    assert_eq!(receiver.all().len(), 1);
    app.database.shift_clock(601).await;
    receiver.received(3).await;
    assert_eq!(receiver.all().len(), 4);
}

#[tokio::test]
async fn dead_letter_of_a_recovering_endpoint_is_counted() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|delivery| match delivery.biz_id() {
        "pass-97-poison0" => ReceiverReply::With(503, "retry-after", "3600"),
        _ => ReceiverReply::Status(200),
    });
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "poison", 1).await;
    receiver.asked(1).await;
    endpoint.at_rest().await;
    let before = dead_letters(&app).await;
    // As after nine attempts, while the whole endpoint fails.
    endpoint
        .sql(
            "with pending as (update webhook_pending set attempts = 9)
             update webhook_endpoints set status = 'failing', failures = 3, next_try_at = null,
                 failing_since = verdict_now() where id = $1::uuid",
        )
        .await;
    decide(&app, "well", 1).await;
    receiver.received(1).await;
    eventually("the dead letter is counted", || async {
        (dead_letters(&app).await > before).then_some(())
    })
    .await;
    let dead = "select count(*) from webhook_pending where state = 'dead'";
    let dead: i64 = sqlx::query_scalar(dead).fetch_one(&endpoint.pool).await.unwrap();
    assert_eq!((dead, receiver.all().len()), (1, 2), "it was not sent again");
}

#[tokio::test]
async fn endpoint_whose_key_does_not_open_keeps_its_lease() {
    let more = format!("lease_seconds = 60\n{LOOPBACK}");
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let (closed, well) = (Receiver::start().await, Receiver::start().await);
    let endpoint = Endpoint::add(&app, &closed).await;
    let other = Endpoint::add(&app, &well).await;
    endpoint.at_rest().await;
    endpoint.sql("update webhook_endpoints set wrapped = '' where id = $1::uuid").await;
    let token = async || {
        let token = "select lease_token from webhook_endpoints where id = $1::uuid";
        let token = sqlx::query_scalar::<_, Option<uuid::Uuid>>(token).bind(&endpoint.id);
        token.fetch_one(&endpoint.pool).await.unwrap()
    };
    decide(&app, "a", 1).await;
    let first = eventually("it is claimed", token).await;
    well.received(1).await;
    other.at_rest().await;
    // The next claim is for the other endpoint only.
    decide(&app, "b", 1).await;
    well.received(2).await;
    assert_eq!(token().await, Some(first), "tried once");
    assert!(closed.all().is_empty());
}

#[tokio::test]
async fn endpoint_that_hangs_leaves_the_others_alone() {
    let app = start().await;
    let (hangs, well) = (Receiver::start().await, Receiver::start().await);
    hangs.answer(|_| ReceiverReply::Never);
    Endpoint::add(&app, &hangs).await;
    Endpoint::add(&app, &well).await;
    decide(&app, "a", 30).await;
    well.received(30).await;
    // A worker that was late to renew its lease sends the same events again.
    let unanswered = hangs.all();
    let unanswered: HashSet<&str> = unanswered.iter().map(Delivery::id).collect();
    assert!(!unanswered.is_empty() && unanswered.len() <= 10, "as many as may be in flight");
}

#[tokio::test]
async fn paused_endpoint_goes_on_where_it_was() {
    let app = start().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let endpoint = Endpoint::add(&app, &receiver).await;
    Endpoint::add(&app, &other).await;
    decide(&app, "a", 2).await;
    receiver.received(2).await;
    endpoint.at_rest().await;
    endpoint.ask("pause", None).await;
    decide(&app, "b", 3).await;
    other.received(5).await;
    assert_eq!(receiver.all().len(), 2);

    // A test arrives all the same, and is not of the log.
    endpoint.ask("test", None).await;
    let test = receiver.received(3).await.pop().unwrap();
    assert_eq!(
        (&test.json["type"], &test.json["sequence"]),
        (&json!("endpoint.test"), &Value::Null)
    );
    assert!(test.is_signed_with(&endpoint.secret));
    endpoint.ask("resume", None).await;
    let all = receiver.received(6).await;
    assert_in_order(&all[3..]);
    endpoint.at_rest().await;
    assert_eq!(receiver.all().len(), 6, "each once");
}

#[tokio::test]
async fn redelivery_is_the_same_event_once_more() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 3).await;
    let first = receiver.received(3).await;
    endpoint.at_rest().await;
    let one = endpoint.ask("redeliveries", Some(json!({ "event_id": first[1].id() }))).await;
    assert_eq!((one.status, &one.json["count"]), (202, &json!(1)));
    let again = receiver.received(4).await.pop().unwrap();
    assert_eq!((again.id(), &again.body), (first[1].id(), &first[1].body));
    endpoint.at_rest().await;
    let range = json!({ "from": first[0].sequence(), "to": first[2].sequence() });
    endpoint.ask("redeliveries", Some(range)).await;
    receiver.received(7).await;
    endpoint.at_rest().await;
    assert_eq!(receiver.all().len(), 7);
}

#[tokio::test]
async fn many_redeliveries_wait_as_long_as_the_endpoint() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| ReceiverReply::With(503, "retry-after", "3600"));
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 1).await;
    receiver.asked(1).await;
    endpoint.at_rest().await;
    // More than are read at once. No events have these numbers.
    endpoint
        .sql(
            "with due as (update webhook_endpoints set due_at = verdict_now() where id = $1::uuid)
             insert into webhook_pending (endpoint_id, redelivery, number, state, first_at, next_at)
             select $1::uuid, true, n, 'retry', verdict_now(), verdict_now()
             from generate_series(1001, 2200) n",
        )
        .await;
    let one = async |question: &'static str| {
        sqlx::query_scalar::<_, bool>(question)
            .fetch_one(&endpoint.pool)
            .await
            .unwrap()
            .then_some(())
    };
    eventually("it is due when its receiver allows it", || {
        one("select due_at > verdict_now() + interval '30 min' and lease_token is null
             from webhook_endpoints")
    })
    .await;
    assert_eq!(receiver.all().len(), 1, "nothing is sent before");
    receiver.answer(|_| ReceiverReply::Status(200));
    app.database.shift_clock(3700).await;
    eventually("none is left", || one("select not exists (select from webhook_pending)")).await;
    assert_eq!(receiver.all().len(), 2);
}

#[tokio::test]
async fn redeliveries_that_can_be_sent_first_are_read_first() {
    let options =
        Options { role: verdict::app::Role::Api, more: LOOPBACK.to_owned(), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let endpoint = Endpoint::add(&app, &Receiver::start().await).await;
    let id: EndpointId = endpoint.id.parse().unwrap();
    // As many as are read at once wait for hours, two are due, one of these behind one that waits.
    endpoint
        .sql(
            "insert into webhook_pending (endpoint_id, redelivery, number, verification_id, state,
                 first_at, next_at)
             select $1::uuid, true, n, v, 'retry', verdict_now(), verdict_now() + hours * interval '1 h'
             from (select n, gen_random_uuid(), 5 from generate_series(1, 1000) n
                 union all
                 values (1001, '00000000-0000-0000-0000-000000000001'::uuid, 6),
                     (2001, '00000000-0000-0000-0000-000000000001', 0), (2002, null, 0))
                 as waiting (n, v, hours)",
        )
        .await;
    endpoint.ask("test", None).await;
    let numbers = async || {
        let pending = app.store.webhook_deliveries().pending(id).await.unwrap();
        let numbers: HashSet<i64> = pending.iter().map(|row| row.number).collect();
        assert_eq!(numbers.len(), 1000);
        [0, 1, 999, 1000, 1001, 2001, 2002].map(|number| numbers.contains(&number))
    };
    assert_eq!(numbers().await, [true, true, false, false, false, false, true]);
    // In strict order all others wait for the first one.
    endpoint.sql("update webhook_endpoints set ordering = 'strict' where id = $1::uuid").await;
    assert_eq!(numbers().await, [true, true, true, false, false, false, false]);
}

#[tokio::test]
async fn rotation_sends_both_signatures() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let endpoint = Endpoint::add(&app, &receiver).await;
    let rotated = endpoint.ask("rotate-secret", Some(json!({ "keep_seconds": 3600 }))).await;
    let new = rotated.json["secret"].as_str().unwrap();
    decide(&app, "a", 1).await;
    let delivery = receiver.received(1).await.remove(0);
    assert!(delivery.is_signed_with(new) && delivery.is_signed_with(&endpoint.secret));
    endpoint.at_rest().await;
    app.database.shift_clock(3700).await;
    decide(&app, "b", 1).await;
    let delivery = receiver.received(2).await.remove(1);
    assert!(delivery.is_signed_with(new) && !delivery.is_signed_with(&endpoint.secret));
}

#[tokio::test]
async fn two_warnings_come_before_an_endpoint_is_disabled() {
    let app = start().await;
    let (receiver, watcher) = (Receiver::start().await, Receiver::start().await);
    let types = json!({ "types": ["endpoint.disabled", "endpoint.failing"] });
    Endpoint::add_with(&app, &watcher, types).await;
    receiver.answer(|_| ReceiverReply::Status(500));
    let endpoint = Endpoint::add(&app, &receiver).await;
    decide(&app, "a", 4).await;
    endpoint.comes_to("failing").await;
    // Leases end when the clock moves, so an event may come twice.
    let told = || {
        let mut told: Vec<(String, Value)> = Vec::new();
        for one in watcher.acknowledged() {
            if !told.iter().any(|(id, _)| id == one.id()) {
                told.push((one.id().to_owned(), one.json["type"].clone()));
            }
        }
        told.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>()
    };
    for (many, hours) in [(1, 1), (2, 61), (3, 121)] {
        app.database.shift_clock(hours * 3600).await;
        eventually("the others are told", || async { (told().len() >= many).then_some(()) }).await;
    }
    assert_eq!(told(), ["endpoint.failing", "endpoint.failing", "endpoint.disabled"]);
    assert_eq!(endpoint.comes_to("disabled").await["disabled_because"], "failing");
    // Nothing is lost by it.
    receiver.answer(|_| ReceiverReply::Status(200));
    endpoint.ask("resume", None).await;
    receiver.received(4).await;
}

#[tokio::test]
async fn killed_worker_loses_nothing() {
    let options = Options { more: LOOPBACK.to_owned(), fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options).await;
    let receiver = Receiver::start().await;
    let first = setting.serve().await;
    let body = json!({ "url": receiver.url(), "types": ["verification.decided"] });
    let added = setting
        .client
        .post(format!("http://{}/v1/webhook-endpoints", first.http))
        .bearer_auth(&setting.api_key)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(added.status(), 201);
    // Of every five that come the last is never answered, so it is killed with requests under way.
    let count = std::sync::atomic::AtomicUsize::new(1);
    receiver.answer(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 5 {
        0 => ReceiverReply::Never,
        _ => ReceiverReply::Status(200),
    });
    for n in 0..20 {
        let message = callback(&format!("pass-97-{n}"), now());
        assert_eq!(first.post(&setting.client, message).await, Some(202));
    }
    receiver.asked(10).await;
    first.kill().await;
    receiver.answer(|_| ReceiverReply::Status(200));
    let _second = setting.serve().await;
    eventually("every event arrives", || async {
        let acknowledged = receiver.acknowledged();
        let mut arrived: Vec<&str> = biz_ids(&acknowledged);
        arrived.sort_unstable();
        arrived.dedup();
        (arrived.len() == 20).then_some(())
    })
    .await;
}

/// Adds an endpoint of each order, with its own receiver.
async fn both_orders(app: &TestApp) -> Vec<(Endpoint<'_>, Receiver)> {
    let mut both = Vec::new();
    for ordering in ["strict", "per-verification"] {
        let receiver = Receiver::start().await;
        let more = json!({ "ordering": ordering });
        both.push((Endpoint::add_with(app, &receiver, more).await, receiver));
    }
    both
}

#[tokio::test]
async fn database_outage_is_no_failure_of_an_endpoint() {
    let direct = new_database().await;
    let mut url = Url::parse(&direct.url).unwrap();
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap()));
    let wire = Arc::new(Proxy::start(upstream).await);
    url.set_port(Some(wire.address().port())).unwrap();
    let database = Some(Database::at(url));
    let app =
        TestApp::start_with(Options { more: LOOPBACK.to_owned(), database, ..Options::default() });
    let app = app.await;
    let mut both = both_orders(&app).await;
    for round in ["a", "b", "c"] {
        // The database goes away before what the receivers acknowledge can be stored.
        for (_, receiver) in &both {
            let wire = Arc::clone(&wire);
            receiver.answer(move |_| {
                wire.refuse(true);
                wire.cut();
                ReceiverReply::Status(204)
            });
        }
        let before: Vec<usize> = both.iter().map(|(_, receiver)| receiver.all().len()).collect();
        for n in 0..5 {
            // Answered or not, it is durable or repeated.
            let message = callback(&format!("pass-97-{round}{n}"), app.clock.now());
            eventually("the callback is accepted", || async {
                wire.refuse(false);
                (app.post(message.clone()).await.status == 202).then_some(())
            })
            .await;
        }
        for ((_, receiver), before) in both.iter().zip(before) {
            eventually("it was asked in the outage", || async {
                wire.refuse(false);
                (receiver.all().len() > before).then_some(())
            })
            .await;
        }
        for (_, receiver) in &both {
            receiver.answer(|_| ReceiverReply::Status(204));
        }
        wire.refuse(false);
    }
    for (endpoint, receiver) in &mut both {
        endpoint.pool = direct.pool().await;
        eventually("every event arrives", || async {
            let acknowledged = receiver.acknowledged();
            let arrived: HashSet<&str> = biz_ids(&acknowledged).into_iter().collect();
            (arrived.len() == 15).then_some(())
        })
        .await;
        assert_in_order(&receiver.acknowledged());
        endpoint.at_rest().await;
        let (failed, held, well): (i64, i64, bool) = sqlx::query_as(
            "select (select count(*) from webhook_attempts
                    where endpoint_id = $1::uuid and status is distinct from 204),
                (select count(*) from webhook_pending where endpoint_id = $1::uuid),
                (select status = 'active' and failures = 0 and failing_since is null
                    and next_try_at is null from webhook_endpoints where id = $1::uuid)",
        )
        .bind(&endpoint.id)
        .fetch_one(&endpoint.pool)
        .await
        .unwrap();
        assert_eq!((failed, held, well), (0, 0, true), "none waits for a retry");
    }
}

#[tokio::test]
async fn acknowledgement_is_stored_although_the_log_cannot_be_read() {
    let app = start().await;
    let (receiver, answered) = (Receiver::start().await, CancellationToken::new());
    let first = answered.clone();
    receiver.answer(move |delivery| match delivery.biz_id() {
        "pass-97-a0" => ReceiverReply::When(first.clone(), 204),
        _ => ReceiverReply::Status(204),
    });
    // The second event waits so long that its body is read again.
    let endpoint = Endpoint::add_with(&app, &receiver, json!({ "requests_per_second": 0.5 })).await;
    endpoint.ask("pause", None).await;
    decide(&app, "a", 2).await;
    endpoint.ask("resume", None).await;
    receiver.asked(1).await;

    let mut locked = endpoint.pool.begin().await.unwrap();
    locked.execute("lock table events in access exclusive mode").await.unwrap();
    eventually("the delivery waits for the log", || async {
        let waits = "select exists (select from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'
                 and query like '%as wanted (number)%')";
        let waits = sqlx::query_scalar(waits).fetch_one(&endpoint.pool).await.unwrap();
        Some(()).filter(|()| waits)
    })
    .await;
    answered.cancel();
    eventually("the first event counts as delivered", || async {
        let delivered = "select exists (select from webhook_attempts where status = 204)";
        let delivered = sqlx::query_scalar(delivered).fetch_one(&endpoint.pool).await.unwrap();
        Some(()).filter(|()| delivered)
    })
    .await;
    locked.rollback().await.unwrap();
    receiver.received(2).await;
    endpoint.at_rest().await;
    assert_eq!(biz_ids(&receiver.all()), ["pass-97-a0", "pass-97-a1"], "each once");
}

#[tokio::test]
async fn slow_commits_do_not_hold_up_a_strict_receiver() {
    let app = start().await;
    let pool = app.database.pool().await;
    // Each commit of progress takes this much longer, and is counted.
    sqlx::raw_sql(
        "create table commits (at timestamptz);
         create function slow() returns trigger language plpgsql security definer as $$ begin
             perform pg_sleep(0.3);
             insert into commits values (now());
             return null;
         end $$;
         create trigger slow after insert on webhook_attempts for each statement
             execute function slow()",
    )
    .execute(&pool)
    .await
    .unwrap();
    let receiver = Receiver::start().await;
    let endpoint = Endpoint::add_with(&app, &receiver, json!({ "ordering": "strict" })).await;
    endpoint.ask("pause", None).await;
    let events = decide(&app, "a", 20).await.len();
    endpoint.ask("resume", None).await;
    let sequences: Vec<i64> =
        receiver.received(events).await.iter().map(Delivery::sequence).collect();
    assert!(sequences.is_sorted() && sequences.len() == events, "{sequences:?}");
    endpoint.at_rest().await;
    let commits: i64 =
        sqlx::query_scalar("select count(*) from commits").fetch_one(&pool).await.unwrap();
    assert!(commits < 20, "{commits} commits: each event waited for one");
}

#[tokio::test]
async fn worker_that_lost_its_endpoint_writes_nothing() {
    // No worker beside.
    let options =
        Options { role: verdict::app::Role::Api, more: LOOPBACK.to_owned(), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let receiver = Receiver::start().await;
    let endpoint = Endpoint::add(&app, &receiver).await;
    let id: EndpointId = endpoint.id.parse().unwrap();
    let deliveries = app.store.webhook_deliveries();
    let (lease, ids) = (Duration::from_secs(5), Ids::random());
    let key = || LeaseKey { id: id.0, token: ids.next::<LeaseToken>(app.clock.now()) };
    let (first, second) = (key(), key());
    assert_eq!(deliveries.claim(8, lease, first.token).await.unwrap().endpoints.len(), 1);
    assert!(deliveries.claim(8, lease, second.token).await.unwrap().endpoints.is_empty());
    app.database.shift_clock(6).await;
    let claimed = deliveries.claim(8, lease, second.token).await.unwrap().endpoints;
    assert_eq!(claimed.len(), 1, "as after a kill");

    let row = PutPending {
        redelivery: false,
        number: 1,
        verification_id: None,
        state: "retry",
        attempts: 1,
        next_in: Some(5.0),
    };
    let progress = DeliveryProgress {
        cursor: 7,
        revision: claimed[0].revision,
        failing_for: None,
        failures: 1,
        warned: 0,
        next_try_in: None,
        disabled: None,
        at: app.clock.now(),
        put: vec![row],
        gone: vec![GonePending { redelivery: true, number: 9 }],
        attempts: Vec::new(),
    };
    assert_eq!(deliveries.commit(first, &progress).await.unwrap(), None);
    assert!(!deliveries.release(first, None).await.unwrap());
    assert!(deliveries.pending(id).await.unwrap().is_empty(), "nothing was written");

    // News reaches the holder with its commit, and is not lost when it gives the endpoint back.
    let standing = deliveries.commit(second, &progress).await.unwrap().unwrap();
    assert!(!standing.has_news && standing.status == "active");
    endpoint.ask("test", None).await;
    let standing = deliveries.commit(second, &progress).await.unwrap().unwrap();
    assert!(standing.has_news);
    assert!(deliveries.release(second, None).await.unwrap());
    let again = deliveries.claim(8, lease, key().token).await.unwrap().endpoints;
    assert_eq!((again.len(), again[0].cursor), (1, 7));
}

#[tokio::test]
async fn every_endpoint_that_waits_for_the_log_gets_its_turn() {
    let options =
        Options { role: verdict::app::Role::Api, more: LOOPBACK.to_owned(), ..Options::default() };
    let app = TestApp::start_with(options).await;
    let receiver = Receiver::start().await;
    let mut waiting = HashSet::new();
    for _ in 0..3 {
        waiting.insert(Endpoint::add(&app, &receiver).await.id);
    }
    sqlx::raw_sql("update event_log set number = 5")
        .execute(&app.database.pool().await)
        .await
        .unwrap();
    let (deliveries, ids) = (app.store.webhook_deliveries(), Ids::random());
    // A process with one slot, and a log that always goes on.
    for _ in 0..50 {
        let token = ids.next::<LeaseToken>(app.clock.now());
        let claimed = deliveries.claim(1, Duration::from_secs(5), token).await.unwrap().endpoints;
        waiting.remove(&EndpointId(claimed[0].id).to_string());
        assert!(deliveries.release(claimed[0].lease(), None).await.unwrap());
        app.database.shift_clock(1).await;
    }
    assert!(waiting.is_empty(), "never claimed: {waiting:?}");
}
