//! The event log as its readers see it: every event once, in order, in the same bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPool;

use crate::harness::{
    Callback, Options, PATIENCE, Reply, TestApp, callback, eventually, make_key_with, provider,
    run_verdict,
};
use verdict::domain::clock::Clock;
use verdict::domain::ids::ApiKeyId;
use verdict::http::api_key_auth::Scope;
use verdict::store::api_keys::KeyTerms;
use verdict::store::audit::AuditContext;

const WAIT: &str = "&wait=30";

/// The bodies in an answer, byte for byte.
fn bodies(reply: &Reply) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Part {
        items: Vec<Box<serde_json::value::RawValue>>,
    }
    assert_eq!(reply.status, 200, "{reply:?}");
    let part: Part = serde_json::from_str(&reply.text).unwrap();
    part.items.iter().map(|item| item.get().to_owned()).collect()
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// The whole log, read in small pages.
async fn whole_log(app: &TestApp) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let reply = app.get(&format!("/v1/events?after={after}&limit=7")).await;
        all.extend(bodies(&reply));
        after = reply.json["next_after"].as_i64().unwrap();
        if after == reply.json["head"] {
            return all;
        }
    }
}

/// Waits for the first event after this sequence that fits.
async fn event(app: &TestApp, mut after: i64, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no such event");
        let reply = app.get(&format!("/v1/events?after={after}{WAIT}")).await;
        let items = bodies(&reply);
        if let Some(found) = items.iter().map(|body| parsed(body)).find(|item| fits(item)) {
            return found;
        }
        after = reply.json["next_after"].as_i64().unwrap();
    }
}

fn of<'a>(id: &'a str, kind: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |item| item["data"]["verification_id"] == id && item["type"] == kind
}

async fn head(app: &TestApp) -> i64 {
    app.get("/v1/events?limit=1").await.json["head"].as_i64().unwrap()
}

async fn key(app: &TestApp, scopes: &[Scope], scenes: &[&str]) -> (String, ApiKeyId) {
    let scenes = scenes.iter().map(|scene| (*scene).to_owned()).collect();
    let terms = KeyTerms { scenes: Some(scenes), ..KeyTerms::default() };
    make_key_with(&app.store, scopes, &terms).await
}

/// A callback in this scene; its verification's id.
async fn posted(app: &TestApp, biz_type: &str, biz_id: &str, reference: Option<&str>) -> String {
    let body =
        serde_json::json!({ "biz_type": biz_type, "biz_id": biz_id, "reference": reference });
    let reply = app.post(Callback::signed(&body.to_string(), app.clock.now())).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.id()
}

fn digest(ids: &[String]) -> String {
    let lines: Vec<&str> = ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
    hex::encode(Sha256::digest(lines.concat()))
}

#[tokio::test]
async fn reader_sees_each_event_once_and_in_order_while_workers_decide() {
    const COUNT: usize = 200;
    let clock = Clock::fixed(time::macros::datetime!(2026-11-23 09:30:00 UTC));
    let (sandbox, address) = provider(&clock).await;
    let one = TestApp::start_beside(Options::default(), sandbox, address, clock).await;
    let two = one.another(Options::default(), address).await;
    let reading = async {
        let (mut seen, mut after, mut reads) = (Vec::new(), 0, 0);
        while seen.iter().filter(|body: &&String| body.contains("verification.decided")).count()
            < COUNT
        {
            let app = if reads % 2 == 0 { &one } else { &two };
            let reply = app.get(&format!("/v1/events?after={after}&limit=37&wait=30")).await;
            // Readers repeat what a busy service refused.
            if reply.status == 503 {
                continue;
            }
            seen.extend(bodies(&reply));
            after = reply.json["next_after"].as_i64().unwrap();
            reads += 1;
        }
        seen
    };
    let posting = async {
        for n in 0..COUNT {
            let app = if n % 3 == 0 { &two } else { &one };
            app.deliver(callback(&format!("pass-97-r{n}"), app.clock.now())).await;
        }
    };
    let (seen, ()) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(reading, posting) }).await.unwrap();

    let events: Vec<Value> = seen.iter().map(|body| parsed(body)).collect();
    let sequences: Vec<i64> = events.iter().map(|e| e["sequence"].as_i64().unwrap()).collect();
    let contiguous: Vec<i64> = (1..).take(sequences.len()).collect();
    assert_eq!(sequences, contiguous);
    let mut of_each: HashMap<&str, i64> = HashMap::new();
    for event in events.iter().filter(|event| event["type"] != "policy.activated") {
        let count = of_each.entry(event["data"]["verification_id"].as_str().unwrap()).or_default();
        *count += 1;
        assert_eq!(event["data"]["verification_sequence"], *count);
    }
    assert_eq!(of_each.len(), COUNT);
    assert_eq!(whole_log(&two).await, seen);

    let ids: Vec<String> = events.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    let last = sequences.len();
    let summary = one.get(&format!("/v1/events/summary?from=1&to={last}")).await;
    assert_eq!(
        (&summary.json["count"], &summary.json["sha256"]),
        (&last.into(), &digest(&ids).into())
    );
    let part = one.get("/v1/events/summary?from=3&to=50").await;
    assert_eq!(
        (&part.json["count"], &part.json["sha256"]),
        (&48.into(), &digest(&ids[2..50]).into())
    );
    let page = one.get("/v1/events?limit=1").await;
    assert_eq!(part.json["epoch"], page.json["epoch"]);
}

