//! Limits of a policy text.

/// The limits that apply to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Of a text that is to be added: rules, comparisons and values are counted.
    New,
    /// Of one that was accepted before, perhaps by a version with other limits.
    Stored,
}

/// Longest policy text, in bytes. The default policy takes a fiftieth of it.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Most rules of a policy, comparisons of a rule, and values of a list: reading stops there. They
/// bound what a decision may have to repeat in its reasons, and what a check has to compare.
pub const MOST_RULES: usize = 256;
pub const MOST_COMPARISONS: usize = 64;
pub const MOST_VALUES: usize = 64;
/// Longest code of the provider, and longest label of a risk, as they are kept.
pub const MAX_CODE_DIGITS: usize = 16;
pub const MAX_LABEL_CHARS: usize = 32;
/// Longest rule id and reason, in characters.
pub const MAX_CODE_CHARS: usize = 64;
