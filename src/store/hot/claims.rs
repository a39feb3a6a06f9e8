//! Claims of verifications: a lease (`store/lease.rs`) on due rows, and budget for exactly those.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::callback::BY_CERTIFY_ID;
use crate::domain::ids::{LeaseToken, VerificationId};
use crate::domain::trace::TraceParent;
use crate::store::error::{Error, Result};
use crate::store::lease::{LeaseKey, Leased};
use crate::store::pool::Store;
use crate::store::statements::{Execute, statements};
use crate::store::verifications::product_of;
use policy::product::Product;

/// Leases on verifications.
pub const LEASED: Leased = Leased { kind: "verification", renew, release };

/// One leased verification: everything that a fetch needs, without another query.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: VerificationId,
    pub product: Product,
    pub biz_type: String,
    pub biz_id: String,
    /// Of face-verify, once known.
    pub certify_id: Option<String>,
    /// The fencing token of this claim.
    pub lease_token: LeaseToken,
    /// From 1: calls of the provider, this one included.
    pub attempt: i32,
    /// Failed attempts in a row before this one.
    pub failures: i32,
    /// Results with status −1 or 0 since the last callback.
    pub polls: i32,
    /// Callbacks accepted so far: a larger number at completion means that a new one arrived.
    pub callbacks: i32,
    /// Other counts for the evidence.
    pub past: Past,
    pub reference: ReferenceUse,
    /// The time limit of unfinished verifications has passed, or another one answers for it.
    pub overdue: bool,
    /// The newest result is a refusal: credentials, permission or clock.
    pub refused_before: bool,
    pub wanted: Wanted,
    /// The wrapped data key (id of its wrapping key, bytes), if it has one already.
    pub data_key: Option<(String, Vec<u8>)>,
    /// The request that made it due, where requests are traced.
    pub trace: Option<TraceParent>,
}

impl Claimed {
    pub fn lease(&self) -> LeaseKey {
        LeaseKey { id: self.id.0, token: self.lease_token }
    }
}

/// The past of one claimed verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Answers with a status.
    pub answers: i64,
    /// `None`: it has no reference, or there are earlier ones and nobody knows its source.
    pub earlier: Option<Earlier>,
}

/// Verifications of the same reference, within the source's group, that began before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// In the 24 hours before.
    pub in_1_day: i64,
    /// In the 30 days before.
    pub in_30_days: i64,
}

/// Earlier use of a verification's reference, by any source, as the claim saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceUse {
    /// It has no reference.
    None,
    /// No verification with this reference began before it.
    First,
    /// Some did.
    Later,
}

/// The data that a call should fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A result.
    Answer,
    /// Valid links: nobody waits for a result.
    Links {
        /// The provider has answered status 1 before.
        closed: bool,
    },
}

/// The outcome of one claim.
#[derive(Debug)]
pub struct Claim {
    /// Leased rows, oldest due first.
    pub rows: Vec<Claimed>,
    /// Budget or breaker limited the claim, not a lack of work: worth trying again after this.
    pub wait: Option<Duration>,
    /// Until the next row falls due that is not due yet.
    pub next_due: Option<Duration>,
    /// The breaker is open, and `rows` holds at most the one that probes.
    pub breaker_open: bool,
    /// Transient faults of the account are on record: a good result must clear them.
    pub faults_on_record: bool,
    /// Every row that fell due between `due_since` and this time is leased, except rows that were
    /// being written during the claim. `None`: not checked.
    pub claimed_to: Option<OffsetDateTime>,
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
    /// Searches rows that fell due since then, by the database's clock; `None`: all due rows.
    pub due_since: Option<OffsetDateTime>,
    /// These rows first, in this order, as far as they are due and free; then by age. Empty: by age.
    pub first: &'a [Uuid],
}

/// A position in the order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePosition {
    pub due_at: OffsetDateTime,
    pub id: Uuid,
}

/// A due row whose lease is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    pub position: DuePosition,
    /// Empty where it is not known.
    pub source: String,
    pub scene: String,
}

