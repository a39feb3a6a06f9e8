//! A TCP proxy on loopback: a network between two programs that can misbehave.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How Postgres ends its answer to an autocommit statement: what was asked is committed by then.
/// (A long answer begins before the commit, so its first bytes prove nothing.)
pub const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";

/// Bytes that only occur in parameters of COMPLETE: a member of the evidence of a result.
pub const COMPLETION: &[u8] = b"\"malformed\":";

/// Bytes of one read. A message that a trap matches must fit; our drivers write each message
/// whole.
const CHUNK: usize = 64 * 1024;

/// Forwards bytes both ways by default. Ends, with all its connections, when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    rules: watch::Sender<Rules>,
    /// Counts up: every connection that began under a smaller number ends.
    cuts: watch::Sender<u64>,
    /// Counts up: every connection that began under a smaller number goes silent.
    forgotten: watch::Sender<u64>,
    traps: Mutex<Vec<Trap>>,
    disturbed: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Rules {
    upstream: SocketAddr,
    refuse: bool,
    stall: bool,
    delay: Duration,
}

/// Waits for one message of a client.
struct Trap {
    /// Found in what the client sends.
    needle: Vec<u8>,
    does: Does,
    sprung: oneshot::Sender<()>,
}

/// The fate of a message.
enum Does {
    /// It is lost.
    Lose,
    /// It is delayed by this time, and arrives even if its sender has disconnected.
    Hold(Duration),
    /// Its answer, which ends with these bytes, is lost.
    LoseAnswer(Vec<u8>),
    /// Its answer arrives later by this time.
    HoldAnswer(Duration),
}

/// The fate of an answer.
enum Answer {
    Lose { until: Vec<u8>, sprung: oneshot::Sender<()> },
    Hold { by: Duration, sprung: oneshot::Sender<()> },
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let rules = Rules { upstream, refuse: false, stall: false, delay: Duration::ZERO };
        let shared = Arc::new(Shared {
            rules: watch::Sender::new(rules),
            cuts: watch::Sender::new(0),
            forgotten: watch::Sender::new(0),
            traps: Mutex::default(),
            disturbed: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has cut or refused so far, and how many chunks it has delayed or
    /// stalled.
    pub fn disturbed(&self) -> usize {
        self.shared.disturbed.load(Ordering::SeqCst)
    }

    /// New connections go there from now on.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.shared.rules.send_modify(|rules| rules.upstream = upstream);
    }

    /// Resets all connections there are.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Forgets the connections there are, as a NAT does with flows that rest: they stay open, and
    /// nothing gets through any more. New ones work.
    pub fn forget(&self) {
        self.shared.forgotten.send_modify(|forgotten| *forgotten += 1);
    }

    /// Whether new connections are reset at once. The port stays open, so no other process can take
    /// it; a client sees a reset instead of a refusal.
    pub fn refuse(&self, refuse: bool) {
        self.shared.rules.send_modify(|rules| rules.refuse = refuse);
    }

    /// Each chunk takes this much longer, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules.send_modify(|rules| rules.delay = delay);
    }

    /// While stalled, connections stay open and nothing gets through. Data arrives when the stall
    /// ends.
    pub fn stall(&self, stall: bool) {
        self.shared.rules.send_modify(|rules| rules.stall = stall);
    }

    /// The next message that holds `needle` (empty: any) gets through; its answer is dropped up to
    /// and with `until` (empty: its first bytes), and then the connection is reset. So what was
    /// asked has happened, and who asked does not know. Resolves when it has happened.
    pub fn lose_answer_to(&self, needle: &[u8], until: &[u8]) -> oneshot::Receiver<()> {
        self.trap(needle, Does::LoseAnswer(until.to_vec()))
    }

    /// The next message that holds `needle` is lost, and the connection with it.
    pub fn lose_message_with(&self, needle: &[u8]) -> oneshot::Receiver<()> {
        self.trap(needle, Does::Lose)
    }

    /// Delays the next message that holds `needle`, whether or not its sender is still there.
    /// Resolves when the message is on its way.
    pub fn hold_message_with(&self, needle: &[u8], by: Duration) -> oneshot::Receiver<()> {
        self.trap(needle, Does::Hold(by))
    }

    /// The answer to the next message that holds `needle` arrives so much later. Resolves when it
    /// has come this far.
    pub fn hold_answer_to(&self, needle: &[u8], by: Duration) -> oneshot::Receiver<()> {
        self.trap(needle, Does::HoldAnswer(by))
    }

    /// Removes all traps that have not been sprung.
    pub fn lose_nothing(&self) {
        self.shared.traps().clear();
    }