/// Writes another decision about the same verification, as a worker would.
const DECIDE: &str = "insert into decisions overriding system value
    select (jsonb_populate_record(null::decisions, to_jsonb(d) || jsonb_build_object(
        'id', gen_random_uuid(), 'position', nextval('decisions_position_seq'),
        'xid', pg_current_xact_id()))).*
    from decisions d where verification_id = $1::text::uuid limit 1";

#[tokio::test]
async fn open_transaction_does_not_stall_the_log() {
    let app = TestApp::start().await;
    let first = app.verified("pass-97-a").await["id"].as_str().unwrap().to_owned();
    event(&app, 0, of(&first, "verification.decided")).await;
    let before = head(&app).await;

    let pool = app.database.pool().await;
    let mut unrelated = pool.begin().await.unwrap();
    sqlx::query("create table left_open (n int)").execute(&mut *unrelated).await.unwrap();
    let mut late = pool.begin().await.unwrap();
    sqlx::query(DECIDE).bind(&first).execute(&mut *late).await.unwrap();

    let mut sequence = before;
    for n in 0..5 {
        let id = app.verified(&format!("pass-97-b{n}")).await["id"].as_str().unwrap().to_owned();
        let logged = event(&app, before, of(&id, "verification.decided")).await;
        sequence += 1;
        assert_eq!(logged["sequence"], sequence, "nothing stalls and nothing is passed over");
    }
    late.commit().await.unwrap();
    let late = event(&app, before, of(&first, "verification.decided")).await;
    assert_eq!(late["sequence"], sequence + 1);
    assert_eq!(late["data"]["verification_sequence"], 2);
    unrelated.rollback().await.unwrap();
    assert_eq!(head(&app).await, sequence + 1, "it comes once");
}

#[tokio::test]
async fn erasure_changes_only_the_reference_of_old_events() {
    let app = TestApp::start().await;
    let without = posted(&app, "test", "pass-97-without", None).await;
    let with = posted(&app, "test", "pass-97-with", Some("user-8812")).await;
    for id in [&without, &with] {
        app.settled(id).await;
        event(&app, 0, of(id, "verification.decided")).await;
    }
    let early = whole_log(&app).await;
    // A reference that comes later is in later events only.
    posted(&app, "test", "pass-97-without", Some("came-later")).await;
    let found = app.get(&format!("/v1/verifications/{without}")).await;
    assert_eq!(found.json["reference"], "came-later");
    app.verified("pass-97-more").await;
    assert_eq!(whole_log(&app).await[..early.len()], early);

    let request =
        app.client.delete(format!("http://{}/v1/verifications/{with}/material", app.http));
    let request = request.bearer_auth(&app.api_key).header("verdict-purpose", "asked to");
    assert_eq!(request.send().await.unwrap().status(), 202);
    let erased = event(&app, 0, of(&with, "verification.erased")).await;
    assert_eq!(
        (&erased["data"]["biz_id"], &erased["data"]["reference"]),
        (&"pass-97-with".into(), &Value::Null)
    );
    let late = whole_log(&app).await;
    let expected: Vec<String> =
        early.iter().map(|body| body.replace("\"user-8812\"", "null")).collect();
    assert_eq!(late[..early.len()], expected);
    assert!(early.iter().any(|body| body.contains("user-8812")));
    assert!(!late.concat().contains("user-8812"));
}

