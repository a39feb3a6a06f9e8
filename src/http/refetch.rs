//! `POST /v1/verifications/{id}/refetch`: makes one due now, also out of `failed`;
//! `POST /v1/verifications/refetch`: many that were given up.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Api;
use super::auth::{Caller, Scope};
use super::consent::{Consent, ProposedView};
use super::material::may_say_why;
use super::openapi::{Purpose, VerificationPath};
use super::problem::Problem;
use super::verifications::parse_time;
use super::view::VerificationView;
use super::{body, consent};
use crate::domain::callback::BizType;
use crate::domain::ids::{DecisionId, VerificationId};
use crate::domain::members::Members;
use crate::domain::proposal::Call;
use crate::domain::review::FourEyes;
use crate::domain::verification::State as Standing;
use crate::store::audit::Doing;
use crate::store::listing::{Filter, MAX_REFETCHED};
use crate::store::verifications::{Refetched, Reopening};

/// Asks the provider about one again, whatever came of it before, unless its person was forgotten.
/// What a person has closed by a review needs `reviews:write` besides and a purpose; with
/// `reviews.four_eyes` the first such call answers `{"proposed": id}`, and an identical one by
/// another person within 24 hours carries it out.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/refetch", operation_id = "refetch-verification",
    tag = "verifications", params(VerificationPath, Purpose),
    responses((status = 202, body = RefetchedView)),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let doing = may_say_why(&api, &caller, &headers)?;
    let id = api.reached(&caller, &id).await?;
    let reopening = match api.store.closed_by_person(id).await? {
        None => None,
        Some(decision) => {
            let second = match second_person(&api, &caller, &headers, id, decision, &doing).await? {
                None => None,
                Some(Consent::Given(second)) => Some(second),
                Some(Consent::Waits(answer)) => return Ok(answer),
            };
            Some(Reopening { decision, second })
        }
    };
    let done = api.store.refetch(id, api.window, reopening.as_ref(), &doing).await?;
    let Refetched { verification, made_due } = done.ok_or_else(Problem::not_found)?;
    if verification.state == Standing::Erased {
        return Err(Problem::erased());
    }
    if !made_due {
        return Err(match reopening.and_then(|reopening| reopening.second) {
            Some(_) => Problem::proposal_closed(),
            None => Problem::decision_changed(),
        });
    }
    api.signals.work_is_due();
    tracing::info!(verification = %id, key = %caller.key_id, "refetch");
    Ok((StatusCode::ACCEPTED, Json(VerificationView::from(verification))).into_response())
}

/// What a person has closed is reopened only by who may review, says why and, under four eyes, has
/// another person's consent (`None`: one person is enough).
async fn second_person(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    verification: VerificationId,
    decision: DecisionId,
    doing: &Doing,
) -> Result<Option<Consent>, Problem> {
    caller.must_have(Scope::ReviewsWrite)?;
    if doing.purpose.is_none() {
        return Err(Problem::purpose_missing());
    }
    if api.four_eyes == FourEyes::Off {
        return Ok(None);
    }
    let call = Call::Refetch { verification, decision };
    consent::of_two(api, (caller, Scope::ReviewsWrite), headers, &call, doing).await.map(Some)
}

/// What became of a refetch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes two answers that are made apart")]
pub(super) enum RefetchedView {
    /// It is due.
    Due(Box<VerificationView>),
    /// Another person has to agree.
    Proposed(ProposedView),
}

/// Which failed or expired verifications to refetch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct RefetchRequest {
    /// `failed` or `expired`.
    #[schema(pattern = "^(failed|expired)$")]
    state: String,
    /// Of this scene.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_type: Option<String>,
    /// Whose newest answer had this code of the provider's.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
    error_code: Option<String>,
    /// First heard of then or later.
    created_after: Option<OffsetDateTime>,
    /// First heard of before then.
    created_before: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefetchedCountView {
    /// How many were made due.
    #[schema(minimum = 0, maximum = 500)]
    refetched: usize,
    /// There may be more: ask again.
    more: bool,
}

/// Asks the provider again about up to 500 verifications that were given up, oldest first. Each is
/// put on record.
#[utoipa::path(
    post, path = "/v1/verifications/refetch", operation_id = "refetch-verifications",
    tag = "verifications", params(Purpose),
    request_body = RefetchRequest,
    responses((status = 202, body = RefetchedCountView)),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn many(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let members = body::object(&api, &headers, body).await?;
    let doing = may_say_why(&api, &caller, &headers)?;
    let mut reader = Members::of(&members);
    let time = |text: &str| parse_time(text).ok_or("must be a time, like 2026-11-23T09:30:00Z");
    let filter = Filter {
        state: reader.required("/state", |text| match text {
            "failed" => Ok(Standing::Failed),
            "expired" => Ok(Standing::Expired),
            _ => Err("must be failed or expired"),
        }),
        biz_type: reader.optional("/biz_type", BizType::parse),
        error_code: reader.optional("/error_code", |text| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-#".contains(&b);
            let good = (1..=64).contains(&text.len()) && text.bytes().all(fits);
            good.then(|| text.to_owned()).ok_or("must be a code of the provider's")
        }),
        created_after: reader.optional("/created_after", time),
        created_before: reader.optional("/created_before", time),
        scenes: caller.scenes.limit(),
        ..Filter::default()
    };
    reader.only(&["state", "biz_type", "error_code", "created_after", "created_before"]);
    if !reader.errors.is_empty() {
        return Err(reader.errors.into());
    }
    let refetched = api.store.refetch_many(&filter, api.window, &doing).await?.len();
    api.signals.work_is_due();
    tracing::info!(refetched, key = %caller.key_id, "refetch of many");
    let more = i64::try_from(refetched).is_ok_and(|refetched| refetched >= MAX_REFETCHED);
    Ok((StatusCode::ACCEPTED, Json(RefetchedCountView { refetched, more })).into_response())
}
