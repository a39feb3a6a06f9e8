//! `/v1/policies…` and `/v1/backtests/{id}`: policies as versioned data.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Api;
use super::auth::Scope;
use super::material::purpose;
use super::openapi::{BacktestPath, IfNoneMatch, PolicyPath, Purpose};
use super::parameters::Parameters;
use super::problem::Problem;
use super::verifications::parse_time;
use super::{body, conditional};
use crate::domain::callback::BizType;
use crate::domain::members::Members;
use crate::policy::{Finding, Policy, Severity};
use crate::store::audit::Doing;
use crate::store::policies::{Activation, PolicyRow, ShadowCount, Use};

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
    line: Option<usize>,
    rule: Option<String>,
    message: String,
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

#[derive(Serialize, ToSchema)]
pub(super) struct BacktestView {
    id: Uuid,
    policy: String,
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    biz_type: Option<String>,
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    /// What came of it so far.
    #[schema(value_type = ComparisonView)]
    comparison: serde_json::Value,
}

/// How two policies compare over many cases.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `policy::Comparison`, which knows no HTTP")]
pub(super) struct ComparisonView {
    /// Cases.
    #[schema(minimum = 0)]
    decisions: Option<u64>,
    /// Cases with another outcome.
    #[schema(minimum = 0)]
    flips: Option<u64>,
    /// How many of each old outcome (row) have each new one (column): approve, retry, review,
    /// reject.
    matrix: Option<Vec<Vec<u64>>>,
    /// Flips by what they are and why.
    kinds: Option<BTreeMap<String, u64>>,
    /// Cases and flips by day of the answer.
    days: Option<BTreeMap<String, Vec<u64>>>,
    /// Cases by lowest score, whole points from 0 to 100.
    scores: Option<Vec<u64>>,
    /// Flips by lowest score.
    flipped_scores: Option<Vec<u64>>,
}

/// What became the active one.
#[derive(Serialize, ToSchema)]
pub(super) struct ActiveView {
    digest: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct BacktestStartedView {
    id: Uuid,
    state: &'static str,
}

/// Which scene a change is about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handlers read by hand")]
pub(super) struct SceneRequest {
    /// Left out: all scenes without a policy of their own.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[!-.0-\[\]-~]+$")]
    biz_type: Option<String>,
}

/// What a policy is tried on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct BacktestRequest {
    /// Left out: all scenes.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[!-.0-\[\]-~]+$")]
    biz_type: Option<String>,
    /// Left out: everything there is.
    #[schema(format = DateTime)]
    since: Option<String>,
}

/// The scene of a body that may be left out; empty: all scenes without a policy of their own.
async fn scene(api: &Api, headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let members = body::object_or_nothing(api, headers, body).await?;
    let mut reader = Members::of(&members);
    let scene = reader.optional("/biz_type", BizType::parse);
    reader.only(&["biz_type"]);
    if reader.errors.is_empty() {
        Ok(scene.map_or_else(String::new, |scene| scene.as_str().to_owned()))
    } else {
        Err(reader.errors.into())
    }
}

/// Every policy, and which was used when.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "list-policies", tag = "policies",
    responses((status = 200, body = PoliciesView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let in_use = api.store.policies_in_use().await?;
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
    let items =
        api.store.policies().await?.into_iter().map(|PolicyRow { digest, name, added_at }| {
            let (active_for, shadow_for) = (of(&digest, Use::Active), of(&digest, Use::Shadow));
            PolicyView { digest, name, added_at, active_for, shadow_for }
        });
    let items = items.collect();
    let activations =
        api.store.activations().await?.into_iter().map(ActivationView::from).collect();
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
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let found = api.store.policy_text(&digest).await?.ok_or_else(Problem::not_found)?;
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
    let doing = who(&api, &headers).await?;
    let body = body::read(&api, body).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Problem::invalid_field().field("body", "must be a policy in UTF-8"))?;
    let policy = Policy::load(text).map_err(|findings| {
        let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.take(50).fold(Problem::policy_refused(), |problem, finding| {
            problem.field("body", finding.to_string())
        })
    })?;
    let new = api.store.add_policy(policy.digest(), policy.name(), text, &doing).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let view = AddedView {
        digest: policy.digest().to_owned(),
        name: policy.name().to_owned(),
        warnings: policy.warnings().iter().map(FindingView::from).collect(),
    };
    Ok((status, Json(view)).into_response())
}

