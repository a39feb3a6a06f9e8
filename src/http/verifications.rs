//! `GET /v1/verifications`: lists, newest first; `POST`: starts one at the provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::auth::Scope;
use super::callbacks::Source;
use super::material::may_say_why;
use super::openapi::IfNoneMatch;
use super::parameters::{Parameters, WrongParameter};
use super::problem::Problem;
use super::view::{Page, VerificationView};
use super::{body, conditional, cursor};
use crate::domain::callback::{BizId, BizType, MAX_REFERENCE_CHARS};
use crate::domain::decision::Outcome;
use crate::domain::scenes::Scenes;
use crate::domain::source::SourceAccess;
use crate::domain::starting::{NotStarted, Starting, TOKEN_LIVES};
use crate::domain::verification::State as Standing;
use crate::store::audit::Doing;
use crate::store::listing::Filter;
use crate::store::verifications::StartRefusal;

/// Largest page, and the usual one.
const MAX_LIMIT: i64 = 100;
const USUAL_LIMIT: i64 = 50;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct ListParameters {
    /// Of this scene.
    #[param(required = false)]
    biz_type: String,
    /// With this id of the task.
    #[param(required = false)]
    biz_id: String,
    /// With this reference of yours.
    #[param(required = false)]
    reference: String,
    /// That stand so.
    #[param(inline, required = false)]
    state: Standing,
    /// Whose standing decision is this.
    #[param(inline, required = false)]
    outcome: Outcome,
    /// First heard of then or later.
    #[param(required = false)]
    created_after: OffsetDateTime,
    /// First heard of before then.
    #[param(required = false)]
    created_before: OffsetDateTime,
    /// Most items of one answer.
    #[param(minimum = 1, maximum = 100, required = false)]
    limit: i64,
    /// `next_cursor` of the answer before, with the same filters.
    #[param(required = false)]
    cursor: String,
}

/// A filter, or that nothing can fit: a key that no callback could carry names nothing.
pub(super) enum Narrowed {
    To(Filter),
    ToNothing,
}

impl Narrowed {
    /// Only what lies in these scenes.
    fn within(self, scenes: &Scenes) -> Self {
        let Self::To(mut filter) = self else { return self };
        match filter.biz_type.as_ref().map(|scene| scenes.include(scene)) {
            Some(false) => return Self::ToNothing,
            Some(true) => {}
            None => filter.scenes = scenes.limit(),
        }
        Self::To(filter)
    }
}

/// Lists verifications, newest first.
#[utoipa::path(
    get, path = "/v1/verifications", operation_id = "list-verifications", tag = "verifications",
    params(ListParameters, IfNoneMatch),
    responses(
        (status = 200, body = Page<VerificationView>, headers(("ETag" = String))),
        (status = 304, description = "As it was"),
    ),
    security(("api-key" = ["decisions:read"])),
)]
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let mut parameters = Parameters::parse(query.as_deref())?;
    let in_range = |text: &str| text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
    let limit = parameters.read("limit", in_range, "must be a whole number from 1 to 100")?;
    let limit = limit.unwrap_or(USUAL_LIMIT);
    let after = parameters.take("cursor");
    let narrowed = filter(&mut parameters)?.within(&caller.scenes);
    let wrong_cursor =
        parameters.wrong("cursor", "must be the next_cursor of a list with the same filters");
    parameters.finish()?;
    let Narrowed::To(filter) = narrowed else {
        return conditional::answer(&headers, &Page::<VerificationView>::whole([]));
    };
    let before = match after {
        None => None,
        Some(text) => Some(cursor::read(&text, &filter).ok_or(wrong_cursor)?),
    };
    // One more tells whether there is more.
    let mut found = api.store.list(&filter, before, limit + 1).await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        found.pop();
    }
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| cursor::after(last.id, &filter));
    let items = found.into_iter().map(VerificationView::from).collect();
    conditional::answer(&headers, &Page { items, next_cursor })
}

/// Reads the filters out of the parameters.
fn filter(parameters: &mut Parameters) -> Result<Narrowed, Problem> {
    let mut wrong = Vec::new();
    let state = parameters.read(
        "state",
        Standing::parse,
        "must be pending, unfinished, decided, expired, failed or erased",
    );
    let state = noted(&mut wrong, state);
    let outcome =
        parameters.read("outcome", Outcome::parse, "must be approve, retry, review or reject");
    let outcome = noted(&mut wrong, outcome);
    let mut time = |name| {
        let must_be = "must be a time, like 2026-11-23T09:30:00Z";
        noted(&mut wrong, parameters.read(name, parse_time, must_be))
    };
    let (created_after, created_before) = (time("created_after"), time("created_before"));
    let reference = parameters.take("reference");
    if !wrong.is_empty() {
        return Err(WrongParameter::problem(wrong));
    }
    let (biz_type, biz_id) = (parameters.take("biz_type"), parameters.take("biz_id"));
    let biz_type = biz_type.map(|text| BizType::parse(&text)).transpose();
    let biz_id = biz_id.map(|text| BizId::parse(&text)).transpose();
    let (Ok(biz_type), Ok(biz_id)) = (biz_type, biz_id) else { return Ok(Narrowed::ToNothing) };
    let none_has =
        |text: &String| text.chars().count() > MAX_REFERENCE_CHARS || text.contains('\0');
    if reference.as_ref().is_some_and(none_has) {
        return Ok(Narrowed::ToNothing);
    }
    Ok(Narrowed::To(Filter {
        biz_type,
        biz_id,
        reference,
        state,
        outcome,
        created_after,
        created_before,
        error_code: None,
        scenes: None,
    }))
}

