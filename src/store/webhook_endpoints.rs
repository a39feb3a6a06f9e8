//! Webhook endpoints: adding, changing and removing them, and the requests to them.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::ids::EndpointId;

/// One endpoint, without its secrets.
#[derive(Clone, Debug, FromRow)]
pub struct WebhookEndpoint {
    pub id: Uuid,
    pub url: String,
    pub description: String,
    /// `None`: every type.
    pub types: Option<Vec<String>>,
    /// `None`: every scene, and events without one.
    pub biz_types: Option<Vec<String>>,
    pub ordering: String,
    pub signing: String,
    pub max_in_flight: i32,
    pub requests_per_second: Option<f64>,
    pub status: String,
    /// Number up to which everything is delivered, passed over or pending.
    pub cursor: i64,
    /// Number up to which everything is acknowledged or passed over.
    pub acknowledged: i64,
    /// `acknowledged` in the numbers of the present epoch; 0: before it began.
    pub acknowledged_through: i64,
    /// Events after the cursor.
    pub behind: i64,
    /// Events at the end of their schedule, counted up to [`MOST_COUNTED`].
    pub dead_letters: i64,
    pub public_key: Option<Vec<u8>>,
    /// When the previous secret stops signing; `None`: there is none that signs.
    pub previous_until: Option<OffsetDateTime>,
    pub failing_since: Option<OffsetDateTime>,
    pub last_status: Option<i32>,
    pub next_try_at: Option<OffsetDateTime>,
    /// `gone` or `failing`.
    pub disabled_because: Option<String>,
    pub created_at: OffsetDateTime,
    pub created_by: String,
    pub updated_at: OffsetDateTime,
}

/// Dead letters that are counted.
pub const MOST_COUNTED: i64 = 10_000;

/// A new endpoint, its values checked.
#[derive(Clone, Debug)]
pub struct NewEndpoint<'a> {
    pub id: EndpointId,
    pub url: &'a str,
    pub description: &'a str,
    pub types: Option<&'a [String]>,
    pub biz_types: Option<&'a [String]>,
    pub ordering: &'static str,
    pub signing: &'static str,
    pub max_in_flight: i32,
    pub requests_per_second: Option<f64>,
    /// Delivers events after this number.
    pub cursor: i64,
    /// The data key: which key wraps it, and its wrapped form.
    pub key: (&'a str, &'a [u8]),
    /// Sealed.
    pub secret: &'a [u8],
    pub public_key: Option<&'a [u8]>,
}

/// A change of an endpoint; `None` keeps the value.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    pub url: Option<String>,
    pub description: Option<String>,
    /// Inside, `None`: every type.
    pub types: Option<Limit>,
    /// Inside, `None`: every scene.
    pub biz_types: Option<Limit>,
    pub ordering: Option<&'static str>,
    pub max_in_flight: Option<i32>,
    pub requests_per_second: Option<Rate>,
}

/// A list that something is limited to, or no limit.
pub type Limit = Option<Vec<String>>;
/// Requests per second, or no limit.
pub type Rate = Option<f64>;

/// A new secret, sealed, and how long the old one signs as well.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    pub secret: &'a [u8],
    pub public_key: Option<&'a [u8]>,
    pub keep_seconds: i64,
}

/// One request to an endpoint.
#[derive(Clone, Debug, FromRow)]
pub struct WebhookAttempt {
    pub id: i64,
    /// Counted within its epoch; `None`: a test.
    pub sequence: Option<i64>,
    pub event_id: String,
    pub at: OffsetDateTime,
    pub attempt: i32,
    /// `None`: no answer came.
    pub status: Option<i32>,
    pub error: Option<String>,
    pub latency_ms: i32,
    /// Sealed. `None` as well once the person of the event is erased: receivers may repeat the
    /// reference.
    pub answer: Option<Vec<u8>>,
    pub next_at: Option<OffsetDateTime>,
}

/// Webhook endpoints.
#[derive(Clone, Copy, Debug)]
pub struct WebhookEndpoints<'a>(&'a Store);

impl Store {
    /// Webhook endpoints.
    pub fn webhook_endpoints(&self) -> WebhookEndpoints<'_> {
        WebhookEndpoints(self)
    }
}

