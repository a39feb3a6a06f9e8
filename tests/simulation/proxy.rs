//! The way from the service to Postgres: each statement stops here before it runs, and where the
//! seed says so before its commit and before its answer. It may get lost at each of these places.
//!
//! Sessions with Postgres outlive those of the service: each has all statements planned already.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use super::defects::Defect;
use super::sim::{Busy, Fate, Kind, Sim};
use super::wire::{self, Message};

/// One session with Postgres.
struct Backend {
    stream: BufReader<TcpStream>,
    known: Known,
}

/// One session with Postgres.
struct Known {
    pid: i32,
    /// The server's first messages.
    greeting: Vec<u8>,
    /// The name of each statement, by its `Parse`, and the answer to that.
    prepared: HashMap<Vec<u8>, (String, Vec<u8>)>,
}

/// A session while no runtime has it.
struct Resting {
    stream: std::net::TcpStream,
    known: Known,
}

/// Sessions that rest. They serve one seed after the other.
#[derive(Default)]
pub struct Sessions(Mutex<Vec<Resting>>);

impl Sessions {
    fn take(&self) -> Option<Backend> {
        let Resting { stream, known } =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let stream = TcpStream::from_std(stream).expect("a socket of the runtime");
        Some(Backend { stream: BufReader::new(stream), known })
    }

    fn give_back(&self, backend: Backend) {
        let Backend { stream, known } = backend;
        let stream = stream.into_inner().into_std().expect("a socket");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Resting { stream, known });
    }
}

/// All connections of one process with the database.
pub struct Line {
    sim: Arc<Sim>,
    actor: String,
    sessions: Arc<Sessions>,
    upstream: SocketAddr,
    defect: Option<&'static Defect>,
    is_cut: AtomicBool,
    open: AtomicUsize,
    sockets: Mutex<Vec<StdUnixStream>>,
}

impl Line {
    /// Accepts connections at this path. An empty name: nothing stops.
    pub fn start(
        sim: &Arc<Sim>,
        actor: &str,
        (sessions, upstream): (&Arc<Sessions>, SocketAddr),
        defect: Option<&'static Defect>,
        path: &Path,
    ) -> Arc<Self> {
        let listener = UnixListener::bind(path).expect("a socket");
        let line = Arc::new(Self {
            sim: Arc::clone(sim),
            actor: actor.to_owned(),
            sessions: Arc::clone(sessions),
            upstream,
            defect,
            is_cut: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            sockets: Mutex::default(),
        });
        let accepting = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepting.moved();
                if accepting.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let client = client.into_std().expect("a socket");
                let copy = client.try_clone().expect("a copy");
                accepting.sockets().push(copy);
                let client = UnixStream::from_std(client).expect("a socket of the runtime");
                accepting.open.fetch_add(1, Ordering::SeqCst);
                let line = Arc::clone(&accepting);
                tokio::spawn(async move {
                    // The client may go at any time.
                    let _ = Connection::serve(&line, client).await;
                    line.open.fetch_sub(1, Ordering::SeqCst);
                    line.moved();
                });
            }
        });
        line
    }

    /// The simulation's own line moves nothing.
    fn moved(&self) {
        if !self.actor.is_empty() {
            self.sim.moved();
        }
    }

    /// Waits for its turn; `false`: it is over.
    async fn quiet(&self, what: &str) -> bool {
        self.actor.is_empty() || self.sim.stop(&self.actor, what, Kind::Quiet).await.1 == Fate::Pass
    }

    fn busy(&self, backend: i32) -> Option<Busy<'_>> {
        (!self.actor.is_empty()).then(|| self.sim.busy(backend))
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Vec<StdUnixStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections, for good or until [`Self::restore`]. Statements that were sent may
    /// still run.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for socket in self.sockets().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub fn restore(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    /// How many connections have not ended yet.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// One connection of the service.
struct Connection<'a> {
    line: &'a Line,
    client: BufReader<UnixStream>,
    backend: Backend,
    /// The statements of this connection: their texts, and their names at the backend.
    statements: HashMap<String, (String, String)>,
    /// The state of the session, as Postgres said last.
    state: u8,
    /// Its transaction has stopped before, so its commit does as well.
    commit_stops: bool,
}

/// How a request ended.
enum Served {
    Answered,
    /// The connection ends.
    Ended,
}