/// So that all wrong parameters are named at once.
fn noted<T>(wrong: &mut Vec<WrongParameter>, read: Result<Option<T>, WrongParameter>) -> Option<T> {
    read.unwrap_or_else(|error| {
        wrong.push(error);
        None
    })
}

/// A time as somebody would look for it; what lies beyond the years a database can hold, in any
/// offset, is the last of them: "before 9999" means no limit.
pub(super) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let last = datetime!(9998-12-31 23:59:59 UTC);
    let first = datetime!(0001-01-01 0:00 UTC);
    let utc = time.checked_to_offset(time::UtcOffset::UTC);
    Some(utc.unwrap_or(if time.year() > 0 { last } else { first }).clamp(first, last))
}

/// What the phone needs to go on.
#[derive(Serialize, ToSchema)]
pub(super) struct StartedView {
    verification: VerificationView,
    /// The provider's token for the phone; it opens the verification, so keep it from logs.
    token: String,
    /// Of the old H5 scheme only.
    page_url: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    token_expires_at: OffsetDateTime,
}

/// A verification to be started. All but the first three is handed through to the provider and
/// kept nowhere; which of it a scene needs is the provider's to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads by hand")]
pub(super) struct StartRequest {
    /// The scene.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_type: String,
    /// The id of the task; one that was passed cannot be started again.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_id: String,
    /// Your own; no name or number of a person.
    #[schema(max_length = 128, pattern = r"^[^\x00]*$")]
    reference: Option<String>,
    /// The source whose callbacks this is for. Name it where several are configured: without one
    /// the verification belongs to the first source that posts a callback about it.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
    source: Option<String>,
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\x00]*$")]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 32, pattern = r"^[^\x00]*$")]
    id_card_number: Option<String>,
    #[schema(min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$")]
    id_card_front_image_url: Option<String>,
    #[schema(min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$")]
    id_card_back_image_url: Option<String>,
    #[schema(min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$")]
    face_retained_image_url: Option<String>,
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\x00]*$")]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00]*$")]
    user_ip: Option<String>,
    #[schema(min_length = 1, max_length = 32, pattern = r"^[^\x00]*$")]
    user_phone_number: Option<String>,
    #[schema(min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$")]
    passed_redirect_url: Option<String>,
    #[schema(min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$")]
    failed_redirect_url: Option<String>,
}

/// Starts a verification at the provider and answers with what the phone needs. Nothing that says
/// who the person is is kept. If no callback comes, the verification is looked at once when its
/// token has died.
#[utoipa::path(
    post, path = "/v1/verifications", operation_id = "start-verification", tag = "verifications",
    request_body = StartRequest,
    responses((status = 201, body = StartedView, headers(("Location" = String)))),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn start(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let members = body::object(&api, &headers, body).await?;
    let starting = Starting::parse(&members)?;
    caller.must_reach(starting.biz_type.as_str())?;
    let doing = may_say_why(&api, &caller, &headers)?;
    let Some(ask) = &api.starter else {
        return Err(Problem::unavailable().detail("This process starts no verifications"));
    };
    let source = source_of(&api, &starting)?;
    let source = source.as_ref().map(|source| &source.access);
    // Only now: a provider that was asked has a task that nobody else can start.
    not_refused(&api, &starting, source, doing.at).await?;
    let (starting, started) = ask(starting).await.map_err(|refusal| match refusal {
        NotStarted::Refused(code) => with_code(Problem::provider_refused(), code),
        NotStarted::Unavailable { wait, code } => with_code(
            Problem::provider_unavailable().retry_after(wait.unwrap_or(Duration::from_secs(1))),
            code,
        ),
    })?;
    // The token lives from now on, not since it was asked for.
    let now = api.clock.now();
    let doing = Doing { at: now, ..doing };
    let verification =
        api.store.started(api.ids.next(now), &starting, source, TOKEN_LIVES, &doing).await?;
    let Some(verification) = verification else {
        not_refused(&api, &starting, source, now).await?;
        return Err(Problem::unavailable());
    };
    let location = format!("/v1/verifications/{}", verification.id);
    let view = StartedView {
        verification: verification.into(),
        token: started.token.to_string(),
        page_url: started.page_url,
        token_expires_at: now + TOKEN_LIVES,
    };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)).into_response())
}

/// The source that is named, or the only one there is.
fn source_of(api: &Api, starting: &Starting) -> Result<Option<Arc<Source>>, Problem> {
    let wrong = |detail| Err(Problem::invalid_field().field("/source", detail));
    match &starting.source {
        None => Ok(api.sources.only().filter(|only| only.scenes.include(&starting.biz_type))),
        Some(name) => match api.sources.get(name) {
            None => wrong("must be the name of a configured source"),
            Some(source) if !source.scenes.include(&starting.biz_type) => {
                wrong("must be a source whose scenes include this biz_type")
            }
            source => Ok(source),
        },
    }
}

async fn not_refused(
    api: &Api,
    starting: &Starting,
    source: Option<&SourceAccess>,
    at: OffsetDateTime,
) -> Result<(), Problem> {
    match api.store.start_refusal(&starting.biz_type, &starting.biz_id, source, at).await? {
        None => Ok(()),
        Some(StartRefusal::Erased) => Err(Problem::erased()),
        Some(StartRefusal::OtherSource) => Err(Problem::other_source()),
    }
}

/// The provider's codes are words of a closed alphabet, and what its support desk asks for.
fn with_code(problem: Problem, code: Option<String>) -> Problem {
    match code {
        Some(code) => problem.detail(format!("The provider's code is {code}")),
        None => problem,
    }
}
