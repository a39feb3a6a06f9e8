//! Evaluates the attempts of one endpoint: the answer for the window, and the rows to write.

use std::time::Duration;

use time::OffsetDateTime;

use super::attempt::Received;
use super::schedule::retry_after;
use super::setup::Endpoint;
use super::state::{Answer, Disabled, Key, Lane, Progress, Row, RowState};
use crate::domain::event::EventId;
use crate::domain::ids::EndpointId;
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
}

impl Recorder {
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Notes an attempt. `retry_in` is the delay before its event is retried, if that is known.
    pub fn note(
        &mut self,
        endpoint: &Endpoint,
        sent: Sent,
        received: &Received,
        retry_in: Option<Duration>,
    ) {
        count(received);
        if sent.key.is_none() {
            self.gone.push(GonePending { redelivery: true, number: 0 });
        }
        self.attempts.push(attempt(endpoint, sent, received, retry_in));
    }

    /// Takes everything that has to be written; `None`: there is nothing.
    pub fn take(
        &mut self,
        progress: Progress,
        revision: i32,
        at: OffsetDateTime,
    ) -> Option<DeliveryProgress> {
        let Progress { changed, cursor, health, put, gone } = progress;
        if !changed && self.is_empty() {
            return None;
        }
        let gone = gone.into_iter().map(gone_row);
        Some(DeliveryProgress {
            cursor,
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
    retry_in: Option<Duration>,
) -> NewAttempt {
    let at = SealedAt::WebhookAnswer(endpoint.id);
    let kept = Some(&received.beginning).filter(|kept| !kept.is_empty());
    // An answer that cannot be sealed is not kept.
    let answer = kept.and_then(|kept| endpoint.data_key.seal(at, kept).ok());
    NewAttempt {
        number: sent.key.map(|key| key.number),
        event_id: sent.event_id.to_string(),
        at: sent.at,
        attempt: i32::try_from(sent.attempt).unwrap_or(i32::MAX),
        status: received.status.map(i32::from),
        error: received.error,
        latency_ms: i32::try_from(received.latency.as_millis()).unwrap_or(i32::MAX),
        answer: answer.map(hex::encode),
        next_in: retry_in.map(|delay| delay.as_secs_f64()),
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
fn count(received: &Received) {
    let outcome = received.error.unwrap_or("acknowledged");
    metrics::counter!("verdict_deliveries_total", "outcome" => outcome).increment(1);
    metrics::histogram!("verdict_delivery_seconds").record(received.latency);
}

/// Counts and logs new dead letters, once they are stored.
pub fn report_dead_letters(endpoint: EndpointId, numbers: &[i64]) {
    for number in numbers {
        metrics::counter!("verdict_dead_letters_total").increment(1);
        tracing::warn!(%endpoint, number, "event is a dead letter");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::deliveries::state::{Health, Rules};
    use crate::worker::deliveries::window::Window;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn attempt_that_changes_nothing_does_not_move_the_next_try() {
        let rules =
            Rules { strict: false, max_in_flight: 1, per_second: None, disable_after: None };
        let mut window = Window::new(rules, 0, Health::default(), &[], None);
        window.add([(1, None)], 1, 1);
        let mut recorder = Recorder::default();
        let key = window.next(S).unwrap();
        window.answered(S, key, Answer::Failed(Some(30 * S)), 0.5);
        let mut taken_at = |now| {
            // A test, of which the window knows nothing.
            recorder.attempts.push(NewAttempt {
                number: None,
                event_id: String::new(),
                at: OffsetDateTime::UNIX_EPOCH,
                attempt: 1,
                status: Some(200),
                error: None,
                latency_ms: 1,
                answer: None,
                next_in: None,
            });
            recorder.take(window.take_progress(now), 1, OffsetDateTime::UNIX_EPOCH).unwrap()
        };
        assert_eq!(taken_at(S).next_try_in, Some(30.0));
        assert_eq!(taken_at(11 * S).next_try_in, Some(20.0));
    }
}
