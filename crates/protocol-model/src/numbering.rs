//! Numbering, as `verdict_number_events` does it: what a snapshot sees now and the stored one did
//! not see, in the order of writing.

use std::collections::BTreeSet;

use crate::defect::Defect;
use crate::model::Model;
use crate::state::{Numberer, State, at};
use crate::step::Fate;

impl Model {
    /// The changes that a numberer would take if it began now.
    pub(crate) fn unnumbered(&self, state: &State) -> Vec<u8> {
        let newest = state.log.iter().max().copied();
        let is_new = |change: &u8| {
            if self.has(Defect::NumbererTakesMaxPlusOne) {
                newest.is_none_or(|newest| *change > newest)
            } else {
                !state.seen.contains(change)
            }
        };
        state.committed().into_iter().filter(is_new).collect()
    }

    pub(crate) fn begin_numbering(&self, state: &mut State, numberer: u8) {
        let (visible, taken) = (state.committed(), self.unnumbered(state));
        if self.has(Defect::SnapshotBeforeNumbers) {
            state.seen.clone_from(&visible);
        }
        state.numberers[at(numberer)] = Numberer::Numbering { visible, taken };
    }

    pub(crate) fn end_numbering(&self, state: &mut State, numberer: u8, fate: Fate) {
        let ended = std::mem::replace(&mut state.numberers[at(numberer)], Numberer::Idle);
        let Numberer::Numbering { visible, taken } = ended else { return };
        if fate == Fate::Cut {
            return;
        }
        state.log.extend(taken);
        let seen: BTreeSet<u8> =
            if self.has(Defect::SnapshotOfTheEnd) { state.committed() } else { visible };
        state.seen = seen;
    }
}
