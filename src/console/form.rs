//! Posted forms. They are read only from the console's own pages: the request has the same origin, and
//! the form carries the token of the session.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::refused::{Reason, Refused};
use super::signed_in::SignedIn;
use super::state::Console;
use crate::http::body_limits::MAX_BODY_BYTES;
use crate::http::problem::Problem;
use crate::http::read_body;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// A form of a person who is signed in. Its field `form_token` carries the session's token.
#[derive(Debug)]
pub struct Form<T>(pub T);

/// A form with a long text. As much may be typed as the API takes in a body, however a browser encodes
/// it.
#[derive(Debug)]
pub struct TextForm<T>(pub T);

/// The other fields of such a form.
const BESIDE_TEXT: usize = 4 * 1024;

/// A form that is filled in before anybody is signed in: its origin alone is checked.
#[derive(Debug)]
pub struct OpenForm<T>(pub T);

/// A form that is nothing but a button.
#[derive(Debug, Deserialize)]
pub struct NoFields {}

/// The field that every form of a session has.
#[derive(Deserialize)]
struct Token {
    form_token: String,
}

impl<T: DeserializeOwned> FromRequest<Console> for Form<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Refused> {
        let (person, body) = person_and_body(request, console).await?;
        let bytes = read_body::read(&console.api, body).await?;
        of_session(&person, &bytes)?;
        parsed(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Console> for TextForm<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Refused> {
        let (person, body) = person_and_body(request, console).await?;
        let bytes = read_body::read_form(&console.api, body).await?;
        of_session(&person, &bytes)?;
        let typed: usize = form_urlencoded::parse(&bytes).map(|(_, value)| value.len()).sum();
        if typed > MAX_BODY_BYTES + BESIDE_TEXT {
            return Err(Problem::body_too_large().into());
        }
        parsed(&bytes).map(Self)
    }
}

/// The person who posts a form of this console, and the body.
async fn person_and_body(request: Request, console: &Console) -> Result<(SignedIn, Body), Refused> {
    must_be_ours(console, request.headers())?;
    let (mut parts, body) = request.into_parts();
    Ok((SignedIn::from_request_parts(&mut parts, console).await?, body))
}

/// The form is of the person's session, and not of one before it.
fn of_session(person: &SignedIn, bytes: &[u8]) -> Result<(), Refused> {
    let token = parsed::<Token>(bytes).map_err(|_| Reason::FormOutdated)?.form_token;
    if bool::from(token.as_bytes().ct_eq(person.form_token.as_bytes())) {
        Ok(())
    } else {
        Err(Reason::FormOutdated.into())
    }
}

impl<T: DeserializeOwned> FromRequest<Console> for OpenForm<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Refused> {
        must_be_ours(console, request.headers())?;
        // Strangers send them, so they use the memory that strangers share.
        let bytes = read_body::read_unverified(&console.api, request.into_body()).await?;
        parsed(&bytes).map(Self)
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    // The error is left out: it may quote what was typed.
    serde_html_form::from_bytes(bytes).map_err(|_| Problem::invalid_field().into())
}

/// A link or a page of another site asks for it: nothing is put on record in the person's name then.
pub fn must_not_be_another_sites(headers: &HeaderMap) -> Result<(), Refused> {
    let site = headers.get(&SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Reason::OtherOrigin.into());
    }
    Ok(())
}

/// Whether a page shows it as a picture, as opposed to a tab or a download. Every browser that can show
/// the pages says so.
pub fn is_for_a_picture(headers: &HeaderMap) -> bool {
    headers.get(&SEC_FETCH_DEST).is_some_and(|dest| dest == "image")
}

/// Posted by a page of this console, as a form.
fn must_be_ours(console: &Console, headers: &HeaderMap) -> Result<(), Refused> {
    let site = headers.get(&SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin") || !has_our_origin(console, headers) {
        return Err(Reason::OtherOrigin.into());
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_form = media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if !is_form || headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::unsupported_media_type().into());
    }
    Ok(())
}

fn has_our_origin(console: &Console, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else {
        return false;
    };
    if let Some(url) = &console.settings.public_url {
        return origin == url.origin().ascii_serialization();
    }
    // Without a configured address, the origin is the host of the request.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let ours = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && ours == host
}
