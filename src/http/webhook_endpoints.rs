//! `/v1/webhook-endpoints`: where events are delivered to.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::{Caller, Scope};
use super::event_body::EventType;
use super::json_body;
use super::openapi::{EndpointPath, Purpose, refusals};
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::request_body::{request_body, string, strings, whole};
use super::view::Page;
use crate::domain::callback::BizType;
use crate::domain::event::EventKind;
use crate::domain::field_error::FieldError;
use crate::domain::ids::EndpointId;
use crate::domain::webhook_endpoint::{
    DEFAULT_MAX_IN_FLIGHT, DeliveryOrder, EndpointStatus, MAX_IN_FLIGHT, REQUESTS_PER_SECOND,
    Signing, Start, biz_types, description, types,
};
use crate::store::audit::AuditContext;
use crate::store::webhook_endpoints::{EndpointChange, Limit, Rate, WebhookEndpoint};
use crate::vault::endpoint_secret::public_key_text;
use crate::webhooks::endpoints::{
    Added, EndpointError, EndpointOperations, Requested, scene_names, type_names,
};

/// An endpoint, without its secret.
#[derive(Serialize, ToSchema)]
pub struct EndpointView {
    id: Uuid,
    url: String,
    description: String,
    /// `null`: every type.
    types: Option<Vec<String>>,
    /// `null`: every scene, and events that belong to none.
    biz_types: Option<Vec<String>>,
    ordering: DeliveryOrder,
    signing: Signing,
    max_in_flight: i32,
    /// `null`: no limit.
    requests_per_second: Option<f64>,
    status: EndpointStatus,
    /// The endpoint has acknowledged every event up to this sequence that its filters let pass.
    acknowledged_through: i64,
    /// Events in the log that were not examined yet for this endpoint.
    behind: i64,
    /// Events whose schedule has ended, counted up to 10,000. A redelivery of all that failed sends
    /// them again.
    dead_letters: i64,
    /// When the endpoint began to fail as a whole; `null`: it does not.
    #[serde(with = "time::serde::rfc3339::option")]
    failing_since: Option<OffsetDateTime>,
    /// HTTP status of the newest attempt; `null`: there was none, or no answer came.
    last_status: Option<i32>,
    /// When a failing endpoint is tried next.
    #[serde(with = "time::serde::rfc3339::option")]
    next_try_at: Option<OffsetDateTime>,
    /// `failing`: it failed for `disable_after_days`; `gone`: it answered 410; `null`: it is not
    /// disabled.
    disabled_because: Option<String>,
    /// Verifies signatures of `v1a`; `null`: the endpoint uses `v1`.
    public_key: Option<String>,
    /// Until when the secret before the last rotation signs as well.
    #[serde(with = "time::serde::rfc3339::option")]
    previous_secret_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// An endpoint with its secret, which is shown only once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewEndpointView {
    #[serde(flatten)]
    endpoint: EndpointView,
    /// Verifies signatures of `v1`; `null`: the endpoint uses `v1a`, see `public_key`.
    secret: Option<String>,
}

/// A place in the event log.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what the parser reads")]
pub(super) enum StartAt {
    Word(StartWord),
    /// The sequence of the first event to deliver.
    Sequence(i64),
}

/// `now` or `beginning`.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes what the parser reads")]
pub(super) enum StartWord {
    Now,
    Beginning,
}

request_body! {
    /// A new endpoint.
    pub(super) struct EndpointRequest {
        /// Where events are posted to: https; http only to hosts in `[webhooks] allow_private`.
        #[schema(min_length = 1, max_length = 2048, format = "uri")]
        url: String = required(|text| Ok(text.to_owned())),
        /// A note for the people who read the list.
        #[schema(max_length = 200)]
        description: Option<String> = optional(description),
        /// The types of events it gets; left out or `null`: every type.
        #[schema(value_type = Option<Vec<EventType>>, min_items = 1)]
        types: Option<Vec<EventKind>> = optional_list(types),
        /// The scenes it gets events of; left out or `null`: every scene, and events that belong to
        /// none.
        #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 100)]
        biz_types: Option<Vec<BizType>> = optional_list(biz_types),
        /// A failed event holds back later events of its verification (`per-verification`, the
        /// default) or all later ones (`strict`).
        #[schema(value_type = Option<DeliveryOrder>)]
        ordering: Option<DeliveryOrder> = optional(DeliveryOrder::parse),
        /// `v1` (HMAC-SHA256, the default) or `v1a` (ed25519). It cannot be changed later.
        #[schema(value_type = Option<Signing>)]
        signing: Option<Signing> = optional(Signing::parse),
        /// `now` (the default), `beginning`, or the sequence of the first event to deliver.
        #[schema(value_type = Option<StartAt>)]
        start: Option<Start> = optional_value(start),
        /// The most requests at the same time; 10 by default.
        #[schema(minimum = 1, maximum = 100)]
        max_in_flight: Option<i32> = optional_integer(max_in_flight),
        /// The most requests begun per second; left out or `null`: no limit.
        #[schema(minimum = 0.1, maximum = 1000)]
        requests_per_second: Option<f64> = optional_number(requests_per_second),
    }
}

