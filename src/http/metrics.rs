//! `GET /metrics`: what this process has counted, and what it finds in the database.
//!
//! Everybody's scrapers, of all replicas, must not cost the database more than now and then a short
//! look. What was seen stays in the metrics until the next one. A database that is away or slow
//! takes nothing else from a scrape: the looks have little time, and those that fail are counted.

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
use crate::store;
use crate::store::accounts::Breaker;
use crate::store::looks::SourceBacklog;

/// Shortest distance of two looks by one process: a little less than that of usual scrapes.
const EVERY: Duration = Duration::from_secs(9);
/// For all looks of one scrape; scrapers wait for 10 s, and hang up.
const LIMIT: Duration = Duration::from_secs(2);
/// Looks may take this share of the time: one part in so many.
const SHARE: u32 = 25;

/// When this process looks again.
#[derive(Debug, Default)]
pub struct Looks {
    backlog: Pace,
    sources: Pace,
    failed: Pace,
    tasks: Pace,
}

/// Not before this; held by who is looking.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Looks, unless somebody did a moment ago, or does now.
    async fn look<T>(
        &self,
        name: &'static str,
        deadline: Instant,
        look: impl Future<Output = store::Result<T>>,
    ) -> Option<T> {
        let mut not_before = self.0.try_lock().ok()?;
        let began = Instant::now();
        if not_before.is_some_and(|at| began < at) {
            return None;
        }
        let seen = in_time(name, deadline, look).await;
        *not_before = Some(Instant::now() + rest(began.elapsed()));
        seen
    }
}

/// What was seen; `None`: nothing in time, which is counted.
async fn in_time<T>(
    name: &'static str,
    deadline: Instant,
    look: impl Future<Output = store::Result<T>>,
) -> Option<T> {
    let seen = timeout_at(deadline, look).await;
    let seen = seen.unwrap_or(Err(store::Error::Timeout(LIMIT)));
    if let Err(error) = &seen {
        counter!("verdict_metrics_queries_failed_total", "query" => name).increment(1);
        tracing::debug!(%error, query = name, "metrics query failed");
    }
    seen.ok()
}

/// After a look that took this long.
fn rest(took: Duration) -> Duration {
    EVERY.max(took * SHARE)
}

/// Prometheus text.
pub async fn handler(State(api): State<Api>) -> Response {
    let deadline = Instant::now() + LIMIT;
    connections(&api);
    // The cheap ones first: they are left out last.
    if let Some(breaker) = in_time("breaker", deadline, api.store.breaker(&api.account)).await {
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
    let look = api.looks.backlog.look("backlog", deadline, api.store.backlog());
    if let Some(backlog) = look.await {
        gauge!("verdict_queue_depth", "state" => "due").set(count(backlog.waiting));
        gauge!("verdict_queue_depth", "state" => "leased").set(count(backlog.leased));
        gauge!("verdict_oldest_due_seconds").set(backlog.oldest_seconds.max(0.0));
        gauge!("verdict_verifications", "state" => "pending").set(count(backlog.pending));
        gauge!("verdict_verifications", "state" => "unfinished").set(count(backlog.unfinished));
    }
    let look = api.looks.sources.look("sources", deadline, api.store.source_backlogs());
    if let Some(backlogs) = look.await {
        let mut due: BTreeMap<String, i64> =
            api.sources.names().into_iter().map(|name| (name, 0)).collect();
        // Removed from the configuration, or not known: a label may not be whatever a row says.
        due.insert("unknown".to_owned(), 0);
        for SourceBacklog { source, due: more } in backlogs {
            let name = if due.contains_key(&source) { source } else { "unknown".to_owned() };
            *due.entry(name).or_default() += more;
        }
        for (source, due) in due {
            gauge!("verdict_source_due", "source" => source).set(count(due));
        }
    }
    let look = api.looks.failed.look("failed", deadline, api.store.failed());
    if let Some(failed) = look.await {
        gauge!("verdict_verifications", "state" => "failed").set(count(failed));
    }
    let look = api.looks.tasks.look("tasks", deadline, api.store.task_backlog());
    if let Some(tasks) = look.await {
        gauge!("verdict_tasks", "kind" => "archive").set(count(tasks.archive));
        gauge!("verdict_tasks", "kind" => "delete-images").set(count(tasks.delete));
        gauge!("verdict_image_time_left_seconds").set(tasks.nearest_deadline.unwrap_or(f64::NAN));
    }
}

async fn vault_keys(api: &Api, deadline: Instant) {
    let Some(vault) = &api.vault else { return };
    let look = in_time("vault-keys", deadline, api.store.vault_keys_in_use());
    let Some(needed) = look.await else { return };
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
    async fn looks_are_as_rare_as_they_are_expensive() {
        let (pace, soon) = (Pace::default(), Instant::now() + LIMIT);
        assert_eq!(pace.look("test", soon, async { Ok(1) }).await, Some(1));
        assert_eq!(pace.look("test", soon, async { Ok(2) }).await, None, "a moment ago");
        assert_eq!(rest(Duration::from_millis(1)), EVERY);
        assert_eq!(rest(Duration::from_secs(1)), Duration::from_secs(25));
    }

    #[tokio::test]
    async fn while_one_looks_others_do_not_wait_for_it() {
        let (pace, soon) = (Pace::default(), Instant::now() + LIMIT);
        let first = pace.look("test", soon, std::future::pending::<store::Result<()>>());
        let others = async {
            assert!(pace.look("test", soon, async { Ok(()) }).await.is_none());
        };
        tokio::select! {
            biased;
            _ = first => unreachable!("it never ends"),
            () = others => {}
        }
    }

    #[tokio::test]
    async fn a_look_without_an_answer_ends_when_its_time_is_over_and_then_rests() {
        let pace = Pace::default();
        let never = std::future::pending::<store::Result<()>>();
        assert!(pace.look("test", Instant::now(), never).await.is_none());
        let soon = Instant::now() + LIMIT;
        assert!(pace.look("test", soon, async { Ok(()) }).await.is_none(), "a moment ago");
    }
}
