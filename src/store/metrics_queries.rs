//! Queries for the metrics.
//!
//! Their cost does not depend on the size of the tables or on dead tuples: each counts along an index
//! up to a limit. Postgres cancels one that takes longer than a second. Callers cache the answers, and
//! pause in proportion to the time that a query took.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, RawSql};

use super::error::{Error, Result};
use super::events::on_days_of;
use super::pool::Store;
use super::statements::statements;

/// Open work. Counts stop at 10,000: beyond that the exact number helps nobody and costs a scan.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Backlog {
    /// Due, and the lease is free.
    pub waiting: i64,
    /// Due and leased.
    pub leased: i64,
    /// Since the oldest due row fell due.
    pub oldest_seconds: f64,
    /// Pending among those that are due or will be.
    pub pending: i64,
    /// Unfinished among the same.
    pub unfinished: i64,
}

/// Due work of one source.
#[derive(Clone, Debug, FromRow)]
pub struct SourceBacklog {
    /// Empty where it is not known.
    pub source: String,
    /// Due, among the 10,000 that have been due for longest.
    pub due: i64,
}

/// Open follow-up tasks.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct TaskBacklog {
    /// Images still to be archived: results with links.
    pub archive: i64,
    /// Verifications whose objects are to be deleted.
    pub delete: i64,
    /// Seconds until the nearest deadline of links; negative: it has passed. Without tasks that wait
    /// for new links.
    pub nearest_deadline: Option<f64>,
}

/// The backlog of deliveries to webhook endpoints.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct DeliveryBacklog {
    pub active: i64,
    pub failing: i64,
    pub paused: i64,
    pub disabled: i64,
    pub dead_letters: i64,
    /// Since the oldest event happened that an active or failing endpoint still has to be sent.
    pub oldest_seconds: Option<f64>,
    /// The newest event.
    pub head: i64,
}

/// An invariant that a query can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Work that has been due for a minute is leased, if calls are allowed.
    DueWithoutOwner,
    /// The policy of every decision is stored.
    DecisionWithoutPolicy,
    /// Every decided verification has a decision.
    SettledWithoutDecision,
    /// Links are followed, or new ones requested, within a minute of their expiry.
    ImagePastDeadline,
}

impl Invariant {
    pub const ALL: [Self; 4] = [
        Self::DueWithoutOwner,
        Self::DecisionWithoutPolicy,
        Self::SettledWithoutDecision,
        Self::ImagePastDeadline,
    ];

    /// As in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DueWithoutOwner => "due-without-owner",
            Self::DecisionWithoutPolicy => "decision-without-policy",
            Self::SettledWithoutDecision => "settled-without-decision",
            Self::ImagePastDeadline => "image-past-deadline",
        }
    }

    fn query(self) -> RawSql {
        match self {
            Self::DueWithoutOwner => due_without_owner(),
            Self::DecisionWithoutPolicy => decision_without_policy(),
            Self::SettledWithoutDecision => settled_without_decision(),
            Self::ImagePastDeadline => image_past_deadline(),
        }
    }
}

/// Queries for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricsQueries<'a>(&'a Store);

impl Store {
    pub fn metrics_queries(&self) -> MetricsQueries<'_> {
        MetricsQueries(self)
    }
}

impl MetricsQueries<'_> {
    pub async fn backlog(self) -> Result<Backlog> {
        self.count(backlog()).await
    }

    pub async fn source_backlogs(self) -> Result<Vec<SourceBacklog>> {
        self.count_all(source_backlogs()).await
    }

    /// Verifications that are dead letters.
    pub async fn failed(self) -> Result<i64> {
        self.count(failed()).await.map(|(failed,)| failed)
    }

    pub async fn task_backlog(self) -> Result<TaskBacklog> {
        self.count(task_backlog()).await
    }

    /// The backlog of deliveries to webhook endpoints.
    pub async fn delivery_backlog(self) -> Result<DeliveryBacklog> {
        self.count(delivery_backlog()).await
    }

    /// How many violations one query finds.
    pub async fn violations(self, invariant: Invariant) -> Result<i64> {
        self.count(invariant.query()).await.map(|(violations,)| violations)
    }

    /// How far the account's granted calls reach beyond now; 0: there is room.
    pub async fn budget_ahead(self, account: &str) -> Result<f64> {
        let ahead: Option<f64> =
            self.0.run(|| budget_ahead(account).fetch_optional(&self.0.pool)).await?;
        Ok(ahead.unwrap_or(0.0))
    }

    async fn count<T>(self, query: RawSql) -> Result<T>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let counted = self.count_all(query).await?;
        counted.into_iter().next().ok_or(Error::Inconsistent("a count answers with no row"))
    }

    async fn count_all<T>(self, query: RawSql) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let rows = self.0.once(query.fetch_all(&self.0.pool)).await?;
        Ok(rows.iter().map(T::from_row).collect::<std::result::Result<_, _>>()?)
    }
}

