//! An answer without a verification status, and what its code may show.

use std::fmt;

/// Class of a provider error, by what the caller should do. Decide by the class, not by the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Too many calls: wait as long as the answer asks, then try again.
    Throttled,
    /// A fault of the provider or the network that passes: try again with backoff.
    Transient,
    /// The time stamp or the nonce was refused: try once more with fresh ones.
    Clock,
    /// Key, permission or account were refused. Every other call will be refused too.
    Credentials,
    /// This request is refused and will be refused again.
    BadRequest,
    /// The provider has deleted its record, which it keeps for 180 days.
    Gone,
    /// The answer cannot be read.
    Unreadable,
}

impl ErrorClass {
    /// The name of the class, such as `bad-request`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Clock => "clock",
            Self::Credentials => "credentials",
            Self::BadRequest => "bad-request",
            Self::Gone => "gone",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer without a verification status. Safe to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerError {
    /// The class of the error.
    pub class: ErrorClass,
    /// The provider's code, as [`shown_code`] lets it through. The provider's message is left out:
    /// it may repeat every parameter of the request.
    pub code: Option<String>,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "the answer holds no result ({}: {code})", self.class),
            None => write!(f, "the answer holds no result ({})", self.class),
        }
    }
}

impl std::error::Error for AnswerError {}

/// Most digits in a code of the vendor's tables (`3101`).
const MAX_CODE_DIGITS: usize = 4;

/// The code if it looks like one of the vendor's, else with `#` for each digit: an invented code
/// may contain a person's number.
///
/// ```
/// use cloudauth::wire::shown_code;
///
/// assert_eq!(shown_code("InvalidParam.RecordNotFound"), "InvalidParam.RecordNotFound");
/// assert_eq!(shown_code("user-13800000000"), "user-###########");
/// ```
pub fn shown_code(code: &str) -> String {
    let of_a_code = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    // All of them, not those in a row: `1101.0119.9003` is a number too.
    let digits = code.chars().filter(|c| c.is_numeric()).count();
    if digits <= MAX_CODE_DIGITS && code.chars().all(of_a_code) {
        return code.to_owned();
    }
    code.chars().map(|c| if c.is_numeric() { '#' } else { c }).collect()
}
