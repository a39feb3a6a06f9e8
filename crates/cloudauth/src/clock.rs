//! Where a request's time stamp and its nonce come from.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

/// Tells the time. Requests carry it, and temporary credentials end by it.
///
/// ```
/// use time::macros::datetime;
///
/// let noon = datetime!(2026-11-23 12:00 UTC);
/// let stopped = cloudauth::Clock::new(move || noon);
/// assert_eq!(stopped.now(), noon);
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }

    /// Another clock, such as one that a test moves.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present.
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").finish_non_exhaustive()
    }
}

/// Makes nonces. The provider refuses a request whose nonce it has seen.
#[derive(Clone)]
pub struct Nonces(Arc<dyn Fn() -> String + Send + Sync>);

impl Nonces {
    /// Random ones: 32 hex digits with 122 random bits.
    #[expect(clippy::disallowed_methods, reason = "the one place that draws random bits")]
    pub fn random() -> Self {
        Self::new(|| Uuid::new_v4().simple().to_string())
    }

    /// From another source. No value may come twice within half an hour.
    pub fn new(next: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// The next one.
    pub fn next(&self) -> String {
        (self.0)()
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self::random()
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nonces").finish_non_exhaustive()
    }
}
