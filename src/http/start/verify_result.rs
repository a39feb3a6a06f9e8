//! Starts a verification of verify-result: the provider makes a token for the phone.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::checks::{not_refused, provider_unavailable, source_of, with_code};
use super::members::{PassedThrough, passed_through, source_name};
use crate::domain::callback::{BizId, BizType, parse_product, parse_reference};
use crate::domain::starting::{NotStarted, Started, Starter, Starting, TOKEN_LIVES};
use crate::http::api::Api;
use crate::http::problem::Problem;
use crate::http::request_body::request_body;
use crate::http::view::VerificationView;
use crate::store::audit::AuditContext;
use policy::product::Product;

/// What the phone needs to continue.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StartedView {
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
    pub(in crate::http) struct StartRequest {
        /// The product; without one `provider.product` of the configuration.
        #[schema(value_type = Option<String>, pattern = "^verify-result$")]
        product: Option<Product> = optional(this_product),
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

fn this_product(text: &str) -> Result<Product, &'static str> {
    parse_product(text)
        .ok()
        .filter(|product| *product == Product::VerifyResult)
        .ok_or("must be verify-result or face-verify")
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
            product: of.product.unwrap_or(Product::VerifyResult),
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

pub(super) async fn start(
    api: &Api,
    ask: &Starter,
    starting: Starting,
    context: AuditContext,
) -> Result<Response, Problem> {
    let source = source_of(api, &starting)?;
    let source = source.as_ref().map(|source| &source.access);
    // Before the provider is called: once it has started a task, nobody else can start that one.
    not_refused(api, &starting, source, context.at).await?;
    let (starting, started) = (ask.start)(starting).await.map_err(|refusal| match refusal {
        NotStarted::Refused(code) => with_code(Problem::provider_refused(), code),
        NotStarted::Unavailable { wait, code } => provider_unavailable(wait, code),
        // Of products whose calls may not be repeated.
        NotStarted::Unknown => Problem::start_unknown(),
    })?;
    let Started::WithToken { token, page_url } = started else { return Err(Problem::internal()) };
    // The token's life begins with the provider's answer.
    let now = api.clock.now();
    let context = AuditContext { at: now, ..context };
    let verification = api
        .store
        .verifications()
        .started(api.ids.next(now), &starting, source, TOKEN_LIVES, &context)
        .await?;
    let Some(verification) = verification else {
        not_refused(api, &starting, source, now).await?;
        return Err(Problem::unavailable());
    };
    let location = format!("/v1/verifications/{}", verification.id);
    let view = StartedView {
        verification: verification.into(),
        token: token.to_string(),
        page_url,
        token_expires_at: now + TOKEN_LIVES,
    };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)).into_response())
}
