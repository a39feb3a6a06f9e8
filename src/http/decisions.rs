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
use crate::domain::ids::VerificationId;
use crate::policies::cache::PolicyCache;
use crate::store::{self, Store};

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
    let page = page(&api.store, &api.policy_cache, id).await?;
    if page.items.is_empty() {
        api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    etag::respond(&headers, &page)
}

/// Empty also if there is no such verification.
pub(super) async fn page(
    store: &Store,
    policies: &PolicyCache,
    id: VerificationId,
) -> store::Result<Page<ExplainedDecisionView>> {
    let decisions = store.results().decisions_of(id).await?;
    let mut views = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let policy = policies.get(store, &decision.policy).await?;
        views.push(ExplainedDecisionView::new(decision, policy.as_deref()));
    }
    Ok(Page::whole(views))
}
