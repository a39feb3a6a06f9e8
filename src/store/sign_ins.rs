//! Where people are signed in. When a session ends, and when the next try to sign in counts, is judged
//! by the database's clock.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::users::UserRow;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::user::{Method, User};

/// How long a session lasts without a request, to a minute. The link of the demo works until the demo
/// ends.
macro_rules! goes_on {
    () => {
        "s.ended_at is null and s.ends_at > verdict_now()
             and (s.method = 'demo' or s.seen_at > verdict_now() - interval '15 minutes')"
    };
}

/// A session that has not ended, and whose.
#[derive(Clone, Debug)]
pub struct FoundSession {
    pub user: User,
    pub session: SessionId,
    pub method: Method,
    /// The person has proved who it is within the last ten minutes.
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

/// A new session.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    pub digest: &'a [u8; 32],
    pub id: SessionId,
    pub user: UserId,
    pub method: Method,
    pub browser: &'a str,
}

/// One session in the list of a person.
#[derive(Clone, Debug, FromRow)]
pub struct OwnSession {
    pub id: Uuid,
    pub method: String,
    pub browser: String,
    pub created_at: OffsetDateTime,
    /// To a minute.
    pub seen_at: OffsetDateTime,
    pub ends_at: OffsetDateTime,
}

/// Whether a try to sign in counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    Counts,
    /// Only after so long.
    TooEarly(Duration),
}

