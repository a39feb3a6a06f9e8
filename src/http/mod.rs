//! The HTTP contract: router, problem+json, auth, one file per endpoint.

pub mod auth;
pub mod callbacks;
mod decisions;
mod health;
mod images;
mod material;
mod parameters;
mod policies;
pub mod problem;
pub mod rate;
mod refetch;
mod request;
mod results;
pub mod server;
pub mod sources;
pub mod texts;
mod verification;
mod verifications;
mod view;
pub mod waiting;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::ALLOW;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::images::archive::Archive;
use crate::store::Store;
use crate::store::callbacks::Accepting;
use crate::store::signals::Signals;
use crate::store::verifications::Finding;
use crate::vault::Vault;
use auth::ApiKeys;
use problem::Problem;
use sources::CurrentSources;
use texts::Texts;
use waiting::Waiting;

/// What handlers work with. Every layer around a handler clones it with each request, so it is
/// one pointer: cloned part by part it was 3 % of the CPU of an accept.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for Api {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// The parts of an [`Api`].
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Group commit of callbacks.
    pub accepting: Accepting,
    /// Lookups of verifications.
    pub finding: Finding,
    /// Wake-ups.
    pub signals: Signals,
    /// Long polls.
    pub waiting: Waiting,
    /// Internal callers.
    pub keys: ApiKeys,
    /// Who may post callbacks.
    pub sources: CurrentSources,
    /// How long an unfinished verification is asked about after its last callback.
    pub window: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
    /// The provider account, for readiness.
    pub account: String,
    /// Opens what is sealed; `None`: this process has no keys.
    pub vault: Option<Arc<Vault>>,
    /// Where images are; `None`: this process has no store.
    pub archive: Option<Archive>,
    /// Texts for people.
    pub texts: Texts,
    /// This process also fetches.
    pub works: bool,
    /// Renders the metrics.
    pub render_metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Business time.
    pub clock: Clock,
    /// Ids.
    pub ids: Ids,
    /// Fires when the process is told to stop.
    pub stop: CancellationToken,
}

/// The public listener.
pub fn router(api: Api) -> Router {
    let routes = Router::new()
        .route("/v1/callbacks/{source}", post(callbacks::handler))
        .route("/v1/verifications", get(verifications::handler))
        .route("/v1/verifications/{id}", get(verification::handler))
        .route("/v1/verifications/{id}/results", get(results::handler))
        .route("/v1/verifications/{id}/decisions", get(decisions::handler))
        .route("/v1/verifications/{id}/material", get(material::read).delete(material::erase))
        .route("/v1/verifications/{id}/images", get(images::list))
        .route("/v1/verifications/{id}/images/{kind}", get(images::read))
        .route("/v1/policies", get(policies::list).post(policies::add))
        .route("/v1/policies/rollback", post(policies::roll_back))
        .route("/v1/policies/promote", post(policies::promote))
        .route("/v1/policies/shadow", axum::routing::delete(policies::end_shadow))
        .route("/v1/policies/{digest}", get(policies::text))
        .route("/v1/policies/{digest}/activate", post(policies::activate))
        .route("/v1/policies/{digest}/shadow", get(policies::compared).post(policies::shadow))
        .route("/v1/policies/{digest}/backtests", post(policies::backtest))
        .route("/v1/backtests/{id}", get(policies::backtested))
        .route("/v1/verifications/{id}/refetch", post(refetch::handler))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready));
    finish(routes, api)
}

/// The operations listener: for the scraper and the orchestrator, not for callers.
pub fn operations_router(api: Api) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    finish(routes, api)
}

fn finish(routes: Router<Api>, api: Api) -> Router {
    routes
        .fallback(|| async { Problem::not_found() })
        .layer(CatchPanicLayer::custom(request::on_panic))
        .layer(map_response(speak_our_language))
        .layer(from_fn_with_state(api.clone(), request::observe))
        .with_state(api)
}

/// The framework's own refusals become problems.
async fn speak_our_language(response: Response) -> Response {
    if response.extensions().get::<Problem>().is_some() {
        return response;
    }
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = response.headers().get(ALLOW).cloned();
            Problem::method_not_allowed().allow(allow).into_response()
        }
        // Only a path that is not UTF-8 once decoded gets here.
        StatusCode::BAD_REQUEST => Problem::not_found().into_response(),
        _ => response,
    }
}
