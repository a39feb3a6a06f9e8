//! Reading of request bodies, bounded in size, in time and in the memory of all of them together:
//! a client that sends slowly holds nothing but its connection.

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::api::Api;
use super::body_limits::{
    BodyLimits, MAX_BODY_BYTES, MAX_CALLBACK_BYTES, MAX_FORM_BYTES, MAX_START_BYTES,
};
use super::memory_budget::{MemoryBudget, MemoryPermit};
use super::problem::Problem;

/// Each body may use this much outside the budget. A documented callback fits, so hostile senders
/// that exhaust the budget do not keep callbacks out.
const UNBUDGETED_BYTES: usize = 2 * 1024;
/// Other bodies are read, or cut off, within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A body and its memory permit.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    permit: Option<MemoryPermit>,
}

impl Held {
    /// Returns the permit.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Drops the bytes; what was parsed from them takes their place in memory.
    pub(super) fn into_permit(self) -> Option<MemoryPermit> {
        self.permit
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of a callback whose signature is not verified yet, or of a form that a person sends before
/// signing in.
pub async fn read_unverified(api: &Api, body: Body) -> Result<Held, Problem> {
    collect(body, MAX_CALLBACK_BYTES, "At most 16 KiB are read", &api.bodies, |limits| {
        &limits.unverified
    })
    .await
}

/// The body of a request whose API key was checked.
pub async fn read(api: &Api, body: Body) -> Result<Held, Problem> {
    collect(body, MAX_BODY_BYTES, "At most 64 KiB are read", &api.bodies, |limits| &limits.verified)
        .await
}

/// The body of a start, which may carry pictures; its API key was checked.
pub async fn read_start(api: &Api, body: Body) -> Result<Held, Problem> {
    collect(body, MAX_START_BYTES, "At most 2 MiB are read", &api.bodies, |limits| &limits.verified)
        .await
}

/// A form with a long text: a browser makes up to three bytes of one.
pub async fn read_form(api: &Api, body: Body) -> Result<Held, Problem> {
    collect(body, MAX_FORM_BYTES, "At most 64 KiB of text are read", &api.bodies, |limits| {
        &limits.verified
    })
    .await
}

async fn collect(
    mut body: Body,
    most: usize,
    too_large: &'static str,
    limits: &BodyLimits,
    budget: impl Fn(&BodyLimits) -> &MemoryBudget,
) -> Result<Held, Problem> {
    let too_large = || Problem::body_too_large().detail(too_large);
    // Declared by Content-Length; a chunked body declares nothing.
    let declared =
        body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared.is_some_and(|bytes| bytes > most) {
        return Err(too_large());
    }
    let mut held = Held { bytes: Vec::new(), permit: None };
    let reading = async {
        // Nothing is allocated before the first byte.
        let Ok(mut next) = timeout(limits.first_byte, body.frame()).await else {
            return Err(Problem::request_timeout());
        };
        while let Some(frame) = next {
            // The client closed the connection, or the framing is broken.
            let frame = frame.map_err(|_| Problem::malformed_json())?;
            if let Ok(data) = frame.into_data() {
                if held.bytes.len() + data.len() > most {
                    return Err(too_large());
                }
                held.make_space(data.len(), declared.unwrap_or(most), budget(limits))?;
                // Copied: a slice would keep the connection's whole read buffer alive.
                held.bytes.extend_from_slice(&data);
            }
            next = body.frame().await;
        }
        Ok(())
    };
    timeout(limits.whole, reading).await.map_err(|_| Problem::request_timeout())??;
    Ok(held)
}

impl Held {
    /// Grows at most twice: to the part outside the budget, then to the whole body.
    fn make_space(
        &mut self,
        more: usize,
        whole: usize,
        budget: &MemoryBudget,
    ) -> Result<(), Problem> {
        let needed = self.bytes.len() + more;
        if needed > UNBUDGETED_BYTES && self.permit.is_none() {
            let permit = budget.try_acquire(whole.saturating_sub(UNBUDGETED_BYTES));
            let busy = || {
                Problem::unavailable()
                    .detail("Too many request bodies are being read; try again")
                    .retry_after(RETRY_AFTER)
            };
            self.permit = Some(permit.ok_or_else(busy)?);
        }
        if needed > self.bytes.capacity() {
            let target = if self.permit.is_some() { whole } else { whole.min(UNBUDGETED_BYTES) };
            self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
        }
        Ok(())
    }
}
