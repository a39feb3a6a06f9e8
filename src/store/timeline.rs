//! What is known to have happened to one verification.

use std::collections::HashMap;

use sqlx::FromRow;
use time::OffsetDateTime;

use super::error::{Error, Result};
use super::images::ImageRow;
use super::pool::Store;
use super::statements::statements;
use crate::domain::decision::StoredDecision;
use crate::domain::ids::VerificationId;
use crate::domain::timeline::{
    AcceptedCallback, DeliveryAttempt, Event, Numbered, Recorded, Removed, SettledImage, What,
};
use uuid::Uuid;

/// Most callbacks, deliveries and rows of the audit that a timeline lists: the newest.
pub const MOST_OF_A_KIND: i64 = 500;

#[derive(FromRow)]
struct CallbackRow {
    source: String,
    message_id: String,
    received_at: OffsetDateTime,
    occurred_at: Option<OffsetDateTime>,
    hint_audit: Option<String>,
    hint_code: Option<i32>,
    hint_platform: Option<String>,
}

#[derive(FromRow)]
struct RecordRow {
    position: i64,
    at: OffsetDateTime,
    actor: String,
    action: String,
}

#[derive(FromRow)]
struct NumberRow {
    event_id: Uuid,
    sequence: i64,
    verification_sequence: i32,
}

#[derive(FromRow)]
struct ReportedRow {
    id: Uuid,
    /// `None`: a decision.
    kind: Option<String>,
    at: OffsetDateTime,
}

#[derive(FromRow)]
struct RemovedRow {
    kind: String,
    at: OffsetDateTime,
    before: Option<OffsetDateTime>,
    days: Option<i32>,
}

#[derive(FromRow)]
struct DeliveryRow {
    endpoint_id: Uuid,
    sequence: i64,
    at: OffsetDateTime,
    attempt: i32,
    status: Option<i32>,
    error: Option<String>,
    latency_ms: i32,
}

/// The events of one verification.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a>(&'a Store);

impl Store {
    pub fn timeline(&self) -> Timeline<'_> {
        Timeline(self)
    }
}

impl Timeline<'_> {
    /// Everything that happened, each kind in its own true order. Effects are read before their
    /// causes, so that nothing stands there without what it came from.
    pub async fn events_of(self, id: VerificationId) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let records: Vec<RecordRow> =
            self.0.run(|| newest_records(id.0, MOST_OF_A_KIND).fetch_all(&self.0.pool)).await?;
        events.extend(records.into_iter().map(|RecordRow { position, at, actor, action }| Event {
            at,
            what: What::Recorded(Recorded { action, actor, position }),
        }));
        let images = self.0.images().images_of(id).await?;
        events.extend(images.into_iter().filter_map(settled));
        let deliveries: Vec<DeliveryRow> =
            self.0.run(|| newest_deliveries(id.0, MOST_OF_A_KIND).fetch_all(&self.0.pool)).await?;
        events.extend(deliveries.into_iter().map(Event::from));
        events.extend(self.reported(id).await?);
        let reviews = self.0.reviews().reviews_of(id).await?;
        events.extend(
            reviews
                .into_iter()
                .map(|review| Event { at: review.reviewed_at, what: What::Reviewed(review) }),
        );
        let results = self.0.results().results_of(id).await?;
        events.extend(results.into_iter().map(|result| Event {
            at: result.fetched_at,
            what: What::ProviderAnswered(Box::new(result)),
        }));
        let callbacks: Vec<CallbackRow> =
            self.0.run(|| newest_callbacks(id.0, MOST_OF_A_KIND).fetch_all(&self.0.pool)).await?;
        events.extend(callbacks.into_iter().map(Event::from));
        events.extend(self.removed(id).await?);
        Ok(events)
    }

    /// Parts that retention has removed. This is read last, so a part that is missing is never silent.
    async fn removed(self, id: VerificationId) -> Result<Vec<Event>> {
        let rows: Vec<RemovedRow> =
            self.0.run(|| find_removed(id.0).fetch_all(&self.0.pool)).await?;
        rows.into_iter()
            .map(|RemovedRow { kind, at, before, days }| {
                let kind = kind.parse().map_err(|_| Error::Inconsistent("retention_drops.kind"))?;
                Ok(Event { at, what: What::Removed(Removed { kind, before, days }) })
            })
            .collect()
    }

    /// Decisions and ends, in the order in which they were written.
    async fn reported(self, id: VerificationId) -> Result<Vec<Event>> {
        let numbers = self.numbers(id).await?;
        let rows: Vec<ReportedRow> =
            self.0.run(|| find_reported(id.0).fetch_all(&self.0.pool)).await?;
        let decisions = self.0.results().decisions_of(id).await?;
        let mut decisions: HashMap<Uuid, StoredDecision> =
            decisions.into_iter().map(|decision| (decision.id.0, decision)).collect();
        rows.into_iter()
            .map(|ReportedRow { id, kind, at }| {
                let numbered = numbers.get(&id).copied();
                let what = if let Some(kind) = kind {
                    let end = kind.parse();
                    What::Ended(end.map_err(|_| Error::Inconsistent("event_notes.kind"))?, numbered)
                } else {
                    let decision = decisions.remove(&id);
                    What::Decided(decision.ok_or(Error::Inconsistent("decisions.id"))?, numbered)
                };
                Ok(Event { at, what })
            })
            .collect()
    }

    /// The numbers of its events, by id of the decision or the note.
    async fn numbers(self, id: VerificationId) -> Result<HashMap<Uuid, Numbered>> {
        let rows: Vec<NumberRow> =
            self.0.run(|| find_numbers(id.0).fetch_all(&self.0.pool)).await?;
        let numbered = |NumberRow { event_id, sequence, verification_sequence }| {
            (event_id, Numbered { sequence, verification_sequence })
        };
        Ok(rows.into_iter().map(numbered).collect())
    }
}

