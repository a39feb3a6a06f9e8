//! `POST /v1/verifications/{id}/reviews`: a person's verdict about the standing decision; `GET`:
//! all verdicts, with what their reviewers noted.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::IF_MATCH;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Api;
use super::auth::Scope;
use super::material::{doing, may_say_why};
use super::openapi::{IfMatch, Purpose, RequiredPurpose, VerificationPath};
use super::problem::Problem;
use super::view::{Page, VerificationView};
use super::{body, conditional};
use crate::domain::decision::Outcome;
use crate::domain::ids::{DecisionId, ReviewId, VerificationId};
use crate::domain::members::Members;
use crate::domain::review;
use crate::domain::verification::State as Standing;
use crate::store::reviews::{NewReview, Reviewed, SealedReview};
use crate::vault::{Place, WrappedKey};

/// A person's verdict.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct ReviewRequest {
    /// `approve`, `retry` or `reject`.
    #[schema(pattern = "^(approve|retry|reject)$")]
    outcome: String,
    /// A code of your own list, for example `forged-card`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    reason: String,
    /// In your words, without invisible characters; kept sealed, and gone with the person.
    #[schema(max_length = 2000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    note: Option<String>,
}

/// What became of a verdict.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewedView {
    review_id: ReviewId,
    /// The decision that was looked at.
    about: DecisionId,
    /// It made a decision, which stands; otherwise another person has to agree.
    decided: bool,
    verification: VerificationView,
}

/// One verdict.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewView {
    id: ReviewId,
    about: DecisionId,
    outcome: Outcome,
    reason: String,
    /// `null`: none was left, or the person was erased.
    note: Option<String>,
    reviewer: String,
    /// The person who held the key; `null`: the key named none.
    person: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    reviewed_at: OffsetDateTime,
    /// `null`: another person had to agree.
    decision_id: Option<DecisionId>,
}

/// A person's verdict about the standing decision: it becomes a decision of its own, which stands
/// from then on (201), or waits for another person to agree (202, `reviews.four_eyes`). Approvals
/// and rejections are final but for another verdict or a refetch. With `If-Match`, the tag of the
/// verification that was looked at, it is refused if anything changed since.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/reviews", operation_id = "review-verification",
    tag = "reviews", params(VerificationPath, IfMatch, Purpose),
    request_body = ReviewRequest,
    responses(
        (status = 201, body = ReviewedView),
        (status = 202, description = "Kept; another person has to agree", body = ReviewedView),
    ),
    security(("api-key" = ["reviews:write"])),
)]
pub async fn give(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::ReviewsWrite).await?;
    let id = api.reached(&caller, &id).await?;
    let members = body::object(&api, &headers, body).await?;
    let mut reader = Members::of(&members);
    let outcome = reader.required("/outcome", review::outcome);
    let reason = reader.required("/reason", review::reason);
    let note = reader.optional("/note", review::note).filter(|note| !note.is_empty());
    reader.only(&["outcome", "reason", "note"]);
    let (Some(outcome), Some(reason), true) = (outcome, reason, reader.errors.is_empty()) else {
        return Err(reader.errors.into());
    };
    let doing = may_say_why(&api, &caller, &headers)?;
    let needs_another = api.four_eyes.apply_to(outcome);
    if needs_another {
        caller.must_be_person()?;
    }
    // A key that was revoked a moment ago decides nothing.
    api.keys.require_still(&headers, Scope::ReviewsWrite, Duration::ZERO).await?;

    let found = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    if found.state == Standing::Erased {
        return Err(Problem::erased());
    }
    let about = found.decision.as_ref().ok_or_else(Problem::nothing_to_review)?.id;
    if headers.contains_key(IF_MATCH) {
        let tag = conditional::tag_of(&VerificationView::from(found))?;
        if !conditional::names(&headers, IF_MATCH, &tag) {
            return Err(Problem::decision_changed());
        }
    }
    let review_id: ReviewId = api.ids.next(doing.at);
    let note = match note {
        None => None,
        Some(note) => Some(seal(&api, id, review_id, &note).await?),
    };
    let review = NewReview {
        id: review_id,
        verification: id,
        about,
        outcome,
        reason,
        note,
        decision: api.ids.next(doing.at),
        needs_another,
        key: caller.key_id,
        person: caller.person.clone(),
    };
    let reviewed = api.store.review(&review, &doing).await?;
    let status = match reviewed {
        Reviewed::Decided => StatusCode::CREATED,
        Reviewed::Proposed => StatusCode::ACCEPTED,
        Reviewed::Outdated => return Err(Problem::decision_changed()),
    };
    if reviewed == Reviewed::Decided {
        api.signals.something_settled();
        metrics::counter!("verdict_decisions_total", "outcome" => outcome.as_str()).increment(1);
    }
    tracing::info!(verification = %id, key = %caller.key_id, outcome = outcome.as_str(), "review");
    let now = api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    let view = ReviewedView {
        review_id,
        about,
        decided: reviewed == Reviewed::Decided,
        verification: now.into(),
    };
    Ok((status, Json(view)).into_response())
}

