//! Temporary credentials from elsewhere: STS for an OIDC token, the metadata service of ECS, and
//! a credentials URI.

use std::path::Path;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;
use zeroize::Zeroizing;

use super::access_key::{Credentials, Miss};
use super::{Chain, ECS_METADATA, files};
use crate::signing::{canonical_query, percent_encode};
use crate::{transport, wire};

/// Answers of these services have about 2 KiB.
const MAX_BYTES: usize = 64 * 1024;
/// How long an assumed role lasts, in seconds (STS: at least 900; 3600 is its default).
const ROLE_SECONDS: &str = "3600";
/// How long a metadata token lasts, in seconds; the longest the service gives.
const METADATA_TOKEN_SECONDS: &str = "21600";
const METADATA_ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// The response of all three: STS nests it in `Credentials`, the others put it beside a `Code`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    code: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    security_token: Option<String>,
    expiration: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Option<Given>,
}

impl Given {
    fn into_credentials(self) -> Result<Credentials, String> {
        let secret =
            |text: Option<String>| text.filter(|text| !text.is_empty()).map(SecretString::from);
        let (id, key) = (self.access_key_id, secret(self.access_key_secret));
        let (Some(id), Some(key), Some(token)) = (id, key, secret(self.security_token)) else {
            return Err("the answer lacks a key or a token".to_owned());
        };
        let expires_at = self
            .expiration
            .and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok())
            .ok_or("the answer does not say until when")?;
        Ok(Credentials {
            access_key_id: id,
            access_key_secret: key,
            security_token: Some(token),
            expires_at: Some(expires_at),
        })
    }
}

impl Chain {
    /// `AssumeRoleWithOIDC` (RAM roles for Kubernetes service accounts).
    pub(super) async fn oidc(&self) -> Result<Credentials, Miss> {
        let get = |name: &str| {
            let value = self.environment.get(name);
            value.ok_or_else(|| Miss::Next(format!("{name} is not set")))
        };
        let role = get("ALIBABA_CLOUD_ROLE_ARN")?;
        let provider = get("ALIBABA_CLOUD_OIDC_PROVIDER_ARN")?;
        let file = get("ALIBABA_CLOUD_OIDC_TOKEN_FILE")?;
        let session = self
            .environment
            .get("ALIBABA_CLOUD_ROLE_SESSION_NAME")
            .or(self.settings.session_name.as_deref());
        let session = session.unwrap_or("cloudauth");
        // The cluster renews the file: read it every time.
        let token = files::read(Path::new(file))
            .await
            .map_err(|reason| Miss::Stop(format!("the token file cannot be read ({reason})")))?;
        let request = self.assume_role(role, provider, token.trim(), session)?;
        let body = ask(request).await.map_err(|lacks| Miss::Stop(format!("STS: {lacks}")))?;
        let assumed: Option<Assumed> = serde_json::from_slice(&body).ok();
        let given = assumed.and_then(|assumed| assumed.credentials);
        given
            .ok_or_else(|| "the answer has no credentials".to_owned())
            .and_then(Given::into_credentials)
            .map_err(|lacks| Miss::Stop(format!("STS: {lacks}")))
    }

    /// The call is not signed: the token speaks for itself, so it travels in the body.
    fn assume_role(
        &self,
        role: &str,
        provider: &str,
        token: &str,
        session: &str,
    ) -> Result<RequestBuilder, Miss> {
        let mut url = self.sts_endpoint().ok_or_else(|| {
            Miss::Stop("ALIBABA_CLOUD_STS_REGION does not make a host name".to_owned())
        })?;
        let now = self.clock.now().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let timestamp = now.format(&Rfc3339).unwrap_or_default();
        url.set_query(Some(&form(&[
            ("Action", "AssumeRoleWithOIDC"),
            ("Version", "2015-04-01"),
            ("Format", "JSON"),
            ("Timestamp", &timestamp),
        ])));
        let body = form(&[
            ("RoleArn", role),
            ("OIDCProviderArn", provider),
            ("OIDCToken", token),
            ("RoleSessionName", session),
            ("DurationSeconds", ROLE_SECONDS),
        ]);
        let kind = "application/x-www-form-urlencoded";
        Ok(self.far.post(url).header("content-type", kind).body(body))
    }

