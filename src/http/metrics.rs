//! `GET /metrics`: the counters of this process, and gauges of the database.
//!
//! All scrapers of all replicas together must cost the database little, so the queries are throttled.
//! Gauges keep their values until the next query. A slow or unavailable database does not fail a
//! scrape: the queries have a deadline, and failed ones are counted.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use metrics::{counter, gauge};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Api;
use crate::periodic::Throttle;
use crate::store;
use crate::store::accounts::Breaker;
use crate::store::metrics_queries::SourceBacklog;

/// Between two runs of a query in one process: a little less than the usual scrape interval.
const INTERVAL: Throttle = Throttle::unlimited(Duration::from_secs(9));
/// For all queries of one scrape. Scrapers give up after 10 s.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One for each expensive query.
#[derive(Debug, Default)]
pub struct QueryThrottles {
    backlog: NextRun,
    sources: NextRun,
    failed: NextRun,
    tasks: NextRun,
}

/// The earliest time of the next run. Locked while the query runs.
#[derive(Debug, Default)]
struct NextRun(Mutex<Option<Instant>>);

impl NextRun {
    /// Runs the query, unless it ran a moment ago or is running.
    async fn run<T>(
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
async fn in_time<T>(
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

/// Prometheus text.
pub async fn handler(State(api): State<Api>) -> Response {
    let deadline = Instant::now() + TIMEOUT;
    connections(&api);
    // The cheap queries first, so that a slow one does not time them out.
    if let Some(breaker) =
        in_time("breaker", deadline, api.store.accounts().breaker(&api.account)).await
    {
        for why in [Breaker::Credentials, Breaker::Clock, Breaker::Outage] {
            gauge!("verdict_breaker_open", "cause" => why.as_str()).set(u8::from(breaker == why));
        }
    }
    vault_keys(&api, deadline).await;
    work(&api, deadline).await;
    let text = (api.render_metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn connections(api: &Api) {
    let (open, idle) = api.store.connections();
    let idle = u32::try_from(idle).unwrap_or(u32::MAX);
    gauge!("verdict_database_connections", "state" => "idle").set(idle);
    gauge!("verdict_database_connections", "state" => "busy").set(open.saturating_sub(idle));
    gauge!("verdict_database_connections_max").set(api.store.max_connections());
    gauge!("verdict_database_tls_info", "sslmode" => api.store.protection().as_str()).set(1);
}

async fn work(api: &Api, deadline: Instant) {
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let query =
        api.query_throttles.backlog.run("backlog", deadline, api.store.metrics_queries().backlog());
    if let Some(backlog) = query.await {
        gauge!("verdict_queue_depth", "state" => "due").set(count(backlog.waiting));
        gauge!("verdict_queue_depth", "state" => "leased").set(count(backlog.leased));
        gauge!("verdict_oldest_due_seconds").set(backlog.oldest_seconds.max(0.0));
        gauge!("verdict_verifications", "state" => "pending").set(count(backlog.pending));
        gauge!("verdict_verifications", "state" => "unfinished").set(count(backlog.unfinished));
    }
    let query = api.query_throttles.sources.run(
        "sources",
        deadline,
        api.store.metrics_queries().source_backlogs(),
    );
    if let Some(backlogs) = query.await {
        let mut due: BTreeMap<String, i64> =
            api.sources.names().into_iter().map(|name| (name, 0)).collect();
        // Labels are a closed list: sources that are not configured count together.
        due.insert("unknown".to_owned(), 0);
        for SourceBacklog { source, due: more } in backlogs {
            let name = if due.contains_key(&source) { source } else { "unknown".to_owned() };
            *due.entry(name).or_default() += more;
        }
        for (source, due) in due {
            gauge!("verdict_source_due", "source" => source).set(count(due));
        }
    }
    let query =
        api.query_throttles.failed.run("failed", deadline, api.store.metrics_queries().failed());
    if let Some(failed) = query.await {
        gauge!("verdict_verifications", "state" => "failed").set(count(failed));
    }
    let query = api.query_throttles.tasks.run(
        "tasks",
        deadline,
        api.store.metrics_queries().task_backlog(),
    );
    if let Some(tasks) = query.await {
        gauge!("verdict_tasks", "kind" => "archive").set(count(tasks.archive));
        gauge!("verdict_tasks", "kind" => "delete-images").set(count(tasks.delete));
        gauge!("verdict_image_time_left_seconds").set(tasks.nearest_deadline.unwrap_or(f64::NAN));
    }
}

async fn vault_keys(api: &Api, deadline: Instant) {
    let Some(vault) = &api.vault else { return };
    let query = in_time("vault-keys", deadline, api.store.vault_keys().vault_keys_in_use());
    let Some(needed) = query.await else { return };
    for key_id in vault.ring().ids() {
        let needs = u8::from(needed.iter().any(|id| id == key_id));
        gauge!("verdict_vault_key_needed", "key_id" => key_id.to_owned(), "configured" => "yes")
            .set(needs);
    }
    for key_id in needed.into_iter().filter(|id| !vault.ring().has(id)) {
        gauge!("verdict_vault_key_needed", "key_id" => key_id, "configured" => "no").set(1);
    }
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
