//! Wrapped keys: those of the installation, which key-encryption keys are needed, and rotation.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;

/// Running processes say three times in this time, and more, with which key they wrap.
pub const UNUSED_FOR: Duration = Duration::from_mins(1);

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

/// Wrapped keys and their rotation.
#[derive(Clone, Copy, Debug)]
pub struct VaultKeys<'a>(&'a Store);

impl Store {
    /// Wrapped keys and their rotation.
    pub fn vault_keys(&self) -> VaultKeys<'_> {
        VaultKeys(self)
    }
}

impl VaultKeys<'_> {
    /// The key of that name: `candidate` (key id, wrapped key) if there is none yet.
    pub async fn named_key(
        self,
        name: &str,
        candidate: (&str, &[u8]),
        now: OffsetDateTime,
    ) -> Result<(String, Vec<u8>)> {
        // The first process makes the key. Nobody replaces it: what was digested with it could not
        // be found with another.
        self.0
            .run(|| add_named_key(name, candidate.0, candidate.1, now).execute(&self.0.pool))
            .await?;
        self.find_named_key(name).await?.ok_or(Error::Inconsistent("named_keys: a key is gone"))
    }

    /// The key of that name (key id, wrapped key).
    pub async fn find_named_key(self, name: &str) -> Result<Option<(String, Vec<u8>)>> {
        self.0.run(|| find_named_key(name).fetch_optional(&self.0.pool)).await
    }

    /// The key of the blind index of persons; `None`: no process has made it yet.
    pub async fn person_index_key(self) -> Result<Option<(String, Vec<u8>)>> {
        self.0.run(|| find_person_index_key().fetch_optional(&self.0.pool)).await
    }

    /// Names and wrapped keys of the installation.
    pub async fn named_keys(self) -> Result<Vec<(String, String, Vec<u8>)>> {
        self.0.run(|| list_named_keys().fetch_all(&self.0.pool)).await
    }

    /// Puts a rewrapped key in the place of the old form; `false` if that has changed meanwhile.
    pub async fn replace_named_key(
        self,
        name: &str,
        old: &[u8],
        new: (&str, &[u8]),
    ) -> Result<bool> {
        self.0
            .run(|| async {
                replace_named_key(name, old, new.0, new.1)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    /// This process wraps with this key, from now on or still: data will need it.
    pub async fn use_vault_key(self, key_id: &str, now: OffsetDateTime) -> Result<()> {
        self.0.run(|| async { use_key(key_id, now).execute(&self.0.pool).await.map(drop) }).await
    }

    /// Ids of the keys that data needs: those that wrap something, by the data itself, and those
    /// that are in use.
    pub async fn vault_keys_in_use(self) -> Result<Vec<String>> {
        // Goes through the index from one key id to the next, however many
        // rows each has.
        self.0.run(|| find_in_use().fetch_all(&self.0.pool)).await
    }

    /// A few of the data keys under this key, to try whether they open.
    pub async fn data_keys_under(self, key_id: &str, few: i64) -> Result<Vec<WrappedDataKey>> {
        self.0.run(|| find_data_keys_under(key_id, few).fetch_all(&self.0.pool)).await
    }

    /// Data keys not wrapped by this key, of verifications after `after`, in order. Looks through
    /// `limit` of all of them; answers where it stopped, `None` at the end.
    pub async fn data_keys_to_rewrap(
        self,
        primary: &str,
        after: Uuid,
        limit: i64,
    ) -> Result<(Vec<WrappedDataKey>, Option<Uuid>)> {
        let mut keys: Vec<WrappedDataKey> =
            self.0.run(|| find_data_keys_after(after, limit).fetch_all(&self.0.pool)).await?;
        let last = keys.last().map(|key| key.verification_id);
        keys.retain(|key| key.key_id != primary);
        Ok((keys, last))
    }

    /// Puts rewrapped data keys in the place of the old forms; answers how many. One that was
    /// destroyed meanwhile stays destroyed.
    pub async fn replace_data_keys(
        self,
        key_id: &str,
        rewrapped: &[(Uuid, Vec<u8>)],
    ) -> Result<u64> {
        let (ids, wrapped): (Vec<Uuid>, Vec<&[u8]>) =
            rewrapped.iter().map(|(id, wrapped)| (*id, &wrapped[..])).unzip();
        self.0
            .run(|| async {
                replace_data_keys(key_id, &ids, &wrapped)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected())
            })
            .await
    }

    /// Retires the keys but this one that wrap nothing any more, and with which no process has said
    /// for so long that it wraps; answers which.
    pub async fn retire_vault_keys(
        self,
        but: &str,
        unused_for: Duration,
        now: OffsetDateTime,
    ) -> Result<Vec<String>> {
        // The statement that retires a key also checks that no data needs it. A process that still
        // wraps with the key puts it back into use by what it writes.
        self.0.run(|| retire(but, now, unused_for.as_secs_f64()).fetch_all(&self.0.pool)).await
    }

    /// Gives a key up that wraps nothing but keys of the installation, where nothing was made with
    /// those either: they go, the key is retired. `false`: it is needed, or nobody knows it.
    pub async fn give_up_vault_key(self, key_id: &str, now: OffsetDateTime) -> Result<bool> {
        // Judged by the data in the very statement that does it. The row of
        // vault_keys is locked first, so a process that starts with the key meanwhile either keeps
        // it or makes new keys of the installation.
        self.0.run(|| give_up(key_id, now, UNUSED_FOR.as_secs_f64()).fetch_one(&self.0.pool)).await
    }

    /// What [`Self::give_up_vault_key`] would not give this key up for.
    pub async fn needs_of_vault_key(self, key_id: &str) -> Result<Option<Needed>> {
        let (data, checkpoint, process): (bool, bool, bool) = self
            .0
            .run(|| find_needs(key_id, UNUSED_FOR.as_secs_f64()).fetch_one(&self.0.pool))
            .await?;
        let reasons = [
            (data, Needed::ByData),
            (process, Needed::ByProcess),
            (checkpoint, Needed::ByCheckpoint),
        ];
        Ok(reasons.into_iter().find_map(|(holds, needed)| holds.then_some(needed)))
    }

    /// The keys that are not retired, and how long ago a process last said that it wraps with each.
    pub async fn vault_keys_wrapping(self) -> Result<Vec<(String, Duration)>> {
        let rows: Vec<(String, f64)> =
            self.0.run(|| list_wrapping().fetch_all(&self.0.pool)).await?;
        Ok(rows.into_iter().map(|(id, age)| (id, Duration::from_secs_f64(age))).collect())
    }
}

statements! {
    execute add_named_key(name: &str, key_id: &str, wrapped: &[u8], at: OffsetDateTime) =
        "insert into named_keys (name, key_id, wrapped, made_at) values ($1, $2, $3, $4)
         on conflict (name) do nothing";

    row find_named_key(name: &str) -> (String, Vec<u8>) =
        "select key_id, wrapped from named_keys where name = $1";

    row find_person_index_key() -> (String, Vec<u8>) =
        "select key_id, verdict_person_index_key() from named_keys where name = 'person-index'";

    row list_named_keys() -> (String, String, Vec<u8>) =
        "select name, key_id, wrapped from named_keys order by name";

    execute replace_named_key(name: &str, old: &[u8], key_id: &str, wrapped: &[u8]) =
        "update named_keys set key_id = $3, wrapped = $4 where name = $1 and wrapped = $2";

    execute use_key(key_id: &str, at: OffsetDateTime) =
        "insert into vault_keys (key_id, first_used_at, wraps_at)
         values ($1, $2, verdict_now())
         on conflict (key_id) do update set retired_at = null, wraps_at = verdict_now()";

    scalar find_in_use() -> String =
        "with recursive wrapping (key_id) as (
             (select key_id from data_keys order by key_id limit 1)
             union all
             select (select d.key_id from data_keys d where d.key_id > w.key_id
                     order by d.key_id limit 1)
             from wrapping w where w.key_id is not null
         )
         select key_id from wrapping where key_id is not null
         union select key_id from named_keys
         union select key_id from webhook_endpoints
         union select key_id from golden_pairs where retired_at is null
         union select key_id from vault_keys where retired_at is null
         order by 1";

    row find_data_keys_under(key_id: &str, few: i64) -> WrappedDataKey =
        "select verification_id, key_id, wrapped from data_keys where key_id = $1 limit $2";

    row find_data_keys_after(after: Uuid, limit: i64) -> WrappedDataKey =
        "select verification_id, key_id, wrapped from data_keys
         where verification_id > $1 order by verification_id limit $2";

    execute replace_data_keys(key_id: &str, ids: &[Uuid], wrapped: &[&[u8]]) =
        "update data_keys k set key_id = $1, wrapped = t.wrapped
         from unnest($2::uuid[], $3::bytea[]) as t (id, wrapped)
         where k.verification_id = any ($2) and k.verification_id = t.id";

    scalar retire(but: &str, at: OffsetDateTime, unused_for: f64) -> String =
        "update vault_keys k set retired_at = $2
         where k.key_id <> $1 and k.retired_at is null
             and coalesce(k.wraps_at <= verdict_now() - make_interval(secs => $3), true)
             and not exists (select from data_keys d where d.key_id = k.key_id)
             and not exists (select from named_keys n where n.key_id = k.key_id)
             and not exists (select from webhook_endpoints e where e.key_id = k.key_id)
             and not exists (select from golden_pairs g
                 where g.key_id = k.key_id and g.retired_at is null)
         returning k.key_id";

    scalar give_up(key_id: &str, at: OffsetDateTime, unused_for: f64) -> bool =
        include_str!("sql/vault_keys_give_up.sql");

    row find_needs(key_id: &str, unused_for: f64) -> (bool, bool, bool) =
        "select exists (select from data_keys) or exists (select from results)
                 or exists (select from material) or exists (select from images)
                 or exists (select from tasks) or exists (select from erasures)
                 or exists (select from webhook_endpoints) or exists (select from golden_pairs),
             exists (select from audit_checkpoints),
             exists (select from vault_keys where key_id = $1
                 and wraps_at > verdict_now() - make_interval(secs => $2))";

    row list_wrapping() -> (String, f64) =
        "select key_id, greatest(extract(epoch from verdict_now() - wraps_at), 0)::float8
         from vault_keys where retired_at is null and wraps_at is not null";
}
