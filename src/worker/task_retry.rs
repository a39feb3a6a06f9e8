//! Counts and reschedules a follow-up task that failed as a whole.

use std::time::Duration;

use super::backoff::Backoff;
use crate::store::tasks::Work;

const SHORTEST: Duration = Duration::from_millis(62);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_mins(1));

/// How long until the next try, after so many failures before this one.
pub fn retry_delay(failures: i32, jitter: f64) -> Duration {
    BACKOFF.full_jitter(failures, jitter).max(SHORTEST)
}

/// Counts a try that failed for a reason of ours.
pub fn count_failure(work: &Work) {
    metrics::counter!("verdict_task_failures_total", "kind" => work.kind()).increment(1);
}
