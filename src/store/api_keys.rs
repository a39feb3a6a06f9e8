//! API keys of internal callers: digests only.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::Doing;
use super::{Result, Store};
use crate::domain::ids::ApiKeyId;

/// One key, without anything that could be presented as one.
#[derive(Clone, Debug, FromRow)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// Who holds it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Until when; `None`: still good.
    pub revoked_at: Option<OffsetDateTime>,
}

impl Store {
    /// Adds a key, on record.
    pub async fn add_api_key(
        &self,
        id: ApiKeyId,
        name: &str,
        digest: &[u8; 32],
        scopes: &[&str],
        doing: &Doing,
    ) -> Result<()> {
        self.run(|| async {
            sqlx::query(
                "with added as (
                    insert into api_keys (id, name, digest, scopes, created_at)
                    values ($1, $2, $3, $4, $5) on conflict (id) do nothing returning id
                 )
                 insert into audit (at, actor, action, subject, details)
                 select $5, $6, 'api-key.create', id,
                    json_build_object('name', $2::text, 'scopes', $4::text[])::text
                 from added",
            )
            .bind(id.0)
            .bind(name)
            .bind(&digest[..])
            .bind(scopes)
            .bind(doing.at)
            .bind(&doing.actor)
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// The key with this digest, unless revoked.
    pub async fn find_api_key(&self, digest: &[u8; 32]) -> Result<Option<ApiKey>> {
        self.run(|| async {
            sqlx::query_as(
                "select id, name, scopes, created_at, revoked_at from api_keys
                 where digest = $1 and revoked_at is null",
            )
            .bind(&digest[..])
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// All keys, revoked ones included, oldest first.
    pub async fn list_api_keys(&self) -> Result<Vec<ApiKey>> {
        self.run(|| async {
            sqlx::query_as(
                "select id, name, scopes, created_at, revoked_at from api_keys order by id",
            )
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// Ends a key, on record; `false` if there is no such key still good.
    pub async fn revoke_api_key(&self, id: ApiKeyId, doing: &Doing) -> Result<bool> {
        // Not repeated: a second try would find the first one's work and call it missing.
        self.once(async {
            sqlx::query(
                "with revoked as (
                    update api_keys set revoked_at = $2 where id = $1 and revoked_at is null
                    returning id
                 )
                 insert into audit (at, actor, action, subject)
                 select $2, $3, 'api-key.revoke', id from revoked",
            )
            .bind(id.0)
            .bind(doing.at)
            .bind(&doing.actor)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() == 1)
        })
        .await
    }
}
