//! The names of faults that the answers of every product can have.

/// Bytes between values that are neither JSON nor blank.
pub const STRAY_BYTES: &str = "stray_bytes";
/// Text behind the answer that names a member that decides.
pub const SECOND_ANSWER: &str = "second_answer";
/// Text behind the answer that names no such member. It appears in `damaged_texts`.
pub const TRAILING_TEXT: &str = "trailing_text";
