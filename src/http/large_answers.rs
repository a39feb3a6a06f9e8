//! Memory of large answers. An answer is held for as long as its reader takes, so all of them that are
//! read at once share a budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::BodyExt;

use super::api_key_auth;
use super::memory_budget::{MemoryBudget, MemoryPermit};
use super::problem::Problem;

/// An answer of up to so many bytes is not counted: a connection's own buffers are as large.
const SMALL: usize = 16 * 1024;
/// Of all others in one process.
const ANSWER_BYTES: usize = 64 << 20;
/// Of these, what one API key may hold. An answer that is larger is sent while the key holds no other.
const ANSWER_BYTES_PER_KEY: usize = 16 << 20;
/// Others are read within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The budget of a process, and what each key holds of it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LargeAnswers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: MemoryBudget,
    total: usize,
    per_key: usize,
    held: Mutex<HashMap<KeyDigest, usize>>,
}

/// The digest of an API key; of a request without one, zeros.
type KeyDigest = [u8; 32];

/// Returns its bytes to the budget and to its key when dropped.
#[derive(Debug)]
struct Permit {
    answers: LargeAnswers,
    key: KeyDigest,
    bytes: usize,
    _of_all: MemoryPermit,
}

impl LargeAnswers {
    pub(super) fn new() -> Self {
        Self::with_limits(ANSWER_BYTES, ANSWER_BYTES_PER_KEY)
    }

    fn with_limits(total: usize, per_key: usize) -> Self {
        let (budget, held) = (MemoryBudget::new(total), Mutex::default());
        Self(Arc::new(Inner { budget, total, per_key, held }))
    }

    /// `None` if less is left of all, or of the key's share.
    fn try_acquire(&self, key: KeyDigest, bytes: usize) -> Option<Permit> {
        // One that is larger than the whole budget takes all of it: it could never be sent otherwise.
        let bytes = bytes.min(self.0.total);
        let mut held = self.held();
        let of_key = held.get(&key).copied().unwrap_or(0);
        if of_key > 0 && of_key + bytes > self.0.per_key {
            return None;
        }
        let of_all = self.0.budget.try_acquire(bytes)?;
        held.insert(key, of_key + bytes);
        drop(held);
        Some(Permit { answers: self.clone(), key, bytes, _of_all: of_all })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<KeyDigest, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.answers.held();
        if let Some(of_key) = held.get_mut(&self.key) {
            *of_key = of_key.saturating_sub(self.bytes);
            if *of_key == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// An answer, and its part of the budget until its last byte is sent.
struct Held {
    bytes: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reserves memory for a large JSON answer, or refuses it unless it is that of a change. Images have their
/// own budget, streams hold a part at a time, and files of the documentation are in memory once.
pub(super) async fn hold(
    State(answers): State<LargeAnswers>,
    request: Request,
    next: Next,
) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let is_safe = request.method().is_safe();
    let response = next.run(request).await;
    let length = response.body().size_hint().exact();
    let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    if length <= SMALL || !is_json(&response) {
        return response;
    }
    let key = api_key_auth::presented(authorization.as_ref()).unwrap_or_default();
    let Some(permit) = answers.try_acquire(key, length) else {
        // A change has taken effect, and its answer may show a secret that is shown once. It is sent
        // uncounted.
        if !is_safe {
            return response;
        }
        return Problem::unavailable()
            .detail("Too many large answers are being read; try again")
            .retry_after(RETRY_AFTER)
            .into_response();
    };
    let (parts, body) = response.into_parts();
    // It is whole already: this waits for nothing.
    let Ok(collected) = body.collect().await else { return Problem::internal().into_response() };
    let held = Held { bytes: collected.to_bytes(), _permit: permit };
    Response::from_parts(parts, Body::from(Bytes::from_owner(held)))
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::body::to_bytes;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;
    use crate::vault::api_key;

    const KIB: usize = 1024;

    fn router(total: usize, per_key: usize) -> Router {
        let json = |bytes: usize| {
            let body = vec![b' '; bytes];
            get(move || ready(([(CONTENT_TYPE, "application/json")], body.clone())))
        };
        Router::new()
            .route("/large", json(100 * KIB))
            .route("/small", json(SMALL))
            .route("/change", post(|| async { Json(" ".repeat(100 * KIB)) }))
            .layer(from_fn_with_state(LargeAnswers::with_limits(total, per_key), hold))
    }

    async fn ask(router: &Router, path: &str, key: &str) -> Response {
        let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {key}"));
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn answers_that_are_still_read_share_a_budget() {
        let router = router(150 * KIB, 150 * KIB);
        let [one, other] = [(); 2].map(|()| api_key::generate().unwrap());
        let first = ask(&router, "/large", &one).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(ask(&router, "/large", &other).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&router, "/small", &other).await.status(), StatusCode::OK);
        // Its bytes are on their way.
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(ask(&router, "/large", &other).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(bytes.len(), 100 * KIB);
        drop(bytes);
        assert_eq!(ask(&router, "/large", &other).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn key_that_reads_slowly_leaves_the_budget_to_others() {
        let router = router(1000 * KIB, 250 * KIB);
        let [slow, other] = [(); 2].map(|()| api_key::generate().unwrap());
        let held = [ask(&router, "/large", &slow).await, ask(&router, "/large", &slow).await];
        assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(ask(&router, "/large", &slow).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&router, "/large", &other).await.status(), StatusCode::OK);
        drop(held);
        assert_eq!(ask(&router, "/large", &slow).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn answer_of_a_change_is_never_refused() {
        let router = router(150 * KIB, 150 * KIB);
        let key = api_key::generate().unwrap();
        let held = ask(&router, "/large", &key).await;
        assert_eq!(ask(&router, "/large", &key).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let change = Request::post("/change").body(Body::empty()).unwrap();
        let changed = router.clone().oneshot(change).await.unwrap();
        assert_eq!(changed.status(), StatusCode::OK);
        assert!(to_bytes(changed.into_body(), usize::MAX).await.unwrap().len() > 100 * KIB);
        drop(held);
    }

    #[tokio::test]
    async fn answer_larger_than_the_budget_is_sent_alone() {
        let router = router(50 * KIB, 10 * KIB);
        let key = api_key::generate().unwrap();
        let only = ask(&router, "/large", &key).await;
        assert_eq!(only.status(), StatusCode::OK);
        assert_eq!(ask(&router, "/large", &key).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(only);
        assert_eq!(ask(&router, "/large", &key).await.status(), StatusCode::OK);
    }
}
