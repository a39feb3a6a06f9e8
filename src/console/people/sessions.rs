//! `/sessions`: where a person is signed in, how the pages look, password and one-time codes.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use http::header::SET_COOKIE;
use serde::Deserialize;

use super::qr::{self, Qr};
use crate::console::form::{Form, NoFields};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::page::{page, see};
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::signing_in::cookie;
use crate::console::signing_in::invitations::wrong;
use crate::console::signing_in::proof::{Proof, Proved, TriedFrom};
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::ids::SessionId;
use crate::domain::user::{Language, Method, Theme};
use crate::domain::zone::Zone;
use crate::http::problem::Problem;
use crate::lanes::password_work;
use crate::vault::password;
use crate::vault::sealed_at::SealedAt;
use crate::vault::totp::TotpSecret;

/// One session, as it is shown.
struct Row {
    id: String,
    browser: String,
    method: Phrase,
    since: String,
    seen: String,
    ends: String,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    language: &'static str,
    theme: &'static str,
    zone: String,
    zones: Vec<String>,
    rows: Vec<Row>,
    has_password: bool,
    has_codes: bool,
    can_have_codes: bool,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
) -> Result<Response, Refused> {
    shown(&console, &who, None).await
}

async fn shown(
    console: &Console,
    who: &SignedIn,
    failed: Option<String>,
) -> Result<Response, Refused> {
    let mut layout = frame::of(console, who, Section::Own);
    let t = layout.t;
    let is_refused = failed.is_some();
    if let Some(failed) = failed {
        layout.say(Tone::Failed, failed);
    }
    let sessions = console.api.store.sign_ins().list(who.user).await?;
    let user = console.api.store.users().find(who.user).await?.ok_or_else(Refused::not_found)?;
    let rows = sessions.into_iter().map(|session| Row {
        id: session.id.to_string(),
        browser: session.browser,
        method: method(t, session.method.parse().unwrap_or(Method::Password)),
        since: who.zone.minute(session.created_at),
        seen: who.zone.minute(session.seen_at),
        ends: who.zone.minute(session.ends_at),
        is_this: session.id == who.session.0,
    });
    let response = page(&SessionsPage {
        t,
        layout,
        form_token: who.form_token.clone(),
        language: who.language.as_str(),
        theme: who.theme.as_str(),
        zone: who.zone.name().to_owned(),
        zones: Zone::names(),
        rows: rows.collect(),
        has_password: user.has_password,
        has_codes: user.has_codes,
        can_have_codes: console.key.is_some(),
    })?;
    Ok(if is_refused {
        marked(response, StatusCode::UNPROCESSABLE_ENTITY, "invalid-field")
    } else {
        response
    })
}

fn method(t: &Texts, method: Method) -> Phrase {
    match method {
        Method::Password => t.sessions.by_password,
        Method::Oidc => t.sessions.by_oidc,
        Method::Demo => t.sessions.by_demo,
    }
}

#[derive(Deserialize)]
pub(super) struct Reading {
    language: String,
    theme: String,
    zone: String,
}

/// How the person reads the pages.
pub(super) async fn set_reading(
    State(console): State<Console>,
    who: SignedIn,
    Form(reading): Form<Reading>,
) -> Result<Response, Refused> {
    let language: Language = reading.language.parse().map_err(|_| Problem::invalid_field())?;
    let theme: Theme = reading.theme.parse().map_err(|_| Problem::invalid_field())?;
    let zone = Zone::parse(&reading.zone).map_err(|_| Problem::invalid_field())?;
    console.api.store.users().set_reading(who.user, language, theme, &zone).await?;
    Ok(see("/sessions"))
}

