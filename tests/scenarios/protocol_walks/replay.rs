//! One step of the model, done by the service's own code.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol_model::Model;
use protocol_model::State;
use protocol_model::state::{self, Deliverer, Numberer, Worker};
use protocol_model::step::{Delivery, Fate, Step};
use sqlx::Executor;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::gates::{Gates, NUMBERING};
use crate::harness::protocol::{self, LEASE, Message, START, Steps};
use verdict::domain::ids::{EndpointId, LeaseToken};
use verdict::domain::verification::Verification;
use verdict::store::Result;
use verdict::store::callbacks::Accepted;
use verdict::store::claims::{self, Claimed};
use verdict::store::completions::{Completion, Written};
use verdict::store::events::Filter;
use verdict::store::lease::LeaseKey;
use verdict::worker::deliveries::records::Recorder;
use verdict::worker::deliveries::setup::window;
use verdict::worker::deliveries::state::{Answer, Key};
use verdict::worker::deliveries::window::Window;

/// Longer than any retry waits.
const LONG: Duration = Duration::from_hours(24 * 30);

/// A worker's memory beside that of the model.
#[derive(Default)]
pub(super) struct Hand {
    claimed: Option<Claimed>,
    completion: Option<Completion>,
    writing: Option<JoinHandle<Result<Vec<Written>>>>,
}

/// A deliverer's memory.
pub(super) struct Delivering {
    lease: LeaseKey,
    revision: i32,
    window: Window,
    now: Duration,
}

/// The service's side of a walk.
pub(super) struct Replay {
    pub(super) steps: Arc<Steps>,
    gates: Gates,
    messages: Vec<Message>,
    hands: Vec<Hand>,
    numbering: Option<JoinHandle<Result<i32>>>,
    deliverers: Vec<Option<Delivering>>,
    pub(super) endpoint: Uuid,
    /// The number after which the walk's events begin.
    pub(super) base: i64,
    /// The attempt of each token.
    pub(super) tokens: HashMap<Uuid, u8>,
    /// The deliverer of each token.
    pub(super) holders: HashMap<Uuid, u8>,
    /// The decision of each change.
    pub(super) decisions: HashMap<u8, Uuid>,
    claims: u32,
}

/// The `biz_id` of a verification, and its gate.
pub(super) fn name(verification: u8) -> String {
    format!("walk-{verification}")
}

fn at(place: u8) -> usize {
    usize::from(place)
}

impl Replay {
    pub(super) async fn new() -> Self {
        let steps = Arc::new(Steps::without_timeouts().await);
        let gates = Gates::new(&steps.look).await;
        Self {
            steps,
            gates,
            messages: Vec::new(),
            hands: Vec::new(),
            numbering: None,
            deliverers: Vec::new(),
            endpoint: Uuid::nil(),
            base: 0,
            tokens: HashMap::new(),
            holders: HashMap::new(),
            decisions: HashMap::new(),
            claims: 0,
        }
    }

