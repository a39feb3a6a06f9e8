//! `GET /v1/verifications/{id}/decisions`: the history, oldest first, each with what its rules saw.

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;

use super::Api;
use super::auth::Scope;
use super::problem::Problem;
use super::view::{ExplainedDecisionView, Page};
use crate::domain::ids::VerificationId;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Page<ExplainedDecisionView>>, Problem> {
    api.keys.require(&headers, Scope::DecisionsRead).await?;
    let id: VerificationId = id.parse().map_err(|_| Problem::not_found())?;
    let decisions = api.store.decisions_of(id).await?;
    if decisions.is_empty() {
        api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    let mut views = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let policy = api.texts.policy(&api.store, &decision.policy).await?;
        views.push(ExplainedDecisionView::new(decision, policy.as_deref()));
    }
    Ok(Json(Page::whole(views)))
}
