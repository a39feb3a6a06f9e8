//! `/v1/webhook-endpoints/{id}/…`: pausing, testing, rotating the secret, redelivering, and listing
//! deliveries.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::json_body;
use super::openapi::{EndpointPath, Purpose, refusals};
use super::problem::Problem;
use super::query_parameters::{page_limit, query_parameters};
use super::request_body::request_body;
use super::times::time;
use super::view::Page;
use super::webhook_endpoints::{EndpointView, endpoint_id, shown, who};
use crate::domain::event::EventId;
use crate::domain::webhook_endpoint::{DEFAULT_KEEP_SECONDS, KEEP_SECONDS};
use crate::vault::endpoint_secret::public_key_text;
use crate::webhooks::endpoints::{Delivery, RedeliverySelection};

refusals!(PauseRefusals = [NotFound, InvalidField] + API_KEY);

/// Pauses an endpoint. Events that are logged meanwhile are delivered after a resume.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{id}/pause", operation_id = "pause-webhook-endpoint",
    tag = "webhooks", params(EndpointPath, Purpose),
    responses((status = 200, body = EndpointView), PauseRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let paused = api.endpoints().pause(id, &caller.scenes, &context).await?;
    shown(paused)
}

refusals!(ResumeRefusals = [NotFound, InvalidField] + API_KEY);

/// Resumes deliveries at once from the same event, after a pause, a failure or a disabling.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{id}/resume", operation_id = "resume-webhook-endpoint",
    tag = "webhooks", params(EndpointPath, Purpose),
    responses((status = 200, body = EndpointView), ResumeRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let resumed = api.endpoints().resume(id, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    shown(resumed)
}

/// A test that will be delivered.
#[derive(Serialize, ToSchema)]
pub(super) struct TestView {
    /// `webhook-id` of the test, to find it among the deliveries.
    event_id: String,
}

refusals!(TestRefusals = [NotFound, InvalidField] + API_KEY);

/// Sends one `endpoint.test`, whatever the status of the endpoint. It is not in the event log, its
/// `sequence` is `null`, and it is not sent again if it fails. While one waits, no second one is
/// added.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{id}/test", operation_id = "test-webhook-endpoint",
    tag = "webhooks", params(EndpointPath, Purpose),
    responses((status = 202, body = TestView), TestRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn test(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let event = api.endpoints().test(id, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    Ok((StatusCode::ACCEPTED, Json(TestView { event_id: event.to_string() })).into_response())
}

request_body! {
    /// How long deliveries carry the signature of the previous secret as well.
    pub(super) struct RotateSecretRequest {
        /// Seconds in which deliveries carry both signatures; a day by default.
        #[schema(minimum = 0, maximum = 2_592_000)]
        keep_seconds: Option<i64> = optional_integer(keep_seconds),
    }
}

fn keep_seconds(value: i64) -> Result<i64, &'static str> {
    let fits = KEEP_SECONDS.contains(&value);
    fits.then_some(value).ok_or("must be a whole number of seconds from 0 to 2592000 (30 days)")
}

/// A new secret, which is shown only once.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedSecretView {
    /// Verifies signatures of `v1`; `null`: the endpoint uses `v1a`.
    secret: Option<String>,
    /// Verifies signatures of `v1a`; `null`: the endpoint uses `v1`.
    public_key: Option<String>,
    /// Until when the previous secret signs as well; `null`: it no longer does.
    #[serde(with = "time::serde::rfc3339::option")]
    previous_secret_until: Option<OffsetDateTime>,
}

refusals!(RotateRefusals = [NotFound] + JSON_BODY + API_KEY);

/// Makes a new secret. For `keep_seconds` deliveries carry the signatures of both, so that receivers
/// can switch one after the other. A second rotation ends the secret before the first one at once: if
/// the answer is lost, pause the endpoint, rotate again, give the new secret to the receivers, and resume.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{id}/rotate-secret", operation_id = "rotate-webhook-secret",
    tag = "webhooks", params(EndpointPath, Purpose), request_body = Option<RotateSecretRequest>,
    responses((status = 200, body = RotatedSecretView), RotateRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn rotate_secret(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let request: RotateSecretRequest = json_body::object_or_nothing(&api, &headers, body).await?;
    let keep = request.keep_seconds.unwrap_or(DEFAULT_KEEP_SECONDS);
    let rotated = api.endpoints().rotate_secret(id, keep, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    api.webhooks.public_keys.forget().await;
    let view = RotatedSecretView {
        secret: rotated.secret.map(|secret| secret.as_str().to_owned()),
        public_key: rotated.public_key.map(|key| public_key_text(&key)),
        previous_secret_until: rotated.previous_until,
    };
    Ok(Json(view).into_response())
}

request_body! {
    /// The events to redeliver: exactly one of `event_id`, `from` and `to`, `since` and `until`,
    /// or `failed`.
    pub(super) struct RedeliveryRequest {
        /// One event.
        #[schema(value_type = Option<String>, pattern = "^evt_[0-9a-f]{32}$")]
        event_id: Option<EventId> = optional(event_id),
        /// The first sequence of a range.
        #[schema(minimum = 1)]
        from: Option<i64> = optional_integer(sequence),
        /// The last sequence of a range.
        #[schema(minimum = 1)]
        to: Option<i64> = optional_integer(sequence),
        /// Events that happened then or later.
        since: Option<OffsetDateTime> = optional(time),
        /// Events that happened before then.
        until: Option<OffsetDateTime> = optional(time),
        /// `true`: all events whose schedule has ended.
        #[schema(value_type = Option<bool>)]
        failed: Option<()> = optional_flag(only_true),
    }
}

fn event_id(text: &str) -> Result<EventId, &'static str> {
    text.parse().map_err(|_| "must be evt_ and 32 hex digits")
}

fn sequence(value: i64) -> Result<i64, &'static str> {
    (value >= 1).then_some(value).ok_or("must be a sequence, which is a whole number from 1")
}

fn only_true(value: bool) -> Result<(), &'static str> {
    value.then_some(()).ok_or("must be true; leave it out to ask for something else")
}

