//! `/sign-in`, `/sign-out` and `/`: by name and password, and out again.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::browser;
use super::cookie;
use super::proof::{self, Proof, Proved, TriedFrom};
use crate::console::form::{Form, NoFields, OpenForm};
use crate::console::frame::layout::{Layout, Tone};
use crate::console::frame::page::{page, see};
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::{self, SignedIn};
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::domain::scope::Scope;
use crate::domain::user::{Language, Method, Theme, User};
use crate::http::problem::Problem;
use crate::store::sign_ins::NewSession;
use crate::vault::token;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    t: &'static Texts,
    layout: Layout,
    next: String,
    name: String,
    issuer: Option<String>,
}

/// Where a person goes after signing in.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct Typed {
    name: String,
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// The form.
pub async fn page_of(
    State(console): State<Console>,
    Extension(language): Extension<Language>,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Refused> {
    form(&console, language, String::new(), local(&next), None)
}

fn form(
    console: &Console,
    language: Language,
    name: String,
    next: String,
    failed: Option<String>,
) -> Result<Response, Refused> {
    let mut layout = Layout::signed_out(language, Theme::Auto);
    let t = layout.t;
    let is_refused = failed.is_some();
    if let Some(failed) = failed {
        layout.say(Tone::Failed, failed);
    }
    let issuer = console.issuer_host();
    let response = page(&SignInPage { t, layout, next, name, issuer })?;
    Ok(if is_refused {
        marked(response, StatusCode::UNAUTHORIZED, "sign-in-refused")
    } else {
        response
    })
}

/// Signs in.
pub async fn sign_in(
    State(console): State<Console>,
    Extension(language): Extension<Language>,
    headers: HeaderMap,
    OpenForm(typed): OpenForm<Typed>,
) -> Result<Response, Refused> {
    let next = local(&typed.next);
    let t = &Texts::of(language).sign_in;
    let tried_from = TriedFrom::browser(&console, &typed.name, cookie::known(&headers));
    let is_known = matches!(tried_from, TriedFrom::Known(_));
    let limit = if is_known { &console.tries.known } else { &console.tries.unknown };
    limit.take()?;
    let (name, code) = (typed.name.as_str(), typed.code.as_str());
    let proof = Proof { name, password: typed.password, code, tried_from };
    let failed = match proof.check(&console).await? {
        Proved::Is(user) => {
            let token = begin(&console, &user, Method::Password, &headers).await?;
            return by_password(&console, &user, &token, &next);
        }
        Proved::Wrong => t.failed.to_string(),
        Proved::TooEarly(seconds) => t.too_early.with("seconds", seconds).to_string(),
        Proved::Busy => t.busy.to_string(),
    };
    form(&console, language, typed.name, next, Some(failed))
}

/// Begins a session; its token, for the cookie.
pub async fn begin(
    console: &Console,
    user: &User,
    method: Method,
    headers: &HeaderMap,
) -> Result<String, Refused> {
    let token = token::generate().map_err(|_| Problem::internal())?;
    let now = console.api.clock.now();
    let new = NewSession {
        digest: &token::digest(&token),
        id: console.api.ids.next(now),
        user: user.id,
        method,
        browser: &browser::of(headers),
    };
    let context = signed_in::context(user, now);
    if !console.api.store.sign_ins().begin(&new, &context).await? {
        return Err(Problem::unavailable().into());
    }
    tracing::info!(user = %user.id, kind = method.as_str(), "signed in");
    Ok(token.to_string())
}

/// The way in of a person who proved to be this user by password: the browser is known from now on.
pub fn by_password(
    console: &Console,
    user: &User,
    token: &str,
    next: &str,
) -> Result<Response, Refused> {
    let mut response = signed_in(token, next)?;
    let mark = proof::mark(console, &user.name).and_then(|mark| cookie::keeps_known(&mark));
    if let Some(mark) = mark {
        response.headers_mut().append(SET_COOKIE, mark);
    }
    Ok(response)
}

/// The way in, with the cookie of the session.
pub fn signed_in(token: &str, next: &str) -> Result<Response, Refused> {
    let cookie = cookie::signs_in(token).ok_or_else(Problem::internal)?;
    let mut response = see(next);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session. The demo's goes on: its link is printed once.
pub async fn sign_out(
    State(console): State<Console>,
    who: SignedIn,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    if who.method != Method::Demo {
        let context = who.audit_context(None, console.api.clock.now());
        console.api.store.sign_ins().end(who.session, who.user, &context).await?;
    }
    let mut response = see("/sign-in");
    response.headers_mut().append(SET_COOKIE, cookie::signs_out());
    Ok(response)
}

/// The link that the demo prints: it is the token of a session.
#[cfg(feature = "demo")]
pub async fn demo(
    State(console): State<Console>,
    axum::extract::Path(token): axum::extract::Path<String>,
) -> Result<Response, Refused> {
    let found = SignedIn::find(&console, &token, true).await?;
    found.filter(|who| who.method == Method::Demo).ok_or_else(Refused::not_found)?;
    signed_in(&token, "/")
}

/// The first page that the person may open.
pub async fn home(who: SignedIn) -> Response {
    see(first_page(|scope| who.has(scope))).into_response()
}

/// Where a person with these rights begins: what their day is about comes first.
fn first_page(has: impl Fn(Scope) -> bool) -> &'static str {
    let first = [
        (Scope::ReviewsWrite, "/cases"),
        (Scope::OperationsRead, "/operations"),
        (Scope::PoliciesWrite, "/policies"),
        (Scope::DecisionsRead, "/verifications"),
        (Scope::AuditRead, "/audit"),
        (Scope::MaterialRead, "/persons"),
        (Scope::UsersWrite, "/users"),
    ];
    first.into_iter().find(|(scope, _)| has(*scope)).map_or("/sessions", |(_, path)| path)
}

/// A page of this console, and never another site's.
pub fn local(next: &str) -> String {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|b| b.is_ascii_graphic());
    let leads_round = ["/sign-in", "/sign-out", "/invitations", "/confirm"];
    let is_useful = is_path && !leads_round.iter().any(|path| next.starts_with(path));
    if is_useful { next.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{first_page, local};
    use crate::console::frame::layout::navigation;
    use crate::console::texts::Texts;
    use crate::domain::scope::Scope;
    use crate::domain::user::Language;

    #[test]
    fn everybody_with_a_page_begins_at_one() {
        let t = Texts::of(Language::En);
        for scope in Scope::ALL {
            let own: Vec<&str> = navigation(t)
                .iter()
                .filter(|(_, right, ..)| *right == scope)
                .map(|(.., href)| *href)
                .collect();
            let first = first_page(|has| has == scope);
            assert!(own.contains(&first) || (own.is_empty() && first == "/sessions"), "{scope}");
        }
        assert_eq!(first_page(|_| true), "/cases");
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(local("/cases?scene=a&after=%2B"), "/cases?scene=a&after=%2B");
        for bad in [
            "",
            "cases",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/cases\r\nset-cookie: a=b",
            "/a b",
            "/sign-in?next=/",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }
}