impl WebhookEndpoints<'_> {
    /// Adds an endpoint, on record, and returns it as it was added; `None`: there are `most` already.
    pub async fn add(
        self,
        new: &NewEndpoint<'_>,
        most: u32,
        doing: &AuditContext,
    ) -> Result<Option<WebhookEndpoint>> {
        let details = serde_json::json!({
            "origin": origin(new.url), "types": new.types, "biz_types": new.biz_types,
            "signing": new.signing,
        });
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let added = add((
                    new.id.0,
                    new.url,
                    new.description,
                    new.types,
                    new.biz_types,
                    new.ordering,
                    new.signing,
                    new.max_in_flight,
                    new.requests_per_second,
                    new.cursor,
                    new.key.0,
                    new.key.1,
                    new.secret,
                    new.public_key,
                    doing.at,
                    &doing.actor,
                    i64::from(most),
                ))
                .execute(&mut transaction)
                .await?;
                if added.rows_affected() == 0 {
                    return Ok(None);
                }
                record(&mut transaction, "webhook.create", new.id, Some(details), doing).await?;
                // Before the commit: if this fails, there is no endpoint whose secret nobody knows.
                let added = find(new.id.0, MOST_COUNTED).fetch_one(&mut transaction).await?;
                transaction.commit().await?;
                Ok(Some(added))
            })
            .await
    }

    /// All endpoints, oldest first.
    pub async fn list(self) -> Result<Vec<WebhookEndpoint>> {
        self.0.run(|| list(MOST_COUNTED).fetch_all(&self.0.pool)).await
    }

    pub async fn find(self, id: EndpointId) -> Result<Option<WebhookEndpoint>> {
        self.0.run(|| find(id.0, MOST_COUNTED).fetch_optional(&self.0.pool)).await
    }

    /// Changes an endpoint, on record; `false`: there is none.
    pub async fn change(
        self,
        id: EndpointId,
        change: &EndpointChange,
        doing: &AuditContext,
    ) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let changed = edit((
                    id.0,
                    change.url.as_deref(),
                    change.description.as_deref(),
                    change.types.is_some(),
                    change.types.as_ref().and_then(Option::as_deref),
                    change.biz_types.is_some(),
                    change.biz_types.as_ref().and_then(Option::as_deref),
                    change.ordering,
                    change.max_in_flight,
                    change.requests_per_second.is_some(),
                    change.requests_per_second.flatten(),
                    doing.at,
                ))
                .execute(&mut transaction)
                .await?;
                if changed.rows_affected() == 0 {
                    return Ok(false);
                }
                let details = Some(change.details());
                record(&mut transaction, "webhook.change", id, details, doing).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Removes an endpoint and its data key, on record; `false`: there is none. Its recorded
    /// answers can no longer be read.
    pub async fn remove(self, id: EndpointId, doing: &AuditContext) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let removed = remove(id.0).fetch_optional(&mut transaction).await?;
                let Some(url) = removed else { return Ok(false) };
                let details = serde_json::json!({ "origin": origin(&url) });
                record(&mut transaction, "webhook.remove", id, Some(details), doing).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Stops deliveries, on record; `false`: there is no such endpoint. One that is paused already
    /// is neither changed nor recorded again.
    pub async fn pause(self, id: EndpointId, doing: &AuditContext) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let Some(status) = lock_endpoint(&mut transaction, id).await? else {
                    return Ok(false);
                };
                if status != "paused" {
                    pause(id.0, doing.at).execute(&mut transaction).await?;
                    let details = Some(serde_json::json!({ "was": status }));
                    record(&mut transaction, "webhook.pause", id, details, doing).await?;
                }
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Resumes deliveries at once from the same event, on record; `false`: there is no such
    /// endpoint.
    pub async fn resume(self, id: EndpointId, doing: &AuditContext) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let Some(status) = lock_endpoint(&mut transaction, id).await? else {
                    return Ok(false);
                };
                resume(id.0, doing.at).execute(&mut transaction).await?;
                retry_now(id.0).execute(&mut transaction).await?;
                let details = Some(serde_json::json!({ "was": status }));
                record(&mut transaction, "webhook.resume", id, details, doing).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Replaces the current secret, on record. The old one signs as well for a while; returns until
    /// when. `None`: there is no such endpoint.
    pub async fn rotate(
        self,
        id: EndpointId,
        rotation: Rotation<'_>,
        doing: &AuditContext,
    ) -> Result<Option<Rotated>> {
        let Rotation { secret, public_key, keep_seconds } = rotation;
        #[expect(clippy::cast_precision_loss, reason = "at most a month")]
        let keep = keep_seconds as f64;
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let rotated = rotate(id.0, secret, public_key, keep, doing.at)
                    .fetch_optional(&mut transaction)
                    .await?;
                if rotated.is_some() {
                    let details = Some(serde_json::json!({ "keep_seconds": keep_seconds }));
                    record(&mut transaction, "webhook.rotate-secret", id, details, doing).await?;
                    transaction.commit().await?;
                }
                Ok(rotated)
            })
            .await
    }

    /// Requests to one, newest first, before this one.
    pub async fn attempts(
        self,
        id: EndpointId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<WebhookAttempt>> {
        let before = before.unwrap_or(i64::MAX);
        self.0.run(|| list_attempts(id.0, before, limit).fetch_all(&self.0.pool)).await
    }
}

