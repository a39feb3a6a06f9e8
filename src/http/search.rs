//! `GET /v1/search`: verifications by whatever names them.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use utoipa::IntoParams;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag;
use super::openapi::{IfNoneMatch, refusals};
use super::problem::Problem;
use super::query_parameters::Parameters;
use super::view::{Page, VerificationView};
use crate::domain::event::EventId;
use crate::domain::scenes::Scenes;
use crate::domain::verification::Verification;
use crate::store::{self, Store};

/// No id is longer.
const MAX_CHARS: usize = 256;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParameters {
    /// The whole text: an id of Verdict's (of a verification, a result, a decision, a review or an
    /// event), a `biz_id`, a `certify_id`, a reference, or the id of a callback's message.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00]*$")]
    text: String,
}

impl SearchParameters {
    fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = Parameters::of(query);
        let text = parameters.require("text", searched);
        parameters.finish()?;
        Ok(Self { text: text.ok_or_else(Problem::internal)? })
    }
}

fn searched(text: &str) -> Result<String, &'static str> {
    let fits = (1..=MAX_CHARS).contains(&text.chars().count()) && !text.contains('\0');
    fits.then(|| text.to_owned()).ok_or("must be 1 to 256 characters without NUL")
}

refusals!(SearchRefusals = [] + QUERY + API_KEY);

/// Finds verifications by an id, a `biz_id`, a `certify_id`, a reference or the id of a callback's
/// message. The newest first, at most 50.
#[utoipa::path(
    get, path = "/v1/search", operation_id = "search-verifications", tag = "verifications",
    params(SearchParameters, IfNoneMatch),
    responses(
        (status = 200, body = Page<VerificationView>, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        SearchRefusals,
    ),
    security(("api-key" = ["decisions:read"])),
)]
pub(super) async fn handler(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let SearchParameters { text } = SearchParameters::parse(query.as_deref())?;
    let found = find(&api.store, &caller.scenes, &api.sources.names(), &text).await?;
    etag::respond(&headers, &page(found))
}

pub(super) fn page(found: Vec<Verification>) -> Page<VerificationView> {
    Page::whole(found.into_iter().map(VerificationView::from))
}

/// The verifications that this text names, of these scenes. Messages are those of these sources.
pub async fn find(
    store: &Store,
    scenes: &Scenes,
    sources: &[String],
    text: &str,
) -> store::Result<Vec<Verification>> {
    let Ok(text) = searched(text) else { return Ok(Vec::new()) };
    let id: Option<Uuid> =
        text.parse().ok().or_else(|| text.parse::<EventId>().ok().map(|event| event.0));
    let mut ids = match id {
        Some(id) => store.search().by_id(id).await?,
        None => Vec::new(),
    };
    if ids.is_empty() {
        ids = store.search().by_text(&text, sources).await?;
    }
    let mut all = Vec::with_capacity(ids.len());
    for found in store.verifications().find_all(&ids).await? {
        all.extend(found?.filter(|found| scenes.include(&found.biz_type)));
    }
    Ok(all)
}
