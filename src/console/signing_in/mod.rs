//! Signing in and out: by password and code, by OpenID Connect, by an invitation.

mod browser;
mod confirm;
pub(super) mod cookie;
pub(super) mod invitations;
pub mod oidc;
pub(super) mod proof;
pub(super) mod sign_in;

use axum::Router;
use axum::routing::{get, post};

use super::state::Console;

pub(super) fn routes() -> Router<Console> {
    let routes = Router::new()
        .route("/", get(sign_in::home))
        .route("/sign-in", get(sign_in::page_of).post(sign_in::sign_in))
        .route("/sign-in/oidc", get(oidc::flow::begin))
        .route("/sign-in/oidc/return", get(oidc::flow::returned))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/invitations/{token}", get(invitations::page_of).post(invitations::choose))
        .route("/confirm", get(confirm::page_of).post(confirm::confirm));
    #[cfg(feature = "demo")]
    let routes = routes.route("/sign-in/demo/{token}", get(sign_in::demo));
    routes
}
