//! Signs one request. Pure: time and nonce come in as values.

use reqwest::header::CONTENT_LENGTH;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

use super::settings::{Format, Method, Settings, SignatureVersion, VERSION};
use crate::credentials::Credentials;
use crate::signing::{canonical_query, v2, v3};

const FORM: &str = "application/x-www-form-urlencoded";

/// Time and nonce of a request. The provider refuses a pair that it has seen.
pub(super) struct Stamp {
    pub(super) at: OffsetDateTime,
    pub(super) nonce: String,
}

impl Stamp {
    /// UTC to the second, as both signatures want it.
    fn timestamp(&self) -> String {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        // Cannot fail: every component is part of a date and time.
        self.at.to_utc().format(&form).unwrap_or_default()
    }
}

/// Where the parameters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into a form body.
    Form,
    /// Into the query, with an empty body.
    Query,
}

/// One call: what is asked, and how.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    pub(super) action: &'static str,
    pub(super) signature: SignatureVersion,
    pub(super) method: Method,
    pub(super) place: Place,
    pub(super) params: &'a [(&'a str, &'a str)],
}

/// A request ready to go.
pub(super) struct Signed {
    method: Method,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Signed {
    pub(super) fn into_builder(self, http: &reqwest::Client) -> reqwest::RequestBuilder {
        let mut builder = match self.method {
            Method::Post => http.post(self.url),
            Method::Get => http.get(self.url),
        };
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        match (self.body, self.method) {
            (Some(body), _) => builder.body(body),
            // Some proxies refuse one without a length.
            (None, Method::Post) => builder.header(CONTENT_LENGTH, 0),
            (None, Method::Get) => builder,
        }
    }
}

pub(super) fn sign(
    operation: &Operation<'_>,
    endpoint: &Url,
    settings: &Settings,
    credentials: &Credentials,
    stamp: &Stamp,
) -> Signed {
    let mut params = pairs(operation.params);
    if !settings.region.is_empty() {
        params.extend(pairs(&[("RegionId", settings.region.as_str())]));
    }
    let format = settings.format;
    match operation.signature {
        SignatureVersion::V2 => sign_v2(operation, endpoint, format, credentials, stamp, params),
        SignatureVersion::V3 => sign_v3(operation, endpoint, format, credentials, stamp, &params),
    }
}

fn sign_v2(
    operation: &Operation<'_>,
    endpoint: &Url,
    format: Format,
    credentials: &Credentials,
    stamp: &Stamp,
    mut params: Vec<(String, String)>,
) -> Signed {
    params.extend(pairs(&[
        ("Action", operation.action),
        ("Version", VERSION),
        ("Format", format_name(format)),
        ("AccessKeyId", &credentials.access_key_id),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &stamp.nonce),
        ("Timestamp", &stamp.timestamp()),
    ]));
    if let Some(token) = &credentials.security_token {
        params.extend(pairs(&[("SecurityToken", token.expose_secret())]));
    }
    let to_sign = v2::string_to_sign(method_name(operation.method), &params);
    let signature = v2::signature(credentials.access_key_secret.expose_secret(), &to_sign);
    params.push(("Signature".to_owned(), signature));
    let (url, body) = place(operation.place, endpoint, &params);
    let mut headers = pairs(&[("accept", accept(format))]);
    if body.is_some() {
        headers.extend(pairs(&[("content-type", FORM)]));
    }
    Signed { method: operation.method, url, headers, body }
}

fn sign_v3(
    operation: &Operation<'_>,
    endpoint: &Url,
    format: Format,
    credentials: &Credentials,
    stamp: &Stamp,
    params: &[(String, String)],
) -> Signed {
    let (url, body) = place(operation.place, endpoint, params);
    let hash = v3::hash(body.as_deref().unwrap_or_default().as_bytes());
    let mut headers = pairs(&[
        ("x-acs-action", operation.action),
        ("x-acs-version", VERSION),
        ("x-acs-date", &stamp.timestamp()),
        ("x-acs-signature-nonce", &stamp.nonce),
        ("x-acs-content-sha256", &hash),
    ]);
    if let Some(token) = &credentials.security_token {
        headers.extend(pairs(&[("x-acs-security-token", token.expose_secret())]));
    }
    if body.is_some() {
        headers.extend(pairs(&[("content-type", FORM)]));
    }
    // The connection writes the host by itself, in the same way.
    let mut covered = headers.clone();
    covered.extend(pairs(&[("host", &host(&url))]));
    let in_query = if body.is_some() { &[] } else { params };
    let authorization = v3::authorization(
        &credentials.access_key_id,
        credentials.access_key_secret.expose_secret(),
        method_name(operation.method),
        url.path(),
        in_query,
        &covered,
        &hash,
    );
    headers.extend(pairs(&[("authorization", authorization.as_str()), ("accept", accept(format))]));
    Signed { method: operation.method, url, headers, body }
}

/// The parameters into the form body or the query, encoded as they are for signing: that avoids
/// every difference between encoders.
fn place(place: Place, endpoint: &Url, params: &[(String, String)]) -> (Url, Option<String>) {
    let mut url = endpoint.clone();
    let encoded = canonical_query(params);
    match place {
        Place::Form => (url, Some(encoded)),
        Place::Query => {
            url.set_query(Some(&encoded));
            (url, None)
        }
    }
}

/// The host, and the port unless it is the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

const fn method_name(method: Method) -> &'static str {
    match method {
        Method::Post => "POST",
        Method::Get => "GET",
    }
}

const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Json => "JSON",
        Format::Xml => "XML",
    }
}

const fn accept(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Xml => "application/xml",
    }
}

/// Parameters or headers.
fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
