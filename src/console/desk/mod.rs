//! The reviewers' pages: the queue, the claimed case in its three steps, and how well people judge.

mod case;
mod case_actions;
mod case_images;
mod faces;
pub(super) mod facts;
mod queue;
mod reasons;
mod reviewers;
mod verdict_form;
mod verdicts;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

pub(super) fn routes() -> Router<Console> {
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