statements! {
    limited backlog("1s") -> Backlog =
        "select count(*) filter (where due and not held) as waiting,
             count(*) filter (where due and held) as leased,
             coalesce(extract(epoch from verdict_now() - min(due_at) filter (where due)), 0)::float8
                 as oldest_seconds,
             count(*) filter (where state = 'pending') as pending,
             count(*) filter (where state = 'unfinished') as unfinished
         from (
             (select due_at, state, true as due, coalesce(lease_until > verdict_now(), false) as held
             from verifications where due_at <= verdict_now() order by due_at limit 10000)
             union all
             (select due_at, state, false, false
             from verifications where due_at > verdict_now() order by due_at limit 10000)
         ) as open";

    limited source_backlogs("1s") -> SourceBacklog =
        "select coalesce(source, '') as source, count(*) as due from (
             select source from verifications
             where due_at <= verdict_now() order by due_at limit 10000) as d
         group by 1";

    limited failed("1s") -> (i64,) =
        "select count(*) from (
             select from verifications where state = 'failed' order by id limit 10000) as failed";

    limited task_backlog("1s") -> TaskBacklog =
        "select count(*) filter (where kind = 'archive') as archive,
             count(*) filter (where kind in ('delete-images', 'retire-images')) as delete,
             extract(epoch from min(deadline) filter
                 (where kind = 'archive' and asked_again_at is null) - verdict_now())::float8
                 as nearest_deadline
         from (select kind, deadline, asked_again_at from tasks order by due_at limit 10000) as t";

    limited delivery_backlog("1s") -> DeliveryBacklog =
        concat!(
            "select count(*) filter (where e.status = 'active') as active,
             count(*) filter (where e.status = 'failing') as failing,
             count(*) filter (where e.status = 'paused') as paused,
             count(*) filter (where e.status = 'disabled') as disabled,
             (select count(*) from (
                 select from webhook_pending where state = 'dead' limit 10000) d) as dead_letters,
             extract(epoch from verdict_now() - min(o.at))::float8 as oldest_seconds,
             (select number from event_log) as head
         from webhook_endpoints e
         left join lateral (
             select least(e.cursor + 1, (
                 select min(p.number) from webhook_pending p
                 where p.endpoint_id = e.id and not p.redelivery and p.state <> 'dead')) as number
         ) n on e.status in ('active', 'failing')
         left join lateral (
             select at from events e where e.number = n.number and ",
            on_days_of!("n.number", "n.number"),
            ") o on true"
        );

    limited due_without_owner("1s") -> (i64,) =
        "select count(*) from (
             select lease_until from verifications
             where due_at <= verdict_now() - interval '1 minute'
             order by due_at limit 10000) as late
         where lease_until is null or lease_until <= verdict_now()";

    // The newest decisions: more than are made between two queries.
    limited decision_without_policy("1s") -> (i64,) =
        "select count(*) from (
             select policy_digest from decisions order by id desc limit 5000) as d
         where not exists (select from policies where digest = d.policy_digest)";

    limited settled_without_decision("1s") -> (i64,) =
        "select count(*) from (
             select verification_id from results order by id desc limit 2000) as r
         cross join lateral (
             select state, decision_id from verifications
             where id = r.verification_id limit 1) as v
         where v.state = 'decided'
             and not exists (select from decisions where id = v.decision_id)";

    limited image_past_deadline("1s") -> (i64,) =
        "select count(*) from (
             select kind, deadline, asked_again_at from tasks
             order by due_at limit 10000) as t
         where kind = 'archive' and asked_again_at is null
             and deadline < verdict_now() - interval '1 minute'";

    scalar budget_ahead(account: &str) -> f64 =
        "select extract(epoch from greatest(spent_to, verdict_now()) - verdict_now())::float8
         from budgets where account = $1 order by draws desc limit 1";
}
