//! `POST /v1/verifications`: starts one at the provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::api::Api;
use super::auth::Scope;
use super::body;
use super::openapi::refusals;
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::request_body::request_body;
use super::sources::Source;
use super::view::VerificationView;
use crate::domain::callback::{BizId, BizType, parse_reference};
use crate::domain::source::SourceAccess;
use crate::domain::starting::{NotStarted, Starting, TOKEN_LIVES};
use crate::store::audit::AuditContext;
use crate::store::verifications::StartRefusal;

/// What the phone needs to continue.
#[derive(Serialize, ToSchema)]
pub(super) struct StartedView {
    verification: VerificationView,
    /// The provider's token for the phone. It gives access to the verification: keep it out of logs.
    token: String,
    /// Of the old H5 scheme only.
    page_url: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    token_expires_at: OffsetDateTime,
}

request_body! {
    /// A verification to be started. The members after `source` are passed through to the provider
    /// and stored nowhere; which of them a scene needs is up to the provider.
    pub(super) struct StartRequest {
        /// The scene.
        #[schema(
            value_type = String, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_type: BizType = required(BizType::parse),
        /// The id of the task. A task that has passed cannot be started again.
        #[schema(
            value_type = String, min_length = 1, max_length = 64,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        biz_id: BizId = required(BizId::parse),
        /// Your own; no name or number of a person.
        #[schema(max_length = 128, pattern = r"^[^\x00]*$")]
        reference: Option<String> = optional(parse_reference),
        /// The source whose callbacks this is for. Name it where several are configured: without one
        /// the verification belongs to the first source that posts a callback about it.
        #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
        source: Option<String> = optional(source_name),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 128, pattern = r"^[^\x00]*$"
        )]
        name: Option<PassedThrough> = optional(passed_through::<128>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 32, pattern = r"^[^\x00]*$"
        )]
        id_card_number: Option<PassedThrough> = optional(passed_through::<32>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        id_card_front_image_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        id_card_back_image_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        face_retained_image_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 128, pattern = r"^[^\x00]*$"
        )]
        user_id: Option<PassedThrough> = optional(passed_through::<128>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 64, pattern = r"^[^\x00]*$"
        )]
        user_ip: Option<PassedThrough> = optional(passed_through::<64>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 32, pattern = r"^[^\x00]*$"
        )]
        user_phone_number: Option<PassedThrough> = optional(passed_through::<32>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        passed_redirect_url: Option<PassedThrough> = optional(passed_through::<2048>),
        #[schema(
            value_type = Option<String>, min_length = 1, max_length = 2048, pattern = r"^[^\x00]*$"
        )]
        failed_redirect_url: Option<PassedThrough> = optional(passed_through::<2048>),
    }
}

const MUST_BE_SOURCE: &str = "must be the name of a configured source";

fn source_name(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    valid.then(|| text.to_owned()).ok_or(MUST_BE_SOURCE)
}

/// Personal data: wiped when it is dropped.
type PassedThrough = Zeroizing<String>;

fn passed_through<const MAX_CHARS: usize>(text: &str) -> Result<PassedThrough, &'static str> {
    let fits = (1..=MAX_CHARS).contains(&text.chars().count()) && !text.contains('\0');
    fits.then(|| Zeroizing::new(text.to_owned()))
        .ok_or("must not be empty, nor too long, nor hold NUL")
}

impl From<StartRequest> for Starting {
    fn from(of: StartRequest) -> Self {
        // By the provider's names. Its `CallbackUrl` is left out: how it calls is documented nowhere.
        let passed_through = [
            ("Name", of.name),
            ("IdCardNumber", of.id_card_number),
            ("IdCardFrontImageUrl", of.id_card_front_image_url),
            ("IdCardBackImageUrl", of.id_card_back_image_url),
            ("FaceRetainedImageUrl", of.face_retained_image_url),
            ("UserId", of.user_id),
            ("UserIp", of.user_ip),
            ("UserPhoneNumber", of.user_phone_number),
            ("PassedRedirectUrl", of.passed_redirect_url),
            ("FailedRedirectUrl", of.failed_redirect_url),
        ];
        Self {
            biz_type: of.biz_type,
            biz_id: of.biz_id,
            reference: of.reference,
            source: of.source,
            handed_through: passed_through
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        }
    }
}

refusals!(
    StartRefusals = [OtherScene, OtherSource, Erased, ProviderRefused, ProviderUnavailable]
        + JSON_BODY
        + API_KEY
);

/// Starts a verification at the provider and answers with what the phone needs. Personal data is
/// not stored. If no callback arrives, Verdict polls the provider once when the token expires.
#[utoipa::path(
    post, path = "/v1/verifications", operation_id = "start-verification", tag = "verifications",
    request_body = StartRequest,
    responses((status = 201, body = StartedView, headers(("Location" = String))), StartRefusals),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn handler(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let request: StartRequest = body::json(&api, &headers, body).await?;
    let starting = Starting::from(request);
    caller.must_reach(starting.biz_type.as_str())?;
    let context = optional_purpose(&api, &caller, &headers)?;
    let Some(ask) = &api.starter else {
        return Err(Problem::unavailable().detail("This process starts no verifications"));
    };
    let source = source_of(&api, &starting)?;
    let source = source.as_ref().map(|source| &source.access);
    // Before the provider is called: once it has started a task, nobody else can start that one.
    not_refused(&api, &starting, source, context.at).await?;
    let (starting, started) = ask(starting).await.map_err(|refusal| match refusal {
        NotStarted::Refused(code) => with_code(Problem::provider_refused(), code),
        NotStarted::Unavailable { wait, code } => with_code(
            Problem::provider_unavailable().retry_after(wait.unwrap_or(Duration::from_secs(1))),
            code,
        ),
    })?;
    // The token's life begins with the provider's answer.
    let now = api.clock.now();
    let context = AuditContext { at: now, ..context };
    let verification = api
        .store
        .verifications()
        .started(api.ids.next(now), &starting, source, TOKEN_LIVES, &context)
        .await?;
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

/// The named source, or the only one.
fn source_of(api: &Api, starting: &Starting) -> Result<Option<Arc<Source>>, Problem> {
    let wrong = |detail| Err(Problem::invalid_field().field("/source", detail));
    match &starting.source {
        None => Ok(api.sources.only().filter(|only| only.scenes.include(&starting.biz_type))),
        Some(name) => match api.sources.get(name) {
            None => wrong(MUST_BE_SOURCE),
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
    match api
        .store
        .verifications()
        .start_refusal(&starting.biz_type, &starting.biz_id, source, at)
        .await?
    {
        None => Ok(()),
        Some(StartRefusal::Erased) => Err(Problem::erased()),
        Some(StartRefusal::OtherSource) => Err(Problem::other_source()),
    }
}

/// The provider's support asks for its code. It contains no personal data.
fn with_code(problem: Problem, code: Option<String>) -> Problem {
    match code {
        Some(code) => problem.detail(format!("The provider's code is {code}")),
        None => problem,
    }
}