impl From<DeliveryRow> for Event {
    fn from(row: DeliveryRow) -> Self {
        Self {
            at: row.at,
            what: What::Delivered(DeliveryAttempt {
                endpoint: row.endpoint_id,
                sequence: row.sequence,
                attempt: row.attempt,
                status: row.status,
                error: row.error,
                latency_ms: row.latency_ms,
            }),
        }
    }
}

impl From<CallbackRow> for Event {
    fn from(row: CallbackRow) -> Self {
        Self {
            at: row.received_at,
            what: What::CallbackAccepted(AcceptedCallback {
                source: row.source,
                message_id: row.message_id,
                occurred_at: row.occurred_at,
                audit: row.hint_audit,
                code: row.hint_code,
                platform: row.hint_platform,
            }),
        }
    }
}

/// What is still to be fetched has not happened.
fn settled(row: ImageRow) -> Option<Event> {
    Some(Event {
        at: row.settled_at?,
        what: What::ImageSettled(SettledImage {
            result: row.result_id,
            kind: row.kind,
            state: row.state,
            reason: row.reason,
        }),
    })
}

statements! {
    row newest_records(subject: Uuid, most: i64) -> RecordRow =
        "select * from (
             select position, at, actor, action from audit
             where subject = $1 order by position desc limit $2) newest
         order by position";

    row find_numbers(verification: Uuid) -> NumberRow =
        "select coalesce(e.id, e.decision_id) as event_id,
             e.number - (select max(p.after) from event_epochs p where p.after < e.number)
                 as sequence,
             e.verification_sequence
         from events e where e.verification_id = $1";

    row find_reported(verification: Uuid) -> ReportedRow =
        "select id, kind, at from (
             select id, null::text as kind, decided_at as at, position
             from decisions where verification_id = $1
             union all
             select id, kind, at, position from event_notes where verification_id = $1) reported
         order by position";

    row newest_deliveries(verification: Uuid, most: i64) -> DeliveryRow =
        "select * from (
             select a.id, a.endpoint_id,
                 a.number - (select max(p.after) from event_epochs p where p.after < a.number)
                     as sequence,
                 a.at, a.attempt, a.status, a.error, a.latency_ms
             from webhook_attempts a
             where a.number = any (array(
                 select e.number from events e where e.verification_id = $1))
             order by a.id desc limit $2) newest
         order by id";

    row newest_callbacks(verification: Uuid, most: i64) -> CallbackRow =
        "select * from (
             select source, message_id, received_at, occurred_at, hint_audit, hint_code,
                 hint_platform
             from callbacks where verification_id = $1
             order by received_at desc, source desc, message_id desc limit $2) newest
         order by received_at, source, message_id";

    row find_removed(verification: Uuid) -> RemovedRow = include_str!("sql/timeline_find_removed.sql");
}
