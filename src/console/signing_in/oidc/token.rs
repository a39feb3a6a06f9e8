//! Whether an ID token holds (OpenID Connect Core 1.0 §3.1.3.7). Nothing here does I/O.

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use strum::IntoStaticStr;
use time::OffsetDateTime;

/// Asymmetric ones alone: with a secret, whoever knows it could make tokens.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Clocks differ.
const LEEWAY_SECONDS: i64 = 60;
/// A token is made for one sign-in, and used at once.
const MAX_AGE_SECONDS: i64 = 600;

/// The values that a token must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: OffsetDateTime,
    /// The person had to prove anew who it is, not before this time.
    pub(super) proved_since: Option<OffsetDateTime>,
}

/// The claims that are used.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    nonce: Option<String>,
    iat: i64,
    exp: i64,
    aud: Audience,
    azp: Option<String>,
    auth_time: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Why a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub(super) enum Invalid {
    #[strum(serialize = "the ID token is malformed")]
    Malformed,
    #[strum(serialize = "the ID token is signed in a way that is not taken")]
    Algorithm,
    #[strum(serialize = "the ID token is signed with an unknown key")]
    UnknownKey,
    #[strum(serialize = "the signature, issuer or audience of the ID token is wrong")]
    Signature,
    #[strum(serialize = "the ID token is for another client")]
    OtherClient,
    #[strum(serialize = "the ID token has expired, or is of the future")]
    Time,
    #[strum(serialize = "the ID token is for another sign-in")]
    Nonce,
    #[strum(serialize = "the person did not prove anew who it is")]
    NotProved,
}

/// The claims of a token that holds.
pub(super) fn claims(
    token: &str,
    keys: &JwkSet,
    expected: &Expected<'_>,
) -> Result<Claims, Invalid> {
    let header = decode_header(token).map_err(|_| Invalid::Malformed)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Invalid::Algorithm);
    }
    let fitting = keys.keys.iter().filter(|key| fits(key, header.alg, header.kid.as_deref()));
    let mut fitting = fitting.filter_map(|key| DecodingKey::from_jwk(key).ok()).peekable();
    if fitting.peek().is_none() {
        return Err(Invalid::UnknownKey);
    }
    let mut rules = Validation::new(header.alg);
    rules.set_issuer(&[expected.issuer]);
    rules.set_audience(&[expected.client_id]);
    rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    // By our own clock, below.
    rules.validate_exp = false;
    let claims = fitting
        .find_map(|key| decode::<Claims>(token, &key, &rules).ok())
        .ok_or(Invalid::Signature)?
        .claims;
    check(&claims, expected).map(|()| claims)
}

/// A key that may have signed it. A token that names no key may be of any.
fn fits(key: &Jwk, algorithm: Algorithm, id: Option<&str>) -> bool {
    let common = &key.common;
    let signs = !matches!(common.public_key_use, Some(PublicKeyUse::Encryption))
        && common.key_operations.as_ref().is_none_or(|for_| for_.contains(&KeyOperations::Verify));
    let is_named = id.is_none_or(|id| common.key_id.as_deref() == Some(id));
    let of_algorithm =
        common.key_algorithm.is_none_or(|of| of.to_string() == format!("{algorithm:?}"));
    signs && is_named && of_algorithm
}

fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), Invalid> {
    let is_shared = matches!(&claims.aud, Audience::Several(all) if all.len() > 1);
    match (&claims.azp, &claims.aud) {
        (Some(party), _) if party != expected.client_id => return Err(Invalid::OtherClient),
        (None, _) if is_shared => return Err(Invalid::OtherClient),
        (_, Audience::One(only)) if only != expected.client_id => return Err(Invalid::OtherClient),
        _ => {}
    }
    let now = expected.now.unix_timestamp();
    let in_time = claims.exp > now - LEEWAY_SECONDS
        && claims.iat <= now + LEEWAY_SECONDS
        && claims.iat > now - MAX_AGE_SECONDS;
    if !in_time {
        return Err(Invalid::Time);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(Invalid::Nonce);
    }
    if let Some(since) = expected.proved_since {
        let since = since.unix_timestamp() - LEEWAY_SECONDS;
        if claims.auth_time.is_none_or(|at| at < since) {
            return Err(Invalid::NotProved);
        }
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 {
        return Err(Invalid::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
