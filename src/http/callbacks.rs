//! `POST /v1/callbacks/{source}`: the app says the user has finished.
//!
//! Limits first, then the signature over the raw bytes, then the body, then the commit; 202 only
//! after it (invariant 1). Nothing is looked up before the signature is verified.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};

use super::Api;
use super::problem::Problem;
use super::rate::RateLimit;
use super::view::VerificationView;
use crate::domain::callback::Callback;
use crate::domain::trace::TraceParent;
use crate::store::callbacks::{Accepted, Incoming};
use crate::traces;
use crate::vault::webhook::{Refusal, Secret, SignedHeaders, verify};

/// Largest body. The documented callback has under 1 KiB; 64 times that is a mistake or an attack.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// How far `webhook-timestamp` may be from our clock, both ways (Standard Webhooks: 5 minutes).
pub const TOLERANCE: time::Duration = time::Duration::minutes(5);
/// Longest `webhook-id`.
const MAX_MESSAGE_ID_CHARS: usize = 255;

/// Who may post callbacks.
#[derive(Debug)]
pub struct Source {
    /// Any of them verifies: add the new one, roll it out, remove the old one.
    pub secrets: Vec<Secret>,
    /// Requests per second it may send to one process.
    pub rate: Option<RateLimit>,
}

/// By the name in the path.
pub type Sources = BTreeMap<String, Arc<Source>>;

/// The handler.
pub async fn handler(
    State(api): State<Api>,
    Path(name): Path<String>,
    trace: Option<Extension<TraceParent>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    media_type(&headers)?;
    let source = api.sources.get(&name).ok_or_else(Problem::unknown_source)?;
    let body = read(body, api.body_timeout).await?;

    let signed = SignedHeaders {
        id: header(&headers, "webhook-id")?,
        timestamp: header(&headers, "webhook-timestamp")?,
        signature: header(&headers, "webhook-signature")?,
    };
    let received_at = api.clock.now();
    verify(&source.secrets, signed, &body, received_at, TOLERANCE).map_err(
        |refusal| match refusal {
            Refusal::SignatureInvalid => Problem::signature_invalid(),
            Refusal::TimestampOutOfTolerance => Problem::timestamp_out_of_tolerance(),
        },
    )?;
    // After the signature: strangers must not use up a source's share.
    if let Some(Err(wait)) = source.rate.as_ref().map(|rate| rate.take(Instant::now())) {
        return Err(Problem::rate_limited().retry_after(wait));
    }
    if signed.id.chars().count() > MAX_MESSAGE_ID_CHARS {
        return Err(Problem::invalid_field().field("webhook-id", "must be at most 255 characters"));
    }

    let callback = Callback::parse(&body)?;
    let incoming = Incoming {
        source: name,
        message_id: signed.id.to_owned(),
        digest: Sha256::digest(&body).into(),
        callback,
        received_at,
        verification_id: api.ids.next(received_at),
        trace: trace.map(|Extension(trace)| trace),
    };
    let (verification, kind) = match api.accepting.submit(incoming).await? {
        Accepted::New(verification) => {
            api.signals.work_is_due();
            (verification, "new")
        }
        Accepted::Repeated(verification) => (verification, "repeated"),
        Accepted::Mismatch => return Err(Problem::idempotency_mismatch()),
        Accepted::Erased => return Err(Problem::erased()),
    };
    traces::concerns(verification.id);
    metrics::counter!("verdict_callbacks_total", "outcome" => kind).increment(1);
    let location = HeaderValue::from_str(&format!("/v1/verifications/{}", verification.id))
        .map_err(|_| Problem::internal())?;
    let body = Json(VerificationView::from(verification));
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], body).into_response())
}

fn media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded || !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::unsupported_media_type());
    }
    Ok(())
}

async fn read(body: Body, at_most: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(at_most, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Err(_) => Err(Problem::request_timeout()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::body_too_large()),
        // The client cut the connection, or its framing is broken; there may be nobody to tell.
        Ok(Err(_)) => Err(Problem::malformed_json()),
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
