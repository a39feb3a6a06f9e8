//! `GET /v1/verifications/{id}`: one verification with its standing decision; `?wait=` holds the
//! request until it is settled.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::HeaderMap;

use super::Api;
use super::auth::Scope;
use super::parameters::Parameters;
use super::problem::Problem;
use super::view::VerificationView;
use crate::domain::ids::VerificationId;

/// Longest wait, in seconds: below the idle limits of common load balancers.
const MAX_WAIT_SECONDS: u64 = 60;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<VerificationView>, Problem> {
    api.keys.require(&headers, Scope::DecisionsRead).await?;
    let mut parameters = Parameters::parse(query.as_deref())?;
    let wait = parameters.take("wait");
    parameters.finish()?;
    let wait = match wait {
        None => Duration::ZERO,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| *seconds <= MAX_WAIT_SECONDS)
            .map(Duration::from_secs)
            .ok_or_else(|| {
                Problem::invalid_field().field("wait", "must be whole seconds from 0 to 60")
            })?,
    };
    let id: VerificationId = id.parse().map_err(|_| Problem::not_found())?;

    let mut waiter = (!wait.is_zero()).then(|| api.waiting.enter(id));
    let mut found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    if let Some(waiter) = waiter.as_mut().filter(|_| !found.state.is_settled()) {
        tokio::select! {
            () = waiter.wait(wait) => {}
            // A stop answers with what there is.
            () = api.stop.cancelled() => {}
        }
        found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    Ok(Json(found.into()))
}
