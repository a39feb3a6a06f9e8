//! `/v1/policies…`: policies as versioned data.

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
use super::openapi::{IfNoneMatch, PolicyPairPath, PolicyPath, Purpose, refusals};
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::{etag, read_body};
use crate::domain::byte_order_mark;
use crate::policies::operations::{Added, Listed, PolicyError, PolicyOperations, Turn};
use crate::store::audit::AuditContext;
use crate::store::policies::{Activation, PolicyRow, Use};
use policy::{Diagnostic, Severity};

#[derive(Serialize, ToSchema)]
pub(super) struct PolicyView {
    digest: String,
    name: String,
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
    /// Where it decides: `*` for all scenes without a policy of their own.
    active_for: Vec<String>,
    /// Where it is in shadow.
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

/// The result of checking a policy.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckedView {
    /// Whether it can be added: there are no errors.
    valid: bool,
    /// The digest that it would have; `null` if it is not valid.
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
    let policies = api.policies();
    let items = policies.list(&caller.scenes).await?.into_iter().map(PolicyView::from).collect();
    let activations = policies.activations(&caller.scenes).await?;
    let activations = activations.into_iter().map(ActivationView::from).collect();
    Ok(Json(PoliciesView { items, activations }).into_response())
}

refusals!(TextRefusals = [NotFound] + API_KEY);

/// The text of a policy.
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
    let found = api.policies().text(&digest, &caller.scenes).await?;
    etag::respond(&headers, &PolicyTextView { digest: found.digest, text: found.body })
}

refusals!(AddRefusals = [PolicyRefused] + BODY + API_KEY);

/// Adds a text (TOML), checked as by `verdict policy check`; it decides nothing yet.
#[utoipa::path(
    post, path = "/v1/policies", operation_id = "add-policy", tag = "policies",
    params(Purpose), request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 201, body = AddedView), (status = 200, description = "The policy was stored before", body = AddedView), AddRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn add(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (_, context) = who(&api, &headers).await?;
    let body = read_body::read(&api, body).await?;
    let Added { policy, new } = api.policies().add(policy_text(&body)?, &context).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let view = AddedView {
        digest: policy.digest().to_owned(),
        name: policy.name().to_owned(),
        warnings: finding_views(policy.warnings(), policy.text()),
    };
    Ok((status, Json(view)).into_response())
}

refusals!(CheckRefusals = [] + BODY + API_KEY);

/// Checks a text (TOML) as `verdict policy check` does, and keeps nothing.
#[utoipa::path(
    post, path = "/v1/policies/check", operation_id = "check-policy", tag = "policies",
    request_body(content = String, content_type = "application/toml", description = "The policy"),
    responses((status = 200, body = CheckedView, description = "Errors and warnings, whether or not it is valid"), CheckRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn check(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let body = read_body::read(&api, body).await?;
    let checked = api.policies().check(policy_text(&body)?).await?;
    let digest = checked.policy.as_ref().ok().map(|policy| policy.digest().to_owned());
    let findings = finding_views(checked.diagnostics(), &checked.text);
    Ok(Json(CheckedView { valid: digest.is_some(), digest, findings }).into_response())
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
    let policies = api.policies();
    let old = policies.text(&digest, &caller.scenes).await?;
    let new = policies.text(&other, &caller.scenes).await?;
    let changes = policies.diff(old.body, new.body).await?.into_iter().map(|line| ChangeView {
        change: if line.added { "added" } else { "removed" },
        line: line.line,
        text: line.text,
    });
    Ok(Json(DiffView { old: digest, new: other, changes: changes.collect() }).into_response())
}

fn policy_text(body: &[u8]) -> Result<String, Problem> {
    if body.is_empty() {
        return Err(Problem::invalid_field().field("body", "is missing: the policy, in TOML"));
    }
    String::from_utf8(body.to_vec())
        .map(byte_order_mark::removed)
        .map_err(|_| Problem::invalid_field().field("body", "must be a policy in UTF-8"))
}

fn finding_views(diagnostics: &[Diagnostic], text: &str) -> Vec<FindingView> {
    let view = |diagnostic: &Diagnostic| FindingView {
        severity: diagnostic.severity.into_str(),
        line: diagnostic.line,
        column: diagnostic.column(text),
        rule: diagnostic.rule.clone(),
        message: diagnostic.message.clone(),
    };
    diagnostics.iter().map(view).collect()
}

refusals!(ComparedRefusals = [NotFound] + API_KEY);

/// Compares the newest 100,000 decisions of a policy in shadow with those that took effect.
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
    let policies = api.policies();
    policies.text(&digest, &caller.scenes).await?;
    let compared = policies.compare_shadow(&digest, &caller.scenes).await?;
    let outcomes = compared.counts.into_iter().map(|count| ShadowCountView {
        active: count.active_outcome,
        shadow: count.outcome,
        count: count.count,
    });
    let view = ShadowView {
        policy: digest,
        decisions: compared.decisions,
        agree: compared.agree,
        outcomes: outcomes.collect(),
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

impl From<Listed> for PolicyView {
    fn from(Listed { policy, uses }: Listed) -> Self {
        let of = |wanted: Use| -> Vec<String> {
            let fitting = uses.iter().filter(|(kind, _)| *kind == wanted);
            let name = |scene: &str| if scene.is_empty() { "*" } else { scene }.to_owned();
            fitting.map(|(_, scene)| name(scene)).collect()
        };
        let (active_for, shadow_for) = (of(Use::Active), of(Use::Shadow));
        let PolicyRow { digest, name, added_at } = policy;
        Self { digest, name, added_at, active_for, shadow_for }
    }
}

impl Api {
    /// Policy operations for requests. A request is refused if many others already wait.
    pub fn policies(&self) -> PolicyOperations<'_> {
        PolicyOperations::new(&self.store, Turn::RefuseIfBusy)
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Refused(diagnostics) => {
                let errors =
                    diagnostics.iter().filter(|found| found.severity == Severity::Error).take(50);
                errors.fold(Self::policy_refused(), |problem, error| {
                    problem.field("body", error.to_string())
                })
            }
            PolicyError::Unknown => Self::not_found(),
            PolicyError::NothingToChange => Self::nothing_to_change(),
            PolicyError::ProposalClosed => Self::proposal_closed(),
            PolicyError::Busy => crate::lanes::Busy.into(),
            PolicyError::Store(error) => error.into(),
        }
    }
}
