//! Around every request: its id, its log line, its metrics, the rendering of problems and the catching
//! of panics.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::{Instrument, Span};

use super::api::Api;
use super::problem::Problem;
use crate::domain::ids::RequestId;
use crate::domain::trace::TraceParent;
use crate::traces;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Defaults of every response. Responses are the state at one moment and may be personal data: a
/// browser must not cache them, guess their type, run anything in them or show them in a frame.
const USUAL_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The code of a page that refuses something; a problem has its own.
#[derive(Clone, Copy, Debug)]
pub struct PageCode(pub &'static str);

/// The outermost layer.
pub async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&api, &request);
    // The route's pattern, never the path: that could contain anything.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = known_method(request.method());

    let probe = PROBES.contains(&route.as_str());
    let span = if probe {
        Span::none()
    } else {
        traces::request(method, &route, || caller(request.headers()))
    };
    let trace = traces::parent(&span);
    if let Some(trace) = trace {
        request.extensions_mut().insert(trace);
    }

    let mut response = next.run(request).instrument(span.clone()).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let page = response.extensions().get::<PageCode>().map_or("", |code| code.0);
    let code = problem.as_ref().map_or(page, |problem| problem.code().as_str());
    if let Some(problem) = &problem {
        response = problem.render(&request_id);
    }
    for (name, value) in USUAL_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    let status = response.status().as_u16();
    traces::answered(&span, status, code);
    let elapsed = started.elapsed();
    let duration_ms = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
    // Probes come every few seconds: only their failures are logged.
    if probe && status < 500 {
        tracing::debug!(request_id, method, route, status, code, duration_ms, "request");
    } else {
        let trace = trace.map(TraceParent::trace_id);
        tracing::info!(request_id, method, route, status, code, duration_ms, trace, "request");
    }
    metrics::counter!("verdict_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.to_string(), "code" => code)
    .increment(1);
    metrics::histogram!("verdict_http_request_seconds", "route" => route)
        .record(elapsed.as_secs_f64());
    response
}

/// The caller's own id if it is short and plain, else a new one.
fn request_id(api: &Api, request: &Request) -> String {
    request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=64).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
        .map_or_else(|| api.ids.next::<RequestId>(api.clock.now()).to_string(), ToOwned::to_owned)
}

/// The caller's span; of several headers none counts.
fn caller(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    TraceParent::parse(value.to_str().ok()?)
}

/// A closed list, for logs and metrics.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A panic becomes a problem. Its message stays out of it: it may quote personal data.
pub fn on_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    metrics::counter!("verdict_panics_total").increment(1);
    Problem::internal().into_response()
}
