//! The notes of reviewers, sealed with the verification's data key.

use super::api::Api;
use super::problem::Problem;
use crate::domain::ids::{ReviewId, VerificationId};
use crate::store::reviews::SealedReview;
use crate::vault::{SealedAt, WrappedKey};

pub async fn seal(
    api: &Api,
    id: VerificationId,
    review: ReviewId,
    note: &str,
) -> Result<Vec<u8>, Problem> {
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable().detail("This process has no vault.keys to seal a note with")
    })?;
    // A decided verification has a data key, unless the person was erased a moment ago.
    let (key_id, bytes) =
        api.store.reviews().data_key_of(id).await?.ok_or_else(Problem::decision_changed)?;
    vault
        .open_data_key(id, &WrappedKey { key_id, bytes })
        .map_err(|error| error.to_string())
        .and_then(|key| {
            key.seal(SealedAt::ReviewNote(review.0), note.as_bytes()).map_err(|e| e.to_string())
        })
        .map_err(|error| {
            tracing::error!(error, verification = %id, "note cannot be sealed");
            Problem::internal()
        })
}

pub(super) fn open(
    api: &Api,
    id: VerificationId,
    review: &SealedReview,
) -> Result<Option<String>, Problem> {
    let (Some(note), Some(key_id), Some(wrapped)) = (&review.note, &review.key_id, &review.wrapped)
    else {
        return Ok(None);
    };
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable()
            .detail("This process has no vault.keys. Repeat the request, or tell the operator")
    })?;
    let wrapped = WrappedKey { key_id: key_id.clone(), bytes: wrapped.clone() };
    vault
        .open_data_key(id, &wrapped)
        .map_err(|error| error.to_string())
        .and_then(|key| {
            key.open(SealedAt::ReviewNote(review.id), note).map_err(|error| error.to_string())
        })
        .and_then(|text| String::from_utf8(text.to_vec()).map_err(|_| "not UTF-8".to_owned()))
        .map(Some)
        .map_err(|error| {
            tracing::error!(error, verification = %id, "note cannot be decrypted");
            Problem::internal()
        })
}