    fn trap(&self, needle: &[u8], does: Does) -> oneshot::Receiver<()> {
        let (sprung, receiver) = oneshot::channel();
        self.shared.traps().push(Trap { needle: needle.to_vec(), does, sprung });
        receiver
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    fn traps(&self) -> std::sync::MutexGuard<'_, Vec<Trap>> {
        self.traps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trap this message runs into, taken out.
    fn trap_for(&self, message: &[u8]) -> Option<Trap> {
        let mut traps = self.traps();
        let place = traps.iter().position(|trap| holds(message, &trap.needle))?;
        Some(traps.remove(place))
    }

    fn disturbs_one(&self) {
        self.disturbed.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until the stall ends, and then for the configured delay.
    async fn passage(&self) {
        let mut rules = self.rules.subscribe();
        if rules.borrow().stall || !rules.borrow().delay.is_zero() {
            self.disturbs_one();
        }
        let delay = rules.wait_for(|rules| !rules.stall).await.map(|rules| rules.delay);
        if let Ok(delay) = delay
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        // Subscribed here, so that a cut from now on counts for it.
        let (cuts, forgotten) = (shared.cuts.subscribe(), shared.forgotten.subscribe());
        tokio::spawn(connection(client, cuts, forgotten, Arc::clone(&shared)));
    }
}

/// From the first byte to the end, or to the next cut.
async fn connection(
    mut client: TcpStream,
    mut cuts: watch::Receiver<u64>,
    mut forgotten: watch::Receiver<u64>,
    shared: Arc<Shared>,
) {
    let remembered = *forgotten.borrow_and_update();
    let began = *cuts.borrow_and_update();
    let mut server = None;
    let went_silent = async {
        let _ = forgotten.wait_for(|forgotten| *forgotten > remembered).await;
    };
    let serving = async {
        let ended = tokio::select! {
            outcome = serve(&mut client, &mut server, &shared) => Some(outcome.is_err()),
            () = went_silent => None,
        };
        match ended {
            Some(torn) => torn,
            // Neither an answer nor an end comes, until everything is cut.
            None => std::future::pending().await,
        }
    };
    let torn = tokio::select! {
        torn = serving => torn,
        _ = cuts.wait_for(|cuts| *cuts > began) => {
            shared.disturbs_one();
            true
        }
    };
    if torn {
        // Closing is a reset then, on both sides.
        for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
            let _ = stream.set_zero_linger();
        }
    }
}

async fn serve(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    shared: &Shared,
) -> io::Result<()> {
    let mut rules = shared.rules.subscribe();
    if rules.borrow().refuse {
        shared.disturbs_one();
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let upstream = match rules.wait_for(|rules| !rules.stall).await {
        Ok(rules) => rules.upstream,
        Err(_) => return Ok(()),
    };
    let server = server.insert(TcpStream::connect(upstream).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    // Set by the one direction, obeyed by the other.
    let answer: Mutex<Option<Answer>> = Mutex::default();
    // An error on either side ends both; an orderly end of one direction leaves the other open.
    tokio::try_join!(
        there(from_client, to_server, shared, &answer),
        back(from_server, to_client, shared, &answer),
    )?;
    Ok(())
}

/// Client to server.
async fn there(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    answer: &Mutex<Option<Answer>>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let chunk = &buffer[..n];
        if let Some(trap) = shared.trap_for(chunk) {
            match trap.does {
                Does::Lose => {
                    let _ = trap.sprung.send(());
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Does::Hold(by) => {
                    let _ = trap.sprung.send(());
                    tokio::time::sleep(by).await;
                }
                Does::LoseAnswer(until) => {
                    awaited(answer).replace(Answer::Lose { until, sprung: trap.sprung });
                }
                Does::HoldAnswer(by) => {
                    awaited(answer).replace(Answer::Hold { by, sprung: trap.sprung });
                }
            }
        }
        shared.passage().await;
        to.write_all(chunk).await?;
    }
}

/// Server to client.
async fn back(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    answer: &Mutex<Option<Answer>>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut lost = Vec::new();
    loop {
        let n = from.read(&mut buffer).await?;
        let awaited_now = awaited(answer).take();
        match awaited_now {
            Some(Answer::Lose { until, sprung }) => {
                lost.extend_from_slice(&buffer[..n]);
                if n == 0 || holds(&lost, &until) {
                    let _ = sprung.send(());
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                awaited(answer).replace(Answer::Lose { until, sprung });
                continue;
            }
            Some(Answer::Hold { by, sprung }) => {
                let _ = sprung.send(());
                tokio::time::sleep(by).await;
            }
            None => {}
        }
        if n == 0 {
            return to.shutdown().await;
        }
        shared.passage().await;
        to.write_all(&buffer[..n]).await?;
    }
}

fn awaited(answer: &Mutex<Option<Answer>>) -> std::sync::MutexGuard<'_, Option<Answer>> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;
    use crate::harness::{Proxy, READY_FOR_QUERY, eventually, new_database};

    /// Answers each line with `re: ` and the line; remembers them all.
    async fn echo() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let lines = Arc::clone(&lines);
                tokio::spawn(async move {
                    let (from, mut to) = stream.into_split();
                    let mut from = BufReader::new(from).lines();
                    while let Ok(Some(line)) = from.next_line().await {
                        lines.lock().unwrap().push(line.clone());
                        if to.write_all(format!("re: {line}\n").as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, heard)
    }

    struct Talk(BufReader<TcpStream>);

    impl Talk {
        async fn with(proxy: &Proxy) -> Self {
            Self(BufReader::new(TcpStream::connect(proxy.address()).await.unwrap()))
        }

        /// Says a line; the answer, or nothing if the connection ended.
        async fn say(&mut self, line: &str) -> Option<String> {
            self.0.write_all(format!("{line}\n").as_bytes()).await.ok()?;
            let mut answer = String::new();
            let n = self.0.read_line(&mut answer).await.ok()?;
            (n > 0).then(|| answer.trim_end().to_owned())
        }
    }

    #[tokio::test]
    async fn a_proxy_forwards_cuts_refuses_and_leads_elsewhere() {
        let ((upstream, heard), (other, elsewhere)) = (echo().await, echo().await);
        let proxy = Proxy::start(upstream).await;
        let mut talk = Talk::with(&proxy).await;
        assert_eq!(talk.say("one").await.as_deref(), Some("re: one"));
        assert_eq!(proxy.disturbed(), 0);
        proxy.cut();
        assert_eq!(talk.say("two").await, None);
        assert_eq!(proxy.disturbed(), 1);

        proxy.refuse(true);
        assert_eq!(Talk::with(&proxy).await.say("three").await, None);
        assert_eq!(proxy.disturbed(), 2);
        proxy.refuse(false);
        proxy.lead_to(other);
        assert_eq!(Talk::with(&proxy).await.say("four").await.as_deref(), Some("re: four"));
        assert_eq!(*heard.lock().unwrap(), ["one"]);
        assert_eq!(*elsewhere.lock().unwrap(), ["four"]);
        // Nobody there any more: connections end at once.
        proxy.lead_to("127.0.0.1:1".parse().unwrap());
        assert_eq!(Talk::with(&proxy).await.say("five").await, None);
    }

    #[tokio::test]
    async fn a_proxy_delays_and_stalls() {
        let (upstream, heard) = echo().await;
        let proxy = Proxy::start(upstream).await;
        let mut talk = Talk::with(&proxy).await;
        assert!(talk.say("one").await.is_some());
        proxy.delay(Duration::from_millis(40));
        let asked = Instant::now();
        assert!(talk.say("two").await.is_some());
        assert!(asked.elapsed() >= Duration::from_millis(80), "both directions");
        assert_eq!(proxy.disturbed(), 2);
        proxy.delay(Duration::ZERO);

        proxy.stall(true);
        let mut waiting = tokio::spawn(async move { talk.say("three").await });
        let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(early.is_err() && heard.lock().unwrap().len() == 2);
        proxy.stall(false);
        assert_eq!(waiting.await.unwrap().as_deref(), Some("re: three"));
        assert_eq!(proxy.disturbed(), 3);
    }

    #[tokio::test]
    async fn a_proxy_loses_one_answer_or_one_message() {
        let (upstream, heard) = echo().await;
        let proxy = Proxy::start(upstream).await;
        let mut talk = Talk::with(&proxy).await;
        let done = proxy.lose_answer_to(b"two", b"\n");
        assert!(talk.say("one").await.is_some());
        assert_eq!(talk.say("two").await, None);
        done.await.unwrap();
        let gone = proxy.lose_message_with(b"three");
        assert_eq!(Talk::with(&proxy).await.say("three").await, None);
        gone.await.unwrap();
        drop(proxy.lose_message_with(b""));
        proxy.lose_nothing();
        assert!(Talk::with(&proxy).await.say("four").await.is_some());
        assert_eq!(*heard.lock().unwrap(), ["one", "two", "four"]);
    }

    #[tokio::test]
    async fn a_held_message_arrives_after_its_sender_is_gone() {
        let (upstream, heard) = echo().await;
        let proxy = Proxy::start(upstream).await;
        let held = proxy.hold_message_with(b"one", Duration::from_millis(100));
        let mut talk = Talk::with(&proxy).await;
        talk.0.write_all(b"one\n").await.unwrap();
        held.await.unwrap();
        drop(talk);
        assert!(heard.lock().unwrap().is_empty(), "not yet");
        eventually("it arrives", || async { (*heard.lock().unwrap() == ["one"]).then_some(()) })
            .await;
    }

    #[tokio::test]
    async fn a_statement_whose_answer_is_lost_is_committed_and_one_that_is_lost_is_not() {
        let (database, proxy) = new_database().await.behind_proxy().await;
        let pool = database.pool().await;
        let insert = |account: &'static str| {
            sqlx::query("insert into accounts (account) values ($1)").bind(account).execute(&pool)
        };
        let done = proxy.lose_answer_to(b"first", READY_FOR_QUERY);
        assert!(insert("first").await.is_err());
        done.await.unwrap();
        let gone = proxy.lose_message_with(b"second");
        assert!(insert("second").await.is_err());
        gone.await.unwrap();
        let kept: Vec<String> =
            sqlx::query_scalar("select account from accounts").fetch_all(&pool).await.unwrap();
        assert_eq!(kept, ["first"]);
    }
}
