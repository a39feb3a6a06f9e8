//! Wrapped keys: those of the installation, which key-encryption keys are needed, and rotation.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Result, Store};

/// Running processes say three times in this time, and more, with which key they wrap.
pub const UNUSED_FOR: Duration = Duration::from_mins(1);

/// Whether anything is sealed, or was made with the installation's keys.
macro_rules! has_data {
    () => {
        "(exists (select from data_keys) or exists (select from results)
          or exists (select from material) or exists (select from images)
          or exists (select from tasks) or exists (select from erasures))"
    };
}

/// What a key cannot be given up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Something is sealed, or was made with the installation's keys.
    ByData,
    /// The audit has a checkpoint, signed by a key of the installation.
    ByCheckpoint,
    /// A process said lately that it wraps with the key.
    ByProcess,
}

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

    /// This process wraps with this key, from now on or still: data will need it.
    pub async fn use_vault_key(&self, key_id: &str, now: OffsetDateTime) -> Result<()> {
        self.run(|| async {
            sqlx::query(
                "insert into vault_keys (key_id, first_used_at, wraps_at)
                 values ($1, $2, verdict_now())
                 on conflict (key_id) do update set retired_at = null, wraps_at = verdict_now()",
            )
            .bind(key_id)
            .bind(now)
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// Ids of the keys that data needs: those that wrap something, by the data itself, and those
    /// that are in use.
    pub async fn vault_keys_in_use(&self) -> Result<Vec<String>> {
        // vault_keys::in_use: goes through the index from one key id to the next, however many
        // rows each has.
        self.run(|| async {
            sqlx::query_scalar(
                "with recursive wrapping (key_id) as (
                    (select key_id from data_keys order by key_id limit 1)
                    union all
                    select (select d.key_id from data_keys d where d.key_id > w.key_id
                            order by d.key_id limit 1)
                    from wrapping w where w.key_id is not null
                 )
                 select key_id from wrapping where key_id is not null
                 union select key_id from named_keys
                 union select key_id from vault_keys where retired_at is null
                 order by 1",
            )
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// A few of the data keys under this key, to try whether they open.
    pub async fn data_keys_under(&self, key_id: &str, few: i64) -> Result<Vec<WrappedDataKey>> {
        self.run(|| async {
            sqlx::query_as(
                "select verification_id, key_id, wrapped from data_keys where key_id = $1 limit $2",
            )
            .bind(key_id)
            .bind(few)
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

    /// Retires the keys but this one that wrap nothing any more, and with which no process has said
    /// for so long that it wraps; answers which.
    pub async fn retire_vault_keys(
        &self,
        but: &str,
        unused_for: Duration,
        now: OffsetDateTime,
    ) -> Result<Vec<String>> {
        // vault_keys::retire: judged by the data in the very statement that says so. Whoever wraps
        // with one of them all the same puts it back into use by what it writes.
        self.run(|| async {
            sqlx::query_scalar(
                "update vault_keys k set retired_at = $2
                 where k.key_id <> $1 and k.retired_at is null
                    and coalesce(k.wraps_at <= verdict_now() - make_interval(secs => $3), true)
                    and not exists (select from data_keys d where d.key_id = k.key_id)
                    and not exists (select from named_keys n where n.key_id = k.key_id)
                 returning k.key_id",
            )
            .bind(but)
            .bind(now)
            .bind(unused_for.as_secs_f64())
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// Gives a key up that wraps nothing but keys of the installation, where nothing was made with
    /// those either: they go, the key is retired. `false`: it is needed, or nobody knows it.
    pub async fn give_up_vault_key(&self, key_id: &str, now: OffsetDateTime) -> Result<bool> {
        // vault_keys::give_up: judged by the data in the very statement that does it. The row of
        // vault_keys is locked first, so a process that starts with the key meanwhile either keeps
        // it or makes new keys of the installation.
        self.run(|| async {
            sqlx::query_scalar(concat!(
                "with unneeded as materialized (
                    select where not (",
                has_data!(),
                ") and not exists (select from audit_checkpoints)
                 ), retired as (
                    update vault_keys set retired_at = coalesce(retired_at, $2)
                    where key_id = $1 and exists (select from unneeded)
                        and coalesce(wraps_at <= verdict_now() - make_interval(secs => $3), true)
                    returning 1
                 ), gone as (
                    delete from named_keys
                    where key_id = $1 and exists (select from unneeded)
                        and (exists (select from retired)
                            or not exists (select from vault_keys where key_id = $1))
                    returning 1
                 )
                 select exists (select from retired) or exists (select from gone)",
            ))
            .bind(key_id)
            .bind(now)
            .bind(UNUSED_FOR.as_secs_f64())
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    /// What [`Self::give_up_vault_key`] would not give this key up for.
    pub async fn needs_of_vault_key(&self, key_id: &str) -> Result<Option<Needed>> {
        let (data, checkpoint, process): (bool, bool, bool) = self
            .run(|| async {
                sqlx::query_as(concat!(
                    "select ",
                    has_data!(),
                    ", exists (select from audit_checkpoints),
                        exists (select from vault_keys where key_id = $1
                            and wraps_at > verdict_now() - make_interval(secs => $2))",
                ))
                .bind(key_id)
                .bind(UNUSED_FOR.as_secs_f64())
                .fetch_one(&self.pool)
                .await
            })
            .await?;
        let reasons = [
            (data, Needed::ByData),
            (process, Needed::ByProcess),
            (checkpoint, Needed::ByCheckpoint),
        ];
        Ok(reasons.into_iter().find_map(|(holds, needed)| holds.then_some(needed)))
    }

    /// The keys that are not retired, and how long ago a process last said that it wraps with each.
    pub async fn vault_keys_wrapping(&self) -> Result<Vec<(String, Duration)>> {
        let rows: Vec<(String, f64)> = self
            .run(|| async {
                sqlx::query_as(
                    "select key_id, greatest(extract(epoch from verdict_now() - wraps_at), 0)::float8
                     from vault_keys where retired_at is null and wraps_at is not null",
                )
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        Ok(rows.into_iter().map(|(id, age)| (id, Duration::from_secs_f64(age))).collect())
    }
}
