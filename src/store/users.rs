//! People who work in the console: added, invited, changed and disabled, always on record.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::scenes::Scenes;
use crate::domain::scope::Scope;
use crate::domain::user::{self, Language, Theme, User};
use crate::domain::zone::Zone;

/// SQLSTATE of a name, or an identity elsewhere, that another user has.
const TAKEN: &str = "23505";

/// A user's columns that a page needs.
#[derive(Clone, Debug, FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    name: String,
    language: String,
    theme: String,
    time_zone: String,
    scopes: Vec<String>,
    scenes: Option<Vec<String>>,
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    /// A scope that this version does not know is left out; a limit that it cannot read refuses the
    /// user.
    fn try_from(row: UserRow) -> Result<Self> {
        let scenes = match &row.scenes {
            None => Scenes::EVERY,
            Some(names) => Scenes::only(names.iter().map(String::as_str))
                .map_err(|_| Error::Inconsistent("users.scenes"))?,
        };
        Ok(Self {
            id: UserId(row.id),
            name: row.name,
            language: row.language.parse().unwrap_or_default(),
            theme: row.theme.parse().unwrap_or_default(),
            zone: Zone::parse(&row.time_zone).unwrap_or(Zone::UTC),
            scopes: row.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
            scenes,
        })
    }
}

/// A user in a list.
#[derive(Clone, Debug)]
pub struct ListedUser {
    pub user: User,
    pub created_at: OffsetDateTime,
    /// `None`: may sign in.
    pub disabled_at: Option<OffsetDateTime>,
    pub has_password: bool,
    pub has_codes: bool,
    /// Who identifies the person; `None`: nobody else.
    pub issuer: Option<String>,
    /// Until when the newest invitation works; `None`: none does.
    pub invited_until: Option<OffsetDateTime>,
    /// To a minute; `None`: not within the last month.
    pub seen_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    user: UserRow,
    created_at: OffsetDateTime,
    disabled_at: Option<OffsetDateTime>,
    has_password: bool,
    has_codes: bool,
    oidc_issuer: Option<String>,
    invited_until: Option<OffsetDateTime>,
    seen_at: Option<OffsetDateTime>,
}

impl TryFrom<ListedRow> for ListedUser {
    type Error = Error;

    fn try_from(row: ListedRow) -> Result<Self> {
        Ok(Self {
            user: row.user.try_into()?,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            has_password: row.has_password,
            has_codes: row.has_codes,
            issuer: row.oidc_issuer,
            invited_until: row.invited_until,
            seen_at: row.seen_at,
        })
    }
}

/// How a user that may sign in proves who it is.
#[derive(Clone, Debug, FromRow)]
pub struct Credentials {
    pub id: Uuid,
    /// In PHC form; `None`: none was chosen.
    pub password: Option<String>,
    /// Sealed; `None`: no second factor.
    pub totp_secret: Option<Vec<u8>>,
}

/// What was done to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Done,
    /// There is no such user, or nothing to change.
    Nothing,
}

/// Users of the console.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a>(&'a Store);

impl Store {
    /// Users of the console.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }
}