#[tokio::test]
async fn filters_and_key_scenes_narrow_feed_and_summary() {
    let app = TestApp::start().await;
    for scene in ["shop", "desk"] {
        let id = posted(&app, scene, &format!("pass-97-{scene}"), None).await;
        event(&app, 0, of(&id, "verification.decided")).await;
    }
    let failed = posted(&app, "shop", "invalidbiz", None).await;
    event(&app, 0, of(&failed, "verification.failed")).await;
    let head = head(&app).await;
    let found = async |query: &str, key: &str| {
        let reply = app.get_as(&format!("/v1/events?{query}"), key).await;
        assert_eq!(reply.json["next_after"], head, "{query}: all is examined");
        let summary =
            app.get_as(&format!("/v1/events/summary?from=1&to={head}&{query}"), key).await;
        let items: Vec<Value> = bodies(&reply).iter().map(|body| parsed(body)).collect();
        let ids: Vec<String> =
            items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(summary.json["count"], items.len(), "{query}: {summary:?}");
        assert_eq!(summary.json["sha256"], digest(&ids), "{query}");
        let told = |item: &Value| {
            format!("{} {}", item["type"].as_str().unwrap(), item["data"]["biz_type"])
        };
        items.iter().map(told).collect::<Vec<_>>()
    };
    let (shop, _) = key(&app, &[Scope::EventsRead], &["shop"]).await;
    let [policy, of_shop, of_desk, failed] = [
        "policy.activated null",
        "verification.decided \"shop\"",
        "verification.decided \"desk\"",
        "verification.failed \"shop\"",
    ];
    for (query, key, expected) in [
        ("", &app.api_key, &[policy, of_shop, of_desk, failed][..]),
        ("types=verification.failed,policy.activated", &app.api_key, &[policy, failed]),
        ("biz_types=desk", &app.api_key, &[of_desk]),
        ("biz_types=desk,shop&types=verification.decided", &app.api_key, &[of_shop, of_desk]),
        ("biz_types=nowhere", &app.api_key, &[]),
        ("", &shop, &[of_shop, failed]),
        ("biz_types=desk,shop", &shop, &[of_shop, failed]),
        ("biz_types=desk", &shop, &[]),
    ] {
        assert_eq!(found(query, key).await, expected, "{query}");
    }
    // A page that is full ends with its last event, whatever comes after it.
    let page = app.get("/v1/events?types=verification.decided&limit=1").await;
    assert_eq!((&page.json["next_after"], &page.json["head"]), (&2.into(), &head.into()));
    // An event of another scene does not end the wait.
    let app = &app;
    let began = Instant::now();
    let waiting = app.get_as("/v1/events?after=4&wait=1&biz_types=nowhere", &app.api_key);
    let waiting = async { (waiting.await, began.elapsed()) };
    let ((waited, took), id) = tokio::join!(waiting, posted(app, "desk", "pass-97-more", None));
    assert_eq!(waited.json["items"], serde_json::json!([]));
    assert!(took >= Duration::from_secs(1), "answered after {took:?}");
    event(app, 4, of(&id, "verification.decided")).await;
    let beyond = app.get("/v1/events?after=9000").await;
    assert_eq!((&beyond.json["next_after"], &beyond.json["head"]), (&9000.into(), &5.into()));
}

