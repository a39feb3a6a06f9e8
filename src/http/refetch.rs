//! `POST /v1/verifications/{id}/refetch`: makes it due now, also out of `failed` (redrive).

use axum::Json;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};

use super::Api;
use super::auth::Scope;
use super::problem::Problem;
use super::view::VerificationView;
use crate::domain::ids::VerificationId;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<VerificationView>), Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let id: VerificationId = id.parse().map_err(|_| Problem::not_found())?;
    let found =
        api.store.refetch(id, api.window, api.clock.now()).await?.ok_or_else(Problem::not_found)?;
    api.signals.work_is_due();
    tracing::info!(verification = %id, key = %caller.key_id, "refetch");
    Ok((StatusCode::ACCEPTED, Json(found.into())))
}
