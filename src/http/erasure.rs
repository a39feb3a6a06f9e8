//! `DELETE /v1/verifications/{id}/material`: erases the person.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::openapi::{RequiredPurpose, VerificationPath, refusals};
use super::problem::Problem;
use super::purpose::require_purpose;
use crate::domain::erasure::{REMAINING, Remaining};
use crate::domain::ids::VerificationId;
use crate::store::audit::AuditContext;
use crate::store::erasure::{Erased, Receipt};

#[derive(Serialize, ToSchema)]
pub(super) struct ReceiptView {
    verification_id: VerificationId,
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
    /// `null`: a worker has yet to complete it.
    #[serde(with = "time::serde::rfc3339::option")]
    completed_at: Option<OffsetDateTime>,
    /// When the stored evidence was coarsened; `null`: a worker has yet to do it.
    #[serde(with = "time::serde::rfc3339::option")]
    coarsened_at: Option<OffsetDateTime>,
    destroyed: DestroyedView,
    /// `null`: the product keeps no copy that can be deleted on request.
    provider_copy: Option<ProviderCopyView>,
    /// Everything that stays stored about the verification, by table.
    #[schema(value_type = Vec<Remaining>)]
    remains: &'static [Remaining],
}

/// The provider's own copy of the person.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderCopyView {
    /// When the provider had deleted it; `null`: a worker has yet to have it deleted.
    #[serde(with = "time::serde::rfc3339::option")]
    deleted_at: Option<OffsetDateTime>,
    /// Objects (bucket/object) in your own bucket at the provider. It never deletes them: delete
    /// them yourself.
    stays: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DestroyedView {
    data_keys: i32,
    answers: i32,
    material: i32,
    callbacks: i32,
    images: i32,
}

refusals!(EraseRefusals = [NotFound, OnHold] + REQUIRED_PURPOSE + API_KEY);

/// Erases the person: the key is destroyed, and with it everything sealed; stored evidence is
/// coarsened. The receipt lists what was destroyed and what remains. Erasure is idempotent. A
/// verification under a legal hold is not erased.
#[utoipa::path(
    delete, path = "/v1/verifications/{id}/material", operation_id = "erase-person", tag = "person",
    params(VerificationPath, RequiredPurpose),
    responses((status = 202, body = ReceiptView), EraseRefusals),
    security(("api-key" = ["erasures:write"])),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ErasuresWrite).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let context = require_purpose(&api, &caller, &headers)?;
    let receipt = erase(&api, id, &context).await?;
    Ok((StatusCode::ACCEPTED, Json(ReceiptView::from(receipt))).into_response())
}

/// Erases the person of a verification that the caller may see.
pub async fn erase(
    api: &Api,
    id: VerificationId,
    context: &AuditContext,
) -> Result<Receipt, Problem> {
    let receipt = match api.store.erasures().erase(id, context).await? {
        Erased::Done(receipt) => receipt,
        Erased::OnHold => return Err(Problem::on_hold()),
        Erased::NotFound => return Err(Problem::not_found()),
    };
    api.signals.something_settled();
    api.signals.task_is_due();
    metrics::counter!("verdict_erasures_total").increment(1);
    Ok(receipt)
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            verification_id: VerificationId(receipt.verification_id),
            requested_at: receipt.requested_at,
            completed_at: receipt.completed_at,
            coarsened_at: receipt.coarsened_at,
            remains: REMAINING,
            provider_copy: receipt.has_provider_copy.then_some(ProviderCopyView {
                deleted_at: receipt.provider_copy_deleted_at,
                stays: receipt.bucket_objects,
            }),
            destroyed: DestroyedView {
                data_keys: receipt.data_keys,
                answers: receipt.answers,
                material: receipt.material,
                callbacks: receipt.callbacks,
                images: receipt.images,
            },
        }
    }
}
