//! Limits of reading bodies.

use std::time::Duration;

use super::memory_budget::MemoryBudget;

/// Largest body of a caller with an API key. The default policy has ten KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// The same text in a form, and its other fields.
pub const MAX_FORM_BYTES: usize = 3 * (MAX_BODY_BYTES + 4 * 1024);
/// Largest body of a start: it may hold a picture, in base64.
pub const MAX_START_BYTES: usize = 2 * 1024 * 1024;
/// A documented callback has under 1 KiB, and so has a form to sign in.
pub const MAX_CALLBACK_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub struct BodyLimits {
    pub first_byte: Duration,
    /// Until the last byte.
    pub whole: Duration,
    /// Shared by callbacks whose signature is not verified yet, and forms sent before signing in.
    pub unverified: MemoryBudget,
    /// Shared by bodies of callers with an API key.
    pub verified: MemoryBudget,
}
