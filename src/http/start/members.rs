//! Members that the starts of all products share.

use zeroize::Zeroizing;

pub(super) const MUST_BE_SOURCE: &str = "must be the name of a configured source";

pub(super) fn source_name(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    valid.then(|| text.to_owned()).ok_or(MUST_BE_SOURCE)
}

/// Personal data: wiped when it is dropped.
pub(super) type PassedThrough = Zeroizing<String>;

pub(super) fn passed_through<const MAX_CHARS: usize>(
    text: &str,
) -> Result<PassedThrough, &'static str> {
    let fits = (1..=MAX_CHARS).contains(&text.chars().count()) && !text.contains('\0');
    fits.then(|| Zeroizing::new(text.to_owned()))
        .ok_or("must not be empty, nor too long, nor hold NUL")
}
