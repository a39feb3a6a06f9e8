//! `GET /v1/verifications/{id}`: one verification with its current decision. `?wait=` is a long poll.

use std::time::{Duration, Instant};

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::api::Api;
use super::auth::{KEY_CACHE_TTL, Scope};
use super::etag;
use super::long_polls::{TooManyWaits, Waiter};
use super::openapi::{IfNoneMatch, VerificationPath, refusals};
use super::problem::Problem;
use super::query_parameters::query_parameters;
use super::view::VerificationView;

/// Longest wait, in seconds: below the idle limits of common load balancers.
const MAX_WAIT_SECONDS: u64 = 60;
/// After too many long polls.
const RETRY_AFTER: Duration = Duration::from_secs(1);

query_parameters! {
    pub(super) struct WaitParameters {
        /// Long poll: answers as soon as the verification is decided, expired or failed, and after
        /// this many seconds in any case.
        #[param(minimum = 0, maximum = 60)]
        wait: u64 = seconds,
    }
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    seconds.ok_or("must be whole seconds from 0 to 60")
}

refusals!(GetRefusals = [NotFound, TooManyWaits] + QUERY + API_KEY);

/// One verification with its current decision.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", operation_id = "get-verification", tag = "verifications",
    params(VerificationPath, WaitParameters, IfNoneMatch),
    responses(
        (status = 200, body = VerificationView, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        GetRefusals,
    ),
    security(("api-key" = ["decisions:read"])),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let parameters = WaitParameters::parse(query.as_deref())?;
    let wait = parameters.wait.map_or(Duration::ZERO, Duration::from_secs);
    let id = api.visible_verification(&caller, &id).await?;

    let waiter = (!wait.is_zero()).then(|| api.long_polls.enter(id, caller.key_id));
    let mut found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    // A settled verification is answered even when there are too many long polls.
    if let Some(waiter) = waiter.filter(|_| !found.state.is_settled()) {
        let mut waiter =
            waiter.map_err(|TooManyWaits| Problem::too_many_waits().retry_after(RETRY_AFTER))?;
        tokio::select! {
            ended = wait_for_change(&api, &mut waiter, wait, &headers) => ended?,
            // A stopping process answers with the present state.
            () = api.stop.cancelled() => {}
        }
        found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    etag::respond(&headers, &VerificationView::from(found))
}

/// Waits until the verification settles or the time is over. A key that is revoked or expires
/// meanwhile learns nothing more.
async fn wait_for_change(
    api: &Api,
    waiter: &mut Waiter,
    at_most: Duration,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let end = Instant::now() + at_most;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let over = waiter.wait(left.min(KEY_CACHE_TTL)).await || left <= KEY_CACHE_TTL;
        let still = api.keys.require_still(headers, Scope::DecisionsRead, KEY_CACHE_TTL).await;
        match still {
            // A database that is unavailable for a moment does not end the wait.
            Err(problem) if problem.code().status() != StatusCode::SERVICE_UNAVAILABLE || over => {
                return Err(problem);
            }
            _ if over => return Ok(()),
            _ => {}
        }
    }
}
