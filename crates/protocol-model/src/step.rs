//! The steps, and which of them can happen in a state.

use crate::defect::Defect;
use crate::model::Model;
use crate::state::{
    Answer, Deliverer, Due, Numberer, Row, Stage, State, Verification, Worker, at, places,
};

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Committed, and answered.
    Answered,
    /// Committed, and the connection is lost.
    AnswerLost,
    /// The connection is lost before the commit.
    Cut,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    Acknowledged,
    /// Received, and the acknowledgement is lost.
    AnswerLost,
    /// Not received.
    Refused,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A sender posts its callback, again if need be.
    Accept {
        message: u8,
        fate: Fate,
    },
    Claim {
        worker: u8,
        verification: u8,
        fate: Fate,
    },
    Renew {
        worker: u8,
    },
    Release {
        worker: u8,
    },
    /// The provider has answered, and the completion is carried out up to its commit.
    Write {
        worker: u8,
        answer: Answer,
    },
    Commit {
        worker: u8,
        fate: Fate,
    },
    /// A worker that does not know whether it has written writes again.
    Repeat {
        worker: u8,
    },
    Crash {
        worker: u8,
    },
    LeaseEnds {
        verification: u8,
    },
    FallsDue {
        verification: u8,
    },
    Erase {
        verification: u8,
    },
    BeginNumbering {
        numberer: u8,
    },
    EndNumbering {
        numberer: u8,
        fate: Fate,
    },
    PickUp {
        deliverer: u8,
    },
    Send {
        deliverer: u8,
        delivery: Delivery,
    },
    StoreProgress {
        deliverer: u8,
    },
    PutDown {
        deliverer: u8,
    },
    CrashDeliverer {
        deliverer: u8,
    },
    EndpointLeaseEnds,
    RetriesFallDue,
}

impl Verification {
    pub(crate) fn is_lease_free(&self) -> bool {
        self.lease.is_none_or(|lease| lease.ended)
    }
}

impl Model {
    /// Everything that can happen now.
    pub fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        self.of_senders(state, &mut steps);
        for worker in places(&state.workers) {
            self.of_worker(state, worker, &mut steps);
        }
        of_time(state, &mut steps);
        self.of_numberers(state, &mut steps);
        for deliverer in places(&state.deliverers) {
            of_deliverer(state, deliverer, &mut steps);
        }
        steps
    }

    fn of_senders(&self, state: &State, steps: &mut Vec<Step>) {
        for message in places(&state.messages) {
            let verification = message % self.sizes.verifications;
            if state.is_locked(verification) || state.messages[at(message)].refused {
                continue;
            }
            steps.push(Step::Accept { message, fate: Fate::Answered });
            if state.left.faults > 0 && state.messages[at(message)].stored.is_none() {
                steps.push(Step::Accept { message, fate: Fate::AnswerLost });
                steps.push(Step::Accept { message, fate: Fate::Cut });
            }
        }
    }

    fn of_worker(&self, state: &State, worker: u8, steps: &mut Vec<Step>) {
        let may_fail = state.left.faults > 0;
        match state.workers[at(worker)] {
            Worker::Idle => {
                for verification in places(&state.verifications) {
                    let row = &state.verifications[at(verification)];
                    let is_free = row.is_lease_free() || self.has(Defect::ClaimIgnoresTheLease);
                    let is_claimable = row.due == Due::Now
                        && is_free
                        && !state.is_locked(verification)
                        && state.left.budget > 0;
                    if is_claimable {
                        steps.push(Step::Claim { worker, verification, fate: Fate::Answered });
                        if may_fail {
                            let fate = Fate::AnswerLost;
                            steps.push(Step::Claim { worker, verification, fate });
                        }
                    }
                }
                return;
            }
            Worker::Holding(claim) => {
                if !state.is_locked(claim.verification) {
                    steps.extend([Step::Renew { worker }, Step::Release { worker }]);
                    steps.extend(Answer::ALL.map(|answer| Step::Write { worker, answer }));
                }
            }
            Worker::Writing { .. } => {
                steps.push(Step::Commit { worker, fate: Fate::Answered });
                if may_fail {
                    steps.push(Step::Commit { worker, fate: Fate::AnswerLost });
                    steps.push(Step::Commit { worker, fate: Fate::Cut });
                }
            }
            Worker::Unsure { claim, .. } => {
                if !state.is_locked(claim.verification) {
                    steps.push(Step::Repeat { worker });
                }
            }
        }
        if may_fail {
            steps.push(Step::Crash { worker });
        }
    }

    fn of_numberers(&self, state: &State, steps: &mut Vec<Step>) {
        let is_busy = |numberer: &Numberer| *numberer != Numberer::Idle;
        let is_locked = state.numberers.iter().any(is_busy);
        for numberer in places(&state.numberers) {
            if is_busy(&state.numberers[at(numberer)]) {
                steps.push(Step::EndNumbering { numberer, fate: Fate::Answered });
                if state.left.faults > 0 {
                    steps.push(Step::EndNumbering { numberer, fate: Fate::Cut });
                }
            } else if (!is_locked || self.has(Defect::NumbererWithoutLock))
                && !self.unnumbered(state).is_empty()
            {
                steps.push(Step::BeginNumbering { numberer });
            }
        }
    }

    /// The state after a step that can happen.
    pub fn after(&self, state: &State, step: Step) -> State {
        let mut next = state.clone();
        let is_fault = match step {
            Step::Accept { fate, .. }
            | Step::Claim { fate, .. }
            | Step::Commit { fate, .. }
            | Step::EndNumbering { fate, .. } => fate != Fate::Answered,
            Step::Crash { .. } | Step::CrashDeliverer { .. } => true,
            Step::Send { delivery, .. } => {
                next.left.refusals -= u8::from(delivery != Delivery::Acknowledged);
                false
            }
            _ => false,
        };
        next.left.faults -= u8::from(is_fault);
        match step {
            Step::Accept { message, fate } => self.accept(&mut next, message, fate),
            Step::Claim { worker, verification, fate } => {
                self.claim(&mut next, worker, verification, fate);
            }
            Step::Renew { worker } => next.renew(worker),
            Step::Release { worker } => self.release(&mut next, worker),
            Step::Write { worker, answer } => {
                let Worker::Holding(claim) = next.workers[at(worker)] else { return next };
                self.write(&mut next, worker, claim, answer);
            }
            Step::Repeat { worker } => {
                let Worker::Unsure { claim, answer } = next.workers[at(worker)] else {
                    return next;
                };
                self.write(&mut next, worker, claim, answer);
            }
            Step::Commit { worker, fate } => self.commit(&mut next, worker, fate),
            Step::Crash { worker } => {
                next.roll_back(worker);
                next.workers[at(worker)] = Worker::Idle;
            }
            Step::LeaseEnds { verification } => {
                let lease = &mut next.verifications[at(verification)].lease;
                *lease = lease.map(|lease| crate::state::Lease { ended: true, ..lease });
            }
            Step::FallsDue { verification } => {
                next.verifications[at(verification)].due = Due::Now;
            }
            Step::Erase { verification } => self.erase(&mut next, verification),
            Step::BeginNumbering { numberer } => self.begin_numbering(&mut next, numberer),
            Step::EndNumbering { numberer, fate } => {
                self.end_numbering(&mut next, numberer, fate);
            }
            Step::PickUp { deliverer } => next.pick_up(deliverer),
            Step::Send { deliverer, delivery } => self.send(&mut next, deliverer, delivery),
            Step::StoreProgress { deliverer } => self.store_progress(&mut next, deliverer),
            Step::PutDown { deliverer } => next.put_down(deliverer),
            Step::CrashDeliverer { deliverer } => {
                next.deliverers[at(deliverer)] = Deliverer::Idle;
            }
            Step::EndpointLeaseEnds => {
                let holder = &mut next.endpoint.holder;
                *holder = holder.map(|holder| crate::state::Holder { ended: true, ..holder });
            }
            Step::RetriesFallDue => next.retries_fall_due(),
        }
        next
    }
}

