//! A person's verdict about a decision.

use time::OffsetDateTime;

use super::ids::{DecisionId, ReviewId};
use policy::decision::Outcome;
use policy::visible;

/// Longest reason code.
pub const MAX_REASON_CHARS: usize = 64;
/// Longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 2_000;

/// Which verdicts a second person must share before they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FourEyes {
    /// None.
    #[default]
    Off,
    /// Approvals.
    Approvals,
    /// All.
    All,
}

impl FourEyes {
    /// A verdict with that outcome needs another person's.
    pub fn apply_to(self, outcome: Outcome) -> bool {
        match self {
            Self::Off => false,
            Self::Approvals => outcome == Outcome::Approve,
            Self::All => true,
        }
    }
}

/// What may be a person's verdict: to say once more that a person must look is none.
pub fn outcome(text: &str) -> Result<Outcome, &'static str> {
    Outcome::parse(text)
        .filter(|outcome| *outcome != Outcome::Review)
        .ok_or("must be approve, retry or reject")
}

/// A code of the reviewers' own list, in the form of a policy's: it is switched on and counted.
pub fn reason(text: &str) -> Result<String, &'static str> {
    let fits = (1..=MAX_REASON_CHARS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    fits.then(|| text.to_owned())
        .ok_or("must be 1 to 64 lower-case letters, digits and dashes, like forged-card")
}

/// Free text.
pub fn note(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().count() <= MAX_NOTE_CHARS && visible::is_text(text);
    fits.then(|| text.to_owned()).ok_or("must be at most 2000 visible characters, with line breaks")
}

/// One verdict as it is kept.
#[derive(Clone, Debug)]
pub struct StoredReview {
    /// Its id.
    pub id: ReviewId,
    /// The decision it is about.
    pub about: DecisionId,
    /// The verdict.
    pub outcome: Outcome,
    /// Why, as a code.
    pub reason: String,
    /// `key:` and the API key's id.
    pub reviewer: String,
    /// The person whom that key named; `None`: it named none.
    pub person: Option<String>,
    /// When.
    pub reviewed_at: OffsetDateTime,
    /// The decision it made; `None`: another person had to agree.
    pub decision: Option<DecisionId>,
    /// A note was left.
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
