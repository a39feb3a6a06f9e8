//! `/confirm`: a person proves again who it is, before something that cannot be undone.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::proof::{Proof, Proved, TriedFrom};
use super::sign_in::local;
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::page::{page, see};
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::domain::user::Method;
use crate::http::problem::Problem;

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    next: String,
    method: Method,
    issuer: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Refused> {
    form(&console, &who, local(&next), None)
}

fn form(
    console: &Console,
    who: &SignedIn,
    next: String,
    failed: Option<String>,
) -> Result<Response, Refused> {
    let mut layout = frame::of(console, who, Section::Own);
    let is_refused = failed.is_some();
    if let Some(failed) = failed {
        layout.say(Tone::Failed, failed);
    }
    let t = layout.t;
    let (form_token, issuer) = (who.form_token.clone(), console.issuer_host());
    let response = page(&ConfirmPage { t, layout, form_token, next, method: who.method, issuer })?;
    Ok(if is_refused {
        marked(response, StatusCode::FORBIDDEN, "confirm-refused")
    } else {
        response
    })
}

pub(super) async fn confirm(
    State(console): State<Console>,
    who: SignedIn,
    Form(typed): Form<Typed>,
) -> Result<Response, Refused> {
    let (next, t) = (local(&typed.next), &Texts::of(who.language).sign_in);
    let failed = match who.method {
        // The demo's user has no password: the link that signed them in is the only proof there is.
        Method::Demo => None,
        // By a link to the identity provider.
        Method::Oidc => return Err(Problem::not_found().into()),
        Method::Password => {
            console.tries.signed_in.take()?;
            let proof = Proof {
                name: &who.name,
                password: typed.password,
                code: &typed.code,
                tried_from: TriedFrom::Session(who.session),
            };
            match proof.check(&console).await? {
                Proved::Is(user) if user.id == who.user => None,
                Proved::Is(_) | Proved::Wrong => Some(t.confirm_failed.to_string()),
                Proved::TooEarly(wait) => Some(t.too_early.with("seconds", wait).to_string()),
                Proved::Busy => Some(t.busy.to_string()),
            }
        }
    };
    if failed.is_some() {
        return form(&console, &who, next, failed);
    }
    console.api.store.sign_ins().confirm(who.session).await?;
    Ok(see(&next))
}
