//! Tests a window against a model of the endpoint and of the database.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const RULES: Rules = Rules {
    strict: false,
    max_in_flight: 4,
    per_second: None,
    disable_after: Some(Duration::from_hours(120)),
};
const FAILED: Answer = Answer::Failed(None);
const S: Duration = Duration::from_secs(1);

fn verification(n: u128) -> VerificationId {
    VerificationId(Uuid::from_u128(n))
}

/// A window over events 1, 2, … of these verifications; 0: an event without a verification.
fn window(rules: Rules, verifications: &[u128]) -> Window {
    let mut window = Window::new(rules, 0, Health::default(), &[], None);
    let last = i64::try_from(verifications.len()).unwrap();
    let events = (1..).zip(verifications.iter().map(|v| (*v > 0).then(|| verification(*v))));
    window.add(events, last, last);
    window
}

/// Everything that can be sent now.
fn sent(window: &mut Window, now: Duration) -> Vec<i64> {
    std::iter::from_fn(|| window.next(now)).map(|key| key.number).collect()
}

fn answer(window: &mut Window, now: Duration, number: i64, answer: Answer) -> Option<Duration> {
    window.answered(now, Key::log(number), answer, 0.5)
}

#[test]
fn failed_event_holds_back_only_its_own_verification() {
    let mut window = window(RULES, &[1, 2, 1, 3, 0, 1]);
    assert_eq!(sent(&mut window, S), [1, 2, 4, 5], "3 and 6 wait for 1");
    assert_eq!(answer(&mut window, S, 1, FAILED), Some(5 * S));
    for number in [2, 4, 5] {
        answer(&mut window, S, number, Answer::Acknowledged);
    }
    assert_eq!(sent(&mut window, S), [0_i64; 0]);
    let progress = window.take_progress(S);
    assert_eq!(progress.cursor, 6, "the cursor goes on");
    let states: Vec<_> = progress.put.iter().map(|row| (row.key.number, row.state)).collect();
    let retry = RowState::Retry(5 * S);
    assert_eq!(states, [(1, retry), (3, RowState::Held), (6, RowState::Held)]);
    assert_eq!(window.acknowledged_through(), 0);
    assert!(!window.take_progress(S).changed, "nothing new");

    // Another process takes over.
    let mut window = Window::new(RULES, 6, progress.health, &progress.put, None);
    assert_eq!(sent(&mut window, 4 * S), [0_i64; 0]);
    assert_eq!(window.wake_at(S), Some(5 * S));
    for number in [1, 3, 6] {
        assert_eq!(sent(&mut window, 5 * S), [number]);
        answer(&mut window, 5 * S, number, Answer::Acknowledged);
    }
    let progress = window.take_progress(5 * S);
    assert_eq!((progress.put, progress.gone.len()), (Vec::new(), 3));
    assert_eq!(window.acknowledged_through(), 6);
}

#[test]
fn strict_order_holds_back_everything() {
    let mut window = window(Rules { strict: true, ..RULES }, &[1, 2, 0]);
    assert_eq!(sent(&mut window, S), [1]);
    answer(&mut window, S, 1, FAILED);
    assert_eq!(sent(&mut window, S), [0_i64; 0]);
    let progress = window.take_progress(S);
    assert_eq!((progress.cursor, progress.put.len()), (1, 1), "no row for those that wait");
    assert_eq!(progress.health.next_try_in, Some(5 * S), "a growing log wakes nobody");
    assert_eq!(sent(&mut window, 6 * S), [1]);
    answer(&mut window, 6 * S, 1, Answer::Acknowledged);
    assert_eq!(sent(&mut window, 6 * S), [2], "one at a time");
}

#[test]
fn strict_endpoint_fails_as_a_whole_within_seconds() {
    let mut window = window(Rules { strict: true, ..RULES }, &[1, 2]);
    for now in [S, 6 * S, 11 * S] {
        assert_eq!(window.wake_at(now), Some(now), "everything waits for the first event");
        assert_eq!(sent(&mut window, now), [1]);
        answer(&mut window, now, 1, FAILED);
    }
    assert!(window.failing.is_some());
    let next_try = window.wake_at(11 * S).unwrap();
    assert!(next_try <= 12 * S, "{next_try:?}");
    assert_eq!(sent(&mut window, next_try), [1]);
    answer(&mut window, next_try, 1, Answer::Acknowledged);
    assert_eq!(sent(&mut window, next_try), [2]);
}

