//! The invariants of `ARCHITECTURE.md` that the protocol has to keep, by their numbers.

use std::collections::BTreeSet;

use crate::model::Model;
use crate::state::{Due, Numberer, Stage, State, Verification, Violation, Worker, at, places};
use crate::step::{Delivery, Fate, Step};

/// One invariant.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Begins with the number in `ARCHITECTURE.md`.
    pub name: &'static str,
    pub holds: fn(&Model, &State) -> bool,
}

/// All of them.
pub static PROPERTIES: [Property; 9] = [
    Property { name: "1: accepted means durable", holds: accepted_is_durable },
    Property { name: "2: a fact and its follow-up commit together", holds: facts_have_follow_ups },
    Property { name: "3: a process that lost its lease changes nothing", holds: leases_are_fenced },
    Property { name: "11: the budget is spent for exactly the claims", holds: budget_is_exact },
    Property { name: "12: a repeated callback gets the answer it got", holds: repeats_are_equal },
    Property { name: "18: an erased verification has no body", holds: erased_is_gone },
    Property { name: "42: each committed decision has one event", holds: events_are_exact },
    Property { name: "43: events are delivered in order", holds: order_is_kept },
    Property { name: "45: the cursor passes nothing undelivered", holds: nothing_is_skipped },
];

/// Holds in every state, however costly to check: after any history fresh processes finish.
pub static RECOVERY: Property = Property {
    name: "1, 2, 42, 45: fresh processes finish everything",
    holds: is_finished_by_others,
};

fn accepted_is_durable(_: &Model, state: &State) -> bool {
    state.messages.iter().all(|message| message.last_answer.is_none() || message.stored.is_some())
}

fn facts_have_follow_ups(model: &Model, state: &State) -> bool {
    let stored = |verification: u8| {
        let about =
            places(&state.messages).filter(|n| n % model.sizes.verifications == verification);
        about.filter(|n| state.messages[at(*n)].stored.is_some()).count()
    };
    let of_row = |place: u8, row: &Verification| {
        let is_looked_at = row.closed || row.callbacks <= row.looked || row.due != Due::Never;
        let decided = usize::from(row.decisions);
        let is_decided = row.stage != Stage::Decided || decided > 0;
        // A result belongs to the commit that ends its claim: no claim is left with one.
        let is_whole = row.lease.is_none_or(|lease| !row.results.contains(&lease.attempt));
        usize::from(row.callbacks) == stored(place)
            && is_looked_at
            && is_decided
            && is_whole
            && decided <= row.results.len()
    };
    places(&state.verifications).all(|place| of_row(place, &state.verifications[at(place)]))
}

fn leases_are_fenced(_: &Model, state: &State) -> bool {
    let once = |row: &Verification| {
        let attempts: BTreeSet<&u8> = row.results.iter().collect();
        attempts.len() == row.results.len()
    };
    !state.violations.contains(&Violation::WroteWithoutLease)
        && !state.violations.contains(&Violation::ClaimedLeasedRow)
        && state.verifications.iter().all(once)
}

fn budget_is_exact(_: &Model, state: &State) -> bool {
    state.spent == state.verifications.iter().map(|row| row.attempts).sum::<u8>()
}

fn repeats_are_equal(_: &Model, state: &State) -> bool {
    let is_equal = |message: &crate::state::Message| {
        message.stored.is_none()
            || message.last_answer.is_none()
            || message.last_answer == message.stored
    };
    state.messages.iter().all(is_equal)
}

fn erased_is_gone(_: &Model, state: &State) -> bool {
    state.verifications.iter().all(|row| !row.erased || row.bodies == 0)
}

fn events_are_exact(_: &Model, state: &State) -> bool {
    let logged: BTreeSet<u8> = state.log.iter().copied().collect();
    let is_idle = state.numberers.iter().all(|numberer| *numberer == Numberer::Idle);
    logged.len() == state.log.len()
        && logged.is_subset(&state.committed())
        // Every change in the stored snapshot has a number.
        && (!is_idle || state.seen.is_subset(&logged))
}

fn order_is_kept(_: &Model, state: &State) -> bool {
    // Numbers of one verification are in the order of its history.
    let is_after = |number: u8| {
        (1..number)
            .filter(|other| state.about(*other) == state.about(number))
            .all(|other| state.log[at(other - 1)] < state.log[at(number - 1)])
    };
    (1..=state.head()).all(is_after) && !state.violations.contains(&Violation::ReceivedOutOfOrder)
}

fn nothing_is_skipped(_: &Model, state: &State) -> bool {
    (1..=state.endpoint.cursor)
        .all(|n| state.received.contains(&n) || state.endpoint.rows.contains_key(&n))
}

/// Every process is killed, leases end, and from here on nothing fails.
fn is_finished_by_others(model: &Model, state: &State) -> bool {
    let mut state = state.clone();
    (state.left.budget, state.left.faults) = (50, 50);
    for worker in places(&state.workers) {
        if state.workers[at(worker)] != Worker::Idle {
            state = model.after(&state, Step::Crash { worker });
        }
    }
    for numberer in places(&state.numberers) {
        state = model.after(&state, Step::EndNumbering { numberer, fate: Fate::Cut });
    }
    for deliverer in places(&state.deliverers) {
        state = model.after(&state, Step::CrashDeliverer { deliverer });
    }
    (state.left.faults, state.left.refusals, state.left.erasures) = (0, 0, 0);
    for _ in 0..200 {
        let helps = |step: &Step| helps(&state, *step);
        let Some(step) = model.steps(&state).into_iter().find(helps) else {
            return is_done(model, &state);
        };
        state = model.after(&state, step);
    }
    false
}

fn helps(state: &State, step: Step) -> bool {
    match step {
        Step::Accept { message, .. } => state.messages[at(message)].last_answer.is_none(),
        Step::Write { answer, .. } => answer == crate::state::Answer::Passed,
        Step::Claim { worker, .. } => worker == 0,
        Step::BeginNumbering { numberer } => numberer == 0,
        Step::PickUp { deliverer } => deliverer == 0,
        Step::Send { delivery, .. } => delivery == Delivery::Acknowledged,
        Step::Renew { .. } | Step::Release { .. } => false,
        // A worker that holds the row is at work here, and does not sleep.
        Step::LeaseEnds { .. } => state.workers.iter().all(|worker| *worker == Worker::Idle),
        Step::EndpointLeaseEnds => {
            let idle = |one: &crate::state::Deliverer| *one == crate::state::Deliverer::Idle;
            state.deliverers.iter().all(idle)
        }
        _ => true,
    }
}

fn is_done(model: &Model, state: &State) -> bool {
    let is_quiet = |row: &Verification| {
        // A lease on an erased row keeps nobody from anything.
        let is_free = row.lease.is_none() || row.erased;
        row.stage == Stage::Absent || is_free && row.due == Due::Never
    };
    let is_settled = |row: &Verification| row.closed || row.callbacks == row.looked;
    let is_logged = model.sizes.numberers == 0
        || state.committed() == state.log.iter().copied().collect::<BTreeSet<_>>();
    let is_delivered =
        model.sizes.deliverers == 0 || (1..=state.head()).all(|n| state.received.contains(&n));
    let is_told =
        |message: &crate::state::Message| message.last_answer.is_some() || message.refused;
    state.verifications.iter().all(|row| is_quiet(row) && is_settled(row))
        && state.messages.iter().all(is_told)
        && is_logged
        && is_delivered
}