request_body! {
    /// A change of an endpoint. Members that are left out keep their values.
    pub(super) struct EndpointChangeRequest {
        /// Where events are posted to.
        #[schema(value_type = String, required = false, min_length = 1, max_length = 2048, format = "uri")]
        url: Option<String> = change(|value| string(value).map(str::to_owned)),
        /// A note for the people who read the list.
        #[schema(max_length = 200)]
        description: Option<String> = change(changed_description),
        /// `null`: every type.
        #[schema(value_type = Option<Vec<EventType>>, min_items = 1)]
        types: Option<Limit> = change(changed_types),
        /// `null`: every scene, and events that belong to none.
        #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 100)]
        biz_types: Option<Limit> = change(changed_biz_types),
        #[schema(value_type = DeliveryOrder, required = false)]
        ordering: Option<DeliveryOrder> =
            change(|value| string(value).and_then(DeliveryOrder::parse)),
        #[schema(value_type = i32, required = false, minimum = 1, maximum = 100)]
        max_in_flight: Option<i32> = change(changed_max_in_flight),
        /// `null`: no limit.
        #[schema(value_type = Option<f64>, minimum = 0.1, maximum = 1000)]
        requests_per_second: Option<Rate> = change(changed_rate),
    }
}

const MUST_BE_IN_FLIGHT: &str = "must be a whole number from 1 to 100";
const MUST_BE_RATE: &str = "must be a number from 0.1 to 1000; null means no limit";

fn start(value: &Value) -> Result<Start, &'static str> {
    match (value.as_str(), whole(value)) {
        (_, Some(sequence)) if sequence >= 1 => Ok(Start::Sequence(sequence)),
        (text, _) => Start::parse(text.unwrap_or_default()),
    }
}

fn max_in_flight(value: i64) -> Result<i32, &'static str> {
    let fits = MAX_IN_FLIGHT.contains(&value);
    i32::try_from(value).ok().filter(|_| fits).ok_or(MUST_BE_IN_FLIGHT)
}

fn requests_per_second(value: f64) -> Result<f64, &'static str> {
    REQUESTS_PER_SECOND.contains(&value).then_some(value).ok_or(MUST_BE_RATE)
}

fn changed_description(value: &Value) -> Result<String, &'static str> {
    if value.is_null() { Ok(String::new()) } else { string(value).and_then(description) }
}

fn changed_types(value: &Value) -> Result<Limit, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    strings(value).and_then(|items| types(&items)).map(|kinds| Some(type_names(&kinds)))
}

fn changed_biz_types(value: &Value) -> Result<Limit, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    strings(value).and_then(|items| biz_types(&items)).map(|scenes| Some(scene_names(&scenes)))
}

fn changed_max_in_flight(value: &Value) -> Result<i32, &'static str> {
    whole(value).ok_or(MUST_BE_IN_FLIGHT).and_then(max_in_flight)
}

fn changed_rate(value: &Value) -> Result<Rate, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    value.as_f64().ok_or(MUST_BE_RATE).and_then(requests_per_second).map(Some)
}

refusals!(AddRefusals = [OtherScene, TooManyEndpoints] + JSON_BODY + API_KEY);

/// Adds an endpoint. The answer has its secret, which is never shown again. A key that is limited to
/// scenes must limit the endpoint to them as well.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints", operation_id = "add-webhook-endpoint", tag = "webhooks",
    params(Purpose), request_body = EndpointRequest,
    responses(
        (status = 201, body = NewEndpointView, headers(("Location" = String))),
        AddRefusals,
    ),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn add(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let request: EndpointRequest =
        json_body::object_checked(&api, &headers, body, |members| api.check_url(members)).await?;
    let requested = Requested {
        url: request.url,
        description: request.description.unwrap_or_default(),
        types: request.types,
        biz_types: request.biz_types,
        ordering: request.ordering.unwrap_or_default(),
        signing: request.signing.unwrap_or_default(),
        start: request.start.unwrap_or_default(),
        max_in_flight: request.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
        requests_per_second: request.requests_per_second,
    };
    let Added { endpoint, secret } =
        api.endpoints().add(&requested, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    api.webhooks.public_keys.forget().await;
    let location = format!("/v1/webhook-endpoints/{}", endpoint.id);
    let view = NewEndpointView {
        endpoint: endpoint.try_into()?,
        secret: secret.map(|secret| secret.as_str().to_owned()),
    };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)).into_response())
}

refusals!(ListRefusals = [] + API_KEY);

/// All endpoints, oldest first. A key that is limited to scenes sees those that are limited to its
/// scenes.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints", operation_id = "list-webhook-endpoints", tag = "webhooks",
    responses((status = 200, body = Page<EndpointView>), ListRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::WebhooksWrite).await?;
    let endpoints = api.endpoints().list(&caller.scenes).await?;
    let views = endpoints.into_iter().map(EndpointView::try_from);
    Ok(Json(Page::whole(views.collect::<Result<Vec<_>, _>>()?)).into_response())
}

