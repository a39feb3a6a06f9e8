//! Lists of verifications, newest first, and making many due again.
//!
//! Statements are put together from the filters that are there: each combination is planned on its
//! own and walks an index that begins with one of them, in the order of ids, from the cursor on.
//! What was inserted meanwhile is newer than the cursor and moves nothing.

use std::time::Duration;

use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Execute, QueryBuilder, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use super::verifications::{COLUMNS, verification};
use crate::domain::callback::{BizId, BizType, CertifyId};
use crate::domain::ids::{VerificationId, earliest};
use crate::domain::verification::{State, Verification};
use policy::decision::Outcome;
use policy::product::Product;

/// What a list is narrowed to; everything may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Scene.
    pub biz_type: Option<BizType>,
    /// Task.
    pub biz_id: Option<BizId>,
    /// The caller's own reference.
    pub reference: Option<String>,
    /// Where it stands.
    pub state: Option<State>,
    /// Of the standing decision.
    pub outcome: Option<Outcome>,
    /// First callback at that moment or later.
    pub created_after: Option<OffsetDateTime>,
    /// First callback before that moment.
    pub created_before: Option<OffsetDateTime>,
    /// The provider's code in the newest answer.
    pub error_code: Option<String>,
    /// Of one of these scenes; `None`: of any.
    pub scenes: Option<Vec<BizType>>,
    pub product: Option<Product>,
    /// The provider's id of one verification.
    pub certify_id: Option<CertifyId>,
}

/// Most that one call makes due again: its rows stay locked meanwhile, and each is put on record.
pub const MAX_REFETCHED: i64 = 500;

/// Lists of verifications, and refetches of many.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a>(&'a Store);

impl Store {
    /// Lists of verifications, and refetches of many.
    pub fn listing(&self) -> Listing<'_> {
        Listing(self)
    }
}

impl Listing<'_> {
    /// The next verifications before a cursor, newest first.
    pub async fn list(
        self,
        filter: &Filter,
        before: Option<VerificationId>,
        limit: i64,
    ) -> Result<Vec<Verification>> {
        let rows = self
            .0
            .run(|| async { page(filter, before, limit).build().fetch_all(&self.0.pool).await })
            .await?;
        let mut page: Vec<Verification> = rows.iter().map(verification).collect::<Result<_>>()?;
        self.0.verifications().explain_failures(page.iter_mut()).await?;
        Ok(page)
    }

    /// Counts the verifications that a refetch at `at` would make due, up to `most`.
    pub async fn count_refetchable(
        self,
        filter: &Filter,
        at: OffsetDateTime,
        most: i64,
    ) -> Result<i64> {
        self.0
            .run(|| async {
                count(filter, at, most).build_query_scalar().fetch_one(&self.0.pool).await
            })
            .await
    }

    /// Makes verifications due again that were given up (`failed`, `expired`), oldest first, at
    /// most [`MAX_REFETCHED`]; answers which. Those that were given up after `doing.at` are left
    /// alone: whoever goes on until none is left must come to an end.
    pub async fn refetch_many(
        self,
        filter: &Filter,
        window: Duration,
        doing: &AuditContext,
    ) -> Result<Vec<VerificationId>> {
        // Repeated, it finds others.
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let mut chosen = choose(filter, doing.at, MAX_REFETCHED);
                let chosen: Vec<Uuid> =
                    chosen.build_query_scalar().fetch_all(&mut transaction).await?;
                let locked = lock(&chosen).fetch_all(&mut transaction).await?;
                let (at, purpose) = (doing.at, doing.purpose.as_deref());
                // The record comes first: the database refuses to reopen what is not on record.
                record_refetches(at, &doing.actor, purpose, &locked)
                    .execute(&mut transaction)
                    .await?;
                make_due(&locked, at, window.as_secs_f64()).execute(&mut transaction).await?;
                transaction.commit().await?;
                Ok(locked.into_iter().map(VerificationId).collect())
            })
            .await
    }
}

impl Listing<'_> {
    /// Makes those of these verifications due again that are given up; answers how many. What a
    /// person closed is left alone: that is reopened one at a time, by name.
    pub async fn refetch_chosen(
        self,
        ids: &[VerificationId],
        window: Duration,
        context: &AuditContext,
    ) -> Result<u64> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut refetched = 0;
        for ids in ids.chunks(usize::try_from(MAX_REFETCHED).unwrap_or(1)) {
            refetched += self
                .0
                .once(async {
                    let mut transaction = self.0.pool.begin().await?;
                    let locked = lock_chosen(ids).fetch_all(&mut transaction).await?;
                    let (at, purpose) = (context.at, context.purpose.as_deref());
                    // The record comes first, as above.
                    record_refetches(at, &context.actor, purpose, &locked)
                        .execute(&mut transaction)
                        .await?;
                    let done = make_due(&locked, at, window.as_secs_f64())
                        .execute(&mut transaction)
                        .await?;
                    transaction.commit().await?;
                    Ok(done.rows_affected())
                })
                .await?;
        }
        Ok(refetched)
    }
}

