//! The role of a process: accepting, fetching, or both.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Both.
    All,
    /// Accepts callbacks and answers.
    Api,
    /// Fetches and decides; serves health and metrics only.
    Worker,
}

impl Role {
    /// It takes callbacks and answers callers.
    pub fn accepts(self) -> bool {
        self != Self::Worker
    }

    /// It fetches and decides.
    pub fn works(self) -> bool {
        self != Self::Api
    }
}
