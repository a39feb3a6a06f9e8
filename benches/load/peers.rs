//! Verdict's accept beside the same accept in other frameworks: one machine, one Postgres, one load
//! client, in turns.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Executor;
use tokio::process::{Child, Command};
use verdict::domain::clock::Clock;
use verdict::vault::callback_signature::{Secret, sign};

use crate::axum_peer;
use crate::environment::{Database, Environment, SECRET, Service};
use crate::load::{Callbacks, Connection, closed_loop};
use crate::machine;
use crate::table::{self, median, thousands};

/// How long, how often.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where `benches/peers/run.sh` has installed the peers.
    #[arg(long, value_name = "PATH")]
    installed: PathBuf,
    /// Connections of the load client.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// Not counted: connections are opened, statements planned and programs compiled as they run.
const WARM_UP: Duration = Duration::from_secs(2);
/// A start that takes longer has failed.
const START_WITHIN: Duration = Duration::from_secs(30);
/// The table of each peer: one row for each accept.
const TABLE: &str = "create table callbacks (
    source text not null, message_id text not null, digest bytea not null,
    verification_id uuid not null, biz_type text not null, biz_id text not null, reference text,
    received_at timestamptz not null default now(), primary key (source, message_id))";

/// One program that accepts callbacks, the database it writes to, and what was measured of it.
struct Contender {
    name: &'static str,
    database: Database,
    /// `None`: Verdict.
    peer: Option<Peer>,
    rounds: Vec<Round>,
}

/// How a peer is started.
struct Peer {
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
}

struct Round {
    rate: f64,
    p50: f64,
    p99: f64,
    /// CPU microseconds of an accept.
    service: f64,
    postgres: f64,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    environment.keep_background_work_out().await?;
    let installed = arguments.installed.canonicalize().context("run benches/peers/run.sh")?;
    let mut contenders = contenders(&environment, &installed).await?;
    for contender in &contenders {
        contender.check(&environment).await.with_context(|| contender.name)?;
        println!("{}: refuses a bad signature, and a repeat adds no row", contender.name);
    }
    let count = contenders.len();
    for round in 0..arguments.rounds {
        for place in 0..count {
            // Each contender comes first once, and once after each other one.
            let turn = if round.is_multiple_of(2) { place } else { count - 1 - place };
            let contender = &mut contenders[(turn + round / 2) % count];
            let seen = contender.measure(&environment, arguments).await;
            contender.rounds.push(seen.with_context(|| contender.name)?);
        }
    }
    print(arguments.connections, &contenders);
    Ok(())
}

/// The peer in plain axum is part of this program.
pub fn serve_axum() -> anyhow::Result<()> {
    // Not on the thread of the load client.
    let serving =
        std::thread::spawn(|| tokio::runtime::Runtime::new()?.block_on(axum_peer::serve()));
    serving.join().map_err(|_| anyhow::anyhow!("the peer panicked"))?
}

async fn contenders(environment: &Environment, installed: &Path) -> anyhow::Result<Vec<Contender>> {
    let verdict = environment.database("verdict").await?;
    let mut all =
        vec![Contender { name: "Verdict", database: verdict, peer: None, rounds: Vec::new() }];
    let node = |file: &str| Peer {
        program: "node".into(),
        arguments: vec![file.into()],
        folder: installed.join("node"),
    };
    let peers = [
        (
            "axum, sqlx",
            "axum",
            Peer {
                program: std::env::current_exe()?,
                arguments: vec!["axum-peer".into()],
                folder: installed.to_owned(),
            },
        ),
        ("Fastify, pg", "fastify", node("fastify.js")),
        ("Express, pg", "express", node("express.js")),
        (
            "FastAPI, asyncpg",
            "fastapi",
            Peer {
                program: installed.join("venv/bin/python"),
                arguments: "-m uvicorn peer:app --workers 2 --no-access-log --log-level warning"
                    .split(' ')
                    .map(OsString::from)
                    .collect(),
                folder: installed.join("python"),
            },
        ),
    ];
    for (name, database, peer) in peers {
        let database = environment.empty_database(database).await?;
        database.pool.execute(TABLE).await?;
        all.push(Contender { name, database, peer: Some(peer), rounds: Vec::new() });
    }
    Ok(all)
}

