//! `GET /v1/verifications/{id}`: one verification with its current decision. `?wait=` is a long poll.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::HeaderMap;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag;
use super::held::{hold, wait_seconds};
use super::openapi::{IfNoneMatch, VerificationPath, refusals};
use super::problem::Problem;
use super::query_parameters::query_parameters;
use super::view::VerificationView;

query_parameters! {
    pub(super) struct WaitParameters {
        /// Long poll: answers as soon as the verification is decided, expired or failed, and after
        /// this many seconds in any case.
        #[param(minimum = 0, maximum = 60)]
        wait: u64 = wait_seconds,
    }
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
        let mut waiter = waiter?;
        hold(&api, &headers, Scope::DecisionsRead, wait, waiter.settled()).await?;
        found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    etag::respond(&headers, &VerificationView::from(found))
}
