//! `GET /metrics`: the counters of this process, and gauges of the database.
//!
//! All scrapers of all replicas together must cost the database little, so the queries are throttled.
//! Gauges keep their values until the next query. A slow or unavailable database does not fail a
//! scrape: the queries have a deadline, and failed ones are counted.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use metrics::gauge;
use tokio::time::Instant;

use super::api::Api;
use super::query_throttle::{TIMEOUT, in_time};
use crate::store::account_breaker::Breaker;
use crate::store::metrics_queries::SourceBacklog;

/// Prometheus text.
pub async fn handler(State(api): State<Api>) -> Response {
    let deadline = Instant::now() + TIMEOUT;
    connections(&api);
    // The cheap queries first, so that a slow one does not time them out.
    if let Some(breaker) =
        in_time("breaker", deadline, api.store.accounts().breaker(&api.account)).await
    {
        for why in [Breaker::Credentials, Breaker::Clock, Breaker::Outage] {
            gauge!("verdict_breaker_open", "cause" => why.as_str()).set(u8::from(breaker == why));
        }
    }
    vault_keys(&api, deadline).await;
    work(&api, deadline).await;
    deliveries(&api, deadline).await;
    cases(&api, deadline).await;
    let text = (api.render_metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn connections(api: &Api) {
    let (open, idle) = api.store.connections();
    let idle = u32::try_from(idle).unwrap_or(u32::MAX);
    gauge!("verdict_database_connections", "state" => "idle").set(idle);
    gauge!("verdict_database_connections", "state" => "busy").set(open.saturating_sub(idle));
    gauge!("verdict_database_connections_max").set(api.store.max_connections());
    gauge!("verdict_database_tls_info", "sslmode" => api.store.protection().as_str()).set(1);
}

async fn work(api: &Api, deadline: Instant) {
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let query =
        api.query_throttles.backlog.run("backlog", deadline, api.store.metrics_queries().backlog());
    if let Some(backlog) = query.await {
        gauge!("verdict_queue_depth", "state" => "due").set(count(backlog.waiting));
        gauge!("verdict_queue_depth", "state" => "leased").set(count(backlog.leased));
        gauge!("verdict_oldest_due_seconds").set(backlog.oldest_seconds.max(0.0));
        gauge!("verdict_verifications", "state" => "pending").set(count(backlog.pending));
        gauge!("verdict_verifications", "state" => "unfinished").set(count(backlog.unfinished));
    }
    let query = api.query_throttles.sources.run(
        "sources",
        deadline,
        api.store.metrics_queries().source_backlogs(),
    );
    if let Some(backlogs) = query.await {
        let mut due: BTreeMap<String, i64> =
            api.sources.names().into_iter().map(|name| (name, 0)).collect();
        // Labels are a closed list: sources that are not configured count together.
        due.insert("unknown".to_owned(), 0);
        for SourceBacklog { source, due: more } in backlogs {
            let name = if due.contains_key(&source) { source } else { "unknown".to_owned() };
            *due.entry(name).or_default() += more;
        }
        for (source, due) in due {
            gauge!("verdict_source_due", "source" => source).set(count(due));
        }
    }
    let query =
        api.query_throttles.failed.run("failed", deadline, api.store.metrics_queries().failed());
    if let Some(failed) = query.await {
        gauge!("verdict_verifications", "state" => "failed").set(count(failed));
    }
    let query = api.query_throttles.tasks.run(
        "tasks",
        deadline,
        api.store.metrics_queries().task_backlog(),
    );
    if let Some(tasks) = query.await {
        gauge!("verdict_tasks", "kind" => "archive").set(count(tasks.archive));
        gauge!("verdict_tasks", "kind" => "delete-images").set(count(tasks.delete));
        gauge!("verdict_image_time_left_seconds").set(tasks.nearest_deadline.unwrap_or(f64::NAN));
    }
}

async fn deliveries(api: &Api, deadline: Instant) {
    let query = api.store.metrics_queries().delivery_backlog();
    let query = api.query_throttles.deliveries.run("deliveries", deadline, query);
    let Some(backlog) = query.await else { return };
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    gauge!("verdict_webhook_endpoints", "status" => "active").set(count(backlog.active));
    gauge!("verdict_webhook_endpoints", "status" => "failing").set(count(backlog.failing));
    gauge!("verdict_webhook_endpoints", "status" => "paused").set(count(backlog.paused));
    gauge!("verdict_webhook_endpoints", "status" => "disabled").set(count(backlog.disabled));
    gauge!("verdict_dead_letters").set(count(backlog.dead_letters));
    gauge!("verdict_oldest_undelivered_seconds")
        .set(backlog.oldest_seconds.unwrap_or(0.0).max(0.0));
    gauge!("verdict_events_head").set(count(backlog.head));
}

/// Labels are a closed list: scenes without a target of their own count together.
async fn cases(api: &Api, deadline: Instant) {
    let (targets, now) = (&api.reviews.targets, api.clock.now());
    let query = api.store.cases().counts(None, targets, now);
    let query = api.query_throttles.cases.run("cases", deadline, query);
    let Some(counts) = query.await else { return };
    let scenes = targets.scenes.keys().map(String::as_str).chain(["other"]);
    let mut queues: BTreeMap<&str, (i64, i64, f64)> =
        scenes.map(|scene| (scene, (0, 0, 0.0))).collect();
    for count in &counts {
        let own = targets.scenes.contains_key(&count.biz_type);
        let scene = if own { count.biz_type.as_str() } else { "other" };
        let (open, late, oldest) = queues.entry(scene).or_default();
        *open += count.open;
        *late += count.late;
        *oldest = oldest.max((now - count.oldest).as_seconds_f64());
    }
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    for (scene, (open, late, oldest)) in queues {
        gauge!("verdict_cases", "biz_type" => scene.to_owned()).set(count(open));
        gauge!("verdict_cases_late", "biz_type" => scene.to_owned()).set(count(late));
        gauge!("verdict_oldest_case_seconds", "biz_type" => scene.to_owned()).set(oldest);
    }
}

async fn vault_keys(api: &Api, deadline: Instant) {
    let Some(vault) = &api.vault else { return };
    let query = in_time("vault-keys", deadline, api.store.vault_keys().vault_keys_in_use());
    let Some(needed) = query.await else { return };
    for key_id in vault.ring().ids() {
        let needs = u8::from(needed.iter().any(|id| id == key_id));
        gauge!("verdict_vault_key_needed", "key_id" => key_id.to_owned(), "configured" => "yes")
            .set(needs);
    }
    for key_id in needed.into_iter().filter(|id| !vault.ring().has(id)) {
        gauge!("verdict_vault_key_needed", "key_id" => key_id, "configured" => "no").set(1);
    }
}
