//! `/v1/policies…` and `/v1/backtests/{id}`: policies as versioned data.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Api;
use super::auth::Scope;
use super::material::purpose;
use super::parameters::Parameters;
use super::problem::Problem;
use crate::domain::callback::BizType;
use crate::policy::{Finding, Policy, Severity};
use crate::store::audit::Doing;
use crate::store::policies::{Activation, PolicyRow, ShadowCount, Use};

#[derive(Serialize)]
struct PolicyView {
    digest: String,
    name: String,
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
    /// Where it decides: `*` for all scenes without a policy of their own.
    active_for: Vec<String>,
    /// Where it decides beside.
    shadow_for: Vec<String>,
}

#[derive(Serialize)]
struct ListView {
    items: Vec<PolicyView>,
    activations: Vec<ActivationView>,
}

#[derive(Serialize)]
struct ActivationView {
    kind: String,
    biz_type: Option<String>,
    digest: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    activated_at: OffsetDateTime,
    activated_by: String,
}

#[derive(Serialize)]
struct TextView {
    digest: String,
    text: String,
}

#[derive(Serialize)]
struct AddedView {
    digest: String,
    name: String,
    warnings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FindingView {
    line: Option<usize>,
    rule: Option<String>,
    message: String,
}

#[derive(Serialize)]
struct ShadowView {
    policy: String,
    decisions: i64,
    agree: i64,
    outcomes: Vec<ShadowCountView>,
}

#[derive(Serialize)]
struct ShadowCountView {
    active: String,
    shadow: String,
    count: i64,
}

#[derive(Serialize)]
struct BacktestView {
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
    comparison: serde_json::Value,
}

/// What a change or a backtest is about; everything may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    biz_type: Option<String>,
    since: Option<String>,
}

impl Wanted {
    fn read(body: &Bytes) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|_| {
            Problem::malformed_json().detail("An object with biz_type and since, or nothing")
        })
    }

    /// Empty: all scenes without a policy of their own.
    fn scene(&self) -> Result<String, Problem> {
        let Some(scene) = &self.biz_type else { return Ok(String::new()) };
        match BizType::parse(scene) {
            Ok(scene) => Ok(scene.as_str().to_owned()),
            Err(_) => Err(Problem::invalid_field().field("/biz_type", "is not a biz_type")),
        }
    }

    fn since(&self) -> Result<Option<OffsetDateTime>, Problem> {
        let parse = |text: &String| OffsetDateTime::parse(text, &Rfc3339);
        self.since.as_ref().map(parse).transpose().map_err(|_| {
            Problem::invalid_field().field("/since", "must be a time, like 2026-11-23T09:30:00Z")
        })
    }
}

/// Every policy, and which was used when.
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
    Ok(Json(ListView { items, activations }).into_response())
}

/// The text of one.
pub async fn text(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let found = api.store.policy_text(&digest).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(TextView { digest: found.digest, text: found.body }).into_response())
}

/// Adds a text (TOML), checked as by `verdict policy check`; it decides nothing yet.
pub async fn add(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
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
pub async fn activate(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    change(&api, Use::Active, Some(&digest), &headers, &body).await
}

/// Has it decide beside the active one.
pub async fn shadow(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    change(&api, Use::Shadow, Some(&digest), &headers, &body).await
}

/// Ends a shadow.
pub async fn end_shadow(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    change(&api, Use::Shadow, None, &headers, &body).await
}

async fn change(
    api: &Api,
    kind: Use,
    digest: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let doing = who(api, headers).await?;
    let scene = Wanted::read(body)?.scene()?;
    if !api.store.use_policy(kind, &scene, digest, &doing).await? {
        return Err(Problem::not_found());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What is active now becomes what was active before.
pub async fn roll_back(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
    let scene = Wanted::read(&body)?.scene()?;
    let digest = api.store.roll_back_policy(&scene, &doing).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(serde_json::json!({ "digest": digest })).into_response())
}

/// The shadow becomes the active one.
pub async fn promote(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
    let scene = Wanted::read(&body)?.scene()?;
    let digest = api.store.promote_shadow(&scene, &doing).await?;
    let digest = digest.ok_or_else(Problem::nothing_to_change)?;
    Ok(Json(serde_json::json!({ "digest": digest })).into_response())
}

/// How a policy in shadow compares with what counted.
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
pub async fn backtest(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let doing = who(&api, &headers).await?;
    let wanted = Wanted::read(&body)?;
    let (scene, since) = (wanted.scene()?, wanted.since()?);
    api.store.policy_text(&digest).await?.ok_or_else(Problem::not_found)?;
    let id: Uuid = api.ids.next(doing.at);
    let scene = Some(scene.as_str()).filter(|scene| !scene.is_empty());
    api.store.ask_for_backtest(id, &digest, since, scene, &doing.actor, doing.at).await?;
    api.signals.task_is_due();
    let location = format!("/v1/backtests/{id}");
    let view = serde_json::json!({ "id": id, "state": "running" });
    Ok((StatusCode::ACCEPTED, [(http::header::LOCATION, location)], Json(view)).into_response())
}

/// How far a backtest has come, and what came of it.
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
