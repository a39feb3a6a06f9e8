//! `GET /v1/verifications/{id}`: one verification with its standing decision; `?wait=` holds the
//! request until it is settled.

use std::time::{Duration, Instant};

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use utoipa::IntoParams;

use super::Api;
use super::auth::{KEY_CACHE_TTL, Scope};
use super::conditional;
use super::openapi::{IfNoneMatch, VerificationPath};
use super::parameters::Parameters;
use super::problem::Problem;
use super::view::VerificationView;
use super::waiting::{TooMany, Waiter};

/// Longest wait, in seconds: below the idle limits of common load balancers.
const MAX_WAIT_SECONDS: u64 = 60;
/// For a caller without a place to wait in.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct Wait {
    /// Seconds to wait for it to settle: it answers as soon as it is decided, expired or failed,
    /// or with what there is when the time is over.
    #[param(minimum = 0, maximum = 60, required = false)]
    wait: u64,
}

/// One verification with its standing decision.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", operation_id = "get-verification", tag = "verifications",
    params(VerificationPath, Wait, IfNoneMatch),
    responses(
        (status = 200, body = VerificationView, headers(("ETag" = String))),
        (status = 304, description = "As it was"),
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
    let mut parameters = Parameters::parse(query.as_deref())?;
    let in_range = |text: &str| text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    let wait = parameters.read("wait", in_range, "must be whole seconds from 0 to 60");
    parameters.finish()?;
    let wait = wait?.map_or(Duration::ZERO, Duration::from_secs);
    let id = api.reached(&caller, &id).await?;

    let place = (!wait.is_zero()).then(|| api.waiting.enter(id, caller.key_id));
    let mut found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    // Without a place, what has settled is still answered.
    if let Some(place) = place.filter(|_| !found.state.is_settled()) {
        let mut waiter =
            place.map_err(|TooMany| Problem::too_many_waits().retry_after(RETRY_AFTER))?;
        tokio::select! {
            ended = wait_for_change(&api, &mut waiter, wait, &headers) => ended?,
            // A stop answers with what there is.
            () = api.stop.cancelled() => {}
        }
        found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    conditional::answer(&headers, &VerificationView::from(found))
}

/// Waits until the verification settles or the time is over, as long as the key works: one that is
/// revoked or expires meanwhile learns nothing more.
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
            // A database that is away for a moment ends no wait.
            Err(problem) if problem.status() != 503 || over => return Err(problem),
            _ if over => return Ok(()),
            _ => {}
        }
    }
}
