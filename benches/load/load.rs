//! The client: keep-alive connections that send as soon as they have an answer. Written by hand so
//! that it leaves the cores to what is measured.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::vault::callback_signature::{Secret, sign};

use crate::environment::SECRET;

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024), request: Vec::new() })
    }

    /// Sends what `write` writes; status and body of the answer.
    pub async fn exchange(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> anyhow::Result<(u16, &[u8])> {
        self.request.clear();
        write(&mut self.request);
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end])?;
            let status = head.get(9..12).context("no status")?.parse()?;
            let length: usize = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .context("no length")?
                .1
                .parse()?;
            let whole = end + 4 + length;
            while self.buffer.len() < whole {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "cut in the body");
            }
            return Ok((status, &self.buffer[end + 4..whole]));
        }
    }
}

/// Writes signed callbacks, each about another verification.
pub struct Callbacks {
    secret: Secret,
    clock: Clock,
    ids: Ids,
    script: &'static str,
}

impl Callbacks {
    pub fn new() -> anyhow::Result<Self> {
        Self::about("")
    }

    /// About verifications whose `biz_id` begins so: the simulated provider's script.
    pub fn about(script: &'static str) -> anyhow::Result<Self> {
        let secret = Secret::parse(SECRET)?;
        Ok(Self { secret, clock: Clock::system(), ids: Ids::random(), script })
    }

    /// One request. The ids are random, as serial numbers with check digits or UUIDs are: the
    /// worst order for an index.
    pub fn write(&self, request: &mut Vec<u8>) {
        use std::io::Write;
        let nonce = self.ids.nonce();
        let body = format!(
            r#"{{"biz_type":"onboarding","biz_id":"{script}{nonce}","reference":"user-{}","client":{{"audit":"AUDIT_PASS","code":0,"platform":"android"}}}}"#,
            &nonce[..12],
            script = self.script,
        );
        let id = format!("msg_{nonce}");
        let timestamp = self.clock.now().unix_timestamp();
        let signature = sign(&self.secret, &id, timestamp, body.as_bytes());
        // Into memory: cannot fail.
        let _ = write!(
            request,
            "POST /v1/callbacks/app HTTP/1.1\r\nhost: verdict\r\ncontent-type: application/json\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

/// Latencies, in microseconds.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn push(&mut self, micros: u32) {
        self.0.push(micros);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which `share` of them lie.
    pub fn percentile(&self, share: f64) -> u32 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in the list"
        )]
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
    }
}

/// What a closed loop has measured.
pub struct Outcome {
    /// Per second.
    pub rate: f64,
    /// All that were answered, those of the warm-up and those answered after the end included.
    pub completed: u64,
    pub latencies: Latencies,
}

/// As many connections as asked, each sending as soon as it has its answer. What comes in during
/// `warm_up` does not count. Every answer must have the status `expected`.
pub async fn closed_loop(
    address: SocketAddr,
    connections: usize,
    warm_up: Duration,
    measured: Duration,
    expected: u16,
    write: impl Fn(&mut Vec<u8>) + 'static,
) -> anyhow::Result<Outcome> {
    let write = Rc::new(write);
    let completed = Rc::new(Cell::new(0));
    let local = LocalSet::new();
    let begin = Instant::now() + warm_up;
    let end = begin + measured;
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (write, completed) = (Rc::clone(&write), Rc::clone(&completed));
        tasks.push(local.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            let mut latencies = Latencies::default();
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return anyhow::Ok(latencies);
                }
                let (status, body) = connection.exchange(|request| write(request)).await?;
                ensure!(status == expected, "status {status}: {}", String::from_utf8_lossy(body));
                completed.set(completed.get() + 1);
                let now = Instant::now();
                if now >= begin && now < end {
                    latencies.add(now - sent);
                }
            }
        }));
    }
    let all = local.run_until(async {
        let mut all = Latencies::default();
        for task in tasks {
            all.extend(task.await??);
        }
        anyhow::Ok(all)
    });
    let latencies = all.await?;
    let rate = latencies.len() as f64 / measured.as_secs_f64();
    Ok(Outcome { rate, completed: completed.get(), latencies })
}
