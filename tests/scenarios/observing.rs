//! Observability: traces across processes, log lines, invariants.

use std::collections::BTreeSet;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use verdict::app::Role;
use verdict::store::metrics_queries::Invariant;

use crate::harness::{
    Collector, Options, Process, Setting, attribute, callback, eventually, new_database, now,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Stops it as an orchestrator does; its log.
async fn stopped(process: Process) -> String {
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    log.join("\n")
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", names(spans));
    found[0]
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn callback_fetch_and_decision_form_one_trace() {
    let collector = Collector::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let options = Options {
        more: collector.configuration(),
        images: format!("store = \"file://{}\"", folder.path().display()),
        fixed_clock: false,
        role: Role::Worker,
        ..Options::default()
    };
    let mut setting = Setting::new(options).await;
    let worker = setting.serve().await;
    setting.options.role = Role::Api;
    let api = setting.serve().await;

    let parent = format!("00-{TRACE}-{CALLER}-01");
    let message = callback("pass-88.5", now())
        .with("traceparent", &parent)
        .with("tracestate", "vendor=canary")
        .with("baggage", "name=canary");
    assert_eq!(api.post(&setting.client, message).await, Some(202));
    // Nobody is asked for more than was asked for: this caller does not record its trace.
    let unsampled = parent.replace("-01", "-00");
    let message = callback("pass-97-unsampled", now()).with("traceparent", &unsampled);
    assert_eq!(api.post(&setting.client, message).await, Some(202));
    // A malformed header starts a new trace.
    let message = callback("status-7", now()).with("traceparent", "canary");
    assert_eq!(api.post(&setting.client, message).await, Some(202));
    let refused = callback("pass-1", now()).with("webhook-id", "");
    assert_eq!(api.post(&setting.client, refused).await, Some(401));
    assert_eq!(setting.get(api.operations, "/healthz").await.status, 200);
    setting.drained().await;
    let pool = setting.database.pool().await;
    eventually("the images are settled", || async {
        let open: i64 =
            sqlx::query_scalar("select count(*) from tasks").fetch_one(&pool).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
    let logs = [stopped(api).await, stopped(worker).await];

    let all = collector.spans();
    let trace = hex::decode(TRACE).unwrap();
    let (ours, others): (Vec<Span>, Vec<Span>) =
        all.into_iter().partition(|span| span.trace_id == trace);
    let request = named(&ours, "POST /v1/callbacks/{source}");
    assert_eq!(request.parent_span_id, hex::decode(CALLER).unwrap());
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(attribute(request, "http.response.status_code"), "202");
    let fetch = named(&ours, "fetch");
    assert_eq!(fetch.parent_span_id, request.span_id);
    assert_eq!(attribute(fetch, "verdict.written"), "committed");
    assert_eq!(attribute(fetch, "verdict.class"), "answered");
    let verification = attribute(request, "verdict.verification");
    assert_eq!(attribute(fetch, "verdict.verification"), verification);
    for part in ["call", "decide", "write"] {
        let part = named(&ours, part);
        assert_eq!(part.parent_span_id, fetch.span_id);
        assert!(part.start_time_unix_nano >= fetch.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= fetch.end_time_unix_nano);
    }
    let decide = named(&ours, "decide");
    assert_eq!(attribute(decide, "verdict.outcome"), "review");
    assert_eq!(attribute(decide, "verdict.reasons"), "score-too-low");
    assert_eq!(named(&ours, "images").parent_span_id, request.span_id);
    assert_eq!(ours.len(), 6, "{:?}", names(&ours));

    let traces: BTreeSet<&[u8]> = others.iter().map(|span| &span.trace_id[..]).collect();
    assert_eq!(traces.len(), 2, "the third callback and the refusal: {:?}", names(&others));
    assert_eq!(attribute(named(&others, "decide"), "verdict.outcome"), "reject");
    let refusal = others.iter().find(|span| !attribute(span, "verdict.code").is_empty()).unwrap();
    assert_eq!(attribute(refusal, "verdict.code"), "signature-missing");

    let documented = documented("| Span | Kind | Attributes |");
    for span in ours.iter().chain(&others) {
        assert!(span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty());
        for attribute in &span.attributes {
            assert!(documented.contains(&attribute.key), "{}: {}", span.name, attribute.key);
        }
    }
    let sent = collector.bytes();
    assert!(!String::from_utf8_lossy(&sent).contains("canary"), "something from outside");
    for log in logs {
        assert!(log.contains(&format!("\"trace\":\"{TRACE}\"")), "{log}");
    }
}

/// Every word between backquotes in the table with this head.
fn documented(head: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(head).unwrap();
    let table = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    table.flat_map(|row| row.split('`').skip(1).step_by(2).map(ToOwned::to_owned)).collect()
}

/// Every message of a log line there may be.
fn messages() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("| Message | Level | Fields | Meaning |").unwrap();
    let table = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    table.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn unavailable_trace_collector_costs_only_spans() {
    // Bound and never listening: connections are refused, and nobody else gets the port.
    let away = socket_address();
    let more = format!("[traces]\nendpoint = \"http://{}/v1/traces\"\n", away.1);
    let setting = Setting::new(Options { more, fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    for n in 0..5 {
        let message = callback(&format!("pass-97-{n}"), now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;
    eventually("lost spans are counted", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        let line =
            metrics.lines().find(|line| line.starts_with("verdict_traces_dropped_total "))?;
        let dropped: u32 = line.split(' ').nth(1)?.parse().ok()?;
        (dropped >= 5 * 5).then_some(())
    })
    .await;
    let log = stopped(process).await;
    assert_eq!(log.matches("trace collector unavailable").count(), 1, "{log}");
    assert!(!log.contains(&away.1.to_string()), "its address is not told");
}

fn socket_address() -> (tokio::net::TcpSocket, std::net::SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn disabled_tracing_writes_nothing() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let message = callback("pass-97", now()).with("traceparent", &parent);
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    setting.drained().await;
    let log = stopped(process).await;
    assert!(!log.contains(TRACE) && !log.contains("\"trace\""), "{log}");
    let pool = setting.database.pool().await;
    let kept: i64 = sqlx::query_scalar("select count(trace_parent) from verifications")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn every_log_key_and_message_is_on_the_list() {
    let collector = Collector::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let options = Options {
        more: collector.configuration(),
        images: format!("store = \"file://{}\"", folder.path().display()),
        fixed_clock: false,
        ..Options::default()
    };
    let setting = Setting::new(options).await;
    let process = setting.serve().await;
    let biz_ids = [
        "pass-97",
        "quit-1-then-pass-97",
        "invalidbiz",
        "garbage",
        "http-503-x1-then-pass-97",
        "error-SignatureDoesNotMatch-x1-then-pass-97",
        "pass-97-deadimages",
    ];
    for biz_id in biz_ids {
        assert_eq!(process.post(&setting.client, callback(biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    let unknown = "/v1/verifications/01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0/refetch";
    assert_eq!(setting.ask("POST", process.http, unknown, &[]).await.status, 404);
    // Losing the database for a moment produces log lines that are otherwise rare.
    let pool = setting.database.pool().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(end).execute(&pool).await.unwrap();
    assert_eq!(process.post(&setting.client, callback("pass-98", now())).await, Some(202));
    setting.drained().await;
    let log = stopped(process).await;
    let listed = documented("| Field | Type | Meaning |");
    let messages = messages();
    let mut seen = BTreeSet::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(messages.contains(line["message"].as_str().unwrap()), "{line}");
        for key in line.as_object().unwrap().keys() {
            assert!(listed.contains(key), "{key} in {line}");
            seen.insert(key.clone());
        }
    }
    for key in ["trace", "duration_ms", "verify_status", "again_in_ms", "age_ms", "cause"] {
        assert!(seen.contains(key), "{key} is not in {seen:?}");
    }
}

#[tokio::test]
async fn violated_invariants_are_counted() {
    let database = new_database().await;
    let pool = database.pool().await;
    let store = database.store();
    for invariant in Invariant::ALL {
        assert_eq!(
            store.metrics_queries().violations(invariant).await.unwrap(),
            0,
            "{invariant:?}"
        );
    }
    let id = "'01900000-0000-7000-8000-00000000000";
    let verification = |n: u8, state: &str, due: &str| {
        format!(
            "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at,
                 give_up_at, due_at)
             values ({id}{n}', 't', 'i{n}', '{state}', now(), now(), now() + interval '1 hour', {due});"
        )
    };
    let broken = [
        // Due for long: held, and in nobody's hands.
        verification(1, "pending", "now() - interval '2 minutes'"),
        verification(2, "pending", "now() - interval '2 minutes'"),
        format!(
            "update verifications set lease_token = gen_random_uuid(),
                 lease_until = now() + interval '1 hour' where id = {id}1';"
        ),
        verification(3, "decided", "null"),
        format!(
            "insert into results (id, verification_id, attempt, fetched_at, http_status,
                 verify_status, evidence, sealed_body)
             values ({id}4', {id}3', 1, now(), 200, 1, '{{}}', '\\x');
             insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
                 decided_by, decided_at)
             values ({id}5', {id}1', {id}4', 'sha256:nobody', 'approve', '[]', 'policy', now());
             insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
             values ({id}4', 'archive', {id}3', now(), now() - interval '2 minutes',
                 now() + interval '1 hour');"
        ),
        verification(6, "failed", "null"),
    ];
    sqlx::raw_sql(sqlx::AssertSqlSafe(broken.concat())).execute(&pool).await.unwrap();
    for invariant in Invariant::ALL {
        assert_eq!(
            store.metrics_queries().violations(invariant).await.unwrap(),
            1,
            "{invariant:?}"
        );
    }
    assert_eq!(store.metrics_queries().failed().await.unwrap(), 1);
    let backlog = store.metrics_queries().backlog().await.unwrap();
    assert_eq!((backlog.waiting, backlog.leased, backlog.pending), (1, 1, 2));
    assert!(backlog.oldest_seconds >= 120.0);

    // As a worker reports it. The worker claims due work, so that is no violation.
    let options = Options { fixed_clock: false, database: Some(database), ..Options::default() };
    let app = crate::harness::TestApp::start_with(options).await;
    eventually("the metrics say it", || async {
        let metrics = app.client.get(format!("http://{}/metrics", app.operations));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        [
            "verdict_invariant_violations{invariant=\"due-without-owner\"} 0",
            "verdict_invariant_violations{invariant=\"decision-without-policy\"} 1",
            "verdict_invariant_violations{invariant=\"settled-without-decision\"} 1",
            "verdict_invariant_violations{invariant=\"image-past-deadline\"} 1",
            "verdict_verifications{state=\"failed\"} 1",
            "verdict_build_info{version=",
            "verdict_budget_queries_per_second 1000",
            "verdict_budget_ahead_seconds ",
            "verdict_leases{kind=\"verification\"}",
            "verdict_leases{kind=\"task\"}",
            "verdict_database_connections{state=\"busy\"}",
            "verdict_database_connections_max 16",
        ]
        .iter()
        .all(|line| metrics.contains(line))
        .then_some(())
    })
    .await;
}

#[tokio::test]
async fn slow_metrics_query_is_cancelled_by_the_server() {
    let database = new_database().await;
    let pool = database.pool().await;
    let store = database.store();
    store.metrics_queries().backlog().await.unwrap();
    // Every statement that reads the time now waits.
    sqlx::raw_sql(
        "create or replace function verdict_now() returns timestamptz language sql volatile
             return (select statement_timestamp() from pg_sleep(60))",
    )
    .execute(&pool)
    .await
    .unwrap();
    let began = std::time::Instant::now();
    let error = store.metrics_queries().backlog().await.unwrap_err();
    assert!(error.to_string().contains("57014"), "{error}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    let limit: String = sqlx::query_scalar("select current_setting('statement_timeout')")
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(limit, "0");
}
