//! `GET /v1/verifications/{id}/decisions`: the history, oldest first, each with what its rules saw.

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag;
use super::openapi::{IfNoneMatch, VerificationPath, refusals};
use super::problem::Problem;
use super::view::{ExplainedDecisionView, Page};

refusals!(DecisionsRefusals = [NotFound] + API_KEY);

/// Every decision, oldest first, each with what its rules saw; the last one is current.
#[utoipa::path(get, path = "/v1/verifications/{id}/decisions", operation_id = "list-decisions", tag = "verifications",
    params(VerificationPath, IfNoneMatch),
    responses((status = 200, body = Page<ExplainedDecisionView>, headers(("ETag" = String))), (status = 304, description = "Not modified"), DecisionsRefusals),
    security(("api-key" = ["decisions:read"])))]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let decisions = api.store.results().decisions_of(id).await?;
    if decisions.is_empty() {
        api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    let mut views = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let policy = api.policy_cache.get(&api.store, &decision.policy).await?;
        views.push(ExplainedDecisionView::new(decision, policy.as_deref()));
    }
    etag::respond(&headers, &Page::whole(views))
}
