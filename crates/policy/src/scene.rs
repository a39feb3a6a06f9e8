//! Ids that the provider accepts: the id of a scene (`biz_type`), and a caller's id of a task
//! (`biz_id`).

/// Longest one, in Unicode code points. (The provider's document: `BizId` ≤ 64; `BizType` is
/// shorter there, but not ours to judge.)
pub const MAX_KEY_CHARS: usize = 64;

/// Accepts any script, blanks and slashes. The code points stay exactly as they came, because the
/// provider compares them so: nothing is trimmed or normalised.
pub fn check_key(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("must not be empty");
    }
    if text.chars().count() > MAX_KEY_CHARS {
        return Err("must be at most 64 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok(())
}