/// One statement as it is built for some filters.
pub struct Built {
    /// `listing::page`, say.
    pub name: &'static str,
    /// The text.
    pub sql: String,
    /// Reads a row as the code does that runs the statement.
    pub read: fn(&PgRow) -> Result<()>,
}

/// The statements with these filters, for whoever wants to check them or to see their plans: the
/// list first.
pub fn built(filter: &Filter, before: Option<VerificationId>) -> [Built; 3] {
    let moment = OffsetDateTime::UNIX_EPOCH;
    let text = |mut query: QueryBuilder<Postgres>| query.build().sql().as_str().to_owned();
    let read_id = |row: &PgRow| Ok(row.try_get::<Uuid, _>(0).map(drop)?);
    let read_count = |row: &PgRow| Ok(row.try_get::<i64, _>(0).map(drop)?);
    [
        Built {
            name: "listing::page",
            sql: text(page(filter, before, 1)),
            read: |row| verification(row).map(drop),
        },
        Built { name: "listing::count", sql: text(count(filter, moment, 1)), read: read_count },
        Built { name: "listing::choose", sql: text(choose(filter, moment, 1)), read: read_id },
    ]
}

fn count(filter: &Filter, at: OffsetDateTime, most: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from (");
    given_up(&mut query, filter, at, most);
    query.push(") as chosen");
    query
}

fn choose(filter: &Filter, at: OffsetDateTime, most: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::<Postgres>::new("");
    given_up(&mut query, filter, at, most);
    query
}

fn page(filter: &Filter, before: Option<VerificationId>, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::<Postgres>::new("");
    let Some(scenes) = &filter.scenes else {
        push_page(&mut query, filter, before, limit);
        return query;
    };
    // A page of each scene, merged: one walk over all scenes could pass over millions of others.
    for (n, scene) in scenes.iter().enumerate() {
        query.push(if n == 0 { "select * from ((" } else { ") union all (" });
        let filter = Filter { biz_type: Some(scene.clone()), scenes: None, ..filter.clone() };
        push_page(&mut query, &filter, before, limit);
    }
    query.push(")) pages order by id desc limit ").push_bind(limit);
    query
}

fn push_page(
    query: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    before: Option<VerificationId>,
    limit: i64,
) {
    let walk = Walk::of(filter);
    query.push("select ").push(COLUMNS);
    let id = match walk {
        // What stands no more is passed over.
        Walk::Outcomes => {
            query.push(
                " from decisions d cross join lateral (
                    select * from verifications
                    where id = d.verification_id and decision_id = d.id limit 1) v
                  where true",
            );
            "d.verification_id"
        }
        // The page is cut out of them before its decisions are looked up.
        Walk::Due => {
            query.push(" from (select * from verifications v where due_at is not null");
            "v.id"
        }
        Walk::Scene | Walk::Others => {
            query.push(WITH_DECISION).push(" where true");
            "v.id"
        }
    };
    narrow(query, filter, walk, id);
    if let Some(before) = before {
        query.push(" and ").push(id).push(" < ").push_bind(before.0);
    }
    query.push(match walk {
        Walk::Scene => " order by v.biz_type desc, v.id desc limit ",
        // As text, which is the same order and which no index has: left to itself the planner would
        // look for the few among everything, from the newest on.
        Walk::Due => " order by v.id::text desc limit ",
        Walk::Outcomes => " order by d.verification_id desc limit ",
        Walk::Others => " order by v.id desc limit ",
    });
    query.push_bind(limit);
    if walk == Walk::Due {
        query.push(
            ") v left join lateral (
                select * from decisions where id = v.decision_id limit 1) d on true
             order by v.id desc",
        );
    }
}

const WITH_DECISION: &str = " from verifications v left join lateral (
    select * from decisions where id = v.decision_id limit 1) d on true";

/// Which index a list walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// Decisions with an outcome that is not the usual one.
    Outcomes,
    /// What is due, now or later, which is sorted: few, or a backlog.
    Due,
    /// One scene. Left to itself the planner takes scenes for equally large, and would look for a
    /// small one's rows among everything; a range and an order by scene leave it one index.
    Scene,
    /// The planner's choice: a key, a reference, what was given up, or everything.
    Others,
}

