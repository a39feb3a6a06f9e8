//! Deliveries to one endpoint, as `worker/deliveries/window.rs` chooses them and
//! `store/webhook_deliveries.rs` stores them. One request at a time.

use std::collections::BTreeMap;

use crate::defect::Defect;
use crate::model::Model;
use crate::state::{Deliverer, Holder, Open, Row, State, Violation, Window, at};
use crate::step::Delivery;

impl State {
    /// Claims the endpoint, and loads it.
    pub(crate) fn pick_up(&mut self, deliverer: u8) {
        self.endpoint.holder = Some(Holder { deliverer, ended: false });
        self.deliverers[at(deliverer)] = Deliverer::Delivering(self.loaded());
    }

    /// The window of who loads the endpoint now.
    pub(crate) fn loaded(&self) -> Window {
        let (cursor, rows) = (self.endpoint.cursor, &self.endpoint.rows);
        let open = rows.iter().map(|(n, row)| (*n, Open { row: *row, stored: true })).collect();
        Window { cursor, examined: cursor, open, unsaved: false }
    }

    /// Reads the log up to its head.
    fn read_ahead(&self, window: &mut Window) {
        for number in window.examined + 1..=self.head() {
            window.open.entry(number).or_insert(Open { row: Row::Held, stored: false });
        }
        window.examined = window.examined.max(self.head());
    }

    /// The earliest open event of the same verification.
    fn is_first(&self, window: &Window, number: u8) -> bool {
        let about = self.about(number);
        !window.open.keys().any(|other| *other < number && self.about(*other) == about)
    }

    /// An earlier event of the same verification has failed.
    fn is_held(&self, window: &Window, number: u8) -> bool {
        let about = self.about(number);
        let head = window.open.iter().find(|(other, _)| self.about(**other) == about);
        head.is_some_and(|(head, open)| *head < number && has_failed(*open))
    }

    /// The event that a deliverer sends next.
    pub fn next_event(&self, window: &Window) -> Option<u8> {
        let mut window = window.clone();
        self.read_ahead(&mut window);
        let can_be_sent = |(number, open): &(&u8, &Open)| {
            open.row != Row::Retry { due: false } && self.is_first(&window, **number)
        };
        window.open.iter().find(can_be_sent).map(|(number, _)| *number)
    }

    pub(crate) fn put_down(&mut self, deliverer: u8) {
        if self.holds(deliverer) {
            self.endpoint.holder = None;
        }
        self.deliverers[at(deliverer)] = Deliverer::Idle;
    }

    fn holds(&self, deliverer: u8) -> bool {
        self.endpoint.holder.is_some_and(|holder| holder.deliverer == deliverer)
    }

    pub(crate) fn retries_fall_due(&mut self) {
        let fall_due = |row: &mut Row| {
            if let Row::Retry { due } = row {
                *due = true;
            }
        };
        self.endpoint.rows.values_mut().for_each(fall_due);
        for deliverer in &mut self.deliverers {
            if let Deliverer::Delivering(window) = deliverer {
                window.open.values_mut().for_each(|open| fall_due(&mut open.row));
            }
        }
    }
}

fn has_failed(open: Open) -> bool {
    matches!(open.row, Row::Retry { .. })
}

impl Model {
    pub(crate) fn send(&self, state: &mut State, deliverer: u8, delivery: Delivery) {
        let Deliverer::Delivering(window) = &state.deliverers[at(deliverer)] else { return };
        let mut window = window.clone();
        state.read_ahead(&mut window);
        let can_be_sent = |number: &u8| {
            state.is_first(&window, *number) || self.has(Defect::NextEventDoesNotWait)
        };
        let is_due = |open: &Open| open.row != Row::Retry { due: false };
        let mut sent =
            window.open.iter().filter(|(number, open)| is_due(open) && can_be_sent(number));
        let Some(number) = sent.next().map(|(number, _)| *number) else { return };
        if delivery != Delivery::Refused {
            let about = state.about(number);
            let is_early = (1..number)
                .any(|other| state.about(other) == about && !state.received.contains(&other));
            if state.received.insert(number) && is_early {
                state.violations.insert(Violation::ReceivedOutOfOrder);
            }
        }
        if delivery == Delivery::Acknowledged || self.has(Defect::CursorBeforeAnswer) {
            window.open.remove(&number);
        } else if let Some(open) = window.open.get_mut(&number) {
            open.row = Row::Retry { due: false };
        }
        window.unsaved = true;
        state.deliverers[at(deliverer)] = Deliverer::Delivering(window);
    }

    /// Stores cursor and rows, or nothing if the endpoint was lost.
    pub(crate) fn store_progress(&self, state: &mut State, deliverer: u8) {
        let Deliverer::Delivering(window) = &state.deliverers[at(deliverer)] else { return };
        let mut window = window.clone();
        if !state.holds(deliverer) {
            if !self.has(Defect::ProgressWithoutToken) {
                state.deliverers[at(deliverer)] = Deliverer::Idle;
                return;
            }
            state.violations.insert(Violation::WroteWithoutLease);
        }
        let may_pass = |number: u8, open: &Open| {
            open.stored || has_failed(*open) || state.is_held(&window, number)
        };
        let stop = window.open.iter().find(|(n, open)| !may_pass(**n, open)).map(|(n, _)| *n);
        let cursor = stop.map_or(window.examined, |number| number - 1).max(window.cursor);
        let is_kept = |number: u8, open: &Open| {
            let needs_row = number <= cursor && !self.has(Defect::HeldEventWithoutRow);
            open.stored || has_failed(*open) || needs_row
        };
        let rows: BTreeMap<u8, Row> = window
            .open
            .iter()
            .filter(|(number, open)| is_kept(**number, open))
            .map(|(number, open)| (*number, open.row))
            .collect();
        for (number, open) in &mut window.open {
            open.stored = rows.contains_key(number);
        }
        (window.cursor, window.unsaved) = (cursor, false);
        (state.endpoint.cursor, state.endpoint.rows) = (cursor, rows);
        state.deliverers[at(deliverer)] = Deliverer::Delivering(window);
    }
}
