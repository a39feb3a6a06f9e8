//! Finding verifications and persons, everything about one verification, and what can be done with it.

mod actions;
mod images;
pub(super) mod list;
pub(super) mod one;
pub mod person;
mod persons;
pub mod pictures;
pub mod reveal;
pub mod timeline;
pub(super) mod waiting;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/verifications", get(list::list))
        .route("/verifications/{id}", get(one::page_of))
        .route("/verifications/{id}/refetch", post(actions::refetch))
        .route("/verifications/{id}/hold", post(actions::hold))
        .route("/verifications/{id}/lift-hold", post(actions::lift_hold))
        .route("/verifications/{id}/erase", post(actions::erase))
        .route("/verifications/{id}/reveal", post(one::reveal))
        .route("/verifications/{id}/images/{kind}", get(images::read))
        .route("/persons", get(persons::form).post(persons::look_up))
        .route("/persons/export", post(persons::export))
}
