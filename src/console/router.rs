//! The paths of the console, each with its page or action.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::around::around;
use super::refused::Refused;
use super::state::Console;
use super::{
    assets, audit, case, case_actions, case_images, confirm, invitations, oidc_flow, operations,
    persons, queue, reviewers, sessions, sign_in, users, verification, verification_actions,
    verifications,
};
use crate::http::request_log;

/// The listener for people.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/assets/{name}", get(assets::handler))
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
        .merge(signing_in())
        .merge(people())
        .merge(desk())
        .fallback(|| async { Refused::not_found() })
        .layer(CatchPanicLayer::custom(request_log::on_panic))
        .layer(from_fn_with_state(console.clone(), around))
        .layer(from_fn_with_state(console.api.clone(), request_log::observe))
        .with_state(console)
}

fn signing_in() -> Router<Console> {
    let routes = Router::new()
        .route("/", get(sign_in::home))
        .route("/sign-in", get(sign_in::page_of).post(sign_in::sign_in))
        .route("/sign-in/oidc", get(oidc_flow::begin))
        .route("/sign-in/oidc/return", get(oidc_flow::returned))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/invitations/{token}", get(invitations::page_of).post(invitations::choose))
        .route("/confirm", get(confirm::page_of).post(confirm::confirm));
    #[cfg(feature = "demo")]
    let routes = routes.route("/sign-in/demo/{token}", get(sign_in::demo));
    routes
}

fn people() -> Router<Console> {
    Router::new()
        .route("/sessions", get(sessions::page_of))
        .route("/sessions/reading", post(sessions::set_reading))
        .route("/sessions/password", post(sessions::set_password))
        .route("/sessions/codes", get(sessions::codes).post(sessions::set_codes))
        .route("/sessions/codes/remove", post(sessions::remove_codes))
        .route("/sessions/{id}/end", post(sessions::end))
        .route("/users", get(users::list).post(users::add))
        .route("/users/{id}", get(users::one))
        .route("/users/{id}/rights", post(users::change_rights))
        .route("/users/{id}/invite", post(users::invite))
        .route("/users/{id}/disable", post(users::disable))
        .route("/users/{id}/enable", post(users::enable))
        .route("/users/{id}/reset", post(users::reset))
}

/// What reviewers work on.
fn desk() -> Router<Console> {
    Router::new()
        .route("/cases", get(queue::page_of))
        .route("/cases/next", post(queue::next))
        .route("/assignments/{id}", get(case::page_of))
        .route("/assignments/{id}/images/{side}", get(case_images::read))
        .route("/assignments/{id}/judge", post(case_actions::judge))
        .route("/assignments/{id}/verdict", post(case_actions::verdict))
        .route("/assignments/{id}/undo", post(case_actions::undo))
        .route("/assignments/{id}/renew", post(case_actions::renew))
        .route("/assignments/{id}/skip", post(case_actions::skip))
        .route("/assignments/{id}/release", post(case_actions::release))
        .route("/assignments/{id}/escalate", post(case_actions::escalate))
        .route("/assignments/{id}/reveal", post(case_actions::reveal))
        .route("/reviewers", get(reviewers::page_of))
}
