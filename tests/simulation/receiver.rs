//! A receiver of webhooks: acknowledges, refuses, loses, and remembers what it has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::net::TcpListener;

use super::http;
use super::sim::{Fate, Kind, Sim};

#[derive(Debug, Default)]
struct Memory {
    bodies: BTreeMap<i64, String>,
    acknowledged: BTreeSet<i64>,
    broken: Vec<String>,
}

/// The receiver of one seed.
#[derive(Debug)]
pub struct Receiver {
    /// In the order of the log, or of each verification alone.
    is_strict: bool,
    /// The sequence after which the seed's events begin.
    base: i64,
    memory: Mutex<Memory>,
}

impl Receiver {
    pub async fn start(sim: &Arc<Sim>, is_strict: bool, base: i64) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = Arc::new(Self { is_strict, base, memory: Mutex::default() });
        let (sim, serving) = (Arc::clone(sim), Arc::clone(&receiver));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                sim.moved();
                let (sim, receiver) = (Arc::clone(&sim), Arc::clone(&serving));
                tokio::spawn(async move {
                    let (_, body) = http::request(&mut stream).await?;
                    let number = receiver.judge(&body);
                    let what = format!("gets event {number}");
                    let (_, fate) = sim.stop("receiver", &what, Kind::Delivery).await;
                    let answer = match fate {
                        Fate::Lose => None,
                        Fate::Refuse => Some((500, "")),
                        Fate::LoseAnswer => {
                            receiver.take(number);
                            None
                        }
                        _ => {
                            receiver.take(number);
                            Some((204, ""))
                        }
                    };
                    http::end(&sim, stream, answer).await
                });
            }
        });
        (receiver, address)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A first delivery follows the acknowledgement of what was before it. Others have the same
    /// bytes as the first. Returns the place of the event in the log.
    fn judge(&self, body: &[u8]) -> i64 {
        let body = String::from_utf8_lossy(body).into_owned();
        let event: Value = serde_json::from_str(&body).expect("JSON");
        let number = event["sequence"].as_i64().expect("a sequence") - self.base;
        let mut memory = self.memory();
        if let Some(before) = memory.bodies.insert(number, body.clone()) {
            if before != body {
                memory.broken.push(format!("event {number} was {before} and became {body}"));
            }
            return number;
        }
        let is_missing = if self.is_strict {
            (1..number).any(|before| !memory.acknowledged.contains(&before))
        } else if let Some((verification, place)) = place(&body) {
            let bodies = memory.acknowledged.iter().filter_map(|number| memory.bodies.get(number));
            let places = bodies.filter_map(|body| place_of(&verification, body));
            places.filter(|earlier| *earlier < place).fold(0, |count, _| count + 1) != place - 1
        } else {
            false
        };
        if is_missing {
            let line = format!("event {number} came before the ones before it were acknowledged");
            memory.broken.push(line);
        }
        number
    }

    fn take(&self, number: i64) {
        self.memory().acknowledged.insert(number);
    }

    /// Events that are missing here or came in another order, where the log has so many.
    pub fn broken(&self, events: i64) -> Vec<String> {
        let memory = self.memory();
        let missing = (1..=events).filter(|number| !memory.acknowledged.contains(number));
        let missing = missing.map(|number| format!("event {number} was never acknowledged"));
        memory.broken.iter().cloned().chain(missing).collect()
    }
}

/// Of an event about a verification: which one, and the event's place in its history.
fn place(body: &str) -> Option<(String, i64)> {
    let event: Value = serde_json::from_str(body).expect("JSON");
    let data = &event["data"];
    let place = data["verification_sequence"].as_i64()?;
    Some((data["verification_id"].as_str()?.to_owned(), place))
}

/// The place of an event in the history of this verification, if it is about that one.
fn place_of(verification: &str, body: &str) -> Option<i64> {
    place(body).filter(|(of, _)| of == verification).map(|(_, place)| place)
}
