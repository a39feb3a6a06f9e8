//! The accept loop: a connection cap, time limits for silence and headers, graceful stop.
//!
//! When all slots are taken, the connections that have waited longest for their clients are closed
//! for new ones (`connections.rs`).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::connections::{Connection, Connections, RequestBody, ResponseBody};

/// Limits of connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; the next ones wait in the kernel's queue.
    pub connections: usize,
    /// From accepting until the first byte.
    pub first_byte: Duration,
    /// From the first byte or the last answer until the next complete head: also the keep-alive
    /// limit, so keep it above the load balancer's idle time.
    pub header_read: Duration,
    /// A client that takes nothing for so long is let go: its slot is worth more than its answer.
    pub write_stall: Duration,
    /// After a stop: for requests under way.
    pub drain: Duration,
}

/// After `accept` failed (out of file descriptors, say): sleep, do not die, do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Without a free slot: between two looks for connections that wait for their clients.
const SLOT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/1.1 heads are read into this much at most; hyper answers 431 beyond.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// For a client to notice that we closed.
const LINGER: Duration = Duration::from_millis(500);
/// What is read and thrown away of it meanwhile.
const LINGER_BYTES: u64 = 64 * 1024;

/// Serves until stopped, then lets requests under way finish. Plain HTTP/1.1: a proxy that speaks
/// HTTP/2 with prior knowledge is let go at once, so there is no preface to wait for.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let open = Connections::new();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %crate::causes::of_io(&error), "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One is held without a slot; the others stay in the kernel's queue.
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            slot = slot(&slots, &open) => slot,
        };
        let Some(slot) = slot else { break };
        let (router, limits) = (router.clone(), limits.clone());
        let (stop, cut, entry) = (stop.clone(), cut.clone(), open.enter());
        connections.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = entry.evicted() => {
                    metrics::counter!("verdict_http_connections_evicted_total").increment(1);
                }
                () = serve_connection(stream, router, &limits, stop, entry.connection()) => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut after the drain time");
        cut.cancel();
        connections.wait().await;
    }
}

/// A free slot; where there is none, those who wait for their clients longest make one free.
async fn slot(slots: &Arc<Semaphore>, open: &Connections) -> Option<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    loop {
        open.evict();
        if let Ok(slot) = timeout(SLOT_PAUSE, Arc::clone(slots).acquire_owned()).await {
            return slot.ok();
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: &Limits,
    stop: CancellationToken,
    connection: Arc<Connection>,
) {
    let _ = stream.set_nodelay(true);
    // Before anything is allocated for it.
    let mut byte = [0];
    tokio::select! {
        () = stop.cancelled() => return,
        first = timeout(limits.first_byte, stream.peek(&mut byte)) => {
            if !matches!(first, Ok(Ok(1..))) {
                return;
            }
        }
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_stall));
    let answer = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| {
            Box::pin(answer(router.clone(), request, Arc::clone(&connection)))
        })
    };
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    // Errors here are the client's: cut, timed out, not HTTP. They say nothing worth a log line.
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|cx| serving.poll_without_shutdown(cx)) => break ended,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
        }
    };
    if ended.is_ok() {
        connection.waits();
        close(serving.into_parts().io.into_inner()).await;
    }
}

/// One request.
async fn answer(
    router: Router,
    request: Request<Incoming>,
    connection: Arc<Connection>,
) -> Result<Response<ResponseBody>, Infallible> {
    if connection.busy() {
        // The HTTP library answers many such requests before others have their turn.
        tokio::task::yield_now().await;
    }
    let request = request.map(|body| RequestBody::new(body, Arc::clone(&connection)));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| ResponseBody::new(body, connection)))
}

/// Closes after what the client may still be sending: closed with unread bytes, the system would
/// reset the connection, and the client could lose an answer that came before its body was read.
async fn close(mut stream: Pin<Box<TimeoutStream<TcpStream>>>) {
    let lingering = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, lingering).await;
}