fn of_time(state: &State, steps: &mut Vec<Step>) {
    for verification in places(&state.verifications) {
        let row = &state.verifications[at(verification)];
        // A locked row is changed by nobody else. Its times pass all the same, but a completion
        // does not look at them.
        if state.is_locked(verification) {
            continue;
        }
        if row.lease.is_some_and(|lease| !lease.ended) {
            steps.push(Step::LeaseEnds { verification });
        }
        if row.due == Due::Later {
            steps.push(Step::FallsDue { verification });
        }
        if state.left.erasures > 0 && row.stage != Stage::Absent && !row.erased {
            steps.push(Step::Erase { verification });
        }
    }
    if state.endpoint.holder.is_some_and(|holder| !holder.ended) {
        steps.push(Step::EndpointLeaseEnds);
    }
    if state.endpoint.rows.values().any(|row| *row == Row::Retry { due: false }) {
        steps.push(Step::RetriesFallDue);
    }
}

fn of_deliverer(state: &State, deliverer: u8, steps: &mut Vec<Step>) {
    match &state.deliverers[at(deliverer)] {
        Deliverer::Idle => {
            let endpoint = &state.endpoint;
            let is_free = endpoint.holder.is_none_or(|holder| holder.ended);
            // A holder that was killed has taken the due time away: so its lease is work.
            let has_work = state.next_event(&state.loaded()).is_some() || endpoint.holder.is_some();
            if is_free && has_work {
                steps.push(Step::PickUp { deliverer });
            }
        }
        Deliverer::Delivering(window) => {
            if state.next_event(window).is_some() {
                steps.push(Step::Send { deliverer, delivery: Delivery::Acknowledged });
                if state.left.refusals > 0 {
                    steps.push(Step::Send { deliverer, delivery: Delivery::AnswerLost });
                    steps.push(Step::Send { deliverer, delivery: Delivery::Refused });
                }
            }
            if window.unsaved {
                steps.push(Step::StoreProgress { deliverer });
            } else {
                steps.push(Step::PutDown { deliverer });
            }
            if state.left.faults > 0 {
                steps.push(Step::CrashDeliverer { deliverer });
            }
        }
    }
}
