//! A receiver of events. Written by hand so that it leaves the cores to what is measured.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use verdict::domain::clock::Clock;

use crate::load::Latencies;

/// How the receiver treats a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Acknowledges it.
    Answers,
    /// Takes it and never answers.
    Hangs,
    /// Closes every connection.
    Dead,
}

impl Manner {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Answers,
            1 => Self::Hangs,
            _ => Self::Dead,
        }
    }
}

/// Listens until the process ends.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    manner: AtomicU8,
    received: Mutex<Received>,
    grown: Notify,
}

#[derive(Default)]
struct Received {
    sequences: HashSet<u64>,
    repeats: usize,
    latencies: Latencies,
}

impl Receiver {
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            clock: Clock::system(),
            manner: AtomicU8::new(manner as u8),
            received: Mutex::default(),
            grown: Notify::new(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if serving.manner() != Manner::Dead {
                    // A sender that goes away ends its own connection only.
                    let serving = Arc::clone(&serving);
                    tokio::spawn(async move { serving.serve(stream).await });
                }
            }
        });
        Ok(Self { address, shared })
    }

    pub fn behave(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::Relaxed);
    }

    /// Different events received so far.
    pub fn count(&self) -> usize {
        self.shared.received().sequences.len()
    }

    /// Deliveries of events that had been received before.
    pub fn repeats(&self) -> usize {
        self.shared.received().repeats
    }

    /// From each event's own time to its arrival, since the last call.
    pub fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut self.shared.received().latencies)
    }

    /// Waits until so many different events have been received.
    pub async fn until(&self, count: usize) -> anyhow::Result<()> {
        while self.count() < count {
            let grown = tokio::time::timeout(Duration::from_mins(2), self.shared.grown.notified());
            ensure!(grown.await.is_ok(), "{} of {count} events came", self.count());
        }
        Ok(())
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        Manner::of(self.manner.load(Ordering::Relaxed))
    }

    fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(16 * 1024);
        loop {
            let end = loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                ensure!(stream.read_buf(&mut buffer).await? > 0, "closed");
            };
            let whole = end + content_length(&buffer[..end])?;
            while buffer.len() < whole {
                ensure!(stream.read_buf(&mut buffer).await? > 0, "cut in the body");
            }
            match self.manner() {
                Manner::Answers => self.receive(&buffer[end..whole])?,
                Manner::Hangs => std::future::pending().await,
                Manner::Dead => return Ok(()),
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            buffer.drain(..whole);
        }
    }

    fn receive(&self, body: &[u8]) -> anyhow::Result<()> {
        let body = std::str::from_utf8(body)?;
        let sequence = member(body, "\"sequence\":").context("no sequence")?.parse()?;
        let at = member(body, "\"timestamp\":\"").context("no time")?;
        let took = self.clock.now() - OffsetDateTime::parse(at, &Rfc3339)?;
        let mut received = self.received();
        if received.sequences.insert(sequence) {
            received.latencies.add(took.try_into().unwrap_or_default());
        } else {
            received.repeats += 1;
        }
        drop(received);
        self.grown.notify_waiters();
        // This also wakes a task that has just counted and is about to wait.
        self.grown.notify_one();
        Ok(())
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    Ok(length.context("no length")?.parse()?)
}

/// The text after the first occurrence of `name`, up to a comma or a quotation mark.
fn member<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(name)?;
    rest.split([',', '"']).next()
}
