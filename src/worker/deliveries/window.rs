//! Chooses the next event for one endpoint. Updates its cursor, and the exceptions to the cursor,
//! when an attempt ends. Pure: all times are relative to the opening of the window.
//!
//! - An event is sent only when each earlier one of its line is acknowledged or a dead letter
//!   ([`super::lines`]).
//! - The cursor passes an event that is acknowledged, or that has a row. An event has a row if it
//!   has failed, or if it waits for an earlier one that has. So a process that ends at any point
//!   loses nothing. At most, the events that were acknowledged last are sent again.
//! - An endpoint fails as a whole after three consecutive failures, unless all of them are of one
//!   event and there are other events. While it fails, one event at a time is tried.

use std::collections::BTreeSet;
use std::time::Duration;

use super::lines::{Line, Lines, Open, State};
use super::schedule::{Consequence, consequence, retry_delay, try_delay};
use super::state::{Answer, Disabled, Health, Key, Lane, Progress, Row, RowState, Rules};
use crate::domain::ids::VerificationId;

/// Consecutive failures after which an endpoint fails as a whole.
const FAILURES_IN_A_ROW: u32 = 3;
/// One in this many tries of a failing endpoint is of another line than the oldest event.
const PROBE_EVERY: u32 = 5;
/// Maximum number of open events that are read ahead. Their bodies are in memory.
const READ_AHEAD: usize = 256;
/// At this many open events, no more are read until some are settled.
pub const MOST_OPEN: usize = 10_000;
/// How much time a rate limit may make up for after a late timer.
const RATE_SLACK: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Failing {
    /// How long it had been failing at `from`.
    before: Duration,
    from: Duration,
    tries: u32,
    next_try: Duration,
    /// The event of the try that is in flight.
    trying: Option<Key>,
    last_probe: i64,
}

impl Failing {
    fn since(&self, now: Duration) -> Duration {
        self.before + now.saturating_sub(self.from)
    }
}

#[derive(Debug)]
pub struct Window {
    rules: Rules,
    log: Lines,
    redelivery: Lines,
    /// The cursor as it is stored.
    cursor: i64,
    examined: i64,
    /// As far as is known, the log has no events after `examined`.
    at_head: bool,
    oldest_dead: Option<i64>,
    failures: u32,
    warnings: u32,
    /// Events that failed since the last acknowledgement, at most two of them.
    failed: BTreeSet<Key>,
    failing: Option<Failing>,
    disabled: Option<Disabled>,
    not_before: Duration,
    rate_next: Duration,
    last_was_redelivery: bool,
    /// Retries whose rows have to be written.
    dirty: BTreeSet<Key>,
    dead: Vec<Row>,
    gone: Vec<Key>,
    /// The stored part of the health, and the time before which nothing is sent.
    stored_health: (Health, Option<Duration>),
}

