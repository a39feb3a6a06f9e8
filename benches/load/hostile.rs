//! Memory of the service, and what an honest caller notices, while thousands of connections of
//! strangers misbehave. Loopback only, bounded in time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;
use verdict::domain::clock::Clock;
use verdict::vault::api_key;

use crate::environment::{Binaries, Database, Environment, Service};
use crate::load::{Callbacks, Connection, Latencies};
use crate::machine;
use crate::table::{self, millis, thousands};

/// How many, how long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Hostile connections at once.
    #[arg(long, default_value_t = 4096)]
    connections: usize,
    /// Seconds of each attack: longer than the service's limit for a body.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    #[command(flatten)]
    binaries: Binaries,
}

/// What one hostile connection does before it waits to be answered or closed.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Silent,
    HalfHead,
    /// All but the last byte of a declared length.
    HalfBody(usize),
    /// As many bytes of a body whose length is not declared.
    Chunked(usize),
    WholeBody(usize),
    LongPoll,
}

const KIB: usize = 1024;
const ATTACKS: [(&str, &[Kind]); 9] = [
    ("none", &[]),
    ("silent", &[Kind::Silent]),
    ("half heads of 15 KiB", &[Kind::HalfHead]),
    ("half bodies, unsigned, 64 KiB", &[Kind::HalfBody(64 * KIB)]),
    ("half bodies, unsigned, 16 KiB", &[Kind::HalfBody(16 * KIB)]),
    ("unfinished chunked bodies of 60 KiB", &[Kind::Chunked(60 * KIB)]),
    ("whole bodies, unsigned, 64 KiB", &[Kind::WholeBody(64 * KIB)]),
    ("long polls with unknown keys", &[Kind::LongPoll]),
    (
        "all of these together",
        &[
            Kind::Silent,
            Kind::HalfHead,
            Kind::HalfBody(64 * KIB),
            Kind::HalfBody(16 * KIB),
            Kind::Chunked(60 * KIB),
            Kind::WholeBody(64 * KIB),
            Kind::LongPoll,
        ],
    ),
];
/// A hostile connection that was answered or closed comes back after this time.
const RETURN: Duration = Duration::from_secs(1);
/// Until the connections are there.
const RAMP_UP: Duration = Duration::from_secs(1);
/// An honest caller gives up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Descriptors of this process besides the hostile connections.
const OWN_DESCRIPTORS: u64 = 200;

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let allowed = machine::raise_descriptor_limit().saturating_sub(OWN_DESCRIPTORS);
    let connections = arguments.connections.min(usize::try_from(allowed).unwrap_or(usize::MAX));
    if connections < arguments.connections {
        println!("the limit of open files allows only {connections} hostile connections");
    }
    let environment = Environment::new().await?;
    let binaries = match arguments.binaries.pair() {
        Some(pair) => pair.to_vec(),
        None => vec![arguments.binaries.measured()],
    };
    let mut databases = Vec::new();
    for (n, binary) in binaries.iter().enumerate() {
        databases.push(environment.database_of(binary, &format!("hostile_{n}")).await?);
    }
    let mut rows = Vec::new();
    for (name, kinds) in ATTACKS {
        for (binary, database) in binaries.iter().zip(&databases) {
            let seen =
                attack(&environment, database, kinds, connections, arguments.seconds).await?;
            let mut row = vec![name.to_owned(), binary.name.to_owned()];
            row.extend(seen.cells());
            rows.push(row);
        }
    }
    table::print(
        &[
            "connections that are",
            "binary",
            "peak memory",
            "open at most",
            "answers to them",
            "callbacks of the app answered",
            "p50",
            "worst",
            "probes of the operations port answered",
        ],
        &rows,
    );
    println!("{connections} connections for {} s each.", arguments.seconds);
    Ok(())
}

/// What happened during one attack.
#[derive(Default)]
struct Seen {
    open: usize,
    most_open: usize,
    /// By status; 0 is a connection that was closed without an answer.
    answers: BTreeMap<u16, usize>,
    callbacks: Tally,
    probes: Tally,
    peak_rss: f64,
    ended: bool,
}

#[derive(Default)]
struct Tally {
    tried: usize,
    latencies: Latencies,
}

impl Seen {
    fn cells(&self) -> Vec<String> {
        let answers: Vec<String> = self
            .answers
            .iter()
            .map(|(status, count)| match status {
                0 => format!("closed: {}", thousands(*count as f64)),
                status => format!("{status}: {}", thousands(*count as f64)),
            })
            .collect();
        let answered = |tally: &Tally| format!("{} of {}", tally.latencies.len(), tally.tried);
        let end = if self.ended { ", and it ended" } else { "" };
        vec![
            format!("{:.1} MiB{end}", self.peak_rss),
            thousands(self.most_open as f64),
            answers.join(", "),
            answered(&self.callbacks),
            millis(self.callbacks.latencies.percentile(0.5)),
            millis(self.callbacks.latencies.percentile(1.0)),
            answered(&self.probes),
        ]
    }
}

