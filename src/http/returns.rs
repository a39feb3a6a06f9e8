//! `GET /v1/returns/{source}`: a user comes back from the provider's page.
//!
//! Anybody can send one. It makes a known verification due and redirects the browser, only to an
//! address that the configuration lists.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use utoipa::IntoParams;

use super::api::Api;
use super::openapi::{SourcePath, refusals};
use super::problem::Problem;
use crate::domain::returning::{Returned, with_verification_id};
use crate::store::wakeups::Sender;

/// The query of a return.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `domain::returning` reads")]
struct ReturnParameters {
    /// What the provider's page says, JSON. Only its `CertifyId` counts.
    #[param(
        example = r#"{"code":1000,"extInfo":{"certifyId":"sha1f0c2b7d1e4f3a9b6c8d7e0f1a2b3"}}"#
    )]
    response: Option<String>,
    /// Where to redirect to, of the source's `return_urls`. Any other address counts as absent.
    #[param(example = "https://app.example.com/done")]
    to: Option<String>,
}

refusals!(ReturnRefusals = [NotFound, Internal]);

/// Redirects a user who comes back from the provider's page to the app. The address is one of the
/// source's `return_urls`: the one that `to` names, else the first. It gets `verification_id` if
/// `response` names a verification of this source.
#[utoipa::path(
    get, path = "/v1/returns/{source}", operation_id = "return-user", tag = "callbacks",
    params(SourcePath, ReturnParameters),
    responses(
        (status = 303, description = "To the app", headers(("Location" = String))),
        ReturnRefusals,
    ),
    security(()),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let source = api.sources.get(&name).ok_or_else(Problem::not_found)?;
    let returned = Returned::parse(query.as_deref().unwrap_or_default());
    let address =
        source.return_urls.choose(returned.to.as_deref()).ok_or_else(Problem::not_found)?;
    let sender = Sender::User(source.access.clone(), source.scenes.clone());
    let location = match api.wakeups.wake(returned.certify_id, sender).await {
        Some(id) => with_verification_id(address, &id.to_string()),
        None => address.clone(),
    };
    let location = HeaderValue::from_str(location.as_str()).map_err(|_| Problem::internal())?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}