impl Window {
    /// Restores a window from its stored state. `oldest_dead` is the oldest dead letter of the log.
    pub fn new(
        rules: Rules,
        cursor: i64,
        health: Health,
        rows: &[Row],
        oldest_dead: Option<i64>,
    ) -> Self {
        let not_before = health.next_try_in.unwrap_or_default();
        let failing = health.failing_for.map(|before| Failing {
            before,
            from: Duration::ZERO,
            tries: health.failures.saturating_sub(FAILURES_IN_A_ROW),
            next_try: not_before,
            trying: None,
            last_probe: 0,
        });
        let mut window = Self {
            rules,
            log: Lines::new(rules.strict),
            redelivery: Lines::new(rules.strict),
            cursor,
            examined: cursor,
            at_head: false,
            oldest_dead,
            failures: health.failures,
            warnings: health.warnings,
            failed: BTreeSet::new(),
            failing,
            disabled: None,
            not_before,
            rate_next: Duration::ZERO,
            last_was_redelivery: false,
            dirty: BTreeSet::new(),
            dead: Vec::new(),
            gone: Vec::new(),
            stored_health: (Health::default(), None),
        };
        window.stored_health = window.health_mark(Duration::ZERO);
        for row in rows {
            let state = match row.state {
                RowState::Retry(at) => State::Retry(at),
                RowState::Held => State::Waiting,
                RowState::Dead => continue,
            };
            let lane = window.lane_mut(row.key.lane);
            lane.add(row.key.number, row.verification, state, row.attempts, true);
            if row.key.lane == Lane::Log && row.attempts > 0 && window.failed.len() < 2 {
                window.failed.insert(row.key);
            }
        }
        window
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut Lines {
        match lane {
            Lane::Log => &mut self.log,
            Lane::Redelivery => &mut self.redelivery,
        }
    }

    pub fn in_flight(&self) -> usize {
        self.log.in_flight() + self.redelivery.in_flight()
    }

    /// The window has taken in the log up to this number.
    pub fn examined(&self) -> i64 {
        self.examined
    }

    /// The window can take in more of the log.
    pub fn wants_more(&self) -> bool {
        !self.at_head
            && self.disabled.is_none()
            && self.log.unstored() < READ_AHEAD
            && self.log.len() < MOST_OPEN
            && self.log.ready() < 2 * self.rules.max_in_flight
    }

    pub fn log_grew(&mut self) {
        self.at_head = false;
    }

    /// Takes in events that follow those examined so far.
    pub fn add(
        &mut self,
        events: impl IntoIterator<Item = (i64, Option<VerificationId>)>,
        examined: i64,
        head: i64,
    ) {
        for (number, verification) in events {
            // Events that failed before the cursor reached them already have a row.
            if number > self.examined && self.log.get(number).is_none() {
                self.log.add(number, verification, State::Waiting, 0, false);
            }
        }
        self.examined = self.examined.max(examined);
        self.at_head = self.examined >= head;
    }

    /// Takes the event that is sent now. It counts as in flight from here on.
    pub fn next(&mut self, now: Duration) -> Option<Key> {
        let is_full = self.in_flight() >= self.rules.max_in_flight;
        if is_full || self.disabled.is_some() || now < self.rate_next {
            return None;
        }
        let key = match self.failing {
            Some(_) => self.next_try(now),
            None if now < self.not_before => None,
            None => self.next_in_turn(now),
        }?;
        self.lane_mut(key.lane).start(key.number);
        if let Some(per_second) = self.rules.per_second {
            let slack = now.saturating_sub(RATE_SLACK);
            self.rate_next = self.rate_next.max(slack) + Duration::from_secs_f64(1.0 / per_second);
        }
        Some(key)
    }

    fn next_in_turn(&mut self, now: Duration) -> Option<Key> {
        let log = self.log.next(now).map(Key::log);
        let redelivery = self.redelivery.next(now);
        let redelivery = redelivery.map(|number| Key { lane: Lane::Redelivery, number });
        // Neither lane may take all requests.
        let turn = self.redelivery.in_flight() == 0 && !self.last_was_redelivery;
        let key = if turn { redelivery.or(log) } else { log.or(redelivery) }?;
        self.last_was_redelivery = key.lane == Lane::Redelivery;
        Some(key)
    }

    fn next_try(&mut self, now: Duration) -> Option<Key> {
        if self.in_flight() > 0 {
            return None;
        }
        let oldest = self.oldest()?;
        let failing = self.failing.as_ref()?;
        let due = now >= failing.next_try;
        let probe = failing.tries % PROBE_EVERY == PROBE_EVERY - 1;
        let key = match self.other_than(oldest) {
            Some((other, _)) if due && probe => other,
            // As long as only one event has failed, the endpoint itself may work.
            Some((other, untried)) if untried && self.failed.len() < 2 => other,
            _ if due => oldest,
            _ => return None,
        };
        let failing = self.failing.as_mut()?;
        failing.trying = Some(key);
        if key != oldest {
            failing.last_probe = key.number;
        }
        Some(key)
    }

    fn oldest(&self) -> Option<Key> {
        let redelivery = || self.redelivery.oldest();
        let redelivery = || redelivery().map(|number| Key { lane: Lane::Redelivery, number });
        self.log.oldest().map(Key::log).or_else(redelivery)
    }

    /// The head of another line, and whether it was never tried. Untried heads come first, then the
    /// others in turn.
    fn other_than(&self, oldest: Key) -> Option<(Key, bool)> {
        let lane = self.lane(oldest.lane);
        let last_probe = self.failing.as_ref().map_or(0, |failing| failing.last_probe);
        let rank = |number: i64| {
            let tried = lane.get(number).is_some_and(|open| open.attempts > 0);
            (tried, tried && number <= last_probe, number)
        };
        let other = lane.heads_beside(oldest.number).min_by_key(|number| rank(*number))?;
        Some((Key { lane: oldest.lane, number: other }, !rank(other).0))
    }

    /// Updates the window after an attempt, and returns the delay before the event is retried, if
    /// its own schedule decides that. `jitter` is in `[0, 1)`.
    pub fn answered(
        &mut self,
        now: Duration,
        key: Key,
        answer: Answer,
        jitter: f64,
    ) -> Option<Duration> {
        let is_try = self.failing.as_ref().is_some_and(|failing| failing.trying == Some(key));
        if is_try && let Some(failing) = &mut self.failing {
            failing.trying = None;
        }
        match answer {
            Answer::Acknowledged => {
                self.recover(now, key, is_try, jitter);
                self.acknowledge(key);
                None
            }
            Answer::Gone => {
                self.disabled = Some(Disabled::Gone);
                self.reschedule(key, self.attempts(key).max(1), now);
                None
            }
            Answer::Failed(wait) => {
                let wait = wait.unwrap_or_default();
                self.not_before = self.not_before.max(now + wait);
                self.failures = self.failures.saturating_add(1);
                if self.failed.len() < 2 {
                    self.failed.insert(key);
                }
                if is_try {
                    self.try_failed(now, key, wait, jitter);
                    return None;
                }
                let retry_in = self.event_failed(now, key, wait, jitter);
                if self.failing.is_none() && self.fails_as_a_whole() {
                    let next_try = now + wait.max(try_delay(0, Duration::ZERO, jitter));
                    self.failing = Some(Failing {
                        before: Duration::ZERO,
                        from: now,
                        tries: 0,
                        next_try,
                        trying: None,
                        last_probe: 0,
                    });
                }
                retry_in
            }
        }
    }

    fn fails_as_a_whole(&self) -> bool {
        let Some(oldest) = self.oldest() else { return false };
        self.failures >= FAILURES_IN_A_ROW
            && (self.failed.len() > 1 || self.other_than(oldest).is_none())
    }

    /// One event failed, while others may succeed. Returns the delay before its retry; `None`: its
    /// schedule has ended.
    fn event_failed(
        &mut self,
        now: Duration,
        key: Key,
        wait: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        let attempts = self.attempts(key) + 1;
        let Some(delay) = retry_delay(attempts, jitter) else {
            self.give_up(key, attempts);
            return None;
        };
        let first = retry_delay(1, jitter).filter(|_| self.may_be_the_endpoint(attempts));
        let delay = first.unwrap_or(delay).max(wait);
        self.reschedule(key, attempts, now + delay);
        Some(delay)
    }

    /// In strict order everything waits for the failed event. Only its next attempts can show whether
    /// it fails alone or the whole endpoint. Its schedule would take five minutes for that.
    fn may_be_the_endpoint(&self, attempts: u32) -> bool {
        // Nothing was acknowledged since its first attempt.
        self.rules.strict && attempts < FAILURES_IN_A_ROW && self.failures >= attempts
    }

    /// Ends the schedule of an event. It becomes a dead letter of the log, even if it was a
    /// redelivery.
    fn give_up(&mut self, key: Key, attempts: u32) {
        let Some(open) = self.lane_mut(key.lane).settle(key.number) else { return };
        self.dirty.remove(&key);
        let log = Key::log(key.number);
        if key.lane == Lane::Redelivery {
            self.gone.push(key);
            // The first delivery of this event is still to come.
            if key.number > self.cursor || self.log.get(key.number).is_some() {
                return;
            }
        }
        let (verification, state) = (open.verification, RowState::Dead);
        self.dead.push(Row { key: log, verification, state, attempts });
        let oldest = self.oldest_dead.map_or(log.number, |dead| dead.min(log.number));
        self.oldest_dead = Some(oldest);
    }

    /// A try of a failing endpoint failed.
    fn try_failed(&mut self, now: Duration, key: Key, wait: Duration, jitter: f64) {
        let Some(failing) = &mut self.failing else { return };
        let failing_for = failing.since(now);
        failing.tries = failing.tries.saturating_add(1);
        failing.next_try = now + wait.max(try_delay(failing.tries, failing_for, jitter));
        match consequence(failing_for, self.warnings, self.rules.disable_after) {
            Consequence::TryAgain => {}
            Consequence::Warn => self.warnings += 1,
            Consequence::Disable => self.disabled = Some(Disabled::Failing),
        }
        // Tries do not count in the schedule of the event: the whole endpoint fails, not this
        // event.
        self.reschedule(key, self.attempts(key).max(1), now);
    }

    /// The endpoint has acknowledged an event. If that was a try of a failing endpoint, all failed
    /// events are retried at once. If the acknowledged event is not the oldest one, the oldest one
    /// fails alone, and its schedule continues.
    fn recover(&mut self, now: Duration, key: Key, is_try: bool, jitter: f64) {
        let oldest = self.oldest();
        self.failures = 0;
        self.failed.clear();
        self.warnings = 0;
        if self.failing.take().is_none() || !is_try {
            return;
        }
        self.not_before = now;
        let attempts = oldest.map_or(0, |oldest| self.attempts(oldest));
        let forgiven = self.log.forgive(now);
        self.dirty.extend(forgiven.into_iter().map(Key::log));
        let forgiven = self.redelivery.forgive(now).into_iter();
        self.dirty.extend(forgiven.map(|number| Key { lane: Lane::Redelivery, number }));
        let alone = oldest.filter(|oldest| *oldest != key && self.has_failed(*oldest));
        if let Some(oldest) = alone.filter(|_| attempts > 0) {
            self.reschedule(oldest, attempts, now);
            self.event_failed(now, oldest, Duration::ZERO, jitter);
        }
    }

    fn acknowledge(&mut self, key: Key) {
        self.forget(key);
        // The log need not send the event again.
        if key.lane == Lane::Redelivery {
            let log = Key::log(key.number);
            match self.log.get(key.number).map(|open| open.state) {
                Some(State::Retry(_)) => self.forget(log),
                Some(State::Waiting | State::InFlight) => {}
                None => self.gone.push(log),
            }
        }
    }

    /// Removes an event that is acknowledged, or that is no longer in the log.
    pub fn forget(&mut self, key: Key) {
        let settled = self.lane_mut(key.lane).settle(key.number);
        self.dirty.remove(&key);
        if settled.is_some_and(|open| open.stored) {
            self.gone.push(key);
        }
    }

    fn lane(&self, lane: Lane) -> &Lines {
        match lane {
            Lane::Log => &self.log,
            Lane::Redelivery => &self.redelivery,
        }
    }

    fn attempts(&self, key: Key) -> u32 {
        self.lane(key.lane).get(key.number).map_or(0, |open| open.attempts)
    }

    /// The event has failed and is not in flight again.
    fn has_failed(&self, key: Key) -> bool {
        let state = self.lane(key.lane).get(key.number).map(|open| open.state);
        matches!(state, Some(State::Retry(_)))
    }

    /// The number of the next attempt of this event, from 1.
    pub fn attempt(&self, key: Key) -> u32 {
        let tries = if self.failing.is_some() { self.failures } else { 0 };
        self.attempts(key).max(tries).saturating_add(1)
    }

    fn reschedule(&mut self, key: Key, attempts: u32, at: Duration) {
        self.lane_mut(key.lane).retry(key.number, attempts, at);
        self.dirty.insert(key);
    }

    /// Every event up to this number was acknowledged, or was not for this endpoint.
    pub fn acknowledged_through(&self) -> i64 {
        let open = self.log.oldest().into_iter().chain(self.oldest_dead).min();
        open.map_or(self.examined, |open| self.examined.min(open - 1))
    }

    /// When the next event can be sent, unless an answer or a new event in the log changes that.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.disabled.is_some() || self.in_flight() >= self.rules.max_in_flight {
            return None;
        }
        if let Some(failing) = &self.failing {
            let something = self.in_flight() == 0 && self.oldest().is_some();
            return something.then(|| failing.next_try.max(self.rate_next));
        }
        let ready = self.log.ready() + self.redelivery.ready() > 0;
        let timers = [self.log.next_timer(), self.redelivery.next_timer()].into_iter().flatten();
        let next = timers.chain(ready.then_some(now)).min()?;
        Some(next.max(self.not_before).max(self.rate_next))
    }

    /// How long nothing can be sent, even if new events are logged.
    fn blocked_for(&self, now: Duration) -> Option<Duration> {
        if let Some(failing) = &self.failing {
            return failing.next_try.checked_sub(now).filter(|time| !time.is_zero());
        }
        let head = self.log.oldest().and_then(|number| self.log.get(number));
        let blocked = match head {
            Some(Open { line: Line::Everything, state: State::Retry(at), .. }) => Some(*at),
            _ if self.log.len() >= MOST_OPEN => self.log.next_timer(),
            _ => None,
        };
        let until = blocked.unwrap_or_default().max(self.not_before);
        until.checked_sub(now).filter(|time| !time.is_zero())
    }

    fn health(&self, now: Duration) -> Health {
        Health {
            failing_for: self.failing.as_ref().map(|failing| failing.since(now)),
            failures: self.failures,
            warnings: self.warnings,
            next_try_in: self.blocked_for(now),
            disabled: self.disabled,
        }
    }

    /// The health without the values that change with time alone.
    fn health_mark(&self, now: Duration) -> (Health, Option<Duration>) {
        let mut health = self.health(now);
        health.failing_for = health.failing_for.map(|_| Duration::ZERO);
        let until = health.next_try_in.take().map(|time| now + time);
        (health, until)
    }

    pub fn disabled(&self) -> Option<Disabled> {
        self.disabled
    }

    /// Takes the progress. If it has changed, the caller must store it or discard the window.
    pub fn take_progress(&mut self, now: Duration) -> Progress {
        let before = self.cursor;
        self.cursor = self.cursor_now();
        let mut rows: BTreeSet<Key> = std::mem::take(&mut self.dirty);
        let passed = self.log.iter_from(before + 1).take_while(|(n, _)| *n <= self.cursor);
        rows.extend(passed.filter(|(_, open)| !open.stored).map(|(n, _)| Key::log(n)));
        let mut put = std::mem::take(&mut self.dead);
        for key in rows {
            let lane = self.lane_mut(key.lane);
            let Some(open) = lane.get(key.number).copied() else { continue };
            let state = match open.state {
                State::Retry(at) => RowState::Retry(at.saturating_sub(now)),
                State::Waiting if key.lane == Lane::Log => RowState::Held,
                // The event is being sent again: its row has the number of earlier attempts.
                State::Waiting | State::InFlight => RowState::Retry(Duration::ZERO),
            };
            lane.mark_stored(key.number);
            put.push(Row { key, verification: open.verification, state, attempts: open.attempts });
        }
        let gone = std::mem::take(&mut self.gone);
        let health = self.health(now);
        let mark = self.health_mark(now);
        let changed = self.cursor != before
            || !put.is_empty()
            || !gone.is_empty()
            || mark != self.stored_health;
        self.stored_health = mark;
        Progress { changed, cursor: self.cursor, health, put, gone }
    }

    /// The last number before the first event that is not acknowledged and may not have a row.
    fn cursor_now(&self) -> i64 {
        let may_pass = |number: i64, open: &Open| {
            let failed = open.attempts > 0 || matches!(open.state, State::Retry(_));
            open.stored || failed || !self.rules.strict && self.log.is_held(number)
        };
        let stop = self.log.iter_from(self.cursor + 1).find(|(n, open)| !may_pass(*n, open));
        stop.map_or(self.examined, |(number, _)| number - 1)
    }
}

#[cfg(test)]
mod tests;
