//! Wrapped keys: those of the installation, which key-encryption keys are needed, and rotation.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Result, Store};

/// A wrapped data key and whose it is.
#[derive(Clone, Debug, FromRow)]
pub struct WrappedDataKey {
    /// Whose.
    pub verification_id: Uuid,
    /// Which key wraps it.
    pub key_id: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

impl Store {
    /// The key of that name: `candidate` (key id, wrapped key) if there is none yet.
    pub async fn named_key(
        &self,
        name: &str,
        candidate: (&str, &[u8]),
        now: OffsetDateTime,
    ) -> Result<(String, Vec<u8>)> {
        // vault_keys::named_key: whoever comes first makes it; it is never replaced, for what it
        // has digested could not be found again.
        self.run(|| async {
            sqlx::query(
                "insert into named_keys (name, key_id, wrapped, made_at) values ($1, $2, $3, $4)
                 on conflict (name) do nothing",
            )
            .bind(name)
            .bind(candidate.0)
            .bind(candidate.1)
            .bind(now)
            .execute(&self.pool)
            .await
        })
        .await?;
        self.find_named_key(name).await?.ok_or(Error::Inconsistent("named_keys: a key is gone"))
    }

    /// The key of that name (key id, wrapped key).
    pub async fn find_named_key(&self, name: &str) -> Result<Option<(String, Vec<u8>)>> {
        self.run(|| async {
            sqlx::query_as("select key_id, wrapped from named_keys where name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await
        })
        .await
    }

    /// Names and wrapped keys of the installation.
    pub async fn named_keys(&self) -> Result<Vec<(String, String, Vec<u8>)>> {
        self.run(|| async {
            sqlx::query_as("select name, key_id, wrapped from named_keys order by name")
                .fetch_all(&self.pool)
                .await
        })
        .await
    }

    /// Puts a rewrapped key in the place of the old form; `false` if that has changed meanwhile.
    pub async fn replace_named_key(
        &self,
        name: &str,
        old: &[u8],
        new: (&str, &[u8]),
    ) -> Result<bool> {
        self.run(|| async {
            sqlx::query(
                "update named_keys set key_id = $3, wrapped = $4 where name = $1 and wrapped = $2",
            )
            .bind(name)
            .bind(old)
            .bind(new.0)
            .bind(new.1)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() == 1)
        })
        .await
    }

    /// This key wraps from now on: data will need it.
    pub async fn use_vault_key(&self, key_id: &str, now: OffsetDateTime) -> Result<()> {
        self.run(|| async {
            sqlx::query(
                "insert into vault_keys (key_id, first_used_at) values ($1, $2)
                 on conflict (key_id) do update set retired_at = null
                 where vault_keys.retired_at is not null",
            )
            .bind(key_id)
            .bind(now)
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// Ids of the keys that data may need.
    pub async fn vault_keys_in_use(&self) -> Result<Vec<String>> {
        self.run(|| async {
            sqlx::query_scalar("select key_id from vault_keys where retired_at is null order by 1")
                .fetch_all(&self.pool)
                .await
        })
        .await
    }

    /// Data keys not wrapped by this key, of verifications after `after`, in order. Looks through
    /// `limit` of all of them; answers where it stopped, `None` at the end.
    pub async fn data_keys_to_rewrap(
        &self,
        primary: &str,
        after: Uuid,
        limit: i64,
    ) -> Result<(Vec<WrappedDataKey>, Option<Uuid>)> {
        let mut keys: Vec<WrappedDataKey> = self
            .run(|| async {
                sqlx::query_as(
                    "select verification_id, key_id, wrapped from data_keys
                     where verification_id > $1 order by verification_id limit $2",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        let last = keys.last().map(|key| key.verification_id);
        keys.retain(|key| key.key_id != primary);
        Ok((keys, last))
    }

    /// Puts rewrapped data keys in the place of the old forms; answers how many. One that was
    /// destroyed meanwhile stays destroyed.
    pub async fn replace_data_keys(
        &self,
        key_id: &str,
        rewrapped: &[(Uuid, Vec<u8>)],
    ) -> Result<u64> {
        let (ids, wrapped): (Vec<Uuid>, Vec<&[u8]>) =
            rewrapped.iter().map(|(id, wrapped)| (*id, &wrapped[..])).unzip();
        self.run(|| async {
            sqlx::query(
                "update data_keys k set key_id = $1, wrapped = t.wrapped
                 from unnest($2::uuid[], $3::bytea[]) as t (id, wrapped)
                 where k.verification_id = any ($2) and k.verification_id = t.id",
            )
            .bind(key_id)
            .bind(&ids)
            .bind(&wrapped)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }

    /// Nothing needs these keys any more.
    pub async fn retire_vault_keys(&self, but: &str, now: OffsetDateTime) -> Result<Vec<String>> {
        self.run(|| async {
            sqlx::query_scalar(
                "update vault_keys set retired_at = $2 where key_id <> $1 and retired_at is null
                 returning key_id",
            )
            .bind(but)
            .bind(now)
            .fetch_all(&self.pool)
            .await
        })
        .await
    }
}
