//! The person who is signed in, and what the person may do.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::Method;
use http::request::Parts;
use time::OffsetDateTime;

use super::refused::{Reason, Refused};
use super::state::Console;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::scenes::Scenes;
use crate::domain::scope::Scope;
use crate::domain::user::{self, Language, Theme, User};
use crate::domain::zone::Zone;
use crate::store;
use crate::store::audit::AuditContext;
use crate::store::sign_ins::FoundSession;
use crate::store::verdicts::PendingVerdict;
use crate::vault::token;

/// The person who is signed in. An extractor: without a session a page leads to signing in, and a change is
/// refused.
#[derive(Clone, Debug)]
pub struct SignedIn(Arc<Person>);

/// The person, and the session.
#[derive(Debug)]
pub struct Person {
    pub user: UserId,
    pub name: String,
    pub language: Language,
    pub theme: Theme,
    pub zone: Zone,
    pub scopes: Vec<Scope>,
    pub scenes: Scenes,
    pub session: SessionId,
    pub method: user::Method,
    /// Every form carries it: other sites do not know it.
    pub form_token: String,
    /// The person has proved who it is within the last ten minutes.
    confirmed_recently: bool,
    /// The person's newest verdict, as long as it can be undone: every page offers that.
    pub pending: Option<PendingVerdict>,
}

impl Deref for SignedIn {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.0
    }
}

impl SignedIn {
    /// The person of a cookie; `None`: the session has ended.
    pub(super) async fn find(
        console: &Console,
        token: &str,
        is_activity: bool,
    ) -> store::Result<Option<Self>> {
        let sign_ins = console.api.store.sign_ins();
        let found = sign_ins.session(&token::digest(token), is_activity).await?;
        let Some(FoundSession { user, session, method, confirmed_recently }) = found else {
            return Ok(None);
        };
        let User { id, name, language, theme, zone, scopes, scenes } = user;
        let pending = if scopes.contains(&Scope::ReviewsWrite) {
            console.api.store.assignments().pending(id).await?
        } else {
            None
        };
        Ok(Some(Self(Arc::new(Person {
            user: id,
            name,
            language,
            theme,
            zone,
            scopes,
            scenes,
            session,
            method,
            form_token: token::of_forms(token),
            confirmed_recently,
            pending,
        }))))
    }
}

impl Person {
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub fn must_have(&self, scope: Scope) -> Result<(), Refused> {
        if self.has(scope) { Ok(()) } else { Err(Reason::RightMissing(scope).into()) }
    }

    /// The empty scene means all scenes without their own policy: who is limited to scenes does not
    /// reach it.
    pub fn must_reach(&self, scene: &str) -> Result<(), Refused> {
        if self.scenes.include_name(scene) { Ok(()) } else { Err(Reason::OtherScene.into()) }
    }

    /// For what cannot be undone: the person has proved who it is within the last ten minutes.
    pub fn must_have_confirmed(&self) -> Result<(), Refused> {
        if self.confirmed_recently { Ok(()) } else { Err(Refused::Confirm) }
    }

    pub fn confirmed_recently(&self) -> bool {
        self.confirmed_recently
    }

    /// The person in the audit log.
    pub fn actor(&self) -> String {
        format!("user:{} person:{}", self.user, self.name)
    }

    /// `purpose`: checked by [`crate::domain::purpose::parse`].
    pub fn audit_context(&self, purpose: Option<&str>, now: OffsetDateTime) -> AuditContext {
        AuditContext { actor: self.actor(), purpose: purpose.map(ToOwned::to_owned), at: now }
    }
}

/// A user in the audit log, before there is a session.
pub(super) fn context(user: &User, now: OffsetDateTime) -> AuditContext {
    AuditContext { actor: user.actor(), purpose: None, at: now }
}

impl FromRequestParts<Console> for SignedIn {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Console) -> Result<Self, Refused> {
        if let Some(person) = parts.extensions.get::<Self>() {
            return Ok(person.clone());
        }
        if parts.method == Method::GET {
            return Err(Refused::SignIn);
        }
        Err(Reason::SignedOut.into())
    }
}
