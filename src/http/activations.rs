//! `/v1/policies/…`: which policy decides in which scene, and which is in shadow.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::{Caller, Scope};
use super::four_eyes::{Consent, ProposedView};
use super::openapi::{PolicyPath, Purpose, refusals};
use super::policies::who;
use super::problem::Problem;
use super::request_body::request_body;
use super::{four_eyes, json_body};
use crate::domain::callback::BizType;
use crate::policies::operations::{Applied, Change};
use crate::store::audit::AuditContext;
use crate::store::policies::Agreed;
use crate::store::proposals::Voter;

/// The policy that is active now.
#[derive(Serialize, ToSchema)]
pub(super) struct ActiveView {
    digest: String,
}

/// The policy that is active now.
#[derive(Serialize, ToSchema)]
pub(super) struct InUseView {
    /// `null`: the scene's policy was removed.
    #[schema(required)]
    digest: Option<String>,
}

request_body! {
    /// Which scene a change is about.
    pub(super) struct SceneRequest {
        /// Left out: all scenes without a policy of their own.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_type: Option<BizType> = optional(BizType::parse),
    }
}

request_body! {
    /// Which scene loses its own policy.
    pub(super) struct OwnSceneRequest {
        #[schema(
            value_type = String, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_type: BizType = required(BizType::parse),
    }
}

/// The scene in an optional body. Empty means all scenes without their own policy. A key that is
/// limited to scenes must name one of them.
async fn scene(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let request: SceneRequest = json_body::object_or_nothing(api, headers, body).await?;
    let scene = request.biz_type.map_or_else(String::new, |scene| scene.as_str().to_owned());
    caller.must_reach(&scene)?;
    Ok(scene)
}

refusals!(
    ActivateRefusals = [NotFound, OtherScene, PersonMissing, ProposalClosed] + JSON_BODY + API_KEY
);

/// Activates a policy. With `policies.four_eyes` the first call is a proposal, and an identical call
/// by another person within 24 hours carries it out.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/activate", operation_id = "activate-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses(
        (status = 204, description = "It is active; if it was before, nothing was changed or recorded"),
        (status = 202, description = "Proposed; a second person has to agree", body = ProposedView),
        ActivateRefusals,
    ),
    security(("api-key" = ["policies:write"])),
)]
pub async fn activate(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    api.policies().text(&digest, &caller.scenes).await?;
    let activate = Change::Activate { scene: &scene, policy: &digest };
    change(&api, (&caller, &context), &headers, activate, no_content).await
}

refusals!(ShadowRefusals = [NotFound, OtherScene] + JSON_BODY + API_KEY);

/// Puts a policy in shadow: it decides beside the active one, without effect.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/shadow", operation_id = "shadow-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses((status = 204, description = "It is in shadow; if it was before, nothing was changed or recorded"), ShadowRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn shadow(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    api.policies().text(&digest, &caller.scenes).await?;
    let shadow = Change::Shadow { scene: &scene, policy: &digest };
    change(&api, (&caller, &context), &headers, shadow, no_content).await
}

refusals!(EndShadowRefusals = [NotFound, OtherScene] + JSON_BODY + API_KEY);

/// Ends a shadow.
#[utoipa::path(
    delete, path = "/v1/policies/shadow", operation_id = "end-shadow", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 204, description = "No policy is in shadow; if none was before, nothing was changed or recorded"), EndShadowRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn end_shadow(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let end = Change::EndShadow { scene: &scene };
    change(&api, (&caller, &context), &headers, end, no_content).await
}

/// The result of a change of the policies in use.
pub enum Outcome {
    Applied(Applied),
    /// It waits for another person; the id of the proposal.
    Proposed(Uuid),
}

