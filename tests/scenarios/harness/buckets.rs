//! An object store in memory with the part of S3 that images need: put if absent, get, delete and
//! list.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// How a store answers what it does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Puts with `If-None-Match` get this status and code.
    pub refuses_condition: Option<(u16, &'static str)>,
    /// Such puts are done, whatever is there.
    pub ignores_condition: bool,
    /// Answers have no `ETag`, and no date that can be read.
    pub without_etag: bool,
    /// The names of objects follow the host at once.
    pub bucket_in_host: bool,
    /// Every request gets this status, code and more of a body.
    pub refuses_all: Option<(u16, &'static str, &'static str)>,
    /// The access key that it knows; by default `bucket-key`.
    pub knows: Option<&'static str>,
}

/// The store; paths are `/bucket/name`.
#[derive(Clone, Default)]
pub struct Buckets {
    objects: Objects,
    full: Arc<AtomicBool>,
    /// `None`: any number.
    deletes_left: Arc<Mutex<Option<usize>>>,
    manner: Manner,
    conditional_puts: Arc<AtomicUsize>,
}

impl Buckets {
    /// Serves until the process ends.
    pub async fn start() -> (Self, SocketAddr) {
        Self::start_with(Manner::default()).await
    }

    pub async fn start_with(manner: Manner) -> (Self, SocketAddr) {
        let buckets = Self { manner, ..Self::default() };
        let router = Router::new().fallback(answer).with_state(buckets.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum_serve(listener, router).await });
        (buckets, address)
    }

    pub fn names(&self) -> Vec<String> {
        self.objects.lock().expect("objects").keys().cloned().collect()
    }

    /// How many puts had a condition.
    pub fn conditional_puts(&self) -> usize {
        self.conditional_puts.load(Ordering::SeqCst)
    }

    /// Whether nothing more can be put; what is there can be listed, got and deleted.
    pub fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Refuses to delete more objects than that; `None`: refuses none.
    pub fn limit_deletes(&self, most: Option<usize>) {
        *self.deletes_left.lock().expect("deletes") = most;
    }

    /// Whether one more object may be deleted.
    fn takes_delete(&self) -> bool {
        let mut left = self.deletes_left.lock().expect("deletes");
        let Some(most) = left.as_mut() else { return true };
        let takes = *most > 0;
        *most = most.saturating_sub(1);
        takes
    }

    /// Puts an object into the bucket directly.
    pub fn put(&self, name: &str) {
        self.objects
            .lock()
            .expect("objects")
            .insert(name.to_owned(), Bytes::from_static(b"sealed"));
    }

    pub fn holds(&self, text: &[u8]) -> bool {
        let objects = self.objects.lock().expect("objects");
        objects.values().any(|object| object.windows(text.len()).any(|part| part == text))
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(State(buckets): State<Buckets>, request: Request) -> Response {
    let mut response = answer_fully(&buckets, request).await;
    if buckets.manner.without_etag {
        response.headers_mut().remove("etag");
        if let Some(date) = response.headers_mut().get_mut("last-modified") {
            *date = "2026-11-24 08:00".parse().expect("a value");
        }
    }
    response
}

async fn answer_fully(buckets: &Buckets, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let signed = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some((status, code, more)) = buckets.manner.refuses_all {
        let status = axum::http::StatusCode::from_u16(status).expect("a status");
        return (status, format!("<Error><Code>{code}</Code>{more}</Error>")).into_response();
    }
    let knows = buckets.manner.knows.unwrap_or("bucket-key");
    let begins = format!("AWS4-HMAC-SHA256 Credential={knows}/");
    if !signed.is_some_and(|value| value.starts_with(&begins)) {
        return (403, "<Error><Code>AccessDenied</Code></Error>").into_response_with_status();
    }
    let body = to_bytes(body, 1 << 24).await.expect("a body");
    let name = head.uri.path().to_owned();
    let conditional = head.headers.contains_key("if-none-match");
    if head.method == "PUT" && conditional {
        buckets.conditional_puts.fetch_add(1, Ordering::SeqCst);
        if let Some((status, code)) = buckets.manner.refuses_condition {
            let status = axum::http::StatusCode::from_u16(status).expect("a status");
            return (status, format!("<Error><Code>{code}</Code></Error>")).into_response();
        }
    }
    let mut objects = buckets.objects.lock().expect("objects");
    match head.method.as_str() {
        "PUT"
            if conditional && !buckets.manner.ignores_condition && objects.contains_key(&name) =>
        {
            (412, "<Error><Code>PreconditionFailed</Code></Error>").into_response_with_status()
        }
        "PUT" if buckets.full.load(Ordering::SeqCst) => {
            (507, "<Error><Code>QuotaExceeded</Code></Error>").into_response_with_status()
        }
        "PUT" => {
            objects.insert(name, body);
            ([("etag", "\"1\"")], "").into_response()
        }
        "DELETE" if !buckets.takes_delete() => {
            (403, "<Error><Code>AccessDenied</Code></Error>").into_response_with_status()
        }
        "DELETE" => {
            objects.remove(&name);
            (204, "").into_response_with_status()
        }
        "GET" if head.uri.query().is_some_and(|query| query.contains("list-type=2")) => {
            let bucket = if buckets.manner.bucket_in_host { "" } else { head.uri.path() };
            list(&objects, bucket, head.uri.query().unwrap_or_default()).into_response()
        }
        "GET" | "HEAD" => match objects.get(&name) {
            Some(object) => {
                let date = "Tue, 24 Nov 2026 08:00:00 GMT";
                ([("etag", "\"1\""), ("last-modified", date)], object.clone()).into_response()
            }
            None => (404, "<Error><Code>NoSuchKey</Code></Error>").into_response_with_status(),
        },
        _ => (405, "").into_response_with_status(),
    }
}

fn list(objects: &BTreeMap<String, Bytes>, bucket: &str, query: &str) -> String {
    let query = url::form_urlencoded::parse(query.as_bytes());
    let prefix = query.into_owned().find(|(name, _)| name == "prefix").map(|(_, value)| value);
    let below = format!("{}/", bucket.trim_end_matches('/'));
    let mut items = String::new();
    for (name, object) in objects {
        let Some(key) = name.strip_prefix(&below) else { continue };
        if key.starts_with(prefix.as_deref().unwrap_or_default()) {
            let size = object.len();
            let _ = write!(
                items,
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>1</ETag>\
                 <LastModified>2026-11-24T08:00:00.000Z</LastModified></Contents>"
            );
        }
    }
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>")
}

trait WithStatus {
    fn into_response_with_status(self) -> Response;
}

impl WithStatus for (u16, &'static str) {
    fn into_response_with_status(self) -> Response {
        let status = axum::http::StatusCode::from_u16(self.0).expect("a status");
        (status, self.1).into_response()
    }
}
