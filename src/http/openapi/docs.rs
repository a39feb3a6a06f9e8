//! `/openapi.json`, and `/docs`, which shows it, with the book below it: everything they need comes
//! from here.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::callback_form::{self, CallbackForm};
use super::document::document;
use crate::http::book;
use crate::http::problem::Problem;

/// The pages run their own scripts and call this service, in no frame. The style sheet contains icons,
/// and the logo has one style element, which is named by its digest.
const PAGES_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The element that the API's page fills; the form stands before it.
const PAGE: &str = r#"<div id="swagger-ui"></div>"#;
const TITLE: &str = "<title>Swagger UI</title>";
/// Without the viewport, a phone shows the page as wide as a desktop.
const HEAD: &str = r#"<title>Verdict API</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">"#;
const MAX_PAGE_BYTES: usize = 64 * 1024;

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
    let (assets, form) = match form {
        Some(form) => (callback_form::assets(), callback_form::html(form)),
        None => (Router::new(), String::new()),
    };
    let form: Arc<str> = form.into();
    let pages = pages
        .layer(map_response(move |response| complete(response, Arc::clone(&form))))
        .merge(assets);
    let pages = pages.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGES_POLICY);
        response
    }));
    Router::new().route("/openapi.json", get(serve)).merge(pages).merge(book::routes())
}

/// Gives the page its title, and the form if there is one.
async fn complete(response: Response, form: Arc<str>) -> Response {
    let is_html = |value: &HeaderValue| value.as_bytes().starts_with(b"text/html");
    if !response.headers().get(CONTENT_TYPE).is_some_and(is_html) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(page) = to_bytes(body, MAX_PAGE_BYTES).await else {
        return Problem::internal().into_response();
    };
    let page = String::from_utf8_lossy(&page).replacen(TITLE, HEAD, 1);
    let page = page.replacen(PAGE, &format!("{form}{PAGE}"), 1);
    parts.headers.remove(CONTENT_LENGTH);
    if !form.is_empty() {
        // It shows a secret.
        parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Response::from_parts(parts, Body::from(page))
}