impl Store {
    /// Claims due rows and spends budget for exactly the calls they cost, in one statement: a claimed
    /// row is a call that is allowed now. `token` must be fresh.
    pub async fn claim(&self, limits: &ClaimLimits<'_>, token: LeaseToken) -> Result<Claim> {
        // Not repeated on a broken connection: the first may have happened; its rows come back
        // when their lease ends.
        let rows = self.once(statement_of(limits, token).fetch_all(&self.pool)).await?;
        let first = rows.first().ok_or(Error::Inconsistent("a claim answers with no row"))?;
        let account = AccountRow::from_row(first)?;
        if !account.account_known {
            return Err(Error::Inconsistent("accounts: no row for this account"));
        }
        let bounded = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.001, 60.0));
        let claimed = rows.iter().map(|row| claimed(row, token)).filter_map(Result::transpose);
        let mut claim = Claim {
            wait: account.wait.map(bounded),
            next_due: account.next_due.map(bounded),
            breaker_open: account.breaker_open,
            faults_on_record: account.faults_on_record,
            // In turn, what is older than the rows claimed may still be due.
            claimed_to: if limits.first.is_empty() { account.claimed_to } else { None },
            rows: claimed.collect::<Result<_>>()?,
        };
        self.reload_missing_keys(&mut claim.rows).await?;
        Ok(claim)
    }

    /// When the oldest row fell due that is due now, leased or not. None is older than
    /// `from`; `None`: that is not known.
    pub async fn oldest_due(&self, from: Option<OffsetDateTime>) -> Result<Option<OffsetDateTime>> {
        self.once(oldest_due(from).fetch_optional(&self.pool)).await
    }

    /// The next due rows whose lease is free, in the order of their age, and the time by the
    /// database's clock.
    pub async fn due_after(
        &self,
        from: DuePosition,
        most: usize,
    ) -> Result<(Vec<DueRow>, OffsetDateTime)> {
        let rows = self
            .once(
                due_after(from.due_at, from.id, i64::try_from(most).unwrap_or(i64::MAX))
                    .fetch_all(&self.pool),
            )
            .await?;
        let first = rows.first().ok_or(Error::Inconsistent("a scan answers with no row"))?;
        let now = first.try_get("now_at")?;
        let found =
            rows.iter().map(due_row).filter_map(Result::transpose).collect::<Result<_>>()?;
        Ok((found, now))
    }

    /// A claim that waited for the account's row sees rows as they are now but joins keys as they
    /// were when it began; a first result may have been written in between. A second key for the
    /// same verification would be refused, and the result with it.
    async fn reload_missing_keys(&self, rows: &mut [Claimed]) -> Result<()> {
        let may_have_one = |row: &&mut Claimed| row.attempt > 1 && row.data_key.is_none();
        let ids: Vec<Uuid> = rows.iter_mut().filter(may_have_one).map(|row| row.id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let keys: Vec<(Uuid, String, Vec<u8>)> =
            self.run(|| find_data_keys(&ids).fetch_all(&self.pool)).await?;
        for (id, key_id, wrapped) in keys {
            if let Some(row) = rows.iter_mut().find(|row| row.id.0 == id) {
                row.data_key = Some((key_id, wrapped));
            }
        }
        Ok(())
    }

    /// Reschedules a claim without a result, for the case that its completion cannot be written: one
    /// small statement, which does not share the completion's mistake. `false`: the lease was lost.
    pub async fn reschedule(
        &self,
        id: VerificationId,
        token: LeaseToken,
        due_in: Duration,
        failures: i32,
        called: bool,
    ) -> Result<bool> {
        let due_in = due_in.as_secs_f64();
        self.write_fenced(|| reschedule(id.0, token.0, due_in, failures, called)).await
    }
}

fn statement_of(limits: &ClaimLimits<'_>, token: LeaseToken) -> Execute {
    let (account, max_rows) = (limits.account, limits.max_rows);
    let (lease, burst) = (limits.lease.as_secs_f64(), limits.burst);
    let seconds_per_query = 1.0 / limits.queries_per_second;
    let probe_every = limits.probe_every.as_secs_f64();
    let (token, since) = (token.0, limits.due_since);
    let by_certify_id = BY_CERTIFY_ID.map(Product::as_str);
    if limits.first.is_empty() {
        claim((
            account,
            max_rows,
            lease,
            seconds_per_query,
            burst,
            probe_every,
            token,
            since,
            &by_certify_id,
        ))
    } else {
        let first = limits.first;
        claim_in_turn((
            account,
            max_rows,
            lease,
            seconds_per_query,
            burst,
            probe_every,
            token,
            since,
            &by_certify_id,
            first,
        ))
    }
}

/// `None`: no row is due, and the only row holds the time.
fn due_row(row: &PgRow) -> Result<Option<DueRow>> {
    let _: OffsetDateTime = row.try_get("now_at")?;
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let position = DuePosition { due_at: row.try_get("due_at")?, id };
    let (source, scene) = (row.try_get("source")?, row.try_get("biz_type")?);
    Ok(Some(DueRow { position, source, scene }))
}

/// The state of the account, repeated in every row of a claim.
#[derive(FromRow)]
struct AccountRow {
    account_known: bool,
    wait: Option<f64>,
    next_due: Option<f64>,
    breaker_open: bool,
    faults_on_record: bool,
    claimed_to: Option<OffsetDateTime>,
}

