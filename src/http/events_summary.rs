//! `GET /v1/events/summary`: how many events a part of the log has, and a digest of their ids.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::Scope;
use super::event_filters::{Kinds, SceneNames, filter, sequence};
use super::openapi::refusals;
use super::problem::Problem;
use super::query_parameters::Parameters;
use crate::store::events::Filter;

/// Maximum number of sequences in one summary.
const MAX_RANGE: i64 = 1_000_000;
/// Ids read at once.
const PAGE: i64 = 10_000;
/// Such reads at a time in a process: callbacks need most of the connections to the database. A summary
/// waits for each of its pages anew, so that a long one does not hold up short ones.
static PAGES: Semaphore = Semaphore::const_new(2);

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SummaryParameters {
    /// The first sequence.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    from: i64,
    /// The last sequence; less than a million after the first.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    to: i64,
    /// Only events of these types.
    #[param(inline, style = Form, explode = false, required = false, value_type = Kinds)]
    types: Option<Kinds>,
    /// Only events of these scenes.
    #[param(inline, style = Form, explode = false, required = false, value_type = SceneNames)]
    biz_types: Option<SceneNames>,
}

impl SummaryParameters {
    fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = Parameters::of(query);
        let from = parameters.require("from", sequence);
        let to = parameters.require("to", sequence);
        let types = parameters.take("types", Kinds::parse);
        let biz_types = parameters.take("biz_types", SceneNames::parse);
        parameters.finish()?;
        let (from, to) = from.zip(to).ok_or_else(Problem::internal)?;
        if to < from || to - from >= MAX_RANGE {
            let must_be = "must not be before from, nor a million or more after it";
            return Err(Problem::invalid_field().field("to", must_be));
        }
        Ok(Self { from, to, types, biz_types })
    }
}

/// A receiver that has the same count and digest has every event.
#[derive(Serialize, ToSchema)]
pub(super) struct EventsSummaryView {
    #[schema(minimum = 0)]
    count: i64,
    /// In hex, over the events' ids in order of their sequence, each followed by a line feed.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// The epoch that the sequences are of.
    epoch: Uuid,
}

refusals!(SummaryRefusals = [EventsExpired] + QUERY + API_KEY);

/// Count and digest of the events of a range, both ends included, so that a receiver can prove that
/// it has them all.
#[utoipa::path(
    get, path = "/v1/events/summary", operation_id = "summarise-events", tag = "events",
    params(SummaryParameters),
    responses((status = 200, body = EventsSummaryView), SummaryRefusals),
    security(("api-key" = ["events:read"])),
)]
pub async fn handler(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::EventsRead).await?;
    let SummaryParameters { from, to, types, biz_types } =
        SummaryParameters::parse(query.as_deref())?;
    let filter = filter(&caller, types, biz_types);
    let epoch = api.store.events().epoch().await?;
    let number = |sequence: i64| epoch.after.saturating_add(sequence);
    let (count, sha256) = digest(&api, number(from), number(to), &filter).await?;
    // Only now: retention may have deleted events while they were counted.
    let (_, oldest) = api.store.events().ends().await?;
    let oldest = oldest - epoch.after;
    if from < oldest {
        return Err(Problem::events_expired().oldest(oldest));
    }
    Ok(Json(EventsSummaryView { count, sha256, epoch: epoch.epoch }).into_response())
}

async fn digest(
    api: &Api,
    first: i64,
    last: i64,
    filter: &Filter,
) -> Result<(i64, String), Problem> {
    let (mut count, mut digest, mut after) = (0, Sha256::new(), first - 1);
    loop {
        let ids = {
            let _permit = PAGES.acquire().await;
            api.store.events().ids(after, last, PAGE, filter).await?
        };
        for (number, id) in &ids {
            count += 1;
            digest.update(format!("{id}\n"));
            after = *number;
        }
        if i64::try_from(ids.len()).unwrap_or(i64::MAX) < PAGE {
            return Ok((count, hex::encode(digest.finalize())));
        }
    }
}
