//! Templates become answers.

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use policy::visible;

use crate::console::refused::Refused;
use crate::http::problem::Problem;

/// The page of a template. Ids and references on it are any text of callers, and two that differ must
/// not look alike: no page holds a character that is invisible or reorders others.
pub fn page(template: &impl Template) -> Result<Response, Refused> {
    match template.render() {
        Ok(html) => Ok(Html(visible::shown_text(html)).into_response()),
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            Err(Problem::internal().into())
        }
    }
}

/// After a change: the page that shows what is now. Reloading it repeats nothing.
pub fn see(path: &str) -> Response {
    Redirect::to(path).into_response()
}