/// `None`: nothing was claimed, and the only row holds the reason.
fn claimed(row: &PgRow, lease_token: LeaseToken) -> Result<Option<Claimed>> {
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let key_id: Option<String> = row.try_get("key_id")?;
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped")?;
    Ok(Some(Claimed {
        id: VerificationId(id),
        product: product_of(row)?,
        biz_type: row.try_get("biz_type")?,
        biz_id: row.try_get("biz_id")?,
        certify_id: row.try_get("certify_id")?,
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
    }))
}

fn claim_row(row: &PgRow) -> Result<(AccountRow, Option<Claimed>)> {
    Ok((AccountRow::from_row(row)?, claimed(row, LeaseToken(Uuid::nil()))?))
}

/// A trace that cannot be parsed is ignored: no work fails for it.
pub(in crate::store) fn trace_of(row: &PgRow) -> Result<Option<TraceParent>> {
    Ok(row.try_get::<Option<&str>, _>("trace_parent")?.and_then(TraceParent::parse))
}

statements! {
    /// At most one worker holds a row; budget is spent for exactly the rows taken; while the
    /// breaker is open one row at a time may probe. The account's row is locked first, so replicas
    /// draw one after the other. Judged by the database's clock alone. A claim lost in a crash of
    /// Postgres is a claim that never was, so this commit needs no fsync.
    ///
    /// Postgres keeps times to the microsecond, so what is spent is rounded up. Rounded to the
    /// nearest one, each claim could spend a little too little, and claims added that up.
    ///
    /// Written for a database in which nothing dead can be removed: `$8` keeps the search for due
    /// work off the dead entries of all work done before, and the budget's row is found from the
    /// newest end of its key (`>=`, so that the row a wait for the lock has brought up to date still
    /// fits).
    ///
    /// A verification of a product in `$9` cannot be asked for before its `CertifyId` is known. It is
    /// claimed to be rescheduled or to expire. That costs no budget and is no probe.
    read(claim_row) claim((
        account: &str,
        max_rows: i32,
        lease: f64,
        seconds_per_query: f64,
        burst: f64,
        probe_every: f64,
        token: Uuid,
        due_since: Option<OffsetDateTime>,
        by_certify_id: &[&str],
    )) = include_str!("../sql/claims_claim_within_budget.sql");

    /// The same, but takes the rows of `$10` first, in that order. It is a separate statement, so
    /// that claims by age, which are nearly all, cost nothing for it.
    read(claim_row) claim_in_turn((
        account: &str,
        max_rows: i32,
        lease: f64,
        seconds_per_query: f64,
        burst: f64,
        probe_every: f64,
        token: Uuid,
        due_since: Option<OffsetDateTime>,
        by_certify_id: &[&str],
        first: &[Uuid],
    )) = include_str!("../sql/claims_claim_in_turn_within_budget.sql");

    scalar oldest_due(from: Option<OffsetDateTime>) -> OffsetDateTime =
        "select due_at from verifications
         where due_at >= coalesce($1::timestamptz, '-infinity') and due_at <= verdict_now()
         order by due_at limit 1";

    read(due_row) due_after(due_at: OffsetDateTime, id: Uuid, most: i64) =
        "select now_at, d.* from (select verdict_now() as now_at) as clock
         left join lateral (
             select id, due_at, coalesce(source, '') as source, biz_type
             from verifications
             where (due_at, id) > ($1, $2) and due_at <= verdict_now()
                 and (lease_until is null or lease_until <= verdict_now())
             order by due_at, id limit $3) as d on true
         order by d.due_at, d.id";

    row find_data_keys(ids: &[Uuid]) -> (Uuid, String, Vec<u8>) =
        "select verification_id, key_id, wrapped from data_keys
         where verification_id = any($1)";

    /// Locks rows in the order in which accepting touches them, so that the two cannot deadlock.
    scalar renew(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Uuid =
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
         returning v.id";

    execute reschedule(id: Uuid, token: Uuid, due_in: f64, failures: i32, called: bool) =
        "update verifications
         set due_at = verdict_now() + make_interval(secs => $3), failures = $4,
             attempts = attempts - case when $5 then 0 else 1 end, lease_token = null, lease_until = null
         where id = $1 and lease_token = $2";

    /// In the same order.
    execute release(ids: &[Uuid], tokens: &[Uuid]) =
        "with held as (
             select v.id, t.token
             from unnest($1::uuid[], $2::uuid[]) as t (id, token), verifications v
             where v.id = any ($1) and v.id = t.id
             order by v.biz_type, v.biz_id for no key update of v
         )
         update verifications v set lease_token = null, lease_until = null
         from held
         where v.id = any ($1) and v.id = held.id and v.lease_token = held.token";
}
