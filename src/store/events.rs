//! The event log: numbering what was committed, reading it in order, epochs.
//!
//! No code writes events. A decision is its own event, and triggers note the others. The function
//! `verdict_number_events` (`migrations/20261127000001_events.sql`) numbers them. One process at a
//! time runs it, in one statement. So a process that is frozen or killed meanwhile delays nothing.

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::verifications::{decision_of, product_of};
use crate::domain::callback::{BizId, BizType};
use crate::domain::event::{About, Event, EventId, EventKind, OfDecision, OfVerification};
use crate::domain::ids::VerificationId;

/// Selects events by kind and by scene.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `None`: every kind.
    pub kinds: Option<Vec<EventKind>>,
    /// `None`: every scene, and events without a scene.
    pub scenes: Option<Vec<String>>,
}

impl Filter {
    fn kind_names(&self) -> Option<Vec<&'static str>> {
        self.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect())
    }
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events that pass the filter, in order.
    pub events: Vec<Event>,
    /// The number up to which the log was examined.
    pub examined: i64,
    /// The newest number.
    pub head: i64,
    /// The oldest number that is kept; `head + 1` if no event is kept.
    pub oldest: i64,
}

/// An epoch. Callers see sequences that start again at 1 in each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Epoch {
    pub epoch: Uuid,
    /// Its events are those after this number.
    pub after: i64,
}

/// How far the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The newest event.
    pub number: i64,
    /// The oldest event that is kept; `number + 1` if none is kept.
    pub oldest: i64,
    /// Events of the present epoch are those after this number.
    pub after: i64,
}

/// The event log.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a>(&'a Store);

impl Store {
    /// The event log.
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }
}

impl Events<'_> {
    /// Numbers at most `most` committed events and returns how many. If it returns `most`, there
    /// are more. It also returns 0 while another process numbers events.
    pub async fn number_step(self, most: i32) -> Result<i32> {
        // A retry never repeats a number: the step commits as a whole or not at all.
        match self.0.run(|| number(most).fetch_one(&self.0.pool)).await? {
            -1 => Err(Error::EventsFromElsewhere),
            numbered => Ok(numbered),
        }
    }

    /// Returns at most `limit` events after this number, and examines at most `examined` events.
    pub async fn after(
        self,
        number: i64,
        examined: i64,
        limit: i64,
        filter: &Filter,
    ) -> Result<Page> {
        let (head, oldest) = self.ends().await?;
        let last = head.min(number.saturating_add(examined));
        let kinds = filter.kind_names();
        let rows = self
            .0
            .run(|| {
                find_after(number, last, kinds.as_deref(), filter.scenes.as_deref(), limit)
                    .fetch_all(&self.0.pool)
            })
            .await?;
        let events: Vec<Event> = rows.iter().map(event).collect::<Result<_>>()?;
        let full = i64::try_from(events.len()).is_ok_and(|found| found >= limit);
        let examined = events.last().filter(|_| full).map_or(last, |event| event.number);
        Ok(Page { events, examined: examined.max(number), head, oldest })
    }

    /// Numbers and ids of the first `limit` events after this number, up to `last`.
    pub async fn ids(
        self,
        number: i64,
        last: i64,
        limit: i64,
        filter: &Filter,
    ) -> Result<Vec<(i64, EventId)>> {
        let kinds = filter.kind_names();
        let rows: Vec<(i64, Uuid)> = self
            .0
            .run(|| {
                find_ids(number, last, kinds.as_deref(), filter.scenes.as_deref(), limit)
                    .fetch_all(&self.0.pool)
            })
            .await?;
        Ok(rows.into_iter().map(|(number, id)| (number, EventId(id))).collect())
    }

    /// Newest and oldest number.
    pub async fn ends(self) -> Result<(i64, i64)> {
        self.0.run(|| find_ends().fetch_one(&self.0.pool)).await
    }

    pub async fn find(self, id: EventId) -> Result<Option<Event>> {
        let row = self.0.run(|| find(id.0).fetch_optional(&self.0.pool)).await?;
        row.as_ref().map(event).transpose()
    }

    /// The events with these numbers that are still kept, in order.
    pub async fn by_numbers(self, numbers: &[i64]) -> Result<Vec<Event>> {
        let rows = self.0.run(|| find_numbers(numbers).fetch_all(&self.0.pool)).await?;
        rows.iter().map(event).collect()
    }

    /// Numbers of the first and the last event that happened at or after `since` and before
    /// `until`.
    pub async fn numbers_between(
        self,
        since: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Option<(i64, i64)>> {
        let (first, last): (Option<i64>, Option<i64>) =
            self.0.run(|| find_between(since, until).fetch_one(&self.0.pool)).await?;
        Ok(first.zip(last))
    }

    /// The current epoch.
    pub async fn epoch(self) -> Result<Epoch> {
        self.0.run(|| find_epoch().fetch_one(&self.0.pool)).await
    }

    pub async fn range(self) -> Result<LogRange> {
        let (number, oldest) = self.ends().await?;
        let Epoch { after, .. } = self.epoch().await?;
        Ok(LogRange { number, oldest, after })
    }

    /// Begins a new epoch after the newest event.
    pub async fn begin_epoch(self, epoch: Uuid, doing: &AuditContext) -> Result<Epoch> {
        let (at, actor) = (doing.at, &doing.actor);
        self.0
            .run(|| begin_epoch(epoch, at, actor, doing.purpose.as_deref()).fetch_one(&self.0.pool))
            .await
    }

    /// Drops the weeks that ended at least `days` days ago, and returns the oldest number that is
    /// left. Keeps events that are still to be delivered to an endpoint, unless it is disabled, and
    /// all since the oldest event about a verification under a legal hold.
    pub async fn drop_weeks(self, days: i32) -> Result<i64> {
        // Its own statement: a week cannot be dropped by one that reads the log.
        let held: i64 = self.0.run(|| find_oldest_held().fetch_one(&self.0.pool)).await?;
        self.0.run(|| drop_weeks(days, held - 1).fetch_one(&self.0.pool)).await
    }
}

