//! The accept loop: a connection cap, time limits for silence and headers, graceful stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Limits of connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; the next ones wait in the kernel's queue.
    pub connections: usize,
    /// From accepting or the last answer until the next complete head: also the keep-alive limit,
    /// so keep it above the load balancer's idle time.
    pub header_read: Duration,
    /// A client that takes nothing for so long is let go: its slot is worth more than its answer.
    pub write_stall: Duration,
    /// After a stop: for requests under way.
    pub drain: Duration,
}

/// After `accept` failed (out of file descriptors, say): sleep, do not die, do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/1.1 heads are read into this much at most; hyper answers 431 beyond.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves until stopped, then lets requests under way finish. Plain HTTP/1.1: a proxy that speaks
/// HTTP/2 with prior knowledge is let go at once, so there is no preface to wait for.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        // The slot first: what we cannot serve stays in the kernel's queue.
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, limits) = (router.clone(), limits.clone());
                let (stop, cut) = (stop.clone(), cut.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = serve_connection(stream, router, &limits, stop) => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut after the drain time");
        cut.cancel();
        connections.wait().await;
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: &Limits,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // Errors here are the client's: cut, timed out, not HTTP. They say nothing worth a log line.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
