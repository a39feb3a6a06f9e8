//! What is known to have happened to one verification.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::error::Result;
use super::images::ImageRow;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;
use crate::domain::timeline::{AcceptedCallback, Event, Recorded, SettledImage, What};
use uuid::Uuid;

/// Most callbacks, and most rows of the audit, that a timeline tells: the newest.
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
        let decisions = self.0.results().decisions_of(id).await?;
        events.extend(
            decisions
                .into_iter()
                .map(|decision| Event { at: decision.decided_at, what: What::Decided(decision) }),
        );
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
        Ok(events)
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

    row newest_callbacks(verification: Uuid, most: i64) -> CallbackRow =
        "select * from (
             select source, message_id, received_at, occurred_at, hint_audit, hint_code,
                 hint_platform
             from callbacks where verification_id = $1
             order by received_at desc, source desc, message_id desc limit $2) newest
         order by received_at, source, message_id";
}
