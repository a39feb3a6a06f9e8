//! The paths of the console, each with its page or action.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use super::around::around;
use super::assets;
use super::refused::Refused;
use super::sign_in;
use super::state::Console;
use crate::http::request_log;

/// The listener for people.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/assets/{name}", get(assets::handler))
        .route("/sign-in", get(sign_in::page_of))
        .fallback(|| async { Refused::not_found() })
        .layer(CatchPanicLayer::custom(request_log::on_panic))
        .layer(from_fn_with_state(console.clone(), around))
        .layer(from_fn_with_state(console.api.clone(), request_log::observe))
        .with_state(console)
}
