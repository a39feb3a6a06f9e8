//! The paths of the public and of the operations listener, each with its handler.

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::ALLOW;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Api;
use super::large_answers::{self, LargeAnswers};
use super::problem::{self, Problem};
use super::{
    activations, backtests, callbacks, decisions, erasure, events, events_summary, health, images,
    material, metrics, openapi, policies, provider_callbacks, refetch, request_log, results,
    returns, reviews, search, start, timeline, verification, verifications, waiting,
    webhook_endpoints, webhook_keys, webhook_operations,
};

/// The public listener.
pub fn router(api: Api) -> Router {
    let (routes, described) = described_routes().split_for_parts();
    let routes = if api.docs {
        routes.merge(openapi::docs::routes(described, api.callback_form.as_ref()))
    } else {
        routes
    };
    finish(routes, api)
}

/// The public listener where callbacks have one of their own.
pub fn router_without_callbacks(api: Api) -> Router {
    let (routes, _) = api_routes().split_for_parts();
    let described = described_routes().split_for_parts().1;
    let routes = if api.docs {
        routes.merge(openapi::docs::routes(described, api.callback_form.as_ref()))
    } else {
        routes
    };
    finish(routes, api)
}

/// The listener of callbacks, which may face the internet.
pub fn callbacks_router(api: Api) -> Router {
    let (routes, _) = callback_routes().split_for_parts();
    let routes = routes.route("/healthz", get(health::live)).route("/readyz", get(health::ready));
    finish(routes, api)
}

/// The description of the API (OpenAPI 3.1).
pub fn description() -> serde_json::Value {
    openapi::document(described_routes().split_for_parts().1)
}

/// Each handler declares its own path; see [`super::openapi`].
fn described_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::frame()).merge(callback_routes()).merge(api_routes())
}

/// What senders of callbacks, the provider and users of face-verify call.
fn callback_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(callbacks::handler))
        .routes(routes!(provider_callbacks::handler))
        .routes(routes!(returns::handler))
}

fn api_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(verifications::list, start::handler))
        .routes(routes!(verification::handler))
        .routes(routes!(results::handler))
        .routes(routes!(decisions::handler))
        .routes(routes!(timeline::handler))
        .routes(routes!(waiting::handler))
        .routes(routes!(search::handler))
        .routes(routes!(refetch::one))
        .routes(routes!(refetch::many))
        .routes(routes!(reviews::list, reviews::give))
        .routes(routes!(material::handler, erasure::handler))
        .routes(routes!(images::list))
        .routes(routes!(images::read))
        .routes(routes!(events::handler))
        .routes(routes!(events_summary::handler))
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
        .routes(routes!(backtests::cancelled))
        .routes(routes!(webhook_endpoints::list, webhook_endpoints::add))
        .routes(routes!(
            webhook_endpoints::read,
            webhook_endpoints::change,
            webhook_endpoints::remove
        ))
        .routes(routes!(webhook_operations::test))
        .routes(routes!(webhook_operations::pause))
        .routes(routes!(webhook_operations::resume))
        .routes(routes!(webhook_operations::rotate_secret))
        .routes(routes!(webhook_operations::redeliver))
        .routes(routes!(webhook_operations::deliveries))
        .routes(routes!(webhook_keys::handler))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(problem::pages::handler))
        // Not around callbacks: their answers are small.
        .layer(from_fn_with_state(LargeAnswers::new(), large_answers::hold))
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
