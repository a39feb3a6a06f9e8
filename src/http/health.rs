//! `GET /healthz`, `GET /readyz` and `GET /metrics`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::Api;
use crate::store::accounts::Breaker;

/// The process lives.
pub async fn live() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

/// What a readiness probe and the person on call get to see.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    database: &'static str,
    schema: String,
    provider: &'static str,
    stopping: bool,
}

/// Fit to serve: database, migrations, and, where this process works, the provider's account. A
/// process that only accepts stays ready while the provider's credentials are refused: callbacks
/// are durable all the same.
pub async fn ready(State(api): State<Api>) -> Response {
    let schema = api.store.schema_state().await;
    let breaker = api.store.breaker(&api.account).await.unwrap_or(Breaker::Closed);
    let fit_schema = schema.as_ref().is_ok_and(|state| state.serves());
    let fit_account = !api.works || matches!(breaker, Breaker::Closed | Breaker::Outage);
    let stopping = api.stop.is_cancelled();
    let ready = fit_schema && fit_account && !stopping;
    let readiness = Readiness {
        status: if ready { "ready" } else { "unavailable" },
        database: if schema.is_ok() { "ok" } else { "unavailable" },
        schema: schema.map_or_else(|_| "unknown".to_owned(), |state| state.to_string()),
        provider: match breaker {
            Breaker::Closed => "ok",
            Breaker::Credentials => "credentials-refused",
            Breaker::Clock => "clock-refused",
            Breaker::Outage => "outage",
        },
        stopping,
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Prometheus text.
pub async fn metrics(State(api): State<Api>) -> Response {
    let (open, idle) = api.store.connections();
    metrics::gauge!("verdict_database_connections", "state" => "open").set(open);
    metrics::gauge!("verdict_database_connections", "state" => "idle")
        .set(u32::try_from(idle).unwrap_or(u32::MAX));
    if let Ok(backlog) = api.store.backlog().await {
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        metrics::gauge!("verdict_due", "held" => "no").set(count(backlog.waiting));
        metrics::gauge!("verdict_due", "held" => "yes").set(count(backlog.leased));
        metrics::gauge!("verdict_oldest_due_seconds").set(backlog.oldest_seconds.max(0.0));
    }
    if let Ok(tasks) = api.store.task_backlog().await {
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        metrics::gauge!("verdict_tasks", "kind" => "archive").set(count(tasks.archive));
        metrics::gauge!("verdict_tasks", "kind" => "delete-images").set(count(tasks.delete));
        metrics::gauge!("verdict_image_time_left_seconds")
            .set(tasks.nearest_deadline.unwrap_or(f64::NAN));
    }
    if let Ok(breaker) = api.store.breaker(&api.account).await {
        for why in [Breaker::Credentials, Breaker::Clock, Breaker::Outage] {
            metrics::gauge!("verdict_breaker_open", "why" => why.as_str())
                .set(u8::from(breaker == why));
        }
    }
    if let (Some(vault), Ok(needed)) = (&api.vault, api.store.vault_keys_in_use().await) {
        for key_id in vault.ring().ids() {
            let needs = u8::from(needed.iter().any(|id| id == key_id));
            metrics::gauge!("verdict_vault_key_needed", "key_id" => key_id.to_owned(), "configured" => "yes")
                .set(needs);
        }
        for key_id in needed.into_iter().filter(|id| !vault.ring().has(id)) {
            metrics::gauge!("verdict_vault_key_needed", "key_id" => key_id, "configured" => "no")
                .set(1);
        }
    }
    let text = (api.render_metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
