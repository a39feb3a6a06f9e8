//! Golden pairs: two pictures whose answer is known, sealed, mixed among the cases of reviewers.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::GoldenId;

/// A pair to be added; both pictures are sealed with the data key.
#[derive(Clone, Debug)]
pub struct NewPair {
    pub id: GoldenId,
    /// The answer: both show one person.
    pub same_person: bool,
    pub key_id: String,
    pub wrapped: Vec<u8>,
    pub live: Vec<u8>,
    pub live_type: &'static str,
    pub reference: Vec<u8>,
    pub reference_type: &'static str,
}

/// A pair without its pictures, and how reviewers have judged it.
#[derive(Clone, Debug, FromRow)]
pub struct GoldenPair {
    pub id: Uuid,
    pub same_person: bool,
    pub added_at: OffsetDateTime,
    pub added_by: String,
    /// `None`: it is shown.
    pub retired_at: Option<OffsetDateTime>,
    /// How often it was judged.
    pub judged: i64,
    /// How often wrongly.
    pub wrong: i64,
}

/// The pictures of a pair, sealed, with the wrapped key that opens them.
#[derive(Clone, Debug, FromRow)]
pub struct SealedPair {
    pub key_id: String,
    pub wrapped: Vec<u8>,
    pub live: Vec<u8>,
    pub live_type: String,
    pub reference: Vec<u8>,
    pub reference_type: String,
}

/// The wrapped data key of a pair.
#[derive(Clone, Debug, FromRow)]
pub struct GoldenKey {
    pub id: Uuid,
    pub key_id: String,
    pub wrapped: Vec<u8>,
}

/// Golden pairs.
#[derive(Clone, Copy, Debug)]
pub struct GoldenPairs<'a>(&'a Store);

impl Store {
    pub fn golden_pairs(&self) -> GoldenPairs<'_> {
        GoldenPairs(self)
    }
}

impl GoldenPairs<'_> {
    /// Adds a pair, on record.
    pub async fn add(self, pair: &NewPair, doing: &AuditContext) -> Result<()> {
        self.0
            .run(|| async {
                add((
                    pair.id.0,
                    pair.same_person,
                    &pair.key_id,
                    &pair.wrapped,
                    &pair.live,
                    pair.live_type,
                    &pair.reference,
                    pair.reference_type,
                    doing.at,
                    &doing.actor,
                    doing.purpose.as_deref(),
                ))
                .execute(&self.0.pool)
                .await
                .map(drop)
            })
            .await
    }

    /// All pairs, oldest first.
    pub async fn list(self) -> Result<Vec<GoldenPair>> {
        self.0.run(|| list().fetch_all(&self.0.pool)).await
    }

    /// Ends a pair: nobody gets it any more, and its pictures are destroyed. What was said about it
    /// stays. `false`: there is none of this id that is shown.
    pub async fn retire(self, id: GoldenId, doing: &AuditContext) -> Result<bool> {
        self.0
            .once(
                retire(id.0, doing.at, &doing.actor, doing.purpose.as_deref())
                    .execute(&self.0.pool),
            )
            .await
            .map(|done| done.rows_affected() > 0)
    }

    /// The pictures of a pair; that they were read is recorded by the same statement.
    pub async fn read(self, id: GoldenId, doing: &AuditContext) -> Result<Option<SealedPair>> {
        self.0
            .once(
                read_pair(id.0, doing.at, &doing.actor, doing.purpose.as_deref())
                    .fetch_optional(&self.0.pool),
            )
            .await
    }

    /// Data keys that are not wrapped by this key.
    pub async fn keys_to_rewrap(self, primary: &str) -> Result<Vec<GoldenKey>> {
        self.0.run(|| find_keys_to_rewrap(primary).fetch_all(&self.0.pool)).await
    }

    /// A few of the data keys under this key, to try whether they open.
    pub async fn keys_under(self, key_id: &str, few: i64) -> Result<Vec<GoldenKey>> {
        self.0.run(|| find_keys_under(key_id, few).fetch_all(&self.0.pool)).await
    }

    /// Puts a rewrapped data key in the place of the old form; `false` if that has changed meanwhile.
    pub async fn replace_key(self, id: GoldenId, old: &[u8], new: (&str, &[u8])) -> Result<bool> {
        self.0.write_fenced(|| replace_key(id.0, old, new.0, new.1)).await
    }
}

statements! {
    execute add((
        id: Uuid,
        same_person: bool,
        key_id: &str,
        wrapped: &[u8],
        live: &[u8],
        live_type: &str,
        reference: &[u8],
        reference_type: &str,
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
    )) =
        "with added as (
             insert into golden_pairs (id, same_person, key_id, wrapped, live, live_type,
                 reference, reference_type, added_at, added_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (id) do nothing returning id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $9, $10, 'golden.add', id, $11 from added";

    row list() -> GoldenPair =
        "select g.id, g.same_person, g.added_at, g.added_by, g.retired_at,
             count(a.judgement) as judged,
             count(*) filter (where g.same_person and a.judgement >= 4
                 or not g.same_person and a.judgement <= 2) as wrong
         from golden_pairs g left join assignments a on a.golden_id = g.id
         group by g.id order by g.id";

    execute retire(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) =
        "with retired as (
             update golden_pairs
             set retired_at = $2, live = '', reference = '', wrapped = ''
             where id = $1 and retired_at is null returning id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $2, $3, 'golden.retire', id, $4 from retired";

    row read_pair(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) -> SealedPair =
        "with wanted as (
             select key_id, wrapped, live, live_type, reference, reference_type
             from golden_pairs where id = $1 and retired_at is null
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose)
             select $2, $3, 'golden.read', $1, $4 from wanted returning 1
         )
         select wanted.* from wanted, recorded";

    row find_keys_to_rewrap(primary: &str) -> GoldenKey =
        "select id, key_id, wrapped from golden_pairs
         where key_id <> $1 and retired_at is null order by id";

    row find_keys_under(key_id: &str, few: i64) -> GoldenKey =
        "select id, key_id, wrapped from golden_pairs
         where key_id = $1 and retired_at is null limit $2";

    execute replace_key(id: Uuid, old: &[u8], key_id: &str, wrapped: &[u8]) =
        "update golden_pairs set key_id = $3, wrapped = $4 where id = $1 and wrapped = $2";
}
