//! `/openapi.json`, and `/docs`, which shows it, with the book below it: everything they need comes
//! from here.

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::callback_form::{self, CallbackForm};
use super::document::document;
use crate::http::book;

/// The pages run their own scripts and call this service, in no frame. The style sheet contains icons,
/// and the logo has one style element, which is named by its digest.
const PAGES_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The routes of both, with the form that a demo has.
pub fn routes<S: Clone + Send + Sync + 'static>(
    described: OpenApi,
    form: Option<&CallbackForm>,
) -> Router<S> {
    // Rendered once: a copy per request would let strangers fill the memory.
    let document = Bytes::from(document(described).to_string());
    let serve =
        move || std::future::ready(([(CONTENT_TYPE, "application/json")], document.clone()));
    let config = Config::from("/openapi.json").validator_url("none");
    let pages = Router::from(utoipa_swagger_ui::SwaggerUi::new("/docs").config(config));
    let pages = match form {
        Some(form) => callback_form::add_to(pages, form),
        None => pages,
    };
    let pages = pages.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGES_POLICY);
        response
    }));
    Router::new().route("/openapi.json", get(serve)).merge(pages).merge(book::routes())
}
