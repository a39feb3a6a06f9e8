//! Work that a process repeats for as long as it runs: one loop for all of it, with jitter.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::Ids;

/// Work that comes in rounds.
pub trait Periodic: Send {
    /// One round. Answers how long to pause at most until the next.
    fn round(&mut self) -> impl Future<Output = Duration> + Send;

    /// Ends a pause early by returning. It is dropped when the pause ends by itself.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Repeats the work until the caller drops it. The first round begins at once.
pub async fn repeat(ids: &Ids, mut work: impl Periodic) {
    loop {
        let pause = jittered(ids, work.round().await);
        let _ = tokio::time::timeout(pause, work.woken()).await;
    }
}

/// Keeps a distance between queries that signals cause. The first one after a pause is not delayed.
#[derive(Debug)]
pub struct Spacing {
    distance: Duration,
    last: Option<Instant>,
}

impl Spacing {
    pub const fn new(distance: Duration) -> Self {
        Self { distance, last: None }
    }

    /// The next distance begins now.
    pub fn begin(&mut self) {
        self.last = Some(Instant::now());
    }

    /// Waits for the end of the distance.
    pub async fn end(&self) {
        let left = self.left_at(Instant::now());
        // A sleep of zero would end with the timer's next millisecond.
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    fn left_at(&self, now: Instant) -> Duration {
        let passed = self.last.map(|last| now.saturating_duration_since(last));
        passed.map_or(Duration::ZERO, |passed| self.distance.saturating_sub(passed))
    }
}

/// Up to a quarter less, so that processes which began together do not keep step. Never more: a
/// pause is an upper bound that others rely on.
pub fn jittered(ids: &Ids, pause: Duration) -> Duration {
    pause.saturating_sub((pause / 4).mul_f64(ids.fraction()))
}

/// Keeps background reads to a share of the time, however slow the database is.
///
/// The longest pause matters where a silent network makes a cheap read long: it must not delay the
/// next one much.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    pub shortest: Duration,
    pub longest: Duration,
}

/// Between its bounds, a throttled read may take this share of the time: one part in so many.
const SHARE: u32 = 25;

impl Throttle {
    pub const fn millis(shortest: u64, longest: u64) -> Self {
        Self { shortest: Duration::from_millis(shortest), longest: Duration::from_millis(longest) }
    }

    /// However long a read takes, the pause after it is in proportion.
    pub const fn unlimited(shortest: Duration) -> Self {
        Self { shortest, longest: Duration::MAX }
    }

    /// The pause after a read that took so long.
    pub fn pause(self, took: Duration) -> Duration {
        took.saturating_mul(SHARE).clamp(self.shortest, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// Pauses shortly before its last round, and then until woken.
    struct Rounds {
        short_pauses: u32,
        begun: mpsc::UnboundedSender<()>,
        wake: mpsc::UnboundedReceiver<()>,
    }

    impl Periodic for Rounds {
        async fn round(&mut self) -> Duration {
            self.begun.send(()).unwrap();
            let next = self.short_pauses.checked_sub(1);
            self.short_pauses = next.unwrap_or(0);
            next.map_or(HOUR, |_| Duration::from_millis(1))
        }

        async fn woken(&mut self) {
            self.wake.recv().await.unwrap();
        }
    }

    #[tokio::test]
    async fn rounds_repeat_after_a_pause_or_a_wake_up() {
        let (begun, mut rounds) = mpsc::unbounded_channel();
        let (wake, woken) = mpsc::unbounded_channel();
        let ids = Ids::counted(1);
        let work = Rounds { short_pauses: 3, begun, wake: woken };
        let running = tokio::spawn(async move { repeat(&ids, work).await });
        for _ in 0..4 {
            rounds.recv().await.unwrap();
        }
        assert!(rounds.try_recv().is_err());
        wake.send(()).unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(30), rounds.recv()).await;
        assert_eq!(woken, Ok(Some(())));
        running.abort();
    }

    #[test]
    fn jitter_spreads_pauses_and_never_lengthens_one() {
        let ids = Ids::counted(1);
        for pause in [Duration::ZERO, HOUR, Duration::MAX] {
            let mut pauses: Vec<Duration> = (0..20).map(|_| jittered(&ids, pause)).collect();
            assert!(pauses.iter().all(|p| *p <= pause && *p >= pause / 4 * 3), "{pauses:?}");
            pauses.sort_unstable();
            pauses.dedup();
            assert_eq!(pauses.len(), if pause.is_zero() { 1 } else { 20 });
        }
    }

    #[test]
    fn spacing_delays_only_what_follows_closely() {
        let distance = Duration::from_millis(2);
        let mut spacing = Spacing::new(distance);
        assert_eq!(spacing.left_at(Instant::now()), Duration::ZERO);
        spacing.begin();
        let last = spacing.last.unwrap();
        let half = distance / 2;
        for (passed, left) in [
            (Duration::ZERO, distance),
            (half, half),
            (distance, Duration::ZERO),
            (HOUR, Duration::ZERO),
        ] {
            assert_eq!(spacing.left_at(last + passed), left);
        }
    }

    #[test]
    fn slow_reads_come_less_often_within_bounds() {
        let throttle = Throttle::millis(40, 400);
        for (took, pause) in [(0, 40), (4, 100), (3000, 400)] {
            assert_eq!(throttle.pause(Duration::from_millis(took)), Duration::from_millis(pause));
        }
    }
}
