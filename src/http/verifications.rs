//! `GET /v1/verifications?biz_type=…&biz_id=…`: the verification of this pair, as a list of one
//! or none.

use axum::Json;
use axum::extract::{RawQuery, State};
use http::HeaderMap;

use super::Api;
use super::auth::Scope;
use super::parameters::Parameters;
use super::problem::Problem;
use super::view::{Page, VerificationView};
use crate::domain::callback::{BizId, BizType};

/// Largest page.
const MAX_LIMIT: u32 = 100;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Page<VerificationView>>, Problem> {
    api.keys.require(&headers, Scope::DecisionsRead).await?;
    let mut parameters = Parameters::parse(query.as_deref())?;
    let biz_type = parameters.take("biz_type");
    let biz_id = parameters.take("biz_id");
    let limit = parameters.take("limit");
    parameters.finish()?;
    if limit.is_some_and(|text| !matches!(text.parse(), Ok(1..=MAX_LIMIT))) {
        return Err(Problem::invalid_field().field("limit", "must be a whole number from 1 to 100"));
    }
    let (Some(biz_type), Some(biz_id)) = (&biz_type, &biz_id) else {
        let missing = [("biz_type", biz_type.is_none()), ("biz_id", biz_id.is_none())];
        let missing = missing.into_iter().filter(|(_, is_missing)| *is_missing);
        return Err(missing.fold(Problem::invalid_field(), |problem, (name, _)| {
            problem.field(name, "is required")
        }));
    };
    // A key that no callback could carry names nothing.
    let (Ok(biz_type), Ok(biz_id)) = (BizType::parse(biz_type), BizId::parse(biz_id)) else {
        return Ok(Json(Page::whole([])));
    };
    let found = api.store.find_by_key(&biz_type, &biz_id).await?;
    Ok(Json(Page::whole(found.map(VerificationView::from))))
}
