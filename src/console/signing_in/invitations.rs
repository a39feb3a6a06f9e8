//! `/invitations/{token}`: a person who was invited chooses how to sign in.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::sign_in::{begin, by_password};
use crate::console::form::OpenForm;
use crate::console::frame::layout::{Layout, Tone};
use crate::console::frame::page::page;
use crate::console::refused::{Reason, Refused, marked};
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::user::{Method, User};
use crate::http::problem::Problem;
use crate::lanes::password_work;
use crate::vault::password::{self, Weak};
use crate::vault::token;

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage {
    t: &'static Texts,
    layout: Layout,
    token: String,
    name: String,
    issuer: Option<String>,
}

#[derive(Deserialize)]
pub struct Chosen {
    password: String,
    again: String,
}

pub async fn page_of(
    State(console): State<Console>,
    Path(token): Path<String>,
) -> Result<Response, Refused> {
    let user = invited(&console, &token).await?;
    form(&console, token, &user, None)
}

fn form(
    console: &Console,
    token: String,
    user: &User,
    failed: Option<Phrase>,
) -> Result<Response, Refused> {
    // In the person's language: the browser may be set to another.
    let mut layout = Layout::signed_out(user.language, user.theme);
    let t = layout.t;
    if let Some(failed) = failed {
        layout.say(Tone::Failed, failed.to_string());
    }
    let (name, issuer) = (user.name.clone(), console.issuer_host());
    let response = page(&InvitationPage { t, layout, token, name, issuer })?;
    Ok(if failed.is_some() {
        marked(response, StatusCode::UNPROCESSABLE_ENTITY, "invalid-field")
    } else {
        response
    })
}

/// Whom the invitation is for.
pub async fn invited(console: &Console, token: &str) -> Result<User, Refused> {
    if !token::has_shape(token) {
        return Err(Reason::InvitationOver.into());
    }
    let _permit = console.lookups.acquire().await;
    let invited = console.api.store.sign_ins().invited(&token::digest(token)).await?;
    invited.ok_or_else(|| Reason::InvitationOver.into())
}

/// Sets the password and signs in.
pub async fn choose(
    State(console): State<Console>,
    Path(token): Path<String>,
    headers: HeaderMap,
    OpenForm(chosen): OpenForm<Chosen>,
) -> Result<Response, Refused> {
    let user = invited(&console, &token).await?;
    if let Some(failed) = wrong(Texts::of(user.language), &chosen.password, &chosen.again) {
        return form(&console, token, &user, Some(failed));
    }
    let digest = password_work(move || password::digest(&chosen.password)).await;
    let digest = digest.map_err(Problem::from)?.map_err(|_| Problem::internal())?;
    let now = console.api.clock.now();
    let sign_ins = console.api.store.sign_ins();
    let invited = sign_ins.choose_password(&token::digest(&token), &digest, now).await?;
    if invited != Some(user.id) {
        return Err(Reason::InvitationOver.into());
    }
    let session = begin(&console, &user, Method::Password, &headers).await?;
    by_password(&console, &user, &session, "/")
}

/// Checks a new password. `None`: it is good.
pub fn wrong(t: &Texts, password: &str, again: &str) -> Option<Phrase> {
    match password::chosen(password) {
        Err(Weak::Short) => Some(t.sign_in.too_short),
        Err(Weak::Long) => Some(t.sign_in.too_long),
        Ok(()) if password != again => Some(t.sign_in.not_the_same),
        Ok(()) => None,
    }
}