impl<'a> Connection<'a> {
    async fn serve(line: &'a Line, client: UnixStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let first = loop {
            let (code, whole) = wire::read_first(&mut client).await?;
            if code != wire::SSL_REQUEST {
                break whole;
            }
            client.write_all(b"N").await?;
        };
        if !line.quiet("connect").await {
            return Ok(());
        }
        let backend = match line.sessions.take() {
            Some(backend) => {
                let mut hello = Vec::new();
                Message::new(wire::AUTHENTICATION, [0; 4]).write(&mut hello);
                hello.extend_from_slice(&backend.known.greeting);
                client.write_all(&hello).await?;
                backend
            }
            None => connect(line, &mut client, &first).await?,
        };
        let statements = HashMap::new();
        let mut connection =
            Self { line, client, backend, statements, state: wire::IDLE, commit_stops: false };
        // An error of the client ends it. One of the backend ends the backend as well.
        let is_whole = connection.forward_all().await.is_ok();
        if is_whole {
            if connection.state != wire::IDLE {
                connection.exchange(&[Message::query("rollback")]).await?;
            }
            line.sessions.give_back(connection.backend);
        }
        Ok(())
    }

    /// Until the client or the simulation ends the connection.
    async fn forward_all(&mut self) -> io::Result<()> {
        loop {
            let mut request = Vec::new();
            loop {
                let Ok(Some(message)) = wire::read(&mut self.client).await else { return Ok(()) };
                if message.kind == wire::TERMINATE {
                    return Ok(());
                }
                let is_end = [wire::SYNC, wire::QUERY].contains(&message.kind);
                request.push(message);
                if is_end {
                    break;
                }
            }
            self.line.moved();
            if let Served::Ended = self.forward(request).await? {
                return Ok(());
            }
        }
    }

    async fn forward(&mut self, mut request: Vec<Message>) -> io::Result<Served> {
        if request[0].kind == wire::PARSE {
            return self.prepare(request).await;
        }
        let (mut label, mut name) = (None, "unnamed");
        for message in &mut request {
            if message.kind == wire::BIND {
                let (_, at) = message.text(0);
                let (text, at_backend) = &self.statements[message.text(at).0];
                name = name_of(text);
                if name == CANCELLED {
                    return self.reply(&[cancelled()], self.state).await;
                }
                label = stops(text).or_else(|| commits(text).filter(|_| self.commit_stops));
                *message = wire::with_text(message, at, at_backend);
            }
        }
        let is_run = request.iter().any(|message| message.kind == wire::EXECUTE);
        if let Some(label) = label.filter(|_| is_run && !self.line.actor.is_empty()) {
            return self.step(label, &request).await;
        }
        if !self.line.quiet(name).await {
            return Ok(Served::Ended);
        }
        let answer = self.exchange(&request).await?;
        self.reply(&answer, self.state).await
    }

    /// One statement, with its stops.
    async fn step(&mut self, label: &str, request: &[Message]) -> io::Result<Served> {
        let line = self.line;
        let (key, mut fate) = line.sim.stop(&line.actor, label, Kind::Statement).await;
        if fate == Fate::Lose {
            return Ok(Served::Ended);
        }
        self.commit_stops = self.state != wire::IDLE && !label.ends_with("::commit");
        let is_early = line.defect.is_some_and(|defect| defect.acknowledges(label));
        let is_held = (fate == Fate::HoldCommit || is_early) && self.state == wire::IDLE;
        let answer = if is_held {
            self.exchange(&[Message::query("begin")]).await?;
            let mut answer = self.exchange(request).await?;
            line.sim.outcome(&key, outcome(&answer));
            (_, fate) = line.sim.stop(&line.actor, label, Kind::Commit).await;
            if fate == Fate::Lose {
                if is_early {
                    self.reply(&answer, wire::IDLE).await?;
                }
                return Ok(Served::Ended);
            }
            let ended = self.exchange(&[Message::query("commit")]).await?;
            answer.extend(ended.into_iter().filter(|message| message.kind == wire::ERROR));
            answer
        } else {
            let answer = self.exchange(request).await?;
            line.sim.outcome(&key, outcome(&answer));
            answer
        };
        if fate == Fate::HoldAnswer {
            (_, fate) = line.sim.stop(&line.actor, label, Kind::Answer).await;
        }
        if matches!(fate, Fate::Lose | Fate::LoseAnswer) {
            return Ok(Served::Ended);
        }
        self.reply(&answer, self.state).await
    }

    /// Prepares a statement, unless the backend has it already.
    async fn prepare(&mut self, mut request: Vec<Message>) -> io::Result<Served> {
        let (name, at) = request[0].text(0);
        let name = name.to_owned();
        let text = request[0].text(at).0.to_owned();
        if let Some(planted) = self.line.defect.and_then(|defect| defect.plant(&text)) {
            request[0] = wire::with_text(&request[0], at, &planted);
        }
        // Without the name: the text and the types of the parameters.
        let parse = request[0].body[at..].to_vec();
        // Also where the backend has it: which ones have what must make no difference.
        if !self.line.quiet("prepare").await {
            return Ok(Served::Ended);
        }
        if let Some((at_backend, answer)) = self.backend.known.prepared.get(&parse).cloned() {
            self.statements.insert(name, (text, at_backend));
            self.client.write_all(&answer).await?;
            return self.reply(&[], self.state).await;
        }
        let at_backend = if name.is_empty() {
            String::new()
        } else {
            format!("p{}", self.backend.known.prepared.len())
        };
        for message in &mut request {
            match message.kind {
                wire::PARSE => *message = wire::with_text(message, 0, &at_backend),
                // Describe, of a statement.
                b'D' => *message = wire::with_text(message, 1, &at_backend),
                _ => {}
            }
        }
        let answer = self.exchange(&request).await?;
        let is_good = !answer.iter().any(|message| message.kind == wire::ERROR);
        if is_good {
            if !name.is_empty() {
                let bytes = wire::bytes(&answer);
                let prepared = &mut self.backend.known.prepared;
                prepared.insert(parse, (at_backend.clone(), bytes));
            }
            self.statements.insert(name, (text, at_backend));
        }
        self.reply(&answer, self.state).await
    }

    /// Sends a request and reads its answer, without the [`wire::READY`] at the end.
    async fn exchange(&mut self, request: &[Message]) -> io::Result<Vec<Message>> {
        let line = self.line;
        let _busy = line.busy(self.backend.known.pid);
        self.backend.stream.write_all(&wire::bytes(request)).await?;
        let mut answer = Vec::new();
        loop {
            let message = wire::read(&mut self.backend.stream).await?;
            let message = message.ok_or(io::ErrorKind::UnexpectedEof)?;
            if message.kind == wire::READY {
                self.state = message.body[0];
                return Ok(answer);
            }
            answer.push(message);
        }
    }

    async fn reply(&mut self, answer: &[Message], state: u8) -> io::Result<Served> {
        let mut bytes = wire::bytes(answer);
        Message::ready(state).write(&mut bytes);
        match self.client.write_all(&bytes).await {
            Ok(()) => Ok(Served::Answered),
            // It has gone, and the backend is as good as before.
            Err(_) => Ok(Served::Ended),
        }
    }
}

