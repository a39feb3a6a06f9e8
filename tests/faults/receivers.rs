//! Receivers of webhooks under faults: they hang, refuse, cut their answers and are slow, and
//! remember what came. At the end their memory is held against the event log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgConnection;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

use super::reckoning::Reckoning;
use super::world::World;

/// How a receiver treats a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Answers,
    /// Not at all; once it is over, the connection ends.
    Hangs,
    /// 500.
    Fails,
    /// In the middle of the status.
    CutsTheAnswer,
    IsSlow(Duration),
}

/// One receiver and its endpoint.
pub struct Receiver {
    name: &'static str,
    ordering: &'static str,
    /// Whether faults of receivers strike it.
    pub is_troubled: bool,
    address: SocketAddr,
    endpoint: OnceLock<(Uuid, Webhook)>,
    manner: watch::Sender<Manner>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    requests: usize,
    /// Those that a fault of the receiver met.
    struck: usize,
    bodies: BTreeMap<i64, String>,
    acknowledged: BTreeSet<i64>,
    /// Everything up to this sequence is acknowledged.
    through: i64,
    /// Of each verification, everything up to this number is acknowledged.
    through_of: BTreeMap<String, i64>,
    /// Violations that were found on arrival, one list for each kind.
    out_of_order: Vec<String>,
    forged: Vec<String>,
    changed: Vec<String>,
    too_far: Vec<String>,
}

/// A delivery, read.
struct Delivery {
    sequence: i64,
    of: Option<(String, i64)>,
}

/// One that nothing befalls but what befalls the service, and two that are struck themselves.
pub async fn start() -> Vec<Arc<Receiver>> {
    let kinds = [
        ("steady", "per-verification", false),
        ("troubled", "per-verification", true),
        ("strict", "strict", true),
    ];
    let mut receivers = Vec::new();
    for (name, ordering, is_troubled) in kinds {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let receiver = Arc::new(Receiver {
            name,
            ordering,
            is_troubled,
            address: listener.local_addr().expect("an address"),
            endpoint: OnceLock::new(),
            manner: watch::Sender::new(Manner::Answers),
            memory: Mutex::default(),
        });
        receivers.push(Arc::clone(&receiver));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = Arc::clone(&receiver);
                // The sender may disconnect at any time.
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
    }
    receivers
}

/// Adds an endpoint for each, from the beginning of the log.
pub async fn subscribe(world: &World) {
    for receiver in &world.receivers {
        let body = json!({
            "url": format!("http://{}/", receiver.address),
            "ordering": receiver.ordering,
            "start": "beginning",
        });
        let added = post(world, "/v1/webhook-endpoints", &body).await.expect("an endpoint");
        let id = added["id"].as_str().and_then(|id| id.parse().ok()).expect("its id");
        let secret = Webhook::new(added["secret"].as_str().expect("its secret"));
        let is_new = receiver.endpoint.set((id, secret.expect("a good secret"))).is_ok();
        assert!(is_new, "one endpoint each");
    }
}

/// By whichever process answers.
async fn post(world: &World, path: &str, body: &Value) -> Option<Value> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client");
    for address in world.services.iter().filter_map(|service| service.address()) {
        let request = client.post(format!("http://{address}{path}")).bearer_auth(&world.api_key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        if let Ok(answer) = request.send().await
            && let Ok(answer) = answer.error_for_status()
        {
            let text = answer.text().await.unwrap_or_default();
            return Some(serde_json::from_str(&text).unwrap_or_default());
        }
    }
    None
}

impl Receiver {
    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many deliveries have met a fault of it.
    pub fn struck(&self) -> usize {
        self.memory().struck
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("not poisoned")
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        while let Some(length) = read_request(&mut stream, &mut buffer).await? {
            let request: Vec<u8> = buffer.drain(..length).collect();
            let delivery = self.take(&request).await;
            let manner = *self.manner.borrow();
            self.memory().struck += usize::from(manner != Manner::Answers);
            match manner {
                Manner::Answers => {}
                Manner::IsSlow(by) => tokio::time::sleep(by).await,
                Manner::Hangs => {
                    let mut manners = self.manner.subscribe();
                    let _ = manners.wait_for(|manner| *manner != Manner::Hangs).await;
                    return Ok(());
                }
                Manner::Fails => {
                    let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await?;
                    continue;
                }
                Manner::CutsTheAnswer => return stream.write_all(b"HTTP/1.1 20").await,
            }
            self.acknowledge(&delivery);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        }
        Ok(())
    }

    /// Judges a delivery as it comes.
    async fn take(&self, request: &[u8]) -> Delivery {
        // The first may come before whoever added the endpoint knows its secret.
        while self.endpoint.get().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (_, webhook) = self.endpoint.get().expect("just looked");
        let end = end_of_head(request).expect("it was read whole");
        let headers = headers(&request[..end]);
        let body = String::from_utf8(request[end..].to_vec()).expect("text");
        let json: Value = serde_json::from_str(&body).expect("JSON");
        let sequence = json["sequence"].as_i64().expect("a sequence");
        let data = &json["data"];
        let of = data["verification_sequence"].as_i64().map(|number| {
            (data["verification_id"].as_str().expect("a verification").to_owned(), number)
        });
        let mut memory = self.memory();
        memory.requests += 1;
        if webhook.verify(body.as_bytes(), &headers).is_err()
            || headers["webhook-id"].to_str().ok() != json["id"].as_str()
        {
            memory.forged.push(format!("{}: {sequence}", self.name));
        }
        let claimed = headers.get("verdict-acknowledged-through");
        let claimed = claimed.and_then(|value| value.to_str().ok()?.parse().ok());
        if claimed.is_none_or(|claimed: i64| claimed > memory.through) {
            let text = format!("{}: {claimed:?}, and {} was", self.name, memory.through);
            memory.too_far.push(text);
        }
        self.judge_order(&mut memory, sequence, of.as_ref());
        if let Some(before) = memory.bodies.insert(sequence, body.clone())
            && before != body
        {
            memory.changed.push(format!("{}: {before} and {body}", self.name));
        }
        drop(memory);
        Delivery { sequence, of }
    }

