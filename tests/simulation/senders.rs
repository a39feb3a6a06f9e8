//! Senders of callbacks: each repeats its message until it is acknowledged, and sometimes after that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::product::Product;
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::callback::Callback;
use verdict::domain::clock::Clock;
use verdict::domain::source::SourceAccess;
use verdict::domain::verification::Verification;
use verdict::store::callbacks::{Accepted, Incoming};

use super::process::Intake;
use super::sim::{Fate, Kind, Sim};

/// The pause before a message is repeated.
const PAUSE: Duration = Duration::from_millis(300);

/// One message, and how often it is sent after it was acknowledged.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub biz_id: String,
    pub repeats: u64,
    /// How long after the beginning it is sent.
    pub after: Duration,
}

/// An answer to a sender: id, state, attempts, and decision of the verification.
type Answer = (String, String, i32, Option<String>);

#[derive(Default)]
struct Memory {
    /// Those that accept at present.
    intakes: Vec<Arc<Intake>>,
    acknowledged: Vec<(Message, Answer)>,
    /// Persons whose erasure was requested.
    erasing: BTreeSet<String>,
    /// Verifications whose erasure was acknowledged.
    erased: Vec<String>,
    broken: Vec<String>,
}

/// The messages of all senders, and the answers to them.
#[derive(Default)]
pub struct Senders(Mutex<Memory>);

impl Senders {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add_intake(&self, intake: Intake) {
        self.memory().intakes.push(Arc::new(intake));
    }

    pub fn intakes(&self) -> usize {
        self.memory().intakes.len()
    }

    pub fn remove_intake(&self, place: usize) -> Arc<Intake> {
        self.memory().intakes.remove(place)
    }

    /// The one to which this fate leads.
    pub fn intake(&self, fate: Fate) -> Option<Arc<Intake>> {
        let memory = self.memory();
        let place = if let Fate::To(place) = fate { place } else { 0 };
        memory.intakes.get(place % memory.intakes.len().max(1)).cloned()
    }

    /// The messages that were acknowledged, with the verification's id.
    pub fn acknowledged(&self) -> Vec<(Message, String)> {
        let memory = self.memory();
        let all = memory.acknowledged.iter();
        all.map(|(message, answer)| (message.clone(), answer.0.clone())).collect()
    }

    pub fn begin_erasure(&self, biz_id: &str) {
        self.memory().erasing.insert(biz_id.to_owned());
    }

    pub fn erased(&self, verification: String) {
        self.memory().erased.push(verification);
    }

    /// Verifications whose erasure was acknowledged.
    pub fn all_erased(&self) -> Vec<String> {
        self.memory().erased.clone()
    }

    pub fn note_broken(&self, line: String) {
        self.memory().broken.push(line);
    }

    pub fn broken(&self) -> Vec<String> {
        self.memory().broken.clone()
    }

    /// Ends when the message is acknowledged, and was as often after that.
    pub async fn send(self: Arc<Self>, sim: Arc<Sim>, clock: Clock, message: Message) {
        let what = format!("posts {} about {}", message.id, message.biz_id);
        tokio::time::sleep(message.after).await;
        let mut left = message.repeats + 1;
        while left > 0 {
            let (_, fate) = sim.stop("sender", &what, Kind::Post).await;
            let Some(intake) = self.intake(fate) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match intake.accepting.submit(incoming(&intake, &clock, &message)).await {
                Ok(accepted) if fate != Fate::LoseAnswer => {
                    self.learn(&message, accepted);
                    left -= 1;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn learn(&self, message: &Message, accepted: Accepted) {
        match accepted {
            Accepted::New(verification) | Accepted::Repeated(verification) => {
                self.learn_answer(message, verification);
            }
            Accepted::Erased if self.memory().erasing.contains(&message.biz_id) => {}
            refused => self.note_broken(format!("{} was refused: {refused:?}", message.id)),
        }
    }

    /// A repeat is answered as the message was.
    fn learn_answer(&self, message: &Message, verification: Verification) {
        let decision = verification.decision.map(|decision| decision.id.to_string());
        let answer = (
            verification.id.to_string(),
            verification.state.as_str().to_owned(),
            verification.attempts,
            decision,
        );
        let mut memory = self.memory();
        let known = memory.acknowledged.iter().find(|(known, _)| known.id == message.id);
        match known {
            None => memory.acknowledged.push((message.clone(), answer)),
            Some((_, first)) if *first == answer => {}
            Some((_, first)) => {
                let line = format!("{} was answered {first:?}, then {answer:?}", message.id);
                memory.broken.push(line);
            }
        }
    }
}

fn incoming(intake: &Intake, clock: &Clock, message: &Message) -> Incoming {
    let body = serde_json::json!({ "biz_type": "simulated", "biz_id": message.biz_id }).to_string();
    let received_at = clock.now();
    Incoming {
        source: SourceAccess::alone("app"),
        message_id: message.id.clone(),
        body: BodyDigest::of(body.as_bytes()),
        salt: intake.ids.salt(),
        callback: Callback::parse(body.as_bytes(), Product::default()).expect("a callback"),
        received_at,
        verification_id: intake.ids.next(received_at),
        trace: None,
    }
}
