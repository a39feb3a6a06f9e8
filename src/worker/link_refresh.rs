//! Expired links of images: when new ones are requested, and the wait for them.

use std::time::Duration;

use super::backoff::Backoff;
use super::context::Worker;
use crate::store::archiving::LinkRefresh;
use crate::store::tasks::Task;

/// The delay before each request for new links; after the last one, images are lost. The host of the
/// images may be down for hours; the provider keeps them for 180 days.
const REFRESH_AFTER: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
    Duration::from_hours(24),
    Duration::from_hours(24),
];
/// Time between two polls for refreshed links. While the provider is down, no task's poll succeeds,
/// so tasks poll less and less often.
const REFRESH_POLL: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(5));

/// What became of the request for new links.
pub(super) enum Refresh {
    /// The new result has a task of its own.
    Arrived,
    /// The verification is still being asked again.
    LookAgain(Duration),
    /// The provider gave none.
    Failed,
}

/// Looks whether the requested links have come.
pub(super) async fn poll(worker: &Worker, task: &Task) -> anyhow::Result<Refresh> {
    Ok(match worker.store.archiving().link_refresh(task).await? {
        LinkRefresh::Arrived => Refresh::Arrived,
        LinkRefresh::Pending => {
            Refresh::LookAgain(REFRESH_POLL.half_jitter(task.failures, worker.ids.fraction()))
        }
        LinkRefresh::Failed => Refresh::Failed,
    })
}

/// How long to wait before the next request, after that many. None is made once all have been.
pub(super) fn wait_before(requests: i32) -> Option<Duration> {
    let requests = usize::try_from(requests).unwrap_or(usize::MAX);
    REFRESH_AFTER.get(requests).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_for_refreshed_links_become_rare() {
        let times = |jitter| (0..40).map(move |polls| REFRESH_POLL.half_jitter(polls, jitter));
        let longest: Vec<u64> = times(1.0).map(|time| time.as_secs()).take(8).collect();
        assert_eq!(longest, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(times(0.0).zip(times(1.0)).all(|(least, most)| least * 2 == most));
        // Fifty thousand waiting tasks poll fewer than 350 times a second.
        assert!(50_000.0 / REFRESH_POLL.half_jitter(40, 0.0).as_secs_f64() < 350.0);
    }
}