/// The `details` that the trigger of `policy_activations` writes.
#[derive(serde::Deserialize)]
struct PolicyDetails {
    policy: Option<String>,
    biz_type: Option<String>,
    actor: String,
}

/// The `details` that the trigger of `webhook_endpoints` writes.
#[derive(serde::Deserialize)]
struct EndpointDetails {
    endpoint_id: Uuid,
    since: Option<String>,
    last_status: Option<u16>,
}

fn event(row: &PgRow) -> Result<Event> {
    let kind: &str = row.try_get("kind")?;
    let kind = EventKind::parse(kind).ok_or(Error::Inconsistent("events.kind"))?;
    let about = match kind {
        EventKind::Decided | EventKind::Failed | EventKind::Expired | EventKind::Erased => {
            About::Verification(Box::new(of_verification(row)?))
        }
        EventKind::PolicyActivated => {
            let Json(PolicyDetails { policy, biz_type, actor }) = row.try_get("details")?;
            About::Policy { policy, biz_type, actor }
        }
        EventKind::EndpointFailing | EventKind::EndpointDisabled => {
            let Json(EndpointDetails { endpoint_id, since, last_status }) =
                row.try_get("details")?;
            About::Endpoint { endpoint: endpoint_id, since, last_status }
        }
    };
    let (number, after): (i64, i64) = (row.try_get("number")?, row.try_get("after")?);
    Ok(Event {
        number,
        epoch: row.try_get("epoch")?,
        sequence: number - after,
        id: EventId(row.try_get("event_id")?),
        kind,
        at: row.try_get("at")?,
        about,
    })
}

fn of_verification(row: &PgRow) -> Result<OfVerification> {
    let decision = decision_of(row)?.map(|decision| OfDecision {
        id: decision.id,
        outcome: decision.decision.outcome,
        reasons: decision.decision.codes(),
        by: decision.by,
        at: decision.decided_at,
    });
    Ok(OfVerification {
        id: VerificationId(row.try_get("verification_id")?),
        sequence: row.try_get("verification_sequence")?,
        product: product_of(row)?,
        biz_type: BizType::parse(row.try_get("biz_type")?)
            .map_err(|_| Error::Inconsistent("verifications.biz_type"))?,
        biz_id: BizId::parse(row.try_get("biz_id")?)
            .map_err(|_| Error::Inconsistent("verifications.biz_id"))?,
        reference: row.try_get("reference")?,
        decision,
    })
}

