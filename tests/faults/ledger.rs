//! The outside ledger: clients that post callbacks like real senders, repeat them until they are
//! accepted, and record every 2xx. It knows only the answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use verdict::domain::body_digest::BodyDigest;

use super::persons::Persons;
use super::schedule::Dice;
use super::starts::{self, Starts};
use super::world::World;
use crate::harness::{Callback, SECRET, now};

/// Clients at once.
pub const CLIENTS: usize = 8;
/// How long a client waits for an answer before it takes the message elsewhere. Shorter than some
/// freezes and stalls.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client goes on trying when the faults have ended: after that something is permanently
/// broken. While they strike it never gives up, because no promise says how soon an answer comes then.
const STUBBORN: Duration = Duration::from_secs(90);

/// The final state that a verification must reach despite all faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prescribed {
    Decided(&'static str),
    Expired,
    Failed,
}

use Prescribed::{Decided, Expired, Failed};

/// Scripts of the simulated provider, and the outcome of each under the default policy.
const SCRIPTS: [(&str, Prescribed); 43] = [
    ("pass-97", Decided("approve")),
    ("pass-97", Decided("approve")),
    ("pass-97", Decided("approve")),
    ("pass-90", Decided("approve")),
    ("pass-89.99", Decided("review")),
    ("pass-noscore", Decided("review")),
    ("scores-97-96-91", Decided("approve")),
    ("status-2", Decided("reject")),
    ("status-3", Decided("retry")),
    ("status-7-99", Decided("reject")),
    ("status-12", Decided("review")),
    ("status-42", Decided("review")),
    ("quit-1-then-pass-97", Decided("approve")),
    ("review-1-then-status-2", Decided("reject")),
    ("quit-2-then-review-1-then-status-7", Decided("reject")),
    ("throttled-1-then-pass-97", Decided("approve")),
    ("http-503-x1-then-pass-97", Decided("approve")),
    ("html-1-then-status-3", Decided("retry")),
    ("garbage-1-then-pass-97", Decided("approve")),
    ("empty-1-then-pass-97", Decided("approve")),
    ("torn-1-then-cut-1-then-pass-97", Decided("approve")),
    ("nostatus-1-then-status-7", Decided("reject")),
    // So that there is always something under way to be struck.
    ("slow-300-pass-97", Decided("approve")),
    ("slow-500-status-7-12", Decided("reject")),
    ("slow-800-pass-88", Decided("review")),
    ("slow-1500-quit-1-then-pass-97", Decided("approve")),
    // Longer than a lease: it has to be renewed.
    ("slow-2500-pass-97", Decided("approve")),
    ("strings-pass-97", Decided("approve")),
    ("xml-data-pass-97", Decided("approve")),
    ("envelope-extra-status-7", Decided("reject")),
    ("badscore-pass-97", Decided("review")),
    ("expired", Expired),
    ("invalidbiz", Failed),
    // Of face-verify, as a CertifyId that was made elsewhere.
    ("fv-pass97", Decided("approve")),
    ("fv-pass97", Decided("approve")),
    ("fv-204", Decided("reject")),
    ("fv-206", Decided("review")),
    ("fv-427", Decided("review")),
    ("fv-220", Decided("retry")),
    ("fv-424-then-pass97", Decided("approve")),
    ("fv-500-then-204", Decided("reject")),
    ("fv-406", Expired),
    ("fv-404", Failed),
];

/// One accepted message.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message_id: String,
    pub body: String,
    pub biz_id: String,
    pub prescribed: Prescribed,
    /// The answer, to the letter.
    pub answer: String,
    pub verification: String,
}

impl Entry {
    /// Its `biz_id` is an order number.
    fn is_of_a_start(&self) -> bool {
        self.body.contains(starts::SCENE)
    }

    pub fn digest(&self) -> BodyDigest {
        BodyDigest::of(self.body.as_ref())
    }
}

/// A message to be accepted.
struct Message {
    id: String,
    body: String,
    biz_id: String,
    prescribed: Prescribed,
}