/// Changes what is in use. Where `policies.four_eyes` asks for two persons, the first call becomes a
/// proposal; `voter` is the person who calls, and is only then asked for.
pub async fn carry_out<'v>(
    api: &Api,
    change: &Change<'_>,
    voter: impl Future<Output = Result<Voter<'v>, Problem>>,
    context: &AuditContext,
) -> Result<Outcome, Problem> {
    let policies = api.policies();
    let policy = if api.policies_need_two { policies.to_agree_on(change).await? } else { None };
    let policy = policy.as_deref();
    let second = match policy.and_then(|policy| change.call(policy)) {
        None => None,
        Some(call) => match four_eyes::propose(api, &call, voter.await?, context).await? {
            Consent::Given(second) => Some(second),
            Consent::Proposed(id) => return Ok(Outcome::Proposed(id)),
        },
    };
    let agreed = policy.zip(second.as_ref()).map(|(policy, second)| Agreed { policy, second });
    Ok(Outcome::Applied(policies.change(change, agreed, context).await?))
}

/// Changes what is in use for the caller; `answer` gets the digest of the policy that is in use then.
async fn change(
    api: &Api,
    (caller, context): (&Caller, &AuditContext),
    headers: &HeaderMap,
    change: Change<'_>,
    answer: impl FnOnce(Option<String>) -> Response,
) -> Result<Response, Problem> {
    let voter = four_eyes::voter(api, (caller, Scope::PoliciesWrite), headers);
    Ok(match carry_out(api, &change, voter, context).await? {
        Outcome::Applied(Applied::Now(digest)) => answer(digest),
        Outcome::Applied(Applied::Already) => answer(None),
        Outcome::Proposed(id) => four_eyes::proposed(id),
    })
}

fn in_use(digest: Option<String>) -> Response {
    Json(InUseView { digest }).into_response()
}

fn no_content(_: Option<String>) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

refusals!(RollBackRefusals = [OtherScene, NothingToChange] + JSON_BODY + API_KEY);

/// Rolls back to the policy that was active before. A second call goes one step further back: what
/// was rolled back does not return. One person is enough, whatever `policies.four_eyes` says, because
/// this undoes mistakes in a hurry.
#[utoipa::path(
    post, path = "/v1/policies/rollback", operation_id = "roll-back-policy", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 200, body = InUseView), RollBackRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn roll_back(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let roll_back = Change::RollBack { scene: &scene };
    change(&api, (&caller, &context), &headers, roll_back, in_use).await
}

refusals!(
    DeactivateRefusals =
        [OtherScene, PersonMissing, NothingToChange, ProposalClosed] + JSON_BODY + API_KEY
);

/// Removes the scene's policy. The scene falls back to the general policy. With
/// `policies.four_eyes` the first call is a proposal.
#[utoipa::path(
    delete, path = "/v1/policies/active", operation_id = "deactivate-policy", tag = "policies",
    params(Purpose), request_body = OwnSceneRequest,
    responses(
        (status = 204, description = "The scene has no policy of its own any more"),
        (status = 202, description = "Proposed; a second person has to agree", body = ProposedView),
        DeactivateRefusals,
    ),
    security(("api-key" = ["policies:write"])),
)]
pub async fn deactivate(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let request: OwnSceneRequest = json_body::object(&api, &headers, body).await?;
    let scene = request.biz_type.as_str();
    caller.must_reach(scene)?;
    let deactivate = Change::Deactivate { scene };
    change(&api, (&caller, &context), &headers, deactivate, no_content).await
}

refusals!(
    PromoteRefusals =
        [OtherScene, PersonMissing, NothingToChange, ProposalClosed] + JSON_BODY + API_KEY
);

/// Activates the policy that is in shadow. With `policies.four_eyes` the first call is a proposal of
/// the policy that is in shadow then.
#[utoipa::path(
    post, path = "/v1/policies/promote", operation_id = "promote-shadow", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses(
        (status = 200, body = ActiveView),
        (status = 202, description = "Proposed; a second person has to agree", body = ProposedView),
        PromoteRefusals,
    ),
    security(("api-key" = ["policies:write"])),
)]
pub async fn promote(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let promote = Change::Promote { scene: &scene };
    change(&api, (&caller, &context), &headers, promote, in_use).await
}
