//! The protocol against a small model: random sequences of the steps of accepting and working
//! processes. After each step the database must match the model.
//!
//! A failure prints the shortest sequence that shows it. `PROPTEST_CASES=2000` plays more of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sqlx::Row as _;
use uuid::Uuid;

use crate::harness::protocol::{Answer, LEASE, Message, START, Steps, WINDOW, held};
use verdict::domain::ids::LeaseToken;
use verdict::domain::verification::{State, Verification};
use verdict::store::audit::AuditContext;
use verdict::store::callbacks::Accepted;
use verdict::store::claims::{self, Claimed};
use verdict::store::completions::{Completion, Written};
use verdict::store::lease::LeaseKey;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happens {
    /// New messages about these, in one batch.
    Accept(Vec<u8>),
    /// One of the messages so far comes again.
    Repeat(Index),
    /// Its id comes again, with other bytes.
    OtherBytes(Index),
    /// A worker claims with so many hands, while the budget allows so many calls.
    Claim { worker: usize, hands: i32, budget: i32 },
    /// A worker writes about one of the claims it knows of, lost ones too.
    Complete { worker: usize, claim: Index, answer: Answer },
    /// A worker writes about all of them, in one batch.
    CompleteAll { worker: usize, answer: Answer },
    /// A worker writes again what it has written before.
    CompleteAgain { worker: usize, completion: Index },
    /// A worker renews all its leases, lost ones too.
    Renew { worker: usize },
    /// A worker gives them all back.
    Release { worker: usize },
    /// A worker is killed: its claims are lost.
    Crash { worker: usize },
    /// An operator has one asked about again.
    Refetch(Index),
    /// Seconds pass.
    Pass(i64),
}

/// Few enough that they meet.
const VERIFICATIONS: u8 = 4;
const WORKERS: usize = 2;

fn anything() -> impl Strategy<Value = Happens> {
    use Happens::{
        Accept, Claim, Complete, CompleteAgain, CompleteAll, Crash, OtherBytes, Pass, Refetch,
        Release, Renew, Repeat,
    };
    let worker = 0..WORKERS;
    let answer = prop::sample::select(Answer::ALL.to_vec());
    let lease = LEASE.as_secs().cast_signed();
    prop_oneof![
        5 => prop::collection::vec(0..VERIFICATIONS, 1..4).prop_map(Accept),
        1 => any::<Index>().prop_map(Repeat),
        1 => any::<Index>().prop_map(OtherBytes),
        6 => (worker.clone(), 1..4, prop_oneof![4 => Just(100), 1 => 0..3])
            .prop_map(|(worker, hands, budget)| Claim { worker, hands, budget }),
        5 => (worker.clone(), any::<Index>(), answer.clone())
            .prop_map(|(worker, claim, answer)| Complete { worker, claim, answer }),
        1 => (worker.clone(), answer)
            .prop_map(|(worker, answer)| CompleteAll { worker, answer }),
        1 => (worker.clone(), any::<Index>())
            .prop_map(|(worker, completion)| CompleteAgain { worker, completion }),
        2 => worker.clone().prop_map(|worker| Renew { worker }),
        1 => worker.clone().prop_map(|worker| Release { worker }),
        1 => worker.prop_map(|worker| Crash { worker }),
        1 => any::<Index>().prop_map(Refetch),
        4 => prop_oneof![
            3 => Just(1), 3 => Just(lease), 2 => Just(20),
            1 => Just(WINDOW.as_secs().cast_signed()),
        ].prop_map(Pass),
    ]
}

/// One verification as it must be. Times in seconds since the beginning.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    state: State,
    closed: bool,
    callbacks: i32,
    attempts: i32,
    failures: i32,
    polls: i32,
    due: Option<f64>,
    give_up: i64,
    lease: Option<(Uuid, i64)>,
    results: i64,
    decisions: i64,
    has_key: bool,
}

impl Row {
    fn is_claimable(&self, now: i64) -> bool {
        let due = self.due.is_some_and(|due| due <= seconds(now));
        due && self.lease.is_none_or(|(_, until)| until <= now)
    }

    fn is_held_with(&self, token: LeaseToken) -> bool {
        self.lease.is_some_and(|(held, _)| held == token.0)
    }

