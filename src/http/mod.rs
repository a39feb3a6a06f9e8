//! The HTTP contract: router, problem+json, auth, one file per endpoint.

mod activations;
pub mod auth;
mod backtests;
pub mod body;
pub mod callbacks;
mod conditional;
mod connections;
mod consent;
mod cursor;
mod decisions;
mod examples;
pub mod health;
mod images;
mod material;
pub mod memory;
mod openapi;
pub mod metrics;
mod parameters;
mod policies;
pub mod problem;
pub mod rate;
mod reach;
mod refetch;
mod request;
mod results;
mod reviews;
pub mod server;
mod refused;
pub mod sources;
pub mod texts;
mod timeline;
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
    /// What `/readyz` of the public listener found last.
    pub readiness: health::ReadinessCache,
    /// The public listener serves `/docs`.
    pub docs: bool,
    /// Internal callers.
    pub keys: ApiKeys,
    /// Who may post callbacks.
    pub sources: CurrentSources,
    /// How long an unfinished verification is asked about after its last callback.
    pub window: Duration,
    /// Limits of reading bodies.
    pub bodies: body::Limits,
    /// The provider account, for readiness.
    pub account: String,
    /// Opens what is sealed; `None`: this process has no keys.
    pub vault: Option<Arc<Vault>>,
    /// Where images are; `None`: this process has no store.
    pub archive: Option<Archive>,
    /// Has the provider start verifications; `None`: this process does not.
    pub starter: Option<Starter>,
    /// Which verdicts of persons need another's.
    pub four_eyes: FourEyes,
    /// What decides is changed by two persons.
    pub policies_need_two: bool,
    /// Texts for people.
    pub texts: Texts,
    /// This process also fetches.
    pub works: bool,
    /// Where it serves callers.
    pub listens: Option<std::net::SocketAddr>,
    /// When it looks into the database for its metrics.
    pub looks: metrics::Looks,
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
    let (routes, described) = described_routes().split_for_parts();
    let routes = if api.docs { routes.merge(openapi::docs(described)) } else { routes };
    finish(routes, api)
}

/// The description of the API (OpenAPI 3.1).
pub fn description() -> serde_json::Value {
    openapi::document(described_routes().split_for_parts().1)
}

/// Each handler says itself where it is; see [`openapi`].
fn described_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(callbacks::handler))
        .routes(routes!(verifications::list, verifications::start))
        .routes(routes!(verification::handler))
        .routes(routes!(results::handler))
        .routes(routes!(decisions::handler))
        .routes(routes!(timeline::handler))
        .routes(routes!(refetch::one))
        .routes(routes!(refetch::many))
        .routes(routes!(reviews::list, reviews::give))
        .routes(routes!(material::read, material::erase))
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
}

/// The operations listener: for the scraper and the orchestrator, not for callers.
pub fn operations_router(api: Api) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready_in_detail))
        .route("/metrics", get(metrics::handler));
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
