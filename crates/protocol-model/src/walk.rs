//! Random walks through the model. The same seed takes the same walk.

use crate::model::Model;
use crate::state::{Sizes, State};
use crate::step::{Delivery, Fate, Step};

/// The sizes of the walks that are replayed on Postgres.
pub const SIZES: Sizes = Sizes {
    verifications: 3,
    messages: 6,
    workers: 3,
    budget: 12,
    faults: 6,
    refusals: 2,
    numberers: 2,
    deliverers: 2,
    erasures: 0,
    logged: 0,
};
/// Their length.
pub const LENGTH: usize = 80;
/// The seeds of `./check`.
pub const SEEDS: std::ops::Range<u64> = 1..13;

/// Numbers by seed (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
struct Numbers(u64);

impl Numbers {
    /// A number below `end`, which must not be 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A walk of at most this many steps, each with the state that it leads to.
pub fn walk(model: &Model, seed: u64, length: usize) -> Vec<(Step, State)> {
    let mut numbers = Numbers(seed);
    let mut state = model.sizes.begin();
    let mut taken = Vec::with_capacity(length);
    while taken.len() < length {
        let weighed: Vec<(Step, u64)> =
            model.steps(&state).into_iter().map(|step| (step, weight(&state, step))).collect();
        let Some(total) = weighed.iter().map(|(_, weight)| weight).sum::<u64>().checked_sub(1)
        else {
            break;
        };
        let mut rest = numbers.below(total + 1);
        let step = weighed.into_iter().find(|(_, weight)| {
            let is_it = rest < *weight;
            rest = rest.saturating_sub(*weight);
            is_it
        });
        let (step, _) = step.expect("below the total");
        state = model.after(&state, step);
        taken.push((step, state.clone()));
    }
    taken
}

/// How likely a step is, so that the work proceeds while it is disturbed.
fn weight(state: &State, step: Step) -> u64 {
    match step {
        Step::Accept { fate: Fate::Answered, message } => {
            let is_known = state.messages[usize::from(message)].last_answer.is_some();
            if is_known { 1 } else { 6 }
        }
        Step::Claim { fate: Fate::Answered, .. } | Step::Write { .. } => 12,
        Step::Commit { fate: Fate::Answered, .. }
        | Step::Repeat { .. }
        | Step::FallsDue { .. }
        | Step::BeginNumbering { .. }
        | Step::EndNumbering { .. }
        | Step::PickUp { .. }
        | Step::StoreProgress { .. }
        | Step::RetriesFallDue => 16,
        Step::Send { delivery: Delivery::Acknowledged, .. } => 24,
        Step::Send { .. }
        | Step::Commit { .. }
        | Step::Renew { .. }
        | Step::Release { .. }
        | Step::LeaseEnds { .. } => 6,
        _ => 2,
    }
}

/// The kind of a step and how it ends, without its process and its row.
pub fn kind(step: Step) -> String {
    let text = format!("{step:?}");
    let name = text.split(' ').next().unwrap_or_default();
    let ends = ["Answered", "AnswerLost", "Cut", "Acknowledged", "Refused"];
    let end = ends.into_iter().find(|end| text.contains(&format!(": {end} ")));
    end.map_or_else(|| name.to_owned(), |end| format!("{name}, {end}"))
}
