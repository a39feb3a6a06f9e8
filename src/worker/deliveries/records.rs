//! Evaluates the attempts of one endpoint: the answer for the window, and the rows to write.

use time::OffsetDateTime;

use super::attempt::Received;
use super::schedule::retry_after;
use super::setup::Endpoint;
use super::state::{Answer, Disabled, Key, Lane, Next, Progress, Row, RowState};
use crate::domain::event::EventId;
use crate::store::webhook_deliveries::{DeliveryProgress, GonePending, NewAttempt, PutPending};
use crate::vault::SealedAt;

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// `None`: a test.
    pub key: Option<Key>,
    pub event_id: EventId,
    pub at: OffsetDateTime,
    pub attempt: u32,
}

/// Classifies what an attempt received.
pub fn judge(received: &Received, now: OffsetDateTime) -> Answer {
    match (received.status, received.error) {
        (Some(_), None) => Answer::Acknowledged,
        (Some(410), _) => Answer::Gone,
        _ => {
            let wait = received.retry_after.as_deref();
            Answer::Failed(wait.and_then(|value| retry_after(value, now)))
        }
    }
}

/// Collects the rows for the next commit.
#[derive(Debug, Default)]
pub struct Recorder {
    attempts: Vec<NewAttempt>,
    gone: Vec<GonePending>,
    /// The progress that was written last.
    last: Progress,
}

impl Recorder {
    pub fn new(last: Progress) -> Self {
        Self { last, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Notes an attempt. `next` is the next step for its event; `None`: it was a test.
    pub fn note(
        &mut self,
        endpoint: &Endpoint,
        sent: Sent,
        received: &Received,
        next: Option<Next>,
    ) {
        count(received, next);
        let Some(number) = sent.key.map(|key| key.number) else {
            self.gone.push(GonePending { redelivery: true, number: 0 });
            self.attempts.push(attempt(endpoint, sent, received, None, None));
            return;
        };
        let next_in = match next {
            Some(Next::RetryIn(delay)) => Some(delay.as_secs_f64()),
            Some(Next::Dead) => {
                tracing::warn!(endpoint = %endpoint.id, event = %sent.event_id, attempt = sent.attempt, "event is a dead letter");
                None
            }
            Some(Next::Nothing) | None => None,
        };
        self.attempts.push(attempt(endpoint, sent, received, Some(number), next_in));
    }

    /// Takes everything that has to be written; `None`: there is nothing.
    pub fn take(
        &mut self,
        progress: Option<Progress>,
        revision: i32,
        at: OffsetDateTime,
    ) -> Option<DeliveryProgress> {
        if progress.is_none() && self.is_empty() {
            return None;
        }
        if let Some(progress) = progress {
            self.last = progress;
        }
        let put = std::mem::take(&mut self.last.put);
        let gone = std::mem::take(&mut self.last.gone).into_iter().map(gone_row);
        let health = self.last.health;
        Some(DeliveryProgress {
            cursor: self.last.cursor,
            revision,
            failing_for: health.failing_for.map(|time| time.as_secs_f64()),
            failures: i32::try_from(health.failures).unwrap_or(i32::MAX),
            warned: i16::try_from(health.warnings).unwrap_or(i16::MAX),
            next_try_in: health.next_try_in.map(|time| time.as_secs_f64()),
            disabled: health.disabled.map(Disabled::as_str),
            at,
            put: put.into_iter().map(put_row).collect(),
            gone: gone.chain(self.gone.drain(..)).collect(),
            attempts: std::mem::take(&mut self.attempts),
        })
    }
}

fn attempt(
    endpoint: &Endpoint,
    sent: Sent,
    received: &Received,
    number: Option<i64>,
    next_in: Option<f64>,
) -> NewAttempt {
    let at = SealedAt::WebhookAnswer(endpoint.id);
    let kept = Some(&received.beginning).filter(|kept| !kept.is_empty());
    // An answer that cannot be sealed is not kept.
    let answer = kept.and_then(|kept| endpoint.data_key.seal(at, kept).ok());
    NewAttempt {
        number,
        event_id: sent.event_id.to_string(),
        at: sent.at,
        attempt: i32::try_from(sent.attempt).unwrap_or(i32::MAX),
        status: received.status.map(i32::from),
        error: received.error,
        latency_ms: i32::try_from(received.latency.as_millis()).unwrap_or(i32::MAX),
        answer: answer.map(hex::encode),
        next_in,
    }
}

fn put_row(row: Row) -> PutPending {
    let (state, next_in) = match row.state {
        RowState::Retry(delay) => ("retry", Some(delay.as_secs_f64())),
        RowState::Held => ("held", None),
        RowState::Dead => ("dead", None),
    };
    PutPending {
        redelivery: row.key.lane == Lane::Redelivery,
        number: row.key.number,
        verification_id: row.verification.map(|id| id.0),
        state,
        attempts: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        next_in,
    }
}

fn gone_row(key: Key) -> GonePending {
    GonePending { redelivery: key.lane == Lane::Redelivery, number: key.number }
}

/// Updates the metrics. The endpoint is not a label: a caller who may add endpoints could create
/// any number of series.
fn count(received: &Received, next: Option<Next>) {
    let outcome = received.error.unwrap_or("acknowledged");
    metrics::counter!("verdict_deliveries_total", "outcome" => outcome).increment(1);
    metrics::histogram!("verdict_delivery_seconds").record(received.latency);
    if next == Some(Next::Dead) {
        metrics::counter!("verdict_dead_letters_total").increment(1);
    }
}