#[tokio::test]
async fn wrong_requests_for_events_are_refused_with_all_that_is_wrong() {
    let app = TestApp::start().await;
    let wrong = async |path: &str, expected: &[&str]| {
        let reply = app.get(path).await;
        reply.assert_problem(422, "invalid-field");
        let errors = reply.json["errors"].as_array().unwrap();
        let named: Vec<&str> =
            errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(named, expected, "{path}");
    };
    let all = "after=-1&limit=1001&types=decided&biz_types=,&wait=61&since=now";
    let names = ["after", "limit", "types", "biz_types", "wait", "since"];
    wrong(&format!("/v1/events?{all}"), &names).await;
    wrong("/v1/events?limit=0", &["limit"]).await;
    wrong("/v1/events?after=1&after=2", &["after"]).await;
    wrong("/v1/events/summary?from=0&to=x&types=", &["from", "to", "types"]).await;
    wrong("/v1/events/summary", &["from", "to"]).await;
    wrong("/v1/events/summary?from=2&to=1", &["to"]).await;
    wrong("/v1/events/summary?from=1&to=1000001", &["to"]).await;
    let unlike = app.client.get(format!("http://{}/v1/events", app.http)).bearer_auth(&app.api_key);
    let unlike = Reply::read(unlike.header("last-event-id", "x").send().await.unwrap()).await;
    unlike.assert_problem(422, "invalid-field");

    let scopes: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| *scope != Scope::EventsRead).collect();
    let (other, _) = make_key_with(&app.store, &scopes, &KeyTerms::default()).await;
    for path in ["/v1/events", "/v1/events/summary?from=1&to=1"] {
        app.get_as(path, &other).await.assert_problem(403, "scope-missing");
    }
}

#[tokio::test]
async fn expired_position_is_refused_with_the_oldest_sequence() {
    let app = TestApp::start().await;
    let first = app.verified("pass-97-a").await["id"].as_str().unwrap().to_owned();
    event(&app, 0, of(&first, "verification.decided")).await;
    app.database.shift_clock(15 * 86_400).await;
    let second = app.verified("pass-97-b").await["id"].as_str().unwrap().to_owned();
    let kept = event(&app, 0, of(&second, "verification.decided")).await;
    let oldest = kept["sequence"].as_i64().unwrap();
    assert_eq!(app.get("/v1/events").await.json["items"][0]["sequence"], 1);

    app.store.events().drop_weeks(0).await.unwrap();
    let streamed = app.client.get(format!("http://{}/v1/events", app.http));
    let streamed = streamed.bearer_auth(&app.api_key).header("accept", "text/event-stream");
    for reply in [
        app.get("/v1/events").await,
        app.get(&format!("/v1/events?after={}&wait=30", oldest - 2)).await,
        app.get(&format!("/v1/events/summary?from={}&to=9", oldest - 1)).await,
        Reply::read(streamed.send().await.unwrap()).await,
    ] {
        reply.assert_problem(410, "events-expired");
        assert_eq!(reply.json["oldest"], oldest);
    }
    let rest = app.get(&format!("/v1/events?after={}", oldest - 1)).await;
    assert_eq!(rest.json["items"], serde_json::json!([kept]));
    let rest = app.get(&format!("/v1/events/summary?from={oldest}&to=9")).await;
    assert_eq!(rest.json["count"], 1);
}

#[tokio::test]
async fn summary_during_retention_is_refused_and_not_short() {
    let app = TestApp::start().await;
    event(&app, 0, |item| item["type"] == "policy.activated").await;
    app.database.shift_clock(15 * 86_400).await;
    let id = app.verified("pass-97-a").await["id"].as_str().unwrap().to_owned();
    let kept = event(&app, 0, of(&id, "verification.decided")).await;
    let pool = app.database.pool().await;
    let mut retention = pool.begin().await.unwrap();
    let lock = "lock table events in access exclusive mode";
    sqlx::query(lock).execute(&mut *retention).await.unwrap();
    let dropping = async {
        eventually("the summary waits for the events", || async {
            let waits = "select exists (select from pg_locks
                 where relation = 'events'::regclass and not granted)";
            let waits: bool = sqlx::query_scalar(waits).fetch_one(&pool).await.unwrap();
            waits.then_some(())
        })
        .await;
        let drop = "select verdict_drop_events(1, 1)";
        let oldest: i64 = sqlx::query_scalar(drop).fetch_one(&mut *retention).await.unwrap();
        retention.commit().await.unwrap();
        oldest
    };
    let (summary, oldest) = tokio::join!(app.get("/v1/events/summary?from=1&to=2"), dropping);
    summary.assert_problem(410, "events-expired");
    assert_eq!((&summary.json["oldest"], &kept["sequence"]), (&oldest.into(), &oldest.into()));
}

