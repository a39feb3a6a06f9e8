//! The users of the console, and a person's own sessions and settings.

mod qr;
mod sessions;
mod users;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

pub(super) fn routes() -> Router<Console> {
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
