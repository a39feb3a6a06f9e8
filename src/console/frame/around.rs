//! Around every request: who is signed in, the headers of every answer, refusals as pages.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_LANGUAGE, REFERER};
use http::{HeaderMap, Method, StatusCode, Uri};
use url::Url;

use super as frame;
use super::headers;
use super::layout::{Layout, Section};
use super::page::{page, see};
use super::refusal_texts;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::signing_in::cookie;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::user::{Language, Theme};
use crate::http::problem::Problem;
use crate::http::request_log::PageCode;

/// Served without a session, so without a query to the database.
const ASSETS: &str = "/assets/";

/// The request's person and language, known before it is answered.
struct Asked {
    person: Option<SignedIn>,
    language: Language,
    /// The page to come back to: what was asked for, or after a change the page with the form.
    back: String,
}

impl Asked {
    /// The frame without what needs the database, which may be the trouble.
    fn layout(&self, console: &Console) -> Layout {
        match &self.person {
            None => Layout::signed_out(self.language, Theme::Auto),
            Some(who) => frame::of(console, who, Section::Own),
        }
    }
}

pub async fn around(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let token = cookie::session(request.headers());
    let is_asset = request.uri().path().starts_with(ASSETS);
    let found = match token.filter(|_| !is_asset) {
        Some(token) => {
            let _permit = console.lookups.acquire().await;
            SignedIn::find(&console, token, is_activity(&request)).await
        }
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
    finished(&console, response, &asked)
}

/// A page that is left open renews its claim by itself: that keeps nobody signed in.
fn is_activity(request: &Request) -> bool {
    !request.uri().path().ends_with("/renew")
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

fn finished(console: &Console, mut response: Response, asked: &Asked) -> Response {
    // A panic, or the framework's own refusal.
    let problem = response.extensions_mut().remove::<Problem>().map(Refused::from);
    let refused = response.extensions_mut().remove::<Refused>().or(problem);
    if let Some(refused) = refused.or_else(|| of_framework(&response)) {
        response = rendered(console, &refused, asked);
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
fn rendered(console: &Console, refused: &Refused, asked: &Asked) -> Response {
    let next = || url::form_urlencoded::byte_serialize(asked.back.as_bytes()).collect::<String>();
    match refused {
        Refused::SignIn if asked.back == "/" => see("/sign-in"),
        Refused::SignIn => see(&format!("/sign-in?next={}", next())),
        Refused::Confirm => see(&format!("/confirm?next={}", next())),
        Refused::Page(reason, detail) => {
            let layout = asked.layout(console);
            let t = layout.t;
            let (title, remedy) = refusal_texts::of(&t.refusals, *reason);
            let code = reason.code();
            let shown =
                page(&RefusedPage { t, layout, title, detail: detail.clone(), remedy, code });
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
struct RefusedPage {
    t: &'static Texts,
    layout: Layout,
    title: Phrase,
    detail: Option<Cow<'static, str>>,
    remedy: String,
    code: &'static str,
}
