//! The HTTP side: one route for the protocol, one for the images, three for the page of a
//! verification, and the listener's loop.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use http::header::DATE;
use http::{HeaderMap, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::question::{Question, pairs};
use crate::reply::{HangUp, response};
use crate::{Sandbox, face};
use cloudauth::wire;

/// The vendor takes 8 MB with images.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How long a client may take to say what it wants.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long answers under way may still take once we shall stop.
const STOP_TIME: Duration = Duration::from_secs(1);

/// `Mon, 23 Nov 2026 09:30:00 GMT`, as HTTP wants it.
const DATE_FORM: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

impl Sandbox {
    /// The server, to be put into any other.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", any(handle))
            .route("/images/{kind}/{token}", get(image))
            .route("/s/{name}", get(face::short_link))
            .route("/h5", get(face::hosted).post(face::hosted))
            .route("/h5.css", get(face::style))
            .route("/h5.js", get(face::message))
            .route("/h5iframe", get(face::iframe).post(face::iframe))
            .fallback(handle)
            .with_state(self.clone())
    }

    /// Serves both regions until `stop`, as [`serve`](Self::serve) does one.
    pub async fn serve_regions(
        self,
        main: TcpListener,
        spare: Option<TcpListener>,
        stop: impl Future<Output = ()> + Send,
    ) {
        let stopping = CancellationToken::new();
        let serve_spare = async {
            if let Some(listener) = spare {
                self.spare().serve(listener, stopping.cancelled()).await;
            }
        };
        let serve_main = self.clone().serve(main, stopping.cancelled());
        let announce = async {
            stop.await;
            stopping.cancel();
        };
        tokio::join!(serve_main, serve_spare, announce);
    }

    /// Serves until `stop`; then answers what was asked before and returns.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send) {
        let (router, stopping) = (self.router(), CancellationToken::new());
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, router.clone(), stopping.clone()));
                    }
                    // Out of file descriptors, as a rule: some will be free again.
                    Err(error) => {
                        tracing::warn!(%error, "sandbox cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        stopping.cancel();
        let all_done = async { while connections.join_next().await.is_some() {} };
        // Dropping the set cuts slower connections.
        let _ = tokio::time::timeout(STOP_TIME, all_done).await;
    }
}

async fn connection(stream: TcpStream, router: Router, stopping: CancellationToken) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
            let Ok(response) = answer;
            if response.extensions().get::<HangUp>().is_some() {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
            Ok(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    // Errors here are connections that ended early: the client's doing, or the script's.
    tokio::select! {
        _ = &mut served => {}
        () = stopping.cancelled() => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}

async fn handle(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return response(413, "text/plain", "Request Entity Too Large\n");
    };
    let question = Question::new(parts, body);
    let outcome = sandbox.answer(&question, sandbox.0.clock.now()).await;
    let wait = sandbox.0.settings.latency + outcome.slow;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let mut response = outcome.reply.into_response();
    response.headers_mut().insert(wire::SIMULATED, HeaderValue::from_static("1"));
    // By the same clock that judges the caller's.
    let date = sandbox.0.clock.now().format(DATE_FORM).unwrap_or_default();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn image(
    State(sandbox): State<Sandbox>,
    Path((kind, token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    tokio::time::sleep(sandbox.0.settings.image_latency).await;
    let mut held = sandbox.0.held.subscribe();
    let _ = held.wait_for(|held| !held.contains(&kind)).await;
    let outage = sandbox.memory().image_outage;
    if let Some(status) = outage {
        return response(status, "text/plain", "scripted by the sandbox\n");
    }
    let query = pairs(query.unwrap_or_default().as_bytes());
    match sandbox.0.links.open(&kind, &token, &query, sandbox.0.clock.now()) {
        Ok((content_type, bytes)) => {
            let other = sandbox.memory().images.get(&kind).cloned();
            response(200, content_type, other.unwrap_or_else(|| bytes.to_vec()))
        }
        Err(problem) => {
            let host = headers.get("host").and_then(|h| h.to_str().ok()).unwrap_or_default();
            let (status, node) = problem.document(&sandbox.request_id(), host);
            response(status, "application/xml", node.to_xml("Error"))
        }
    }
}
