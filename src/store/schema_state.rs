//! How a database's schema relates to this binary.

use std::fmt;

/// How the database's schema relates to this binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// The schema that this binary was built for.
    Current,
    /// Newer, and it says that it still serves this binary.
    Newer,
    /// Older or empty: run `verdict migrate`.
    Behind,
    /// Newer, and it does not serve this binary any more.
    Ahead,
    /// An applied migration differs from the one in this binary.
    Different,
}

impl SchemaState {
    /// This binary can work with it.
    pub fn serves(self) -> bool {
        matches!(self, Self::Current | Self::Newer)
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Newer => "newer than this binary, and still serves it",
            Self::Behind => "too old for this binary: run `verdict migrate`",
            Self::Ahead => {
                "too new for this binary, and does not serve it any more: run the newer binary"
            }
            Self::Different => {
                "not the one this binary knows, because a migration was changed after it had been \
                 applied: run the binary that applied it"
            }
        })
    }
}