const ONE_OF: &str = "must have exactly one of event_id, from and to, since and until, or failed";

impl RedeliveryRequest {
    fn selection(&self) -> Result<RedeliverySelection, Problem> {
        let invalid = |pointer: &'static str, detail: &'static str| {
            Err(Problem::invalid_field().field(pointer, detail))
        };
        let parts = (self.event_id, (self.from, self.to), (self.since, self.until), self.failed);
        match parts {
            (Some(id), (None, None), (None, None), None) => Ok(RedeliverySelection::Event(id)),
            (None, (Some(from), Some(to)), (None, None), None) if from > to => {
                invalid("/to", "must not be less than from")
            }
            (None, (Some(from), Some(to)), (None, None), None) => {
                Ok(RedeliverySelection::Sequences { from, to })
            }
            (None, (Some(_), None), (None, None), None) => invalid("/to", "is required with from"),
            (None, (None, Some(_)), (None, None), None) => invalid("/from", "is required with to"),
            (None, (None, None), (Some(since), Some(until)), None) if since >= until => {
                invalid("/until", "must be later than since")
            }
            (None, (None, None), (Some(since), Some(until)), None) => {
                Ok(RedeliverySelection::Time { since, until })
            }
            (None, (None, None), (Some(_), None), None) => {
                invalid("/until", "is required with since")
            }
            (None, (None, None), (None, Some(_)), None) => {
                invalid("/since", "is required with until")
            }
            (None, (None, None), (None, None), Some(())) => Ok(RedeliverySelection::Failed),
            _ => invalid("", ONE_OF),
        }
    }
}

/// The number of events that are redelivered.
#[derive(Serialize, ToSchema)]
pub(super) struct RedeliveredView {
    #[schema(minimum = 0, maximum = 100_000)]
    count: i64,
}