    /// A new callback: the row is due now.
    fn heard_of(&mut self, now: i64) {
        self.state = State::Pending;
        self.due = Some(self.due.map_or(seconds(now), |due| due.min(seconds(now))));
    }
}

#[expect(clippy::cast_precision_loss, reason = "hours")]
fn seconds(whole: i64) -> f64 {
    whole as f64
}

/// The claims that a worker believes it holds.
#[derive(Default)]
struct Worker {
    claims: Vec<Claimed>,
    written: Vec<Completion>,
}

/// The model: the expected rows, and the answer that each sender got.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Uuid, Row>,
    ids: BTreeMap<String, Uuid>,
    accepted: Vec<(Message, Verification)>,
    workers: [Worker; WORKERS],
    /// Results that are kept.
    results: BTreeSet<Uuid>,
    spent: i64,
}

type Outcome = Result<(), TestCaseError>;

impl Model {
    async fn step(&mut self, steps: &Steps, happens: &Happens) -> Outcome {
        match happens {
            Happens::Accept(about) => self.accept(steps, about).await,
            Happens::Repeat(which) | Happens::OtherBytes(which) if self.accepted.is_empty() => {
                let _ = which;
                Ok(())
            }
            Happens::Repeat(which) => {
                let (message, told) = which.get(&self.accepted);
                let again = steps.accept(std::slice::from_ref(message)).await.unwrap().remove(0);
                let Accepted::Repeated(again) = again else { panic!("not repeated: {again:?}") };
                prop_assert_eq!(&again, told, "another answer to the same message");
                Ok(())
            }
            Happens::OtherBytes(which) => {
                let other = Message { bytes: 2, ..which.get(&self.accepted).0.clone() };
                let outcome = steps.accept(&[other]).await.unwrap();
                prop_assert!(matches!(outcome[..], [Accepted::Mismatch]), "{:?}", outcome);
                Ok(())
            }
            Happens::Claim { worker, hands, budget } => {
                self.claim(steps, *worker, *hands, *budget).await
            }
            Happens::Complete { worker, claim, answer } => {
                let claims = &mut self.workers[*worker].claims;
                if claims.is_empty() {
                    return Ok(());
                }
                let claimed = claims.remove(claim.index(claims.len()));
                self.complete(steps, *worker, vec![steps.answered(&claimed, *answer)]).await
            }
            Happens::CompleteAll { worker, answer } => {
                let claims = std::mem::take(&mut self.workers[*worker].claims);
                let batch = claims.iter().map(|claimed| steps.answered(claimed, *answer));
                self.complete(steps, *worker, batch.collect()).await
            }
            Happens::CompleteAgain { worker, completion } => {
                let written = &self.workers[*worker].written;
                if written.is_empty() {
                    return Ok(());
                }
                let again = vec![completion.get(written).clone()];
                self.complete(steps, *worker, again).await
            }
            Happens::Renew { worker } => self.renew(steps, *worker).await,
            Happens::Release { worker } => self.release(steps, *worker).await,
            Happens::Crash { worker } => {
                self.workers[*worker] = Worker::default();
                Ok(())
            }
            Happens::Refetch(which) => self.refetch(steps, which).await,
            Happens::Pass(seconds) => {
                steps.advance(*seconds).await;
                Ok(())
            }
        }
    }

    async fn accept(&mut self, steps: &Steps, about: &[u8]) -> Outcome {
        let now = steps.now();
        let batch: Vec<Message> =
            about.iter().map(|n| steps.message(&format!("person-{n}"))).collect();
        let outcomes = steps.accept(&batch).await.unwrap();
        prop_assert_eq!(outcomes.len(), batch.len());
        for (message, outcome) in batch.iter().zip(outcomes) {
            let Accepted::New(told) = outcome else { panic!("not new: {outcome:?}") };
            let id = *self.ids.entry(message.biz_id.clone()).or_insert(told.id.0);
            prop_assert_eq!(id, told.id.0, "two verifications of one thing");
            let row = self.rows.entry(id).or_insert_with(|| Row::new(now));
            row.callbacks += 1;
            (row.failures, row.polls, row.give_up) = (0, 0, now + WINDOW.as_secs().cast_signed());
            if !row.closed {
                row.heard_of(now);
            }
            prop_assert_eq!((told.state, told.attempts), (row.state, row.attempts));
            prop_assert_eq!(told.decision.is_some(), row.decisions > 0);
            self.accepted.push((message.clone(), told));
        }
        Ok(())
    }

