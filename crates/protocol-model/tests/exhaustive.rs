//! Every state of small models keeps the invariants, and each planted defect breaks one.

#![expect(clippy::print_stdout, reason = "the counts and the counterexamples are to be read")]

use std::collections::BTreeMap;

use protocol_model::explore::{DELIVERY, NUMBERING, RACE, SHORT, explore};
use protocol_model::walk::{LENGTH, SEEDS, SIZES, kind, walk};
use protocol_model::{Defect, Model, Sizes};

#[test]
fn every_state_keeps_the_invariants() {
    for (name, sizes) in SHORT {
        let explored = explore(&Model::new(sizes));
        println!("{name}: {} states, at most {} steps away", explored.states, explored.depth);
        assert_eq!(explored.broken, None, "{name}");
    }
}

/// The sizes at which a defect shows, and the number of the invariant that it breaks.
fn shows(defect: Defect) -> (Sizes, &'static str) {
    match defect {
        Defect::AnswerBeforeCommit => (RACE, "1"),
        Defect::CallbackWithoutWork
        | Defect::CompletionIgnoresNewCallback
        | Defect::ResultCommittedApart => (RACE, "2"),
        Defect::ClaimIgnoresTheLease
        | Defect::CompletionWithoutToken
        | Defect::ReleaseWithoutToken => (RACE, "3"),
        Defect::BudgetSpentAfterTheClaim => (RACE, "11"),
        Defect::RepeatAnsweredFromTheRow => (RACE, "12"),
        Defect::ErasureKeepsTheLease => (RACE, "18"),
        Defect::NumbererTakesMaxPlusOne
        | Defect::NumbererWithoutLock
        | Defect::SnapshotOfTheEnd
        | Defect::SnapshotBeforeNumbers => (NUMBERING, "42"),
        Defect::NextEventDoesNotWait => (DELIVERY, "43"),
        Defect::CursorBeforeAnswer | Defect::HeldEventWithoutRow => (DELIVERY, "45"),
        Defect::ProgressWithoutToken => (DELIVERY, "3"),
    }
}

#[test]
fn every_planted_defect_breaks_its_invariant() {
    for defect in Defect::ALL {
        let (sizes, number) = shows(defect);
        let explored = explore(&Model::with(sizes, defect));
        let Some((property, steps)) = explored.broken else { panic!("{defect:?} is not found") };
        println!("\n{defect:?} breaks {property}, after {} states:", explored.states);
        for (place, step) in steps.iter().enumerate() {
            println!("{:3} {step:?}", place + 1);
        }
        let numbers = property.split(':').next().unwrap_or_default();
        assert!(numbers.split(", ").any(|broken| broken == number), "{defect:?}: {property}");
    }
}

/// A walk that avoids a kind of step says nothing about it.
#[test]
fn replayed_walks_take_every_kind_of_step() {
    let model = Model::new(SIZES);
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for seed in SEEDS {
        for (step, _) in walk(&model, seed, LENGTH) {
            *taken.entry(kind(step)).or_default() += 1;
        }
    }
    assert_eq!(taken.len(), 27, "{taken:#?}");
}
