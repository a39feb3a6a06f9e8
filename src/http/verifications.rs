//! `GET /v1/verifications`: lists them, newest first.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use time::OffsetDateTime;

use super::api::Api;
use super::api_key_auth::Scope;
use super::cursor::{self, Cursor};
use super::etag;
use super::openapi::{IfNoneMatch, refusals};
use super::problem::Problem;
use super::query_parameters::{any_text, page_limit, query_parameters};
use super::read_error::ReadError;
use super::times::time;
use super::view::{Page, VerificationView};
use crate::domain::callback::{BizId, BizType, CertifyId, MAX_REFERENCE_CHARS, parse_product};
use crate::domain::scenes::Scenes;
use crate::domain::verification::State as Standing;
use crate::store::Store;
use crate::store::listing::Filter;
use policy::decision::Outcome;
use policy::product::Product;

const DEFAULT_LIMIT: i64 = 50;
const MUST_BE_STATE: &str = "must be pending, unfinished, decided, expired, failed or erased";

query_parameters! {
    pub(super) struct ListParameters {
        /// Of this scene.
        biz_type: String = any_text,
        /// With this id of the task.
        biz_id: String = any_text,
        /// Of this product.
        #[param(inline)]
        product: Product = parse_product,
        /// With this `certify_id`: at most one.
        certify_id: String = any_text,
        /// With this reference of yours.
        reference: String = any_text,
        /// In this state.
        #[param(inline)]
        state: Standing = |text| Standing::parse(text).ok_or(MUST_BE_STATE),
        /// Only verifications whose current decision has this outcome.
        #[param(inline)]
        outcome: Outcome =
            |text| Outcome::parse(text).ok_or("must be approve, retry, review or reject"),
        /// Created then or later.
        created_after: OffsetDateTime = time,
        /// Created before then.
        created_before: OffsetDateTime = time,
        /// Maximum number of items.
        #[param(minimum = 1, maximum = 100)]
        limit: i64 = page_limit,
        /// `next_cursor` of the previous page, with the same filters.
        #[param(inline)]
        cursor: Cursor = Cursor::parse,
    }
}

/// A filter; or nothing can match it, because no callback could have had such an id.
pub(super) enum Narrowed {
    To(Filter),
    ToNothing,
}

impl Narrowed {
    fn within(self, scenes: &Scenes) -> Self {
        let Self::To(mut filter) = self else { return self };
        match filter.biz_type.as_ref().map(|scene| scenes.include(scene)) {
            Some(false) => return Self::ToNothing,
            Some(true) => {}
            None => filter.scenes = scenes.limit(),
        }
        Self::To(filter)
    }
}

refusals!(ListRefusals = [] + QUERY + API_KEY);

/// Lists verifications, newest first. Follow `next_cursor` until it is `null`. Paging is stable: new
/// rows never shift results.
#[utoipa::path(
    get, path = "/v1/verifications", operation_id = "list-verifications", tag = "verifications",
    params(ListParameters, IfNoneMatch),
    responses(
        (status = 200, body = Page<VerificationView>, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        ListRefusals,
    ),
    security(("api-key" = ["decisions:read"])),
)]
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let page = page(&api.store, &caller.scenes, query.as_deref()).await?;
    etag::respond(&headers, &page)
}

/// The page that a query asks for.
pub(super) async fn page(
    store: &Store,
    scenes: &Scenes,
    query: Option<&str>,
) -> Result<Page<VerificationView>, ReadError> {
    let parameters = ListParameters::parse(query)?;
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    let cursor = parameters.cursor;
    let Narrowed::To(filter) = narrow(parameters).within(scenes) else {
        return Ok(Page::whole([]));
    };
    let before = match cursor {
        None => None,
        Some(cursor) => Some(cursor.with(&filter).ok_or_else(|| {
            Problem::invalid_field().field("cursor", cursor::MUST_BE_OF_THIS_LIST)
        })?),
    };
    // One more row shows whether there are more.
    let mut found = store.listing().list(&filter, before, limit + 1).await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        found.pop();
    }
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| cursor::after(last.id, &filter));
    let items = found.into_iter().map(VerificationView::from).collect();
    Ok(Page { items, next_cursor })
}

fn narrow(parameters: ListParameters) -> Narrowed {
    let biz_type = parameters.biz_type.map(|text| BizType::parse(&text)).transpose();
    let biz_id = parameters.biz_id.map(|text| BizId::parse(&text)).transpose();
    let certify_id = parameters.certify_id.map(|text| CertifyId::parse(&text)).transpose();
    let (Ok(biz_type), Ok(biz_id), Ok(certify_id)) = (biz_type, biz_id, certify_id) else {
        return Narrowed::ToNothing;
    };
    let none_has =
        |text: &String| text.chars().count() > MAX_REFERENCE_CHARS || text.contains('\0');
    if parameters.reference.as_ref().is_some_and(none_has) {
        return Narrowed::ToNothing;
    }
    Narrowed::To(Filter {
        biz_type,
        biz_id,
        reference: parameters.reference,
        state: parameters.state,
        outcome: parameters.outcome,
        created_after: parameters.created_after,
        created_before: parameters.created_before,
        error_code: None,
        scenes: None,
        product: parameters.product,
        certify_id,
    })
}
