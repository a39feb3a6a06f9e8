//! `/v1/policies/{digest}/backtests` and `/v1/backtests/{id}`: policies tried on the past.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::{Caller, Scope};
use super::json_body;
use super::openapi::{BacktestPath, PolicyPath, Purpose, refusals};
use super::policies::who;
use super::problem::Problem;
use super::query_parameters::{MAX_PAGE, page_limit, query_parameters, refuse_any};
use super::request_body::request_body;
use super::times::time;
use crate::domain::callback::BizType;
use crate::domain::ids::{VerificationId, earliest};
use crate::domain::scenes::Scenes;
use crate::policies::operations::Turn;
use crate::policies::past::{Flip, FlipPage, Range, flips};
use crate::store::audit::AuditContext;
use crate::store::backtests::{Backtest, BacktestAsked, Cancelled, Started};
use policy::compare::Comparison;
use policy::decision::Outcome;

#[derive(Serialize, ToSchema)]
pub(super) struct BacktestView {
    id: Uuid,
    policy: String,
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
    biz_type: Option<String>,
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    progress: ProgressView,
    /// Its report so far.
    #[schema(value_type = ComparisonView)]
    comparison: serde_json::Value,
}

/// How far it is, in answers of all scenes, decided upon or not.
#[derive(Serialize, ToSchema)]
pub(super) struct ProgressView {
    /// Seen so far.
    #[schema(minimum = 0)]
    looked_at: i64,
    /// All there are; estimated while it runs.
    #[schema(minimum = 0)]
    of: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FlipsView {
    items: Vec<FlipView>,
    /// `null`: there are no more.
    #[schema(required)]
    next_cursor: Option<Uuid>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FlipView {
    verification_id: VerificationId,
    old: Outcome,
    new: Outcome,
    /// The new reason that weighs most.
    reason: String,
}

/// How two policies compare over many decisions. Each result counts as one: a person with several
/// results counts several times here, and once in `people`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `policy::Comparison`, which knows no HTTP")]
pub(super) struct ComparisonView {
    /// Decisions.
    #[schema(minimum = 0)]
    decisions: Option<u64>,
    /// Decisions with another outcome.
    #[schema(minimum = 0)]
    flips: Option<u64>,
    /// Decisions skipped because their persons were erased; counted nowhere else.
    #[schema(minimum = 0)]
    erased: Option<u64>,
    /// How many of each old outcome (row) have each new one (column): approve, retry, review,
    /// reject. `matrix_by_name` says the same with names.
    matrix: Option<Vec<Vec<u64>>>,
    /// The old outcome, the new outcome, how many.
    matrix_by_name: Option<BTreeMap<String, BTreeMap<String, u64>>>,
    /// The same by persons. Absent where an earlier version did a part of the backtest.
    people: Option<PeopleView>,
    /// Flips by what they are and why.
    kinds: Option<BTreeMap<String, u64>>,
    /// Decisions and flips by day of the answer.
    days: Option<BTreeMap<String, Vec<u64>>>,
    /// Decisions by lowest score, whole points from 0 to 100.
    scores: Option<Vec<u64>>,
    /// Flips by lowest score.
    flipped_scores: Option<Vec<u64>>,
    /// Decisions on `face-verify` by `verify_score`, whole points from 0 to 100.
    verify_scores: Option<Vec<u64>>,
    /// Flips by `verify_score`.
    flipped_verify_scores: Option<Vec<u64>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct BacktestStartedView {
    id: Uuid,
    state: &'static str,
}

/// How two policies compare over persons. A person is a `reference` of a source; a verification
/// without one stands for a person. Each counts once, by its last result in the backtest.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `policy::People`, which knows no HTTP")]
pub(super) struct PeopleView {
    /// Persons.
    #[schema(minimum = 0)]
    count: u64,
    /// Persons whose last result is decided otherwise.
    #[schema(minimum = 0)]
    flips: u64,
    /// As the matrix of decisions.
    matrix: Vec<Vec<u64>>,
}

request_body! {
    /// What a policy is tried on.
    pub(super) struct BacktestRequest {
        /// Left out: all scenes.
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_type: Option<BizType> = optional(BizType::parse),
        /// Only results that came since then; left out: from the first.
        since: Option<OffsetDateTime> = optional(time),
        /// Only results that came before then; left out: to the newest one when it is started.
        until: Option<OffsetDateTime> = optional(time),
    }
}

refusals!(StartBacktestRefusals = [NotFound, OtherScene, BacktestRunning] + JSON_BODY + API_KEY);

/// Starts a backtest: a worker decides past results again by this policy. One backtest at a time
/// runs in the whole installation.
#[utoipa::path(
    post, path = "/v1/policies/{digest}/backtests", operation_id = "start-backtest", tag = "policies",
    params(PolicyPath, Purpose), request_body = Option<BacktestRequest>,
    responses((status = 202, body = BacktestStartedView, headers(("Location" = String))), StartBacktestRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn backtest(
    State(api): State<Api>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let BacktestRequest { biz_type: scene, since, until } =
        json_body::object_or_nothing(&api, &headers, body).await?;
    caller.must_reach(scene.as_ref().map_or("", BizType::as_str))?;
    let period = (since, until);
    let id = match start(&api, &caller.scenes, (&digest, scene.as_ref(), period), &context).await? {
        Begun::Yes(id) => id,
        Begun::Running(None) => return Err(Problem::backtest_running()),
        Begun::Running(Some(running)) => return Err(Problem::backtest_running().backtest(running)),
    };
    let location = format!("/v1/backtests/{id}");
    let view = BacktestStartedView { id, state: "running" };
    Ok((StatusCode::ACCEPTED, [(http::header::LOCATION, location)], Json(view)).into_response())
}

/// Whether a backtest was started.
pub enum Begun {
    Yes(Uuid),
    /// This one is running; `None`: one that the caller may not know of.
    Running(Option<Uuid>),
}

/// Since when, until when.
pub type Period = (Option<OffsetDateTime>, Option<OffsetDateTime>);

/// Has a policy tried on a scene (`None`: on all) in a period, for a caller who reaches that scene.
pub async fn start(
    api: &Api,
    scenes: &Scenes,
    (digest, scene, (since, until)): (&str, Option<&BizType>, Period),
    context: &AuditContext,
) -> Result<Begun, Problem> {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Problem::invalid_field().field("/until", "must be later than since"));
    }
    api.policies().text(digest, scenes).await?;
    let id: Uuid = api.ids.next(context.at);
    let from = since.map_or(Uuid::nil(), earliest);
    let roughly = api.store.history().answers_roughly(from, until.map(earliest)).await?;
    let biz_type = scene.map(BizType::as_str);
    let asked = BacktestAsked { id, digest, since, until, biz_type, roughly };
    match api.store.backtests().start_backtest(&asked, context).await? {
        Started::Yes => {
            api.signals.backtest_is_due();
            Ok(Begun::Yes(id))
        }
        Started::Running(running) => {
            let seen = reached(api, scenes, running).await.is_ok();
            Ok(Begun::Running(seen.then_some(running)))
        }
    }
}

/// The backtest of that id, if its scene is among these.
pub async fn reached(api: &Api, scenes: &Scenes, id: Uuid) -> Result<Backtest, Problem> {
    let run = api.store.backtests().backtest(id).await?.ok_or_else(Problem::not_found)?;
    if !scenes.include_name(run.biz_type.as_deref().unwrap_or_default()) {
        return Err(Problem::not_found());
    }
    Ok(run)
}

/// The backtest that a path names.
async fn named(api: &Api, caller: &Caller, id: &str) -> Result<Backtest, Problem> {
    reached(api, &caller.scenes, id.parse().map_err(|_| Problem::not_found())?).await
}

refusals!(BacktestRefusals = [NotFound, InvalidField] + API_KEY);

/// Progress and report of a backtest.
#[utoipa::path(
    get, path = "/v1/backtests/{id}", operation_id = "get-backtest", tag = "policies",
    params(BacktestPath),
    responses((status = 200, body = BacktestView), BacktestRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn backtested(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    refuse_any(query.as_deref())?;
    Ok(Json(BacktestView::from(named(&api, &caller, &id).await?)).into_response())
}

impl From<Backtest> for BacktestView {
    fn from(run: Backtest) -> Self {
        Self {
            progress: ProgressView { looked_at: run.looked_at, of: run.of() },
            id: run.id,
            policy: run.digest,
            since: run.since,
            until: run.until,
            biz_type: run.biz_type,
            state: run.state,
            created_at: run.created_at,
            updated_at: run.updated_at,
            comparison: with_names(run.comparison.0),
        }
    }
}

refusals!(CancelBacktestRefusals = [NotFound, InvalidField, BacktestEnded] + API_KEY);

/// Ends a running backtest for good, so that another one can start. Its results so far stay. A
/// repeated call answers alike.
#[utoipa::path(
    post, path = "/v1/backtests/{id}/cancel", operation_id = "cancel-backtest", tag = "policies",
    params(BacktestPath, Purpose),
    responses((status = 200, body = BacktestView), CancelBacktestRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn cancelled(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (caller, context) = who(&api, &headers).await?;
    let run = named(&api, &caller, &id).await?;
    if !cancel(&api, &run, &context).await? {
        return Err(Problem::backtest_ended());
    }
    Ok(Json(BacktestView::from(named(&api, &caller, &id).await?)).into_response())
}

/// Cancels a backtest that the caller reaches. `false`: it had ended by itself.
pub async fn cancel(api: &Api, run: &Backtest, context: &AuditContext) -> Result<bool, Problem> {
    match api.store.backtests().cancel(run.id, context).await? {
        Cancelled::Yes => Ok(true),
        Cancelled::TooLate => Ok(false),
        Cancelled::NotFound => Err(Problem::not_found()),
    }
}

/// As it is stored, and its matrix by names.
fn with_names(mut comparison: serde_json::Value) -> serde_json::Value {
    // One that has not begun is an empty object.
    let read = serde_json::from_value::<Comparison>(comparison.clone());
    if let (Ok(read), Some(members)) = (read, comparison.as_object_mut()) {
        members.insert("matrix_by_name".to_owned(), serde_json::json!(read.by_name()));
    }
    comparison
}

query_parameters! {
    /// A page of flips.
    pub(super) struct FlipsParameters {
        /// Maximum number of items.
        #[param(minimum = 1, maximum = 100)]
        limit: i64 = page_limit,
        /// `next_cursor` of the previous page.
        cursor: Uuid = |text| text.parse::<Uuid>().map_err(|_| "must be the next_cursor of this list"),
    }
}

refusals!(FlipsRefusals = [NotFound] + QUERY + API_KEY);

/// Verifications whose outcome the policy would change, a page at a time, oldest answer first, as
/// far as the backtest has come. Computed for each request, against the current decisions. A page
/// may be empty and still have a next one.
#[utoipa::path(
    get, path = "/v1/backtests/{id}/flips", operation_id = "list-flips", tag = "policies",
    params(BacktestPath, FlipsParameters),
    responses((status = 200, body = FlipsView), FlipsRefusals),
    security(("api-key" = ["policies:write"])),
)]
pub async fn flipped(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::PoliciesWrite).await?;
    let FlipsParameters { limit, cursor } = FlipsParameters::parse(query.as_deref())?;
    let limit = limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::from(MAX_PAGE));
    let run = named(&api, &caller, &id).await?;
    let page = flips_of(&api, &run, cursor, limit).await?;
    let items = page.flips.into_iter().map(FlipView::from).collect();
    Ok(Json(FlipsView { items, next_cursor: page.next }).into_response())
}

/// The flips of a backtest after an answer, as far as it has come.
pub async fn flips_of(
    api: &Api,
    run: &Backtest,
    after: Option<Uuid>,
    limit: usize,
) -> Result<FlipPage, Problem> {
    let candidate = api.policy_cache.get(&api.store, &run.digest).await?;
    let candidate = candidate.ok_or_else(Problem::internal)?;
    let range = Range::of_backtest(run);
    let from = after.unwrap_or_default().max(range.start());
    let up_to = run.after.min(range.newest());
    let scene = run.biz_type.as_deref();
    let with = (limit, Turn::RefuseIfBusy);
    Ok(flips(&api.store, &candidate, scene, (from, up_to), with).await?)
}

impl From<Flip> for FlipView {
    fn from(flip: Flip) -> Self {
        let reason = flip.reason().to_owned();
        Self { verification_id: flip.verification, old: flip.old, new: flip.new, reason }
    }
}
