//! Every error, as `application/problem+json` (RFC 9457).
//!
//! A problem tells the caller what is wrong and what to do; causes inside us go to the log.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::callback::CallbackError;
use crate::domain::members::FieldError;
use crate::lanes::Busy;
use crate::store;

/// What a problem's `type` begins with; the stable code follows.
const TYPE_BASE: &str = "https://verdict.invalid/problems/";

/// SQLSTATEs: a byte sequence, or a character in JSON, that Postgres does not store.
const UNSTORABLE: [&str; 2] = ["22021", "22P05"];

/// One refusal. Rendered by the outermost layer, which knows the request id.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldProblem>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    length: Option<usize>,
    backtest: Option<Uuid>,
}

/// One wrong member of the request.
#[derive(Clone, Debug, Serialize)]
struct FieldProblem {
    /// JSON pointer into the body, or the name of a parameter or header.
    pointer: Cow<'static, str>,
    detail: Cow<'static, str>,
}

/// The body.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    instance: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
    #[serde(skip_serializing_if = "Option::is_none")]
    backtest: Option<Uuid>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        impl Problem {$(
            $(#[$doc])*
            pub fn $name() -> Self {
                Self::new(StatusCode::$status, $code, $title)
            }
        )*}
    };
}

problems! {
    /// The body is not a JSON object.
    malformed_json = BAD_REQUEST, "malformed-json", "The body is not a JSON object";
    /// A `+` in a query string, where it means a blank.
    plus_in_query = BAD_REQUEST, "plus-in-query", "A + in a query string means a blank: write + as %2B";
    /// A signature header is missing.
    signature_missing = UNAUTHORIZED, "signature-missing", "webhook-id, webhook-timestamp and webhook-signature are required";
    /// No secret verifies the signature.
    signature_invalid = UNAUTHORIZED, "signature-invalid", "The signature does not verify";
    /// The timestamp is too old or too new.
    timestamp_out_of_tolerance = UNAUTHORIZED, "timestamp-out-of-tolerance", "webhook-timestamp is more than 5 minutes away from our clock";
    /// The timestamp is in another unit. Told only where the signature verifies.
    timestamp_not_seconds = UNAUTHORIZED, "timestamp-not-seconds", "Send webhook-timestamp as whole seconds since 1970, not milli-, micro- or nanoseconds, and sign that text";
    /// No API key.
    api_key_missing = UNAUTHORIZED, "api-key-missing", "Send Authorization: Bearer <api key>";
    /// Not a good API key.
    api_key_invalid = UNAUTHORIZED, "api-key-invalid", "This API key is not known or was revoked";
    /// The key may not do this.
    scope_missing = FORBIDDEN, "scope-missing", "This API key lacks the scope for this";
    /// The key is limited to other scenes.
    other_scene = FORBIDDEN, "other-scene", "This API key is limited to other scenes: name one of its own";
    /// Two persons must agree, and the key names none.
    person_missing = FORBIDDEN, "person-missing", "Two persons must agree to this, and this API key names none: use a key made with --person";
    /// No such route or resource.
    not_found = NOT_FOUND, "not-found", "There is nothing here";
    /// The route knows other methods.
    method_not_allowed = METHOD_NOT_ALLOWED, "method-not-allowed", "This resource does not know this method";
    /// The provider has said nothing of the person.
    no_material = NOT_FOUND, "no-material", "There is no personal data about this verification";
    /// No such image is kept.
    no_image = NOT_FOUND, "no-image", "No such image of this verification is kept";
    /// A range beyond the image.
    range_not_satisfiable = RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "The range lies outside the image";
    /// The person was forgotten.
    erased = GONE, "erased", "The person's data was erased; nothing more is accepted or shown";
    /// Why, is not said.
    purpose_missing = BAD_REQUEST, "purpose-missing", "Send Verdict-Purpose: why this is done; it is recorded";
    /// The body did not come in time.
    request_timeout = REQUEST_TIMEOUT, "request-timeout", "The body did not arrive in time";
    /// The message id was used for other bytes.
    idempotency_mismatch = CONFLICT, "idempotency-mismatch", "This webhook-id was already used for another body";
    /// The verification belongs to another source. Says nothing about it.
    other_source = CONFLICT, "other-source", "This verification belongs to another source of callbacks";
    /// Too many bytes.
    body_too_large = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// Not JSON, or encoded.
    unsupported_media_type = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Send application/json without a content encoding";
    /// A policy with errors.
    policy_refused = UNPROCESSABLE_ENTITY, "policy-refused", "The policy has errors";
    /// One backtest at a time.
    backtest_running = CONFLICT, "backtest-running", "Another backtest is running; start this one when it is done";
    /// Nothing to roll back to, or no shadow to promote.
    nothing_to_change = CONFLICT, "nothing-to-change", "There is nothing to go back to, or no shadow to promote";
    /// The proposal was carried out by somebody else, or lapsed, at this moment.
    proposal_closed = CONFLICT, "proposal-closed", "This was carried out or withdrawn at the same moment: look again, then ask again if need be";
    /// Nothing was decided yet that a person could look at.
    nothing_to_review = CONFLICT, "nothing-to-review", "There is no decision about this verification yet";
    /// Another decision stands than the one that was looked at.
    decision_changed = PRECONDITION_FAILED, "decision-changed", "Another decision stands by now: look again";
    /// The provider will not start this verification.
    provider_refused = UNPROCESSABLE_ENTITY, "provider-refused", "The provider refuses to start this verification";
    /// The provider does not answer, or not to us.
    provider_unavailable = SERVICE_UNAVAILABLE, "provider-unavailable", "The provider cannot be asked now; try again shortly";
    /// Members or parameters are wrong.
    invalid_field = UNPROCESSABLE_ENTITY, "invalid-field", "Some fields are wrong";
    /// Too many requests.
    rate_limited = TOO_MANY_REQUESTS, "rate-limited", "Too many requests: wait as Retry-After says";
    /// The caller, or all callers together, hold too many long polls.
    too_many_waits = TOO_MANY_REQUESTS, "too-many-waits", "Too many requests wait for verifications: ask without wait, or try again later";
    /// Our fault.
    internal = INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side";
    /// Cannot commit now.
    unavailable = SERVICE_UNAVAILABLE, "unavailable", "This cannot be done now; try again shortly";
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            title,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            length: None,
            backtest: None,
        }))
    }

    /// What exactly, in one sentence without values from the request.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// When to try again, rounded up to whole seconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Names one wrong member.
    #[must_use]
    pub fn field(
        mut self,
        pointer: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.0.errors.push(FieldProblem { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Names the backtest that is in the way.
    #[must_use]
    pub fn backtest(mut self, id: Uuid) -> Self {
        self.0.backtest = Some(id);
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    /// One sentence, the same for every refusal with this code.
    pub fn title(&self) -> &'static str {
        self.0.title
    }

    /// As it looks, with an invented request id.
    pub fn example(&self) -> serde_json::Value {
        serde_json::to_value(self.document("01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0"))
            .unwrap_or_default()
    }

    fn document<'a>(&'a self, request_id: &'a str) -> Document<'a> {
        let parts = &self.0;
        Document {
            r#type: format!("{TYPE_BASE}{}", parts.code),
            title: parts.title,
            status: parts.status.as_u16(),
            code: parts.code,
            detail: parts.detail.as_deref(),
            instance: request_id,
            errors: &parts.errors,
            backtest: parts.backtest,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The complete response.
    pub fn render(&self, request_id: &str) -> Response {
        let parts = &self.0;
        let document = self.document(request_id);
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (parts.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = parts.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = &parts.allow {
            headers.insert(ALLOW, allow.clone());
        }
        if let Some(Ok(range)) = parts.length.map(|n| HeaderValue::try_from(format!("bytes */{n}")))
        {
            headers.insert(CONTENT_RANGE, range);
        }
        if parts.code.starts_with("api-key") {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// How long it is of which a range was asked.
    #[must_use]
    pub fn of_length(mut self, length: usize) -> Self {
        self.0.length = Some(length);
        self
    }

    /// Keeps what the router says about the methods it knows.
    #[must_use]
    pub fn allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.0.allow = allow;
        self
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem to the layer which renders it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        // A NUL in a text or in JSON: every text of a request is checked before, and this is for
        // the one that was overlooked.
        if matches!(&error, store::Error::Refused { code, .. } if UNSTORABLE.contains(&code.as_str()))
        {
            tracing::warn!(%error, cause = error.cause().code(), "request refused");
            return Self::invalid_field()
                .field("", "holds a character that cannot be stored, such as NUL");
        }
        if error.is_passing() {
            tracing::warn!(%error, cause = error.cause().code(), "request refused");
            Self::unavailable().retry_after(Duration::from_secs(1))
        } else {
            tracing::error!(%error, cause = error.cause().code(), "request failed");
            Self::internal()
        }
    }
}

impl From<Busy> for Problem {
    fn from(Busy: Busy) -> Self {
        Self::unavailable()
            .detail("Policies are checked and compared one at a time, and several requests wait")
            .retry_after(Duration::from_secs(2))
    }
}

impl From<CallbackError> for Problem {
    fn from(error: CallbackError) -> Self {
        match error {
            CallbackError::Malformed => Self::malformed_json(),
            CallbackError::Invalid(errors) => errors.into(),
        }
    }
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        errors.into_iter().fold(Self::invalid_field(), |problem, FieldError { pointer, detail }| {
            problem.field(pointer, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_postgres_cannot_store_is_the_callers_mistake() {
        for (sqlstate, code) in
            [("22021", "invalid-field"), ("22P05", "invalid-field"), ("22003", "internal")]
        {
            let at = store::Place::here();
            let error = store::Error::Refused { code: sqlstate.to_owned(), constraint: None, at };
            assert_eq!(Problem::from(error).code(), code, "{sqlstate}");
        }
    }
}
