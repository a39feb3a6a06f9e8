//! Which connections wait for their client, and since when: when all slots are taken, the one that
//! waits longest makes space for a new one.
//!
//! A connection waits for its client while a head, a body or the taking of an answer is outstanding.
//! It does not while a handler works, a long poll included.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// A connection that waited less is not closed for another one.
const MIN_WAIT: Duration = Duration::from_millis(250);
/// Of all connections, the part that is closed at once when slots run out: a scan for each would
/// cost too much under a flood.
const EVICTED_PART: usize = 64;
/// A request that comes sooner after an answer was sent before the client had the answer.
const PIPELINED: Duration = Duration::from_micros(100);
/// Instead of a time: the handler works.
const BUSY: u64 = 0;

/// All connections of one listener.
#[derive(Debug)]
pub struct Connections {
    /// Times are counted from here.
    started: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub struct Connection {
    started: Instant,
    /// Microseconds since `started`, plus 1; or [`BUSY`].
    waits_since: AtomicU64,
    /// A request was answered on it.
    answered: AtomicBool,
    evicted: CancellationToken,
}

/// Removes its connection from the list when it is dropped.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    all: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Connections {
    /// None yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), open: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// A new connection, which waits for its first byte.
    pub fn enter(self: &Arc<Self>) -> Entry {
        let connection = Arc::new(Connection {
            started: self.started,
            waits_since: AtomicU64::new(micros(self.started)),
            answered: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Arc::clone(&connection));
        Entry { id, all: Arc::clone(self), connection }
    }

    /// Closes those that have waited longest for their clients; how many.
    pub fn evict(&self) -> usize {
        let latest = micros(self.started).saturating_sub(as_micros(MIN_WAIT));
        let open = self.lock();
        let mut waiting: Vec<(u64, &Arc<Connection>)> = open
            .values()
            .filter(|connection| !connection.evicted.is_cancelled())
            .map(|connection| (connection.waits_since.load(Ordering::Relaxed), connection))
            .filter(|(since, _)| *since != BUSY && *since <= latest)
            .collect();
        waiting.sort_unstable_by_key(|(since, _)| *since);
        waiting.truncate((open.len() / EVICTED_PART).max(1));
        for (_, connection) in &waiting {
            connection.evicted.cancel();
        }
        waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The connection.
    pub fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Waits until another connection needs the slot of this one.
    pub async fn evicted(&self) {
        self.connection.evicted.cancelled().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Connection {
    /// A request's head is complete: a handler works. Whether the client sent it without waiting
    /// for the answer before.
    pub fn busy(&self) -> bool {
        let since = self.waits_since.swap(BUSY, Ordering::Relaxed);
        self.answered.load(Ordering::Relaxed)
            && micros(self.started).saturating_sub(since) < as_micros(PIPELINED)
    }

    /// It waits for its client from now on.
    pub fn waits(&self) {
        self.waits_since.store(micros(self.started), Ordering::Relaxed);
    }
}

fn micros(since: Instant) -> u64 {
    as_micros(since.elapsed()) + 1
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

/// A request's body: while it is outstanding, its connection waits, from its first missing byte on.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    connection: Arc<Connection>,
    waits: bool,
}

impl RequestBody {
    /// Of a request on that connection.
    pub fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        Self { body, connection, waits: false }
    }

    fn complete(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.connection.busy();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        // A byte now and then does not begin the wait anew.
        if polled.is_pending() && !std::mem::replace(&mut this.waits, true) {
            this.connection.waits();
        }
        let frame = ready!(polled);
        if frame.is_none() || this.body.is_end_stream() {
            this.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.complete();
    }
}

/// An answer's body: once it is handed over, its connection waits for the client to take it and to
/// ask again.
#[derive(Debug)]
pub struct ResponseBody {
    body: axum::body::Body,
    connection: Arc<Connection>,
}

impl ResponseBody {
    /// Of an answer on that connection.
    pub fn new(body: axum::body::Body, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.connection.answered.store(true, Ordering::Relaxed);
        self.connection.waits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_waiting_is_evicted_and_busy_ones_never() {
        let all = Connections::new();
        let entries: Vec<Entry> = (0..3).map(|_| all.enter()).collect();
        let old = |entry: &Entry, since: u64| {
            entry.connection.waits_since.store(since, Ordering::Relaxed);
        };
        let evicted = |entry: &Entry| entry.connection.evicted.is_cancelled();
        // All are too new.
        assert_eq!(all.evict(), 0);
        // As if the listener had begun ten seconds ago.
        let started = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let all =
            Arc::new(Connections { started, open: Mutex::default(), next: AtomicU64::new(0) });
        let entries: Vec<Entry> = entries.iter().map(|_| all.enter()).collect();
        entries[0].connection.busy();
        old(&entries[1], 2_000_000);
        old(&entries[2], 1_000_000);
        assert_eq!(all.evict(), 1);
        assert!(evicted(&entries[2]) && !evicted(&entries[1]));
        assert_eq!(all.evict(), 1);
        assert!(evicted(&entries[1]));
        assert_eq!(all.evict(), 0);
        assert!(!evicted(&entries[0]));
        drop(entries);
        assert!(all.lock().is_empty());
    }
}
