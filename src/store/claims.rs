//! The claim/lease/fence protocol.
//!
//! A claim gives a row a fresh token and a time; whoever writes about the row must still hold the
//! token. A worker that was killed loses its lease when it runs out; one that was frozen finds its
//! token gone and changes nothing.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::past::Past;
use super::{Error, Result, Store};
use crate::domain::ids::{LeaseToken, VerificationId};
use crate::domain::trace::TraceParent;

/// One leased verification: everything needed to ask about it without another look.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: VerificationId,
    /// Scene.
    pub biz_type: String,
    /// Task.
    pub biz_id: String,
    /// The fencing token of this claim.
    pub lease_token: LeaseToken,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// Failed attempts in a row before this one.
    pub failures: i32,
    /// Answers −1 or 0 since the last callback.
    pub polls: i32,
    /// Callbacks accepted so far: one more at completion means something new was said meanwhile.
    pub callbacks: i32,
    /// What else is counted for the evidence.
    pub past: Past,
    /// Whether verifications of the same reference began before it, whoever's they are.
    pub reference: ReferenceUse,
    /// The time for unfinished ones has run out.
    pub overdue: bool,
    /// The newest answer about it refused us: credentials, permission or clock.
    pub refused_before: bool,
    /// What it is asked for.
    pub wanted: Wanted,
    /// The wrapped data key (id of its wrapping key, bytes), if it has one already.
    pub data_key: Option<(String, Vec<u8>)>,
    /// The request that made it due, where requests are traced.
    pub trace: Option<TraceParent>,
}

/// What the claim saw of a verification's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceUse {
    /// It has none.
    None,
    /// None began before it under this one.
    First,
    /// Some did.
    Later,
}

/// What a verification is asked about for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An answer.
    Answer,
    /// Links that live: nobody waits for an answer.
    Links {
        /// The provider has said 1 before.
        closed: bool,
    },
}

/// What one attempt to claim brought.
#[derive(Debug)]
pub struct Claim {
    /// Leased rows, oldest due first.
    pub rows: Vec<Claimed>,
    /// The budget or the breaker, not a lack of work, was the limit: worth trying again after this.
    pub wait: Option<Duration>,
    /// When the next row falls due that is not due yet.
    pub next_due: Option<Duration>,
    /// The breaker is open, and `rows` holds at most the one that probes.
    pub breaker_open: bool,
    /// Passing faults of the account on record: a good answer must clear them.
    pub faults_on_record: bool,
    /// All that fell due between `due_since` and this is in somebody's hands; but for what was
    /// being written at that moment. `None`: nobody looked.
    pub seen_to: Option<OffsetDateTime>,
}

/// Limits of one claim.
#[derive(Clone, Debug)]
pub struct ClaimLimits<'a> {
    /// The account whose budget is drawn from.
    pub account: &'a str,
    /// Most rows.
    pub max_rows: i32,
    /// Length of the lease.
    pub lease: Duration,
    /// Calls per second of the account, all replicas together.
    pub queries_per_second: f64,
    /// Calls that may go out at once after a pause.
    pub burst: f64,
    /// Distance of two probes while the breaker is open.
    pub probe_every: Duration,
    /// Looks at what fell due since then, by the database's clock; `None`: at everything due.
    pub due_since: Option<OffsetDateTime>,
    /// These rows first, in this order, as far as they are due and nobody's; then by age. Empty: by
    /// age.
    pub first: &'a [Uuid],
}

/// A place in the order in which claims go by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePosition {
    /// Due then.
    pub due_at: OffsetDateTime,
    /// The row.
    pub id: Uuid,
}

/// A due row that nobody works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    /// Where it stands.
    pub position: DuePosition,
    /// The source it belongs to; empty where that is not known.
    pub source: String,
    /// Its scene.
    pub scene: String,
}

