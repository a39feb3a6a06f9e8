//! The paths of the console: each part of it lists its own.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::frame::around::around;
use super::refused::Refused;
use super::state::Console;
use super::{
    assets, audit, comparisons, desk, operations, people, policies, signing_in, verifications,
};
use crate::http::request_log;

/// The listener for people.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/assets/{name}", get(assets::handler))
        .route("/audit", get(audit::list))
        .route("/audit/verify", post(audit::verify))
        .route("/audit/export", get(audit::export))
        .merge(signing_in::routes())
        .merge(people::routes())
        .merge(desk::routes())
        .merge(verifications::routes())
        .merge(comparisons::routes())
        .merge(operations::routes())
        .merge(policies::routes())
        .fallback(|| async { Refused::not_found() })
        .layer(CatchPanicLayer::custom(request_log::on_panic))
        .layer(from_fn_with_state(console.clone(), around))
        .layer(from_fn_with_state(console.api.clone(), request_log::observe))
        .with_state(console)
}