/// A new session. The client itself says who it is.
async fn connect(
    line: &Line,
    client: &mut BufReader<UnixStream>,
    first: &[u8],
) -> io::Result<Backend> {
    // Its process is not known yet, and waits for no lock.
    let busy = line.busy(0);
    let mut stream = BufReader::new(TcpStream::connect(line.upstream).await?);
    stream.get_ref().set_nodelay(true)?;
    stream.write_all(first).await?;
    let mut known = Known { pid: 0, greeting: Vec::new(), prepared: HashMap::new() };
    let mut is_known = false;
    loop {
        let message = wire::read(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        client.write_all(&bytes).await?;
        if is_known {
            known.greeting.extend_from_slice(&bytes);
        }
        match message.kind {
            wire::AUTHENTICATION => match message.body[..4] {
                [0, 0, 0, 0] => is_known = true,
                [0, 0, 0, 12] => {}
                _ => {
                    let answer = wire::read(client).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    let mut bytes = Vec::new();
                    answer.write(&mut bytes);
                    stream.write_all(&bytes).await?;
                }
            },
            wire::KEY_DATA => {
                let pid = message.body[..4].try_into().expect("four bytes");
                known.pid = i32::from_be_bytes(pid);
            }
            wire::READY => break,
            _ => {}
        }
    }
    drop(busy);
    Ok(Backend { stream, known })
}

/// The end of Postgres' answer to a statement.
fn outcome(answer: &[Message]) -> String {
    let end = answer.iter().rev().find(|message| [b'C', wire::ERROR].contains(&message.kind));
    match end {
        Some(message) if message.kind == b'C' => message.text(0).0.to_owned(),
        Some(message) => {
            let fields = String::from_utf8_lossy(&message.body);
            let code = fields.split('\0').find(|field| field.starts_with('C'));
            format!("error {}", code.map_or("", |code| &code[1..]))
        }
        None => "nothing".to_owned(),
    }
}

/// The modules whose statements stop. Others run at once: they are reads for metrics, and upkeep.
const STOPS: [&str; 12] = [
    "hot::callbacks::",
    "hot::new_callbacks::",
    "hot::claims::claim",
    "hot::completions::",
    "lease::",
    "events::",
    "webhook_deliveries::",
    "account_breaker::",
    "erasure::begin_erasure",
    "erasure::destroy_keys",
    "erasure::delete_material",
    "erasure::note_destroyed",
];
/// Statements of other modules.
const STOPS_TOO: [&str; 3] = ["claims::renew", "claims::release", "claims::reschedule"];
/// Each worker would run it some hundred times at its beginning, for a metric.
const CANCELLED: &str = "history::find_answers";

fn name_of(text: &str) -> &'static str {
    static NAMES: OnceLock<HashMap<&str, &str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let all = verdict::store::all_statements();
        all.iter().map(|statement| (statement.sql, statement.name())).collect()
    });
    names.get(text).copied().unwrap_or_default()
}

/// The name of a statement that stops.
fn stops(text: &str) -> Option<&'static str> {
    let name = name_of(text);
    let stops = STOPS.iter().any(|module| name.starts_with(module))
        || STOPS_TOO.iter().any(|end| name.ends_with(end));
    stops.then_some(name)
}

fn commits(text: &str) -> Option<&'static str> {
    Some(name_of(text)).filter(|name| name.ends_with("transaction::commit"))
}

/// Postgres cancelled a statement.
fn cancelled() -> Message {
    Message::new(wire::ERROR, "SERROR\0VERROR\0C57014\0Mcanceled\0\0")
}