#[tokio::test]
async fn wait_is_answered_by_the_next_event_in_any_process_and_is_limited() {
    let clock = Clock::fixed(time::macros::datetime!(2026-11-23 09:30:00 UTC));
    let (sandbox, address) = provider(&clock).await;
    let http = "waits_per_key = 2\nbody_read_seconds = 1";
    let options = Options { http, ..Options::default() };
    let one = TestApp::start_beside(options.clone(), sandbox, address, clock).await;
    let two = one.another(options, address).await;
    let last = event(&one, 0, |item| item["type"] == "policy.activated").await;
    let last = last["sequence"].as_i64().unwrap();
    let path = format!("/v1/events?after={last}&wait=60");
    let began = Instant::now();
    let (here, there, id) = tokio::join!(one.get(&path), two.get_as(&path, &one.api_key), async {
        // A reader that comes late finds the event at once, so the order is not enforced.
        tokio::time::sleep(Duration::from_millis(100)).await;
        one.accepted("pass-97-a").await
    });
    assert!(began.elapsed() < Duration::from_secs(50), "a wait of 60 s was not answered at once");
    for reply in [here, there] {
        assert_eq!(reply.json["items"][0]["data"]["verification_id"], id, "{reply:?}");
    }
    // Two are held, so the third is refused; without an event to wait for it is not.
    let end = head(&one).await;
    let path = format!("/v1/events?after={end}&wait=60");
    let held = async { tokio::join!(one.get(&path), one.get(&path)) };
    let refused = async {
        let refused = eventually("a third is refused", || async {
            let reply = one.get(&format!("/v1/events?after={end}&wait=1")).await;
            (reply.status != 200).then_some(reply)
        })
        .await;
        refused.assert_problem(429, "too-many-waits");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(one.get("/v1/events?wait=60").await.status, 200, "events that are there");
        one.accepted("pass-97-b").await;
    };
    let ((a, b), ()) = tokio::join!(held, refused);
    assert_eq!((a.json["items"].as_array().unwrap().len(), b.status), (1, 200));
}

/// Ends a wait or a stream within the time that keys are believed.
async fn revoke(app: &TestApp, id: ApiKeyId) {
    let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: app.clock.now() };
    assert!(app.store.api_keys().revoke_api_key(id, &doing).await.unwrap());
}

#[tokio::test]
async fn revoked_key_ends_waits_and_streams() {
    let app = TestApp::start().await;
    event(&app, 0, |item| item["type"] == "policy.activated").await;
    let (key, id) = make_key_with(&app.store, &[Scope::EventsRead], &KeyTerms::default()).await;
    let mut stream = Stream::open(&app, "/v1/events?after=1", &key, None).await;
    let waiting = app.get_as("/v1/events?after=1&wait=60", &key);
    let (waited, ()) = tokio::join!(waiting, revoke(&app, id));
    waited.assert_problem(401, "api-key-invalid");
    assert!(stream.ends().await);
}

/// Server-sent events, read as a client does.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(app: &TestApp, path: &str, key: &str, last: Option<i64>) -> Self {
        let mut request = app.client.get(format!("http://{}{path}", app.http)).bearer_auth(key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(response.headers().contains_key("verdict-epoch"));
        Self { response, text: String::new() }
    }

    /// The next message: `id`, `event`, `data`.
    async fn next(&mut self) -> [String; 3] {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                if message.starts_with(':') {
                    continue;
                }
                let field = |name: &str| {
                    let lines = message.lines().filter_map(|line| line.strip_prefix(name));
                    lines.map(|value| value.trim_start_matches(' ')).collect::<String>()
                };
                return [field("id:"), field("event:"), field("data:")];
            }
            let more = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
            let more = more.unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// Whether the server ends it properly.
    async fn ends(&mut self) -> bool {
        let ended = async { while let Some(_more) = self.response.chunk().await.unwrap() {} };
        tokio::time::timeout(PATIENCE, ended).await.is_ok()
    }
}

