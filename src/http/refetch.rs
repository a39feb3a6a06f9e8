//! `POST /v1/verifications/{id}/refetch`: fetches one result again, whatever the state;
//! `POST /v1/verifications/refetch`: many failed or expired verifications.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::{Caller, Scope};
use super::four_eyes::{Consent, ProposedView};
use super::openapi::{Purpose, VerificationPath, refusals};
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::request_body::request_body;
use super::times::time;
use super::view::VerificationView;
use super::{four_eyes, json_body};
use crate::domain::callback::BizType;
use crate::domain::ids::{DecisionId, VerificationId};
use crate::domain::proposal::Call;
use crate::domain::review::FourEyes;
use crate::domain::verification::{State as Standing, Verification};
use crate::store::audit::AuditContext;
use crate::store::listing::{Filter, MAX_REFETCHED};
use crate::store::verifications::{Refetched, Reopening};

refusals!(
    OneRefusals = [NotFound, PersonMissing, ProposalClosed, Erased, DecisionChanged]
        + REQUIRED_PURPOSE
        + API_KEY
);

/// Asks the provider about a verification again, whatever its state, unless the person was erased.
/// If a review has closed it, the key also needs `reviews:write` and the request a purpose. With
/// `reviews.four_eyes` the first such call answers `{"proposed": id}`, and an identical call by
/// another person within 24 hours carries it out.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/refetch", operation_id = "refetch-verification",
    tag = "verifications", params(VerificationPath, Purpose),
    responses((status = 202, body = RefetchedView), OneRefusals),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let context = optional_purpose(&api, &caller, &headers)?;
    let id = api.visible_verification(&caller, &id).await?;
    let reopening = match api.store.verifications().closed_by_person(id).await? {
        None => None,
        Some(decision) => {
            let second =
                match second_person(&api, &caller, &headers, id, decision, &context).await? {
                    None => None,
                    Some(Consent::Given(second)) => Some(second),
                    Some(Consent::Proposed(id)) => return Ok(four_eyes::proposed(id)),
                };
            Some(Reopening { decision, second })
        }
    };
    let verification = make_due(&api, id, reopening, &context).await?;
    tracing::info!(verification = %id, key = %caller.key_id, "refetch");
    Ok((StatusCode::ACCEPTED, Json(VerificationView::from(verification))).into_response())
}

/// Makes a verification due that the caller may see. What a person has closed is reopened only with
/// that decision.
pub async fn make_due(
    api: &Api,
    id: VerificationId,
    reopening: Option<Reopening>,
    context: &AuditContext,
) -> Result<Verification, Problem> {
    let done =
        api.store.verifications().refetch(id, api.window, reopening.as_ref(), context).await?;
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
    Ok(verification)
}

/// Reopening what a review has closed needs the scope to review, a purpose and, with four eyes, a
/// second person. `None`: one person is enough.
async fn second_person(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    verification: VerificationId,
    decision: DecisionId,
    context: &AuditContext,
) -> Result<Option<Consent>, Problem> {
    caller.must_have(Scope::ReviewsWrite)?;
    if context.purpose.is_none() {
        return Err(Problem::purpose_missing());
    }
    if api.four_eyes == FourEyes::Off {
        return Ok(None);
    }
    let call = Call::Refetch { verification, decision };
    four_eyes::require_second_person(api, (caller, Scope::ReviewsWrite), headers, &call, context)
        .await
        .map(Some)
}

/// The outcome of a refetch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes two answers that are made apart")]
pub(super) enum RefetchedView {
    /// It is due now.
    Due(Box<VerificationView>),
    /// Another person has to agree.
    Proposed(ProposedView),
}

request_body! {
    /// Which failed or expired verifications to refetch.
    pub(super) struct RefetchRequest {
        /// `failed` or `expired`.
        #[schema(value_type = String, pattern = "^(failed|expired)$")]
        state: Standing = required(failed_or_expired),
        /// Of this scene.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_type: Option<BizType> = optional(BizType::parse),
        /// Whose newest result had this code of the provider's.
        #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._#-]+$")]
        error_code: Option<String> = optional(provider_code),
        /// Created then or later.
        created_after: Option<OffsetDateTime> = optional(time),
        /// Created before then.
        created_before: Option<OffsetDateTime> = optional(time),
    }
}

fn failed_or_expired(text: &str) -> Result<Standing, &'static str> {
    Standing::parse(text)
        .filter(|state| matches!(state, Standing::Failed | Standing::Expired))
        .ok_or("must be failed or expired")
}

fn provider_code(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-#".contains(&b);
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    valid.then(|| text.to_owned()).ok_or("must be a code of the provider's")
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefetchedCountView {
    /// How many are due again.
    #[schema(minimum = 0, maximum = 500)]
    refetched: usize,
    /// There may be more: repeat the call.
    more: bool,
}

refusals!(ManyRefusals = [] + JSON_BODY + API_KEY);

/// Asks the provider again about up to 500 failed or expired verifications, oldest first. Each is
/// recorded in the audit log.
#[utoipa::path(
    post, path = "/v1/verifications/refetch", operation_id = "refetch-verifications",
    tag = "verifications", params(Purpose),
    request_body = RefetchRequest,
    responses((status = 202, body = RefetchedCountView), ManyRefusals),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn many(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let request: RefetchRequest = json_body::object(&api, &headers, body).await?;
    let context = optional_purpose(&api, &caller, &headers)?;
    let filter = Filter {
        state: Some(request.state),
        biz_type: request.biz_type,
        error_code: request.error_code,
        created_after: request.created_after,
        created_before: request.created_before,
        scenes: caller.scenes.limit(),
        ..Filter::default()
    };
    let refetched = api.store.listing().refetch_many(&filter, api.window, &context).await?.len();
    api.signals.work_is_due();
    tracing::info!(refetched, key = %caller.key_id, "refetch of many");
    let more = i64::try_from(refetched).is_ok_and(|refetched| refetched >= MAX_REFETCHED);
    Ok((StatusCode::ACCEPTED, Json(RefetchedCountView { refetched, more })).into_response())
}