type Shared = Rc<RefCell<Seen>>;

/// A new process each time: its peak is that of this attack alone.
async fn attack(
    environment: &Environment,
    database: &Database,
    kinds: &'static [Kind],
    connections: usize,
    seconds: u64,
) -> anyhow::Result<Seen> {
    let mut service = environment.serve("attacked", "api", database, None, "").await?;
    let seen = Shared::default();
    let end = Instant::now() + RAMP_UP + Duration::from_secs(seconds);
    let local = LocalSet::new();
    for n in 0..if kinds.is_empty() { 0 } else { connections } {
        let (kind, seen) = (kinds[n % kinds.len()], Rc::clone(&seen));
        let address = service.http;
        local.spawn_local(async move {
            while Instant::now() < end {
                // What fails here is what the service does to strangers.
                let _ = timeout(end - Instant::now(), misbehave(kind, address, &seen)).await;
                tokio::time::sleep(RETURN).await;
            }
        });
    }
    local.run_until(honest(&service, end, &seen)).await?;
    drop(local);
    let mut seen = seen.take();
    seen.peak_rss = service.peak_rss();
    seen.ended = !service.is_running();
    Ok(seen)
}

/// Counts a connection as open while it lives.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn count(seen: &'a Shared) -> Self {
        let mut now = seen.borrow_mut();
        now.open += 1;
        now.most_open = now.most_open.max(now.open);
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().open -= 1;
    }
}

async fn misbehave(kind: Kind, address: SocketAddr, seen: &Shared) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let _open = Open::count(seen);
    // It may be closed before all is written, with or without an answer.
    let _ = stream.write_all(&kind.request()?).await;
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let status = answer.get(9..12).filter(|_| read >= 12);
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    *seen.borrow_mut().answers.entry(status.unwrap_or(0)).or_default() += 1;
    Ok(())
}

impl Kind {
    fn request(self) -> anyhow::Result<Vec<u8>> {
        const POST: &str = "POST /v1/callbacks/app HTTP/1.1\r\nhost: verdict\r\n";
        Ok(match self {
            Self::Silent => Vec::new(),
            Self::HalfHead => format!("{POST}x-filler: {}", "x".repeat(15 * KIB)).into_bytes(),
            Self::HalfBody(length) => Self::body(POST, length, length - 1),
            Self::WholeBody(length) => Self::body(POST, length, length),
            Self::Chunked(length) => {
                let framing = "transfer-encoding: chunked";
                let chunk = format!("{length:x}\r\n{}\r\n", " ".repeat(length));
                format!("{POST}{}{framing}\r\n\r\n{chunk}", unsigned()).into_bytes()
            }
            Self::LongPoll => {
                let key = api_key::generate().map_err(|_| anyhow::anyhow!("no randomness"))?;
                format!(
                    "GET /v1/verifications/01900000-0000-7000-8000-000000000001?wait=30 HTTP/1.1\r\n\
                     host: verdict\r\nauthorization: Bearer {key}\r\n\r\n"
                )
                .into_bytes()
            }
        })
    }

    fn body(post: &str, declared: usize, sent: usize) -> Vec<u8> {
        let (head, body) = (unsigned(), " ".repeat(sent));
        format!("{post}{head}content-length: {declared}\r\n\r\n{body}").into_bytes()
    }
}

/// Every header that a callback needs, with a signature that nobody made.
fn unsigned() -> String {
    format!(
        "content-type: application/json\r\nwebhook-id: msg_stranger\r\nwebhook-timestamp: {}\r\n\
         webhook-signature: v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        Clock::system().now().unix_timestamp()
    )
}

/// The app's callbacks and the orchestrator's probes, each on a new connection: it needs a slot.
async fn honest(service: &Service, end: Instant, seen: &Shared) -> anyhow::Result<()> {
    tokio::time::sleep(RAMP_UP).await;
    let callbacks = Callbacks::new()?;
    while Instant::now() < end {
        let sent = Instant::now();
        let answered = timeout(PATIENCE, call(service.http, 202, |to| callbacks.write(to))).await;
        tally(
            &mut seen.borrow_mut().callbacks,
            sent,
            answered.is_ok_and(|outcome| outcome.is_ok()),
        );
        let sent = Instant::now();
        let probe = |to: &mut Vec<u8>| to.extend(b"GET /healthz HTTP/1.1\r\nhost: verdict\r\n\r\n");
        let answered = timeout(PATIENCE, call(service.operations, 200, probe)).await;
        tally(&mut seen.borrow_mut().probes, sent, answered.is_ok_and(|outcome| outcome.is_ok()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn tally(tally: &mut Tally, sent: Instant, answered: bool) {
    tally.tried += 1;
    if answered {
        tally.latencies.add(sent.elapsed());
    }
}

async fn call(
    address: SocketAddr,
    expected: u16,
    write: impl FnOnce(&mut Vec<u8>),
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await.context("no connection")?;
    let (status, _) = connection.exchange(write).await?;
    ensure!(status == expected, "status {status}");
    Ok(())
}