    /// An empty database, an endpoint at the head of the log, nobody at work.
    pub(super) async fn begin(&mut self, model: &Model) {
        let steps = &self.steps;
        steps.begin().await;
        steps.look.execute("delete from webhook_endpoints").await.unwrap();
        let endpoint: Uuid = sqlx::query_scalar(
            "insert into webhook_endpoints (id, url, cursor, key_id, wrapped, secret, max_in_flight,
                 types, created_at, created_by, updated_at)
             values (gen_random_uuid(), 'https://example.com/', 0, 'test', '', '', 8,
                 array['verification.decided'], verdict_now(), 'test', verdict_now())
             returning id",
        )
        .fetch_one(&steps.look)
        .await
        .unwrap();
        while steps.store.events().number_step(1_000).await.unwrap() > 0 {}
        self.base = steps.store.events().ends().await.unwrap().0;
        sqlx::query("update webhook_endpoints set cursor = $1, due_at = null")
            .bind(self.base)
            .execute(&steps.look)
            .await
            .unwrap();
        self.endpoint = endpoint;
        let sizes = model.sizes;
        self.messages =
            (0..sizes.messages).map(|n| steps.message(&name(n % sizes.verifications))).collect();
        self.hands = (0..sizes.workers).map(|_| Hand::default()).collect();
        self.deliverers = (0..sizes.deliverers).map(|_| None).collect();
        self.tokens.clear();
        self.holders.clear();
        self.decisions.clear();
    }

    pub(super) async fn step(&mut self, step: Step, before: &State, after: &State, at_step: &str) {
        match step {
            Step::Accept { message, fate } => self.accept(message, fate, after, at_step).await,
            Step::Claim { worker, verification, fate } => {
                self.claim(worker, verification, fate, after, at_step).await;
            }
            Step::Renew { worker } => {
                let hand = &mut self.hands[at(worker)];
                let held = [hand.claimed.as_ref().expect("held").lease()];
                let renewed = self.steps.store.leases().renew(&claims::LEASED, &held, LEASE);
                let is_held = renewed.await.unwrap().len() == 1;
                assert_eq!(is_held, after.workers[at(worker)] != Worker::Idle, "{at_step}");
                if !is_held {
                    *hand = Hand::default();
                }
            }
            Step::Release { worker } => {
                let hand = std::mem::take(&mut self.hands[at(worker)]);
                let held = [hand.claimed.expect("held").lease()];
                let released = self.steps.store.leases().release(&claims::LEASED, &held);
                let is_held = released.await.unwrap() == 1;
                assert_eq!(is_held, before.verifications != after.verifications, "{at_step}");
            }
            Step::Write { worker, answer } => {
                let answer = match answer {
                    state::Answer::Passed => protocol::Answer::Passed,
                    state::Answer::Rejected => protocol::Answer::Rejected,
                    state::Answer::Unfinished => protocol::Answer::Unfinished,
                };
                let hand = &mut self.hands[at(worker)];
                let claimed = hand.claimed.as_ref().expect("held");
                hand.completion = Some(self.steps.answered(claimed, answer));
                self.write(worker, before, after, at_step).await;
            }
            Step::Repeat { worker } => self.write(worker, before, after, at_step).await,
            Step::Commit { worker, fate } => self.commit(worker, fate, before, at_step).await,
            Step::Crash { worker } => {
                let writing = self.hands[at(worker)].writing.take();
                if let Some(writing) = writing {
                    self.gates.kill(&gate_of(before, worker), writing).await;
                }
                self.hands[at(worker)] = Hand::default();
            }
            Step::LeaseEnds { verification } => {
                self.change("lease_until = verdict_now()", verification).await;
            }
            Step::FallsDue { verification } => {
                self.change("due_at = verdict_now()", verification).await;
            }
            Step::Erase { .. } => panic!("{at_step}: erasures are not replayed"),
            Step::BeginNumbering { .. } => {
                self.gates.shut(NUMBERING).await;
                let steps = Arc::clone(&self.steps);
                let number = async move { steps.store.events().number_step(1_000).await };
                self.numbering = Some(tokio::spawn(number));
                self.gates.waiting(NUMBERING).await;
                let second = self.steps.store.events().number_step(1_000).await.unwrap();
                assert_eq!(second, 0, "{at_step}: one numberer at a time");
            }
            Step::EndNumbering { numberer, fate } => {
                let numbering = self.numbering.take().expect("begun");
                let Numberer::Numbering { taken, .. } = &before.numberers[at(numberer)] else {
                    panic!("{at_step}: not begun")
                };
                if fate == Fate::Answered {
                    let numbered = self.gates.pass(NUMBERING, numbering).await.unwrap();
                    assert_eq!(usize::try_from(numbered).unwrap(), taken.len(), "{at_step}");
                } else {
                    assert!(self.gates.cut(NUMBERING, numbering).await.is_err(), "{at_step}");
                }
            }
            _ => self.deliver(step, before, after, at_step).await,
        }
    }

    async fn change(&self, what: &str, verification: u8) {
        let sql = format!("update verifications set {what} where biz_id = $1");
        let changed = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name(verification));
        assert_eq!(self.steps.look.execute(changed).await.unwrap().rows_affected(), 1);
    }

    async fn accept(&mut self, message: u8, fate: Fate, after: &State, at_step: &str) {
        let sent = self.messages[at(message)].clone();
        if fate == Fate::Answered {
            let told = told(self.steps.accept(std::slice::from_ref(&sent)).await.unwrap());
            let expected = after.messages[at(message)].last_answer.expect("answered");
            let told = (told.state, told.attempts, told.decision.is_some());
            let attempts = i32::from(expected.attempts);
            let state = super::compare::state_of(expected.stage);
            assert_eq!(told, (state, attempts, expected.decisions > 0), "{at_step}");
            return;
        }
        let gate = sent.biz_id.clone();
        self.gates.shut(&gate).await;
        let steps = Arc::clone(&self.steps);
        let accepting = tokio::spawn(async move { steps.accept(&[sent]).await });
        if fate == Fate::Cut {
            assert!(self.gates.cut(&gate, accepting).await.is_err(), "{at_step}");
        } else {
            self.gates.pass_unheard(&gate, accepting).await;
        }
    }

    async fn claim(
        &mut self,
        worker: u8,
        verification: u8,
        fate: Fate,
        after: &State,
        at_step: &str,
    ) {
        // Due the longest: so it is the one that is claimed.
        self.claims += 1;
        let claims = self.claims;
        let longest = format!("due_at = verdict_now() - interval '{claims} hours'");
        self.change(&longest, verification).await;
        let token: LeaseToken = self.steps.ids.next(START);
        let mut claimed = self.steps.claim_as(token, 1, 1_000_000).await.unwrap();
        assert_eq!(claimed.len(), 1, "{at_step}");
        let claimed = claimed.remove(0);
        let row = &after.verifications[at(verification)];
        assert_eq!(
            (claimed.biz_id.as_str(), claimed.attempt, claimed.callbacks),
            (name(verification).as_str(), i32::from(row.attempts), i32::from(row.callbacks)),
            "{at_step}"
        );
        self.tokens.insert(token.0, row.attempts);
        if fate == Fate::Answered {
            self.hands[at(worker)].claimed = Some(claimed);
        }
    }

    /// Carries a completion out: up to its commit, or to the end if it is fenced.
    async fn write(&mut self, worker: u8, before: &State, after: &State, at_step: &str) {
        let completion = self.hands[at(worker)].completion.clone().expect("answered");
        if let Worker::Writing { change, .. } = after.workers[at(worker)] {
            if let Some((change, decision)) = change.zip(completion.decision.as_ref()) {
                self.decisions.insert(change, decision.id.0);
            }
            let gate = gate_of(after, worker);
            self.gates.shut(&gate).await;
            let steps = Arc::clone(&self.steps);
            let writing = tokio::spawn(async move { steps.complete(&[completion]).await });
            self.gates.waiting(&gate).await;
            self.hands[at(worker)].writing = Some(writing);
            return;
        }
        let (Worker::Holding(claim) | Worker::Unsure { claim, .. }) = before.workers[at(worker)]
        else {
            panic!("{at_step}: nothing to write")
        };
        let is_kept = before.verifications[at(claim.verification)].results.contains(&claim.attempt);
        let expected = if is_kept { Written::Committed } else { Written::Fenced };
        assert_eq!(self.steps.complete(&[completion]).await.unwrap(), [expected], "{at_step}");
        self.hands[at(worker)] = Hand::default();
    }

    async fn commit(&mut self, worker: u8, fate: Fate, before: &State, at_step: &str) {
        let gate = gate_of(before, worker);
        let writing = self.hands[at(worker)].writing.take().expect("writing");
        match fate {
            Fate::Answered => {
                let written = self.gates.pass(&gate, writing).await.unwrap();
                assert_eq!(written, [Written::Committed], "{at_step}");
                self.hands[at(worker)] = Hand::default();
            }
            Fate::AnswerLost => self.gates.pass_unheard(&gate, writing).await,
            Fate::Cut => assert!(self.gates.cut(&gate, writing).await.is_err(), "{at_step}"),
        }
    }

    async fn deliver(&mut self, step: Step, before: &State, after: &State, at_step: &str) {
        let deliveries = self.steps.store.webhook_deliveries();
        match step {
            Step::PickUp { deliverer } => {
                let token: LeaseToken = self.steps.ids.next(START);
                let mut claim = deliveries.claim(1, LEASE, token).await.unwrap();
                assert_eq!(claim.endpoints.len(), 1, "{at_step}");
                let claimed = claim.endpoints.remove(0);
                let rows = deliveries.pending(EndpointId(claimed.id)).await.unwrap();
                let window = window(&claimed, claimed.ordering().unwrap(), &rows, None);
                let (lease, revision) = (claimed.lease(), claimed.revision);
                let delivering = Delivering { lease, revision, window, now: Duration::ZERO };
                self.deliverers[at(deliverer)] = Some(delivering);
                self.holders.insert(token.0, deliverer);
            }
            Step::Send { deliverer, delivery } => {
                let Deliverer::Delivering(expected) = &before.deliverers[at(deliverer)] else {
                    panic!("{at_step}: not delivering")
                };
                let expected = before.next_event(expected).map(|n| self.base + i64::from(n));
                let delivering = self.deliverers[at(deliverer)].as_mut().expect("delivering");
                read_ahead(&self.steps, &mut delivering.window).await;
                let now = delivering.now;
                let sent = delivering.window.next(now);
                assert_eq!(sent, expected.map(Key::log), "{at_step}: the event that is sent");
                let answer = match delivery {
                    Delivery::Acknowledged => Answer::Acknowledged,
                    Delivery::AnswerLost | Delivery::Refused => Answer::Failed(None),
                };
                delivering.window.answered(now, sent.expect("sent"), answer, 0.5);
            }
            Step::StoreProgress { deliverer } => {
                let delivering = self.deliverers[at(deliverer)].as_mut().expect("delivering");
                let progress = delivering.window.take_progress(delivering.now);
                let revision = delivering.revision;
                let progress = Recorder::default().take(progress, revision, START);
                let stored = match progress {
                    Some(progress) => deliveries.commit(delivering.lease, &progress).await,
                    None => deliveries.standing(delivering.lease).await,
                };
                let is_held = stored.unwrap().is_some();
                assert_eq!(
                    is_held,
                    after.deliverers[at(deliverer)] != Deliverer::Idle,
                    "{at_step}"
                );
                if !is_held {
                    self.deliverers[at(deliverer)] = None;
                }
            }
            Step::PutDown { deliverer } => {
                let delivering = self.deliverers[at(deliverer)].take().expect("delivering");
                let now = delivering.now;
                let due_in = delivering.window.wake_at(now).map(|wake| wake.saturating_sub(now));
                let is_held = deliveries.release(delivering.lease, due_in).await.unwrap();
                let was_held = before.endpoint.holder != after.endpoint.holder;
                assert_eq!(is_held, was_held, "{at_step}");
            }
            Step::CrashDeliverer { deliverer } => self.deliverers[at(deliverer)] = None,
            Step::EndpointLeaseEnds => {
                let end = "update webhook_endpoints set lease_until = verdict_now()";
                self.steps.look.execute(end).await.unwrap();
            }
            Step::RetriesFallDue => {
                let due =
                    "update webhook_pending set next_at = verdict_now() where state = 'retry';
                     update webhook_endpoints set due_at = verdict_now() where due_at is not null";
                self.steps.look.execute(due).await.unwrap();
                for delivering in self.deliverers.iter_mut().flatten() {
                    delivering.now += LONG;
                }
            }
            other => panic!("{at_step}: {other:?} is no step of a deliverer"),
        }
    }

    /// All processes are killed. A successor finishes, and nothing is lost or doubled.
    pub(super) async fn finish(&mut self, walk: &str) {
        for place in 0..self.hands.len() {
            let hand = std::mem::take(&mut self.hands[place]);
            if let Some((writing, claimed)) = hand.writing.zip(hand.claimed) {
                self.gates.kill(&claimed.biz_id, writing).await;
            }
        }
        if let Some(numbering) = self.numbering.take() {
            self.gates.kill(NUMBERING, numbering).await;
        }
        let steps = &self.steps;
        let mut accepted = Vec::new();
        for message in &self.messages {
            let answer = told(steps.accept(std::slice::from_ref(message)).await.unwrap());
            accepted.push((message.clone(), answer));
        }
        steps.successor_finishes().await;
        steps.assert_done(&accepted).await;
        while steps.store.events().number_step(1_000).await.unwrap() > 0 {}
        let (decisions, events, different): (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from decisions), count(*), count(distinct decision_id)
             from events where number > $1 and kind = 'verification.decided'",
        )
        .bind(self.base)
        .fetch_one(&steps.look)
        .await
        .unwrap();
        assert_eq!((events, different), (decisions, decisions), "{walk}: events and decisions");
    }
}

/// The gate of the transaction that this worker has open.
fn gate_of(state: &State, worker: u8) -> String {
    match state.workers[at(worker)] {
        Worker::Writing { claim, .. } => name(claim.verification),
        other => panic!("{other:?} writes nothing"),
    }
}

fn told(mut outcomes: Vec<Accepted>) -> Verification {
    match outcomes.remove(0) {
        Accepted::New(verification) | Accepted::Repeated(verification) => verification,
        refused => panic!("{refused:?}"),
    }
}

async fn read_ahead(steps: &Steps, window: &mut Window) {
    window.log_grew();
    let kinds = vec![verdict::domain::event::EventKind::Decided];
    let filter = Filter { kinds: Some(kinds), scenes: None };
    while window.wants_more() {
        let page =
            steps.store.events().after(window.examined(), 2_000, 200, &filter).await.unwrap();
        let taken = page.events.iter().map(|event| (event.number, event.verification()));
        window.add(taken, page.examined, page.head);
    }
}
