//! Delivering to webhook endpoints. An endpoint is leased and fenced like other work. Its holder
//! stores its progress with one statement: cursor, exceptions to it and attempts, or nothing.
//!
//! A worker that claims an endpoint clears `due_at`. A process that needs a worker meanwhile sets
//! it again. So the holder sees that there is news, and releasing the endpoint does not lose it.

use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use super::error::{Error, Result};
use super::lease;
use super::lease::{LeaseKey, Leased};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::{EndpointId, LeaseToken};
use crate::domain::webhook_endpoint::{DeliveryOrder, EndpointStatus, Signing};

/// The leases on endpoints.
pub const LEASED: Leased = Leased { kind: "endpoint", renew, release: release_unfinished };

/// Maximum number of rows of the log that are loaded: more than a holder ever leaves behind.
const MOST_OF_LOG: i64 = 20_000;
/// Redeliveries that are loaded at once.
pub const MOST_REDELIVERIES: usize = 1_000;

/// One leased endpoint.
#[derive(Clone, Debug, FromRow)]
pub struct ClaimedEndpoint {
    pub id: Uuid,
    pub url: String,
    /// `None`: every type.
    pub types: Option<Vec<String>>,
    /// `None`: every scene.
    pub biz_types: Option<Vec<String>>,
    pub ordering: String,
    pub signing: String,
    pub max_in_flight: i32,
    pub requests_per_second: Option<f64>,
    pub status: String,
    pub revision: i32,
    pub lease_token: Uuid,
    pub cursor: i64,
    pub key_id: String,
    pub wrapped: Vec<u8>,
    pub secret: Vec<u8>,
    /// Signs as well.
    pub previous_secret: Option<Vec<u8>>,
    /// In seconds: how long it has been failing.
    pub failing_for: Option<f64>,
    pub failures: i32,
    /// In seconds.
    pub next_try_in: Option<f64>,
    pub warned: i16,
}

impl ClaimedEndpoint {
    pub fn lease(&self) -> LeaseKey {
        LeaseKey { id: self.id, token: LeaseToken(self.lease_token) }
    }

    pub fn status(&self) -> Result<EndpointStatus> {
        status(&self.status)
    }

    pub fn ordering(&self) -> Result<DeliveryOrder> {
        DeliveryOrder::parse(&self.ordering)
            .map_err(|_| Error::Inconsistent("webhook_endpoints.ordering"))
    }

    pub fn signing(&self) -> Result<Signing> {
        Signing::parse(&self.signing).map_err(|_| Error::Inconsistent("webhook_endpoints.signing"))
    }
}

/// Leased endpoints.
#[derive(Debug, Default)]
pub struct DeliveryClaim {
    pub endpoints: Vec<ClaimedEndpoint>,
    /// When the next endpoint that is not due yet becomes due.
    pub next_due: Option<Duration>,
}

/// An exception to the cursor, or a redelivery.
#[derive(Clone, Debug, FromRow)]
pub struct PendingRow {
    pub redelivery: bool,
    /// 0: a test.
    pub number: i64,
    pub verification_id: Option<Uuid>,
    pub test_id: Option<Uuid>,
    /// `retry`, `held` or `dead`. Only the oldest dead letter is among them.
    pub state: String,
    pub attempts: i32,
    pub first_at: OffsetDateTime,
    /// In seconds; negative: due.
    pub next_in: Option<f64>,
}

/// A row to be written.
#[derive(Clone, Debug, Serialize)]
pub struct PutPending {
    pub redelivery: bool,
    pub number: i64,
    pub verification_id: Option<Uuid>,
    pub state: &'static str,
    pub attempts: i32,
    /// In seconds.
    pub next_in: Option<f64>,
}

/// A row to be deleted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GonePending {
    pub redelivery: bool,
    pub number: i64,
}

/// One request to an endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct NewAttempt {
    /// `None`: a test.
    pub number: Option<i64>,
    pub event_id: String,
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    pub attempt: i32,
    pub status: Option<i32>,
    pub error: Option<&'static str>,
    pub latency_ms: i32,
    /// Sealed, in hex.
    pub answer: Option<String>,
    /// In seconds.
    pub next_in: Option<f64>,
}