/// All verdicts, oldest first. Their notes may name the person, so that they were read is on
/// record.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/reviews", operation_id = "list-reviews", tag = "reviews",
    params(VerificationPath, RequiredPurpose),
    responses((status = 200, body = Page<ReviewView>)),
    security(("api-key" = ["reviews:write"])),
)]
pub async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Page<ReviewView>>, Problem> {
    let caller = api.keys.require(&headers, Scope::ReviewsWrite).await?;
    let id = api.reached(&caller, &id).await?;
    let doing = doing(&api, &caller, &headers)?;
    let reviews = api.store.read_reviews(id, &doing).await?;
    if reviews.is_empty() {
        api.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    let views = reviews.into_iter().map(|review| {
        let note = open(&api, id, &review)?;
        Ok(ReviewView {
            id: ReviewId(review.id),
            about: DecisionId(review.about),
            outcome: Outcome::parse(&review.outcome).ok_or_else(Problem::internal)?,
            reason: review.reason,
            note,
            reviewer: review.reviewer,
            person: review.person,
            reviewed_at: review.reviewed_at,
            decision_id: review.decision_id.map(DecisionId),
        })
    });
    Ok(Json(Page::whole(views.collect::<Result<Vec<_>, Problem>>()?)))
}

fn place(review: uuid::Uuid) -> Place<'static> {
    Place { table: "reviews", row: review, column: "note" }
}

async fn seal(
    api: &Api,
    id: VerificationId,
    review: ReviewId,
    note: &str,
) -> Result<Vec<u8>, Problem> {
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable().detail("This process has no vault.keys to seal a note with")
    })?;
    // What was decided upon was sealed, so there is a key, unless the person was just erased.
    let (key_id, bytes) = api.store.data_key_of(id).await?.ok_or_else(Problem::decision_changed)?;
    vault
        .open_data_key(id, &WrappedKey { key_id, bytes })
        .map_err(|error| error.to_string())
        .and_then(|key| key.seal(&place(review.0), note.as_bytes()).map_err(|e| e.to_string()))
        .map_err(|error| {
            tracing::error!(error, verification = %id, "note cannot be sealed");
            Problem::internal()
        })
}

fn open(api: &Api, id: VerificationId, review: &SealedReview) -> Result<Option<String>, Problem> {
    let (Some(note), Some(key_id), Some(wrapped)) = (&review.note, &review.key_id, &review.wrapped)
    else {
        return Ok(None);
    };
    let vault = api.vault.as_ref().ok_or_else(|| {
        Problem::unavailable().detail("This process has no vault.keys; another one may serve it")
    })?;
    let wrapped = WrappedKey { key_id: key_id.clone(), bytes: wrapped.clone() };
    vault
        .open_data_key(id, &wrapped)
        .map_err(|error| error.to_string())
        .and_then(|key| key.open(&place(review.id), note).map_err(|error| error.to_string()))
        .and_then(|text| String::from_utf8(text.to_vec()).map_err(|_| "not a text".to_owned()))
        .map(Some)
        .map_err(|error| {
            tracing::error!(error, verification = %id, "note cannot be decrypted");
            Problem::internal()
        })
}