    /// A first delivery must come after everything before it was acknowledged.
    fn judge_order(&self, memory: &mut Memory, sequence: i64, of: Option<&(String, i64)>) {
        if memory.bodies.contains_key(&sequence) {
            return;
        }
        let is_early = if self.ordering == "strict" {
            memory.through < sequence - 1
        } else {
            of.is_some_and(|(verification, number)| {
                memory.through_of.get(verification).copied().unwrap_or(0) < number - 1
            })
        };
        if is_early {
            memory.out_of_order.push(format!("{}: {sequence}, {of:?}", self.name));
        }
    }

    /// Before the answer goes out: the sender may know from then on.
    fn acknowledge(&self, delivery: &Delivery) {
        let mut memory = self.memory();
        memory.acknowledged.insert(delivery.sequence);
        let mut through = memory.through;
        while memory.acknowledged.contains(&(through + 1)) {
            through += 1;
        }
        memory.through = through;
        if let Some((verification, number)) = &delivery.of {
            let known = memory.through_of.entry(verification.clone()).or_default();
            *known = (*known).max(*number);
        }
    }
}

/// The length of the first whole request in the buffer; `None`: the connection has ended.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<usize>> {
    loop {
        if let Some(end) = end_of_head(buffer) {
            let length = headers(&buffer[..end]).get("content-length").cloned();
            let length = length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
            if buffer.len() >= end + length {
                return Ok(Some(end + length));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn headers(head: &[u8]) -> http::HeaderMap {
    let head = String::from_utf8_lossy(head);
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let parse = |(name, value): (&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    lines
        .filter_map(parse)
        .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
        .into_iter()
        .collect()
}

/// Waits until each receiver has acknowledged every event, or the time is over. Owners resume their
/// endpoints, so that what has failed is tried at once.
pub async fn delivered(world: &World, within: Duration) {
    let began = Instant::now();
    let mut db = world.admin().await;
    let mut resumed = None::<Instant>;
    while began.elapsed() < within {
        let events = head(&mut db).await;
        let late = |receiver: &&Arc<Receiver>| receiver.memory().through < events;
        let late: Vec<_> = world.receivers.iter().filter(late).collect();
        if late.is_empty() {
            return;
        }
        if resumed.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            resumed = Some(Instant::now());
            for receiver in late {
                let (id, _) = receiver.endpoint.get().expect("an endpoint");
                post(world, &format!("/v1/webhook-endpoints/{id}/resume"), &json!({})).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn head(db: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select number from event_log").fetch_one(db).await.expect("the log")
}

/// Holds what the receivers remember against the log.
pub async fn reckon(reckoning: &mut Reckoning, world: &World, db: &mut PgConnection) {
    let events = head(db).await;
    let (mut missing, mut out_of_order, mut forged) = (Vec::new(), Vec::new(), Vec::new());
    let (mut changed, mut too_far, mut unequal) = (Vec::new(), Vec::new(), Vec::new());
    for receiver in &world.receivers {
        let memory = receiver.memory();
        let repeats = memory.requests - memory.bodies.len();
        reckoning.count(format!("requests to the {} receiver", receiver.name), memory.requests);
        reckoning.count(format!("of which repeats, {}", receiver.name), repeats);
        reckoning.count(
            format!("of which met a fault of the receiver, {}", receiver.name),
            memory.struck,
        );
        let lacking = (1..=events).filter(|sequence| !memory.acknowledged.contains(sequence));
        missing.extend(lacking.map(|sequence| format!("{}: {sequence}", receiver.name)));
        out_of_order.extend(memory.out_of_order.iter().cloned());
        forged.extend(memory.forged.iter().cloned());
        changed.extend(memory.changed.iter().cloned());
        too_far.extend(memory.too_far.iter().cloned());
        let first = world.receivers[0].memory_of_bodies(receiver);
        unequal.extend(memory.bodies.iter().filter_map(|(sequence, body)| {
            let other = first.as_ref()?.get(sequence)?;
            (other != body).then(|| format!("{}: {body} and {other}", receiver.name))
        }));
    }
    reckoning.zero("events that a receiver never acknowledged", missing);
    reckoning.zero("first deliveries before their predecessor was acknowledged", out_of_order);
    reckoning.zero("deliveries that the public library does not verify", forged);
    reckoning.zero("events whose bytes changed between two deliveries", changed);
    reckoning.zero("events with other bytes at another receiver", unequal);
    reckoning.zero("watermarks beyond what was acknowledged", too_far);
}

impl Receiver {
    /// The bodies that this receiver got, to be compared with the other's; `None`: it is the other.
    fn memory_of_bodies(&self, other: &Self) -> Option<BTreeMap<i64, String>> {
        (!std::ptr::eq(self, other)).then(|| self.memory().bodies.clone())
    }
}