/// The progress of a holder.
#[derive(Clone, Debug)]
pub struct DeliveryProgress {
    pub cursor: i64,
    /// The revision that was loaded. If the owner has changed the endpoint since, its status is
    /// kept.
    pub revision: i32,
    /// In seconds: how long it has been failing as a whole.
    pub failing_for: Option<f64>,
    pub failures: i32,
    pub warned: i16,
    /// In seconds.
    pub next_try_in: Option<f64>,
    pub disabled: Option<&'static str>,
    /// The time of events that report a change.
    pub at: OffsetDateTime,
    pub put: Vec<PutPending>,
    pub gone: Vec<GonePending>,
    pub attempts: Vec<NewAttempt>,
}

/// An endpoint after a commit.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Standing {
    pub status: String,
    pub revision: i32,
    /// The endpoint needs a worker that reads it again.
    pub has_news: bool,
}

impl Standing {
    pub fn status(&self) -> Result<EndpointStatus> {
        status(&self.status)
    }
}

fn status(text: &str) -> Result<EndpointStatus> {
    EndpointStatus::parse(text).ok_or(Error::Inconsistent("webhook_endpoints.status"))
}

/// Deliveries to webhook endpoints.
#[derive(Clone, Copy, Debug)]
pub struct WebhookDeliveries<'a>(&'a Store);

impl Store {
    /// Deliveries to webhook endpoints.
    pub fn webhook_deliveries(&self) -> WebhookDeliveries<'_> {
        WebhookDeliveries(self)
    }
}

impl WebhookDeliveries<'_> {
    /// Claims endpoints that have deliveries due, in random order. `token` must be fresh.
    pub async fn claim(
        self,
        most: usize,
        lease: Duration,
        token: LeaseToken,
    ) -> Result<DeliveryClaim> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // At most one worker holds an endpoint, judged by the database's clock. Where nothing is
        // due nothing is written. Lost in a crash it never was, so it needs no fsync.
        let endpoints: Vec<ClaimedEndpoint> =
            self.0.once(claim(most, lease.as_secs_f64(), token.0).fetch_all(&self.0.pool)).await?;
        let next_due: Option<f64> = if endpoints.is_empty() {
            self.0.run(|| next_due().fetch_one(&self.0.pool)).await?
        } else {
            None
        };
        let next_due = next_due.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.001, 60.0)));
        Ok(DeliveryClaim { endpoints, next_due })
    }

    /// The open rows beside the cursor: events of the log by number, the tests and redeliveries that
    /// can be sent first, and the oldest dead letter.
    pub async fn pending(self, id: EndpointId) -> Result<Vec<PendingRow>> {
        let redeliveries = i64::try_from(MOST_REDELIVERIES).unwrap_or(i64::MAX);
        self.0.run(|| find_pending(id.0, MOST_OF_LOG, redeliveries).fetch_all(&self.0.pool)).await
    }

    /// Writes progress; `None`: the lease was lost, and nothing was written.
    pub async fn commit(
        self,
        lease: LeaseKey,
        progress: &DeliveryProgress,
    ) -> Result<Option<Standing>> {
        // The token fences it. Repeated, it writes the same, except that attempts are listed twice.
        self.0
            .run(|| {
                commit((
                    lease.id,
                    lease.token.0,
                    progress.cursor,
                    progress.revision,
                    progress.failing_for,
                    progress.failures,
                    progress.warned,
                    progress.next_try_in,
                    progress.disabled,
                    progress.at,
                    Json(&progress.put[..]),
                    Json(&progress.gone[..]),
                    Json(&progress.attempts[..]),
                ))
                .fetch_optional(&self.0.pool)
            })
            .await
    }

    /// The status of a leased endpoint; `None`: the lease was lost.
    pub async fn standing(self, lease: LeaseKey) -> Result<Option<Standing>> {
        self.0.run(|| find_standing(lease.id, lease.token.0).fetch_optional(&self.0.pool)).await
    }

    /// Releases an endpoint. It is due after `due_in`, or earlier if that was requested meanwhile;
    /// `None`: when the log has grown.
    pub async fn release(self, lease: LeaseKey, due_in: Option<Duration>) -> Result<bool> {
        let due_in = due_in.map(|time| time.as_secs_f64());
        self.0.write_fenced(|| release(lease.id, lease.token.0, due_in)).await
    }

    /// Deletes attempts that began before this time, the oldest first, and returns how many. Those
    /// that are kept are at the end of the index.
    pub async fn delete_attempts(self, before: OffsetDateTime, most: i64) -> Result<u64> {
        self.0
            .run(|| async {
                delete_attempts(before, most)
                    .execute(&self.0.pool)
                    .await
                    .map(|done| done.rows_affected())
            })
            .await
    }
}