#[tokio::test]
async fn stream_has_the_same_bodies_and_is_taken_up_where_it_broke_off() {
    let app = TestApp::start().await;
    for n in 0..4 {
        app.verified(&format!("pass-97-s{n}")).await;
    }
    eventually("they are logged", || async { (head(&app).await == 5).then_some(()) }).await;
    let log = whole_log(&app).await;
    let mut stream = Stream::open(&app, "/v1/events", &app.api_key, None).await;
    for (sequence, body) in (1..).zip(&log) {
        let item = parsed(body);
        let expected = [&sequence.to_string(), item["type"].as_str().unwrap(), body];
        assert_eq!(stream.next().await, expected);
    }
    drop(stream);
    // The address of the first request, as browsers repeat it; the header counts.
    let mut stream = Stream::open(&app, "/v1/events?after=1", &app.api_key, Some(3)).await;
    assert_eq!(stream.next().await[2], log[3]);
    assert_eq!(stream.next().await[2], log[4]);
    let filtered = "/v1/events?after=5&types=verification.failed";
    let mut filtered = Stream::open(&app, filtered, &app.api_key, None).await;
    let id = app.verified("pass-97-live").await["id"].as_str().unwrap().to_owned();
    let [sequence, kind, body] = stream.next().await;
    assert_eq!((sequence.as_str(), kind.as_str()), ("6", "verification.decided"));
    assert_eq!(parsed(&body)["data"]["verification_id"], id);
    assert_eq!(app.verified("invalidbiz").await["state"], "failed");
    assert_eq!(filtered.next().await[0], "7");
}

#[tokio::test]
async fn streams_end_when_the_process_stops() {
    let setting =
        crate::harness::Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let request = setting.client.get(format!("http://{}/v1/events", process.http));
    let request = request.bearer_auth(&setting.api_key).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    let mut stream = Stream { response, text: String::new() };
    assert_eq!(stream.next().await[1], "policy.activated");
    process.signal("TERM").await;
    assert!(stream.ends().await);
    assert_eq!(process.ended().await.0, Some(0));
}

#[tokio::test]
async fn new_epoch_starts_the_sequence_again_and_is_on_record() {
    let app = TestApp::start().await;
    let first = app.verified("pass-97-a").await["id"].as_str().unwrap().to_owned();
    let first = event(&app, 0, of(&first, "verification.decided")).await;
    let before = app.get("/v1/events").await.json["epoch"].clone();
    let mut stream = Stream::open(&app, "/v1/events?after=2", &app.api_key, None).await;
    let environment = [("DATABASE_URL", app.database.url.as_str())];
    let begin = ["events", "new-epoch", "--json", "--purpose", "restored a backup"];
    let (code, said, error) = run_verdict(&begin, &environment).await;
    assert_eq!(code, 0, "{error}");
    let epoch = parsed(&said)["epoch"].clone();
    assert_ne!(epoch, before);
    let empty = app.get("/v1/events").await;
    assert_eq!(
        (&empty.json["items"], &empty.json["head"], &empty.json["epoch"]),
        (&serde_json::json!([]), &0.into(), &epoch)
    );
    let second = app.verified("pass-97-b").await["id"].as_str().unwrap().to_owned();
    let second = event(&app, 0, of(&second, "verification.decided")).await;
    assert_eq!(second["sequence"], 1);
    assert_ne!(second["id"], first["id"]);
    // A stream that was open goes on: nothing is left out.
    let [sequence, _, body] = stream.next().await;
    assert_eq!((sequence.as_str(), parsed(&body)), ("1", second.clone()));
    let summary = app.get("/v1/events/summary?from=1&to=1").await;
    let ids = [second["id"].as_str().unwrap().to_owned()];
    assert_eq!((&summary.json["sha256"], &summary.json["epoch"]), (&digest(&ids).into(), &epoch));

    let (_, audit, _) = run_verdict(&["audit", "list", "--json"], &environment).await;
    let row = audit.lines().find(|line| line.contains("events.new-epoch")).expect("a row");
    assert!(row.contains("restored a backup"), "{row}");
    for wrong in [&["events", "new-epoch"][..], &["events", "new-epoch", "--purpose", " "]] {
        assert_eq!(run_verdict(wrong, &environment).await.0, 2);
    }
}

