//! `GET /v1/events`: the event log, read by its sequence. `?wait=` is a long poll; under
//! `Accept: text/event-stream` it is a stream (`events_stream.rs`).

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::Scope;
use super::event_body::EventBody;
use super::event_filters::{Kinds, SceneNames, filter, position};
use super::event_reader::{EventReader, Item};
use super::events_stream;
use super::held::{hold, wait_seconds};
use super::openapi::{LastEventId, refusals};
use super::problem::Problem;
use super::query_parameters::query_parameters;
use crate::store::Store;
use crate::store::events::Filter;

const MAX_LIMIT: i64 = 1000;
const DEFAULT_LIMIT: i64 = 100;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

query_parameters! {
    pub(super) struct EventsParameters {
        /// The last sequence that you have: `next_after` of the answer before. 0, the default, is the
        /// beginning.
        #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
        after: i64 = position,
        /// Maximum number of items.
        #[param(minimum = 1, maximum = 1000)]
        limit: i64 = limit,
        /// Only events of these types.
        #[param(inline, style = Form, explode = false)]
        types: Kinds = Kinds::parse,
        /// Only events of these scenes.
        #[param(inline, style = Form, explode = false)]
        biz_types: SceneNames = SceneNames::parse,
        /// Long poll: if there is no event yet, answers as soon as there is one, and after this many
        /// seconds in any case.
        #[param(minimum = 0, maximum = 60)]
        wait: u64 = wait_seconds,
    }
}

/// A part of the event log.
#[derive(Serialize, ToSchema)]
pub(super) struct EventsView {
    /// Each exactly as it is delivered to endpoints, byte for byte.
    #[schema(value_type = Vec<EventBody>)]
    items: Vec<Box<RawValue>>,
    /// The last sequence examined, filters included. Use it as the next `after` to miss nothing.
    next_after: i64,
    /// The newest sequence.
    head: i64,
    /// `sequence` begins with 1 in each epoch. Another one begins only after the database was
    /// restored: then read again from `after=0`.
    epoch: Uuid,
}

refusals!(EventsRefusals = [EventsExpired, TooManyWaits] + QUERY + API_KEY);

/// The event log: what was decided and what else changed, numbered without gaps. Under
/// `Accept: text/event-stream` the answer is a stream of server-sent events.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "list-events", tag = "events",
    params(EventsParameters, LastEventId),
    responses(
        (status = 200, content(
            (EventsView = "application/json"),
            (String = "text/event-stream"),
        ), description = "Events, oldest first"),
        EventsRefusals,
    ),
    security(("api-key" = ["events:read"])),
)]
pub async fn handler(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::EventsRead).await?;
    let parameters = EventsParameters::parse(query.as_deref())?;
    let after = last_event_id(&headers)?.or(parameters.after).unwrap_or(0);
    let filter = filter(&caller, parameters.types, parameters.biz_types);
    if accepts_stream(&headers) {
        let permit = api.long_polls.admit(caller.key_id)?;
        let reader = EventReader::open(&api.store, filter, after).await?;
        return events_stream::open(&api, headers, reader, permit).await;
    }
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    let wait = parameters.wait.map_or(Duration::ZERO, Duration::from_secs);
    let permit = (!wait.is_zero()).then(|| api.long_polls.admit(caller.key_id));
    let mut follower = permit.is_some().then(|| api.event_watch.follow());
    let mut reader = EventReader::open(&api.store, filter, after).await?;
    let mut items = reader.read(limit).await?;
    // Events that already exist are returned even when there are too many long polls.
    if let (true, Some(follower)) = (items.is_empty() && reader.is_at_end(), &mut follower) {
        let _permit = permit.transpose()?;
        let waiting = reader.wait(follower, limit);
        let waited = hold(&api, &headers, Scope::EventsRead, wait, waiting).await?;
        items = waited.transpose()?.unwrap_or_default();
    }
    Ok(Json(view(&reader, items)?).into_response())
}

fn view(reader: &EventReader, items: Vec<Item>) -> Result<EventsView, Problem> {
    let raw = |item: Item| RawValue::from_string(item.body).map_err(|_| Problem::internal());
    let items = items.into_iter().map(raw).collect::<Result<_, _>>()?;
    let (next_after, head, epoch) = (reader.next_after(), reader.head(), reader.epoch());
    Ok(EventsView { items, next_after, head, epoch })
}

/// The next events after this sequence, without a wait.
pub(super) async fn after(store: &Store, after: i64) -> Result<EventsView, Problem> {
    let mut reader = EventReader::open(store, Filter::default(), after).await?;
    let items = reader.read(DEFAULT_LIMIT).await?;
    view(&reader, items)
}

fn limit(text: &str) -> Result<i64, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or("must be a whole number from 1 to 1000")
}

/// Browsers send it when they resume a stream, with the parameters of the first request.
fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let read = position(value.to_str().unwrap_or_default());
    read.map(Some).map_err(|must_be| Problem::invalid_field().field("Last-Event-ID", must_be))
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}