impl Walk {
    fn of(filter: &Filter) -> Self {
        let named = filter.reference.is_some()
            || filter.certify_id.is_some()
            || (filter.biz_type.is_some() && filter.biz_id.is_some());
        match (filter.outcome, filter.state) {
            _ if named => Self::Others,
            (_, Some(State::Pending | State::Unfinished)) if filter.outcome.is_none() => Self::Due,
            (_, Some(State::Failed | State::Expired | State::Erased)) => Self::Others,
            (Some(outcome), _) if outcome != Outcome::Approve => Self::Outcomes,
            _ if filter.biz_type.is_some() => Self::Scene,
            _ => Self::Others,
        }
    }
}

/// Those given up that fit, oldest first.
fn given_up(query: &mut QueryBuilder<Postgres>, filter: &Filter, at: OffsetDateTime, most: i64) {
    query.push("select v.id from verifications v where v.updated_at <= ").push_bind(at);
    narrow(query, filter, Walk::Others, "v.id");
    if let Some(scenes) = &filter.scenes {
        let scenes: Vec<String> = scenes.iter().map(|scene| scene.as_str().to_owned()).collect();
        query.push(" and v.biz_type = any (").push_bind(scenes).push(")");
    }
    // What a person closed is reopened one at a time, by name.
    query.push(
        " and not (v.closed and coalesce((
            select d.decided_by = 'person' from decisions d where d.id = v.decision_id), false))",
    );
    if let Some(code) = &filter.error_code {
        query.push(
            " and exists (select from results r where r.id = v.result_id and r.error_code = ",
        );
        query.push_bind(code).push(")");
    }
    query.push(" order by v.id limit ").push_bind(most);
}

/// States, outcomes and products are words of our own and stand in the text: an index over some of
/// them is not considered for a parameter.
fn narrow(query: &mut QueryBuilder<Postgres>, filter: &Filter, walk: Walk, id: &str) {
    if let Some(biz_type) = &filter.biz_type {
        if walk == Walk::Scene {
            query.push(" and v.biz_type >= ").push_bind(biz_type.as_str());
            query.push(" and v.biz_type <= ").push_bind(biz_type.as_str());
        } else {
            query.push(" and v.biz_type = ").push_bind(biz_type.as_str());
        }
    }
    if let Some(biz_id) = &filter.biz_id {
        query.push(" and v.biz_id = ").push_bind(biz_id.as_str());
    }
    if let Some(reference) = &filter.reference {
        query.push(" and v.reference = ").push_bind(reference);
    }
    if let Some(certify_id) = &filter.certify_id {
        query.push(" and v.certify_id = ").push_bind(certify_id.as_str());
    }
    if let Some(product) = filter.product {
        query.push(" and v.product = '").push(product.as_str()).push("'");
    }
    if let Some(state) = filter.state {
        query.push(" and v.state = '").push(state.as_str()).push("'");
    }
    if let Some(outcome) = filter.outcome {
        query.push(" and d.outcome = '").push(outcome.as_str()).push("'");
    }
    // Ids begin with the time they were made at, to the millisecond: the walk begins there.
    if let Some(after) = filter.created_after {
        query.push(" and ").push(id).push(" >= ").push_bind(earliest(after));
        query.push(" and v.created_at >= ").push_bind(after);
    }
    if let Some(before) = filter.created_before {
        let end: Uuid = earliest(before + time::Duration::milliseconds(1));
        query.push(" and ").push(id).push(" < ").push_bind(end);
        query.push(" and v.created_at < ").push_bind(before);
    }
}

statements! {
    /// In the order in which accepting locks, so that the two cannot deadlock; one whose state has
    /// changed meanwhile is left alone.
    scalar lock(ids: &[Uuid]) -> Uuid =
        "select id from verifications
         where id = any ($1) and state in ('failed', 'expired')
         order by biz_type, biz_id for no key update";

    scalar lock_chosen(ids: &[Uuid]) -> Uuid =
        "select id from verifications v
         where id = any ($1) and state in ('failed', 'expired')
             and not (closed and coalesce((
                 select d.decided_by = 'person' from decisions d where d.id = v.decision_id), false))
         order by biz_type, biz_id for no key update";

    execute record_refetches(
        at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        ids: &[Uuid],
    ) =
        "insert into audit (at, actor, action, subject, purpose)
         select $1, $2, 'verification.refetch', id, $3 from unnest($4::uuid[]) as id";

    execute make_due(ids: &[Uuid], at: OffsetDateTime, window: f64) =
        "update verifications
         set state = 'pending', closed = false, failures = 0, polls = 0,
             callbacks = callbacks + 1, due_at = verdict_now(),
             updated_at = greatest(updated_at, $2),
             give_up_at = verdict_now() + make_interval(secs => $3)
         where id = any ($1)";
}
