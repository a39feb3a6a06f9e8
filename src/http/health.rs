//! `GET /healthz` and `GET /readyz`: details on the operations listener, one word on the public one,
//! where strangers ask.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Api;
use crate::store::SchemaState;
use crate::store::accounts::Breaker;

/// For what is asked of the database: who probes waits for a second or a few.
const LIMIT: Duration = Duration::from_millis(1500);
/// For so long the public listener repeats what it found, whoever asks how often.
const CACHED_FOR: Duration = Duration::from_secs(1);

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

/// What a balancer gets to see.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    status: &'static str,
}

/// What a readiness probe and the person on call get to see.
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

/// What the public listener found last. One request at a time asks the database; the others wait
/// for what it finds.
#[derive(Debug, Default)]
pub struct ReadinessCache(Mutex<Option<(Instant, bool)>>);

impl ReadinessCache {
    async fn get(&self, look: impl Future<Output = bool>) -> bool {
        let mut last = self.0.lock().await;
        if let Some((_, ready)) = last.filter(|(at, _)| at.elapsed() < CACHED_FOR) {
            return ready;
        }
        let ready = look.await;
        *last = Some((Instant::now(), ready));
        ready
    }
}

/// Readiness probe, from what was found within the last second. `/readyz` of the operations listener
/// has the details.
#[utoipa::path(
    get, path = "/readyz", operation_id = "is-ready", tag = "health",
    responses(
        (status = 200, body = Readiness),
        (status = 503, description = "Not fit to serve now", body = Readiness),
    ),
)]
pub async fn ready(State(api): State<Api>) -> Response {
    let look = async { details(&api).await.0 };
    let ready = !api.stop.is_cancelled() && api.readiness.get(look).await;
    (status_code(ready), Json(Readiness { status: word(ready) })).into_response()
}

/// The same on the operations listener: database, schema, and, where this process works, the
/// provider's account. A process that only accepts stays ready while the provider's credentials are
/// refused: callbacks are durable all the same.
pub async fn ready_in_detail(State(api): State<Api>) -> Response {
    let (ready, details) = details(&api).await;
    (status_code(ready), Json(details)).into_response()
}

fn status_code(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn word(ready: bool) -> &'static str {
    if ready { "ready" } else { "unavailable" }
}

async fn details(api: &Api) -> (bool, Details) {
    let queries = async {
        tokio::join!(
            api.store.schema_state(),
            api.store.breaker(&api.account),
            api.store.takes_writes(),
            api.store.installation(),
        )
    };
    let (schema, breaker, writes, installation) = match tokio::time::timeout(LIMIT, queries).await {
        Ok((schema, breaker, writes, installation)) => {
            (schema.ok(), breaker.ok(), writes.ok(), installation.ok())
        }
        Err(_) => (None, None, None, None),
    };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_requests_within_a_second_look_once() {
        let cache = ReadinessCache::default();
        let looks = AtomicUsize::new(0);
        let look = || async {
            looks.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            true
        };
        let requests = (0..1000).map(|_| cache.get(look()));
        assert!(futures_util::future::join_all(requests).await.into_iter().all(|ready| ready));
        assert_eq!(looks.load(Ordering::SeqCst), 1);
    }
}
