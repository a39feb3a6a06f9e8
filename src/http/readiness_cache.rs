//! The public listener's last readiness.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// The public listener queries the database no more often than this.
const CACHE_TTL: Duration = Duration::from_secs(1);

/// One request at a time queries the database; the others wait
/// for its result.
#[derive(Debug, Default)]
pub struct ReadinessCache(Mutex<Option<(Instant, bool)>>);

impl ReadinessCache {
    pub(super) async fn get(&self, look: impl Future<Output = bool>) -> bool {
        let mut last = self.0.lock().await;
        if let Some((_, ready)) = last.filter(|(at, _)| at.elapsed() < CACHE_TTL) {
            return ready;
        }
        let ready = look.await;
        *last = Some((Instant::now(), ready));
        ready
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn requests_within_a_second_query_once() {
        let cache = ReadinessCache::default();
        let looks = AtomicUsize::new(0);
        let look = || async {
            looks.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            true
        };
        let requests = (0..1000).map(|_| cache.get(look()));
        assert!(futures_util::future::join_all(requests).await.into_iter().all(|ready| ready));
        assert_eq!(looks.load(Ordering::SeqCst), 1);
    }
}
