//! Requests that are held open until something changes: long polls and event streams.

use std::pin::pin;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};

use super::api::Api;
use super::api_key_auth::{KEY_CACHE_TTL, Scope};
use super::long_polls::TooManyWaits;
use super::problem::Problem;

/// Longest wait, in seconds: below the idle limits of common load balancers.
const MAX_WAIT_SECONDS: u64 = 60;
/// After too many of them.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The parameter `wait`.
pub(super) fn wait_seconds(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    seconds.ok_or("must be whole seconds from 0 to 60")
}

impl From<TooManyWaits> for Problem {
    fn from(TooManyWaits: TooManyWaits) -> Self {
        Self::too_many_waits().retry_after(RETRY_AFTER)
    }
}

/// Waits for a change; `None` if the time is over before, or the process stops. A key that is
/// revoked or expires meanwhile learns nothing more.
pub(super) async fn hold<T>(
    api: &Api,
    headers: &HeaderMap,
    scope: Scope,
    at_most: Duration,
    change: impl Future<Output = T>,
) -> Result<Option<T>, Problem> {
    tokio::select! {
        held = until_changed(api, headers, scope, at_most, change) => held,
        () = api.stop.cancelled() => Ok(None),
    }
}

async fn until_changed<T>(
    api: &Api,
    headers: &HeaderMap,
    scope: Scope,
    at_most: Duration,
    change: impl Future<Output = T>,
) -> Result<Option<T>, Problem> {
    let mut change = pin!(change);
    let end = Instant::now() + at_most;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let changed = tokio::time::timeout(left.min(KEY_CACHE_TTL), &mut change).await.ok();
        let over = changed.is_some() || left <= KEY_CACHE_TTL;
        match api.keys.require_still(headers, scope, KEY_CACHE_TTL).await {
            // A database that is unavailable for a moment does not end the wait.
            Err(problem) if problem.code().status() != StatusCode::SERVICE_UNAVAILABLE || over => {
                return Err(problem);
            }
            _ if over => return Ok(changed),
            _ => {}
        }
    }
}
