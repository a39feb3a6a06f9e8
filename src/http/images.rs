//! `GET /v1/verifications/{id}/images`: which images there are; `…/images/{kind}`: one of them. The
//! access is recorded first.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::api::Api;
use super::api_key_auth::Scope;
use super::etag::matches;
use super::openapi::{
    IfNoneMatch, ImagePath, RangeHeader, RequiredPurpose, VerificationPath, refusals,
};
use super::problem::Problem;
use super::purpose::require_purpose;
use crate::domain::ids::{ResultId, VerificationId};
use crate::domain::image::ImageKind;
use crate::domain::verification::State as Standing;
use crate::images::archive::{ImageId, MemoryPermit};
use crate::store::audit::AuditContext;
use crate::store::images::ImageRow;
use crate::vault::WrappedKey;

/// Images of one verification.
#[derive(Serialize, ToSchema)]
pub(super) struct ImagesView {
    items: Vec<ImageView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ImageView {
    result_id: ResultId,
    kind: String,
    state: String,
    reason: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    content_type: Option<String>,
    /// Why it may be more or less than an image. An unusual image is served as an attachment.
    unusual: Vec<String>,
    bytes: Option<i32>,
    sha256: Option<String>,
}

refusals!(ImagesRefusals = [NotFound] + API_KEY);

/// Which images there are and what happened to them, without their content.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/images", operation_id = "list-images", tag = "person",
    params(VerificationPath),
    responses((status = 200, body = ImagesView), ImagesRefusals),
    security(("api-key" = ["images:read"])),
)]
pub async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ImagesRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    let rows = api.store.images().images_of(id).await?;
    Ok(Json(ImagesView { items: rows.into_iter().map(ImageView::from).collect() }).into_response())
}

refusals!(
    ImageRefusals = [NotFound, NoImage, Erased, RangeNotSatisfiable] + REQUIRED_PURPOSE + API_KEY
);

/// The newest image of its kind, whole or in part. The access is recorded in the audit log.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/images/{kind}", operation_id = "read-image", tag = "person",
    params(ImagePath, RequiredPurpose, IfNoneMatch, RangeHeader),
    responses(
        (status = 200, description = "The image", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
            (Vec<u8> = "image/heic"), (Vec<u8> = "image/heif"), (Vec<u8> = "image/avif"),
            (Vec<u8> = "video/mp4"), (Vec<u8> = "video/quicktime"), (Vec<u8> = "*/*"))),
        (status = 206, description = "The requested part", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
            (Vec<u8> = "image/heic"), (Vec<u8> = "image/heif"), (Vec<u8> = "image/avif"),
            (Vec<u8> = "video/mp4"), (Vec<u8> = "video/quicktime"), (Vec<u8> = "*/*"))),
        (status = 304, description = "Not modified"),
        ImageRefusals,
    ),
    security(("api-key" = ["images:read"])),
)]
pub async fn read(
    State(api): State<Api>,
    Path((id, kind)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ImagesRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let kind: ImageKind = kind.parse().map_err(|_| Problem::not_found())?;
    let context = require_purpose(&api, &caller, &headers)?;
    serve(&api, id, kind, &context, &headers).await
}

/// The newest image of its kind. The reading is on record before anything is decrypted.
pub async fn serve(
    api: &Api,
    id: VerificationId,
    kind: ImageKind,
    context: &AuditContext,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (Some(vault), Some(archive)) = (&api.vault, &api.archive) else {
        return Err(Problem::unavailable().detail(
            "This process has no vault.keys or no images.store. Repeat the request, or tell the operator",
        ));
    };
    let Some(found) = api.store.images().read_image(id, kind, context).await? else {
        let found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
        return Err(match found.state {
            Standing::Erased => Problem::erased(),
            _ => Problem::no_image(),
        });
    };
    let etag = format!("\"{}\"", hex::encode(&found.sha256));
    let shown_as = ShownAs {
        etag: &etag,
        content_type: &found.content_type,
        inline: found.unusual.is_empty(),
    };
    let length = usize::try_from(found.bytes).map_err(|_| Problem::internal())?;
    metrics::counter!("verdict_image_reads_total").increment(1);
    let Some(wanted) = wanted(headers, &etag, length)? else {
        return respond(&shown_as, length, None);
    };
    let mut permit = archive.memory_for(length).await.ok_or_else(|| {
        Problem::unavailable()
            .detail("Too many images are being read; try again")
            .retry_after(RETRY_AFTER)
    })?;
    let image = ImageId { verification: id, result: ResultId(found.result_id), kind };
    let wrapped = WrappedKey { key_id: found.key_id, bytes: found.wrapped };
    let sealed = archive.get(&image, length).await.map_err(|error| {
        tracing::warn!(
            %error, cause = error.cause().code(), verification = %id, "image cannot be read"
        );
        Problem::unavailable().detail("The object store is unavailable")
    })?;
    let opened = sealed
        .ok_or_else(|| "the object store does not have it".to_owned())
        .and_then(|sealed| {
            let key = vault.open_data_key(id, &wrapped).map_err(|error| error.to_string())?;
            key.open(image.sealed_at(), &sealed).map_err(|error| error.to_string())
        })
        .map_err(|error| {
            tracing::error!(error, verification = %id, "image cannot be decrypted");
            Problem::internal()
        })?;
    if opened.len() != length {
        tracing::error!(verification = %id, "image length differs from its row");
        return Err(Problem::internal());
    }
    permit.shrink_to(length);
    let bytes = Bytes::from_owner(Shown { opened, _permit: permit });
    respond(&shown_as, length, Some((wanted, bytes)))
}

/// After too many image reads at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A decrypted image. When its last reader is done, it is wiped and its memory returned.
struct Shown {
    opened: Zeroizing<Vec<u8>>,
    _permit: MemoryPermit,
}

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        &self.opened
    }
}

