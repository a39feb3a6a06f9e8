//! Around every request: who is signed in, the headers of every answer, refusals as pages.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_LANGUAGE, REFERER};
use http::{HeaderMap, Method, StatusCode, Uri};
use url::Url;

use super::page::{page, see};
use super::refused::{Reason, Refused};
use super::signed_in::SignedIn;
use super::state::Console;
use super::{cookie, headers};
use crate::domain::user::Language;
use crate::http::problem::Problem;
use crate::http::request_log::PageCode;

/// Nobody needs to be known for these, nor a query to the database.
const ASSETS: &str = "/assets/";

/// What is known of a request before it is answered.
struct Asked {
    person: Option<SignedIn>,
    language: Language,
    /// The page to come back to: what was asked for, or after a change the page with the form.
    back: String,
}

pub(super) async fn around(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    let token = cookie::session(request.headers());
    let is_asset = request.uri().path().starts_with(ASSETS);
    let found = match token.filter(|_| !is_asset) {
        Some(token) => SignedIn::find(&console, token).await,
        None => Ok(None),
    };
    let person = found.as_ref().ok().cloned().flatten();
    let asked = Asked {
        language: language(person.as_ref(), request.headers()),
        back: back(&request),
        person,
    };
    let response = match found {
        Ok(_) => {
            if let Some(person) = &asked.person {
                request.extensions_mut().insert(person.clone());
            }
            request.extensions_mut().insert(asked.language);
            next.run(request).await
        }
        Err(error) => Refused::from(error).into_response(),
    };
    finished(response, &asked)
}

/// The person's, or the browser's.
fn language(person: Option<&SignedIn>, headers: &HeaderMap) -> Language {
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    person.map_or_else(
        || Language::of_browser(accepted.unwrap_or_default()),
        |person| person.language,
    )
}

fn back(request: &Request) -> String {
    let target = |uri: &Uri| uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    if request.method() == Method::GET {
        return target(request.uri());
    }
    let referer = request.headers().get(REFERER).and_then(|value| value.to_str().ok());
    let referer = referer.and_then(|text| Url::parse(text).ok());
    referer.map_or_else(
        || "/".to_owned(),
        |url| url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
    )
}

fn finished(mut response: Response, asked: &Asked) -> Response {
    // A panic, or the framework's own refusal.
    let problem = response.extensions_mut().remove::<Problem>().map(Refused::from);
    let refused = response.extensions_mut().remove::<Refused>().or(problem);
    if let Some(refused) = refused.or_else(|| of_framework(&response)) {
        response = rendered(&refused, asked);
    }
    for (name, value) in headers::USUAL {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Refusals of the framework, which have no page yet.
fn of_framework(response: &Response) -> Option<Refused> {
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Some(Problem::method_not_allowed().into()),
        StatusCode::BAD_REQUEST => Some(Problem::not_found().into()),
        _ => None,
    }
}

/// A refusal as a page, or the way to another one.
fn rendered(refused: &Refused, asked: &Asked) -> Response {
    let next = || url::form_urlencoded::byte_serialize(asked.back.as_bytes()).collect::<String>();
    match refused {
        Refused::SignIn if asked.back == "/" => see("/sign-in"),
        Refused::SignIn => see(&format!("/sign-in?next={}", next())),
        Refused::Confirm => see(&format!("/confirm?next={}", next())),
        Refused::Page(reason, detail) => {
            let shown = page(&RefusedPage {
                language: asked.language,
                title: title(*reason),
                detail: detail.as_deref(),
                remedy: remedy(*reason),
                code: reason.code(),
            });
            // A template that cannot be rendered leaves an empty page with the right status.
            let mut response = shown.unwrap_or_else(|_| reason.status().into_response());
            *response.status_mut() = reason.status();
            response.extensions_mut().insert(PageCode(reason.code()));
            response
        }
    }
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    language: Language,
    title: &'a str,
    detail: Option<&'a str>,
    remedy: &'a str,
    code: &'a str,
}

fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::Problem(code) => code.title(),
        Reason::RightMissing(_) => "You do not have the right to do this",
        Reason::OtherScene => "This is about a scene that you do not work on",
        Reason::SignedOut => "You are signed out",
        Reason::FormOutdated => "This page is of an earlier session",
        Reason::OtherOrigin => "This did not come from a page of the console",
    }
}

fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Problem(code) => code.remedy(),
        Reason::RightMissing(_) | Reason::OtherScene => {
            "Somebody who may change users can give you the right."
        }
        Reason::SignedOut => "Sign in and do it again.",
        Reason::FormOutdated => "Open the page again and repeat what you did.",
        Reason::OtherOrigin => "Open the console at its own address and do it there.",
    }
}