/// Everything clients have seen.
#[derive(Default)]
pub struct Ledger {
    pub entries: Mutex<Vec<Entry>>,
    /// When each 2xx came, and how long it took from when the message was sent that time.
    pub accepted: Mutex<Vec<(OffsetDateTime, Duration)>>,
    pub repeats: AtomicUsize,
    pub repeats_answered_otherwise: Mutex<Vec<String>>,
    pub conflicts: AtomicUsize,
    pub conflicts_accepted: Mutex<Vec<String>>,
    pub gave_up_early: AtomicUsize,
    /// Neither an acceptance nor an honest "not now".
    pub odd_answers: Mutex<Vec<String>>,
    pub never_accepted: Mutex<Vec<String>>,
    pub starts: Starts,
    pub persons: Persons,
    next: AtomicUsize,
    stopped: OnceLock<Instant>,
}

impl Ledger {
    /// No new messages; those begun are carried to their end.
    pub fn stop(&self) {
        let _ = self.stopped.set(Instant::now());
    }

    /// Whether what a client began then should have succeeded by now.
    pub fn gives_up(&self, began: Instant) -> bool {
        self.stopped.get().is_some_and(|at| began.max(*at).elapsed() >= STUBBORN)
    }

    /// One client, until stopped.
    pub async fn post(self: Arc<Self>, world: Arc<World>, dice: Dice) {
        let mut client = Client::new(self, world, dice);
        while client.ledger.stopped.get().is_none() {
            client.act().await;
            let pause = client.dice.millis(20, 250);
            tokio::time::sleep(pause).await;
        }
    }

    /// Never the same again.
    pub fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    fn message(&self, biz_id: String, prescribed: Prescribed) -> Message {
        let reference = self.number().to_string();
        let body = if biz_id.starts_with("fv-") {
            serde_json::json!({ "product": "face-verify", "biz_type": "1000000006",
                "certify_id": biz_id, "reference": reference })
        } else {
            serde_json::json!({ "biz_type": "test", "biz_id": biz_id, "reference": reference })
        };
        self.with_id(body.to_string(), biz_id, prescribed)
    }

    fn with_id(&self, body: String, biz_id: String, prescribed: Prescribed) -> Message {
        Message { id: format!("ledger-{}", self.number()), body, biz_id, prescribed }
    }
}

/// One client.
pub struct Client {
    pub http: reqwest::Client,
    pub dice: Dice,
    pub world: Arc<World>,
    pub ledger: Arc<Ledger>,
}

