//! What the tests of this crate share: a running sandbox, and requests signed by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudauth::signing::{canonical_query, v2, v3};
use cloudauth::{Clock, Nonces};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Sandbox, Settings};

/// 2026-11-23T09:30:00Z.
pub const NOW: i64 = 1_795_426_200;
pub const NOW_TEXT: &str = "2026-11-23T09:30:00Z";

/// A running sandbox with a clock that stands still.
pub struct Room {
    pub sandbox: Sandbox,
    moved: Arc<Mutex<Duration>>,
    nonces: Nonces,
    pub address: String,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<()>,
}

/// An answer as it came over the wire.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// All that `Content-Length` promised has come.
    pub complete: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn code(&self) -> (u16, String) {
        (self.status, self.json()["Code"].as_str().unwrap_or_default().to_owned())
    }

    pub fn verify_status(&self) -> i64 {
        self.json()["VerifyStatus"].as_i64().expect("a status")
    }
}

pub type Params = Vec<(String, String)>;

pub fn owned(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn set(params: &mut Params, name: &str, value: &str) {
    params.retain(|(n, _)| n != name);
    params.push((name.to_owned(), value.to_owned()));
}

impl Room {
    pub async fn open() -> Self {
        Self::with(Settings::new("testid", "testsecret".to_owned().into())).await
    }

    pub async fn with(mut settings: Settings) -> Self {
        // A loaded machine must not fail a test.
        settings.download_timeout = Duration::from_mins(1);
        settings.callback_timeout = Duration::from_mins(1);
        let now = OffsetDateTime::from_unix_timestamp(NOW).expect("a time");
        let moved = Arc::<Mutex<Duration>>::default();
        let by = Arc::clone(&moved);
        let clock = Clock::new(move || now + *by.lock().expect("nobody panicked"));
        let nonces = Nonces::random();
        let sandbox = Sandbox::with_sources(settings, clock, nonces.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(sandbox.clone().serve(listener, async {
            let _ = stopped.await;
        }));
        Self { sandbox, moved, nonces, address, stop: Some(stop), served }
    }

    pub fn advance(&self, by: Duration) {
        *self.moved.lock().expect("nobody panicked") += by;
    }

    pub async fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        self.send_raw(&[head.as_bytes(), body].concat()).await
    }

    pub async fn send_raw(&self, bytes: &[u8]) -> Answer {
        Self::send_raw_to(&self.address, bytes).await
    }

    async fn send_raw_to(address: &str, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        // A server that closes early may reset the connection while we still write or read.
        let _ = stream.write_all(bytes).await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<usize>().ok()
        };
        let body = all[end..].to_vec();
        Answer {
            status: head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0),
            complete: field("content-length:") == Some(body.len()),
            head,
            body,
        }
    }

    /// The usual RPC parameters of a question for that `biz_id`, not signed yet.
    pub fn question(&self, biz_id: &str) -> Params {
        let mut params = owned(&[
            ("Action", "DescribeVerifyResult"),
            ("Version", "2019-03-07"),
            ("Format", "JSON"),
            ("AccessKeyId", "testid"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("Timestamp", NOW_TEXT),
            ("BizType", "RPBasic"),
        ]);
        set(&mut params, "SignatureNonce", &self.nonces.next());
        set(&mut params, "BizId", biz_id);
        params
    }

    /// Signs as the method says and sends as a query, or as a form for `FORM`.
    pub async fn send_v2(&self, method: &str, mut params: Params) -> Answer {
        let real = if method == "FORM" { "POST" } else { method };
        let signature = v2::signature("testsecret", &v2::string_to_sign(real, &params));
        set(&mut params, "Signature", &signature);
        let encoded = canonical_query(&params);
        if method == "FORM" {
            let form = "Content-Type: application/x-www-form-urlencoded\r\n";
            return self.send("POST", "/", form, encoded.as_bytes()).await;
        }
        self.send(real, &format!("/?{encoded}"), "", b"").await
    }

    /// The same with a form, to another address.
    pub async fn send_v2_to(&self, address: &str, mut params: Params) -> Answer {
        let signature = v2::signature("testsecret", &v2::string_to_sign("POST", &params));
        set(&mut params, "Signature", &signature);
        let form = canonical_query(&params);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            form.len()
        );
        Self::send_raw_to(address, [head.as_str(), form.as_str()].concat().as_bytes()).await
    }

    /// The usual RPC parameters of a call of face-verify, not signed yet.
    pub fn face(&self, action: &str, extra: &[(&str, &str)]) -> Params {
        let mut params = self.question("");
        params.retain(|(name, _)| !["BizId", "BizType"].contains(&name.as_str()));
        set(&mut params, "Action", action);
        set(&mut params, "SceneId", "1000000006");
        let now = self.sandbox.0.clock.now().format(&Rfc3339).expect("a time");
        set(&mut params, "Timestamp", &now);
        for (name, value) in extra {
            set(&mut params, name, value);
        }
        params
    }

    pub async fn describe(&self, certify_id: &str) -> Answer {
        let params = self.face("DescribeFaceVerify", &[("CertifyId", certify_id)]);
        self.send_v2("POST", params).await
    }

    pub async fn ask(&self, biz_id: &str) -> Answer {
        self.send_v2("POST", self.question(biz_id)).await
    }

    /// The headers of an ACS3 request, host included, not signed yet.
    pub fn v3_headers(&self, body: &[u8]) -> Params {
        let mut headers = owned(&[
            ("x-acs-action", "DescribeVerifyResult"),
            ("x-acs-version", "2019-03-07"),
            ("x-acs-date", NOW_TEXT),
            ("accept", "application/json"),
        ]);
        set(&mut headers, "host", &self.address);
        set(&mut headers, "x-acs-signature-nonce", &self.nonces.next());
        set(&mut headers, "x-acs-content-sha256", &v3::hash(body));
        headers
    }

    pub async fn send_v3(
        &self,
        biz_id: &str,
        headers: Params,
        unsigned: &str,
        body: &[u8],
    ) -> Answer {
        let query = owned(&[("BizType", "RPBasic"), ("BizId", biz_id)]);
        let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let hash = find("x-acs-content-sha256").unwrap_or_default();
        let authorization =
            v3::authorization("testid", "testsecret", "POST", "/", &query, &headers, hash);
        let mut lines = format!("Authorization: {authorization}\r\n{unsigned}");
        for (name, value) in headers.iter().filter(|(name, _)| name != "host") {
            lines.extend([name, ": ", value, "\r\n"]);
        }
        self.send("POST", &format!("/?{}", canonical_query(&query)), &lines, body).await
    }
}
