//! Asks the identity provider: what it is, with which keys it signs, and for the ID token of a code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::Url;

use super::token::{self, Claims, Expected};
use crate::console::signing_in::oidc::Settings;

/// For one request, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MAX_BYTES: usize = 1 << 20;
/// How long the provider's own description and its keys are used.
const KEPT: Duration = Duration::from_hours(1);
/// Between two looks for a key that is not among the known ones.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Why nobody was identified. It holds neither personal data nor a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The provider does not answer, or not as OpenID Connect says.
    #[error("{0}")]
    Down(&'static str),
    /// The provider's answer or token is not valid.
    #[error("{0}")]
    Refused(&'static str),
}

/// No client can be set up: the cryptographic library refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused")]
pub struct Unusable;

/// The part of the provider's description that is used (OpenID Connect Discovery 1.0 §3).
#[derive(Debug, Deserialize)]
pub struct Provider {
    issuer: String,
    pub authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// A client of the provider.
pub struct Client {
    pub settings: Settings,
    http: reqwest::Client,
    provider: Mutex<Option<(Instant, Arc<Provider>)>>,
    keys: Mutex<Option<(Instant, Arc<JwkSet>)>>,
}

impl Client {
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(TIMEOUT / 2)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .build()
            .map_err(|_| Unusable)?;
        Ok(Self { settings, http, provider: Mutex::default(), keys: Mutex::default() })
    }

    /// The provider's own description.
    pub async fn provider(&self) -> Result<Arc<Provider>, Failed> {
        let mut known = self.provider.lock().await;
        if let Some((at, provider)) = &*known
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(provider));
        }
        let address = format!(
            "{}/.well-known/openid-configuration",
            self.settings.issuer.trim_end_matches('/')
        );
        let provider: Provider = answer(self.http.get(address)).await?;
        if provider.issuer != self.settings.issuer {
            return Err(Failed::Refused(
                "the provider names another issuer than the configuration",
            ));
        }
        let endpoints =
            [&provider.authorization_endpoint, &provider.token_endpoint, &provider.jwks_uri];
        if !endpoints.into_iter().all(is_protected) {
            return Err(Failed::Refused("the provider has an endpoint without TLS"));
        }
        let provider = Arc::new(provider);
        *known = Some((Instant::now(), Arc::clone(&provider)));
        Ok(provider)
    }

    /// The person of a code, by an ID token that holds.
    pub(super) async fn identify(
        &self,
        code: &str,
        verifier: &str,
        redirect: &str,
        expected: &Expected<'_>,
    ) -> Result<Claims, Failed> {
        let provider = self.provider().await?;
        // RFC 6749 §2.3.1: both are encoded as in a form, then as a password.
        let encoded =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = encoded(self.settings.client_secret.expose_secret());
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect)
            .append_pair("code_verifier", verifier)
            .finish();
        let request = self
            .http
            .post(provider.token_endpoint.clone())
            .basic_auth(encoded(&self.settings.client_id), Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form);
        let Tokens { id_token } = answer(request).await?;
        match token::claims(&id_token, &*self.keys(&provider, None).await?, expected) {
            Err(token::Invalid::UnknownKey) => {
                // The provider may have new ones.
                let keys = self.keys(&provider, Some(LOOK_AGAIN)).await?;
                token::claims(&id_token, &keys, expected).map_err(Into::into)
            }
            outcome => outcome.map_err(Into::into),
        }
    }

    /// The provider's keys, no older than this.
    async fn keys(
        &self,
        provider: &Provider,
        at_most: Option<Duration>,
    ) -> Result<Arc<JwkSet>, Failed> {
        let mut known = self.keys.lock().await;
        if let Some((at, keys)) = &*known
            && at.elapsed() < at_most.unwrap_or(KEPT)
        {
            return Ok(Arc::clone(keys));
        }
        let keys: Arc<JwkSet> = Arc::new(answer(self.http.get(provider.jwks_uri.clone())).await?);
        *known = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }
}

impl From<token::Invalid> for Failed {
    fn from(why: token::Invalid) -> Self {
        Self::Refused(why.into())
    }
}

/// The JSON of an answer of success.
async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, Failed> {
    let down = Failed::Down("the provider does not answer");
    let mut response = request.send().await.map_err(|_| down)?;
    match response.status().as_u16() {
        200 => {}
        400..=499 => return Err(Failed::Refused("the provider refused the request")),
        _ => return Err(Failed::Down("the provider answers that it fails")),
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|_| down)? {
        body.extend_from_slice(&part);
        if body.len() > MAX_BYTES {
            return Err(Failed::Down("the provider's answer is too long"));
        }
    }
    serde_json::from_slice(&body).map_err(|_| Failed::Down("the provider's answer is not readable"))
}

/// By TLS, or on this machine.
fn is_protected(url: &Url) -> bool {
    let on_this_machine = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && on_this_machine)
}
