//! `/v1/policies/…`: which policy decides in which scene, and which is in shadow.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::{Caller, Scope};
use super::four_eyes::{Consent, ProposedView};
use super::openapi::{PolicyPath, Purpose, refusals};
use super::policies::who;
use super::problem::Problem;
use super::request_body::request_body;
use super::{body, four_eyes};
use crate::domain::callback::BizType;
use crate::domain::proposal::Call;
use crate::store::audit::AuditContext;
use crate::store::policies::{Agreed, Changed, Use};
use crate::store::proposals::Second;

/// The policy that is active now.
#[derive(Serialize, ToSchema)]
pub(super) struct ActiveView {
    digest: String,
}

/// The policy that is active again.
#[derive(Serialize, ToSchema)]
pub(super) struct RolledBackView {
    /// `null`: the scene has no policy of its own any more.
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

/// The scene in an optional body; empty: all scenes without a policy of their own. A key limited to
/// scenes must name one of them.
async fn scene(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let request: SceneRequest = body::json_or_nothing(api, headers, body).await?;
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
    change(&api, Use::Active, Some(&digest), &headers, body).await
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
    change(&api, Use::Shadow, Some(&digest), &headers, body).await
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
    change(&api, Use::Shadow, None, &headers, body).await
}

async fn change(
    api: &Api,
    kind: Use,
    digest: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(api, headers).await?;
    let scene = scene(api, &caller, headers, body).await?;
    if let Some(digest) = digest {
        api.visible_policy(&caller, digest).await?;
    }
    let Some(policy) = digest.filter(|_| kind == Use::Active) else {
        return use_policy(api, kind, &scene, digest, None, &context).await;
    };
    let call = Call::Activate { scene: &scene, policy };
    with_consent(api, &caller, headers, &call, &context, async |second| {
        use_policy(api, kind, &scene, digest, second.as_ref(), &context).await
    })
    .await
}

async fn use_policy(
    api: &Api,
    kind: Use,
    scene: &str,
    digest: Option<&str>,
    second: Option<&Second>,
    context: &AuditContext,
) -> Result<Response, Problem> {
    match api.store.use_policy(kind, scene, digest, second, context).await? {
        Changed::Now | Changed::Before => Ok(StatusCode::NO_CONTENT.into_response()),
        Changed::Refused if second.is_some() => Err(Problem::proposal_closed()),
        Changed::Refused => Err(Problem::not_found()),
    }
}

/// Changes the active policy. With `policies.four_eyes` only after a second person has agreed: the
/// first call is answered with its proposal.
async fn with_consent(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    call: &Call<'_>,
    context: &AuditContext,
    change: impl AsyncFnOnce(Option<Second>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    if !api.policies_need_two {
        return change(None).await;
    }
    match four_eyes::require_second_person(
        api,
        (caller, Scope::PoliciesWrite),
        headers,
        call,
        context,
    )
    .await?
    {
        Consent::Given(second) => change(Some(second)).await,
        Consent::Proposed(answer) => Ok(answer),
    }
}

refusals!(RollBackRefusals = [OtherScene, NothingToChange] + JSON_BODY + API_KEY);

/// Rolls back to the policy that was active before. A second call goes one step further back: what
/// was rolled back does not return. One person is enough, whatever `policies.four_eyes` says, because
/// this undoes mistakes in a hurry.
#[utoipa::path(
    post, path = "/v1/policies/rollback", operation_id = "roll-back-policy", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 200, body = ActiveView), RollBackRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn roll_back(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let digest = api.store.roll_back_policy(&scene, &context).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(RolledBackView { digest }).into_response())
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
    let request: OwnSceneRequest = body::json(&api, &headers, body).await?;
    let scene = request.biz_type.as_str();
    caller.must_reach(scene)?;
    let policy = api.store.policy_in_use(Use::Active, scene).await?;
    let policy = policy.ok_or_else(Problem::nothing_to_change)?;
    let call = Call::Deactivate { scene, policy: &policy };
    with_consent(&api, &caller, &headers, &call, &context, async |second| {
        let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
        if api.store.deactivate_policy(scene, agreed, &context).await? {
            Ok(StatusCode::NO_CONTENT.into_response())
        } else {
            Err(changed_meanwhile(second.as_ref()))
        }
    })
    .await
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
    let policy = api.store.policy_in_use(Use::Shadow, &scene).await?;
    let policy = policy.ok_or_else(Problem::nothing_to_change)?;
    let call = Call::Promote { scene: &scene, policy: &policy };
    with_consent(&api, &caller, &headers, &call, &context, async |second| {
        let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
        let digest = api.store.promote_shadow(&scene, agreed, &context).await?;
        let digest = digest.ok_or_else(|| changed_meanwhile(second.as_ref()))?;
        Ok(Json(ActiveView { digest }).into_response())
    })
    .await
}

fn changed_meanwhile(second: Option<&Second>) -> Problem {
    if second.is_some() { Problem::proposal_closed() } else { Problem::nothing_to_change() }
}
