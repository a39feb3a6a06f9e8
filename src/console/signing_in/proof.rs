//! A person proves who it is, by password and, where it is asked for, a one-time code.
//!
//! An unknown name costs the same work and gets the same answer as a wrong password. Each name has its
//! own delay, known or not; tries of one kind share a rate in a process, and only a few digests are
//! computed at a time.
//!
//! Anybody can fail under a person's name. So that this does not keep the person out, a browser in
//! which the person signed in before has a separate delay, and so has a session.

use sha2::{Digest, Sha256};

use crate::console::refused::Refused;
use crate::console::state::Console;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::user::{self, User};
use crate::http::problem::Problem;
use crate::lanes::{Busy, password_work};
use crate::store::sign_ins::Try;
use crate::store::users::Credentials;
use crate::vault::sealed_at::SealedAt;
use crate::vault::totp::TotpSecret;
use crate::vault::{DataKey, known_browser, password};

/// The typed name, password and code.
pub struct Proof<'a> {
    pub name: &'a str,
    pub password: String,
    pub code: &'a str,
    pub tried_from: TriedFrom<'a>,
}

/// Where a try comes from, and so with which others it is counted.
#[derive(Clone, Copy, Debug)]
pub enum TriedFrom<'a> {
    /// With all others of its name.
    Anywhere,
    /// A browser with a mark for this name.
    Known(&'a str),
    Session(SessionId),
}

impl<'a> TriedFrom<'a> {
    /// Of a try to sign in under this name, with the mark that the browser presents.
    pub fn browser(console: &Console, name: &str, mark: Option<&'a str>) -> Self {
        let (key, now) = (console.key.as_ref(), console.api.clock.now());
        let fits = |&(mark, key): &(&str, &DataKey)| known_browser::fits(key, &of(name), mark, now);
        let fitting = mark.zip(key).filter(fits);
        fitting.map_or(Self::Anywhere, |(mark, _)| Self::Known(mark))
    }

    /// The digest under which tries are counted.
    fn counted_as(self, name: &[u8; 32]) -> [u8; 32] {
        let among =
            |kind: &[u8], one: &[u8]| Sha256::digest([kind, &name[..], one].concat()).into();
        match self {
            Self::Anywhere => *name,
            Self::Known(mark) => among(b"known-browser", mark.as_bytes()),
            Self::Session(session) => among(b"session", session.0.as_bytes()),
        }
    }
}

/// The digest of a name, the same for every spelling.
fn of(name: &str) -> [u8; 32] {
    Sha256::digest(user::folded(name)).into()
}

/// A new mark for a browser in which this person signs in; `None`: this process has no keys.
pub fn mark(console: &Console, name: &str) -> Option<String> {
    let now = console.api.clock.now();
    known_browser::generate(console.key.as_ref()?, &of(name), now).ok()
}

/// The result of the check.
pub enum Proved {
    Is(Box<User>),
    Wrong,
    /// The next try counts after so many seconds.
    TooEarly(u64),
    Busy,
}

impl Proof<'_> {
    pub async fn check(self, console: &Console) -> Result<Proved, Refused> {
        let (sign_ins, users) = (console.api.store.sign_ins(), console.api.store.users());
        let counted_as = self.tried_from.counted_as(&of(self.name));
        if let Try::TooEarly(wait) = sign_ins.take_try(&counted_as).await? {
            return Ok(Proved::TooEarly(wait.as_secs() + 1));
        }
        let found = users.credentials(self.name).await?;
        let digest = found.as_ref().and_then(|found| found.password.clone());
        let typed = self.password;
        let fits = password_work(move || password::fits(&typed, digest.as_deref())).await;
        let Some(found) = (match fits {
            Err(Busy) => return Ok(Proved::Busy),
            Ok(fits) => found.filter(|_| fits),
        }) else {
            metrics::counter!("verdict_console_sign_ins_total", "outcome" => "refused")
                .increment(1);
            return Ok(Proved::Wrong);
        };
        if !has_code(console, &found, self.code).await? {
            metrics::counter!("verdict_console_sign_ins_total", "outcome" => "refused")
                .increment(1);
            return Ok(Proved::Wrong);
        }
        sign_ins.succeeded(&counted_as).await?;
        metrics::counter!("verdict_console_sign_ins_total", "outcome" => "ok").increment(1);
        let user = users.find(UserId(found.id)).await?;
        Ok(user.map_or(Proved::Wrong, |found| Proved::Is(Box::new(found.user))))
    }
}

/// Whether the code counts, where one is asked for. It counts once.
async fn has_code(console: &Console, of: &Credentials, code: &str) -> Result<bool, Refused> {
    let Some(sealed) = &of.totp_secret else { return Ok(true) };
    let user = UserId(of.id);
    let Some(secret) = open(console, user, sealed) else {
        tracing::error!(%user, "secret of one-time codes does not open");
        return Err(Problem::unavailable().into());
    };
    match secret.step_of(code, console.api.clock.now()) {
        None => Ok(false),
        Some(step) => Ok(console.api.store.users().take_code(user, step).await?),
    }
}

fn open(console: &Console, user: UserId, sealed: &[u8]) -> Option<TotpSecret> {
    let key = console.key.as_ref()?;
    let bytes = key.open(SealedAt::TotpSecret(user), sealed).ok()?;
    Some(TotpSecret::from_bytes(&bytes))
}
