//! Gives a verdict, with its note sealed, and opens the pictures of a golden pair.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::faces::Side;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::domain::ids::{GoldenId, ReviewId};
use crate::http::problem::Problem;
use crate::http::review_notes;
use crate::store::assignments::Assignment;
use crate::store::audit::AuditContext;
use crate::store::verdicts::{Given, NewVerdict};
use crate::vault::{SealedAt, WrappedKey};
use policy::decision::Outcome;

/// Stores a verdict with its note sealed. A worker commits it once it cannot be undone any more.
pub(super) async fn give(
    console: &Console,
    who: &SignedIn,
    assignment: &Assignment,
    (outcome, reason): (Outcome, String),
    note: Option<String>,
) -> Result<Given, Refused> {
    let api = &console.api;
    let (_, verification) = assignment.case().ok_or_else(Refused::not_found)?;
    let review: ReviewId = api.ids.next(api.clock.now());
    let note = match note {
        None => None,
        Some(note) => Some(review_notes::seal(api, verification, review, &note).await?),
    };
    let (id, user) = (assignment.id, who.user);
    let verdict = NewVerdict { id, user, outcome, reason, note, review };
    Ok(api.store.assignments().give(&verdict, api.reviews.undo).await?)
}

/// One picture of a golden pair, as the images of cases are served. The reading is on record first.
pub(super) async fn golden_image(
    console: &Console,
    id: GoldenId,
    side: Side,
    context: &AuditContext,
) -> Result<Response, Refused> {
    let api = &console.api;
    let vault = api.vault.as_ref().ok_or_else(Problem::unavailable)?;
    let found = api.store.golden_pairs().read(id, context).await?;
    let pair = found.ok_or_else(Refused::not_found)?;
    let (sealed, media_type, place) = match side {
        Side::Live => (pair.live, pair.live_type, SealedAt::GoldenLive(id)),
        Side::Reference => (pair.reference, pair.reference_type, SealedAt::GoldenReference(id)),
    };
    let wrapped = WrappedKey { key_id: pair.key_id, bytes: pair.wrapped };
    let key = vault.open_golden_key(id, &wrapped).map_err(|error| error.to_string());
    let opened = key.and_then(|key| key.open(place, &sealed).map_err(|error| error.to_string()));
    let bytes = opened.map_err(|error| {
        tracing::error!(error, "golden pair cannot be decrypted");
        Refused::from(Problem::internal())
    })?;
    let headers = [
        (CONTENT_TYPE, media_type.as_str()),
        (CONTENT_DISPOSITION, "inline"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'"),
    ];
    Ok((headers, bytes.to_vec()).into_response())
}
