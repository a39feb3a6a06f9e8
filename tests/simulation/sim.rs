//! Stops: the places where a task of the service waits until the simulation lets it go on.
//!
//! Everything runs on one thread. After each step the simulation waits until nothing moves any more:
//! every task waits at a stop, for the simulated time, or for a lock that another transaction holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{Notify, oneshot};

/// How often every task gets its turn without anything happening before all counts as still.
const STILL: u32 = 12;

/// The kinds of stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A statement, before it reaches Postgres.
    Statement,
    /// A transaction, before its commit.
    Commit,
    /// An answer of Postgres.
    Answer,
    /// A call at the provider.
    Call,
    /// A delivery at a receiver.
    Delivery,
    /// A callback at its sender.
    Post,
    /// Something else of a session with Postgres: it goes on by itself, one after the other, so that
    /// answers always arrive in the same order.
    Quiet,
}

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It is lost on its way.
    Lose,
    /// It happens, and its answer is lost.
    LoseAnswer,
    /// It happens, but stops once more before the commit.
    HoldCommit,
    /// It happens, but its answer stops once more.
    HoldAnswer,
    /// It is refused.
    Refuse,
    /// The provider answers with this status.
    Status(i32),
    /// To this intake.
    To(usize),
}

/// Who, what, and the how many-eth of that.
pub type Key = (String, String, u64);

#[derive(Debug)]
struct Waiting {
    kind: Kind,
    go: oneshot::Sender<Fate>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Key, Waiting>,
    seen: BTreeMap<(String, String), u64>,
    /// Backends with a statement under way.
    busy: BTreeMap<u64, i32>,
    next_busy: u64,
    /// Grows with everything that arrives anywhere.
    activity: u64,
    outcomes: BTreeMap<Key, String>,
    trace: Vec<String>,
    passed: Duration,
}

/// The simulation, as tasks see it.
#[derive(Debug, Default)]
pub struct Sim {
    state: Mutex<State>,
    changed: Notify,
}

/// A backend works while this lives.
pub struct Busy<'a>(&'a Sim, u64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy.remove(&self.1);
        self.0.moved();
    }
}

/// Takes a stop away whose task has gone.
struct Left<'a>(&'a Sim, Key);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
    }
}

impl Sim {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has arrived somewhere.
    pub fn moved(&self) {
        self.lock().activity += 1;
        self.changed.notify_one();
    }

    pub fn busy(&self, backend: i32) -> Busy<'_> {
        let mut state = self.lock();
        state.next_busy += 1;
        let id = state.next_busy;
        state.busy.insert(id, backend);
        Busy(self, id)
    }

    /// Waits until the simulation chooses this one.
    pub async fn stop(&self, actor: &str, what: &str, kind: Kind) -> (Key, Fate) {
        let (go, went) = oneshot::channel();
        let key = {
            let mut state = self.lock();
            let count = state.seen.entry((actor.to_owned(), what.to_owned())).or_default();
            *count += 1;
            let key = (actor.to_owned(), what.to_owned(), *count);
            state.waiting.insert(key.clone(), Waiting { kind, go });
            key
        };
        self.moved();
        let left = Left(self, key);
        let fate = went.await.unwrap_or(Fate::Lose);
        self.moved();
        (left.1.clone(), fate)
    }

    /// The stops that can be chosen now, in the order of their names.
    pub fn waiting(&self) -> Vec<(Key, Kind)> {
        let state = self.lock();
        let all = state.waiting.iter().map(|(key, waiting)| (key.clone(), waiting.kind));
        all.filter(|(_, kind)| *kind != Kind::Quiet).collect()
    }

    /// Lets one go on.
    pub fn go(&self, key: &Key, fate: Fate) {
        let of = self.waiting().len();
        let waiting = self.lock().waiting.remove(key).expect("it stops");
        let (actor, what, _) = key;
        let how = match (waiting.kind, fate) {
            (Kind::Commit, Fate::Pass) => ": commits".to_owned(),
            (Kind::Answer, Fate::Pass) => ": is answered".to_owned(),
            (_, Fate::Pass) => String::new(),
            (kind, fate) => format!(": {kind:?} {fate:?}"),
        };
        self.note(&format!("[{of}] {actor} {what}{how}"));
        let _ = waiting.go.send(fate);
    }

    /// Lets all go at once, lost.
    pub fn lose_all(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for waiting in waiting.into_values() {
            let _ = waiting.go.send(Fate::Lose);
        }
    }

    /// One line of the trace.
    pub fn note(&self, line: &str) {
        let mut state = self.lock();
        let passed = state.passed.as_millis();
        state.trace.push(format!("{passed:>7} ms  {line}"));
    }

    /// The result of a statement. It is added to the trace when nothing moves any more, in the order of the
    /// names.
    pub fn outcome(&self, key: &Key, outcome: String) {
        self.lock().outcomes.insert(key.clone(), outcome);
    }

    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The simulated time goes on.
    pub async fn advance(&self, by: Duration) {
        self.lock().passed += by;
        tokio::time::advance(by).await;
    }

    /// Waits until nothing moves any more.
    pub async fn settle(&self, look: &mut PgConnection) {
        loop {
            self.until_still(look).await;
            let quiet = {
                let mut state = self.lock();
                let waiting = state.waiting.iter();
                let mut quiet = waiting.filter(|(_, waiting)| waiting.kind == Kind::Quiet);
                let key = quiet.next().map(|(key, _)| key.clone());
                key.and_then(|key| state.waiting.remove(&key))
            };
            let Some(quiet) = quiet else { break };
            let _ = quiet.go.send(Fate::Pass);
        }
        let outcomes = std::mem::take(&mut self.lock().outcomes);
        for ((actor, what, _), outcome) in outcomes {
            self.note(&format!("{actor} {what} -> {outcome}"));
        }
    }

    async fn until_still(&self, look: &mut PgConnection) {
        let (mut still, mut before, mut is_blocked) = (0, self.lock().activity, false);
        while still < STILL {
            tokio::task::yield_now().await;
            let (activity, is_busy) = {
                let state = self.lock();
                (state.activity, !state.busy.is_empty())
            };
            if activity != before {
                (still, before, is_blocked) = (0, activity, false);
            } else if is_busy && !is_blocked && still > STILL / 4 {
                tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = a_real_moment() => is_blocked = self.are_blocked(look).await,
                }
            } else {
                still += 1;
            }
        }
    }

    /// Whether every backend that is at work waits for a lock.
    async fn are_blocked(&self, look: &mut PgConnection) -> bool {
        let (before, busy): (u64, Vec<i32>) = {
            let state = self.lock();
            (state.activity, state.busy.values().copied().collect())
        };
        let waiting: i64 = sqlx::query_scalar(
            "select count(distinct pid) from pg_locks where not granted and pid = any ($1)",
        )
        .bind(&busy)
        .fetch_one(look)
        .await
        .expect("locks");
        let state = self.lock();
        usize::try_from(waiting).is_ok_and(|waiting| waiting >= busy.len())
            && state.activity == before
    }
}

/// Lets the machine's time pass, not the simulated one: Postgres is at work.
async fn a_real_moment() {
    let moment = tokio::task::spawn_blocking(|| {
        std::thread::park_timeout(Duration::from_millis(1));
    });
    moment.await.expect("a moment");
}
