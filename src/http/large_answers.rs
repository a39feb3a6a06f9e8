//! Memory of large answers. An answer is held for as long as its reader takes, so all of them that are
//! read at once share a budget.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;

use super::memory_budget::{MemoryBudget, MemoryPermit};
use super::problem::Problem;

/// An answer of up to so many bytes is not counted: a connection's own buffers are as large.
const SMALL: usize = 16 * 1024;
/// Of all others in one process.
pub(super) const ANSWER_BYTES: usize = 64 << 20;
/// Others are read within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An answer, and its part of the budget until its last byte is sent.
struct Held {
    bytes: Bytes,
    _permit: MemoryPermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Takes a large JSON answer out of the budget, or refuses it. Images have their own, streams hold a
/// part at a time, and files of the documentation are in memory once.
pub(super) async fn hold(State(budget): State<MemoryBudget>, response: Response) -> Response {
    let length = response.body().size_hint().exact();
    let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    if length <= SMALL || !is_json(&response) {
        return response;
    }
    let Some(permit) = budget.try_acquire(length) else {
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

    use axum::Router;
    use axum::body::to_bytes;
    use axum::middleware::map_response_with_state;
    use axum::routing::get;
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn answers_that_are_still_read_share_a_budget() {
        let json = |bytes: usize| {
            let body = vec![b' '; bytes];
            get(move || ready(([(CONTENT_TYPE, "application/json")], body.clone())))
        };
        let router: Router = Router::new()
            .route("/large", json(100 * 1024))
            .route("/small", json(SMALL))
            .layer(map_response_with_state(MemoryBudget::new(150 * 1024), hold));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        let first = ask("/large").await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(ask("/large").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask("/small").await.status(), StatusCode::OK);
        // Its bytes are on their way.
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(ask("/large").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(bytes.len(), 100 * 1024);
        drop(bytes);
        assert_eq!(ask("/large").await.status(), StatusCode::OK);
    }
}
