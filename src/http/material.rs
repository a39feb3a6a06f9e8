//! `GET /v1/verifications/{id}/material`: the person's data. The access is recorded first.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::openapi::{RequiredPurpose, VerificationPath, refusals};
use super::problem::Problem;
use super::purpose::require_purpose;
use crate::domain::ids::{ResultId, VerificationId};
use crate::domain::verification::State as Standing;
use crate::store::audit::AuditContext;
use crate::vault::{SealedAt, WrappedKey};

#[derive(Serialize, ToSchema)]
pub(super) struct MaterialView {
    verification_id: VerificationId,
    result_id: ResultId,
    #[serde(with = "time::serde::rfc3339")]
    fetched_at: OffsetDateTime,
    #[serde(flatten)]
    #[schema(value_type = PersonView)]
    person: Value,
}

/// The personal data in a result; any member may be `null`. The first four are of verify-result, the
/// last three of face-verify; the other product's are left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct PersonView {
    name: Option<String>,
    number: Option<String>,
    face_mask: Option<bool>,
    /// `UNQUALIFIED`, `LOW`, `NORMAL` or `HIGH`.
    face_quality: Option<String>,
    id_card: Option<CardView>,
    user_info: Option<UserInfoView>,
    /// Identifies the device.
    device_token: Option<String>,
    stored_objects: Option<Vec<StoredObjectView>>,
}

/// What the person typed: only where the provider asked for rare characters.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct UserInfoView {
    name: Option<String>,
    number: Option<String>,
    /// The name as it was compared.
    verify_name: Option<String>,
}

/// An object in the customer's own bucket, which stays there when the provider deletes its copy.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct StoredObjectView {
    bucket: Option<String>,
    object: Option<String>,
}

/// What was read from the card's photos.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct CardView {
    name: Option<String>,
    number: Option<String>,
    nationality: Option<String>,
    sex: Option<String>,
    address: Option<String>,
    authority: Option<String>,
    birth: Option<DateView>,
    start_date: Option<DateView>,
    end_date: Option<DateView>,
}

/// A date beside the text it was read from.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct DateView {
    text: String,
    /// `null`: the text is no date (长期, or misread).
    date: Option<time::Date>,
}

refusals!(MaterialRefusals = [NotFound, NoMaterial, Erased] + REQUIRED_PURPOSE + API_KEY);

/// The person's data in the newest result that had any. The access is recorded in the audit log.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/material", operation_id = "read-material", tag = "person",
    params(VerificationPath, RequiredPurpose),
    responses((status = 200, body = MaterialView), MaterialRefusals),
    security(("api-key" = ["material:read"])),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::MaterialRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let context = require_purpose(&api, &caller, &headers)?;
    let Material { result_id, fetched_at, person } = open(&api, id, &context).await?;
    let view = MaterialView { verification_id: id, result_id, fetched_at, person };
    Ok(([(CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

/// The person's data in the newest result that had any.
pub struct Material {
    pub result_id: ResultId,
    pub fetched_at: OffsetDateTime,
    /// A `PersonView`.
    pub person: Value,
}

/// Opens the person's data. The reading is on record before anything leaves the database.
pub async fn open(
    api: &Api,
    id: VerificationId,
    context: &AuditContext,
) -> Result<Material, Problem> {
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable()
            .detail("This process has no vault.keys. Repeat the request, or tell the operator")
    })?;
    let Some(sealed) = api.store.material().read_material(id, context).await? else {
        let found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
        return Err(match found.state {
            Standing::Erased => Problem::erased(),
            _ => Problem::no_material(),
        });
    };
    let result_id = ResultId(sealed.result_id);
    let wrapped = WrappedKey { key_id: sealed.key_id, bytes: sealed.wrapped };
    let person = vault
        .open_data_key(id, &wrapped)
        .map_err(|error| error.to_string())
        .and_then(|key| {
            key.open(SealedAt::Material(result_id), &sealed.sealed)
                .map_err(|error| error.to_string())
        })
        .and_then(|text| serde_json::from_slice(&text).map_err(|_| "not JSON".to_owned()))
        .map_err(|error| {
            tracing::error!(error, verification = %id, "material cannot be decrypted");
            Problem::internal()
        })?;
    metrics::counter!("verdict_material_reads_total").increment(1);
    Ok(Material { result_id, fetched_at: sealed.fetched_at, person })
}
