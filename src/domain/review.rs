//! A person's review of a case.

use std::fmt;

use time::OffsetDateTime;

use super::ids::{ApiKeyId, DecisionId, ReviewId, UserId};
use policy::decision::Outcome;
use policy::visible;

/// Longest reason code.
pub const MAX_REASON_CHARS: usize = 64;
/// Longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 2_000;

/// The reviews that need a second person's agreement before they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FourEyes {
    #[default]
    Off,
    Approvals,
    All,
}

impl FourEyes {
    /// Whether a review with this outcome needs a second person.
    pub fn apply_to(self, outcome: Outcome) -> bool {
        match self {
            Self::Off => false,
            Self::Approvals => outcome == Outcome::Approve,
            Self::All => true,
        }
    }
}

/// Who reviews or agrees: an API key, or a user of the console. Both stand for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reviewer {
    Key(ApiKeyId),
    User(UserId),
}

impl Reviewer {
    pub const fn key(self) -> Option<ApiKeyId> {
        match self {
            Self::Key(id) => Some(id),
            Self::User(_) => None,
        }
    }

    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::Key(_) => None,
            Self::User(id) => Some(id),
        }
    }
}

/// As reviews and the audit store it.
impl fmt::Display for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}

/// The outcomes that a review may have: all but `review` itself.
pub fn outcome(text: &str) -> Result<Outcome, &'static str> {
    Outcome::parse(text)
        .filter(|outcome| *outcome != Outcome::Review)
        .ok_or("must be approve, retry or reject")
}

/// A code of the reviewers' list, in the form of a policy's codes: callers switch on it.
pub fn reason(text: &str) -> Result<String, &'static str> {
    let fits = (1..=MAX_REASON_CHARS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    fits.then(|| text.to_owned())
        .ok_or("must be 1 to 64 lower-case letters, digits and dashes, like forged-card")
}

pub fn note(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().count() <= MAX_NOTE_CHARS && visible::is_text(text);
    fits.then(|| text.to_owned()).ok_or("must be at most 2000 visible characters, with line breaks")
}

/// One stored review.
#[derive(Clone, Debug)]
pub struct StoredReview {
    pub id: ReviewId,
    pub about: DecisionId,
    pub outcome: Outcome,
    pub reason: String,
    /// A [`Reviewer`].
    pub reviewer: String,
    /// The person behind it, if the key names one.
    pub person: Option<String>,
    pub reviewed_at: OffsetDateTime,
    /// `None`: another person must agree first.
    pub decision: Option<DecisionId>,
    /// There is a note.
    pub has_note: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_a_code_and_outcome_a_reviewable_one() {
        for good in ["forged-card", "a", "x2", &"a".repeat(64)] {
            assert_eq!(reason(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "A", "a b", "a_b", "é", &"a".repeat(65)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
        assert_eq!(outcome("approve"), Ok(Outcome::Approve));
        assert!(outcome("review").is_err() && outcome("Approve").is_err());
        assert!(note(&"字".repeat(2_000)).is_ok() && note(&"字".repeat(2_001)).is_err());
        assert!(note("two\nlines").is_ok() && note("not\u{2066} approved").is_err());
        assert!(FourEyes::Approvals.apply_to(Outcome::Approve));
        assert!(!FourEyes::Approvals.apply_to(Outcome::Reject));
        assert!(
            FourEyes::All.apply_to(Outcome::Reject) && !FourEyes::Off.apply_to(Outcome::Approve)
        );
    }
}