/// Has it decide from now on.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/activate", operation_id = "activate-policy", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<SceneRequest>,
    responses((status = 204, description = "It decides from now on")),
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
    let doing = who(api, headers).await?;
    let scene = scene(api, headers, body).await?;
    if !api.store.use_policy(kind, &scene, digest, &doing).await? {
        return Err(Problem::not_found());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What is active now becomes what was active before.
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
    let doing = who(&api, &headers).await?;
    let scene = scene(&api, &headers, body).await?;
    let digest = api.store.roll_back_policy(&scene, &doing).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(ActiveView { digest }).into_response())
}

/// The shadow becomes the active one.
#[utoipa::path(
    post, path = "/v1/policies/promote", operation_id = "promote-shadow", tag = "policies",
    params(Purpose), request_body = Option<SceneRequest>,
    responses((status = 200, body = ActiveView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn promote(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
    let scene = scene(&api, &headers, body).await?;
    let digest = api.store.promote_shadow(&scene, &doing).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(ActiveView { digest }).into_response())
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
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    api.store.policy_text(&digest).await?.ok_or_else(Problem::not_found)?;
    let counts = api.store.shadow_counts(&digest).await?;
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

/// Has a policy tried on the decisions of the past, by a worker.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/backtests", operation_id = "start-backtest", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<BacktestRequest>,
    responses((status = 202, body = BacktestStartedView, headers(("Location" = String)))),
    security(("api-key" = ["policies:write"])),
)]
pub async fn backtest(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
    let members = body::object_or_nothing(&api, &headers, body).await?;
    let mut reader = Members::of(&members);
    let scene = reader.optional("/biz_type", BizType::parse);
    let since = reader.optional("/since", |text| {
        parse_time(text).ok_or("must be a time, like 2026-11-23T09:30:00Z")
    });
    reader.only(&["biz_type", "since"]);
    if !reader.errors.is_empty() {
        return Err(reader.errors.into());
    }
    api.store.policy_text(&digest).await?.ok_or_else(Problem::not_found)?;
    let id: Uuid = api.ids.next(doing.at);
    let scene = scene.as_ref().map(BizType::as_str);
    api.store.ask_for_backtest(id, &digest, since, scene, &doing.actor, doing.at).await?;
    api.signals.task_is_due();
    let location = format!("/v1/backtests/{id}");
    let view = BacktestStartedView { id, state: "running" };
    Ok((StatusCode::ACCEPTED, [(http::header::LOCATION, location)], Json(view)).into_response())
}

/// How far a backtest has come, and what came of it.
#[utoipa::path(
    get, path = "/v1/backtests/{id}", operation_id = "get-backtest", tag = "policies",
    params(BacktestPath),
    responses((status = 200, body = BacktestView)),
    security(("api-key" = ["policies:write"])),
)]
pub async fn backtested(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    Parameters::parse(query.as_deref())?.finish()?;
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    let run = api.store.backtest(id).await?.ok_or_else(Problem::not_found)?;
    let view = BacktestView {
        id: run.id,
        policy: run.digest,
        since: run.since,
        biz_type: run.biz_type,
        state: run.state,
        created_at: run.created_at,
        updated_at: run.updated_at,
        comparison: run.comparison.0,
    };
    Ok(Json(view).into_response())
}

/// Who asks; a purpose may be said, and is recorded.
async fn who(api: &Api, headers: &HeaderMap) -> Result<Doing, Problem> {
    let caller = api.keys.require(headers, Scope::PoliciesWrite).await?;
    Ok(Doing {
        actor: format!("key:{}", caller.key_id),
        purpose: purpose(headers)?,
        at: api.clock.now(),
    })
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

impl From<&Finding> for FindingView {
    fn from(of: &Finding) -> Self {
        Self { line: of.line, rule: of.rule.clone(), message: of.message.clone() }
    }
}
