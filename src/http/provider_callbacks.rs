//! `GET /v1/provider-callbacks/{account}`: the provider says that a verification is complete.
//!
//! The answer is always the same 200, at once and without the database: the provider probes the
//! address at each start, refuses starts where it fails, and a stranger must learn nothing. It is the
//! one exception to "2xx means committed" (invariant 1): a hint that is lost costs a poll.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::api::Api;
use super::openapi::AccountPath;
use crate::domain::returning::Notified;

/// The query of a callback, as the provider documents it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `domain::returning` reads")]
struct CallbackParameters {
    #[param(rename = "certifyId", example = "sha1f0c2b7d1e4f3a9b6c8d7e0f1a2b3")]
    certify_id: Option<String>,
    /// The token that the start gave the provider.
    #[param(rename = "callbackToken", example = "q7f1oQpPjKq0l2vUuYx3bB5tqO8wZJrX")]
    token: Option<String>,
    /// Never believed: the result is fetched.
    #[param(example = "200")]
    passed: Option<String>,
}

/// Takes the provider's own callback about face-verify. The answer is always the same.
#[utoipa::path(
    get, path = "/v1/provider-callbacks/{account}", operation_id = "notify", tag = "callbacks",
    params(AccountPath, CallbackParameters),
    responses((status = 200, description = "Always", content((String = "text/plain")))),
    security(()),
)]
pub async fn handler(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let notified = query.filter(|query| !query.is_empty()).map(|query| Notified::parse(&query));
    let ours = path.is_ok_and(|Path(account)| account == api.account);
    api.wakeups.notified(notified, ours);
    "success".into_response()
}
