//! `GET /v1/verifications`: lists them, newest first.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use time::OffsetDateTime;
use utoipa::IntoParams;

use super::api::Api;
use super::auth::Scope;
use super::openapi::{IfNoneMatch, refusals};
use super::problem::Problem;
use super::query_parameters::{Parameters, WrongParameter};
use super::times::{MUST_BE_TIME, parse_time};
use super::view::{Page, VerificationView};
use super::{cursor, etag};
use crate::domain::callback::{BizId, BizType, MAX_REFERENCE_CHARS};
use crate::domain::scenes::Scenes;
use crate::domain::verification::State as Standing;
use crate::store::listing::Filter;
use policy::decision::Outcome;

const MAX_LIMIT: i64 = 100;
const DEFAULT_LIMIT: i64 = 50;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct ListParameters {
    /// Of this scene.
    #[param(required = false)]
    biz_type: String,
    /// With this id of the task.
    #[param(required = false)]
    biz_id: String,
    /// With this reference of yours.
    #[param(required = false)]
    reference: String,
    /// In this state.
    #[param(inline, required = false)]
    state: Standing,
    /// Whose current decision is this.
    #[param(inline, required = false)]
    outcome: Outcome,
    /// Created then or later.
    #[param(required = false)]
    created_after: OffsetDateTime,
    /// Created before then.
    #[param(required = false)]
    created_before: OffsetDateTime,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 100, required = false)]
    limit: i64,
    /// `next_cursor` of the previous page, with the same filters.
    #[param(required = false)]
    cursor: String,
}

/// A filter; or nothing can match it, because no callback could have had such a `biz_id`.
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
    let mut parameters = Parameters::parse(query.as_deref())?;
    let in_range = |text: &str| text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
    let limit = parameters.read("limit", in_range, "must be a whole number from 1 to 100")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = parameters.take("cursor");
    let narrowed = filter(&mut parameters)?.within(&caller.scenes);
    let wrong_cursor =
        parameters.wrong("cursor", "must be the next_cursor of a list with the same filters");
    parameters.finish()?;
    let Narrowed::To(filter) = narrowed else {
        return etag::respond(&headers, &Page::<VerificationView>::whole([]));
    };
    let before = match after {
        None => None,
        Some(text) => Some(cursor::read(&text, &filter).ok_or(wrong_cursor)?),
    };
    // One more row shows whether there are more.
    let mut found = api.store.listing().list(&filter, before, limit + 1).await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        found.pop();
    }
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| cursor::after(last.id, &filter));
    let items = found.into_iter().map(VerificationView::from).collect();
    etag::respond(&headers, &Page { items, next_cursor })
}

fn filter(parameters: &mut Parameters) -> Result<Narrowed, Problem> {
    let mut wrong = Vec::new();
    let state = parameters.read(
        "state",
        Standing::parse,
        "must be pending, unfinished, decided, expired, failed or erased",
    );
    let state = noted(&mut wrong, state);
    let outcome =
        parameters.read("outcome", Outcome::parse, "must be approve, retry, review or reject");
    let outcome = noted(&mut wrong, outcome);
    let mut time = |name| noted(&mut wrong, parameters.read(name, parse_time, MUST_BE_TIME));
    let (created_after, created_before) = (time("created_after"), time("created_before"));
    let reference = parameters.take("reference");
    if !wrong.is_empty() {
        return Err(WrongParameter::problem(wrong));
    }
    let (biz_type, biz_id) = (parameters.take("biz_type"), parameters.take("biz_id"));
    let biz_type = biz_type.map(|text| BizType::parse(&text)).transpose();
    let biz_id = biz_id.map(|text| BizId::parse(&text)).transpose();
    let (Ok(biz_type), Ok(biz_id)) = (biz_type, biz_id) else { return Ok(Narrowed::ToNothing) };
    let none_has =
        |text: &String| text.chars().count() > MAX_REFERENCE_CHARS || text.contains('\0');
    if reference.as_ref().is_some_and(none_has) {
        return Ok(Narrowed::ToNothing);
    }
    Ok(Narrowed::To(Filter {
        biz_type,
        biz_id,
        reference,
        state,
        outcome,
        created_after,
        created_before,
        error_code: None,
        scenes: None,
    }))
}

/// Collects what is invalid, so that one answer names all of it.
fn noted<T>(wrong: &mut Vec<WrongParameter>, read: Result<Option<T>, WrongParameter>) -> Option<T> {
    read.unwrap_or_else(|error| {
        wrong.push(error);
        None
    })
}
