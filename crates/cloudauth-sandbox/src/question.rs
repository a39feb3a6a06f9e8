//! The parameters of a call, from the query, the form body or the headers.

use axum::body::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use url::form_urlencoded;

/// The vendor's signature version of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RPC, HMAC-SHA1 in the parameters.
    V2,
    /// `ACS3-HMAC-SHA256` in the headers.
    V3,
}

/// One call, taken apart but not believed yet.
pub struct Question {
    /// Method really used.
    pub method: Method,
    /// Path really used.
    pub path: String,
    /// Parameters of the query, decoded.
    pub query: Vec<(String, String)>,
    /// Parameters of a form body, decoded.
    pub form: Vec<(String, String)>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// By the look of it.
    pub version: Version,
}

impl Question {
    /// Takes a request apart.
    pub fn new(parts: Parts, body: Bytes) -> Self {
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let is_form = text(&parts.headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|t| t.to_ascii_lowercase().contains("x-www-form-urlencoded"));
        let form = if is_form { pairs(&body) } else { Vec::new() };
        // The old Node SDK sends `x-acs-action` with its RPC calls, too.
        let is_rpc = query.iter().chain(&form).any(|(name, _)| name == "Signature");
        let is_v3 = text(&parts.headers, "authorization").is_some_and(|t| t.starts_with("ACS3-"))
            || (!is_rpc && parts.headers.contains_key("x-acs-action"));
        Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query,
            form,
            headers: parts.headers,
            body,
            version: if is_v3 { Version::V3 } else { Version::V2 },
        }
    }

    /// A parameter that is there and not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut all = self.query.iter().chain(&self.form);
        all.find(|(n, v)| n == name && !v.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A header that is there, not empty, and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name).filter(|value| !value.is_empty())
    }

    /// The requested operation.
    pub fn action(&self) -> Option<&str> {
        match self.version {
            Version::V2 => self.param("Action"),
            Version::V3 => self.header("x-acs-action"),
        }
    }

    /// In which version of the API.
    pub fn api_version(&self) -> Option<&str> {
        match self.version {
            Version::V2 => self.param("Version"),
            Version::V3 => self.header("x-acs-version"),
        }
    }

    /// The host as the caller knows it, with its port.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or("localhost")
    }

    /// Whether the answer shall be XML: RPC's default, but not that of the newer protocol.
    pub fn wants_xml(&self) -> bool {
        match self.version {
            Version::V2 => self.param("Format").is_none_or(|f| !f.eq_ignore_ascii_case("JSON")),
            Version::V3 => self
                .header("accept")
                .is_some_and(|accept| accept.contains("xml") && !accept.contains("json")),
        }
    }
}

/// Reads `application/x-www-form-urlencoded`.
pub fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// The first value of that name.
pub fn value<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}