impl Users<'_> {
    /// Adds a user; `false`: the name is taken.
    pub async fn add(self, user: &User, context: &AuditContext) -> Result<bool> {
        let scopes: Vec<&str> = user.scopes.iter().map(|scope| scope.as_str()).collect();
        let scenes = user.scenes.names();
        let added = self.0.once(async {
            add((
                user.id.0,
                &user.name,
                user.language.as_str(),
                user.zone.name(),
                &scopes,
                scenes.as_deref(),
                context.at,
                &context.actor,
            ))
            .execute(&self.0.pool)
            .await
            .map(drop)
        });
        match added.await {
            Err(Error::Refused { code, .. }) if code == TAKEN => Ok(false),
            added => added.map(|()| true),
        }
    }

    /// Every user, disabled ones included, by name.
    pub async fn list(self) -> Result<Vec<ListedUser>> {
        let rows = self.0.run(|| list().fetch_all(&self.0.pool)).await?;
        rows.into_iter().map(ListedUser::try_from).collect()
    }

    /// One user.
    pub async fn find(self, id: UserId) -> Result<Option<ListedUser>> {
        let found = self.0.run(|| find(id.0).fetch_optional(&self.0.pool)).await?;
        found.map(ListedUser::try_from).transpose()
    }

    /// The user of exactly this name.
    pub async fn find_by_name(self, name: &str) -> Result<Option<ListedUser>> {
        let found = self.0.run(|| find_by_name(name).fetch_optional(&self.0.pool)).await?;
        found.map(ListedUser::try_from).transpose()
    }

    /// Whether a user, or the person of an API key, has this name in another spelling: one person must
    /// not become two.
    pub async fn is_another_spelling(self, name: &str) -> Result<bool> {
        let known = self.0.run(|| names().fetch_all(&self.0.pool)).await?;
        let folded = user::folded(name);
        Ok(known.iter().any(|known| known != name && user::folded(known) == folded))
    }

    /// How the user of this name proves who it is; `None`: nobody of that name may sign in.
    pub async fn credentials(self, name: &str) -> Result<Option<Credentials>> {
        self.0.run(|| credentials(name).fetch_optional(&self.0.pool)).await
    }

    /// Gives a user these rights in place of the ones before.
    pub async fn change_rights(
        self,
        id: UserId,
        scopes: &[Scope],
        scenes: &Scenes,
        context: &AuditContext,
    ) -> Result<Change> {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let scenes = scenes.names();
        self.changed(self.0.run(|| async {
            change_rights(id.0, &scopes, scenes.as_deref(), context.at, &context.actor)
                .execute(&self.0.pool)
                .await
                .map(|done| done.rows_affected())
        }))
        .await
    }

    /// The user cannot sign in any more, and is signed out everywhere.
    pub async fn disable(self, id: UserId, context: &AuditContext) -> Result<Change> {
        self.changed(self.0.once(async {
            let mut transaction = self.0.pool.begin().await?;
            let done = disable(id.0, context.at, &context.actor, context.purpose.as_deref())
                .execute(&mut transaction)
                .await?;
            cut_off(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        }))
        .await
    }

    /// The user may sign in again, as before.
    pub async fn enable(self, id: UserId, context: &AuditContext) -> Result<Change> {
        self.changed(self.0.once(async {
            enable(id.0, context.at, &context.actor, context.purpose.as_deref())
                .execute(&self.0.pool)
                .await
                .map(|done| done.rows_affected())
        }))
        .await
    }

    /// Makes a link that lets the user choose how to sign in; links from before work no more.
    pub async fn invite(
        self,
        id: UserId,
        digest: &[u8; 32],
        context: &AuditContext,
    ) -> Result<Change> {
        self.changed(self.0.once(async {
            let mut transaction = self.0.pool.begin().await?;
            end_invitations(id.0).execute(&mut transaction).await?;
            let done =
                invite(digest, id.0, context.at, &context.actor).execute(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        }))
        .await
    }

    /// Takes password, one-time codes and identity away, and signs the user out everywhere: only a
    /// new invitation lets the user in.
    pub async fn reset(self, id: UserId, context: &AuditContext) -> Result<Change> {
        self.changed(self.0.once(async {
            let mut transaction = self.0.pool.begin().await?;
            let done = reset(id.0, context.at, &context.actor, context.purpose.as_deref())
                .execute(&mut transaction)
                .await?;
            cut_off(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        }))
        .await
    }

    /// How the user reads the pages.
    pub async fn set_reading(
        self,
        id: UserId,
        language: Language,
        theme: Theme,
        zone: &Zone,
    ) -> Result<()> {
        self.0
            .run(|| async {
                set_reading(id.0, language.as_str(), theme.as_str(), zone.name())
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// Another password, from now on; every other session of the user ends.
    pub async fn set_password(
        self,
        id: UserId,
        digest: &str,
        session: SessionId,
        context: &AuditContext,
    ) -> Result<()> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                set_password(id.0, digest, context.at, &context.actor)
                    .execute(&mut transaction)
                    .await?;
                end_sessions(id.0, Some(session.0)).execute(&mut transaction).await?;
                transaction.commit().await
            })
            .await
    }

    /// Asks for one-time codes from now on. `step`: of the code that proved that the app has the
    /// secret.
    pub async fn set_codes(
        self,
        id: UserId,
        sealed: &[u8],
        step: i64,
        context: &AuditContext,
    ) -> Result<()> {
        self.0
            .once(async {
                set_codes(id.0, sealed, step, context.at, &context.actor)
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// Asks for one-time codes no more.
    pub async fn remove_codes(self, id: UserId, context: &AuditContext) -> Result<()> {
        self.0
            .once(async {
                remove_codes(id.0, context.at, &context.actor).execute(&self.0.pool).await.map(drop)
            })
            .await
    }

    /// Takes a one-time code; `false`: it, or a later one, was taken before.
    pub async fn take_code(self, id: UserId, step: i64) -> Result<bool> {
        self.0
            .once(async {
                take_code(id.0, step)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    async fn changed(self, rows: impl Future<Output = Result<u64>>) -> Result<Change> {
        Ok(if rows.await? == 0 { Change::Nothing } else { Change::Done })
    }
}

/// Ends every session and every invitation.
async fn cut_off(transaction: &mut Transaction, id: UserId) -> Done<()> {
    end_sessions(id.0, None).execute(&mut *transaction).await?;
    end_invitations(id.0).execute(&mut *transaction).await.map(drop)
}

/// A user with everything about signing in.
macro_rules! listed {
    ($filter:literal) => {
        concat!(
            "select u.id, u.name, u.language, u.theme, u.time_zone, u.scopes, u.scenes, u.created_at,
                 u.disabled_at, u.password is not null as has_password,
                 u.totp_secret is not null as has_codes, u.oidc_issuer,
                 (select max(i.expires_at) from user_invitations i
                  where i.user_id = u.id and i.used_at is null and i.expires_at > verdict_now())
                     as invited_until,
                 (select max(s.seen_at) from user_sessions s where s.user_id = u.id) as seen_at
             from users u ",
            $filter
        )
    };
}

statements! {
    execute add((
        id: Uuid,
        name: &str,
        language: &str,
        zone: &str,
        scopes: &[&str],
        scenes: Option<&[&str]>,
        at: OffsetDateTime,
        actor: &str,
    )) =
        "with added as (
             insert into users (id, name, language, time_zone, scopes, scenes, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id
         )
         insert into audit (at, actor, action, subject, details)
         select $7, $8, 'user.add', id,
             json_strip_nulls(json_build_object('name', $2::text, 'scopes', $5::text[],
                 'scenes', $6::text[]))::text
         from added";

    row list() -> ListedRow = listed!("order by u.name");

    row find(id: Uuid) -> ListedRow = listed!("where u.id = $1");

    row find_by_name(name: &str) -> ListedRow = listed!("where u.name = $1");

    scalar names() -> String =
        "select name from users
         union select person from api_keys where person is not null";

    row credentials(name: &str) -> Credentials =
        "select id, password, totp_secret from users where name = $1 and disabled_at is null";

    execute change_rights(
        id: Uuid, scopes: &[&str], scenes: Option<&[&str]>, at: OffsetDateTime, actor: &str
    ) =
        "with changed as (
             update users set scopes = $2, scenes = $3
             where id = $1 and (scopes, scenes) is distinct from ($2, $3)
             returning id
         )
         insert into audit (at, actor, action, subject, details)
         select $4, $5, 'user.change', id,
             json_strip_nulls(json_build_object('scopes', $2::text[], 'scenes', $3::text[]))::text
         from changed";

    execute disable(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) =
        "with changed as (
             update users set disabled_at = $2 where id = $1 and disabled_at is null returning id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $2, $3, 'user.disable', id, $4 from changed";

    execute enable(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) =
        "with changed as (
             update users set disabled_at = null where id = $1 and disabled_at is not null
             returning id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $2, $3, 'user.enable', id, $4 from changed";

    execute reset(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) =
        "with changed as (
             update users set password = null, totp_secret = null, totp_last_step = null,
                 oidc_issuer = null, oidc_subject = null
             where id = $1
             returning id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $2, $3, 'user.reset', id, $4 from changed";

    execute end_sessions(user: Uuid, but: Option<Uuid>) =
        "update user_sessions set ended_at = verdict_now()
         where user_id = $1 and ended_at is null and id is distinct from $2";

    execute end_invitations(user: Uuid) =
        "update user_invitations set used_at = verdict_now()
         where user_id = $1 and used_at is null";

    execute invite(digest: &[u8], user: Uuid, at: OffsetDateTime, actor: &str) =
        "with invited as (
             insert into user_invitations (digest, user_id, created_at, expires_at)
             select $1, id, verdict_now(), verdict_now() + interval '3 days'
             from users where id = $2 and disabled_at is null
             returning user_id
         )
         insert into audit (at, actor, action, subject)
         select $3, $4, 'user.invite', user_id from invited";

    execute set_reading(id: Uuid, language: &str, theme: &str, zone: &str) =
        "update users set language = $2, theme = $3, time_zone = $4 where id = $1";

    execute set_password(id: Uuid, password: &str, at: OffsetDateTime, actor: &str) =
        "with changed as (update users set password = $2 where id = $1 returning id)
         insert into audit (at, actor, action, subject)
         select $3, $4, 'user.password', id from changed";

    execute set_codes(id: Uuid, sealed: &[u8], step: i64, at: OffsetDateTime, actor: &str) =
        "with changed as (
             update users set totp_secret = $2, totp_last_step = $3 where id = $1 returning id
         )
         insert into audit (at, actor, action, subject)
         select $4, $5, 'user.codes-on', id from changed";

    execute remove_codes(id: Uuid, at: OffsetDateTime, actor: &str) =
        "with changed as (
             update users set totp_secret = null, totp_last_step = null
             where id = $1 and totp_secret is not null
             returning id
         )
         insert into audit (at, actor, action, subject)
         select $2, $3, 'user.codes-off', id from changed";

    execute take_code(id: Uuid, step: i64) =
        "update users set totp_last_step = $2
         where id = $1 and coalesce(totp_last_step, -1) < $2";
}
