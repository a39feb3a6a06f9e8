//! Signing in.

use askama::Template;
use axum::Extension;
use axum::response::Response;

use super::page::page;
use super::refused::Refused;
use crate::domain::user::Language;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    language: Language,
}

/// The form.
pub(super) async fn page_of(Extension(language): Extension<Language>) -> Result<Response, Refused> {
    page(&SignInPage { language })
}
