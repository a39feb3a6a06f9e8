//! `GET /v1/verifications/{id}/results`: every answer of the provider, oldest first, without
//! personal data.

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;

use super::Api;
use super::auth::Scope;
use super::problem::Problem;
use super::view::{Page, ResultView};
use crate::domain::ids::VerificationId;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Page<ResultView>>, Problem> {
    api.keys.require(&headers, Scope::ResultsRead).await?;
    let id: VerificationId = id.parse().map_err(|_| Problem::not_found())?;
    let results = api.store.results_of(id).await?;
    if results.is_empty() {
        api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    Ok(Json(Page::whole(results.into_iter().map(ResultView::from))))
}
