//! `GET /v1/verifications/{id}/results`: every result of the provider, oldest first, without personal
//! data.

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag;
use super::openapi::{IfNoneMatch, VerificationPath, refusals};
use super::problem::Problem;
use super::result_view::ResultView;
use super::view::Page;

refusals!(ResultsRefusals = [NotFound] + API_KEY);

/// Every result of the provider, oldest first, without personal data.
#[utoipa::path(get, path = "/v1/verifications/{id}/results", operation_id = "list-results", tag = "verifications",
    params(VerificationPath, IfNoneMatch),
    responses((status = 200, body = Page<ResultView>, headers(("ETag" = String))), (status = 304, description = "Not modified"), ResultsRefusals),
    security(("api-key" = ["results:read"])))]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ResultsRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let of = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    let results = api.store.results().results_of(id).await?.into_iter();
    let items = results.map(|result| ResultView::new(result, of.product));
    etag::respond(&headers, &Page::whole(items))
}
