//! The state: the rows in Postgres, and the memory of each process and each sender.
//!
//! Time has no numbers. A lease has ended or not, and due work is due or not. Steps change that,
//! one row at a time, which includes every order that real times could have.

use std::collections::{BTreeMap, BTreeSet};

/// How much of everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub verifications: u8,
    /// Message `n` is about verification `n % verifications`.
    pub messages: u8,
    pub workers: u8,
    /// Calls that the budget allows in all.
    pub budget: u8,
    /// Crashes, lost connections and lost answers in all.
    pub faults: u8,
    /// Requests of deliveries that fail, in all. Fewer than the three after which the endpoint
    /// fails as a whole: `worker/deliveries/window/tests.rs` covers that.
    pub refusals: u8,
    pub numberers: u8,
    pub deliverers: u8,
    /// Verifications that may be erased.
    pub erasures: u8,
    /// Events that the log begins with, about the verifications in turn.
    pub logged: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub verifications: Vec<Verification>,
    pub messages: Vec<Message>,
    pub workers: Vec<Worker>,
    /// Decisions, in the order of writing. Rolled back ones keep their position.
    pub changes: Vec<Change>,
    /// Changes that were visible in the snapshot that the log stores.
    pub seen: BTreeSet<u8>,
    /// Changes by their number, from 1.
    pub log: Vec<u8>,
    pub numberers: Vec<Numberer>,
    pub endpoint: Endpoint,
    pub deliverers: Vec<Deliverer>,
    /// Numbers of the events that the receiver has.
    pub received: BTreeSet<u8>,
    /// Calls for which the budget was spent.
    pub spent: u8,
    pub left: Left,
    /// Forbidden events that have happened.
    pub violations: BTreeSet<Violation>,
}

/// Faults, calls and erasures that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    pub budget: u8,
    pub faults: u8,
    pub refusals: u8,
    pub erasures: u8,
}

/// Seen only at the moment at which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A process changed a row that another one holds, or nobody.
    WroteWithoutLease,
    /// A claim took a row whose lease had not ended.
    ClaimedLeasedRow,
    /// An event was received before an earlier one of its verification.
    ReceivedOutOfOrder,
}

/// A row of `verifications`, with its results and its decisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    pub stage: Stage,
    pub closed: bool,
    pub erased: bool,
    pub callbacks: u8,
    /// The callbacks that the last completion knew of.
    pub looked: u8,
    pub attempts: u8,
    pub due: Due,
    pub lease: Option<Lease>,
    /// The attempts that left a result, sealed bodies with it.
    pub results: Vec<u8>,
    /// Stored bodies; an erasure takes them.
    pub bodies: u8,
    pub decisions: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Absent,
    Pending,
    Unfinished,
    Decided,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    Never,
    Later,
    Now,
}

/// The attempt stands for the token: both are new with each claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub attempt: u8,
    pub ended: bool,
}

/// A callback, and its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Message {
    /// The answer that is stored with it.
    pub stored: Option<Told>,
    /// The last 2xx that the sender got.
    pub last_answer: Option<Told>,
    /// The sender got the answer that the verification is erased.
    pub refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    pub stage: Stage,
    pub attempts: u8,
    pub decisions: u8,
}

/// The memory of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    Holding(Claim),
    /// Its statement is carried out, and not committed. The row is locked.
    Writing {
        claim: Claim,
        answer: Answer,
        change: Option<u8>,
    },
    /// The connection was lost: committed or not, the worker does not know.
    Unsure {
        claim: Claim,
        answer: Answer,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub verification: u8,
    pub attempt: u8,
    pub callbacks: u8,
}

/// The provider's answers that the protocol distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Decided, and final.
    Passed,
    /// Decided, and open to another try.
    Rejected,
    /// To be asked again later.
    Unfinished,
}

impl Answer {
    pub const ALL: [Self; 3] = [Self::Passed, Self::Rejected, Self::Unfinished];

    pub const fn decides(self) -> bool {
        !matches!(self, Self::Unfinished)
    }
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub verification: u8,
    pub status: Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Commit {
    Open,
    Committed,
    RolledBack,
}

/// A numberer, and its selection while its transaction is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Numberer {
    Idle,
    Numbering {
        /// The changes that its snapshot sees.
        visible: BTreeSet<u8>,
        /// The changes that get numbers, in this order.
        taken: Vec<u8>,
    },
}

/// The row of the endpoint, and its exceptions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub cursor: u8,
    pub rows: BTreeMap<u8, Row>,
    pub holder: Option<Holder>,
}

/// A deliverer holds at most one lease, so its place stands for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub deliverer: u8,
    pub ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    Held,
    Retry { due: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deliverer {
    Idle,
    Delivering(Window),
}

/// The memory of a deliverer: the cursor, and the events that are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub cursor: u8,
    pub examined: u8,
    pub open: BTreeMap<u8, Open>,
    /// Attempts were made since progress was stored.
    pub unsaved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    pub row: Row,
    pub stored: bool,
}

impl Sizes {
    pub fn begin(&self) -> State {
        let absent = Verification {
            stage: Stage::Absent,
            closed: false,
            erased: false,
            callbacks: 0,
            looked: 0,
            attempts: 0,
            due: Due::Never,
            lease: None,
            results: Vec::new(),
            bodies: 0,
            decisions: 0,
        };
        let change = |n| Change { verification: n % self.verifications, status: Commit::Committed };
        State {
            verifications: vec![absent; self.verifications.into()],
            messages: vec![Message::default(); self.messages.into()],
            workers: vec![Worker::Idle; self.workers.into()],
            changes: (0..self.logged).map(change).collect(),
            seen: (0..self.logged).collect(),
            log: (0..self.logged).collect(),
            numberers: vec![Numberer::Idle; self.numberers.into()],
            endpoint: Endpoint { cursor: 0, rows: BTreeMap::new(), holder: None },
            deliverers: vec![Deliverer::Idle; self.deliverers.into()],
            received: BTreeSet::new(),
            spent: 0,
            left: Left {
                budget: self.budget,
                faults: self.faults,
                refusals: self.refusals,
                erasures: self.erasures,
            },
            violations: BTreeSet::new(),
        }
    }
}

/// The place of a thing in its list.
pub(crate) fn at(place: u8) -> usize {
    usize::from(place)
}

/// Places of a list.
pub(crate) fn places<T>(list: &[T]) -> impl Iterator<Item = u8> + use<T> {
    0..u8::try_from(list.len()).expect("small sizes")
}

impl State {
    /// The row is locked by a completion that is not committed.
    pub(crate) fn is_locked(&self, verification: u8) -> bool {
        self.workers.iter().any(|worker| {
            matches!(worker, Worker::Writing { claim, .. } if claim.verification == verification)
        })
    }

    /// The committed changes.
    pub(crate) fn committed(&self) -> BTreeSet<u8> {
        places(&self.changes).filter(|n| self.changes[at(*n)].status == Commit::Committed).collect()
    }

    /// The newest number of the log.
    pub(crate) fn head(&self) -> u8 {
        u8::try_from(self.log.len()).expect("small sizes")
    }

    /// The verification of an event.
    pub fn about(&self, number: u8) -> u8 {
        self.changes[at(self.log[at(number - 1)])].verification
    }
}