impl Store {
    /// Claims due rows and spends budget for exactly those, in one statement: a row in hand is a
    /// call allowed now. `token` must be fresh.
    pub async fn claim(&self, limits: &ClaimLimits<'_>, token: LeaseToken) -> Result<Claim> {
        // Not repeated on a broken connection: the first may have happened; its rows come back
        // when their lease ends.
        let rows = self
            .once(async {
                let by_age = limits.first.is_empty();
                let claim = sqlx::query(if by_age { CLAIM } else { CLAIM_IN_TURN })
                    .bind(limits.account)
                    .bind(limits.max_rows)
                    .bind(limits.lease.as_secs_f64())
                    .bind(1.0 / limits.queries_per_second)
                    .bind(limits.burst)
                    .bind(limits.probe_every.as_secs_f64())
                    .bind(token.0)
                    .bind(limits.due_since);
                let claim = if by_age { claim } else { claim.bind(limits.first) };
                claim.fetch_all(&self.pool).await
            })
            .await?;
        let first = rows.first().ok_or(Error::Inconsistent("a claim answers with no row"))?;
        if !first.try_get::<bool, _>("account_known")? {
            return Err(Error::Inconsistent("accounts: no row for this account"));
        }
        let seconds = |name: &str| -> Result<Option<Duration>> {
            let seconds: Option<f64> = first.try_get(name)?;
            Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.001, 60.0))))
        };
        let mut claim = Claim {
            wait: seconds("wait")?,
            next_due: seconds("next_due")?,
            breaker_open: first.try_get("breaker_open")?,
            faults_on_record: first.try_get("faults_on_record")?,
            // In turn, what is older than the rows claimed may still be due.
            seen_to: if limits.first.is_empty() { first.try_get("seen_to")? } else { None },
            rows: rows
                .iter()
                .filter(|row| !matches!(row.try_get::<Option<Uuid>, _>("id"), Ok(None)))
                .map(|row| claimed(row, token))
                .collect::<Result<_>>()?,
        };
        self.look_again_for_keys(&mut claim.rows).await?;
        Ok(claim)
    }

    /// When the oldest row fell due that is due now, leased or not. None is older than
    /// `from`; `None`: that is not known.
    pub async fn oldest_due(&self, from: Option<OffsetDateTime>) -> Result<Option<OffsetDateTime>> {
        // claims::oldest_due: a walk along the index of due rows to the first one that lives.
        self.once(async {
            sqlx::query_scalar(
                "select due_at from verifications
                 where due_at >= coalesce($1::timestamptz, '-infinity') and due_at <= verdict_now()
                 order by due_at limit 1",
            )
            .bind(from)
            .fetch_optional(&self.pool)
            .await
        })
        .await
    }

    /// The next due rows that nobody works on, in the order of their age, and the time by the
    /// database's clock.
    pub async fn due_after(
        &self,
        from: DuePosition,
        most: usize,
    ) -> Result<(Vec<DueRow>, OffsetDateTime)> {
        // claims::due_after: a walk along the index of due rows, from where the one before ended.
        let rows = self
            .once(async {
                sqlx::query(
                    "select now_at, d.* from (select verdict_now() as now_at) as clock
                     left join lateral (
                        select id, due_at, coalesce(source, '') as source, biz_type
                        from verifications
                        where (due_at, id) > ($1, $2) and due_at <= verdict_now()
                            and (lease_until is null or lease_until <= verdict_now())
                        order by due_at, id limit $3) as d on true
                     order by d.due_at, d.id",
                )
                .bind(from.due_at)
                .bind(from.id)
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        let first = rows.first().ok_or(Error::Inconsistent("a walk answers with no row"))?;
        let now = first.try_get("now_at")?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(id) = row.try_get::<Option<Uuid>, _>("id")? else { continue };
            let position = DuePosition { due_at: row.try_get("due_at")?, id };
            let (source, scene) = (row.try_get("source")?, row.try_get("biz_type")?);
            found.push(DueRow { position, source, scene });
        }
        Ok((found, now))
    }

    /// A claim that waited for the account's row sees rows as they are now but joins keys as they
    /// were when it began; a first answer may have been written in between. A second key for the
    /// same verification would be refused, and the answer with it.
    async fn look_again_for_keys(&self, rows: &mut [Claimed]) -> Result<()> {
        let unsure = |row: &&mut Claimed| row.attempt > 1 && row.data_key.is_none();
        let ids: Vec<Uuid> = rows.iter_mut().filter(unsure).map(|row| row.id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let keys: Vec<(Uuid, String, Vec<u8>)> = self
            .run(|| async {
                sqlx::query_as(
                    "select verification_id, key_id, wrapped from data_keys
                     where verification_id = any($1)",
                )
                .bind(&ids)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        for (id, key_id, wrapped) in keys {
            if let Some(row) = rows.iter_mut().find(|row| row.id.0 == id) {
                row.data_key = Some((key_id, wrapped));
            }
        }
        Ok(())
    }

    /// Lengthens the leases of these claims; answers with those still held.
    pub async fn renew(
        &self,
        held: &[(VerificationId, LeaseToken)],
        lease: Duration,
    ) -> Result<Vec<VerificationId>> {
        let (ids, tokens) = split(held);
        // claims::renew: only who holds the token may renew; losing it on a crash of
        // Postgres is harmless, so it needs no fsync. Rows are locked in the order in which accept
        // touches them, so that the two cannot deadlock.
        let rows: Vec<Uuid> = self
            .run(|| async {
                sqlx::query_scalar(
                    "with durability as materialized (
                        select set_config('synchronous_commit', 'off', true)
                     ), held as (
                        select v.id, t.token
                        from unnest($1::uuid[], $2::uuid[]) as t (id, token), durability,
                            verifications v
                        where v.id = any ($1) and v.id = t.id
                        order by v.biz_type, v.biz_id for no key update of v
                     )
                     update verifications v
                     set lease_until = verdict_now() + make_interval(secs => $3)
                     from held
                     where v.id = any ($1) and v.id = held.id and v.lease_token = held.token
                     returning v.id",
                )
                .bind(&ids)
                .bind(&tokens)
                .bind(lease.as_secs_f64())
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        Ok(rows.into_iter().map(VerificationId).collect())
    }

    /// Puts a claim off without a result, for the case that its completion cannot be written: one
    /// small statement, which does not share the completion's mistake. `false`: the lease was lost.
    pub async fn reschedule(
        &self,
        id: VerificationId,
        token: LeaseToken,
        due_in: Duration,
        failures: i32,
    ) -> Result<bool> {
        // claims::reschedule: fenced like every write of a worker.
        self.run(|| async {
            sqlx::query(
                "update verifications
                 set due_at = verdict_now() + make_interval(secs => $3), failures = $4,
                     lease_token = null, lease_until = null
                 where id = $1 and lease_token = $2",
            )
            .bind(id.0)
            .bind(token.0)
            .bind(due_in.as_secs_f64())
            .bind(failures)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() == 1)
        })
        .await
    }

    /// Gives claims back without a result, due as before: for a graceful stop.
    pub async fn release(&self, held: &[(VerificationId, LeaseToken)]) -> Result<u64> {
        let (ids, tokens) = split(held);
        // claims::release: fenced like every write of a worker; locks in accept's order.
        self.run(|| async {
            sqlx::query(
                "with held as (
                    select v.id, t.token
                    from unnest($1::uuid[], $2::uuid[]) as t (id, token), verifications v
                    where v.id = any ($1) and v.id = t.id
                    order by v.biz_type, v.biz_id for no key update of v
                 )
                 update verifications v set lease_token = null, lease_until = null
                 from held
                 where v.id = any ($1) and v.id = held.id and v.lease_token = held.token",
            )
            .bind(&ids)
            .bind(&tokens)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }
}

/// The statement of a claim, and what one in turn has besides.
macro_rules! claim {
    ($or_those:literal, $in_turn:literal, $but_those:literal, $less_those:literal, $and_those:literal) => {
        concat!(
            "
with durability as materialized (
    select set_config('synchronous_commit', 'off', true)
), idle as (
    -- Nothing due: nothing is locked, and so nothing is written.
    select (select id from verifications
            where due_at >= coalesce($8::timestamptz, '-infinity') and due_at <= verdict_now()
                and (lease_until is null or lease_until <= verdict_now())
            order by due_at limit 1) is null",
            $or_those,
            " as is_idle
), newest as (
    select draws from budgets where account = $1 order by draws desc limit 1
), account as (
    select a.*, b.spent_to, verdict_now() as now_at,
        extract(epoch from greatest(b.spent_to, verdict_now()) - verdict_now())::float8 as ahead
    from accounts a, budgets b, durability, idle
    where a.account = $1 and b.account = $1 and b.draws >= (select draws from newest) and not is_idle
    for update of a, b
), allowance as (
    select a.*,
        case when breaker = 'closed' then greatest(0, least($2, floor($5 - ahead / $4 + 1e-6)))::int
             when probe_at <= now_at then least($2, 1)
             else 0 end as allowed
    from account a
), ",
            $in_turn,
            "next as (
    select id from verifications
    where due_at >= coalesce($8::timestamptz, '-infinity') and due_at <= verdict_now()
        and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from allowance) = 'closed'",
            $but_those,
            "
    order by due_at, id
    limit coalesce((select allowed from allowance), 0)",
            $less_those,
            "
    for update skip locked
), probe as (
    -- The newest that has not failed: the least likely to be one of those that opened the breaker,
    -- and one that always fails must not keep the account stopped.
    select id from verifications
    where due_at <= verdict_now() and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from allowance) <> 'closed' and failures = 0
    order by due_at desc, id desc
    limit coalesce((select allowed from allowance), 0)
    for update skip locked
), next_best as (
    select id from verifications
    where due_at <= verdict_now() and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from allowance) <> 'closed' and not exists (select from probe)
    order by due_at, id
    limit coalesce((select allowed from allowance), 0)
    for update skip locked
), claimed as (
    update verifications v
    set lease_token = $7, lease_until = verdict_now() + make_interval(secs => $3),
        attempts = v.attempts + 1
    -- As an array: the planner cannot know how few these are, and would scan the whole table.
    where v.id = any (array(select id from next union all select id from probe
                            union all select id from next_best",
            $and_those,
            "))
    returning v.id, v.biz_type, v.biz_id, v.attempts, v.failures, v.polls, v.callbacks,
        v.result_id, v.due_at, v.closed, v.give_up_at <= verdict_now() as overdue,
        v.state not in ('pending', 'unfinished') as quiet, v.trace_parent,
        v.reference
), taken as (
    select count(*)::int as n, max(due_at) as latest from claimed
), spent as (
    update budgets b
    set draws = b.draws + 1,
        spent_to = greatest(b.spent_to, verdict_now()) + make_interval(secs => ceil(taken.n * $4 * 1e6 - 1e-3) / 1e6)
    from taken
    where b.account = $1 and b.draws >= (select draws from newest) and taken.n > 0
), probed as (
    update accounts a set probe_at = verdict_now() + make_interval(secs => $6)
    from taken where a.account = $1 and a.breaker <> 'closed' and taken.n > 0
)
select c.*,
    case when c.reference is not null then
        (select true from verifications e where e.reference = c.reference and e.id < c.id
         order by e.id desc limit 1) is not null end as is_later,
    k.key_id, k.wrapped, coalesce(r.refused_before, false) as refused_before,
    exists (select from accounts where account = $1) and exists (select from newest)
        as account_known,
    (select extract(epoch from due_at - verdict_now())::float8 from verifications
     where due_at > verdict_now() order by due_at limit 1) as next_due,
    coalesce(w.breaker <> 'closed', false) as breaker_open,
    coalesce(w.failures > 0, false) as faults_on_record,
    case when w.allowed >= $2 or taken.n < w.allowed then null
         when w.breaker <> 'closed' then greatest(extract(epoch from w.probe_at - w.now_at)::float8, 0.05)
         else (w.ahead + (taken.n + 1 - $5) * $4)::float8
    end as wait,
    case when w.breaker is null or w.breaker = 'closed' and taken.n < w.allowed then verdict_now()
         when w.breaker = 'closed' then taken.latest
    end as seen_to
from taken left join allowance w on true
left join claimed c on true
left join lateral (
    select key_id, wrapped from data_keys where verification_id = c.id limit 1) k on true
left join lateral (
    select error_class in ('credentials', 'clock') as refused_before from results where id = c.result_id
    limit 1) r on true
order by c.due_at, c.id"
        )
    };
}

/// `claims::claim`. At most one worker holds a row; budget is spent for exactly the rows
/// taken; while the breaker is open one row at a time may probe. The account's row is locked
/// first, so replicas draw one after the other. Judged by the database's clock alone. A claim lost
/// in a crash of Postgres is a claim that never was, so this commit needs no fsync.
///
/// Postgres keeps times to the microsecond, so what is spent is rounded up. Rounded to the nearest
/// one, each claim could spend a little too little, and claims added that up.
///
/// Written for a database in which nothing dead can be removed: `$8` keeps the looks for due work
/// off the dead entries of all work done before, and the budget's row is found from the newest end
/// of its key (`>=`, so that the row a wait for the lock has brought up to date still fits).
///
/// `CLAIM_IN_TURN` takes the rows of `$9` first, in that order. It is a separate statement, so
/// that claims by age, which are nearly all, cost nothing for it.
const CLAIM: &str = claim!("", "", "", "", "");
const CLAIM_IN_TURN: &str = claim!(
    "
        and not exists (select from verifications
            where id = any ($9::uuid[]) and due_at <= verdict_now()
                and (lease_until is null or lease_until <= verdict_now()))",
    "in_turn as (
    select id from verifications
    where id = any ($9::uuid[]) and due_at <= verdict_now()
        and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from allowance) = 'closed'
    order by array_position($9::uuid[], id)
    limit coalesce((select allowed from allowance), 0)
    for update skip locked
), ",
    " and id <> all ($9::uuid[])",
    " - (select count(*) from in_turn)",
    " union all select id from in_turn"
);