statements! {
    row claim(most: i64, lease: f64, token: Uuid) -> ClaimedEndpoint =
        include_str!("sql/webhook_deliveries_claim.sql");

    scalar next_due() -> Option<f64> =
        "select extract(epoch from min(due_at) - verdict_now())::float8 from webhook_endpoints
         where due_at > verdict_now()";

    row find_pending(id: Uuid, log: i64, redeliveries: i64) -> PendingRow =
        "(select redelivery, number, verification_id, test_id, state, attempts, first_at,
             extract(epoch from next_at - verdict_now())::float8 as next_in
         from webhook_pending where endpoint_id = $1 and not redelivery and state <> 'dead'
         order by number limit $2)
         union all
         (select redelivery, number, verification_id, test_id, state, attempts, first_at,
             extract(epoch from next_at - verdict_now())::float8
         from (
             -- None is sent before the earlier ones of its line.
             select p.*, max(p.next_at) over (
                 partition by case when e.ordering <> 'strict' then p.verification_id end,
                     case when e.ordering <> 'strict' and p.verification_id is null
                         then p.number end
                 order by p.number) as sent_at
             from webhook_pending p join webhook_endpoints e on e.id = p.endpoint_id
             where p.endpoint_id = $1 and p.redelivery and p.state <> 'dead') as redeliveries
         order by sent_at, number limit $3)
         union all
         (select redelivery, number, verification_id, test_id, state, attempts, first_at, null
         from webhook_pending where endpoint_id = $1 and not redelivery and state = 'dead'
         order by number limit 1)";

    row commit((
        id: Uuid,
        token: Uuid,
        cursor: i64,
        revision: i32,
        failing_for: Option<f64>,
        failures: i32,
        warned: i16,
        next_try_in: Option<f64>,
        disabled: Option<&str>,
        at: OffsetDateTime,
        put: Json<&[PutPending]>,
        gone: Json<&[GonePending]>,
        attempts: Json<&[NewAttempt]>,
    )) -> Standing = include_str!("sql/webhook_deliveries_commit.sql");

    row find_standing(id: Uuid, token: Uuid) -> Standing =
        "select status, revision, due_at is not null as has_news from webhook_endpoints
         where id = $1 and lease_token = $2";

    execute release(id: Uuid, token: Uuid, due_in: Option<f64>) =
        "update webhook_endpoints set lease_token = null, lease_until = null,
             due_at = least(due_at, verdict_now() + make_interval(secs => $3))
         where id = $1 and lease_token = $2";

    scalar renew(ids: &[Uuid], tokens: &[Uuid], lease: f64) -> Uuid =
        lease::renew!("webhook_endpoints", "id");

    // Its claim cleared `due_at`.
    execute release_unfinished(ids: &[Uuid], tokens: &[Uuid]) =
        "update webhook_endpoints e
         set lease_token = null, lease_until = null, due_at = verdict_now()
         from unnest($1::uuid[], $2::uuid[]) as h (id, token)
         where e.id = any ($1) and e.id = h.id and e.lease_token = h.token";

    execute delete_attempts(before: OffsetDateTime, most: i64) =
        "delete from webhook_attempts where id = any (array(
             select id from (
                 select id, at from webhook_attempts
                 where number is null or number <> all (array(
                     select e.number from legal_holds h
                     join events e on e.verification_id = h.verification_id
                     where h.lifted_at is null))
                 order by id limit $2) as oldest
             where at < $1))";
}
