//! `GET /v1/verifications/{id}/material`: the person's data, recorded before it is shown; `DELETE`:
//! the person is forgotten.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Api;
use super::auth::{Caller, Scope};
use super::openapi::{RequiredPurpose, VerificationPath};
use super::problem::Problem;
use crate::domain::erasure::{REMAINING, Remaining};
use crate::domain::ids::{ResultId, VerificationId};
use crate::domain::purpose;
use crate::domain::verification::State as Standing;
use crate::store::audit::Doing;
use crate::store::material::Receipt;
use crate::vault::{Place, WrappedKey};

/// Why the caller wants it; kept in the audit.
const PURPOSE: &str = "verdict-purpose";

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

/// What an answer says of the person; anything may be `null`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the worker has sealed")]
pub(super) struct PersonView {
    name: Option<String>,
    number: Option<String>,
    face_mask: Option<bool>,
    /// `UNQUALIFIED`, `LOW`, `NORMAL` or `HIGH`.
    face_quality: Option<String>,
    id_card: Option<CardView>,
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

#[derive(Serialize, ToSchema)]
pub(super) struct ReceiptView {
    verification_id: VerificationId,
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
    /// `null`: a worker still has to.
    #[serde(with = "time::serde::rfc3339::option")]
    completed_at: Option<OffsetDateTime>,
    /// When the stored evidence was coarsened. `null`: a worker still has to.
    #[serde(with = "time::serde::rfc3339::option")]
    coarsened_at: Option<OffsetDateTime>,
    destroyed: DestroyedView,
    /// Everything that is kept about the verification, by table.
    remains: [Remaining; REMAINING.len()],
}

#[derive(Serialize, ToSchema)]
pub(super) struct DestroyedView {
    data_keys: i32,
    answers: i32,
    material: i32,
    callbacks: i32,
    images: i32,
}

/// The person's data of the newest answer that had any. That it was read, by whom and why, is on
/// record.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/material", operation_id = "read-material", tag = "person",
    params(VerificationPath, RequiredPurpose),
    responses((status = 200, body = MaterialView)),
    security(("api-key" = ["material:read"])),
)]
pub async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::MaterialRead).await?;
    let id = api.reached(&caller, &id).await?;
    let doing = doing(&api, &caller, &headers)?;
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable().detail("This process has no vault.keys; another one may serve it")
    })?;
    let Some(sealed) = api.store.read_material(id, &doing).await? else {
        let found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
        return Err(match found.state {
            Standing::Erased => Problem::erased(),
            _ => Problem::no_material(),
        });
    };
    let result_id = ResultId(sealed.result_id);
    let wrapped = WrappedKey { key_id: sealed.key_id, bytes: sealed.wrapped };
    let place = Place { table: "material", row: sealed.result_id, column: "sealed" };
    let person = vault
        .open_data_key(id, &wrapped)
        .map_err(|error| error.to_string())
        .and_then(|key| key.open(&place, &sealed.sealed).map_err(|error| error.to_string()))
        .and_then(|text| serde_json::from_slice(&text).map_err(|_| "not a document".to_owned()))
        .map_err(|error| {
            tracing::error!(error, verification = %id, "material cannot be decrypted");
            Problem::internal()
        })?;
    metrics::counter!("verdict_material_reads_total").increment(1);
    let fetched_at = sealed.fetched_at;
    let view = MaterialView { verification_id: id, result_id, fetched_at, person };
    Ok(([(CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

/// Erases the person: the key is destroyed, and with it everything sealed; stored evidence is
/// coarsened. The receipt lists what was destroyed and what remains. Erasure is idempotent.
#[utoipa::path(
    delete, path = "/v1/verifications/{id}/material", operation_id = "erase-person", tag = "person",
    params(VerificationPath, RequiredPurpose),
    responses((status = 202, body = ReceiptView)),
    security(("api-key" = ["erasures:write"])),
)]
pub async fn erase(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ErasuresWrite).await?;
    let id = api.reached(&caller, &id).await?;
    let doing = doing(&api, &caller, &headers)?;
    let receipt = api.store.erase(id, &doing).await?.ok_or_else(Problem::not_found)?;
    api.signals.something_settled();
    api.signals.task_is_due();
    metrics::counter!("verdict_erasures_total").increment(1);
    Ok((StatusCode::ACCEPTED, Json(ReceiptView::from(receipt))).into_response())
}

/// Who asks, and why: what goes on record.
pub(super) fn doing(api: &Api, caller: &Caller, headers: &HeaderMap) -> Result<Doing, Problem> {
    let doing = may_say_why(api, caller, headers)?;
    if doing.purpose.is_none() {
        return Err(Problem::purpose_missing());
    }
    Ok(doing)
}

/// The same where nobody has to say why.
pub(super) fn may_say_why(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Doing, Problem> {
    Ok(Doing { actor: caller.actor(), purpose: purpose(headers)?, at: api.clock.now() })
}

/// What the caller says why, if anything.
fn purpose(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let wrong = |why: &'static str| Problem::invalid_field().field("Verdict-Purpose", why);
    let Some(value) = headers.get(PURPOSE) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong("must be in UTF-8"))?;
    let purpose = purpose::parse(text).map_err(wrong)?;
    if purpose.is_empty() {
        return Ok(None);
    }
    Ok(Some(purpose.to_owned()))
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            verification_id: VerificationId(receipt.verification_id),
            requested_at: receipt.requested_at,
            completed_at: receipt.completed_at,
            coarsened_at: receipt.coarsened_at,
            remains: REMAINING,
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