fn split(held: &[(VerificationId, LeaseToken)]) -> (Vec<Uuid>, Vec<Uuid>) {
    held.iter().map(|(id, token)| (id.0, token.0)).unzip()
}

fn claimed(row: &PgRow, lease_token: LeaseToken) -> Result<Claimed> {
    let key_id: Option<String> = row.try_get("key_id")?;
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped")?;
    Ok(Claimed {
        id: VerificationId(row.try_get("id")?),
        biz_type: row.try_get("biz_type")?,
        biz_id: row.try_get("biz_id")?,
        lease_token,
        attempt: row.try_get("attempts")?,
        failures: row.try_get("failures")?,
        polls: row.try_get("polls")?,
        callbacks: row.try_get("callbacks")?,
        past: Past::default(),
        reference: match row.try_get::<Option<bool>, _>("is_later")? {
            None => ReferenceUse::None,
            Some(false) => ReferenceUse::First,
            Some(true) => ReferenceUse::Later,
        },
        overdue: row.try_get("overdue")?,
        refused_before: row.try_get("refused_before")?,
        wanted: if row.try_get("quiet")? {
            Wanted::Links { closed: row.try_get("closed")? }
        } else {
            Wanted::Answer
        },
        data_key: key_id.zip(wrapped),
        trace: trace_of(row)?,
    })
}

/// One that cannot be read is none: no work fails for a trace.
pub(super) fn trace_of(row: &PgRow) -> Result<Option<TraceParent>> {
    Ok(row.try_get::<Option<&str>, _>("trace_parent")?.and_then(TraceParent::parse))
}
