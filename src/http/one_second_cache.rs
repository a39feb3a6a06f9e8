//! A value that many callers ask for, read from the database at most once a second.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

const CACHE_TTL: Duration = Duration::from_secs(1);

/// One request at a time queries the database; the others wait for its result.
#[derive(Debug)]
pub struct OneSecondCache<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for OneSecondCache<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> OneSecondCache<T> {
    pub(super) async fn get(&self, read: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((at, value)) = &*last
            && at.elapsed() < CACHE_TTL
        {
            return value.clone();
        }
        let value = read.await;
        *last = Some((Instant::now(), value.clone()));
        value
    }

    /// Clears the cache after a change. Waits for a query that is running, which may not have seen
    /// the change.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn requests_within_a_second_query_once() {
        let cache = OneSecondCache::default();
        let queries = AtomicUsize::new(0);
        let query = || async {
            queries.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            true
        };
        let requests = (0..1000).map(|_| cache.get(query()));
        assert!(futures_util::future::join_all(requests).await.into_iter().all(|ready| ready));
        assert_eq!(queries.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn value_read_before_a_change_is_not_kept_after_it() {
        let cache = OneSecondCache::default();
        let stored = AtomicUsize::new(1);
        let read = async {
            let found = stored.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            found
        };
        let change = async {
            stored.store(2, Ordering::SeqCst);
            cache.forget().await;
        };
        let (found, ()) = tokio::join!(cache.get(read), change);
        assert_eq!(found, 1);
        assert_eq!(cache.get(async { stored.load(Ordering::SeqCst) }).await, 2);
    }
}
