//! The HTTP contract: router, problem+json, auth, one file per endpoint.

mod activations;
pub mod auth;
mod backtests;
pub mod body;
pub mod callbacks;
mod connections;
mod cursor;
mod decisions;
mod erasure;
mod etag;
mod four_eyes;
pub mod health;
mod images;
pub mod long_polls;
mod material;
mod openapi;
pub mod memory_budget;
pub mod metrics;
mod other_source_cache;
mod policies;
pub mod problem;
mod purpose;
mod query_parameters;
pub mod rate_limit;
mod refetch;
mod request_body;
mod request_log;
mod results;
mod review_notes;
mod reviews;
mod scene_limits;
pub mod server;
pub mod sources;
mod start;
mod timeline;
mod times;
mod verification;
mod verifications;
mod view;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::ALLOW;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::domain::review::FourEyes;
use crate::domain::starting::Starter;
use crate::images::archive::Archive;
use crate::policies::cache::PolicyCache;
use crate::store::Store;
use crate::store::callbacks::Accepting;
use crate::store::signals::Signals;
use crate::store::verifications::VerificationLoader;
use crate::vault::Vault;
use auth::ApiKeys;
use long_polls::LongPolls;
use problem::Problem;
use sources::CurrentSources;

/// The handlers' state. Every layer around a handler clones it with each request, so it is one
/// pointer: cloning the parts one by one took 3 % of the CPU of an accept.
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
    pub store: Store,
    /// Group commit of callbacks.
    pub accepting: Accepting,
    /// Loads verifications in groups.
    pub loader: VerificationLoader,
    pub signals: Signals,
    pub long_polls: LongPolls,
    pub readiness: health::ReadinessCache,
    /// The public listener serves `/docs`.
    pub docs: bool,
    pub keys: ApiKeys,
    pub sources: CurrentSources,
    /// How long an unfinished verification is polled after its last callback.
    pub window: Duration,
    pub bodies: body::Limits,
    /// The provider account, for readiness.
    pub account: String,
    /// `None`: this process has no keys.
    pub vault: Option<Arc<Vault>>,
    /// `None`: this process has no image store.
    pub archive: Option<Archive>,
    /// `None`: this process starts no verifications.
    pub starter: Option<Starter>,
    /// The reviews that need a second person.
    pub four_eyes: FourEyes,
    /// Changing the active policy needs a second person.
    pub policies_need_two: bool,
    /// Compiled policies, for the texts of their reasons.
    pub policy_cache: Arc<PolicyCache>,
    /// This process also runs workers.
    pub works: bool,
    /// The public listener's address.
    pub listens: Option<std::net::SocketAddr>,
    /// Throttles the metrics' queries.
    pub query_throttles: metrics::QueryThrottles,
    pub render_metrics: Box<dyn Fn() -> String + Send + Sync>,
    pub clock: Clock,
    pub ids: Ids,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// The public listener.
pub fn router(api: Api) -> Router {
    let (routes, described) = described_routes().split_for_parts();
    let routes = if api.docs { routes.merge(openapi::docs::routes(described)) } else { routes };
    finish(routes, api)
}

/// The description of the API (OpenAPI 3.1).
pub fn description() -> serde_json::Value {
    openapi::document(described_routes().split_for_parts().1)
}

/// Each handler declares its own path; see [`openapi`].
fn described_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(callbacks::handler))
        .routes(routes!(verifications::list, start::handler))
        .routes(routes!(verification::handler))
        .routes(routes!(results::handler))
        .routes(routes!(decisions::handler))
        .routes(routes!(timeline::handler))
        .routes(routes!(refetch::one))
        .routes(routes!(refetch::many))
        .routes(routes!(reviews::list, reviews::give))
        .routes(routes!(material::handler, erasure::handler))
        .routes(routes!(images::list))
        .routes(routes!(images::read))
        .routes(routes!(policies::list, policies::add))
        .routes(routes!(policies::check))
        .routes(routes!(activations::roll_back))
        .routes(routes!(activations::deactivate))
        .routes(routes!(activations::promote))
        .routes(routes!(activations::end_shadow))
        .routes(routes!(policies::text))
        .routes(routes!(activations::activate))
        .routes(routes!(policies::compared, activations::shadow))
        .routes(routes!(backtests::backtest))
        .routes(routes!(policies::diff))
        .routes(routes!(backtests::backtested))
        .routes(routes!(backtests::flipped))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(problem::pages::handler))
}

/// The operations listener: for the scraper and the orchestrator, not for callers.
pub fn operations_router(api: Api) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready_in_detail))
        .route("/metrics", get(metrics::handler))
        .route("/problems/{code}", get(problem::pages::handler));
    finish(routes, api)
}

fn finish(routes: Router<Api>, api: Api) -> Router {
    routes
        .fallback(|| async { Problem::not_found() })
        .layer(CatchPanicLayer::custom(request_log::on_panic))
        .layer(map_response(framework_errors_to_problems))
        .layer(from_fn_with_state(api.clone(), request_log::observe))
        .with_state(api)
}

/// Turns the framework's own error responses into problems.
async fn framework_errors_to_problems(response: Response) -> Response {
    if response.extensions().get::<Problem>().is_some() {
        return response;
    }
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = response.headers().get(ALLOW).cloned();
            Problem::method_not_allowed().allow(allow).into_response()
        }
        // Only a path that is not UTF-8 after decoding gets here.
        StatusCode::BAD_REQUEST => Problem::not_found().into_response(),
        _ => response,
    }
}