#[test]
fn endpoint_that_fails_as_a_whole_gets_its_oldest_event_only() {
    let mut window = window(RULES, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(sent(&mut window, S), [1, 2, 3, 4]);
    for number in 1..=3 {
        answer(&mut window, S, number, FAILED);
    }
    assert!(window.failing.is_some());
    assert_eq!(sent(&mut window, S), [0_i64; 0], "4 is still under way");
    answer(&mut window, S, 4, FAILED);
    let (mut now, mut tried) = (S, Vec::<i64>::new());
    for _ in 0..10 {
        assert_eq!(sent(&mut window, now), [0_i64; 0], "not before its time");
        now = window.wake_at(now).unwrap();
        let numbers = sent(&mut window, now);
        assert_eq!(numbers.len(), 1);
        tried.extend(&numbers);
        assert_eq!(answer(&mut window, now, numbers[0], FAILED), None);
    }
    assert_eq!(tried, [1, 1, 1, 1, 5, 1, 1, 1, 1, 6], "every fifth is of another verification");
    assert!(window.take_progress(now).cursor >= 5);
    // The endpoint works again: everything is sent at once, in order.
    now = window.wake_at(now).unwrap();
    assert_eq!(sent(&mut window, now), [1]);
    answer(&mut window, now, 1, Answer::Acknowledged);
    assert!(window.failing.is_none());
    assert_eq!(sent(&mut window, now), [2, 3, 4, 5]);
}

#[test]
fn one_poison_event_does_not_stop_an_endpoint_without_traffic() {
    let mut window = window(RULES, &[1]);
    let mut now = S;
    for _ in 0..3 {
        now = window.wake_at(now).unwrap();
        assert_eq!(sent(&mut window, now), [1]);
        answer(&mut window, now, 1, FAILED);
    }
    assert!(window.failing.is_some(), "it is the only one there is");
    // The next event shows that the endpoint works.
    window.add([(2, Some(verification(2)))], 2, 2);
    assert_eq!(sent(&mut window, now), [2], "at once");
    answer(&mut window, now, 2, Answer::Acknowledged);
    assert!(window.failing.is_none());
    assert_eq!(sent(&mut window, now), [0_i64; 0], "1 goes on with its schedule");
    assert_eq!(window.attempts(Key::log(1)), 4);
    window.add([(3, Some(verification(3))), (4, Some(verification(1)))], 4, 4);
    assert_eq!(sent(&mut window, now), [3]);
}

#[test]
fn two_poison_events_do_not_keep_out_one_that_was_never_tried() {
    let mut window = window(RULES, &[1, 2]);
    let mut now = S;
    while window.failing.is_none() {
        now = window.wake_at(now).unwrap();
        for number in sent(&mut window, now) {
            answer(&mut window, now, number, FAILED);
        }
    }
    window.add([(3, Some(verification(3)))], 3, 3);
    for _ in 0..5 {
        now = window.wake_at(now).unwrap();
        for number in sent(&mut window, now) {
            let outcome = if number == 3 { Answer::Acknowledged } else { FAILED };
            answer(&mut window, now, number, outcome);
        }
    }
    assert!(window.log.get(3).is_none(), "the fifth try was of the new event");
}

#[test]
fn end_of_the_schedule_is_a_dead_letter_and_the_next_goes() {
    let mut window = window(RULES, &[1, 1]);
    let (mut now, mut number) = (S, 2);
    for attempt in 1..=10 {
        assert_eq!(window.attempt(Key::log(1)), attempt);
        now = window.wake_at(now).unwrap();
        assert_eq!(sent(&mut window, now)[0], 1);
        // Others succeed meanwhile, so it fails alone.
        let retry_in = answer(&mut window, now, 1, FAILED);
        assert_eq!(retry_in.is_none(), attempt == 10);
        if retry_in.is_some() {
            number += 1;
            window.add([(number, Some(verification(9)))], number, number);
            assert_eq!(sent(&mut window, now), [number]);
            answer(&mut window, now, number, Answer::Acknowledged);
        }
    }
    assert_eq!(sent(&mut window, now), [2], "later ones of the verification go on");
    answer(&mut window, now, 2, Answer::Acknowledged);
    let progress = window.take_progress(now);
    assert_eq!(progress.put.len(), 1);
    assert_eq!((progress.put[0].key, progress.put[0].state), (Key::log(1), RowState::Dead));
    assert_eq!(window.acknowledged_through(), 0, "1 was not acknowledged");
}

#[test]
fn schedule_that_ends_while_the_endpoint_recovers_ends_in_a_dead_letter() {
    let row = |lane| Row {
        key: Key { lane, number: 1 },
        verification: Some(verification(1)),
        state: RowState::Retry(Duration::ZERO),
        attempts: 9,
    };
    let health = Health { failing_for: Some(S), failures: 3, ..Health::default() };
    let mut window = Window::new(RULES, 1, health, &[row(Lane::Log)], None);
    window.add([(2, Some(verification(2)))], 2, 2);
    assert_eq!(sent(&mut window, S), [2], "it was never tried");
    assert_eq!(answer(&mut window, S, 2, Answer::Acknowledged), None);
    let progress = window.take_progress(S);
    assert!(progress.dead_letters().eq([1]), "the oldest event fails alone: {progress:?}");
    assert!(window.next(S).is_none());

    // A redelivery that ends before the first delivery of its event is not a dead letter.
    let mut window = Window::new(RULES, 0, Health::default(), &[row(Lane::Redelivery)], None);
    let key = window.next(S).unwrap();
    assert_eq!(window.answered(S, key, FAILED, 0.5), None);
    let progress = window.take_progress(S);
    assert_eq!((progress.dead_letters().count(), progress.gone), (0, vec![key]));
}

#[test]
fn redelivery_goes_beside_the_log_and_settles_a_dead_letter() {
    let key = Key { lane: Lane::Redelivery, number: 1 };
    let verification = Some(verification(1));
    let row = Row { key, verification, state: RowState::Retry(Duration::ZERO), attempts: 0 };
    let mut window = Window::new(RULES, 5, Health::default(), &[row], Some(1));
    window.add((6..=20).map(|n| (n, None)), 20, 20);
    let keys: Vec<Key> = std::iter::from_fn(|| window.next(S)).collect();
    assert_eq!(keys, [key, Key::log(6), Key::log(7), Key::log(8)], "it does not wait for the log");
    window.answered(S, key, Answer::Acknowledged, 0.5);
    let progress = window.take_progress(S);
    assert_eq!(progress.gone, [key, Key::log(1)]);
}

#[test]
fn gone_disables_at_once_and_loses_nothing() {
    let mut window = window(RULES, &[1, 2, 3, 4, 5]);
    assert_eq!(sent(&mut window, S), [1, 2, 3, 4]);
    answer(&mut window, S, 2, Answer::Gone);
    assert_eq!(window.disabled(), Some(Disabled::Gone));
    answer(&mut window, S, 1, Answer::Acknowledged);
    answer(&mut window, S, 3, FAILED);
    answer(&mut window, S, 4, Answer::Acknowledged);
    assert_eq!((sent(&mut window, S), window.wake_at(S)), (Vec::new(), None));
    let progress = window.take_progress(S);
    assert_eq!(progress.health.disabled, Some(Disabled::Gone));
    assert_eq!(progress.cursor, 4);
    let numbers: Vec<i64> = progress.put.iter().map(|row| row.key.number).collect();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn failing_endpoint_is_disabled_after_two_warnings() {
    let mut window = window(RULES, &[1, 2, 3]);
    for number in sent(&mut window, S) {
        answer(&mut window, S, number, FAILED);
    }
    let (mut now, mut warned) = (S, Vec::new());
    while window.disabled().is_none() {
        now = window.wake_at(now).unwrap();
        let before = window.warnings;
        for number in sent(&mut window, now) {
            answer(&mut window, now, number, FAILED);
        }
        if window.warnings > before {
            warned.push(now);
        }
    }
    let minutes: Vec<u64> = warned.iter().map(|at| at.as_secs() / 60).collect();
    assert_eq!(minutes.len(), 2);
    assert!((10..12).contains(&minutes[0]) && (60 * 60..60 * 60 + 11).contains(&minutes[1]));
    let after = now.as_secs() / 60;
    assert!((120 * 60..120 * 60 + 11).contains(&after), "{after} minutes");
}

#[test]
fn receiver_that_asks_for_time_is_left_alone() {
    let mut window = window(RULES, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(sent(&mut window, S).len(), 4);
    let throttled = Answer::Failed(Some(30 * S));
    assert_eq!(answer(&mut window, S, 1, throttled), Some(30 * S));
    for number in 2..=4 {
        answer(&mut window, S, number, Answer::Acknowledged);
    }
    assert_eq!(sent(&mut window, 30 * S), [0_i64; 0]);
    assert_eq!(window.wake_at(S), Some(31 * S));
    assert_eq!(window.take_progress(S).health.next_try_in, Some(30 * S));
    assert_eq!(sent(&mut window, 31 * S), [1, 5, 6]);
}

#[test]
fn requests_are_spread_at_the_rate() {
    let rules = Rules { per_second: Some(2.0), max_in_flight: 100, ..RULES };
    let mut window = window(rules, &[0; 40]);
    let mut sent_at = Vec::new();
    for millis in (1000..6000).step_by(10) {
        let now = Duration::from_millis(millis);
        sent_at.extend(std::iter::from_fn(|| window.next(now)).map(|_| millis));
    }
    assert!((10..=11).contains(&sent_at.len()), "{sent_at:?}");
    assert!(sent_at.windows(2).all(|two| two[1] - two[0] >= 450), "{sent_at:?}");
}

#[test]
fn reading_ahead_is_bounded() {
    let mut window = Window::new(RULES, 0, Health::default(), &[], None);
    assert!(window.wants_more());
    let mut last = 0;
    while window.wants_more() && last < 100_000 {
        window.add((last + 1..=last + 50).map(|n| (n, Some(verification(1)))), last + 50, i64::MAX);
        last += 50;
    }
    assert!(last <= 300, "{last}: one verification with many events");
}

/// The stored state, and the true history.
#[derive(Default)]
struct World {
    cursor: i64,
    rows: BTreeMap<Key, Row>,
    health: Health,
    acknowledged: BTreeSet<i64>,
    in_flight: Vec<Key>,
    now: Duration,
    redeliveries: usize,
}

impl World {
    fn open(&self, rules: Rules) -> Window {
        let dead = |row: &&Row| row.state == RowState::Dead && row.key.lane == Lane::Log;
        let oldest_dead = self.rows.values().find(dead).map(|row| row.key.number);
        let rows: Vec<Row> = self.rows.values().copied().collect();
        Window::new(rules, self.cursor, self.health, &rows, oldest_dead)
    }

    fn commit(&mut self, window: &mut Window) {
        let progress = window.take_progress(self.now);
        assert!(progress.cursor >= self.cursor, "the cursor never goes back");
        self.cursor = progress.cursor;
        self.health = Health { disabled: None, ..progress.health };
        for row in progress.put {
            self.rows.insert(row.key, row);
        }
        for key in progress.gone {
            self.rows.remove(&key);
        }
        for number in 1..=self.cursor {
            let is_known =
                self.acknowledged.contains(&number) || self.rows.contains_key(&Key::log(number));
            assert!(is_known, "{number} is lost: the cursor is at {}", self.cursor);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(i64),
    Send,
    Answer(usize, Answer),
    Commit,
    Crash,
    Wait(u64),
    Redeliver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        5 => Just(Answer::Acknowledged),
        4 => Just(FAILED),
        1 => Just(Answer::Failed(Some(40 * S))),
    ];
    prop_oneof![
        2 => (1..6_i64).prop_map(Step::Read),
        5 => Just(Step::Send),
        5 => (0..8_usize, outcome).prop_map(|(n, answer)| Step::Answer(n, answer)),
        2 => Just(Step::Commit),
        1 => Just(Step::Crash),
        2 => (0..400_u64).prop_map(Step::Wait),
        1 => (0..8_usize).prop_map(Step::Redeliver),
    ]
}

struct Run {
    rules: Rules,
    events: Vec<Option<VerificationId>>,
    world: World,
    window: Window,
}

impl Run {
    fn verification(&self, number: i64) -> Option<VerificationId> {
        self.events[usize::try_from(number - 1).unwrap()]
    }

    fn read(&mut self, most: i64) {
        let head = i64::try_from(self.events.len()).unwrap();
        let from = self.window.examined();
        let last = head.min(from + most);
        let page: Vec<_> = (from + 1..=last).map(|n| (n, self.verification(n))).collect();
        self.window.add(page, last, head);
    }

    fn send(&mut self) -> bool {
        let Some(key) = self.window.next(self.world.now) else { return false };
        assert!(!self.world.in_flight.contains(&key), "{key:?} twice at once");
        self.world.in_flight.push(key);
        assert!(self.world.in_flight.len() <= self.rules.max_in_flight);
        if key.lane == Lane::Log {
            let of = self.verification(key.number);
            for earlier in 1..key.number {
                let before = self.rules.strict || of.is_some() && self.verification(earlier) == of;
                let dead = |row: &Row| row.state == RowState::Dead;
                let dead = self.world.rows.get(&Key::log(earlier)).is_some_and(dead)
                    || self.window.dead.iter().any(|row| row.key == Key::log(earlier));
                assert!(
                    !before || self.world.acknowledged.contains(&earlier) || dead,
                    "{} overtakes {earlier}",
                    key.number
                );
            }
        }
        true
    }

    fn answer(&mut self, nth: usize, answer: Answer) {
        if self.world.in_flight.is_empty() {
            return;
        }
        let key = self.world.in_flight.remove(nth % self.world.in_flight.len());
        if answer == Answer::Acknowledged {
            self.world.acknowledged.insert(key.number);
        }
        self.window.answered(self.world.now, key, answer, 0.5);
        for number in 1..=self.window.acknowledged_through() {
            assert!(self.world.acknowledged.contains(&number), "{number} was not acknowledged");
        }
    }

    fn crash(&mut self) {
        self.world.in_flight.clear();
        // The times of a window are relative to its opening.
        self.world.now = Duration::ZERO;
        self.window = self.world.open(self.rules);
    }

    fn redeliver(&mut self, nth: usize) {
        let Some(number) = self.world.acknowledged.iter().nth(nth).copied() else { return };
        let key = Key { lane: Lane::Redelivery, number };
        let verification = self.verification(number);
        let state = RowState::Retry(Duration::ZERO);
        self.world.rows.insert(key, Row { key, verification, state, attempts: 0 });
        self.world.redeliveries += 1;
        self.crash();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read(most) => self.read(*most),
            Step::Send => drop(self.send()),
            Step::Answer(nth, answer) => self.answer(*nth, *answer),
            Step::Commit => self.world.commit(&mut self.window),
            Step::Crash => self.crash(),
            Step::Wait(seconds) => self.world.now += Duration::from_secs(*seconds),
            Step::Redeliver(nth) => self.redeliver(*nth),
        }
    }

    /// The endpoint works from now on: everything arrives.
    fn finish(&mut self) {
        for _ in 0..5_000 {
            self.read(10);
            while self.send() {}
            self.world.commit(&mut self.window);
            if self.world.in_flight.is_empty() {
                match self.window.wake_at(self.world.now) {
                    Some(at) => self.world.now = at.max(self.world.now),
                    None => break,
                }
            } else {
                self.answer(0, Answer::Acknowledged);
            }
        }
        self.world.commit(&mut self.window);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_order_holds_and_nothing_is_lost(
        strict in any::<bool>(),
        max_in_flight in 1..5_usize,
        events in proptest::collection::vec(0..5_u128, 1..40),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let rules = Rules { strict, max_in_flight, ..RULES };
        let events = events.iter().map(|v| (*v > 0).then(|| verification(*v))).collect();
        let world = World::default();
        let window = world.open(rules);
        let mut run = Run { rules, events, world, window };
        for step in &steps {
            run.step(step);
            if run.window.disabled().is_some() {
                return Ok(());
            }
        }
        run.finish();
        let head = i64::try_from(run.events.len()).unwrap();
        prop_assert_eq!(run.world.cursor, head);
        let open = run.world.rows.values().filter(|row| row.state != RowState::Dead);
        prop_assert_eq!(open.count(), 0, "every row is settled");
        for number in 1..=head {
            let key = Key::log(number);
            let known = run.world.acknowledged.contains(&number) || run.world.rows.contains_key(&key);
            prop_assert!(known, "{} was never delivered", number);
        }
    }
}
