//! Defects that can be planted in the model. Each one is found by the exhaustive test.

/// One mistake that an implementation could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The 202 goes out before the commit, and the commit fails.
    AnswerBeforeCommit,
    /// The callback is stored in one commit, its work in another one that can fail.
    CallbackWithoutWork,
    /// A repeated callback is answered from the row as it is now.
    RepeatAnsweredFromTheRow,
    /// A second statement, after the claim, spends the budget.
    BudgetSpentAfterTheClaim,
    /// A claim takes a row whose lease has not ended.
    ClaimIgnoresTheLease,
    /// A completion does not compare the token.
    CompletionWithoutToken,
    /// A completion does not compare the number of callbacks.
    CompletionIgnoresNewCallback,
    /// A completion commits its result before, and apart from, the next step.
    ResultCommittedApart,
    /// A release does not compare the token.
    ReleaseWithoutToken,
    /// An erasure leaves the lease of a fetch that is under way.
    ErasureKeepsTheLease,
    /// A numberer takes what was written after the newest event: max + 1, no snapshot.
    NumbererTakesMaxPlusOne,
    /// A numberer takes no lock.
    NumbererWithoutLock,
    /// A numberer stores the snapshot of its end, not the one it selected by.
    SnapshotOfTheEnd,
    /// A numberer commits the snapshot before the numbers.
    SnapshotBeforeNumbers,
    /// The cursor moves when a request is sent, not when the receiver has acknowledged it.
    CursorBeforeAnswer,
    /// The cursor passes an event that waits for a failed one, without a row for it.
    HeldEventWithoutRow,
    /// An event is sent although an earlier one of its verification is not acknowledged.
    NextEventDoesNotWait,
    /// Progress is stored without comparing the endpoint's token.
    ProgressWithoutToken,
}

impl Defect {
    pub const ALL: [Self; 18] = [
        Self::AnswerBeforeCommit,
        Self::CallbackWithoutWork,
        Self::RepeatAnsweredFromTheRow,
        Self::BudgetSpentAfterTheClaim,
        Self::ClaimIgnoresTheLease,
        Self::CompletionWithoutToken,
        Self::CompletionIgnoresNewCallback,
        Self::ResultCommittedApart,
        Self::ReleaseWithoutToken,
        Self::ErasureKeepsTheLease,
        Self::NumbererTakesMaxPlusOne,
        Self::NumbererWithoutLock,
        Self::SnapshotOfTheEnd,
        Self::SnapshotBeforeNumbers,
        Self::CursorBeforeAnswer,
        Self::HeldEventWithoutRow,
        Self::NextEventDoesNotWait,
        Self::ProgressWithoutToken,
    ];
}
