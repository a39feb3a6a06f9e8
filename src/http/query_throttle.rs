//! How often the queries of a scrape run, and how long.

use std::future::Future;
use std::time::Duration;

use metrics::counter;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::periodic::Throttle;
use crate::store;

/// Between two runs of a query in one process: a little less than the usual scrape interval.
const INTERVAL: Throttle = Throttle::unlimited(Duration::from_secs(9));
/// For all queries of one scrape. Scrapers give up after 10 s.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// One for each expensive query.
#[derive(Debug, Default)]
pub struct QueryThrottles {
    pub(super) backlog: NextRun,
    pub(super) sources: NextRun,
    pub(super) failed: NextRun,
    pub(super) tasks: NextRun,
    pub(super) deliveries: NextRun,
    pub(super) cases: NextRun,
}

/// The earliest time of the next run. Locked while the query runs.
#[derive(Debug, Default)]
pub(super) struct NextRun(Mutex<Option<Instant>>);

impl NextRun {
    /// Runs the query, unless it ran a moment ago or is running.
    pub(super) async fn run<T>(
        &self,
        name: &'static str,
        deadline: Instant,
        query: impl Future<Output = store::Result<T>>,
    ) -> Option<T> {
        let mut not_before = self.0.try_lock().ok()?;
        let began = Instant::now();
        if not_before.is_some_and(|at| began < at) {
            return None;
        }
        let result = in_time(name, deadline, query).await;
        *not_before = Some(Instant::now() + INTERVAL.pause(began.elapsed()));
        result
    }
}

/// `None`: the query failed or timed out, which is counted.
pub(super) async fn in_time<T>(
    name: &'static str,
    deadline: Instant,
    query: impl Future<Output = store::Result<T>>,
) -> Option<T> {
    let result = timeout_at(deadline, query).await;
    let result = result.unwrap_or(Err(store::Error::Timeout(TIMEOUT)));
    if let Err(error) = &result {
        counter!("verdict_metrics_queries_failed_total", "query" => name).increment(1);
        tracing::debug!(%error, query = name, "metrics query failed");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn expensive_queries_run_less_often() {
        let (next_run, soon) = (NextRun::default(), Instant::now() + TIMEOUT);
        assert_eq!(next_run.run("test", soon, async { Ok(1) }).await, Some(1));
        assert_eq!(next_run.run("test", soon, async { Ok(2) }).await, None, "a moment ago");
    }

    #[tokio::test]
    async fn scrapes_do_not_wait_for_a_running_query() {
        let (next_run, soon) = (NextRun::default(), Instant::now() + TIMEOUT);
        let first = next_run.run("test", soon, std::future::pending::<store::Result<()>>());
        let others = async {
            assert!(next_run.run("test", soon, async { Ok(()) }).await.is_none());
        };
        tokio::select! {
            biased;
            _ = first => unreachable!("it never ends"),
            () = others => {}
        }
    }

    #[tokio::test]
    async fn query_times_out_and_is_throttled_afterwards() {
        let next_run = NextRun::default();
        let never = std::future::pending::<store::Result<()>>();
        assert!(next_run.run("test", Instant::now(), never).await.is_none());
        let soon = Instant::now() + TIMEOUT;
        assert!(next_run.run("test", soon, async { Ok(()) }).await.is_none(), "a moment ago");
    }
}
