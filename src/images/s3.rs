//! Stores that speak S3: how they are reached, and what they answer that the client does not expect.

use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{ETAG, HeaderValue, LAST_MODIFIED};
use http::uri::Authority;
use http::{Extensions, StatusCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::causes::{self, Cause};

/// Of one request to an object store, its retries included.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// An S3-compatible store.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Before every object's name; may be empty.
    pub prefix: String,
    /// Scheme, host and port. With `virtual_hosted` the host is the bucket's own.
    pub endpoint: String,
    /// Part of the signature.
    pub region: String,
    pub credentials: Credentials,
    /// The bucket is in the host's name instead of the path.
    pub virtual_hosted: bool,
    /// Whether `If-None-Match: *` is tried on a put. A store that refuses it is asked once.
    pub conditional_put: bool,
}

/// Where the access key comes from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// As configured.
    Key {
        /// Its id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// From the environment: a web identity, the role of a task, a pod or an instance (AWS).
    Role,
}

pub(super) fn open(s3: &S3) -> object_store::Result<AmazonS3> {
    let plain = s3.endpoint.starts_with("http://");
    let builder = match &s3.credentials {
        Credentials::Key { id, secret } => AmazonS3Builder::new()
            .with_access_key_id(id)
            .with_secret_access_key(secret.expose_secret()),
        Credentials::Role => AmazonS3Builder::from_env(),
    };
    builder
        .with_bucket_name(&s3.bucket)
        // Before this one goes AWS_ENDPOINT_URL_S3, which is another program's.
        .with_config(object_store::aws::AmazonS3ConfigKey::S3Endpoint, &s3.endpoint)
        .with_region(&s3.region)
        .with_virtual_hosted_style_request(s3.virtual_hosted)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_tagging(true)
        .with_disable_bulk_delete(true)
        .with_allow_http(plain)
        .with_client_options(ClientOptions::new().with_allow_http(plain).with_timeout(TIMEOUT))
        .with_http_connector(Connector { store: authority(&s3.endpoint) })
        // A failed request is repeated with its task.
        .with_retry(RetryConfig {
            max_retries: 1,
            retry_timeout: TIMEOUT,
            ..RetryConfig::default()
        })
        .build()
}

/// The status that one put was answered with: the client's errors do not say it.
#[derive(Clone, Debug, Default)]
pub(super) struct PutStatus(Arc<AtomicU16>);

impl PutStatus {
    /// To be given to the put.
    pub(super) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self.clone());
        extensions
    }

    /// Whether the answer may mean that the store does not know the condition. Alibaba OSS answers
    /// 501, others 400 or 405; where a proxy drops the header the signature is wrong, which is 403.
    /// Answers about the object, the load or the time are about something else.
    pub(super) fn may_refuse_condition(&self) -> bool {
        let Ok(status) = StatusCode::from_u16(self.0.load(Ordering::Relaxed)) else { return false };
        match status {
            StatusCode::NOT_IMPLEMENTED => true,
            StatusCode::UNAUTHORIZED
            | StatusCode::NOT_FOUND
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::TOO_MANY_REQUESTS => false,
            status => status.is_client_error(),
        }
    }
}

/// The last event of one operation: the errors of the client do not contain it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Not the store was asked, but a service that gives credentials for it.
    for_credentials: bool,
    /// The cause that its answer named, if it is known.
    cause: Option<Cause>,
}

impl Seen {
    /// The cause that the store or the credentials service named.
    pub(super) fn cause(self) -> Option<Cause> {
        if self.for_credentials { Some(Cause::NoCredentials) } else { self.cause }
    }

    /// The same where nothing came in time.
    pub(super) fn timed_out(self) -> Cause {
        if self.for_credentials { Cause::NoCredentials } else { Cause::Timeout }
    }
}

/// Receives the events of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Mutex<Option<Seen>>>);

