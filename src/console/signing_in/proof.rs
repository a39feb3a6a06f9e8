//! A person proves who it is, by password and, where it is asked for, a one-time code.
//!
//! An unknown name costs the same work and gets the same answer as a wrong password. Each name has its
//! own delay, known or not; all tries of a process share a rate, and only a few digests are computed
//! at a time.

use sha2::{Digest, Sha256};

use crate::console::refused::Refused;
use crate::console::state::Console;
use crate::domain::ids::UserId;
use crate::domain::user::{self, User};
use crate::http::problem::Problem;
use crate::lanes::{Busy, password_work};
use crate::store::sign_ins::Try;
use crate::store::users::Credentials;
use crate::vault::password;
use crate::vault::sealed_at::SealedAt;
use crate::vault::totp::TotpSecret;

/// The typed name, password and code.
pub struct Proof<'a> {
    pub name: &'a str,
    pub password: String,
    pub code: &'a str,
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
        let name: [u8; 32] = Sha256::digest(user::folded(self.name)).into();
        if let Try::TooEarly(wait) = sign_ins.take_try(&name).await? {
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
        sign_ins.succeeded(&name).await?;
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
