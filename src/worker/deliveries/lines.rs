//! The events of one lane that are still to be delivered, grouped in lines. The events of one line
//! are sent one after another. Pure.
//!
//! A line has the events of one verification, or one event without a verification. If the endpoint
//! requires strict order, one line has all events. Only the first event of a line, its head, may be
//! sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::ids::VerificationId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    Verification(VerificationId),
    Alone(i64),
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Can be sent once it is the head of its line.
    Waiting,
    InFlight,
    /// Has failed, and is retried at this time.
    Retry(Duration),
}

/// An event that is not acknowledged yet.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub line: Line,
    pub verification: Option<VerificationId>,
    pub state: State,
    /// Failed attempts that count in its schedule.
    pub attempts: u32,
    /// The database has a row for it.
    pub stored: bool,
}

/// One lane of an endpoint.
#[derive(Debug, Default)]
pub struct Lines {
    strict: bool,
    open: BTreeMap<i64, Open>,
    queues: HashMap<Line, BTreeSet<i64>>,
    /// Heads that can be sent now.
    ready: BTreeSet<i64>,
    /// Heads that are retried later.
    timers: BTreeSet<(Duration, i64)>,
    in_flight: usize,
    stored: usize,
}

impl Lines {
    pub fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    pub fn add(
        &mut self,
        number: i64,
        verification: Option<VerificationId>,
        state: State,
        attempts: u32,
        stored: bool,
    ) {
        let line = match verification {
            _ if self.strict => Line::Everything,
            Some(id) => Line::Verification(id),
            None => Line::Alone(number),
        };
        let before = self.head(line);
        self.stored += usize::from(stored);
        self.open.insert(number, Open { line, verification, state, attempts, stored });
        self.queues.entry(line).or_default().insert(number);
        if before.is_none_or(|head| number < head) {
            if let Some(head) = before {
                self.unlist(head);
            }
            self.list(number);
        }
    }

    pub fn get(&self, number: i64) -> Option<&Open> {
        self.open.get(&number)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Open events without a row in the database.
    pub fn unstored(&self) -> usize {
        self.open.len() - self.stored
    }

    /// Heads that can be sent now.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The oldest open event.
    pub fn oldest(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    pub fn iter_from(&self, number: i64) -> impl Iterator<Item = (i64, &Open)> {
        self.open.range(number..).map(|(number, open)| (*number, open))
    }

    /// An earlier event of the same line has failed.
    pub fn is_held(&self, number: i64) -> bool {
        self.open.get(&number).is_some_and(|open| {
            self.head(open.line).is_some_and(|head| {
                head < number && self.open.get(&head).is_some_and(|head| head.attempts > 0)
            })
        })
    }

    /// The oldest head that can be sent at this time.
    pub fn next(&mut self, now: Duration) -> Option<i64> {
        while let Some((at, number)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, number));
            self.ready.insert(number);
        }
        self.ready.first().copied()
    }

    /// When the next retry of a head is due.
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Heads of other lines than the line of this event, if they are not in flight.
    pub fn heads_beside(&self, number: i64) -> impl Iterator<Item = i64> {
        let line = self.open.get(&number).map(|open| open.line);
        let listed =
            self.ready.iter().copied().chain(self.timers.iter().map(|(_, number)| *number));
        listed.filter(move |other| self.open.get(other).map(|open| open.line) != line)
    }

    /// Marks the event as in flight.
    pub fn start(&mut self, number: i64) {
        self.unlist(number);
        if let Some(open) = self.open.get_mut(&number) {
            open.state = State::InFlight;
            self.in_flight += 1;
        }
    }

    /// The attempt failed. The event is retried at this time.
    pub fn retry(&mut self, number: i64, attempts: u32, at: Duration) {
        self.unlist(number);
        let Some(open) = self.open.get_mut(&number) else { return };
        self.in_flight -= usize::from(open.state == State::InFlight);
        (open.state, open.attempts) = (State::Retry(at), attempts);
        let line = open.line;
        if self.head(line) == Some(number) {
            self.list(number);
        }
    }

    /// Every failed event is retried now, as if for the first time. Returns their numbers.
    pub fn forgive(&mut self, now: Duration) -> Vec<i64> {
        let failed = self.open.iter().filter(|(_, open)| matches!(open.state, State::Retry(_)));
        let failed: Vec<i64> = failed.map(|(number, _)| *number).collect();
        for number in &failed {
            self.retry(*number, 0, now);
        }
        failed
    }

    /// Removes an event that is acknowledged, a dead letter, or no longer in the log. The next one
    /// of its line may be sent.
    pub fn settle(&mut self, number: i64) -> Option<Open> {
        self.unlist(number);
        let open = self.open.remove(&number)?;
        self.in_flight -= usize::from(open.state == State::InFlight);
        self.stored -= usize::from(open.stored);
        let queue = self.queues.get_mut(&open.line)?;
        queue.remove(&number);
        if let Some(head) = queue.first().copied() {
            self.list(head);
        } else {
            self.queues.remove(&open.line);
        }
        Some(open)
    }

    pub fn mark_stored(&mut self, number: i64) {
        if let Some(open) = self.open.get_mut(&number) {
            self.stored += usize::from(!std::mem::replace(&mut open.stored, true));
        }
    }

    fn head(&self, line: Line) -> Option<i64> {
        self.queues.get(&line)?.first().copied()
    }

    fn list(&mut self, head: i64) {
        match self.open.get(&head).map(|open| open.state) {
            Some(State::Waiting) => {
                self.ready.insert(head);
            }
            Some(State::Retry(at)) => {
                self.timers.insert((at, head));
            }
            Some(State::InFlight) | None => {}
        }
    }

    fn unlist(&mut self, number: i64) {
        self.ready.remove(&number);
        if let Some(Open { state: State::Retry(at), .. }) = self.open.get(&number) {
            self.timers.remove(&(*at, number));
        }
    }
}
