//! API keys of internal callers: digests only.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::ApiKeyId;

/// Whether an API key `k` still works, by the database's clock.
macro_rules! key_works {
    () => {
        "k.revoked_at is null and (k.expires_at is null or k.expires_at > verdict_now())"
    };
}
pub(super) use key_works;

/// One key, without anything that could be presented as one.
#[derive(Clone, Debug, FromRow)]
pub struct ApiKey {
    /// Key id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The person who holds it; `None`: a program.
    pub person: Option<String>,
    /// The only scenes it reaches; `None`: every scene.
    pub scenes: Option<Vec<String>>,
    /// What one process takes from it.
    pub requests_per_second: Option<i32>,
    /// When `keys create` made it.
    pub created_at: OffsetDateTime,
    /// `None`: it works until it is revoked.
    pub expires_at: Option<OffsetDateTime>,
    /// To five minutes; `None`: never.
    pub last_used_at: Option<OffsetDateTime>,
    /// `None`: it was not revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// It has expired.
    pub expired: bool,
}

/// One key that works, by what is presented.
#[derive(Clone, Debug, FromRow)]
pub struct WorkingKey {
    /// Key id.
    pub id: Uuid,
    /// SHA-256 of the key.
    pub digest: Vec<u8>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The person who holds it; `None`: a program.
    pub person: Option<String>,
    /// The only scenes it reaches; `None`: every scene.
    pub scenes: Option<Vec<String>>,
    /// What one process takes from it.
    pub requests_per_second: Option<i32>,
}

/// How a new key is limited, and who holds it.
#[derive(Clone, Debug, Default)]
pub struct KeyTerms {
    /// The person who holds it; `None`: a program.
    pub person: Option<String>,
    /// The only scenes it reaches; `None`: every scene.
    pub scenes: Option<Vec<String>>,
    /// What one process takes from it; `None`: no limit.
    pub requests_per_second: Option<i32>,
    /// `None`: it works until it is revoked.
    pub expires_in_days: Option<i32>,
}

/// API keys of internal callers.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys<'a>(&'a Store);

impl Store {
    /// API keys of internal callers.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(self)
    }
}

impl ApiKeys<'_> {
    /// Adds a key without limits that a program holds, on record.
    pub async fn add_api_key(
        self,
        id: ApiKeyId,
        name: &str,
        digest: &[u8; 32],
        scopes: &[&str],
        doing: &AuditContext,
    ) -> Result<()> {
        self.add_api_key_with(id, name, digest, scopes, &KeyTerms::default(), doing).await
    }

    /// Adds a key, on record.
    pub async fn add_api_key_with(
        self,
        id: ApiKeyId,
        name: &str,
        digest: &[u8; 32],
        scopes: &[&str],
        terms: &KeyTerms,
        doing: &AuditContext,
    ) -> Result<()> {
        self.0
            .run(|| async {
                add((
                    id.0,
                    name,
                    &digest[..],
                    scopes,
                    doing.at,
                    &doing.actor,
                    terms.person.as_deref(),
                    terms.scenes.as_deref(),
                    terms.requests_per_second,
                    terms.expires_in_days,
                ))
                .execute(&self.0.pool)
                .await
                .map(drop)
            })
            .await
    }

    /// Every key that works now.
    pub async fn working_api_keys(self) -> Result<Vec<WorkingKey>> {
        self.0.run(|| working().fetch_all(&self.0.pool)).await
    }

    /// Notes that a key was used, unless that was noted within the last five minutes.
    pub async fn note_api_key_used(self, id: ApiKeyId) -> Result<()> {
        // Many processes serve one key: the first of them writes.
        self.0.run(|| async { note_used(id.0).execute(&self.0.pool).await.map(drop) }).await
    }

    /// All keys, revoked ones included, oldest first.
    pub async fn list_api_keys(self) -> Result<Vec<ApiKey>> {
        self.0.run(|| list().fetch_all(&self.0.pool)).await
    }

    /// Ends a key, on record; `false` if there is no such key still good.
    pub async fn revoke_api_key(self, id: ApiKeyId, doing: &AuditContext) -> Result<bool> {
        // Not repeated: a second try would find the first one's work and call it missing.
        self.0
            .once(async {
                revoke(id.0, doing.at, &doing.actor)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }
}

statements! {
    execute add((
        id: Uuid,
        name: &str,
        digest: &[u8],
        scopes: &[&str],
        at: OffsetDateTime,
        actor: &str,
        person: Option<&str>,
        scenes: Option<&[String]>,
        requests_per_second: Option<i32>,
        expires_in_days: Option<i32>,
    )) =
        "with added as (
             insert into api_keys (id, name, digest, scopes, created_at, person, scenes,
                 requests_per_second, expires_at)
             values ($1, $2, $3, $4, $5, $7, $8, $9,
                 verdict_now() + make_interval(days => $10))
             on conflict (id) do nothing
             returning id, expires_at
         )
         insert into audit (at, actor, action, subject, details)
         select $5, $6, 'api-key.create', id,
             json_strip_nulls(json_build_object('name', $2::text, 'scopes', $4::text[],
                 'person', $7::text, 'scenes', $8::text[],
                 'requests_per_second', $9::integer, 'expires_at', expires_at))::text
         from added";

    row working() -> WorkingKey =
        concat!(
            "select id, digest, scopes, person, scenes, requests_per_second
             from api_keys k where ",
            key_works!()
        );

    execute note_used(id: Uuid) =
        "update api_keys set last_used_at = verdict_now()
         where id = $1 and (last_used_at is null
             or last_used_at < verdict_now() - interval '5 minutes')";

    row list() -> ApiKey =
        "select id, name, scopes, person, scenes, requests_per_second, created_at,
             expires_at, last_used_at, revoked_at,
             coalesce(expires_at <= verdict_now(), false) as expired
         from api_keys order by id";

    execute revoke(id: Uuid, at: OffsetDateTime, actor: &str) =
        "with revoked as (
             update api_keys set revoked_at = $2 where id = $1 and revoked_at is null
             returning id
         )
         insert into audit (at, actor, action, subject)
         select $2, $3, 'api-key.revoke', id from revoked";
}
