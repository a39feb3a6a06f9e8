//! `/v1/policies…`: policies as versioned data.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Api;
use super::auth::{Caller, Scope};
use super::openapi::{IfNoneMatch, PolicyPairPath, PolicyPath, Purpose, refusals};
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::{body, etag};
use crate::domain::byte_order_mark;
use crate::lanes::requested_policy_work;
use crate::policy::{self, Change, Finding, Policy, Severity};
use crate::store::audit::AuditContext;
use crate::store::policies::{Activation, PolicyRow, PolicyText, ShadowCount, Use};

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
    /// The purpose given for the change.
    purpose: Option<String>,
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

refusals!(PoliciesRefusals = [] + API_KEY);

/// Every policy, and which was used when. A key that is limited to scenes sees what is used there or
/// in all scenes, and what was never used.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "list-policies", tag = "policies",
    responses((status = 200, body = PoliciesView), PoliciesRefusals),
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

refusals!(TextRefusals = [NotFound] + API_KEY);

/// The text of one.
#[utoipa::path(
    get, path = "/v1/policies/{digest}", operation_id = "get-policy", tag = "policies",
    params(PolicyPath, IfNoneMatch),
    responses((status = 200, body = PolicyTextView, headers(("ETag" = String))), (status = 304, description = "Not modified"), TextRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn text(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let found = api.visible_policy(&caller, &digest).await?;
    etag::respond(&headers, &PolicyTextView { digest: found.digest, text: found.body })
}

refusals!(AddRefusals = [PolicyRefused] + BODY + API_KEY);

/// Adds a text (TOML), checked as by `verdict policy check`; it decides nothing yet.
#[utoipa::path(
    post, path = "/v1/policies", operation_id = "add-policy", tag = "policies",
    params(Purpose), request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 201, body = AddedView), (status = 200, description = "It was known already", body = AddedView), AddRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn add(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (_, context) = who(&api, &headers).await?;
    let body = body::read(&api, body).await?;
    let (text, loaded) = load(policy_text(&body)?).await?;
    let policy = loaded.map_err(|findings| {
        let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.take(50).fold(Problem::policy_refused(), |problem, finding| {
            problem.field("body", finding.to_string())
        })
    })?;
    let new = api.store.add_policy(policy.digest(), policy.name(), &text, &context).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let view = AddedView {
        digest: policy.digest().to_owned(),
        name: policy.name().to_owned(),
        warnings: policy.warnings().iter().map(|finding| finding_view(finding, &text)).collect(),
    };
    Ok((status, Json(view)).into_response())
}

refusals!(CheckRefusals = [] + BODY + API_KEY);

/// Checks a text (TOML) as `verdict policy check` does, and keeps nothing.
#[utoipa::path(
    post, path = "/v1/policies/check", operation_id = "check-policy", tag = "policies",
    request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 200, body = CheckedView, description = "What there is to say, good or not"), CheckRefusals),
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

refusals!(DiffRefusals = [NotFound] + API_KEY);

/// What differs between two policies, line by line.
#[utoipa::path(
    get, path = "/v1/policies/{digest}/diff/{other}", operation_id = "diff-policies", tag = "policies",
    params(PolicyPairPath),
    responses((status = 200, body = DiffView), DiffRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn diff(
    State(api): State<Api>,
    Path((digest, other)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let old = api.visible_policy(&caller, &digest).await?;
    let new = api.visible_policy(&caller, &other).await?;
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
        .map(byte_order_mark::removed)
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

refusals!(ComparedRefusals = [NotFound] + API_KEY);

/// How a policy in shadow compares with what counted, by its newest 100,000 decisions.
#[utoipa::path(
    get, path = "/v1/policies/{digest}/shadow", operation_id = "compare-shadow", tag = "policies",
    params(PolicyPath),
    responses((status = 200, body = ShadowView), ComparedRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn compared(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    api.visible_policy(&caller, &digest).await?;
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
pub(super) async fn who(api: &Api, headers: &HeaderMap) -> Result<(Caller, AuditContext), Problem> {
    let caller = api.keys.require(headers, Scope::PoliciesWrite).await?;
    let context = optional_purpose(api, &caller, headers)?;
    Ok((caller, context))
}

impl From<Activation> for ActivationView {
    fn from(of: Activation) -> Self {
        Self {
            kind: of.kind,
            biz_type: Some(of.biz_type).filter(|scene| !scene.is_empty()),
            digest: of.digest,
            activated_at: of.activated_at,
            activated_by: of.activated_by,
            purpose: of.purpose,
        }
    }
}
