//! The state of an endpoint's deliveries: as it is stored, and as attempts change it. Pure.

use std::time::Duration;

use crate::domain::ids::VerificationId;

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub strict: bool,
    pub max_in_flight: usize,
    pub per_second: Option<f64>,
    /// `None`: never.
    pub disable_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The log, in order.
    Log,
    /// Requested redeliveries.
    Redelivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub lane: Lane,
    pub number: i64,
}

impl Key {
    pub const fn log(number: i64) -> Self {
        Self { lane: Lane::Log, number }
    }
}

/// The health of an endpoint, as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How long it has been failing as a whole.
    pub failing_for: Option<Duration>,
    /// Consecutive failures.
    pub failures: u32,
    /// Warnings since it began to fail.
    pub warnings: u32,
    /// Nothing is sent before this time has passed.
    pub next_try_in: Option<Duration>,
    pub disabled: Option<Disabled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// It answered 410.
    Gone,
    /// It failed for too long.
    Failing,
}

impl Disabled {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// A row for an exception to the cursor, or for a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    pub verification: Option<VerificationId>,
    pub state: RowState,
    pub attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// It has failed and is retried after this time.
    Retry(Duration),
    /// It waits for an earlier event that has failed.
    Held,
    /// Its schedule has ended.
    Dead,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Acknowledged,
    /// 410: the receiver wants no more.
    Gone,
    /// With the delay that the receiver requests.
    Failed(Option<Duration>),
}

/// The progress that has to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// It differs from what is stored.
    pub changed: bool,
    pub cursor: i64,
    pub health: Health,
    pub put: Vec<Row>,
    pub gone: Vec<Key>,
}

impl Progress {
    /// The numbers of new dead letters.
    pub fn dead_letters(&self) -> impl Iterator<Item = i64> {
        let dead = self.put.iter().filter(|row| row.state == RowState::Dead);
        dead.map(|row| row.key.number)
    }

    /// A redelivery is settled or waits for its retry, so that others can be sent before it.
    pub fn passes_redeliveries(&self) -> bool {
        let waits = |state| matches!(state, RowState::Retry(time) if !time.is_zero());
        let waiting = self.put.iter().filter(|row| waits(row.state)).map(|row| row.key);
        self.gone.iter().copied().chain(waiting).any(|key| key.lane == Lane::Redelivery)
    }
}
