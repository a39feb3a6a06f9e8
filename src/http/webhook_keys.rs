//! `GET /v1/webhook-keys`: the public keys that verify `v1a` signatures. Anybody may read them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::openapi::refusals;
use super::problem::Problem;
use super::view::Page;
use crate::vault::endpoint_secret::public_key_text;

/// A public key.
#[derive(Serialize, ToSchema)]
pub(super) struct PublicKeyView {
    /// The endpoint whose deliveries it verifies.
    endpoint_id: Uuid,
    /// `whpk_` and the base64 of an ed25519 public key.
    public_key: String,
    /// The key before a rotation: it signs until then. `null`: the present key.
    #[serde(with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

refusals!(KeysRefusals = [Internal, Unavailable]);

/// The public keys of endpoints that use `v1a`. No API key is needed.
#[utoipa::path(
    get, path = "/v1/webhook-keys", operation_id = "list-webhook-keys", tag = "webhooks",
    responses((status = 200, body = Page<PublicKeyView>), KeysRefusals),
    security(()),
)]
pub async fn handler(State(api): State<Api>) -> Result<Response, Problem> {
    let read = async { api.store.webhook_keys().public().await.map_err(Problem::from) };
    let keys = api.webhooks.public_keys.get(read).await?;
    let items = keys.into_iter().map(|key| PublicKeyView {
        endpoint_id: key.endpoint_id,
        public_key: public_key_text(&key.public_key),
        until: key.until,
    });
    let mut response = Json(Page::whole(items)).into_response();
    let cache = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(CACHE_CONTROL, cache);
    Ok(response)
}
