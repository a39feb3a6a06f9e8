//! An invalid member of a JSON document.

/// Never quotes the value: it may be personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer (RFC 6901).
    pub pointer: &'static str,
    /// Description of the error.
    pub detail: &'static str,
}
