//! The one door through which the time of day comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

/// The time in UTC and whole microseconds: Postgres' resolution, so that a stored time equals the
/// original.
///
/// Only *business* times come from here. When work is due and how long a lease lasts is judged
/// by the database's clock, so that a replica with a wrong clock can neither steal nor keep one.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Microseconds since the Unix epoch.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stops until it is [advanced](Self::advance); clones share it.
    pub fn fixed(at: OffsetDateTime) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(micros(at)))))
    }

    /// The current time, truncated to microseconds.
    pub fn now(&self) -> OffsetDateTime {
        let micros = match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the door")]
            Source::System => micros(OffsetDateTime::now_utc()),
            Source::Fixed(at) => at.load(Ordering::SeqCst),
        };
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Moves a fixed clock forward; the system's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(at) = &self.0 {
            at.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}