impl Contender {
    async fn start(&self, environment: &Environment) -> anyhow::Result<Running> {
        let Some(peer) = &self.peer else {
            let service = environment.serve("verdict", "api", &self.database, None, "").await?;
            return Ok(Running::Verdict(service));
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(&peer.program);
        command.args(&peer.arguments).current_dir(&peer.folder).env_clear();
        if self.name.starts_with("FastAPI") {
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        }
        let child = command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DATABASE_URL", &self.database.url)
            .env("WEBHOOK_SECRET", SECRET)
            .env("PORT", port.to_string())
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be run", peer.program.display()))?;
        let mut peer = PeerProcess { child, address: (Ipv4Addr::LOCALHOST, port).into() };
        let started = Instant::now();
        while Connection::open(peer.address).await.is_err() {
            ensure!(peer.child.try_wait()?.is_none(), "it ended while it started");
            ensure!(started.elapsed() < START_WITHIN, "it does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Running::Peer(peer))
    }

    /// Whether it does what is to be measured.
    async fn check(&self, environment: &Environment) -> anyhow::Result<()> {
        let running = self.start(environment).await?;
        let mut connection = Connection::open(running.address()).await?;
        let now = Clock::system().now().unix_timestamp();
        let body =
            |number: u32| format!(r#"{{"biz_type":"onboarding","biz_id":"check-{number}"}}"#);
        let secret = Secret::parse(SECRET)?;
        let other = Secret::parse("whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw==")?;
        let attempts = [
            ("a callback", &secret, "msg_1", now, body(1), 202, 1),
            ("a repeat", &secret, "msg_1", now, body(1), 202, 1),
            ("another body under the same id", &secret, "msg_1", now, body(2), 409, 1),
            ("a bad signature", &other, "msg_2", now, body(2), 401, 1),
            ("an old timestamp", &secret, "msg_2", now - 3600, body(2), 401, 1),
            ("a second callback", &secret, "msg_2", now, body(2), 202, 2),
        ];
        for (what, secret, id, timestamp, body, expected, rows) in attempts {
            let signature = sign(secret, id, timestamp, body.as_bytes());
            let write = |request: &mut Vec<u8>| write(request, id, timestamp, &signature, &body);
            let (status, answer) = connection.exchange(write).await?;
            let answer = String::from_utf8_lossy(answer);
            ensure!(status == expected, "{what}: {status} instead of {expected}: {answer}");
            let found = self.database.count("select count(*) from callbacks").await?;
            ensure!(found == rows, "{what}: {found} rows instead of {rows}");
        }
        running.stop().await
    }

    /// Starts new processes, so that rounds do not depend on each other.
    async fn measure(
        &self,
        environment: &Environment,
        arguments: &Arguments,
    ) -> anyhow::Result<Round> {
        self.database.vacuum().await?;
        let running = self.start(environment).await?;
        let post = |seconds: Duration| {
            let callbacks = Callbacks::new()?;
            let write = move |request: &mut Vec<u8>| callbacks.write(request);
            let (address, connections) = (running.address(), arguments.connections);
            anyhow::Ok(closed_loop(address, connections, Duration::ZERO, seconds, 202, write))
        };
        post(WARM_UP)?.await?;
        let cpu = || (running.cpu(), environment.postgres_cpu());
        let before = cpu();
        let outcome = post(Duration::from_secs(arguments.seconds))?.await?;
        let after = cpu();
        running.stop().await?;
        let each = |seconds: f64| seconds * 1e6 / outcome.completed as f64;
        let millis = |share: f64| f64::from(outcome.latencies.percentile(share)) / 1000.0;
        Ok(Round {
            rate: outcome.rate,
            p50: millis(0.5),
            p99: millis(0.99),
            service: each(after.0 - before.0),
            postgres: each(after.1 - before.1),
        })
    }
}

fn write(request: &mut Vec<u8>, id: &str, timestamp: i64, signature: &str, body: &str) {
    let head = format!(
        "POST /v1/callbacks/app HTTP/1.1\r\nhost: verdict\r\ncontent-type: application/json\r\n\
         webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body.as_bytes());
}

enum Running {
    Verdict(Service),
    Peer(PeerProcess),
}

impl Running {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Verdict(service) => service.http,
            Self::Peer(peer) => peer.address,
        }
    }

    fn cpu(&self) -> f64 {
        match self {
            Self::Verdict(service) => service.cpu(),
            Self::Peer(peer) => peer.child.id().map_or(0.0, machine::cpu_of_family),
        }
    }

    /// Waits until it is gone, so that it takes nothing from who comes next.
    async fn stop(self) -> anyhow::Result<()> {
        if let Self::Peer(mut peer) = self {
            peer.terminate();
            let ended = tokio::time::timeout(START_WITHIN, peer.child.wait()).await;
            ended.context("it does not stop")??;
        }
        Ok(())
    }
}

struct PeerProcess {
    child: Child,
    address: SocketAddr,
}

impl PeerProcess {
    /// Killed outright, it would leave its workers behind.
    fn terminate(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        self.terminate();
    }
}

fn print(connections: usize, contenders: &[Contender]) {
    let verdict = &contenders[0].rounds;
    let rows: Vec<Vec<String>> = contenders
        .iter()
        .map(|contender| {
            let of = |value: fn(&Round) -> f64| contender.rounds.iter().map(value).collect();
            let pairs = verdict.iter().zip(&contender.rounds);
            let ratios = pairs.map(|(verdict, other)| verdict.rate / other.rate).collect();
            vec![
                contender.name.to_owned(),
                spread(of(|round| round.rate), thousands),
                spread(ratios, |ratio| format!("{ratio:.2}×")),
                spread(of(|round| round.p50), |millis| format!("{millis:.2}")),
                spread(of(|round| round.p99), |millis| format!("{millis:.2}")),
                spread(of(|round| round.service), |micros| format!("{micros:.0}")),
                spread(of(|round| round.postgres), |micros| format!("{micros:.0}")),
            ]
        })
        .collect();
    let headings = [
        &format!("{connections} connections"),
        "accepts/s",
        "Verdict's rate by this one",
        "p50, ms",
        "p99, ms",
        "CPU µs: service",
        "CPU µs: Postgres",
    ];
    table::print(&headings, &rows);
}

/// The median and, in brackets, the least and the greatest.
fn spread(mut numbers: Vec<f64>, text: impl Fn(f64) -> String) -> String {
    let middle = median(&mut numbers);
    match &numbers[..] {
        [least, .., greatest] => format!("{} ({}–{})", text(middle), text(*least), text(*greatest)),
        _ => text(middle),
    }
}
