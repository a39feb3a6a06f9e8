//! The client against servers that check it, refuse it, or misbehave.

mod face_verify;

use std::collections::HashSet;
use std::sync::Mutex;

use aws_lc_rs::{digest, hmac};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method as HttpMethod, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::credentials::{Environment, Fixed, Secret};

const KEY: &str = "LTAI-test";
const SECRET: &str = "s3cret+/=";
/// A result of either product, and of a start.
const OK: &str = r#"{"RequestId":"R-1","VerifyStatus":1,"Code":"200",
    "ResultObject":{"Passed":"T","SubCode":"200","CertifyId":"sha1","DeleteResult":"Y"}}"#;

fn settings(endpoint: &str) -> Settings {
    Settings {
        region: "cn-hangzhou".to_owned(),
        signature: SignatureVersion::V2,
        timeout: Duration::from_secs(20),
        ..Settings::new(endpoint.parse().unwrap())
    }
}

fn client_with(settings: Settings, secret: Secret, token: Option<&str>) -> Client {
    let clock = Clock::new(|| datetime!(2026-11-23 12:34:56.789 UTC));
    let fixed = Fixed {
        access_key_id: KEY.to_owned(),
        access_key_secret: secret,
        security_token: token.map(Into::into),
    };
    let chain = credentials::Settings { fixed: Some(fixed), ..Default::default() };
    let chain = Chain::new(chain, Environment::default()).unwrap().with_clock(clock.clone());
    Client::new(settings, chain).unwrap().with_sources(clock, Nonces::random())
}

fn client(settings: Settings) -> Client {
    client_with(settings, Secret::Value(SECRET.into()), None)
}

/// Serves a router on a free port and returns its base URL.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

// --- A provider that verifies, with nothing of our own signing code ---

#[derive(Default)]
struct Seen {
    nonces: HashSet<String>,
    params: Vec<(String, String)>,
    token: bool,
    action: String,
    signature: String,
    method: HttpMethod,
    in_form: bool,
}

