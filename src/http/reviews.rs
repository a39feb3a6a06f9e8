//! `POST /v1/verifications/{id}/reviews`: a person's judgement of the current decision; `GET`: all
//! reviews with their notes.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::IF_MATCH;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::openapi::{IfMatch, Purpose, RequiredPurpose, VerificationPath, refusals};
use super::problem::Problem;
use super::purpose::{optional_purpose, require_purpose};
use super::request_body::request_body;
use super::view::{Page, VerificationView};
use super::{etag, json_body, review_notes};
use crate::domain::ids::{DecisionId, ReviewId};
use crate::domain::review::{self, Reviewer};
use crate::domain::verification::State as Standing;
use crate::store::reviews::{NewReview, Reviewed};
use policy::decision::Outcome;

request_body! {
    /// A person's judgement of a case.
    pub(super) struct ReviewRequest {
        /// `approve`, `retry` or `reject`.
        #[schema(value_type = String, pattern = "^(approve|retry|reject)$")]
        outcome: Outcome = required(review::outcome),
        /// A code of your own list, for example `forged-card`.
        #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
        reason: String = required(review::reason),
        /// In your words, without invisible characters; stored sealed, and erased with the person.
        #[schema(max_length = 2000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
        note: Option<String> = optional(review::note),
    }
}

/// The outcome of a review.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewedView {
    review_id: ReviewId,
    /// The decision that was reviewed.
    about: DecisionId,
    /// The review made a decision, which is now current; otherwise a second person has to agree.
    decided: bool,
    verification: VerificationView,
}

/// One review.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewView {
    id: ReviewId,
    about: DecisionId,
    outcome: Outcome,
    reason: String,
    /// `null`: there is none, or the person was erased.
    note: Option<String>,
    reviewer: String,
    /// The person who reviewed; `null`: the API key named none.
    person: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    reviewed_at: OffsetDateTime,
    /// The decision it made; `null`: a second person had to agree.
    decision_id: Option<DecisionId>,
}

refusals!(
    GiveRefusals =
        [NotFound, PersonMissing, NothingToReview, Erased, DecisionChanged] + JSON_BODY + API_KEY
);

/// Reviews the current decision. The review becomes the current decision (201), or waits for a second
/// person to agree (202, `reviews.four_eyes`). Approvals and rejections are final until another review
/// or a refetch. With `If-Match`, the tag of the verification that was reviewed, it is refused if
/// anything has changed since.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/reviews", operation_id = "review-verification",
    tag = "reviews", params(VerificationPath, IfMatch, Purpose),
    request_body = ReviewRequest,
    responses(
        (status = 201, body = ReviewedView),
        (status = 202, description = "Stored; a second person has to agree", body = ReviewedView),
        GiveRefusals,
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
    let id = api.visible_verification(&caller, &id).await?;
    let ReviewRequest { outcome, reason, note } = json_body::object(&api, &headers, body).await?;
    let note = note.filter(|note| !note.is_empty());
    let context = optional_purpose(&api, &caller, &headers)?;
    let needs_another = api.four_eyes.apply_to(outcome);
    if needs_another {
        caller.must_be_person()?;
    }
    // A key revoked a moment ago must not decide, so the cached keys are not enough.
    api.keys.require_still(&headers, Scope::ReviewsWrite, Duration::ZERO).await?;

    let found = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    if found.state == Standing::Erased {
        return Err(Problem::erased());
    }
    let about = found.decision.as_ref().ok_or_else(Problem::nothing_to_review)?.id;
    if headers.contains_key(IF_MATCH) {
        let tag = etag::of(&VerificationView::from(found))?;
        if !etag::matches(&headers, IF_MATCH, &tag) {
            return Err(Problem::decision_changed());
        }
    }
    let review_id: ReviewId = api.ids.next(context.at);
    let note = match note {
        None => None,
        Some(note) => Some(review_notes::seal(&api, id, review_id, &note).await?),
    };
    let review = NewReview {
        id: review_id,
        verification: id,
        about,
        outcome,
        reason,
        note,
        decision: api.ids.next(context.at),
        needs_another,
        reviewer: Reviewer::Key(caller.key_id),
        person: caller.person.clone(),
    };
    let reviewed = api.store.reviews().review(&review, &context).await?;
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
    let now = api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    let view = ReviewedView {
        review_id,
        about,
        decided: reviewed == Reviewed::Decided,
        verification: now.into(),
    };
    Ok((status, Json(view)).into_response())
}

refusals!(ReviewsRefusals = [NotFound] + REQUIRED_PURPOSE + API_KEY);

/// All reviews, oldest first. Notes may name the person, so the access is recorded in the audit log.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/reviews", operation_id = "list-reviews", tag = "reviews",
    params(VerificationPath, RequiredPurpose),
    responses((status = 200, body = Page<ReviewView>), ReviewsRefusals),
    security(("api-key" = ["reviews:write"])),
)]
pub async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Page<ReviewView>>, Problem> {
    let caller = api.keys.require(&headers, Scope::ReviewsWrite).await?;
    let id = api.visible_verification(&caller, &id).await?;
    let context = require_purpose(&api, &caller, &headers)?;
    let reviews = api.store.reviews().read_reviews(id, &context).await?;
    if reviews.is_empty() {
        api.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
    }
    let views = reviews.into_iter().map(|review| {
        let note = review_notes::open(&api, id, &review)?;
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
