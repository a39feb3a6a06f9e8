//! Visits every state of a model, breadth first, so a counterexample is a shortest one.
//!
//! A visited state is kept as a fingerprint of 128 bits, with the fingerprint of the state before
//! it. Two states with one fingerprint would hide each other. Among a hundred million states the
//! chance of that is below one in 10²². The steps of a counterexample are found again by walking
//! from the beginning along the fingerprints.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::Model;
use crate::property::{PROPERTIES, Property, RECOVERY};
use crate::state::{Sizes, State};
use crate::step::Step;

/// The result of an exploration.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    /// Steps to the state that is farthest from the beginning.
    pub depth: usize,
    /// The first broken property, and a shortest way to break it.
    pub broken: Option<(&'static str, Vec<Step>)>,
}

type Fingerprint = (u64, u64);

fn fingerprint(state: &State) -> Fingerprint {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    (half(1), half(2))
}

/// Visits every state, or stops at the first one that breaks a property.
pub fn explore(model: &Model) -> Explored {
    let begin = model.sizes.begin();
    let origin = fingerprint(&begin);
    let mut before: HashMap<Fingerprint, Fingerprint> = HashMap::from([(origin, origin)]);
    let mut frontier = vec![begin];
    let mut depth = 0;
    while !frontier.is_empty() {
        for state in &frontier {
            if let Some(property) = broken(model, state) {
                let steps = way(model, &before, fingerprint(state));
                let broken = Some((property.name, steps));
                return Explored { states: before.len(), depth, broken };
            }
        }
        let mut next = Vec::new();
        for state in &frontier {
            let here = fingerprint(state);
            for step in model.steps(state) {
                let after = model.after(state, step);
                if let Entry::Vacant(new) = before.entry(fingerprint(&after)) {
                    new.insert(here);
                    next.push(after);
                }
            }
        }
        depth += usize::from(!next.is_empty());
        frontier = next;
    }
    Explored { states: before.len(), depth, broken: None }
}

fn broken(model: &Model, state: &State) -> Option<&'static Property> {
    PROPERTIES.iter().chain([&RECOVERY]).find(|property| !(property.holds)(model, state))
}

/// The steps from the beginning to a visited state.
fn way(model: &Model, before: &HashMap<Fingerprint, Fingerprint>, end: Fingerprint) -> Vec<Step> {
    let mut marks = vec![end];
    let mut mark = end;
    while before[&mark] != mark {
        mark = before[&mark];
        marks.push(mark);
    }
    marks.pop();
    let mut state = model.sizes.begin();
    let mut steps = Vec::new();
    for mark in marks.into_iter().rev() {
        let leads_there = |step: &Step| fingerprint(&model.after(&state, *step)) == mark;
        let step = model.steps(&state).into_iter().find(leads_there).expect("visited");
        state = model.after(&state, step);
        steps.push(step);
    }
    steps
}

const NOTHING: Sizes = Sizes {
    verifications: 2,
    messages: 0,
    workers: 0,
    budget: 0,
    faults: 0,
    refusals: 0,
    numberers: 0,
    deliverers: 0,
    erasures: 0,
    logged: 0,
};

/// Two workers on one verification, and an erasure.
pub const RACE: Sizes = Sizes {
    verifications: 1,
    messages: 2,
    workers: 2,
    budget: 3,
    faults: 1,
    erasures: 1,
    ..NOTHING
};
/// Two workers on two verifications.
pub const WORK: Sizes = Sizes { messages: 2, workers: 2, budget: 2, faults: 1, ..NOTHING };
/// Open transactions and two numberers.
pub const NUMBERING: Sizes =
    Sizes { messages: 2, workers: 2, budget: 2, faults: 1, numberers: 2, ..NOTHING };
/// Two deliverers of four events about two verifications.
pub const DELIVERY: Sizes = Sizes { faults: 2, refusals: 2, deliverers: 2, logged: 4, ..NOTHING };
/// Everything at once, about one verification.
pub const WHOLE: Sizes = Sizes {
    verifications: 1,
    messages: 2,
    workers: 1,
    budget: 2,
    faults: 1,
    refusals: 1,
    numberers: 1,
    deliverers: 1,
    ..NOTHING
};

/// The sizes that `./check` explores.
pub const SHORT: [(&str, Sizes); 5] = [
    ("race", RACE),
    ("work", WORK),
    ("numbering", NUMBERING),
    ("delivery", DELIVERY),
    ("whole", WHOLE),
];

/// The sizes of the long form.
pub const LONG: [(&str, Sizes); 5] = [
    ("race", Sizes { messages: 3, workers: 3, budget: 4, ..RACE }),
    ("work", Sizes { messages: 3, budget: 3, faults: 2, erasures: 1, ..WORK }),
    ("numbering", Sizes { messages: 3, budget: 3, ..NUMBERING }),
    ("delivery", Sizes { verifications: 3, logged: 6, ..DELIVERY }),
    ("whole", Sizes { verifications: 2, workers: 2, deliverers: 2, ..WHOLE }),
];