/// The outcome of a rotation.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Rotated {
    /// When the previous secret stops signing; `None`: it already has.
    pub previous_until: Option<OffsetDateTime>,
}

impl EndpointChange {
    /// For the audit: which members were changed, and of a URL only its origin.
    fn details(&self) -> serde_json::Value {
        let mut changed = serde_json::Map::new();
        if let Some(url) = &self.url {
            changed.insert("origin".to_owned(), origin(url).into());
        }
        if let Some(types) = &self.types {
            changed.insert("types".to_owned(), serde_json::json!(types));
        }
        if let Some(scenes) = &self.biz_types {
            changed.insert("biz_types".to_owned(), serde_json::json!(scenes));
        }
        let rest = [
            ("description", self.description.is_some()),
            ("ordering", self.ordering.is_some()),
            ("max_in_flight", self.max_in_flight.is_some()),
            ("requests_per_second", self.requests_per_second.is_some()),
        ];
        let rest: Vec<&str> = rest.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        if !rest.is_empty() {
            changed.insert("also".to_owned(), serde_json::json!(rest));
        }
        changed.into()
    }
}

/// The rest of a URL may hold a token of the receiver.
fn origin(url: &str) -> String {
    url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Locks an endpoint and returns its status.
pub(super) async fn lock_endpoint(
    transaction: &mut Transaction,
    id: EndpointId,
) -> Done<Option<String>> {
    lock(id.0).fetch_optional(transaction).await
}

/// Makes an endpoint due now, so that a worker claims it.
pub(super) async fn make_endpoint_due(transaction: &mut Transaction, id: EndpointId) -> Done<()> {
    make_due(id.0).execute(transaction).await?;
    Ok(())
}

/// Writes an operation on an endpoint to the audit.
pub(super) async fn record(
    transaction: &mut Transaction,
    action: &str,
    id: EndpointId,
    details: Option<serde_json::Value>,
    doing: &AuditContext,
) -> Done<()> {
    let details = details.map(|details| details.to_string());
    add_record(doing.at, &doing.actor, action, id.0, doing.purpose.as_deref(), details.as_deref())
        .execute(transaction)
        .await?;
    Ok(())
}

/// An endpoint as callers see it. `$2` dead letters are counted at most, or `$1` in a list.
macro_rules! endpoints {
    ($counted:literal, $rest:literal) => {
        concat!(
            "select e.id, e.url, e.description, e.types, e.biz_types, e.ordering, e.signing,
                 e.max_in_flight, e.requests_per_second, e.status, e.cursor, a.acknowledged,
                 greatest(a.acknowledged - epoch.after, 0) as acknowledged_through,
                 greatest(log.number - e.cursor, 0) as behind,
                 (select count(*) from (
                     select from webhook_pending p
                     where p.endpoint_id = e.id and not p.redelivery and p.state = 'dead'
                     limit ",
            $counted,
            ") d) as dead_letters,
                 e.public_key,
                 case when e.previous_until > verdict_now() then e.previous_until end
                     as previous_until,
                 e.failing_since, e.last_status, e.next_try_at, e.disabled_because,
                 e.created_at, e.created_by, e.updated_at
             from webhook_endpoints e
                 cross join (select number from event_log) log
                 cross join (select after from event_epochs order by after desc limit 1) epoch
                 cross join lateral (select least(e.cursor, (
                     select min(p.number) - 1 from webhook_pending p
                     where p.endpoint_id = e.id and not p.redelivery)) as acknowledged) a ",
            $rest
        )
    };
}

statements! {
    // Requests at the same time may go beyond the limit by a few, and none waits for another.
    execute add((
        id: Uuid,
        url: &str,
        description: &str,
        types: Option<&[String]>,
        biz_types: Option<&[String]>,
        ordering: &str,
        signing: &str,
        max_in_flight: i32,
        requests_per_second: Option<f64>,
        cursor: i64,
        key_id: &str,
        wrapped: &[u8],
        secret: &[u8],
        public_key: Option<&[u8]>,
        at: OffsetDateTime,
        actor: &str,
        most: i64,
    )) =
        "insert into webhook_endpoints (id, url, description, types, biz_types, ordering, signing,
             max_in_flight, requests_per_second, cursor, key_id, wrapped, secret, public_key,
             created_at, updated_at, created_by, due_at)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16,
             verdict_now()
         where (select count(*) from webhook_endpoints) < $17";

    row list(counted: i64) -> WebhookEndpoint = endpoints!("$1", "order by e.created_at, e.id");

    row find(id: Uuid, counted: i64) -> WebhookEndpoint = endpoints!("$2", "where e.id = $1");

    execute edit((
        id: Uuid,
        url: Option<&str>,
        description: Option<&str>,
        set_types: bool,
        types: Option<&[String]>,
        set_biz_types: bool,
        biz_types: Option<&[String]>,
        ordering: Option<&str>,
        max_in_flight: Option<i32>,
        set_rate: bool,
        requests_per_second: Option<f64>,
        at: OffsetDateTime,
    )) =
        "update webhook_endpoints
         set url = coalesce($2, url), description = coalesce($3, description),
             types = case when $4 then $5 else types end,
             biz_types = case when $6 then $7 else biz_types end,
             ordering = coalesce($8, ordering), max_in_flight = coalesce($9, max_in_flight),
             requests_per_second = case when $10 then $11 else requests_per_second end,
             updated_at = $12, revision = revision + 1, due_at = verdict_now(), next_try_at = null
         where id = $1";

    scalar remove(id: Uuid) -> String =
        "delete from webhook_endpoints where id = $1 returning url";

    scalar lock(id: Uuid) -> String =
        "select status from webhook_endpoints where id = $1 for no key update";

    execute pause(id: Uuid, at: OffsetDateTime) =
        "update webhook_endpoints
         set status = 'paused', disabled_because = null, updated_at = $2, revision = revision + 1
         where id = $1";

    execute resume(id: Uuid, at: OffsetDateTime) =
        "update webhook_endpoints
         set status = 'active', disabled_because = null, failing_since = null, failures = 0,
             warned = 0, next_try_at = null, due_at = verdict_now(), updated_at = $2,
             revision = revision + 1
         where id = $1";

    execute retry_now(id: Uuid) =
        "update webhook_pending set next_at = verdict_now()
         where endpoint_id = $1 and state = 'retry' and next_at > verdict_now()";

    execute make_due(id: Uuid) =
        "update webhook_endpoints set due_at = verdict_now(), next_try_at = null,
             revision = revision + 1
         where id = $1";

    row rotate(
        id: Uuid,
        secret: &[u8],
        public_key: Option<&[u8]>,
        keep: f64,
        at: OffsetDateTime,
    ) -> Rotated =
        "update webhook_endpoints
         set previous_secret = case when $4::float8 > 0 then secret end,
             previous_public_key = case when $4::float8 > 0 then public_key end,
             previous_until = case when $4::float8 > 0 then verdict_now() + make_interval(secs => $4) end,
             secret = $2, public_key = $3, updated_at = $5, revision = revision + 1
         where id = $1
         returning previous_until";

    row list_attempts(id: Uuid, before: i64, limit: i64) -> WebhookAttempt =
        "select a.id,
             a.number - (select max(p.after) from event_epochs p where p.after < a.number)
                 as sequence,
             a.event_id, a.at, a.attempt, a.status, a.error, a.latency_ms,
             case when not exists (
                 select from (
                     select d.verification_id from decisions d where d.id = of.event
                     union all
                     select n.verification_id from event_notes n where n.id = of.event) e
                     join verifications v on v.id = e.verification_id
                 where v.state = 'erased') then a.answer end as answer,
             a.next_at
         from webhook_attempts a
             cross join lateral (select substr(a.event_id, 5)::uuid as event) of
         where a.endpoint_id = $1 and a.id < $2
         order by a.id desc limit $3";

    execute add_record(
        at: OffsetDateTime,
        actor: &str,
        action: &str,
        subject: Uuid,
        purpose: Option<&str>,
        details: Option<&str>,
    ) =
        "insert into audit (at, actor, action, subject, purpose, details)
         values ($1, $2, $3, $4, $5, $6)";
}