    fn sts_endpoint(&self) -> Option<Url> {
        if let Some(endpoint) = &self.settings.sts_endpoint {
            return Some(endpoint.clone());
        }
        let vpc = self.environment.is_on("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
        let host = match self.environment.get("ALIBABA_CLOUD_STS_REGION") {
            None => "sts.aliyuncs.com".to_owned(),
            Some(region) => {
                let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if !region.bytes().all(named) {
                    return None;
                }
                format!("sts{}.{region}.aliyuncs.com", if vpc { "-vpc" } else { "" })
            }
        };
        Url::parse(&format!("https://{host}/")).ok()
    }

    /// The role of the machine, by the second version of the metadata service (the first can be
    /// reached through a server-side request forgery, so it is not asked).
    pub(super) async fn ecs_role(&self) -> Result<Credentials, Miss> {
        if self.environment.is_on("ALIBABA_CLOUD_ECS_METADATA_DISABLED") {
            return Err(Miss::Next("switched off".to_owned()));
        }
        // A role that was named is meant; most machines have none.
        let named = self.environment.get("ALIBABA_CLOUD_ECS_METADATA").is_some();
        self.ask_metadata().await.map_err(if named { Miss::Stop } else { Miss::Next })
    }

    async fn ask_metadata(&self) -> Result<Credentials, String> {
        let base = self.settings.ecs_metadata.as_ref().map_or(ECS_METADATA, Url::as_str);
        let base = base.trim_end_matches('/');
        let request = self
            .near
            .put(format!("{base}/latest/api/token"))
            .header("x-aliyun-ecs-metadata-token-ttl-seconds", METADATA_TOKEN_SECONDS);
        let token = text(&ask(request).await?)?;
        let get = |path: &str| {
            let request = self.near.get(format!("{base}{METADATA_ROLES}{path}"));
            request.header("x-aliyun-ecs-metadata-token", token.expose_secret())
        };
        let role = match self.environment.get("ALIBABA_CLOUD_ECS_METADATA") {
            Some(role) => role.to_owned(),
            None => text(&ask(get("")).await?)?.expose_secret().to_owned(),
        };
        given(&ask(get(&percent_encode(&role))).await?)
    }

    /// `ALIBABA_CLOUD_CREDENTIALS_URI`: a helper beside us hands out credentials.
    pub(super) async fn credentials_uri(&self) -> Result<Credentials, Miss> {
        let name = "ALIBABA_CLOUD_CREDENTIALS_URI";
        let uri = self.environment.get(name);
        let uri = uri.ok_or_else(|| Miss::Next(format!("{name} is not set")))?;
        let url = Url::parse(uri).map_err(|_| Miss::Stop(format!("{name} is not a URL")))?;
        let body = ask(self.near.get(url)).await.map_err(Miss::Stop)?;
        given(&body).map_err(Miss::Stop)
    }
}

fn given(body: &[u8]) -> Result<Credentials, String> {
    let given: Given =
        serde_json::from_slice(body).map_err(|_| "the answer is not credentials".to_owned())?;
    match given.code.as_deref() {
        Some("Success") => given.into_credentials(),
        _ => Err("the answer's code is not Success".to_owned()),
    }
}

/// Sends a request and gives the body of a 2xx answer.
async fn ask(request: RequestBuilder) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut response = transport::send(request).await.map_err(|failure| failure.to_string())?;
    let status = response.status();
    let body = transport::read_body(&mut response, MAX_BYTES).await;
    let body = body.map_err(|failure| failure.to_string())?;
    if body.len() > MAX_BYTES {
        return Err("the answer is too large".to_owned());
    }
    if status.is_success() {
        return Ok(body);
    }
    // The code is a closed word; the message may echo the token.
    let code = wire::read(status.as_u16(), &body).outcome;
    let code = code.err().and_then(|error| error.code).unwrap_or_default();
    Err(format!("HTTP {} {code}", status.as_u16()).trim_end().to_owned())
}

/// The first line of a text.
fn text(body: &[u8]) -> Result<SecretString, String> {
    let line = std::str::from_utf8(body).ok().and_then(|text| text.trim().lines().next());
    line.map(SecretString::from).ok_or_else(|| "the answer is empty".to_owned())
}

fn form(pairs: &[(&str, &str)]) -> String {
    let owned: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    canonical_query(&owned)
}
