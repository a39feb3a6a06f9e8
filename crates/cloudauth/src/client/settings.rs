//! How the provider is reached, and in which of its forms.

use std::time::Duration;

use url::Url;

use crate::transport;

/// The API's version (2017-09-12 to 2018-09-16 do not have the call).
pub(super) const VERSION: &str = "2019-03-07";

/// The version of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureVersion {
    /// HMAC-SHA1 over the parameters.
    V2,
    /// `ACS3-HMAC-SHA256` over the request.
    V3,
}

/// How the parameters travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In a form body, which access logs do not keep.
    Post,
    /// In the query.
    Get,
}

/// The requested form of answers. Either is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The usual one.
    Json,
    /// The provider's default; its own FAQ advises against it.
    Xml,
}

/// How to reach the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port; plain `http` only to loopback. Serves every product.
    pub endpoint: Url,
    /// Where face verification is asked instead: the main region, and a spare one that is asked
    /// when the main one fails. A call may then take twice the timeout. Empty: only `endpoint`.
    /// Further ones are not asked.
    pub face_verify_endpoints: Vec<Url>,
    /// `RegionId`; not sent if empty.
    pub region: String,
    /// How requests are signed.
    pub signature: SignatureVersion,
    /// Where the parameters go.
    pub method: Method,
    /// The requested format of answers.
    pub format: Format,
    /// For name resolution, TCP and TLS.
    pub connect_timeout: Duration,
    /// For a whole call, its body included.
    pub timeout: Duration,
    /// The header `User-Agent`.
    pub user_agent: String,
}

impl Settings {
    /// The usual way: signature V3, a form body, JSON, 5 s to connect and 10 s for a call.
    pub fn new(endpoint: Url) -> Self {
        Self {
            endpoint,
            face_verify_endpoints: Vec::new(),
            region: String::new(),
            signature: SignatureVersion::V3,
            method: Method::Post,
            format: Format::Json,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            user_agent: transport::USER_AGENT.to_owned(),
        }
    }
}