refusals!(ReadRefusals = [NotFound] + API_KEY);

/// An endpoint.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints/{id}", operation_id = "get-webhook-endpoint",
    tag = "webhooks", params(EndpointPath),
    responses((status = 200, body = EndpointView), ReadRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::WebhooksWrite).await?;
    shown(api.endpoints().find(endpoint_id(&id)?, &caller.scenes).await?)
}

refusals!(ChangeRefusals = [NotFound, OtherScene] + JSON_BODY + API_KEY);

/// Changes an endpoint. Members that are left out keep their values. Deliveries continue from the
/// same event.
#[utoipa::path(
    patch, path = "/v1/webhook-endpoints/{id}", operation_id = "change-webhook-endpoint",
    tag = "webhooks", params(EndpointPath, Purpose), request_body = EndpointChangeRequest,
    responses((status = 200, body = EndpointView), ChangeRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn change(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    let request: EndpointChangeRequest =
        json_body::object_checked(&api, &headers, body, |members| api.check_url(members)).await?;
    let change = EndpointChange {
        url: request.url,
        description: request.description,
        types: request.types,
        biz_types: request.biz_types,
        ordering: request.ordering.map(DeliveryOrder::as_str),
        max_in_flight: request.max_in_flight,
        requests_per_second: request.requests_per_second,
    };
    let changed = api.endpoints().change(id, change, &caller.scenes, &context).await?;
    api.signals.endpoint_is_due();
    shown(changed)
}

refusals!(RemoveRefusals = [NotFound, InvalidField] + API_KEY);

/// Removes an endpoint. Its recorded answers can no longer be read.
#[utoipa::path(
    delete, path = "/v1/webhook-endpoints/{id}", operation_id = "remove-webhook-endpoint",
    tag = "webhooks", params(EndpointPath, Purpose),
    responses((status = 204, description = "It is removed"), RemoveRefusals),
    security(("api-key" = ["webhooks:write"])),
)]
pub async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let id = endpoint_id(&id)?;
    api.endpoints().remove(id, &caller.scenes, &context).await?;
    api.webhooks.public_keys.forget().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The caller and the audit context of a change. A purpose is optional.
pub(super) async fn who(api: &Api, headers: &HeaderMap) -> Result<(Caller, AuditContext), Problem> {
    let caller = api.keys.require(headers, Scope::WebhooksWrite).await?;
    let context = optional_purpose(api, &caller, headers)?;
    Ok((caller, context))
}

pub(super) fn endpoint_id(text: &str) -> Result<EndpointId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

pub(super) fn shown(endpoint: WebhookEndpoint) -> Result<Response, Problem> {
    Ok(Json(EndpointView::try_from(endpoint)?).into_response())
}

impl Api {
    pub fn endpoints(&self) -> EndpointOperations<'_> {
        EndpointOperations {
            store: &self.store,
            targets: &self.webhooks.targets,
            max_endpoints: self.webhooks.max_endpoints,
            vault: self.vault.as_deref(),
            ids: &self.ids,
        }
    }

    /// Checks the URL early, so that one answer lists it together with other invalid members.
    fn check_url(&self, members: &Map<String, Value>) -> Option<FieldError> {
        let refused = self.webhooks.targets.admit(members.get("url")?.as_str()?).err();
        refused.map(|detail| FieldError { pointer: "/url", detail })
    }
}

impl TryFrom<WebhookEndpoint> for EndpointView {
    type Error = Problem;

    fn try_from(of: WebhookEndpoint) -> Result<Self, Problem> {
        Ok(Self {
            id: of.id,
            url: of.url,
            description: of.description,
            types: of.types,
            biz_types: of.biz_types,
            ordering: DeliveryOrder::parse(&of.ordering).map_err(|_| Problem::internal())?,
            signing: Signing::parse(&of.signing).map_err(|_| Problem::internal())?,
            max_in_flight: of.max_in_flight,
            requests_per_second: of.requests_per_second,
            status: EndpointStatus::parse(&of.status).ok_or_else(Problem::internal)?,
            acknowledged_through: of.acknowledged_through,
            behind: of.behind,
            dead_letters: of.dead_letters,
            failing_since: of.failing_since,
            last_status: of.last_status,
            next_try_at: of.next_try_at,
            disabled_because: of.disabled_because,
            public_key: of.public_key.as_deref().map(public_key_text),
            previous_secret_until: of.previous_until,
            created_at: of.created_at,
            updated_at: of.updated_at,
        })
    }
}

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Unknown => Self::not_found(),
            EndpointError::Invalid(field) => vec![field].into(),
            EndpointError::OtherScene => Self::other_scene(),
            EndpointError::TooMany => Self::too_many_endpoints(),
            EndpointError::NoVault => Self::unavailable()
                .detail("This process has no vault.keys. Repeat the request, or tell the operator"),
            error @ (EndpointError::Seal(_)
            | EndpointError::DataKey(_)
            | EndpointError::Open(_)) => {
                tracing::error!(%error, "webhook secret or answer cannot be sealed or opened");
                Self::internal()
            }
            EndpointError::Store(error) => error.into(),
        }
    }
}
