//! Requested deliveries: tests and redeliveries. A worker makes them.

use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::events::on_days_of;
use super::pool::Store;
use super::statements::statements;
use super::transaction::{Done, Transaction};
use super::webhook_endpoints::{lock_endpoint, make_endpoint_due, record};
use crate::domain::ids::EndpointId;

/// Maximum number of events that one request redelivers.
pub const MOST_REDELIVERED: i64 = 100_000;

/// The events to redeliver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Redelivery {
    /// The event of this number.
    Event(i64),
    /// Numbers, both included.
    Numbers { from: i64, to: i64 },
    /// Numbers, both included, of events that happened in this time.
    Times { from: i64, to: i64, since: OffsetDateTime, until: OffsetDateTime },
    /// All dead letters.
    Failed,
}

/// The outcome of a request for redeliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// So many events will be delivered.
    Events(i64),
    /// More than [`MOST_REDELIVERED`]: none will be.
    TooMany,
    /// There is no such endpoint.
    Unknown,
}

/// Requested deliveries.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRedeliveries<'a>(&'a Store);

impl Store {
    /// Requested deliveries.
    pub fn webhook_redeliveries(&self) -> WebhookRedeliveries<'_> {
        WebhookRedeliveries(self)
    }
}

impl WebhookRedeliveries<'_> {
    /// Requests one test, whatever the status, on record, and returns the id of its event. While a
    /// test waits, no second one is added. `None`: there is no such endpoint.
    pub async fn test(
        self,
        id: EndpointId,
        test: Uuid,
        doing: &AuditContext,
    ) -> Result<Option<Uuid>> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                if lock_endpoint(&mut transaction, id).await?.is_none() {
                    return Ok(None);
                }
                let added = add_test(id.0, test).execute(&mut transaction).await?;
                let waits = find_test(id.0).fetch_one(&mut transaction).await?;
                if added.rows_affected() > 0 {
                    make_endpoint_due(&mut transaction, id).await?;
                    record(&mut transaction, "webhook.test", id, None, doing).await?;
                }
                transaction.commit().await?;
                Ok(Some(waits))
            })
            .await
    }

    /// Requests redelivery of events that pass the endpoint's filters, on record.
    pub async fn redeliver(
        self,
        id: EndpointId,
        what: Redelivery,
        doing: &AuditContext,
    ) -> Result<Redelivered> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                if lock_endpoint(&mut transaction, id).await?.is_none() {
                    return Ok(Redelivered::Unknown);
                }
                let count = add_redeliveries(&mut transaction, id, what).await?;
                if count > MOST_REDELIVERED {
                    return Ok(Redelivered::TooMany);
                }
                make_endpoint_due(&mut transaction, id).await?;
                let details = Some(serde_json::json!({ "count": count, "of": what.word() }));
                record(&mut transaction, "webhook.redeliver", id, details, doing).await?;
                transaction.commit().await?;
                Ok(Redelivered::Events(count))
            })
            .await
    }
}

impl Redelivery {
    /// For the audit.
    const fn word(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Numbers { .. } => "sequences",
            Self::Times { .. } => "time",
            Self::Failed => "failed",
        }
    }
}

/// Adds at most one more than [`MOST_REDELIVERED`], and returns how many.
async fn add_redeliveries(
    transaction: &mut Transaction,
    id: EndpointId,
    what: Redelivery,
) -> Done<i64> {
    let most = MOST_REDELIVERED + 1;
    let done = match what {
        Redelivery::Event(number) => {
            redeliver_range((id.0, number, number, None, None, most)).execute(transaction).await?
        }
        Redelivery::Numbers { from, to } => {
            redeliver_range((id.0, from, to, None, None, most)).execute(transaction).await?
        }
        Redelivery::Times { from, to, since, until } => {
            redeliver_range((id.0, from, to, Some(since), Some(until), most))
                .execute(transaction)
                .await?
        }
        Redelivery::Failed => redeliver_failed(id.0, most).execute(transaction).await?,
    };
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Redeliveries start their schedule again.
macro_rules! again {
    () => {
        " on conflict (endpoint_id, redelivery, number) do update
             set state = 'retry', attempts = 0, next_at = verdict_now()"
    };
}

statements! {
    execute add_test(id: Uuid, test: Uuid) =
        "insert into webhook_pending (endpoint_id, redelivery, number, test_id, state, first_at,
             next_at)
         values ($1, true, 0, $2, 'retry', verdict_now(), verdict_now())
         on conflict (endpoint_id, redelivery, number) do nothing";

    scalar find_test(id: Uuid) -> Uuid =
        "select test_id from webhook_pending
         where endpoint_id = $1 and redelivery and number = 0";

    execute redeliver_range((
        id: Uuid,
        first: i64,
        last: i64,
        since: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
        most: i64,
    )) =
        concat!(
            "insert into webhook_pending (endpoint_id, redelivery, number, verification_id, state,
                 first_at, next_at)
             select w.id, true, e.number, e.verification_id, 'retry', verdict_now(), verdict_now()
             from webhook_endpoints w, events e
                 left join verifications v on v.id = e.verification_id
             where w.id = $1 and e.number between $2 and $3 and ",
            on_days_of!("$2::bigint", "$3::bigint"),
            " and ($4::timestamptz is null or e.at >= $4)
                 and ($5::timestamptz is null or e.at < $5)
                 and (w.types is null or e.kind = any (w.types))
                 and (w.biz_types is null
                     or coalesce(v.biz_type, e.details ->> 'biz_type') = any (w.biz_types))
                 and coalesce(e.details ->> 'endpoint_id', '') <> w.id::text
             order by e.logged_on, e.number limit $6",
            again!()
        );

    execute redeliver_failed(id: Uuid, most: i64) =
        concat!(
            "insert into webhook_pending (endpoint_id, redelivery, number, verification_id, state,
                 first_at, next_at)
             select endpoint_id, true, number, verification_id, 'retry', verdict_now(),
                 verdict_now()
             from webhook_pending
             where endpoint_id = $1 and not redelivery and state = 'dead'
             order by number limit $2",
            again!()
        );
}