/// Ends one of the person's sessions, perhaps this one.
pub(super) async fn end(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let id: SessionId = id.parse().map_err(|_| Refused::not_found())?;
    let context = who.audit_context(None, console.api.clock.now());
    if !console.api.store.sign_ins().end(id, who.user, &context).await? {
        return Err(Refused::not_found());
    }
    if id != who.session {
        return Ok(see("/sessions"));
    }
    let mut response = see("/sign-in");
    response.headers_mut().append(SET_COOKIE, cookie::signs_out());
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct NewPassword {
    current: String,
    #[serde(default)]
    code: String,
    password: String,
    again: String,
}

/// Another password; the one before has to be known.
pub(super) async fn set_password(
    State(console): State<Console>,
    who: SignedIn,
    Form(new): Form<NewPassword>,
) -> Result<Response, Refused> {
    let t = Texts::of(who.language);
    if let Some(failed) = wrong(t, &new.password, &new.again) {
        return shown(&console, &who, Some(failed.to_string())).await;
    }
    console.tries.signed_in.take()?;
    let proof = Proof {
        name: &who.name,
        password: new.current,
        code: &new.code,
        tried_from: TriedFrom::Session(who.session),
    };
    let failed = match proof.check(&console).await? {
        Proved::Is(_) => None,
        Proved::Wrong => Some(t.sessions.wrong_password.to_string()),
        Proved::TooEarly(wait) => Some(t.sign_in.too_early.with("seconds", wait).to_string()),
        Proved::Busy => Some(t.sign_in.busy.to_string()),
    };
    if failed.is_some() {
        return shown(&console, &who, failed).await;
    }
    let digest = password_work(move || password::digest(&new.password)).await;
    let digest = digest.map_err(Problem::from)?.map_err(|_| Problem::internal())?;
    let context = who.audit_context(None, console.api.clock.now());
    console.api.store.users().set_password(who.user, &digest, who.session, &context).await?;
    Ok(see("/sessions"))
}

#[derive(Template)]
#[template(path = "codes.html")]
struct CodesPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    secret: String,
    /// The secret in groups of four, to be typed.
    grouped: String,
    link: String,
    qr: Option<Qr>,
}

#[derive(Deserialize)]
pub(super) struct Code {
    secret: String,
    code: String,
}

/// A new secret, which counts once the app has shown that it has it.
pub(super) async fn codes(
    State(console): State<Console>,
    who: SignedIn,
) -> Result<Response, Refused> {
    who.must_have_confirmed()?;
    let secret = TotpSecret::generate().map_err(|_| Problem::internal())?;
    codes_page(&console, &who, &secret, false)
}

fn codes_page(
    console: &Console,
    who: &SignedIn,
    secret: &TotpSecret,
    is_wrong: bool,
) -> Result<Response, Refused> {
    let mut layout = frame::of(console, who, Section::Own);
    let t = layout.t;
    if is_wrong {
        layout.say(Tone::Failed, t.sessions.codes_wrong.to_string());
    }
    let secret = secret.text().to_string();
    let name: String = url::form_urlencoded::byte_serialize(who.name.as_bytes()).collect();
    let link = format!("otpauth://totp/Verdict:{name}?secret={secret}&issuer=Verdict");
    let groups: Vec<&str> =
        secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let grouped = groups.join(" ");
    let form_token = who.form_token.clone();
    let response =
        page(&CodesPage { t, layout, form_token, secret, grouped, qr: qr::of(&link), link })?;
    Ok(if is_wrong {
        marked(response, StatusCode::UNPROCESSABLE_ENTITY, "invalid-field")
    } else {
        response
    })
}

pub(super) async fn set_codes(
    State(console): State<Console>,
    who: SignedIn,
    Form(typed): Form<Code>,
) -> Result<Response, Refused> {
    who.must_have_confirmed()?;
    let key = console.key.as_ref().ok_or_else(Problem::unavailable)?;
    let secret = TotpSecret::parse(&typed.secret).ok_or_else(Problem::invalid_field)?;
    let now = console.api.clock.now();
    let Some(step) = secret.step_of(&typed.code, now) else {
        return codes_page(&console, &who, &secret, true);
    };
    let sealed = key.seal(SealedAt::TotpSecret(who.user), secret.bytes());
    let sealed = sealed.map_err(|_| Problem::internal())?;
    let context = who.audit_context(None, now);
    console.api.store.users().set_codes(who.user, &sealed, step, &context).await?;
    Ok(see("/sessions"))
}

pub(super) async fn remove_codes(
    State(console): State<Console>,
    who: SignedIn,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    who.must_have_confirmed()?;
    let context = who.audit_context(None, console.api.clock.now());
    console.api.store.users().remove_codes(who.user, &context).await?;
    Ok(see("/sessions"))
}
