//! Everything that a page may answer in place of what was wanted: another page that says what
//! happened and what to do, or the way to sign in.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::domain::scope::Scope;
use crate::http::problem::{Code, Problem};
use crate::http::request_log::PageCode;
use crate::store;

/// Rendered by the outermost layer, which knows the person's language.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The person has to sign in, and then comes back.
    SignIn,
    /// The person has to prove again who it is, and then comes back.
    Confirm,
    /// A page.
    Page(Reason, Option<Cow<'static, str>>),
}

/// Why. Those of the API, and those that only people meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As the API refuses it.
    Problem(Code),
    /// The person lacks this right.
    RightMissing(Scope),
    /// The person does not reach the scene.
    OtherScene,
    /// The session has ended.
    SignedOut,
    /// The form is of another session.
    FormOutdated,
    /// The form is of another site.
    OtherOrigin,
    /// Nobody changes their own rights.
    OwnRights,
    /// The invitation was used, replaced, or is too old.
    InvitationOver,
    /// No user is the person whom the identity provider named.
    NotInvited,
    /// Another user is that person already.
    IdentityTaken,
    /// The identity provider did not sign anybody in, or what it said does not hold.
    Identity,
    /// It does not answer.
    IdentityDown,
}

impl Reason {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Problem(code) => code.status(),
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::RightMissing(_)
            | Self::OtherScene
            | Self::FormOutdated
            | Self::OtherOrigin
            | Self::OwnRights
            | Self::NotInvited
            | Self::Identity => StatusCode::FORBIDDEN,
            Self::InvitationOver => StatusCode::GONE,
            Self::IdentityTaken => StatusCode::CONFLICT,
            Self::IdentityDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code in the log and on the page.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Problem(code) => code.as_str(),
            Self::RightMissing(_) => "scope-missing",
            Self::OtherScene => "other-scene",
            Self::SignedOut => "signed-out",
            Self::FormOutdated => "form-outdated",
            Self::OtherOrigin => "other-origin",
            Self::OwnRights => "own-rights",
            Self::InvitationOver => "invitation-over",
            Self::NotInvited => "not-invited",
            Self::IdentityTaken => "identity-taken",
            Self::Identity => "identity-refused",
            Self::IdentityDown => "identity-unavailable",
        }
    }
}

impl Refused {
    /// There is no such page, or the person may not know of it.
    pub fn not_found() -> Self {
        Problem::not_found().into()
    }

    /// Says more, in the person's language.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        match self {
            Self::Page(reason, _) => Self::Page(reason, Some(detail.into())),
            other => other,
        }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Page(reason, None)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Reason::Problem(problem.code()).into()
    }
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        Problem::from(error).into()
    }
}

/// A page with what was typed, which was refused.
pub fn marked(mut page: Response, status: StatusCode, code: &'static str) -> Response {
    *page.status_mut() = status;
    page.extensions_mut().insert(PageCode(code));
    page
}

impl IntoResponse for Refused {
    /// An empty response that carries the refusal to the layer which renders it.
    fn into_response(self) -> Response {
        let status = match &self {
            Self::SignIn | Self::Confirm => StatusCode::SEE_OTHER,
            Self::Page(reason, _) => reason.status(),
        };
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
