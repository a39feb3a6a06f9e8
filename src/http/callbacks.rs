//! `POST /v1/callbacks/{source}`: the app's backend says that the user has finished.
//!
//! Checked in this order, cheapest first: media type, source (or dummy secrets in its place), the
//! three headers, timestamp, declared length, body, MAC, rate, content. Then the commit, and 202
//! only after it (invariant 1). Nothing is read from the database before the signature verifies.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use utoipa::ToSchema;

use super::api::Api;
use super::json_body;
use super::openapi::{SignatureHeaders, SourcePath, refusals};
use super::problem::Problem;
use super::rate_limit::Charge;
use super::read_body::{self, Held};
use super::sources::{Judge, Source};
use super::view::VerificationView;
use crate::domain::body_digest::BodyDigest;
use crate::domain::callback::Callback;
use crate::domain::trace::TraceParent;
use crate::store::callbacks::{Accepted, Incoming};
use crate::traces;
use crate::vault::callback_signature::{CheckedHeaders, Refusal, SignedHeaders};
use policy::product::Product;

/// Between `webhook-timestamp` and our clock, in both directions (Standard Webhooks: 5 minutes).
pub const TOLERANCE: time::Duration = time::Duration::minutes(5);
const MAX_MESSAGE_ID_CHARS: usize = 255;

/// What the app's backend sends. Unknown members are ignored. What the phone said never decides.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `domain::callback` reads")]
pub(super) struct CallbackRequest {
    /// The scene.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_type: String,
    /// The id of the task at the provider: of face-verify your order number, or the `CertifyId` if you
    /// started it yourself. Of face-verify, `certify_id` may stand in its place.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    biz_id: Option<String>,
    /// The product of the provider; without one `provider.product` of the configuration.
    product: Option<Product>,
    /// Of face-verify: the provider's id of the verification.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    certify_id: Option<String>,
    /// When the phone finished: RFC 3339, or seconds, milli-, micro- or nanoseconds since 1970. A
    /// hint: dropped unless it is certain.
    #[schema(value_type = Option<serde_json::Value>, example = "2026-11-26T12:00:00+08:00")]
    occurred_at: (),
    /// Your own, returned unchanged; no name or number of a person. The first one is kept.
    #[schema(max_length = 128, pattern = r"^[^\x00]*$")]
    reference: Option<String>,
    /// What the SDK on the phone said: `audit` (`AUDIT_PASS` and the like), `code`, `platform`
    /// (`android`, `ios`, `h5`, `mini-program`). A hint: unknown values are dropped. `message` is
    /// never stored.
    #[schema(
        value_type = Option<serde_json::Value>,
        example = json!({ "audit": "AUDIT_PASS", "code": "1", "platform": "android" })
    )]
    client: (),
}

refusals!(
    PostRefusals = [
        NotFound,
        SignatureMissing,
        SignatureInvalid,
        TimestampOutOfTolerance,
        TimestampNotSeconds,
        IdempotencyMismatch,
        OtherSource,
        ProductMismatch,
        Erased,
        RateLimited,
        Internal,
        Unavailable
    ] + JSON_BODY
);

/// Accepts a callback: a user has finished. It is durable before the answer is sent. A repeated
/// callback gets the same answer.
#[utoipa::path(
    post, path = "/v1/callbacks/{source}", operation_id = "post-callback", tag = "callbacks",
    params(SourcePath, SignatureHeaders),
    request_body = CallbackRequest,
    responses((status = 202, body = VerificationView, headers(("Location" = String))), PostRefusals),
    security(("webhook-signature" = [])),
)]
pub async fn handler(
    State(api): State<Api>,
    Path(name): Path<String>,
    trace: Option<Extension<TraceParent>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let judge = api.sources.judge(&name);
    let label = if judge.source.is_some() { name } else { "unknown".to_owned() };
    let outcome = accept(&api, judge, trace, &headers, body).await;
    if let Err(problem) = &outcome {
        metrics::counter!("verdict_callbacks_refused_total",
            "source" => label, "code" => problem.code().as_str())
        .increment(1);
    }
    outcome
}

