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

use super::document::document;
use crate::http::book;

/// The pages run their own scripts and call this service, in no frame. Their scripts set styles, and
/// the style sheet contains icons.
const PAGES_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The routes of both.
pub fn routes<S: Clone + Send + Sync + 'static>(described: OpenApi) -> Router<S> {
    // Rendered once: a copy per request would let strangers fill the memory.
    let document = Bytes::from(document(described).to_string());
    let serve =
        move || std::future::ready(([(CONTENT_TYPE, "application/json")], document.clone()));
    let config = Config::from("/openapi.json").validator_url("none");
    let pages = Router::from(utoipa_swagger_ui::SwaggerUi::new("/docs").config(config));
    let pages = pages.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGES_POLICY);
        response
    }));
    Router::new().route("/openapi.json", get(serve)).merge(pages).merge(book::routes())
}
