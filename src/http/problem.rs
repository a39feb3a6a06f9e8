//! Every error, as `application/problem+json` (RFC 9457).
//!
//! A problem tells the caller what is wrong and what to do; causes inside us go to the log.

mod codes;
pub mod pages;

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::callback::CallbackError;
use crate::domain::field_error::FieldError;
use crate::lanes::Busy;
use crate::store;

pub use codes::Code;

/// SQLSTATEs: a byte sequence, or a character in JSON, that Postgres does not store.
const UNSTORABLE: [&str; 2] = ["22021", "22P05"];

/// One refusal. Rendered by the outermost layer, which knows the request id.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    code: Code,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldProblem>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    length: Option<usize>,
    backtest: Option<Uuid>,
    oldest: Option<i64>,
}

/// One wrong member of the request.
#[derive(Clone, Debug, Serialize)]
struct FieldProblem {
    /// JSON pointer into the body, or the name of a parameter or header.
    pointer: Cow<'static, str>,
    detail: Cow<'static, str>,
}

/// The body of the response.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<i64>,
}

macro_rules! constructors {
    ($($code:ident, $constructor:ident: $status:ident $text:literal, $title:literal,
        $happened:literal, $remedy:literal;)*) => {
        impl Problem {
            $(
                #[doc = concat!("`", $text, "`")]
                pub fn $constructor() -> Self {
                    Self::new(Code::$code)
                }
            )*
        }
    };
}

codes::for_each_code!(constructors);

impl Problem {
    fn new(code: Code) -> Self {
        Self(Box::new(Parts {
            code,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            length: None,
            backtest: None,
            oldest: None,
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

    /// The sequence of the oldest event that is kept.
    #[must_use]
    pub fn oldest(mut self, sequence: i64) -> Self {
        self.0.oldest = Some(sequence);
        self
    }

    /// Its code, which determines its status and its title.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The document, with an invented request id.
    pub fn example(&self) -> serde_json::Value {
        serde_json::to_value(self.document("01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0"))
            .unwrap_or_default()
    }

    fn document<'a>(&'a self, request_id: &'a str) -> Document<'a> {
        let parts = &self.0;
        Document {
            r#type: parts.code.page(),
            title: parts.code.title(),
            status: parts.code.status().as_u16(),
            code: parts.code.as_str(),
            detail: parts.detail.as_deref(),
            instance: request_id,
            errors: &parts.errors,
            backtest: parts.backtest,
            oldest: parts.oldest,
        }
    }

    /// The complete response.
    pub fn render(&self, request_id: &str) -> Response {
        let parts = &self.0;
        let document = self.document(request_id);
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (parts.code.status(), body).into_response();
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
        if matches!(parts.code, Code::ApiKeyMissing | Code::ApiKeyInvalid) {
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
        let mut response = self.0.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
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
            .detail("Policies are checked and compared one at a time, and too many requests wait")
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
            assert_eq!(Problem::from(error).code().as_str(), code, "{sqlstate}");
        }
    }
}
