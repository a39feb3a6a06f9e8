//! `POST /v1/verifications`: starts one at the provider. The product decides what is asked for, and
//! what comes back.

mod checks;
mod face_verify;
mod members;
mod parameters;
mod return_url;
mod verify_result;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::json_body;
use super::openapi::refusals;
use super::problem::Problem;
use super::purpose::optional_purpose;
use super::request_body::RequestBody;
use crate::domain::callback::parse_product;
use crate::domain::starting::Starting;
use policy::product::Product;

pub(super) use parameters::FaceVerifyStartRequest;
pub(super) use verify_result::StartRequest;

/// A verification to be started. `product` decides which members there are.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two bodies")]
enum AnyStartRequest {
    VerifyResult(Box<StartRequest>),
    FaceVerify(Box<FaceVerifyStartRequest>),
}

/// What the phone or the browser needs to continue.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two answers")]
enum AnyStartedView {
    VerifyResult(Box<verify_result::StartedView>),
    FaceVerify(Box<face_verify::FaceVerifyStartedView>),
}

refusals!(
    StartRefusals = [
        OtherScene,
        OtherSource,
        ProductMismatch,
        OrderNumberUsed,
        StartRunning,
        StartUnknown,
        Erased,
        ProviderRefused,
        ProviderUnavailable
    ] + JSON_BODY
        + API_KEY
);

/// Starts a verification at the provider and answers with what the phone needs. Personal data is
/// not stored. If no callback arrives, Verdict polls the provider. A start of `face-verify` is
/// billed, so it is never repeated: the same request gets the same answer (200) until the
/// `certify_id` expires. Use a new order number for each attempt of a user.
#[utoipa::path(
    post, path = "/v1/verifications", operation_id = "start-verification", tag = "verifications",
    request_body = AnyStartRequest,
    responses(
        (status = 200, body = face_verify::FaceVerifyStartedView, headers(("Location" = String))),
        (status = 201, body = AnyStartedView, headers(("Location" = String))),
        StartRefusals
    ),
    security(("api-key" = ["verifications:write"])),
)]
pub async fn handler(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = api.keys.require(&headers, Scope::VerificationsWrite).await?;
    let (members, permit) = json_body::start_object(&api, &headers, body).await?;
    let product = product(&members).unwrap_or(api.product);
    let starting = match product {
        Product::VerifyResult => Starting::from(StartRequest::parse(&members)?),
        Product::FaceVerify => parameters::starting(FaceVerifyStartRequest::parse(&members)?)?,
    };
    drop(members);
    caller.must_reach(starting.biz_type.as_str())?;
    let context = optional_purpose(&api, &caller, &headers)?;
    let Some(ask) = &api.starter else {
        return Err(Problem::unavailable().detail(
            "This process cannot start verifications. Repeat the request, or tell the operator",
        ));
    };
    match product {
        Product::VerifyResult => verify_result::start(&api, ask, starting, context).await,
        Product::FaceVerify => face_verify::start(&api, ask, starting, context, permit).await,
    }
}

/// An unreadable one is reported by the parser of the body.
fn product(members: &Map<String, Value>) -> Option<Product> {
    parse_product(members.get("product")?.as_str()?).ok()
}
