//! The paths of the console, each with its page or action.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::around::around;
use super::refused::Refused;
use super::sign_in;
use super::state::Console;
use super::{
    assets, audit, operations, persons, verification, verification_actions, verifications,
};
use crate::http::request_log;

/// The listener for people.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/assets/{name}", get(assets::handler))
        .route("/sign-in", get(sign_in::page_of))
        .route("/verifications", get(verifications::list))
        .route("/verifications/{id}", get(verification::page_of))
        .route("/verifications/{id}/refetch", post(verification_actions::refetch))
        .route("/verifications/{id}/hold", post(verification_actions::hold))
        .route("/verifications/{id}/lift-hold", post(verification_actions::lift_hold))
        .route("/verifications/{id}/erase", post(verification_actions::erase))
        .route("/verifications/{id}/reveal", post(verification::reveal))
        .route("/persons", get(persons::form).post(persons::look_up))
        .route("/persons/export", post(persons::export))
        .route("/operations", get(operations::page_of))
        .route("/operations/dead-letters", get(operations::dead_letters).post(operations::confirm))
        .route(
            "/webhook-endpoints/{id}",
            get(operations::endpoint).post(operations::act_on_endpoint),
        )
        .route("/audit", get(audit::list))
        .route("/audit/verify", post(audit::verify))
        .route("/audit/export", get(audit::export))
        .fallback(|| async { Refused::not_found() })
        .layer(CatchPanicLayer::custom(request_log::on_panic))
        .layer(from_fn_with_state(console.clone(), around))
        .layer(from_fn_with_state(console.api.clone(), request_log::observe))
        .with_state(console)
}
