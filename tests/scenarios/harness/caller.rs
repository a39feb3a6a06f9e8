//! A caller's side: callbacks signed by an independent library, and readable answers.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use standardwebhooks::Webhook;
use time::OffsetDateTime;
use verdict::vault::callback_signature::{Secret, sign};

/// The secret of source `app` in every test.
pub const SECRET: &str = "whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0";
static NEXT: AtomicU32 = AtomicU32::new(1);

/// One signed message, to be bent before it is sent.
#[derive(Clone, Debug)]
pub struct Callback {
    pub source: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A good callback about this verification, signed at `now`.
pub fn callback(biz_id: &str, now: OffsetDateTime) -> Callback {
    let body = serde_json::json!({ "biz_type": "test", "biz_id": biz_id });
    Callback::signed(&body.to_string(), now)
}

impl Callback {
    /// These bytes with a new message id.
    pub fn signed(body: &(impl AsRef<[u8]> + ?Sized), now: OffsetDateTime) -> Self {
        let id = format!("msg_{}", NEXT.fetch_add(1, Ordering::SeqCst));
        Self::signed_as(&id, body, now.unix_timestamp(), SECRET)
    }

    /// Everything as given, signed by the public library.
    pub fn signed_as(
        id: &str,
        body: &(impl AsRef<[u8]> + ?Sized),
        timestamp: i64,
        secret: &str,
    ) -> Self {
        let body = body.as_ref();
        let signature = match str::from_utf8(body) {
            Ok(_) => {
                let library = Webhook::new(secret).expect("a good secret");
                library.sign(id, timestamp, body).expect("signed")
            }
            // The public library signs text only.
            Err(_) => sign(&Secret::parse(secret).expect("a good secret"), id, timestamp, body),
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            source: "app".to_owned(),
            headers: vec![
                header("content-type", "application/json"),
                header("webhook-id", id),
                header("webhook-timestamp", &timestamp.to_string()),
                header("webhook-signature", &signature),
            ],
            body: body.to_vec(),
        }
    }

    /// With this header instead; an empty value takes it away.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The head of the request that posts it, with this line more.
    pub fn head(&self, more: &str) -> String {
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (source, headers) = (&self.source, headers.concat());
        format!("POST /v1/callbacks/{source} HTTP/1.1\r\nhost: x\r\n{headers}{more}\r\n\r\n")
    }

    /// With this header once more.
    pub fn twice(mut self, name: &str) -> Self {
        let again = self.headers.iter().find(|(known, _)| known == name).cloned();
        self.headers.extend(again);
        self
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Reply {
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let content_type =
            headers.get("content-type").map_or("", |v| v.to_str().unwrap_or("?")).to_owned();
        let text = response.text().await.expect("a body");
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, content_type, headers, text, json }
    }

    /// It is this problem, in the form of RFC 9457.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.content_type, "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["type"], format!("/problems/{code}"));
        assert!(self.json["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(self.json["instance"].as_str().is_some_and(|id| !id.is_empty()));
        assert_eq!(self.headers["x-request-id"], self.json["instance"].as_str().unwrap());
    }

    pub fn id(&self) -> String {
        self.json["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }
}
