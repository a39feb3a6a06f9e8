//! `/v1/policies…`: policies as versioned data.

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
use super::openapi::{IfNoneMatch, PolicyPairPath, PolicyPath, Purpose};
use super::problem::Problem;
use super::{body, conditional, consent};
use crate::domain::callback::BizType;
use crate::domain::members::Members;
use crate::domain::proposal::Call;
use crate::lanes::requested_policy_work;
use crate::policy::{self, Change, Finding, Policy, Severity};
use crate::store::audit::Doing;
use crate::store::policies::{Activation, Agreed, PolicyRow, PolicyText, ShadowCount, Use};
use crate::store::proposals::Second;

#[derive(Serialize, ToSchema)]
pub(super) struct PolicyView {
    digest: String,
    name: String,
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
    /// Where it decides: `*` for all scenes without a policy of their own.
    active_for: Vec<String>,
    /// Where it decides beside.
    shadow_for: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PoliciesView {
    items: Vec<PolicyView>,
    activations: Vec<ActivationView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ActivationView {
    kind: String,
    biz_type: Option<String>,
    digest: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    activated_at: OffsetDateTime,
    activated_by: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PolicyTextView {
    digest: String,
    text: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AddedView {
    digest: String,
    name: String,
    warnings: Vec<FindingView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FindingView {
    /// `error` or `warning`.
    severity: &'static str,
    /// From 1; `null` where it is about the text as a whole.
    #[schema(required)]
    line: Option<usize>,
    /// In characters, from 1.
    #[schema(required)]
    column: Option<usize>,
    #[schema(required)]
    rule: Option<String>,
    message: String,
}

/// What there is to say about a policy.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckedView {
    /// It would be taken: there are no errors.
    good: bool,
    /// What it would be known by; `null` if it is not good.
    #[schema(required)]
    digest: Option<String>,
    /// In the order of the text.
    findings: Vec<FindingView>,
}

/// What differs between two policies.
#[derive(Serialize, ToSchema)]
pub(super) struct DiffView {
    old: String,
    new: String,
    /// Lines of one and not of the other, in the order of the text.
    changes: Vec<ChangeView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ChangeView {
    /// `removed` or `added`.
    change: &'static str,
    /// In the text it is in, from 1.
    line: usize,
    text: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ShadowView {
    policy: String,
    decisions: i64,
    agree: i64,
    outcomes: Vec<ShadowCountView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ShadowCountView {
    active: String,
    shadow: String,
    count: i64,
}

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

/// Every policy, and which was used when. A key that is limited to scenes sees what is used there or
/// in all scenes, and what was never used.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "list-policies", tag = "policies",
    responses((status = 200, body = PoliciesView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let seen = |scene: &str| scene.is_empty() || caller.scenes.include_name(scene);
    let mut in_use = api.store.policies_in_use().await?;
    in_use.retain(|used| seen(&used.biz_type));
    let mut policies = api.store.policies().await?;
    if let Some(scenes) = caller.scenes.names() {
        let hidden = api.store.policies_of_other_scenes(&scenes).await?;
        policies.retain(|policy| !hidden.contains(&policy.digest));
    }
    let mut activations = api.store.activations().await?;
    activations.retain(|activation| seen(&activation.biz_type));
    let of = |digest: &str, kind: Use| -> Vec<String> {
        let fitting =
            in_use.iter().filter(|used| used.digest == digest && used.kind == kind.as_str());
        fitting
            .map(
                |used| {
                    if used.biz_type.is_empty() { "*".to_owned() } else { used.biz_type.clone() }
                },
            )
            .collect()
    };
    let items = policies.into_iter().map(|PolicyRow { digest, name, added_at }| {
        let (active_for, shadow_for) = (of(&digest, Use::Active), of(&digest, Use::Shadow));
        PolicyView { digest, name, added_at, active_for, shadow_for }
    });
    let items = items.collect();
    let activations = activations.into_iter().map(ActivationView::from).collect();
    Ok(Json(PoliciesView { items, activations }).into_response())
}

/// The text of one.
#[utoipa::path(
    get, path = "/v1/policies/{digest}", operation_id = "get-policy", tag = "policies",
    params(PolicyPath, IfNoneMatch),
    responses((status = 200, body = PolicyTextView, headers(("ETag" = String))), (status = 304, description = "As it was")),
    security(("api-key" = ["policies:write"])),
)]
pub async fn text(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let found = api.reached_policy(&caller, &digest).await?;
    conditional::answer(&headers, &PolicyTextView { digest: found.digest, text: found.body })
}

/// Adds a text (TOML), checked as by `verdict policy check`; it decides nothing yet.
#[utoipa::path(
    post, path = "/v1/policies", operation_id = "add-policy", tag = "policies",
    params(Purpose), request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 201, body = AddedView), (status = 200, description = "It was known already", body = AddedView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn add(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (_, doing) = who(&api, &headers).await?;
    let body = body::read(&api, body).await?;
    let (text, loaded) = load(policy_text(&body)?).await?;
    let policy = loaded.map_err(|findings| {
        let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.take(50).fold(Problem::policy_refused(), |problem, finding| {
            problem.field("body", finding.to_string())
        })
    })?;
    let new = api.store.add_policy(policy.digest(), policy.name(), &text, &doing).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let view = AddedView {
        digest: policy.digest().to_owned(),
        name: policy.name().to_owned(),
        warnings: policy.warnings().iter().map(|finding| finding_view(finding, &text)).collect(),
    };
    Ok((status, Json(view)).into_response())
}

/// Checks a text (TOML) as `verdict policy check` does, and keeps nothing.
#[utoipa::path(
    post, path = "/v1/policies/check", operation_id = "check-policy", tag = "policies",
    request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 200, body = CheckedView, description = "What there is to say, good or not")),
    security(("api-key" = ["policies:write"])),
)]
pub async fn check(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let body = body::read(&api, body).await?;
    let (text, loaded) = load(policy_text(&body)?).await?;
    let (digest, findings) = match loaded {
        Ok(policy) => (Some(policy.digest().to_owned()), policy.warnings().to_vec()),
        Err(findings) => (None, findings),
    };
    let findings = findings.iter().map(|finding| finding_view(finding, &text)).collect();
    Ok(Json(CheckedView { good: digest.is_some(), digest, findings }).into_response())
}

/// What differs between two policies, line by line.
#[utoipa::path(
    get, path = "/v1/policies/{digest}/diff/{other}", operation_id = "diff-policies", tag = "policies",
    params(PolicyPairPath),
    responses((status = 200, body = DiffView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn diff(
    State(api): State<Api>,
    Path((digest, other)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let old = api.reached_policy(&caller, &digest).await?;
    let new = api.reached_policy(&caller, &other).await?;
    let view = |change: Change<'_>| ChangeView {
        change: if change.added { "added" } else { "removed" },
        line: change.line,
        text: change.text.to_owned(),
    };
    let compare = move || policy::diff(&old.body, &new.body).into_iter().map(view).collect();
    let changes = requested_policy_work(compare).await?;
    Ok(Json(DiffView { old: digest, new: other, changes }).into_response())
}

/// Loads a text off the runtime, and gives it back with what came of it.
async fn load(text: String) -> Result<(String, Result<Policy, Vec<Finding>>), Problem> {
    let load = move || {
        let loaded = Policy::load(&text);
        (text, loaded)
    };
    Ok(requested_policy_work(load).await?)
}

/// The policy that a path names. Only a well-formed digest reaches the database: it has texts that
/// Postgres cannot hold (a NUL, say) refused as what they are, names of nothing.
pub(super) async fn known_policy(api: &Api, digest: &str) -> Result<PolicyText, Problem> {
    if !is_digest(digest) {
        return Err(Problem::not_found());
    }
    api.store.policy_text(digest).await?.ok_or_else(Problem::not_found)
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && rest.bytes().all(hex))
}

fn policy_text(body: &[u8]) -> Result<String, Problem> {
    if body.is_empty() {
        return Err(Problem::invalid_field().field("body", "is missing: the policy, in TOML"));
    }
    String::from_utf8(body.to_vec())
        .map_err(|_| Problem::invalid_field().field("body", "must be a policy in UTF-8"))
}

fn finding_view(finding: &Finding, text: &str) -> FindingView {
    FindingView {
        severity: finding.severity.as_str(),
        line: finding.line,
        column: finding.column(text),
        rule: finding.rule.clone(),
        message: finding.message.clone(),
    }
}

/// Has it decide from now on. With `policies.four_eyes` the first call is a proposal, and an
/// identical one by another person within 24 hours carries it out.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/activate", operation_id = "activate-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses(
        (status = 204, description = "It decides from now on"),
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
    responses((status = 204, description = "It decides beside the active one from now on")),
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
    responses((status = 204, description = "Nothing decides beside any more")),
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
    let second = match digest.filter(|_| kind == Use::Active) {
        None => None,
        Some(policy) => {
            let call = Call::Activate { scene: &scene, policy };
            match of_two(api, &caller, headers, &call, &doing).await? {
                None => None,
                Some(Consent::Given(second)) => Some(second),
                Some(Consent::Waits(answer)) => return Ok(answer),
            }
        }
    };
    if !api.store.use_policy(kind, &scene, digest, second.as_ref(), &doing).await? {
        return Err(if second.is_some() {
            Problem::proposal_closed()
        } else {
            Problem::not_found()
        });
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The consent of a second person to change what decides; `None`: one is enough.
async fn of_two(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    call: &Call<'_>,
    doing: &Doing,
) -> Result<Option<Consent>, Problem> {
    if !api.policies_need_two {
        return Ok(None);
    }
    consent::of_two(api, (caller, Scope::PoliciesWrite), headers, call, doing).await.map(Some)
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
    let second = match of_two(&api, &caller, &headers, &call, &doing).await? {
        None => None,
        Some(Consent::Given(second)) => Some(second),
        Some(Consent::Waits(answer)) => return Ok(answer),
    };
    let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
    if !api.store.deactivate_policy(scene, agreed, &doing).await? {
        return Err(changed_meanwhile(second.as_ref()));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
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
    let second = match of_two(&api, &caller, &headers, &call, &doing).await? {
        None => None,
        Some(Consent::Given(second)) => Some(second),
        Some(Consent::Waits(answer)) => return Ok(answer),
    };
    let agreed = second.as_ref().map(|second| Agreed { policy: &policy, second });
    let digest = api.store.promote_shadow(&scene, agreed, &doing).await?;
    let digest = digest.ok_or_else(|| changed_meanwhile(second.as_ref()))?;
    Ok(Json(ActiveView { digest }).into_response())
}

fn changed_meanwhile(second: Option<&Second>) -> Problem {
    if second.is_some() { Problem::proposal_closed() } else { Problem::nothing_to_change() }
}

/// How a policy in shadow compares with what counted, by its newest 100,000 decisions.
#[utoipa::path(
    get, path = "/v1/policies/{digest}/shadow", operation_id = "compare-shadow", tag = "policies",
    params(PolicyPath),
    responses((status = 200, body = ShadowView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn compared(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    api.reached_policy(&caller, &digest).await?;
    let scenes = caller.scenes.names();
    let counts = api.store.shadow_counts(&digest, scenes.as_deref()).await?;
    let agrees = |count: &&ShadowCount| count.outcome == count.active_outcome;
    let view = ShadowView {
        policy: digest,
        decisions: counts.iter().map(|count| count.count).sum(),
        agree: counts.iter().filter(agrees).map(|count| count.count).sum(),
        outcomes: counts
            .into_iter()
            .map(|count| ShadowCountView {
                active: count.active_outcome,
                shadow: count.outcome,
                count: count.count,
            })
            .collect(),
    };
    Ok(Json(view).into_response())
}

/// Who asks; a purpose may be said, and is recorded.
pub(super) async fn who(api: &Api, headers: &HeaderMap) -> Result<(Caller, Doing), Problem> {
    let caller = api.keys.require(headers, Scope::PoliciesWrite).await?;
    let doing = may_say_why(api, &caller, headers)?;
    Ok((caller, doing))
}

impl From<Activation> for ActivationView {
    fn from(of: Activation) -> Self {
        Self {
            kind: of.kind,
            biz_type: Some(of.biz_type).filter(|scene| !scene.is_empty()),
            digest: of.digest,
            activated_at: of.activated_at,
            activated_by: of.activated_by,
        }
    }
}