async fn accept(
    api: &Api,
    judge: Judge,
    trace: Option<Extension<TraceParent>>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    json_body::must_be_json(headers)?;
    let signed = signed_headers(headers)?;
    let received_at = api.clock.now();
    let checked = signed.check(received_at, TOLERANCE).map_err(refused)?;
    let body = read_body::read_unverified(api, body).await?;
    let source = verified(judge, &checked, &body)?;
    let body = body.into_bytes();
    // After the signature: strangers must not use up a source's rate.
    let charge = source.rate.as_ref().map(|rate| rate.take(signed.id, Instant::now())).transpose();
    let charge = charge.map_err(|wait| Problem::rate_limited().retry_after(wait))?;
    if signed.id.chars().count() > MAX_MESSAGE_ID_CHARS {
        return Err(Problem::invalid_field().field("webhook-id", "must be at most 255 characters"));
    }

    let callback = Callback::parse(&body, api.product)?;
    for hint in &callback.dropped_hints {
        metrics::counter!("verdict_callback_hints_dropped_total", "hint" => *hint).increment(1);
    }
    if !source.scenes.include(&callback.biz_type) {
        return Err(
            Problem::not_found().detail("This source may not post callbacks of this biz_type")
        );
    }
    let refusals = &api.sources.refusals;
    let keys = refusals.keys(&source.access.name, &callback);
    if refusals.contains(keys.pair, Instant::now()) || refusals.contains(keys.whole, Instant::now())
    {
        return Err(Problem::other_source());
    }
    let incoming = Incoming {
        source: source.access.clone(),
        message_id: signed.id.to_owned(),
        body: BodyDigest::of(&body),
        salt: api.ids.salt(),
        callback,
        received_at,
        verification_id: api.ids.next(received_at),
        trace: trace.map(|Extension(trace)| trace),
    };
    let mut refused_key = keys.pair;
    let mut accepted = api.accepting.submit(incoming.clone()).await?;
    if let Some(incoming) = with_own_biz_id(incoming, &accepted) {
        refused_key = keys.whole;
        accepted = api.accepting.submit(incoming).await?;
    }
    if let Some(charge) = charge {
        settle(charge, &accepted);
    }
    let (verification, kind) = match accepted {
        Accepted::New(verification) => {
            api.signals.work_is_due();
            (verification, "new")
        }
        Accepted::Repeated(verification) => (verification, "repeated"),
        Accepted::Mismatch => return Err(Problem::idempotency_mismatch()),
        Accepted::Erased => return Err(Problem::erased()),
        Accepted::OtherSource => {
            refusals.insert(refused_key, Instant::now());
            return Err(Problem::other_source());
        }
        Accepted::OtherProduct => return Err(Problem::product_mismatch()),
        // About what it may not post, a source learns nothing.
        Accepted::CertifyIdTaken(Some((scene, _))) if source.scenes.include(&scene) => {
            return Err(Problem::product_mismatch());
        }
        Accepted::CertifyIdTaken(_) => {
            refusals.insert(keys.whole, Instant::now());
            return Err(Problem::other_source());
        }
    };
    traces::concerns(verification.id);
    metrics::counter!("verdict_callbacks_total", "outcome" => kind).increment(1);
    let location = HeaderValue::from_str(&format!("/v1/verifications/{}", verification.id))
        .map_err(|_| Problem::internal())?;
    let body = Json(VerificationView::from(verification));
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], body).into_response())
}

/// The same callback with the `biz_id` of the verification that has its `certify_id`, where it names
/// nothing but that and the right scene: it was started with an order number.
fn with_own_biz_id(incoming: Incoming, accepted: &Accepted) -> Option<Incoming> {
    let Accepted::CertifyIdTaken(Some((biz_type, biz_id))) = accepted else { return None };
    let callback = &incoming.callback;
    let names_no_other = callback
        .certify_id
        .as_ref()
        .is_some_and(|certify_id| certify_id.as_str() == callback.biz_id.as_str());
    (names_no_other && callback.biz_type == *biz_type).then(|| {
        let callback = Callback { biz_id: biz_id.clone(), ..incoming.callback.clone() };
        Incoming { callback, ..incoming }
    })
}

/// Moves a charge to the limit that the message counts against. A refused message keeps its charge.
fn settle(charge: Charge<'_>, accepted: &Accepted) {
    match accepted {
        Accepted::New(_) => charge.was_new(),
        Accepted::Repeated(_) | Accepted::Mismatch => charge.was_known(),
        Accepted::Erased
        | Accepted::OtherSource
        | Accepted::OtherProduct
        | Accepted::CertifyIdTaken(_) => {}
    }
}

fn signed_headers(headers: &HeaderMap) -> Result<SignedHeaders<'_>, Problem> {
    Ok(SignedHeaders {
        id: header(headers, "webhook-id")?,
        timestamp: header(headers, "webhook-timestamp")?,
        signature: header(headers, "webhook-signature")?,
    })
}

/// The source, if one of its secrets made the signature. An unknown source fails here, after the same
/// work, like an invalid signature.
fn verified(
    judge: Judge,
    headers: &CheckedHeaders<'_>,
    body: &Held,
) -> Result<Arc<Source>, Problem> {
    headers.verify(&judge.secrets, body).map_err(refused)?;
    judge.source.ok_or_else(Problem::signature_invalid)
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::SignatureInvalid => Problem::signature_invalid(),
        Refusal::TimestampOutOfTolerance => Problem::timestamp_out_of_tolerance(),
        Refusal::TimestampNotSeconds => Problem::timestamp_not_seconds(),
    }
}

/// Exactly one value of visible ASCII; a second one would leave open which was signed.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(Problem::signature_missing()),
        (Some(_), Some(_)) => Err(Problem::signature_invalid()),
        (Some(value), None) => match value.to_str() {
            Ok("") => Err(Problem::signature_missing()),
            Ok(text) => Ok(text),
            Err(_) => Err(Problem::signature_invalid()),
        },
    }
}
