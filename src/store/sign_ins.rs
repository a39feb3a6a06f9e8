//! Where people are signed in. When a session ends is judged by the database's clock.

use sqlx::FromRow;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::users::UserRow;
use crate::domain::ids::SessionId;
use crate::domain::user::{Method, User};

/// How long a session lasts without a request, to a minute.
macro_rules! idle {
    () => {
        "interval '15 minutes'"
    };
}

/// For how long a person need not prove again who it is.
macro_rules! confirmed {
    () => {
        "interval '10 minutes'"
    };
}

/// A session that has not ended, and whose.
#[derive(Clone, Debug)]
pub struct FoundSession {
    pub user: User,
    pub session: SessionId,
    pub method: Method,
    pub confirmed_recently: bool,
}

#[derive(FromRow)]
struct SessionRow {
    session: Uuid,
    method: String,
    confirmed_recently: bool,
    seen_long_ago: bool,
    #[sqlx(flatten)]
    user: UserRow,
}

/// Where people are signed in.
#[derive(Clone, Copy, Debug)]
pub struct SignIns<'a>(&'a Store);

impl Store {
    /// Where people are signed in.
    pub fn sign_ins(&self) -> SignIns<'_> {
        SignIns(self)
    }
}

impl SignIns<'_> {
    /// The session of a token, if it has not ended, noted as used.
    pub async fn session(self, digest: &[u8; 32]) -> Result<Option<FoundSession>> {
        let found = self.0.run(|| session(digest).fetch_optional(&self.0.pool)).await?;
        let Some(row) = found else { return Ok(None) };
        if row.seen_long_ago {
            self.0.run(|| async { see(digest).execute(&self.0.pool).await.map(drop) }).await?;
        }
        Ok(Some(FoundSession {
            session: SessionId(row.session),
            method: row.method.parse().map_err(|_| Error::Inconsistent("user_sessions.method"))?,
            confirmed_recently: row.confirmed_recently,
            user: row.user.try_into()?,
        }))
    }
}

statements! {
    row session(digest: &[u8]) -> SessionRow =
        concat!(
            "select s.id as session, s.method,
                 s.confirmed_at > verdict_now() - ", confirmed!(), " as confirmed_recently,
                 s.seen_at < verdict_now() - interval '1 minute' as seen_long_ago,
                 u.id, u.name, u.language, u.theme, u.time_zone, u.scopes, u.scenes
             from user_sessions s join users u on u.id = s.user_id
             where s.digest = $1 and s.ended_at is null and s.ends_at > verdict_now()
                 and s.seen_at > verdict_now() - ", idle!(), " and u.disabled_at is null"
        );

    execute see(digest: &[u8]) =
        "update user_sessions set seen_at = verdict_now()
         where digest = $1 and seen_at < verdict_now() - interval '1 minute'";
}