    async fn claim(&mut self, steps: &Steps, worker: usize, hands: i32, budget: i32) -> Outcome {
        let now = steps.now();
        let token: LeaseToken = steps.ids.next(START);
        let claimed = steps.claim_as(token, hands, budget).await.unwrap();
        let mut due: Vec<f64> = self
            .rows
            .values()
            .filter(|row| row.is_claimable(now))
            .filter_map(|row| row.due)
            .collect();
        due.sort_by(f64::total_cmp);
        due.truncate(usize::try_from(hands.min(budget)).unwrap_or(0));
        // As many as hands and budget allow, the oldest due first; among equals any will do.
        let since: Vec<Option<f64>> = claimed.iter().map(|c| self.rows[&c.id.0].due).collect();
        prop_assert_eq!(since, due.into_iter().map(Some).collect::<Vec<_>>());
        for claim in claimed {
            let row = self.rows.get_mut(&claim.id.0).unwrap();
            prop_assert!(row.is_claimable(now), "claimed twice, or not due: {:?}", claim);
            row.attempts += 1;
            row.lease = Some((token.0, now + LEASE.as_secs().cast_signed()));
            self.spent += 1;
            prop_assert_eq!(
                (claim.attempt, claim.callbacks, claim.failures, claim.polls),
                (row.attempts, row.callbacks, row.failures, row.polls)
            );
            prop_assert_eq!(claim.overdue, row.give_up <= now);
            prop_assert_eq!(claim.data_key.is_some(), row.has_key);
            prop_assert_eq!(claim.lease_token, token);
            self.workers[worker].claims.push(claim);
        }
        Ok(())
    }

    async fn complete(&mut self, steps: &Steps, worker: usize, batch: Vec<Completion>) -> Outcome {
        let now = seconds(steps.now());
        let written = steps.complete(&batch).await.unwrap();
        prop_assert_eq!(written.len(), batch.len());
        for (completion, written) in batch.iter().zip(written) {
            let row = self.rows.get_mut(&completion.verification_id.0).unwrap();
            if !row.is_held_with(completion.lease_token) {
                let left_a_result = completion
                    .result
                    .as_ref()
                    .is_some_and(|result| self.results.contains(&result.stored.id.0));
                let expected = if left_a_result { Written::Committed } else { Written::Fenced };
                prop_assert_eq!(written, expected);
                continue;
            }
            prop_assert_eq!(written, Written::Committed);
            let next = completion.next;
            row.closed |= next.closed;
            row.lease = None;
            (row.failures, row.polls) = (next.failures, next.polls);
            if row.callbacks > completion.callbacks_seen {
                (row.failures, row.polls) = (0, 0);
            }
            if row.callbacks > completion.callbacks_seen && !next.closed {
                (row.state, row.due) = (State::Pending, Some(now));
            } else {
                row.state = next.state.unwrap_or(row.state);
                row.due = next.due_in.map(|due_in| now + due_in.as_secs_f64());
            }
            row.results += i64::from(completion.result.is_some());
            self.results.extend(completion.result.as_ref().map(|result| result.stored.id.0));
            row.decisions += i64::from(completion.decision.is_some());
            row.has_key |= completion.new_data_key.is_some();
        }
        self.workers[worker].written.extend(batch);
        Ok(())
    }

    async fn renew(&mut self, steps: &Steps, worker: usize) -> Outcome {
        let until = steps.now() + LEASE.as_secs().cast_signed();
        let mine = held(&self.workers[worker].claims);
        let mut renewed = steps.store.leases().renew(&claims::LEASED, &mine, LEASE).await.unwrap();
        let mut expected = Vec::new();
        for LeaseKey { id, token } in mine {
            let row = self.rows.get_mut(&id).unwrap();
            if row.is_held_with(token) {
                row.lease = Some((token.0, until));
                expected.push(id);
            }
        }
        renewed.sort();
        expected.sort();
        prop_assert_eq!(renewed, expected, "renewed, and held");
        Ok(())
    }

