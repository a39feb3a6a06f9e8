//! `GET /healthz` and `GET /readyz`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::store::SchemaState;
use crate::store::accounts::Breaker;

/// For what is asked of the database: who probes waits for a second or a few.
const LIMIT: Duration = Duration::from_millis(1500);

/// The process lives.
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

/// What a readiness probe and the person on call get to see.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    status: &'static str,
    database: &'static str,
    schema: String,
    provider: &'static str,
    stopping: bool,
}

/// Fit to serve: database, migrations, and, where this process works, the provider's account. A
/// process that only accepts stays ready while the provider's credentials are refused: callbacks
/// are durable all the same.
#[utoipa::path(
    get, path = "/readyz", operation_id = "is-ready", tag = "health",
    responses(
        (status = 200, body = Readiness),
        (status = 503, description = "Not fit to serve now", body = Readiness),
    ),
)]
pub async fn ready(State(api): State<Api>) -> Response {
    let looks = async { tokio::join!(api.store.schema_state(), api.store.breaker(&api.account)) };
    let (schema, breaker) = match tokio::time::timeout(LIMIT, looks).await {
        Ok((schema, breaker)) => (schema.ok(), breaker.ok()),
        Err(_) => (None, None),
    };
    let fit_schema = schema.is_some_and(SchemaState::serves);
    let refused = matches!(breaker, Some(Breaker::Credentials | Breaker::Clock));
    let fit_account = !(api.works && refused);
    let stopping = api.stop.is_cancelled();
    let ready = fit_schema && fit_account && !stopping;
    let readiness = Readiness {
        status: if ready { "ready" } else { "unavailable" },
        database: if schema.is_some() { "ok" } else { "unavailable" },
        schema: schema.map_or_else(|| "unknown".to_owned(), |state| state.to_string()),
        provider: match breaker {
            Some(Breaker::Closed) => "ok",
            Some(Breaker::Credentials) => "credentials-refused",
            Some(Breaker::Clock) => "clock-refused",
            Some(Breaker::Outage) => "outage",
            None => "unknown",
        },
        stopping,
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}