/// The outcome of binding a user to an identity elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Done(UserId),
    /// The invitation was used, replaced, or is too old.
    NotInvited,
    /// Another user has this identity.
    Taken,
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
    /// The session of a token, if it goes on. `is_activity`: the request keeps it from ending.
    pub async fn session(
        self,
        digest: &[u8; 32],
        is_activity: bool,
    ) -> Result<Option<FoundSession>> {
        let found = self.0.run(|| session(digest).fetch_optional(&self.0.pool)).await?;
        let Some(row) = found else { return Ok(None) };
        if is_activity && row.seen_long_ago {
            self.0.run(|| async { see(digest).execute(&self.0.pool).await.map(drop) }).await?;
        }
        Ok(Some(FoundSession {
            session: SessionId(row.session),
            method: row.method.parse().map_err(|_| Error::Inconsistent("user_sessions.method"))?,
            confirmed_recently: row.confirmed_recently,
            user: row.user.try_into()?,
        }))
    }

    /// Whether a try to sign in under this name counts now. It counts as failed until
    /// [`Self::succeeded`] says otherwise, so that tries at the same time are no way around.
    pub async fn take_try(self, name: &[u8; 32]) -> Result<Try> {
        let counts = self.0.once(async {
            forget_old_tries().execute(&self.0.pool).await?;
            take_try(name).execute(&self.0.pool).await.map(|done| done.rows_affected() == 1)
        });
        if counts.await? {
            return Ok(Try::Counts);
        }
        let seconds = self.0.run(|| seconds_left(name).fetch_optional(&self.0.pool)).await?;
        Ok(Try::TooEarly(Duration::from_secs_f64(seconds.unwrap_or(1.0).max(1.0))))
    }

    /// The tries under this name so far were the person's own.
    pub async fn succeeded(self, name: &[u8; 32]) -> Result<()> {
        self.0.run(|| async { forget_tries(name).execute(&self.0.pool).await.map(drop) }).await
    }

    /// Signs a user in; `false`: the user was disabled.
    pub async fn begin(self, new: &NewSession<'_>, context: &AuditContext) -> Result<bool> {
        self.0
            .once(async {
                forget_old_sessions().execute(&self.0.pool).await?;
                begin((
                    &new.digest[..],
                    new.id.0,
                    new.user.0,
                    new.method.as_str(),
                    new.browser,
                    context.at,
                    &context.actor,
                ))
                .execute(&self.0.pool)
                .await
                .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    /// Ends a session of this user; `false`: there is none.
    pub async fn end(self, id: SessionId, user: UserId, context: &AuditContext) -> Result<bool> {
        self.0
            .once(async {
                end(id.0, user.0, context.at, &context.actor)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    /// The sessions of a user that go on, newest first.
    pub async fn list(self, user: UserId) -> Result<Vec<OwnSession>> {
        self.0.run(|| list(user.0).fetch_all(&self.0.pool)).await
    }

    /// The person has proved again who it is.
    pub async fn confirm(self, id: SessionId) -> Result<()> {
        self.0.run(|| async { confirm(id.0).execute(&self.0.pool).await.map(drop) }).await
    }

    /// Whom an invitation is for; `None`: it was used, replaced, or is too old.
    pub async fn invited(self, invitation: &[u8; 32]) -> Result<Option<User>> {
        let found = self.0.run(|| invited(invitation).fetch_optional(&self.0.pool)).await?;
        found.map(User::try_from).transpose()
    }

    /// Uses an invitation to choose a password; `None`: it works no more.
    pub async fn choose_password(
        self,
        invitation: &[u8; 32],
        password: &str,
        at: OffsetDateTime,
    ) -> Result<Option<UserId>> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let user = use_invitation(invitation).fetch_optional(&mut transaction).await?;
                if let Some(user) = user {
                    choose_password(user, password, at).execute(&mut transaction).await?;
                }
                transaction.commit().await?;
                Ok(user.map(UserId))
            })
            .await
    }

    /// Uses an invitation to bind the user to an identity elsewhere.
    pub async fn bind(
        self,
        invitation: &[u8; 32],
        issuer: &str,
        subject: &str,
        at: OffsetDateTime,
    ) -> Result<Bound> {
        let bound = self.0.once(async {
            let mut transaction = self.0.pool.begin().await?;
            let user = use_invitation(invitation).fetch_optional(&mut transaction).await?;
            if let Some(user) = user {
                bind(user, issuer, subject, at).execute(&mut transaction).await?;
            }
            transaction.commit().await?;
            Ok(user.map(UserId))
        });
        match bound.await {
            Ok(Some(user)) => Ok(Bound::Done(user)),
            Ok(None) => Ok(Bound::NotInvited),
            Err(Error::Refused { code, .. }) if code == "23505" => Ok(Bound::Taken),
            Err(error) => Err(error),
        }
    }

    /// The user that is this person elsewhere, and may sign in.
    pub async fn user_of_identity(self, issuer: &str, subject: &str) -> Result<Option<User>> {
        let found =
            self.0.run(|| of_identity(issuer, subject).fetch_optional(&self.0.pool)).await?;
        found.map(User::try_from).transpose()
    }
}

statements! {
    row session(digest: &[u8]) -> SessionRow =
        concat!(
            "select s.id as session, s.method,
                 s.confirmed_at > verdict_now() - interval '10 minutes' as confirmed_recently,
                 s.seen_at < verdict_now() - interval '1 minute' as seen_long_ago,
                 u.id, u.name, u.language, u.theme, u.time_zone, u.scopes, u.scenes
             from user_sessions s join users u on u.id = s.user_id
             where s.digest = $1 and u.disabled_at is null and ",
            goes_on!()
        );

    execute see(digest: &[u8]) =
        "update user_sessions set seen_at = verdict_now()
         where digest = $1 and seen_at < verdict_now() - interval '1 minute'";

    // Four are free; then the wait doubles from a second to five minutes. Yesterday's are forgotten.
    execute take_try(name: &[u8]) =
        "insert into sign_in_failures as f (name, failures, next_at, failed_at)
         values ($1, 1, verdict_now(), verdict_now())
         on conflict (name) do update set
             failures = case when f.failed_at < verdict_now() - interval '1 day' then 1
                 else f.failures + 1 end,
             next_at = verdict_now() + case
                 when f.failed_at < verdict_now() - interval '1 day' or f.failures < 4
                     then interval '0'
                 else make_interval(secs => least(300, 2 ^ least(f.failures - 4, 9))) end,
             failed_at = verdict_now()
         where f.next_at <= verdict_now()";

    scalar seconds_left(name: &[u8]) -> f64 =
        "select extract(epoch from next_at - verdict_now())::float8
         from sign_in_failures where name = $1";

    execute forget_tries(name: &[u8]) = "delete from sign_in_failures where name = $1";

    // More at each try than the try adds: invented names do not fill the table.
    execute forget_old_tries() =
        "delete from sign_in_failures where name in (
             select name from sign_in_failures
             where failed_at < verdict_now() - interval '1 day'
             order by failed_at limit 10 for update skip locked)";

    execute begin((
        digest: &[u8],
        id: Uuid,
        user: Uuid,
        method: &str,
        browser: &str,
        at: OffsetDateTime,
        actor: &str,
    )) =
        "with begun as (
             insert into user_sessions (digest, id, user_id, method, browser, created_at,
                 confirmed_at, seen_at, ends_at)
             select $1, $2, id, $4, $5, verdict_now(), verdict_now(), verdict_now(),
                 verdict_now() + case $4 when 'demo' then interval '30 days' else interval '8 hours' end
             from users where id = $3 and disabled_at is null
             returning user_id
         )
         insert into audit (at, actor, action, subject, details)
         select $6, $7, 'user.sign-in', user_id, json_build_object('method', $4::text)::text
         from begun";

    // Of those who were here within a month the list of users says when.
    execute forget_old_sessions() =
        "delete from user_sessions where digest in (
             select digest from user_sessions where ends_at < verdict_now() - interval '30 days'
             order by ends_at limit 100 for update skip locked)";

    execute end(id: Uuid, user: Uuid, at: OffsetDateTime, actor: &str) =
        "with ended as (
             update user_sessions set ended_at = verdict_now()
             where id = $1 and user_id = $2 and ended_at is null
             returning user_id
         )
         insert into audit (at, actor, action, subject)
         select $3, $4, 'user.sign-out', user_id from ended";

    row list(user: Uuid) -> OwnSession =
        concat!(
            "select s.id, s.method, s.browser, s.created_at, s.seen_at, s.ends_at
             from user_sessions s where s.user_id = $1 and ",
            goes_on!(),
            " order by s.created_at desc limit 100"
        );

    execute confirm(id: Uuid) =
        "update user_sessions set confirmed_at = verdict_now() where id = $1";

    row invited(digest: &[u8]) -> UserRow =
        "select u.id, u.name, u.language, u.theme, u.time_zone, u.scopes, u.scenes
         from user_invitations i join users u on u.id = i.user_id
         where i.digest = $1 and i.used_at is null and i.expires_at > verdict_now()
             and u.disabled_at is null";

    scalar use_invitation(digest: &[u8]) -> Uuid =
        "update user_invitations i set used_at = verdict_now() from users u
         where i.digest = $1 and i.used_at is null and i.expires_at > verdict_now()
             and u.id = i.user_id and u.disabled_at is null
         returning u.id";

    execute choose_password(user: Uuid, password: &str, at: OffsetDateTime) =
        "with changed as (update users set password = $2 where id = $1 returning id, name)
         insert into audit (at, actor, action, subject)
         select $3, 'user:' || id || ' person:' || name, 'user.password', id from changed";

    execute bind(user: Uuid, issuer: &str, subject: &str, at: OffsetDateTime) =
        "with changed as (
             update users set oidc_issuer = $2, oidc_subject = $3 where id = $1 returning id, name
         )
         insert into audit (at, actor, action, subject, details)
         select $4, 'user:' || id || ' person:' || name, 'user.identity', id,
             json_build_object('issuer', $2::text)::text
         from changed";

    row of_identity(issuer: &str, subject: &str) -> UserRow =
        "select id, name, language, theme, time_zone, scopes, scenes from users
         where oidc_issuer = $1 and oidc_subject = $2 and disabled_at is null";
}