/// Which bytes a conditional or partial request gets (RFC 9110, 13 and 14), before anything is
/// decrypted; `None`: the caller has them.
fn wanted(asked: &HeaderMap, etag: &str, length: usize) -> Result<Option<Part>, Problem> {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if matches(asked, IF_NONE_MATCH, etag) {
        return Ok(None);
    }
    let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|tag| tag == etag));
    match range.map_or(Part::Whole, |range| part(range, length)) {
        Part::Outside => Err(Problem::range_not_satisfiable().of_length(length)),
        part => Ok(Some(part)),
    }
}

/// Values for the response headers of an image.
struct ShownAs<'a> {
    etag: &'a str,
    content_type: &'a str,
    /// A browser may show it; otherwise it is a file to save.
    inline: bool,
}

/// The response: all, a part, or 304.
fn respond(
    shown_as: &ShownAs<'_>,
    length: usize,
    shown: Option<(Part, Bytes)>,
) -> Result<Response, Problem> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::internal());
    let (status, bytes, range) = match shown {
        None => (StatusCode::NOT_MODIFIED, Bytes::new(), None),
        Some((Part::Of(from, to), bytes)) => {
            let range = format!("bytes {from}-{}/{length}", to - 1);
            (StatusCode::PARTIAL_CONTENT, bytes.slice(from..to), Some(range))
        }
        Some((Part::Whole | Part::Outside, bytes)) => (StatusCode::OK, bytes, None),
    };
    let mut response = (status, Body::from(bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(ETAG, value(shown_as.etag)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_TYPE, value(shown_as.content_type)?);
    }
    if let Some(range) = range {
        headers.insert(CONTENT_RANGE, value(&range)?);
    }
    // A browser must show the bytes only as an image and must not execute anything in them.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    let disposition = if shown_as.inline { "inline" } else { "attachment" };
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// No range, several ranges, or an unknown unit: a server may answer with everything.
    Whole,
    /// From, inclusive, to, exclusive.
    Of(usize, usize),
    /// Beyond the end.
    Outside,
}

fn part(range: &str, length: usize) -> Part {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let (from, to) = (from.trim(), to.trim());
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from > to => Part::Whole,
        (Some(from), Some(_)) if from >= length => Part::Outside,
        (Some(from), Some(to)) => Part::Of(from, to.saturating_add(1).min(length)),
        (Some(from), None) if to.is_empty() && from >= length => Part::Outside,
        (Some(from), None) if to.is_empty() => Part::Of(from, length),
        (None, Some(0)) if from.is_empty() => Part::Outside,
        (None, Some(last)) if from.is_empty() => Part::Of(length.saturating_sub(last), length),
        _ => Part::Whole,
    }
}

impl From<ImageRow> for ImageView {
    fn from(row: ImageRow) -> Self {
        Self {
            result_id: ResultId(row.result_id),
            kind: row.kind,
            state: row.state,
            reason: row.reason,
            settled_at: row.settled_at,
            content_type: row.content_type,
            unusual: row.unusual,
            bytes: row.bytes,
            sha256: row.sha256.map(hex::encode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_it() {
        for (range, wanted) in [
            ("bytes=0-0", Part::Of(0, 1)),
            ("bytes=2-4", Part::Of(2, 5)),
            ("bytes=2-", Part::Of(2, 10)),
            ("bytes=2-99999999999999999999999", Part::Of(2, 10)),
            ("bytes=-3", Part::Of(7, 10)),
            ("bytes=-30", Part::Of(0, 10)),
            ("bytes=10-", Part::Outside),
            ("bytes=10-12", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=12-x", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(range, 10), wanted, "{range}");
        }
    }
}
