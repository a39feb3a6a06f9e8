//! `/v1/policies/…`: which policy decides where, and which one decides beside it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::{Caller, Scope};
use super::consent::{Consent, ProposedView};
use super::openapi::{PolicyPath, Purpose};
use super::policies::who;
use super::problem::Problem;
use super::{body, consent};
use crate::domain::callback::BizType;
use crate::domain::members::Members;
use crate::domain::proposal::Call;
use crate::store::audit::Doing;
use crate::store::policies::{Agreed, Changed, Use};
use crate::store::proposals::Second;

/// What became the active one.
#[derive(Serialize, ToSchema)]
pub(super) struct ActiveView {
    digest: String,
}

/// What became the active one again.
#[derive(Serialize, ToSchema)]
pub(super) struct RolledBackView {
    /// `null`: the scene has no policy of its own again.
    #[schema(required)]
    digest: Option<String>,
}

/// Which scene a change is about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handlers read by hand")]
pub(super) struct SceneRequest {
    /// Left out: all scenes without a policy of their own.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_type: Option<String>,
}

/// Which scene loses its own policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct OwnSceneRequest {
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_type: String,
}

/// The scene of a body that may be left out; empty: all scenes without a policy of their own. A key
/// that is limited to scenes has to name one of them.
async fn scene(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let members = body::object_or_nothing(api, headers, body).await?;
    let mut reader = Members::of(&members);
    let scene = reader.optional("/biz_type", BizType::parse);
    reader.only(&["biz_type"]);
    if !reader.errors.is_empty() {
        return Err(reader.errors.into());
    }
    let scene = scene.map_or_else(String::new, |scene| scene.as_str().to_owned());
    caller.must_reach(&scene)?;
    Ok(scene)
}

/// Has it decide from now on. With `policies.four_eyes` the first call is a proposal, and an
/// identical one by another person within 24 hours carries it out.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/activate", operation_id = "activate-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses(
        (status = 204, description = "It decides from now on; if it did before, nothing was changed or recorded"),
        (status = 202, description = "Proposed; another person has to agree", body = ProposedView),
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

/// Has it decide beside the active one.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/shadow", operation_id = "shadow-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses((status = 204, description = "It decides beside the active one from now on; if it did before, nothing was changed or recorded")),
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

/// Ends a shadow.
#[utoipa::path(
    delete, path = "/v1/policies/shadow", operation_id = "end-shadow", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 204, description = "Nothing decides beside any more; if nothing did before, nothing was changed or recorded")),
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
    let (caller, doing) = who(api, headers).await?;
    let scene = scene(api, &caller, headers, body).await?;
    if let Some(digest) = digest {
        api.reached_policy(&caller, digest).await?;
    }
    let Some(policy) = digest.filter(|_| kind == Use::Active) else {
        return use_policy(api, kind, &scene, digest, None, &doing).await;
    };
    let call = Call::Activate { scene: &scene, policy };
    with_consent(api, &caller, headers, &call, &doing, async |second| {
        use_policy(api, kind, &scene, digest, second.as_ref(), &doing).await
    })
    .await
}

async fn use_policy(
    api: &Api,
    kind: Use,
    scene: &str,
    digest: Option<&str>,
    second: Option<&Second>,
    doing: &Doing,
) -> Result<Response, Problem> {
    match api.store.use_policy(kind, scene, digest, second, doing).await? {
        Changed::Now | Changed::Before => Ok(StatusCode::NO_CONTENT.into_response()),
        Changed::Refused if second.is_some() => Err(Problem::proposal_closed()),
        Changed::Refused => Err(Problem::not_found()),
    }
}

/// Changes what decides. Where `policies.four_eyes` is on, only once a second person has agreed:
/// the first call is answered with its proposal.
async fn with_consent(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    call: &Call<'_>,
    doing: &Doing,
    change: impl AsyncFnOnce(Option<Second>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    if !api.policies_need_two {
        return change(None).await;
    }
    match consent::of_two(api, (caller, Scope::PoliciesWrite), headers, call, doing).await? {
        Consent::Given(second) => change(Some(second)).await,
        Consent::Waits(answer) => Ok(answer),
    }
}

/// What is active now becomes what was active before. Again, it goes one further back: what was
/// rolled back does not come back. One person is enough, whatever `policies.four_eyes` says: it is
/// how a mistake is undone in a hurry.
#[utoipa::path(
    post, path = "/v1/policies/rollback", operation_id = "roll-back-policy", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 200, body = ActiveView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn roll_back(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, doing) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let digest = api.store.roll_back_policy(&scene, &doing).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(RolledBackView { digest }).into_response())
}

/// Takes a scene's own policy away; what decides where there is none decides there again. With
/// `policies.four_eyes` the first call is a proposal.
#[utoipa::path(
    delete, path = "/v1/policies/active", operation_id = "deactivate-policy", tag = "policies",
    params(Purpose), request_body = OwnSceneRequest,
    responses(
        (status = 204, description = "The scene has no policy of its own any more"),
        (status = 202, description = "Proposed; another person has to agree", body = ProposedView),
    ),
    security(("api-key" = ["policies:write"])),
)]
pub async fn deactivate(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, doing) = who(&api, &headers).await?;
    let members = body::object(&api, &headers, body).await?;
    let mut reader = Members::of(&members);
    let scene = reader.required("/biz_type", BizType::parse);
    reader.only(&["biz_type"]);
    let Some(scene) = scene.filter(|_| reader.errors.is_empty()) else {
        return Err(reader.errors.into());
    };
    let scene = scene.as_str();
    caller.must_reach(scene)?;
    let policy = api.store.policy_in_use(Use::Active, scene).await?;
    let policy = policy.ok_or_else(Problem::nothing_to_change)?;
    let call = Call::Deactivate { scene, policy: &policy };
    with_consent(&api, &caller, &headers, &call, &doing, async |second| {
        let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
        if api.store.deactivate_policy(scene, agreed, &doing).await? {
            Ok(StatusCode::NO_CONTENT.into_response())
        } else {
            Err(changed_meanwhile(second.as_ref()))
        }
    })
    .await
}

/// The shadow becomes the active one. With `policies.four_eyes` the first call is a proposal of the
/// policy that is in shadow then.
#[utoipa::path(
    post, path = "/v1/policies/promote", operation_id = "promote-shadow", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses(
        (status = 200, body = ActiveView),
        (status = 202, description = "Proposed; another person has to agree", body = ProposedView),
    ),
    security(("api-key" = ["policies:write"])),
)]
pub async fn promote(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, doing) = who(&api, &headers).await?;
    let scene = scene(&api, &caller, &headers, body).await?;
    let policy = api.store.policy_in_use(Use::Shadow, &scene).await?;
    let policy = policy.ok_or_else(Problem::nothing_to_change)?;
    let call = Call::Promote { scene: &scene, policy: &policy };
    with_consent(&api, &caller, &headers, &call, &doing, async |second| {
        let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
        let digest = api.store.promote_shadow(&scene, agreed, &doing).await?;
        let digest = digest.ok_or_else(|| changed_meanwhile(second.as_ref()))?;
        Ok(Json(ActiveView { digest }).into_response())
    })
    .await
}

fn changed_meanwhile(second: Option<&Second>) -> Problem {
    if second.is_some() { Problem::proposal_closed() } else { Problem::nothing_to_change() }
}