    async fn release(&mut self, steps: &Steps, worker: usize) -> Outcome {
        let mine = held(&std::mem::take(&mut self.workers[worker].claims));
        let released = steps.store.leases().release(&claims::LEASED, &mine).await.unwrap();
        let mut expected = 0;
        for LeaseKey { id, token } in mine {
            let row = self.rows.get_mut(&id).unwrap();
            if row.is_held_with(token) {
                row.lease = None;
                expected += 1;
            }
        }
        prop_assert_eq!(released, expected, "released, and held");
        Ok(())
    }

    async fn refetch(&mut self, steps: &Steps, which: &Index) -> Outcome {
        if self.rows.is_empty() {
            return Ok(());
        }
        let now = steps.now();
        let place = which.index(self.rows.len());
        let (id, row) = self.rows.iter_mut().nth(place).unwrap();
        let doing = AuditContext { actor: "cli:test".to_owned(), purpose: None, at: START };
        let found =
            steps.store.verifications().refetch((*id).into(), WINDOW, None, &doing).await.unwrap();
        (row.closed, row.failures, row.polls) = (false, 0, 0);
        row.callbacks += 1;
        row.give_up = now + WINDOW.as_secs().cast_signed();
        row.heard_of(now);
        prop_assert_eq!(found.map(|found| found.verification.state), Some(State::Pending));
        Ok(())
    }

    /// The database is as the model says.
    async fn compare(&self, steps: &Steps) -> Outcome {
        let mut found = BTreeMap::new();
        let rows = sqlx::query(
            "select v.*, extract(epoch from due_at - $1)::float8 as due,
                extract(epoch from give_up_at - $1)::int8 as give_up,
                extract(epoch from lease_until - $1)::int8 as leased_until,
                (select count(*) from results r where r.verification_id = v.id) as results,
                (select count(*) from decisions d where d.verification_id = v.id) as decisions,
                exists (select from data_keys k where k.verification_id = v.id) as has_key
             from verifications v",
        )
        .bind(START)
        .fetch_all(&steps.look)
        .await
        .unwrap();
        for row in rows {
            let token: Option<Uuid> = row.get("lease_token");
            let seen = Row {
                state: State::parse(row.get("state")).unwrap(),
                closed: row.get("closed"),
                callbacks: row.get("callbacks"),
                attempts: row.get("attempts"),
                failures: row.get("failures"),
                polls: row.get("polls"),
                due: row.get("due"),
                give_up: row.get("give_up"),
                lease: token.zip(row.get("leased_until")),
                results: row.get("results"),
                decisions: row.get("decisions"),
                has_key: row.get("has_key"),
            };
            found.insert(row.get::<Uuid, _>("id"), seen);
        }
        prop_assert_eq!(&found, &self.rows, "the database, and the model");
        prop_assert_eq!(steps.spent().await, self.spent, "the budget spent, and the claims");
        let kept: i64 = sqlx::query_scalar("select count(*) from callbacks")
            .fetch_one(&steps.look)
            .await
            .unwrap();
        prop_assert_eq!(usize::try_from(kept).unwrap(), self.accepted.len(), "messages kept");
        Ok(())
    }
}

impl Row {
    fn new(now: i64) -> Self {
        Self {
            state: State::Pending,
            closed: false,
            callbacks: 0,
            attempts: 0,
            failures: 0,
            polls: 0,
            due: None,
            give_up: now,
            lease: None,
            results: 0,
            decisions: 0,
            has_key: false,
        }
    }
}

/// Plays a sequence, looking after each step, and has a successor finish what it leaves behind.
async fn play(steps: &Steps, sequence: &[Happens]) -> Outcome {
    steps.begin().await;
    let mut model = Model::default();
    for happens in sequence {
        model.step(steps, happens).await?;
        model.compare(steps).await?;
    }
    steps.successor_finishes().await;
    steps.assert_done(&model.accepted).await;
    Ok(())
}

#[test]
fn random_histories_match_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let steps = runtime.block_on(Steps::new());
    let mut config =
        Config { max_shrink_iters: 300, failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        // Some six seconds.
        config.cases = 60;
    }
    let sequences = prop::collection::vec(anything(), 1..40);
    let outcome = TestRunner::new(config)
        .run(&sequences, |sequence| runtime.block_on(play(&steps, &sequence)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
