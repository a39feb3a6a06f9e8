//! When a failed event is retried, and when an endpoint that fails as a whole is tried again. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Shortest and longest time between two commits while requests are in flight.
const COMMIT_PAUSE: [Duration; 2] = [Duration::from_millis(50), SECOND];
/// The delays between attempts that Standard Webhooks recommends. The first attempt has no delay.
const RETRY_DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// A retry comes earlier or later by up to this fraction of its delay.
const JITTER: f64 = 0.2;
/// Longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = HOUR;
/// Longest delay between two tries of a failing endpoint: within the first hour, and later.
const LONGEST_TRY_DELAY: [Duration; 2] = [MINUTE, Duration::from_mins(10)];
/// How long an endpoint has to fail before the first warning.
const FIRST_WARNING: Duration = Duration::from_mins(10);
/// When the second warning comes if endpoints are never disabled.
const SECOND_WARNING: Duration = Duration::from_hours(60);

/// The delay before the next attempt, after `attempts` attempts. `None`: the schedule has ended.
/// `jitter` is in `[0, 1)`.
pub fn retry_delay(attempts: u32, jitter: f64) -> Option<Duration> {
    let delay = RETRY_DELAYS.get(usize::try_from(attempts.saturating_sub(1)).ok()?)?;
    Some(delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter))
}

/// The delay before the next try of an endpoint that has been failing for `failing_for`, after
/// `tries` tries since then. Jitter only shortens the delay, so the longest delay is never
/// exceeded.
pub fn try_delay(tries: u32, failing_for: Duration, jitter: f64) -> Duration {
    let longest = LONGEST_TRY_DELAY[usize::from(failing_for >= HOUR)];
    let delay = SECOND.saturating_mul(1 << tries.min(20)).min(longest);
    delay.mul_f64(1.0 - JITTER * jitter)
}

/// How long requests go on before the next commit, after one that took so long. Nothing is sent during
/// a commit, so a slow database would else hold up a receiver: in strict order every event would wait
/// for a commit.
pub fn commit_pause(took: Duration) -> Duration {
    let [shortest, longest] = COMMIT_PAUSE;
    took.clamp(shortest, longest)
}

/// The delay that a receiver requests: `Retry-After` in seconds or as a date (RFC 9110).
pub fn retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    let until = || {
        let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
        Some(Duration::try_from(date - now).unwrap_or(Duration::ZERO))
    };
    let wait = value.parse().ok().map(Duration::from_secs).or_else(until)?;
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// The consequence of a failed try of a failing endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The endpoint is tried again.
    TryAgain,
    /// The other endpoints get an event that it is failing.
    Warn,
    /// The endpoint is disabled.
    Disable,
}

/// Decides the consequence of another failed try, one step at a time. An endpoint is disabled only
/// after both warnings, even if it was not tried for a week.
pub fn consequence(
    failing_for: Duration,
    warnings: u32,
    disable_after: Option<Duration>,
) -> Consequence {
    let second = disable_after.map_or(SECOND_WARNING, |whole| whole / 2);
    match (warnings, disable_after) {
        (0, _) if failing_for >= FIRST_WARNING.min(second) => Consequence::Warn,
        (1, _) if failing_for >= second => Consequence::Warn,
        (2.., Some(whole)) if failing_for >= whole => Consequence::Disable,
        _ => Consequence::TryAgain,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn retries_follow_standard_webhooks_within_the_jitter() {
        let seconds: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (attempts, delay) in (1..).zip(seconds.map(Duration::from_secs)) {
            assert_eq!(retry_delay(attempts, 0.5), Some(delay));
            assert_eq!(retry_delay(attempts, 0.0), Some(delay.mul_f64(0.8)));
            assert!(retry_delay(attempts, 0.999_999) < Some(delay.mul_f64(1.2)));
        }
        assert_eq!(retry_delay(10, 0.5), None, "ten attempts, then a dead letter");
        assert_eq!(retry_delay(u32::MAX, 0.5), None);
    }

    #[test]
    fn slow_commits_leave_as_much_time_for_requests() {
        let after = |millis| commit_pause(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 49, 300, 5_000].map(after), [50, 50, 300, 1_000]);
    }

    #[test]
    fn failing_endpoint_is_tried_every_minute_and_later_every_ten_minutes() {
        let delays = |failing_for| (0..10).map(move |n| try_delay(n, failing_for, 0.0).as_secs());
        assert!(delays(MINUTE).eq([1, 2, 4, 8, 16, 32, 60, 60, 60, 60]));
        assert!(delays(HOUR).eq([1, 2, 4, 8, 16, 32, 64, 128, 256, 512]));
        assert_eq!(try_delay(u32::MAX, HOUR, 0.0), Duration::from_mins(10));
        assert!(try_delay(9, MINUTE, 0.99) >= Duration::from_secs(48));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let now = datetime!(2026-11-27 12:00 UTC);
        let wait = |value: &str| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait(" 7 "), Some(7));
        assert_eq!(wait("Fri, 27 Nov 2026 12:00:30 GMT"), Some(30));
        assert_eq!(wait("Fri, 27 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(wait("86400"), Some(3600));
        assert_eq!(wait("18446744073709551615"), Some(3600));
        for value in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(wait(value), None, "{value}");
        }
    }

    #[test]
    fn two_warnings_come_before_disabling() {
        let days = |n: u64| Duration::from_hours(24 * n);
        let five = Some(days(5));
        for (failing_for, warnings, limit, expected) in [
            (MINUTE * 9, 0, five, Consequence::TryAgain),
            (MINUTE * 10, 0, five, Consequence::Warn),
            (days(2), 1, five, Consequence::TryAgain),
            (Duration::from_hours(60), 1, five, Consequence::Warn),
            (days(4), 2, five, Consequence::TryAgain),
            (days(5), 2, five, Consequence::Disable),
            (days(9), 0, five, Consequence::Warn),
            (days(9), 1, five, Consequence::Warn),
            (days(900), 2, None, Consequence::TryAgain),
            (days(3), 1, None, Consequence::Warn),
        ] {
            assert_eq!(consequence(failing_for, warnings, limit), expected, "{failing_for:?}");
        }
    }
}