impl Client {
    pub fn new(ledger: Arc<Ledger>, world: Arc<World>, dice: Dice) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build();
        Self { http: http.expect("a client"), dice, world, ledger }
    }

    async fn act(&mut self) {
        let known = {
            let entries = self.ledger.entries.lock().expect("not poisoned");
            (!entries.is_empty()).then(|| entries[self.dice.below(entries.len())].clone())
        };
        match (self.dice.below(100), known) {
            (0..10, Some(entry)) => self.repeat(&entry).await,
            (10..15, Some(entry)) => self.contradict(&entry).await,
            (15..25, Some(entry)) if !entry.is_of_a_start() => {
                let message = self.ledger.message(entry.biz_id, entry.prescribed);
                self.deliver(message).await;
            }
            (25..32, _) => {
                let message = self.new_message();
                self.give_up_early(&message).await;
                self.deliver(message).await;
            }
            (32..52, _) => self.start_another().await,
            (52..55, _) => self.erase_one().await,
            (55..59, _) => self.repeat_a_start().await,
            (59..62, _) => self.review_one().await,
            (62..65, _) => self.report_again_during_the_call().await,
            _ => {
                let message = self.new_message();
                self.deliver(message).await;
            }
        }
    }

    /// Another message about a verification while the provider is called for it: the answer may be older
    /// than what the message reports, so there has to be another call.
    async fn report_again_during_the_call(&mut self) {
        let biz_id = format!("slow-800-status-2_{}", self.ledger.number());
        for pause in [Duration::ZERO, self.dice.millis(50, 800)] {
            tokio::time::sleep(pause).await;
            let message = self.ledger.message(biz_id.clone(), Decided("reject"));
            self.deliver(message).await;
        }
    }

    fn new_message(&mut self) -> Message {
        let (script, prescribed) = self.dice.one_of(&SCRIPTS);
        let n = self.ledger.number();
        // The underscore ends the script.
        self.ledger.message(format!("{script}_{n}"), prescribed)
    }

    /// The app reports about a start.
    pub async fn report(&mut self, body: String, order_number: &str, prescribed: Prescribed) {
        let message = self.ledger.with_id(body, order_number.to_owned(), prescribed);
        self.deliver(message).await;
    }

    /// Sends it, anywhere and again, until it is accepted.
    async fn deliver(&mut self, message: Message) {
        let began = Instant::now();
        while !self.ledger.gives_up(began) {
            let sent = Instant::now();
            match self.send(&message.id, &message.body).await {
                Some((202, answer)) => {
                    self.world.moments.acceptance.notify_waiters();
                    let accepted = (now(), sent.elapsed());
                    self.ledger.accepted.lock().expect("not poisoned").push(accepted);
                    let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
                    let entry = Entry {
                        message_id: message.id,
                        body: message.body,
                        biz_id: message.biz_id,
                        prescribed: message.prescribed,
                        verification: json["id"].as_str().unwrap_or_default().to_owned(),
                        answer,
                    };
                    self.ledger.entries.lock().expect("not poisoned").push(entry);
                    return;
                }
                other => self.judge("a new message", other),
            }
            let pause = self.dice.millis(10, 100);
            tokio::time::sleep(pause).await;
        }
        self.ledger.never_accepted.lock().expect("not poisoned").push(message.id);
    }

    /// The same message again, through whatever process.
    async fn repeat(&mut self, entry: &Entry) {
        match self.send(&entry.message_id, &entry.body).await {
            Some((202, answer)) => {
                let accepted = (now(), Duration::ZERO);
                self.ledger.accepted.lock().expect("not poisoned").push(accepted);
                self.ledger.repeats.fetch_add(1, Ordering::SeqCst);
                if answer != entry.answer {
                    let what = format!("{}: {} but then {answer}", entry.message_id, entry.answer);
                    self.ledger.repeats_answered_otherwise.lock().expect("not poisoned").push(what);
                }
            }
            other => self.judge("a repeat", other),
        }
    }

    /// Other bytes under a known id.
    async fn contradict(&mut self, entry: &Entry) {
        let body = entry.body.replace("\"reference\":\"", "\"reference\":\"x");
        match self.send(&entry.message_id, &body).await {
            Some((409, _)) => {
                self.ledger.conflicts.fetch_add(1, Ordering::SeqCst);
            }
            Some((202, answer)) => {
                let what = format!("{}: {answer}", entry.message_id);
                self.ledger.conflicts_accepted.lock().expect("not poisoned").push(what);
            }
            other => self.judge("a contradiction", other),
        }
    }

    /// Hangs up before there is an answer.
    async fn give_up_early(&mut self, message: &Message) {
        let at_most = self.dice.millis(0, 12);
        let sending = self.send(&message.id, &message.body);
        if tokio::time::timeout(at_most, sending).await.is_err() {
            self.ledger.gave_up_early.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Status and body, or nothing where no answer came.
    pub async fn send(&mut self, id: &str, body: &str) -> Option<(u16, String)> {
        let service = &self.world.services[self.dice.below(3)];
        let address = service.address()?;
        let signed = Callback::signed_as(id, body, now().unix_timestamp(), SECRET);
        let mut request = self.http.post(format!("http://{address}/v1/callbacks/app"));
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        let answer = request.body(signed.body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Anything but an honest "not now" is odd.
    pub fn judge(&self, what: &str, answer: Option<(u16, String)>) {
        if let Some((status, text)) = answer.filter(|(status, _)| *status != 503) {
            let mut odd = self.ledger.odd_answers.lock().expect("not poisoned");
            odd.push(format!("{what} got {status}: {text}"));
        }
    }
}