impl Watch {
    pub(super) fn last(&self) -> Option<Seen> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, seen: Seen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

tokio::task_local! {
    static WATCH: Watch;
}

/// Wraps an operation so that its events reach the watch. The client sends within the same task.
pub(super) fn watched<F: Future>(request: F) -> (impl Future<Output = F::Output>, Watch) {
    let watch = Watch::default();
    (WATCH.scope(watch.clone(), request), watch)
}

fn note(seen: Seen) {
    let _ = WATCH.try_with(|watch| watch.note(seen));
}

/// Host and port, as they are in a request: without a port that the scheme implies.
fn authority(endpoint: &str) -> Option<Authority> {
    let url = Url::parse(endpoint).ok()?;
    let host = url.host_str()?;
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")).parse().ok()
}

/// Longest code of an error, and a little more.
const LONGEST_CODE: usize = 64;

/// Maps an answer that is an error. Its text may quote keys and names.
fn meaning(status: StatusCode, body: &[u8]) -> Option<Cause> {
    let text = String::from_utf8_lossy(body);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code.trim())
        .filter(|code| code.len() <= LONGEST_CODE)
        .unwrap_or_default();
    // Alibaba OSS refuses access to a bucket by another region's endpoint, and names the right one.
    if code == "AccessDenied" && text.contains("<Endpoint>") {
        return Some(Cause::WrongRegion);
    }
    causes::of_s3_answer(status.as_u16(), code)
}

#[derive(Debug)]
struct Connector {
    /// Requests to any other place ask for credentials.
    store: Option<Authority>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Lenient { client, store: self.store.clone() }))
    }
}

/// Repairs headers that the client insists on and nobody here reads.
#[derive(Debug)]
struct Lenient {
    client: HttpClient,
    store: Option<Authority>,
}

/// Most that is read of an error, and of an answer with credentials.
const MAX_SHORT_BYTES: usize = 64 * 1024;
/// Most that is read of a list: it names at most a thousand objects.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;

/// The kind of a request. Every answer except an object is read here: the client would allocate as much
/// memory as the answer announces, and read for as long as more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Object,
    List,
    Credentials,
}

/// Notes what an error is about, and gives the answer on, shortened if it is longer than it may be.
async fn noted(response: HttpResponse, asked: Asked) -> Result<HttpResponse, HttpError> {
    let for_credentials = asked == Asked::Credentials;
    let is_success = response.status().is_success();
    if is_success {
        note(Seen { for_credentials, cause: None });
    }
    let most = match asked {
        Asked::Object if is_success => return Ok(response),
        Asked::List if is_success => MAX_LIST_BYTES,
        _ => MAX_SHORT_BYTES,
    };
    let (parts, body) = response.into_parts();
    let body = beginning(body, most).await?;
    if !is_success {
        let cause = meaning(parts.status, &body);
        note(Seen { for_credentials, cause });
    }
    Ok(HttpResponse::from_parts(parts, body.into()))
}

async fn beginning(body: HttpResponseBody, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut parts = body.bytes_stream();
    let mut read = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part?;
        read.extend_from_slice(&part[..part.len().min(most - read.len())]);
        if read.len() == most {
            break;
        }
    }
    Ok(read)
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Lenient {
    fn call<'life0, 'async_trait>(&'life0 self, request: HttpRequest) -> Answer<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let status = request.extensions().get::<PutStatus>().cloned();
            let asked = match request.uri().query() {
                _ if self.store.as_ref() != request.uri().authority() => Asked::Credentials,
                Some(query) if query.contains("list-type=") => Asked::List,
                _ => Asked::Object,
            };
            note(Seen { for_credentials: asked == Asked::Credentials, cause: None });
            let mut response = noted(self.client.execute(request).await?, asked).await?;
            if let Some(status) = status {
                status.0.store(response.status().as_u16(), Ordering::Relaxed);
            }
            let headers = response.headers_mut();
            headers.remove(LAST_MODIFIED);
            if headers.get(ETAG).is_none_or(|tag| tag.to_str().is_err()) {
                headers.insert(ETAG, HeaderValue::from_static("\"none\""));
            }
            Ok(response)
        })
    }
}