/// Selects events `e` by the days on which numbers from `$first` to `$last` were given.
///
/// The key begins with the day, and a day is enough for millions of events. With each day named,
/// Postgres looks the numbers up on each, instead of reading all keys since the first day. The
/// range of days leaves out partitions, which the list of days does not. Days and numbers grow
/// together: in the order of the key, `logged_on, number`, a `limit` ends the scan.
macro_rules! on_days_of {
    ($first:literal, $last:literal) => {
        concat!(
            "e.logged_on >= ",
            $crate::store::events::first_day!($first),
            " and e.logged_on < ",
            $crate::store::events::day_after!($last),
            " and e.logged_on = any (array(
                 select first_day + n
                 from (select ",
            $crate::store::events::first_day!($first),
            " as first_day, ",
            $crate::store::events::day_after!($last),
            " as day_after) days, generate_series(0, day_after - first_day - 1) as n)) "
        )
    };
}
pub(super) use on_days_of;

/// The Monday of the week in which the number was given, or of the oldest week that is kept.
macro_rules! first_day {
    ($number:literal) => {
        concat!(
            "coalesce((select max(starts) from event_weeks where first_number <= ",
            $number,
            "), (select min(starts) from event_weeks))"
        )
    };
}
pub(super) use first_day;

/// The Monday after the week in which the number was given, or the day after the newest event.
macro_rules! day_after {
    ($number:literal) => {
        concat!(
            "coalesce((select min(starts) from event_weeks where first_number > ",
            $number,
            "), (select logged_on + 1 from event_log))"
        )
    };
}
pub(super) use day_after;

/// Selects events `e` with the data of their bodies.
macro_rules! events {
    ($($of:expr),+) => {
        events!(from "events e"; $($of),+)
    };
    (from $from:expr; $($of:expr),+) => {
        concat!(
            "select e.number, coalesce(e.id, e.decision_id) as event_id, e.kind, e.at, e.details,
                 e.verification_id, e.verification_sequence, v.product, v.biz_type, v.biz_id,
                 case when e.with_reference then v.reference end as reference,
                 d.id as decision_id, d.result_id, d.policy_digest, d.outcome, d.reasons,
                 d.decided_by, d.decided_at, d.simulated, p.epoch, p.after
             from ",
            $from,
            "
                 left join verifications v on v.id = e.verification_id
                 left join decisions d on d.id = e.decision_id
                 cross join lateral (
                     select epoch, after from event_epochs
                     where after < e.number order by after desc limit 1) p ",
            $($of),+
        )
    };
}

statements! {
    scalar number(most: i32) -> i32 = "select verdict_number_events($1)";

    row find_ends() -> (i64, i64) = "select number, oldest from event_log";

    /// Numbers have no gaps, so the range to examine is known before the query.
    read(event) find_after(
        after: i64,
        last: i64,
        kinds: Option<&[&str]>,
        scenes: Option<&[String]>,
        limit: i64,
    ) = events!(
        "where ",
        on_days_of!("$1::bigint + 1", "$2::bigint"),
        " and e.number > $1 and e.number <= $2
             and ($3::text[] is null or e.kind = any ($3))
             and ($4::text[] is null
                 or coalesce(v.biz_type, e.details ->> 'biz_type') = any ($4))
         order by e.logged_on, e.number limit $5"
    );

    row find_ids(
        after: i64,
        last: i64,
        kinds: Option<&[&str]>,
        scenes: Option<&[String]>,
        limit: i64,
    ) -> (i64, Uuid) =
        concat!(
            "select e.number, coalesce(e.id, e.decision_id)
             from events e
             where ",
            on_days_of!("$1::bigint + 1", "$2::bigint"),
            " and e.number > $1 and e.number <= $2
                 and ($3::text[] is null or e.kind = any ($3))
                 and ($4::text[] is null or coalesce(
                     (select v.biz_type from verifications v where v.id = e.verification_id),
                     e.details ->> 'biz_type') = any ($4))
             order by e.logged_on, e.number limit $5"
        );

    read(event) find(id: Uuid) = events!(
        "where e.id = $1
             or e.id is null and e.decision_id = $1 and e.verification_id = (
                 select verification_id from decisions where id = $1)"
    );

    /// One by one: they may be far apart.
    read(event) find_numbers(numbers: &[i64]) = events!(
        from concat!(
            "unnest($1::bigint[]) as wanted (number)
             cross join lateral (
                 select * from events e where e.number = wanted.number and ",
            on_days_of!("wanted.number", "wanted.number"),
            ") e"
        );
        "order by e.number"
    );

    row find_between(since: OffsetDateTime, until: OffsetDateTime) -> (Option<i64>, Option<i64>) =
        "select (
             select number from events
             where logged_on >= ($1::timestamptz - interval '1 day')::date and at >= $1 and at < $2
             order by logged_on, number limit 1), (
             select number from events
             where logged_on >= ($1::timestamptz - interval '1 day')::date and at >= $1 and at < $2
             order by logged_on desc, number desc limit 1)";

    row find_epoch() -> Epoch = "select epoch, after from event_epochs order by after desc limit 1";

    row begin_epoch(epoch: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) -> Epoch =
        "with begun as (
             select verdict_begin_epoch($1, $2) as after
         ), recorded as (
             insert into audit (at, actor, action, purpose, details)
             select $2, $3, 'events.new-epoch', $4,
                 json_build_object('epoch', $1, 'after', after)::text from begun
         )
         select $1 as epoch, after from begun";

    scalar drop_weeks(days: i32, up_to: i64) -> i64 =
        "select verdict_drop_events($1, least(
             (select coalesce(min(cursor), 9223372036854775807) from webhook_endpoints
              where status <> 'disabled'),
             (select coalesce(min(p.number) - 1, 9223372036854775807)
              from webhook_pending p join webhook_endpoints e on e.id = p.endpoint_id
              where p.state <> 'dead' and p.number > 0 and e.status <> 'disabled'), $2))";

    scalar find_oldest_held() -> i64 =
        "select coalesce(min(e.number), 9223372036854775807)
         from legal_holds h join events e on e.verification_id = h.verification_id
         where h.lifted_at is null";
}
