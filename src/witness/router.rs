//! The requests to a witness. Anybody may send them: a head counts only with the signature of its log.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Limited};
use merkle_log::witness::{Refusal, Request};
use sha2::{Digest, Sha256};

use super::state::{SignError, Witness};
use crate::domain::clock::Clock;

/// A proof has at most 63 hashes, and a head few signatures.
const MOST_BYTES: usize = 64 * 1024;
/// For a whole request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The content type of a size, from the specification.
const SIZE: &str = "text/x.tlog.size";

#[derive(Clone)]
struct Parts {
    witness: Arc<Witness>,
    clock: Clock,
    /// The digest of the log's name, by which its head is asked for.
    origin: Arc<str>,
}

pub fn router(witness: Arc<Witness>, clock: Clock) -> Router {
    let origin = hex::encode(Sha256::digest(witness.log().name())).into();
    Router::new()
        .route("/add-checkpoint", post(add_head))
        .route("/{origin}/checkpoint", get(newest_head))
        .with_state(Parts { witness, clock, origin })
}

async fn add_head(State(parts): State<Parts>, body: Body) -> Response {
    let reading = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MOST_BYTES).collect());
    let body = match reading.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return refused(Refusal::Malformed),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body is late\n").into_response(),
    };
    let request = std::str::from_utf8(&body).map_err(|_| Refusal::Malformed);
    let request = match request.and_then(Request::parse) {
        Ok(request) => request,
        Err(refusal) => return refused(refusal),
    };
    let Parts { witness, clock, .. } = parts;
    // It writes to a disk.
    let signing = tokio::task::spawn_blocking(move || {
        // A cosignature must not have the time 0.
        let seconds = u64::try_from(clock.now().unix_timestamp()).unwrap_or_default().max(1);
        let signed = witness.sign(&request, seconds);
        (signed, witness, request)
    });
    let Ok((signed, witness, request)) = signing.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match signed {
        Ok(signature) => format!("{signature}\n").into_response(),
        Err(SignError::Refused(refusal)) => {
            report(refusal, &request, &witness);
            refused(refusal)
        }
        Err(SignError::State(error)) => {
            tracing::error!(%error, "witness: the state cannot be kept, so nothing is signed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Logs a refusal. Where the log may have signed two heads that contradict each other, both are evidence,
/// so both are logged.
fn report(refusal: Refusal, request: &Request, witness: &Witness) {
    let last = witness.last();
    // Anybody can send the signed head again with a proof that is none.
    let is_evidence = last.as_ref().is_none_or(|last| last.note.text() != request.note.text());
    match refusal {
        Refusal::Inconsistent if is_evidence => {
            tracing::error!(
                signed = last.map(|last| last.note.to_string()),
                refused = request.note.to_string(),
                "witness: a head without a proof that it continues the signed one"
            );
        }
        Refusal::OtherSize(_) => {}
        _ => tracing::warn!(status = refusal.status(), "witness: head refused"),
    }
}

fn refused(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    if let Refusal::OtherSize(size) = refusal {
        return (status, [(CONTENT_TYPE, SIZE)], format!("{size}\n")).into_response();
    }
    (status, format!("{refusal}\n")).into_response()
}

/// The newest head that was signed, for those who watch the log.
async fn newest_head(State(parts): State<Parts>, Path(origin): Path<String>) -> Response {
    let last = parts.witness.last().filter(|_| *origin == *parts.origin);
    match last {
        Some(last) => last.note.to_string().into_response(),
        None => (StatusCode::NOT_FOUND, "no head of this log was signed\n").into_response(),
    }
}