type Shared = Arc<Mutex<Seen>>;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn canonical(params: &[(String, String)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort();
    let pairs: Vec<_> =
        sorted.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn decode(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn verify_v2(method: &HttpMethod, mut params: Vec<(String, String)>, seen: &mut Seen) -> bool {
    let at = params.iter().position(|(name, _)| name == "Signature").expect("a signature");
    let (_, given) = params.remove(at);
    let to_sign = format!("{method}&{}&{}", encode("/"), encode(&canonical(&params)));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{SECRET}&").as_bytes());
    let get =
        |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(get("Timestamp").as_deref(), Some("2026-11-23T12:34:56Z"));
    seen.action = get("Action").expect("an action");
    seen.signature = "v2".to_owned();
    assert!(seen.nonces.insert(get("SignatureNonce").unwrap()), "a nonce came twice");
    seen.token = get("SecurityToken").is_some();
    seen.params = params;
    given == STANDARD.encode(hmac::sign(&key, to_sign.as_bytes()))
}

fn verify_v3(
    (method, uri, headers, body): (&HttpMethod, &Uri, &HeaderMap, &[u8]),
    seen: &mut Seen,
) -> bool {
    let get =
        |name: &str| headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap();
    let hash = hex::encode(digest::digest(&digest::SHA256, body));
    assert_eq!(get("x-acs-content-sha256"), hash);
    assert_eq!(get("x-acs-date"), "2026-11-23T12:34:56Z");
    seen.action = get("x-acs-action").to_owned();
    seen.signature = "v3".to_owned();
    assert!(seen.nonces.insert(get("x-acs-signature-nonce").to_owned()), "a nonce came twice");
    let (start, given) = get("authorization").split_once(",Signature=").unwrap();
    let (start, names) = start.split_once(",SignedHeaders=").unwrap();
    assert_eq!(start, format!("ACS3-HMAC-SHA256 Credential={KEY}"));
    let must = headers.keys().filter(|name| name.as_str().starts_with("x-acs-"));
    assert!(must.chain([&http::header::HOST]).all(|name| names.split(';').any(|n| n == name)));
    assert!(body.is_empty() || names.contains("content-type"));
    let lines: Vec<_> = names.split(';').map(|name| format!("{name}:{}\n", get(name))).collect();
    let lines = lines.concat();
    let query = canonical(&decode(uri.query().unwrap_or_default().as_bytes()));
    let request = format!("{method}\n{}\n{query}\n{lines}\n{names}\n{hash}", uri.path());
    let hash = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    seen.token = headers.contains_key("x-acs-security-token");
    seen.params = decode(uri.query().unwrap_or_default().as_bytes());
    seen.params.extend(decode(body));
    given == hex::encode(hmac::sign(&key, format!("ACS3-HMAC-SHA256\n{hash}").as_bytes()))
}

async fn verify(
    State(shared): State<Shared>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut seen = shared.lock().unwrap();
    // A form body keeps everything out of the URL; a query needs no body.
    assert_eq!(uri.query().is_none(), !body.is_empty());
    assert_eq!(headers.contains_key("content-length"), method == HttpMethod::POST);
    seen.method = method.clone();
    seen.in_form = uri.query().is_none();
    let genuine = if headers.contains_key("authorization") {
        verify_v3((&method, &uri, &headers, &body), &mut seen)
    } else {
        let mut params = decode(uri.query().unwrap_or_default().as_bytes());
        params.extend(decode(&body));
        verify_v2(&method, params, &mut seen)
    };
    if genuine {
        OK.into_response()
    } else {
        (StatusCode::BAD_REQUEST, r#"{"Code":"SignatureDoesNotMatch"}"#).into_response()
    }
}

async fn verifier() -> (String, Shared) {
    let shared = Shared::default();
    (serve(Router::new().fallback(verify).with_state(Arc::clone(&shared))).await, shared)
}

#[tokio::test]
async fn every_kind_of_request_verifies() {
    let (url, shared) = verifier().await;
    let biz_id = "a b+c*~'é/&=%20";
    let mut calls = 0;
    for signature in [SignatureVersion::V2, SignatureVersion::V3] {
        for method in [Method::Post, Method::Get] {
            for token in [None, Some("t0ken/+= x")] {
                let settings = Settings { signature, method, ..settings(&url) };
                let client = client_with(settings, Secret::Value(SECRET.into()), token);
                let answer = client.describe_verify_result("RPBasicTest", biz_id).await.unwrap();
                let read = answer.reading.outcome.expect("the signature is right").verify_status;
                assert_eq!((answer.http_status, read, &**answer.body), (200, 1, OK.as_bytes()));
                calls += 1;
                let seen = shared.lock().unwrap();
                assert_eq!(seen.nonces.len(), calls);
                assert_eq!(seen.token, token.is_some());
                assert_eq!(seen.action, "DescribeVerifyResult");
                assert_eq!(seen.in_form, method == Method::Post);
                for (name, value) in [("BizId", biz_id), ("BizType", "RPBasicTest")] {
                    assert!(seen.params.contains(&(name.to_owned(), value.to_owned())));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_corrected_secret_file_heals_without_a_restart() {
    let (url, _) = verifier().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "wrong\n").unwrap();
    let client = client_with(settings(&url), Secret::File(path.clone()), None);
    let refused = client.describe_verify_result("b", "1").await.unwrap();
    assert_eq!(refused.reading.outcome.unwrap_err().class, ErrorClass::Credentials);
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let answer = client.describe_verify_result("b", "1").await.unwrap();
    assert_eq!(answer.reading.outcome.unwrap().verify_status, 1);
}

#[tokio::test]
async fn refusals_are_answers_and_redirects_are_not_followed() {
    let router = Router::new().fallback(|| async {
        let headers = [("location", "/elsewhere"), ("x-acs-retry-after", "1500")];
        (StatusCode::FOUND, headers, "<html>moved</html>")
    });
    let url = serve(router).await;
    let answer = client(settings(&url)).describe_verify_result("b", "1").await.unwrap();
    assert_eq!((answer.http_status, answer.retry_after), (302, Some(Duration::from_millis(1500))));
    let printed = format!("{answer:?}");
    assert_eq!(answer.reading.outcome.unwrap_err().class, ErrorClass::Transient);
    assert!(!printed.contains("moved"));
}

/// A server that reads a request's first bytes, sends these and hangs up.
async fn sends(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    url
}

async fn unanswered(settings: Settings) -> Unanswered {
    client(settings).describe_verify_result("b", "1").await.expect_err("no answer")
}

#[tokio::test]
async fn cut_connections_are_told_as_such() {
    for sent in
        ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "nonsense\r\n\r\n"]
    {
        let url = sends(sent.as_bytes().to_vec()).await;
        let told = unanswered(settings(&url)).await;
        assert!(matches!(told, Unanswered::Cut(_)), "{sent}: {told:?}");
    }
}

#[tokio::test]
async fn of_huge_answers_the_beginning_is_kept_and_nothing_believed() {
    let mut announced = b"HTTP/1.1 200 OK\r\ncontent-length: 1048600\r\n\r\n".to_vec();
    let status = format!("{{\"VerifyStatus\":1,\"x\":\"{}\"}}", "y".repeat(1_048_600 - 25));
    announced.extend_from_slice(status.as_bytes());
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(17);
    chunked.extend_from_slice(chunk.as_bytes());
    for sent in [announced, chunked] {
        let url = sends(sent).await;
        let answer = client(settings(&url)).describe_verify_result("t", "i").await.unwrap();
        assert_eq!(answer.body.len(), wire::MAX_BODY_BYTES + 1);
        let error = answer.reading.outcome.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unreadable);
    }
}

#[tokio::test]
async fn silence_ends_in_time_and_a_closed_port_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The system accepts on our behalf; nobody ever answers.
    let soon = Settings { timeout: Duration::from_millis(50), ..settings(&url) };
    let told = unanswered(soon).await;
    assert!(matches!(told, Unanswered::Timeout), "{told:?}");
    drop(listener);
    let told = unanswered(settings(&url)).await;
    assert!(matches!(told, Unanswered::Connect(_)), "{told:?}");
    assert!(innermost_kind(&told) == Some(std::io::ErrorKind::ConnectionRefused), "{told:?}");
    assert_eq!(told.to_string(), "cannot connect to the provider");
}

/// The operating system's error, at the end of the chain of errors.
fn innermost_kind(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    let mut links = std::iter::successors(Some(error), |error| error.source());
    links.find_map(|link| link.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let path = "/nonexistent/verdict-secret".into();
    let client = client_with(settings("http://127.0.0.1:9"), Secret::File(path), None);
    let told = client.describe_verify_result("b", "1").await.unwrap_err();
    assert!(matches!(told, Unanswered::NoCredentials(_)));
    let expected = "no usable credentials for the provider (settings: the file of the access key \
                    secret cannot be read (it does not exist))";
    assert_eq!(told.to_string(), expected);
}

#[test]
fn endpoints_are_https_or_on_this_machine() {
    let check = |text: &str| check_endpoint(&text.parse().unwrap()).is_ok();
    for good in [
        "https://cloudauth.aliyuncs.com",
        "http://127.0.0.1:80/",
        "http://[::1]:8",
        "http://localhost",
    ] {
        assert!(check(good), "{good}");
    }
    for bad in [
        "http://cloudauth.aliyuncs.com",
        "ftp://127.0.0.1",
        "https://u:p@h",
        "https://h/p",
        "https://h/?a",
        "data:x",
    ] {
        assert!(!check(bad), "{bad}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let client =
        client_with(settings("http://127.0.0.1:9"), Secret::Value(SECRET.into()), Some("t0ken"));
    let printed = format!("{client:?}");
    assert!(!printed.contains(SECRET) && !printed.contains("t0ken"), "{printed}");
}