refusals!(RedeliverRefusals = [NotFound] + JSON_BODY + API_KEY);

/// Redelivers events, at most 100,000: one event, a range of sequences of the present epoch,
/// a time range, or all that failed to the end of their schedule. Filters of the endpoint apply.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{id}/redeliveries", operation_id = "redeliver-events",
    tag = "webhooks", params(EndpointPath, Purpose), request_body = RedeliveryRequest,
    responses((status = 202, body = RedeliveredView), RedeliverRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn redeliver(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let request: RedeliveryRequest = json_body::object(&api, &headers, body).await?;
    let selection = request.selection()?;
    let count = api.endpoints().redeliver(id, selection, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    Ok((StatusCode::ACCEPTED, Json(RedeliveredView { count })).into_response())
}

/// One request to an endpoint.
#[derive(Serialize, ToSchema)]
pub struct DeliveryView {
    event_id: String,
    /// `null`: a test.
    sequence: Option<i64>,
    /// The number of the attempt for this event, from 1.
    attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// HTTP status of the answer; `null`: none came.
    status: Option<i32>,
    /// Why it failed; `null`: it was acknowledged.
    error: Option<String>,
    latency_ms: i32,
    /// The first KiB of the answer's body; `null`: it was empty, none came, or the person of the
    /// event is erased.
    answer: Option<String>,
    /// When the event is tried next; `null`: it is not, or the endpoint fails as a whole and its
    /// `next_try_at` tells.
    #[serde(with = "time::serde::rfc3339::option")]
    next_try_at: Option<OffsetDateTime>,
}

impl From<Delivery> for DeliveryView {
    fn from(Delivery { attempt: of, answer }: Delivery) -> Self {
        Self {
            event_id: of.event_id,
            sequence: of.sequence,
            attempt: of.attempt,
            at: of.at,
            status: of.status,
            error: of.error,
            latency_ms: of.latency_ms,
            answer,
            next_try_at: of.next_at,
        }
    }
}

const DEFAULT_LIMIT: i64 = 50;

query_parameters! {
    /// A page of deliveries.
    pub(super) struct DeliveriesParameters {
        /// Maximum number of items.
        #[param(minimum = 1, maximum = 100)]
        limit: i64 = page_limit,
        /// `next_cursor` of the previous page.
        #[param(inline)]
        cursor: AttemptCursor = attempt_cursor,
    }
}

/// The attempt after which a page begins: a text to callers.
#[derive(Debug, ToSchema)]
#[schema(value_type = String)]
pub(super) struct AttemptCursor(i64);

fn attempt_cursor(text: &str) -> Result<AttemptCursor, &'static str> {
    let id = text.parse().ok().filter(|id: &i64| *id >= 0);
    id.map(AttemptCursor).ok_or("must be the next_cursor of this list")
}

refusals!(DeliveriesRefusals = [NotFound] + QUERY + API_KEY);

/// Every request to an endpoint, newest first, for `keep_deliveries_days`. Follow `next_cursor`
/// until it is `null`.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints/{id}/deliveries", operation_id = "list-webhook-deliveries",
    tag = "webhooks", params(EndpointPath, DeliveriesParameters),
    responses((status = 200, body = Page<DeliveryView>), DeliveriesRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn deliveries(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::WebhooksWrite).await?;
    let DeliveriesParameters { limit, cursor } = DeliveriesParameters::parse(query.as_deref())?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let id = endpoint_id(&id)?;
    // One more row shows whether there are more.
    let mut found = api
        .endpoints()
        .deliveries(id, cursor.map(|AttemptCursor(id)| id), limit + 1, &caller.scenes)
        .await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        found.pop();
    }
    let next_cursor = found.last().filter(|_| more).map(|last| last.attempt.id.to_string());
    let items = found.into_iter().map(DeliveryView::from).collect();
    Ok(Json(Page { items, next_cursor }).into_response())
}
