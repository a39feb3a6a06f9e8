//! `GET /healthz` and `GET /readyz`: one word on the public listener, details on the operations
//! listener.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::api::Api;
use crate::store::account_breaker::Breaker;
use crate::store::{self, SchemaState};

/// Shorter than the timeouts of common probes.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1500);

/// Liveness probe.
#[utoipa::path(
    get, path = "/healthz", operation_id = "is-alive", tag = "health",
    responses((status = 200, body = Liveness)),
)]
pub async fn live() -> Response {
    Json(Liveness { status: "ok" }).into_response()
}

#[derive(Serialize, ToSchema)]
pub(super) struct Liveness {
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    status: &'static str,
}

/// For probes and the person on call.
#[derive(Serialize)]
struct Details {
    status: &'static str,
    database: &'static str,
    schema: String,
    provider: &'static str,
    stopping: bool,
    /// Identifies the database without its address; doctor compares it with its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    installation: Option<String>,
    /// Where this process serves callers.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
}

/// Readiness probe, cached for a second. `/readyz` of the operations listener has the details.
#[utoipa::path(
    get, path = "/readyz", operation_id = "is-ready", tag = "health",
    responses(
        (status = 200, body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    ),
)]
pub async fn ready(State(api): State<Api>) -> Response {
    let look = async { Box::pin(details(&api)).await.0 };
    let ready = !api.stop.is_cancelled() && api.readiness.get(look).await;
    (status_code(ready), Json(Readiness { status: word(ready) })).into_response()
}

/// Readiness with details: database, schema and, if this process runs workers, the provider's
/// account. A process without workers stays ready while the provider refuses the credentials,
/// because it still accepts callbacks durably.
pub async fn ready_in_detail(State(api): State<Api>) -> Response {
    let (ready, details) = details(&api).await;
    (status_code(ready), Json(details)).into_response()
}

/// The answer to a query; `None`: the query failed or took too long.
async fn in_time<T>(query: impl Future<Output = store::Result<T>>) -> Option<T> {
    tokio::time::timeout(QUERY_TIMEOUT, query).await.ok()?.ok()
}

fn status_code(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn word(ready: bool) -> &'static str {
    if ready { "ready" } else { "unavailable" }
}

async fn details(api: &Api) -> (bool, Details) {
    let (schema, breaker, writes, installation) = tokio::join!(
        in_time(api.store.schema_state()),
        in_time(api.store.accounts().breaker(&api.account)),
        in_time(api.store.takes_writes()),
        in_time(api.store.inspection().installation()),
    );
    let fit_schema = schema.is_some_and(SchemaState::serves);
    let refused = matches!(breaker, Some(Breaker::Credentials | Breaker::Clock));
    let fit_account = !(api.works && refused);
    let stopping = api.stop.is_cancelled();
    let ready = fit_schema && fit_account && writes == Some(true) && !stopping;
    let details = Details {
        status: word(ready),
        database: match (schema, writes) {
            (Some(_), Some(true)) => "ok",
            (_, Some(false)) => "read-only",
            _ => "unavailable",
        },
        schema: schema.map_or_else(|| "unknown".to_owned(), |state| state.to_string()),
        provider: match breaker {
            Some(Breaker::Closed) => "ok",
            Some(Breaker::Credentials) => "credentials-refused",
            Some(Breaker::Clock) => "clock-refused",
            Some(Breaker::Outage) => "outage",
            None => "unknown",
        },
        stopping,
        installation,
        http: api.listens,
    };
    (ready, details)
}
