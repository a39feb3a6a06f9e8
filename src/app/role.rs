//! The role of a process: accepting, fetching, serving people, or all of it.

use crate::config::{People, RoleParts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    All,
    /// Accepts callbacks and answers.
    Api,
    /// Fetches and decides; serves health and metrics only.
    Worker,
    /// Serves the console, where people work.
    Console,
}

impl Role {
    /// As `verdict serve --role` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Console => "console",
        }
    }

    /// It takes callbacks and answers callers.
    pub fn accepts(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }

    /// It fetches and decides.
    pub fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    /// The part of the configuration that it needs.
    pub fn parts(self) -> RoleParts {
        let people = match self {
            Self::All => People::Optional,
            Self::Console => People::Required,
            Self::Api | Self::Worker => People::None,
        };
        RoleParts { accepts: self.accepts(), works: self.works(), people }
    }
}
