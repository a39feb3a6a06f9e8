//! Accept, claim, complete, renew, release and erase, as `ACCEPT`, `CLAIM`, `COMPLETE` and the
//! statements of `store/lease.rs` do it.

use crate::defect::Defect;
use crate::model::Model;
use crate::state::{
    Answer, Change, Claim, Commit, Due, Lease, Message, Stage, State, Told, Verification,
    Violation, Worker, at,
};
use crate::step::Fate;

impl Verification {
    fn told(&self) -> Told {
        Told { stage: self.stage, attempts: self.attempts, decisions: self.decisions }
    }

    fn is_held_with(&self, claim: Claim) -> bool {
        self.lease.is_some_and(|lease| lease.attempt == claim.attempt)
    }
}

impl Model {
    pub(crate) fn accept(&self, state: &mut State, message: u8, fate: Fate) {
        let row = &mut state.verifications[at(message % self.sizes.verifications)];
        let Message { stored, last_answer, refused } = &mut state.messages[at(message)];
        if let Some(first) = *stored {
            let now = if self.has(Defect::RepeatAnsweredFromTheRow) { row.told() } else { first };
            *last_answer = Some(now);
            return;
        }
        if row.erased {
            *refused = fate == Fate::Answered;
            return;
        }
        if fate == Fate::Cut {
            if self.has(Defect::CallbackWithoutWork) {
                row.callbacks += 1;
                row.stage = Stage::Pending;
                *stored = Some(row.told());
            }
            if self.has(Defect::AnswerBeforeCommit) {
                *last_answer = Some(row.told());
            }
            return;
        }
        row.callbacks += 1;
        if !row.closed {
            (row.stage, row.due) = (Stage::Pending, Due::Now);
        }
        *stored = Some(row.told());
        if fate == Fate::Answered {
            *last_answer = *stored;
        }
    }

    pub(crate) fn claim(&self, state: &mut State, worker: u8, verification: u8, fate: Fate) {
        let row = &mut state.verifications[at(verification)];
        if !row.is_lease_free() {
            state.violations.insert(Violation::ClaimedLeasedRow);
        }
        row.attempts += 1;
        row.lease = Some(Lease { attempt: row.attempts, ended: false });
        state.left.budget -= 1;
        if fate == Fate::Answered || !self.has(Defect::BudgetSpentAfterTheClaim) {
            state.spent += 1;
        }
        if fate == Fate::Answered {
            let (attempt, callbacks) = (row.attempts, row.callbacks);
            state.workers[at(worker)] = Worker::Holding(Claim { verification, attempt, callbacks });
        }
    }

    pub(crate) fn release(&self, state: &mut State, worker: u8) {
        let Worker::Holding(claim) = state.workers[at(worker)] else { return };
        let row = &mut state.verifications[at(claim.verification)];
        if row.is_held_with(claim) {
            row.lease = None;
        } else if self.has(Defect::ReleaseWithoutToken) && row.lease.is_some() {
            row.lease = None;
            state.violations.insert(Violation::WroteWithoutLease);
        }
        state.workers[at(worker)] = Worker::Idle;
    }

    /// The completion up to its commit. Fenced, it writes nothing and locks nothing.
    pub(crate) fn write(&self, state: &mut State, worker: u8, claim: Claim, answer: Answer) {
        let is_again = matches!(state.workers[at(worker)], Worker::Unsure { .. });
        let row = &mut state.verifications[at(claim.verification)];
        if !row.is_held_with(claim) {
            // Repeated, its result says that it was written.
            let is_written = is_again && row.results.contains(&claim.attempt);
            if is_written || !self.has(Defect::CompletionWithoutToken) {
                state.workers[at(worker)] = Worker::Idle;
                return;
            }
        }
        if self.has(Defect::ResultCommittedApart) {
            row.results.push(claim.attempt);
            row.bodies += 1;
        }
        let change = answer.decides().then(|| {
            let verification = claim.verification;
            state.changes.push(Change { verification, status: Commit::Open });
            u8::try_from(state.changes.len() - 1).expect("small sizes")
        });
        state.workers[at(worker)] = Worker::Writing { claim, answer, change };
    }

    pub(crate) fn commit(&self, state: &mut State, worker: u8, fate: Fate) {
        let Worker::Writing { claim, answer, change } = state.workers[at(worker)] else { return };
        let unsure = Worker::Unsure { claim, answer };
        if fate == Fate::Cut {
            state.roll_back(worker);
            state.workers[at(worker)] = unsure;
            return;
        }
        let row = &mut state.verifications[at(claim.verification)];
        if !row.is_held_with(claim) {
            state.violations.insert(Violation::WroteWithoutLease);
        }
        let is_newer =
            row.callbacks > claim.callbacks && !self.has(Defect::CompletionIgnoresNewCallback);
        let is_final = answer == Answer::Passed;
        row.closed |= is_final;
        row.lease = None;
        row.looked = claim.callbacks;
        if is_newer && !is_final {
            (row.stage, row.due) = (Stage::Pending, Due::Now);
        } else {
            (row.stage, row.due) = match answer {
                Answer::Passed | Answer::Rejected => (Stage::Decided, Due::Never),
                Answer::Unfinished => (Stage::Unfinished, Due::Later),
            };
        }
        if !self.has(Defect::ResultCommittedApart) {
            row.results.push(claim.attempt);
            row.bodies += 1;
        }
        if let Some(change) = change {
            row.decisions += 1;
            state.changes[at(change)].status = Commit::Committed;
        }
        state.workers[at(worker)] = if fate == Fate::Answered { Worker::Idle } else { unsure };
    }

    pub(crate) fn erase(&self, state: &mut State, verification: u8) {
        state.left.erasures -= 1;
        let row = &mut state.verifications[at(verification)];
        (row.erased, row.closed, row.due, row.bodies) = (true, true, Due::Never, 0);
        if !self.has(Defect::ErasureKeepsTheLease) {
            row.lease = None;
        }
    }
}

impl State {
    /// A worker that has lost the row drops it.
    pub(crate) fn renew(&mut self, worker: u8) {
        let Worker::Holding(claim) = self.workers[at(worker)] else { return };
        let row = &mut self.verifications[at(claim.verification)];
        if row.is_held_with(claim) {
            row.lease = Some(Lease { attempt: claim.attempt, ended: false });
        } else {
            self.workers[at(worker)] = Worker::Idle;
        }
    }

    /// Ends the open transaction of a worker, if it has one.
    pub(crate) fn roll_back(&mut self, worker: u8) {
        if let Worker::Writing { change: Some(change), .. } = self.workers[at(worker)] {
            self.changes[at(change)].status = Commit::RolledBack;
        }
    }
}