/// The decision about this verification.
async fn decision_of(pool: &PgPool, verification: &Value) -> uuid::Uuid {
    let id = verification["id"].as_str().unwrap();
    let find = "select id from decisions where verification_id = $1::text::uuid";
    sqlx::query_scalar(find).bind(id).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn open_stream_gets_the_last_events_of_an_epoch_before_those_of_the_next() {
    let app = TestApp::start().await;
    event(&app, 0, |item| item["type"] == "policy.activated").await;
    let epoch = app.get("/v1/events").await.json["epoch"].clone();
    let pool = app.database.pool().await;
    let mut stream = Stream::open(&app, "/v1/events?after=1", &app.api_key, None).await;
    let waiting = app.get("/v1/events?after=1&wait=30");
    let numbering = async {
        // Nobody else numbers events meanwhile. The commit shows readers the end of one epoch
        // together with the beginning of the next.
        let mut log = pool.begin().await.unwrap();
        sqlx::query("select from event_log for update").execute(&mut *log).await.unwrap();
        let last = decision_of(&pool, &app.verified("pass-97-last").await).await;
        let first = decision_of(&pool, &app.verified("pass-97-first").await).await;
        sqlx::query("select verdict_append_events(array[$1])")
            .bind(last)
            .execute(&mut *log)
            .await
            .unwrap();
        sqlx::query(
            "insert into event_epochs select gen_random_uuid(), number, now() from event_log",
        )
        .execute(&mut *log)
        .await
        .unwrap();
        sqlx::query("select verdict_append_events(array[$1])")
            .bind(first)
            .execute(&mut *log)
            .await
            .unwrap();
        sqlx::query("update event_log set floor = (select last_value from decisions_position_seq)")
            .execute(&mut *log)
            .await
            .unwrap();
        log.commit().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, numbering);

    let mut streamed = Vec::new();
    for _ in 0..2 {
        let [sequence, _, body] = stream.next().await;
        let biz_id = parsed(&body)["data"]["biz_id"].as_str().unwrap().to_owned();
        streamed.push((sequence, biz_id));
    }
    let expected = [("2", "pass-97-last"), ("1", "pass-97-first")];
    assert_eq!(streamed, expected.map(|(sequence, id)| (sequence.to_owned(), id.to_owned())));
    let items: Vec<Value> = bodies(&waited).iter().map(|body| parsed(body)).collect();
    assert_eq!((&waited.json["epoch"], items.len()), (&epoch, 1), "{waited:?}");
    assert_eq!(items[0]["data"]["biz_id"], "pass-97-last");
    assert_eq!(waited.json["next_after"], 2);
}

/// A body with its ids and times replaced by their names, so that it can be compared.
fn shape(body: &str) -> String {
    let item = parsed(body);
    let data = &item["data"];
    let mut text = body.to_owned();
    for (value, name) in [
        (&item["id"], "ID"),
        (&item["timestamp"], "TIME"),
        (&data["verification_id"], "VERIFICATION"),
        (&data["decision_id"], "DECISION"),
        (&data["decided_at"], "TIME"),
        (&data["policy"], "POLICY"),
    ] {
        if let Some(value) = value.as_str() {
            text = text.replace(value, name);
        }
    }
    text
}

/// Notes an event of an endpoint, as its trigger does.
async fn note_endpoint(pool: &PgPool, kind: &str) {
    sqlx::query(
        "insert into event_notes (kind, at, details) values ($1, now(), jsonb_build_object(
            'endpoint_id', '0197aa00-0000-7000-8000-000000000001',
            'since', '2026-11-26T11:00:00.000000Z', 'last_status', 500))",
    )
    .bind(kind)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn every_type_of_event_has_exactly_the_documented_body() {
    let app = TestApp::start().await;
    event(&app, 0, |item| item["type"] == "policy.activated").await;
    let decided = posted(&app, "test", "pass-97-a", Some("user-8812")).await;
    event(&app, 0, of(&decided, "verification.decided")).await;
    let failed = posted(&app, "test", "invalidbiz", None).await;
    event(&app, 0, of(&failed, "verification.failed")).await;
    let expired = posted(&app, "test", "expired", None).await;
    event(&app, 0, of(&expired, "verification.expired")).await;
    let path = format!("http://{}/v1/verifications/{decided}/material", app.http);
    let request = app.client.delete(path).bearer_auth(&app.api_key);
    request.header("verdict-purpose", "asked to").send().await.unwrap();
    event(&app, 0, of(&decided, "verification.erased")).await;
    let pool = app.database.pool().await;
    for kind in ["endpoint.failing", "endpoint.disabled"] {
        note_endpoint(&pool, kind).await;
        event(&app, 0, |item| item["type"] == kind).await;
    }
    let log = whole_log(&app).await;
    let shapes: Vec<String> = log.iter().map(|body| shape(body)).collect();
    assert_eq!(
        shapes,
        [
            r#"{"id":"ID","type":"policy.activated","timestamp":"TIME","sequence":1,"data":{"policy":"POLICY","biz_type":null,"actor":"seed"}}"#,
            r#"{"id":"ID","type":"verification.decided","timestamp":"TIME","sequence":2,"data":{"verification_id":"VERIFICATION","verification_sequence":1,"product":"verify-result","biz_type":"test","biz_id":"pass-97-a","reference":null,"state":"decided","outcome":"approve","reasons":["provider-passed"],"decision_id":"DECISION","decided_by":"policy","decided_at":"TIME"}}"#,
            r#"{"id":"ID","type":"verification.failed","timestamp":"TIME","sequence":3,"data":{"verification_id":"VERIFICATION","verification_sequence":1,"product":"verify-result","biz_type":"test","biz_id":"invalidbiz","reference":null,"state":"failed","outcome":null,"reasons":null,"decision_id":null,"decided_by":null,"decided_at":null}}"#,
            r#"{"id":"ID","type":"verification.expired","timestamp":"TIME","sequence":4,"data":{"verification_id":"VERIFICATION","verification_sequence":1,"product":"verify-result","biz_type":"test","biz_id":"expired","reference":null,"state":"expired","outcome":null,"reasons":null,"decision_id":null,"decided_by":null,"decided_at":null}}"#,
            r#"{"id":"ID","type":"verification.erased","timestamp":"TIME","sequence":5,"data":{"verification_id":"VERIFICATION","verification_sequence":2,"product":"verify-result","biz_type":"test","biz_id":"pass-97-a","reference":null,"state":"erased","outcome":"approve","reasons":["provider-passed"],"decision_id":"DECISION","decided_by":"policy","decided_at":"TIME"}}"#,
            r#"{"id":"ID","type":"endpoint.failing","timestamp":"TIME","sequence":6,"data":{"endpoint_id":"0197aa00-0000-7000-8000-000000000001","since":"2026-11-26T11:00:00.000000Z","last_status":500}}"#,
            r#"{"id":"ID","type":"endpoint.disabled","timestamp":"TIME","sequence":7,"data":{"endpoint_id":"0197aa00-0000-7000-8000-000000000001","since":"2026-11-26T11:00:00.000000Z","last_status":500}}"#,
        ]
    );
    assert!(log.iter().all(|body| body.len() < 20_000));
    let id = parsed(&log[0])["id"].as_str().unwrap().to_owned();
    let digits = id.strip_prefix("evt_").unwrap();
    assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

#[tokio::test]
async fn activation_of_a_policy_is_told_with_scene_and_actor() {
    let app = TestApp::start().await;
    let policies = app.get("/v1/policies").await;
    let digest = policies.json["items"][0]["digest"].as_str().unwrap();
    let url = format!("http://{}/v1/policies/{digest}/activate", app.http);
    let request = app.client.post(url).bearer_auth(&app.api_key);
    let request = request.header("content-type", "application/json");
    let body = serde_json::json!({ "biz_type": "shop" }).to_string();
    let reply = Reply::read(request.body(body).send().await.unwrap()).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let told = event(&app, 1, |item| item["type"] == "policy.activated").await;
    let data = &told["data"];
    assert_eq!((&data["policy"], &data["biz_type"]), (&digest.into(), &"shop".into()));
    assert!(data["actor"].as_str().unwrap().starts_with("key:"), "{told}");
}
