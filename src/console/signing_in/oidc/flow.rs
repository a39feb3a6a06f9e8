//! `/sign-in/oidc`: to the identity provider, and back with a code.
//!
//! The state meanwhile is in a cookie that only this host sets and reads. A person who could write it
//! could only sign in as themselves: the code is bound to its verifier, the token to its nonce.

use axum::extract::{Query, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::SET_COOKIE;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::client::{Client, Failed};
use super::token::Expected;
use crate::console::frame::page::see;
use crate::console::refused::{Reason, Refused};
use crate::console::signed_in::SignedIn;
use crate::console::signing_in::cookie;
use crate::console::signing_in::invitations::invited;
use crate::console::signing_in::sign_in::{begin as begin_session, local, signed_in};
use crate::console::state::Console;
use crate::domain::user::{Method, User};
use crate::http::problem::Problem;
use crate::store::sign_ins::Bound;
use crate::vault::token;

/// For a person to sign in there.
const WAIT: time::Duration = time::Duration::minutes(10);

#[derive(Deserialize)]
pub struct Wish {
    #[serde(default)]
    next: String,
    /// Binds the user of the invitation.
    invitation: Option<String>,
    /// The person proves again who it is.
    confirm: Option<String>,
}

/// The state that the browser keeps meanwhile.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
    invitation: Option<String>,
    confirm: bool,
    /// Seconds since 1970.
    begun: i64,
}

/// To the provider.
pub async fn begin(
    State(console): State<Console>,
    Query(wish): Query<Wish>,
) -> Result<Response, Refused> {
    let client = console.identity.as_ref().ok_or_else(Refused::not_found)?;
    console.tries.to_identity.take()?;
    if let Some(invitation) = &wish.invitation {
        invited(&console, invitation).await?;
    }
    let provider = client.provider().await.map_err(refused)?;
    let random = || token::generate().map(|token| token.to_string());
    let random = || random().map_err(|_| Problem::internal());
    let pending = Pending {
        state: random()?,
        nonce: random()?,
        verifier: random()?,
        next: local(&wish.next),
        invitation: wish.invitation,
        confirm: wish.confirm.is_some(),
        begun: console.api.clock.now().unix_timestamp(),
    };
    let address =
        authorization(&console, client, provider.authorization_endpoint.clone(), &pending);
    let kept = serde_json::to_vec(&pending).map_err(|_| Problem::internal())?;
    let kept = cookie::keeps_identity(&URL_SAFE_NO_PAD.encode(kept));
    let mut response = see(address.as_str());
    response.headers_mut().append(SET_COOKIE, kept.ok_or_else(Problem::internal)?);
    Ok(response)
}

fn authorization(
    console: &Console,
    client: &Client,
    mut address: url::Url,
    pending: &Pending,
) -> url::Url {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.as_bytes()));
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &client.settings.client_id)
        .append_pair("redirect_uri", &redirect(console))
        .append_pair("scope", "openid")
        .append_pair("state", &pending.state)
        .append_pair("nonce", &pending.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if pending.confirm {
        // To sign in there again, whoever is signed in already.
        address.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
    }
    address
}

fn redirect(console: &Console) -> String {
    format!("{}sign-in/oidc/return", console.url())
}

/// The provider's part of the address.
#[derive(Deserialize)]
pub struct Answer {
    code: Option<String>,
    state: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
}

/// Back from the provider.
pub async fn returned(
    State(console): State<Console>,
    headers: HeaderMap,
    who: Option<axum::Extension<SignedIn>>,
    Query(answer): Query<Answer>,
) -> Result<Response, Refused> {
    let client = console.identity.as_ref().ok_or_else(Refused::not_found)?;
    console.tries.from_identity.take()?;
    let now = console.api.clock.now();
    let (pending, code) = pending(&headers, &answer, client, now)?;
    let begun = OffsetDateTime::from_unix_timestamp(pending.begun).unwrap_or(now);
    let expected = Expected {
        issuer: &client.settings.issuer,
        client_id: &client.settings.client_id,
        nonce: &pending.nonce,
        now,
        proved_since: pending.confirm.then_some(begun),
    };
    let identified =
        client.identify(&code, &pending.verifier, &redirect(&console), &expected).await;
    let subject = identified.map_err(refused)?.sub;
    let mut response = match (&pending.invitation, pending.confirm) {
        (None, true) => {
            let who = who.ok_or(Reason::SignedOut)?.0;
            let same = user_of(&console, client, &subject).await?.id == who.user;
            if !same {
                return Err(Reason::NotInvited.into());
            }
            console.api.store.sign_ins().confirm(who.session).await?;
            see(&local(&pending.next))
        }
        (None, false) => {
            let user = user_of(&console, client, &subject).await?;
            let session = begin_session(&console, &user, Method::Oidc, &headers).await?;
            signed_in(&session, &local(&pending.next))?
        }
        (Some(invitation), _) => {
            let user = bind(&console, client, invitation, &subject).await?;
            let session = begin_session(&console, &user, Method::Oidc, &headers).await?;
            signed_in(&session, "/")?
        }
    };
    response.headers_mut().append(SET_COOKIE, cookie::drops_identity());
    Ok(response)
}

/// The sign-in that this browser began, if the answer belongs to it, and the code.
fn pending(
    headers: &HeaderMap,
    answer: &Answer,
    client: &Client,
    now: OffsetDateTime,
) -> Result<(Pending, String), Refused> {
    let other = || refused(Failed::Refused("the answer belongs to no sign-in of this browser"));
    let kept = cookie::identity(headers).and_then(|kept| URL_SAFE_NO_PAD.decode(kept).ok());
    let pending: Pending =
        kept.and_then(|kept| serde_json::from_slice(&kept).ok()).ok_or_else(other)?;
    let state = answer.state.as_deref().unwrap_or_default();
    let age = now.unix_timestamp() - pending.begun;
    let is_ours = bool::from(state.as_bytes().ct_eq(pending.state.as_bytes()))
        && (0..=WAIT.whole_seconds()).contains(&age)
        && answer.iss.as_ref().is_none_or(|issuer| *issuer == client.settings.issuer);
    if !is_ours {
        return Err(other());
    }
    let no_code = || refused(Failed::Refused("the provider signed nobody in"));
    let code = answer.code.clone().ok_or_else(no_code)?;
    Ok((pending, code))
}

/// The user that is this person there.
async fn user_of(console: &Console, client: &Client, subject: &str) -> Result<User, Refused> {
    let sign_ins = console.api.store.sign_ins();
    let user = sign_ins.user_of_identity(&client.settings.issuer, subject).await?;
    user.ok_or_else(|| Reason::NotInvited.into())
}

/// Binds the user of an invitation to this person.
async fn bind(
    console: &Console,
    client: &Client,
    invitation: &str,
    subject: &str,
) -> Result<User, Refused> {
    let (digest, now) = (token::digest(invitation), console.api.clock.now());
    let sign_ins = console.api.store.sign_ins();
    match sign_ins.bind(&digest, &client.settings.issuer, subject, now).await? {
        Bound::Done(_) => user_of(console, client, subject).await,
        Bound::NotInvited => Err(Reason::InvitationOver.into()),
        Bound::Taken => Err(Reason::IdentityTaken.into()),
    }
}

fn refused(failed: Failed) -> Refused {
    metrics::counter!("verdict_console_sign_ins_total", "outcome" => "refused").increment(1);
    tracing::warn!(error = %failed, "sign-in at the identity provider failed");
    match failed {
        Failed::Down(_) => Reason::IdentityDown.into(),
        Failed::Refused(_) => Reason::Identity.into(),
    }
}
