//! Everything that happened to one verification, causes before effects.
//!
//! Times come from the clocks of several replicas, of phones and of the database, so they alone
//! can put an answer before the callback that caused it. Here an event is never earlier than what
//! caused it; within that, times decide.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::answer::StoredResult;
use super::decision::StoredDecision;
use super::review::StoredReview;

/// The audit's word for a verification that Verdict started.
pub const STARTED: &str = "verification.start";

#[derive(Clone, Debug)]
pub struct Event {
    /// By the clock of the process that wrote it.
    pub at: OffsetDateTime,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A callback was accepted.
    CallbackAccepted(AcceptedCallback),
    /// The provider answered.
    ProviderAnswered(Box<StoredResult>),
    /// A policy or a person decided.
    Decided(StoredDecision, Option<Numbered>),
    /// It failed, expired or was erased.
    Ended(End, Option<Numbered>),
    /// An endpoint was sent an event of this verification.
    Delivered(DeliveryAttempt),
    /// An image is settled.
    ImageSettled(SettledImage),
    /// A person reviewed the case.
    Reviewed(StoredReview),
    /// An audited operation.
    Recorded(Recorded),
    /// Retention has removed a part of this history.
    Removed(Removed),
}

/// How a verification ended without a decision; by the kind of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString)]
pub enum End {
    #[strum(serialize = "verification.failed")]
    Failed,
    #[strum(serialize = "verification.expired")]
    Expired,
    #[strum(serialize = "verification.erased")]
    Erased,
}

/// The numbers of an event in the event log; an event has them a moment after its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The position in its epoch, as in its body.
    pub sequence: i64,
    /// The position among the events of its verification.
    pub verification_sequence: i32,
}

/// One request to a webhook endpoint.
#[derive(Clone, Debug)]
pub struct DeliveryAttempt {
    pub endpoint: Uuid,
    /// The sequence of the event that it delivered.
    pub sequence: i64,
    /// From 1, for this event.
    pub attempt: i32,
    /// HTTP status of the answer.
    pub status: Option<i32>,
    /// Why it failed, one of a closed list of words.
    pub error: Option<String>,
    pub latency_ms: i32,
}

/// One accepted callback.
#[derive(Clone, Debug)]
pub struct AcceptedCallback {
    pub source: String,
    /// Its `webhook-id`.
    pub message_id: String,
    /// When the phone finished, as it claims.
    pub occurred_at: Option<OffsetDateTime>,
    /// The SDK's audit word.
    pub audit: Option<String>,
    /// The SDK's numeric code.
    pub code: Option<i32>,
    /// The phone's platform.
    pub platform: Option<String>,
}

/// The final state of one image.
#[derive(Clone, Debug)]
pub struct SettledImage {
    /// The result that contained its link.
    pub result: Uuid,
    pub kind: String,
    /// `archived`, `digest`, `lost`.
    pub state: String,
    pub reason: Option<String>,
}

/// One row of the audit about this verification, without its purpose.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Of the audit's closed list.
    pub action: String,
    /// The id of a key, a user of the command line, or the service.
    pub actor: String,
    /// The position in the audit.
    pub position: i64,
}

/// Parts of a history that retention removes by whole partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum RemovedKind {
    Results,
    Decisions,
    Audit,
}

/// A part of the history that retention has removed.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    pub kind: RemovedKind,
    /// Everything from before this time is gone; `None`: not known.
    pub before: Option<OffsetDateTime>,
    /// How long it was kept at least; `None`: not known.
    pub days: Option<i32>,
}

impl What {
    /// Where times are equal: causes first.
    fn rank(&self) -> u8 {
        match self {
            Self::CallbackAccepted(_) => 0,
            Self::ProviderAnswered(_) => 1,
            Self::Reviewed(_) => 2,
            // Both are numbered by one order of writing.
            Self::Decided(..) | Self::Ended(..) => 3,
            Self::Delivered(_) => 4,
            Self::ImageSettled(_) => 5,
            Self::Recorded(_) => 6,
            Self::Removed(_) => 7,
        }
    }
}

/// Sorts events. Each kind arrives in its true order: callbacks by arrival, results by attempt,
/// decisions and ends by writing, reviews by id, deliveries and the audit by position. The output
/// keeps that order. A result follows the first event of the verification, a decision follows its
/// result and its reviews, an end follows every earlier result, a delivery follows what it reports,
/// and an image follows its result.
pub fn in_causal_order(events: Vec<Event>) -> Vec<Event> {
    // No fetch can precede the verification, which began with its first callback or with a start.
    let first = |begins: fn(&What) -> bool| {
        events.iter().find(|event| begins(&event.what)).map(|event| event.at)
    };
    let callback = first(|what| matches!(what, What::CallbackAccepted(_)));
    let started = first(|what| matches!(what, What::Recorded(record) if record.action == STARTED));
    let first_cause = callback.into_iter().chain(started).min();
    // The earliest possible time of each, given the events before it.
    let mut answered: HashMap<Uuid, OffsetDateTime> = HashMap::new();
    let mut reviewed: HashMap<Uuid, OffsetDateTime> = HashMap::new();
    let mut reported: HashMap<i64, OffsetDateTime> = HashMap::new();
    let mut newest: HashMap<u8, OffsetDateTime> = HashMap::new();
    let mut kinds: Vec<(usize, Event)> = events.into_iter().enumerate().collect();
    kinds.sort_by_key(|(place, event)| (event.what.rank(), *place));
    let mut placed: Vec<(OffsetDateTime, u8, usize, Event)> = Vec::with_capacity(kinds.len());
    for (place, event) in kinds {
        let rank = event.what.rank();
        let cause = match &event.what {
            What::CallbackAccepted(_)
            | What::Recorded(_)
            | What::Reviewed(_)
            | What::Removed(_) => None,
            What::ProviderAnswered(_) => first_cause,
            What::Decided(decision, _) => {
                let answer = answered.get(&decision.result_id.0).copied();
                answer.max(reviewed.get(&decision.id.0).copied())
            }
            What::Ended(..) => latest_before(&placed, event.at),
            What::Delivered(delivery) => reported.get(&delivery.sequence).copied(),
            What::ImageSettled(image) => answered.get(&image.result).copied(),
        };
        let at = [Some(event.at), cause, newest.get(&rank).copied()].into_iter().flatten().max();
        let at = at.unwrap_or(event.at);
        newest.insert(rank, at);
        match &event.what {
            What::ProviderAnswered(result) => drop(answered.insert(result.id.0, at)),
            What::Reviewed(StoredReview { decision: Some(decision), .. }) => {
                reviewed.insert(decision.0, at);
            }
            What::Decided(_, Some(numbered)) | What::Ended(_, Some(numbered)) => {
                reported.insert(numbered.sequence, at);
            }
            _ => {}
        }
        placed.push((at, rank, place, event));
    }
    placed.sort_by_key(|(at, rank, place, _)| (*at, *rank, *place));
    placed.into_iter().map(|(.., event)| event).collect()
}

/// Where the latest result was placed that has no later time than this.
fn latest_before(
    placed: &[(OffsetDateTime, u8, usize, Event)],
    at: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let before = placed
        .iter()
        .filter(|(.., event)| event.at <= at && matches!(event.what, What::ProviderAnswered(_)));
    before.map(|(place, ..)| *place).max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::decision::DecidedBy;
    use crate::domain::ids::{DecisionId, ResultId};
    use policy::decision::{Decision, Outcome};

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn callback(message: usize, seconds: i64) -> Event {
        let what = What::CallbackAccepted(AcceptedCallback {
            source: "app".to_owned(),
            message_id: message.to_string(),
            occurred_at: None,
            audit: None,
            code: None,
            platform: None,
        });
        Event { at: at(seconds), what }
    }

    fn answer(attempt: i32, seconds: i64) -> Event {
        let what = What::ProviderAnswered(Box::new(StoredResult {
            id: ResultId(Uuid::from_u128(u128::from(attempt.unsigned_abs()))),
            attempt,
            fetched_at: at(seconds),
            request_id: None,
            http_status: 200,
            evidence: None,
            error: None,
            simulated: false,
            coarsened: false,
        }));
        Event { at: at(seconds), what }
    }

    fn decision(of: i32, seconds: i64) -> Event {
        let decision = StoredDecision {
            id: DecisionId(Uuid::from_u128(1000 + u128::from(of.unsigned_abs()))),
            result_id: ResultId(Uuid::from_u128(u128::from(of.unsigned_abs()))),
            policy: String::new(),
            by: DecidedBy::Policy,
            decided_at: at(seconds),
            simulated: false,
            decision: Decision { outcome: Outcome::Review, reasons: Vec::new() },
        };
        Event { at: at(seconds), what: What::Decided(decision, Some(numbered(of))) }
    }

    fn numbered(place: i32) -> Numbered {
        Numbered { sequence: 100 + i64::from(place), verification_sequence: place }
    }

    fn delivery(of: i32, seconds: i64) -> Event {
        let what = What::Delivered(DeliveryAttempt {
            endpoint: Uuid::nil(),
            sequence: numbered(of).sequence,
            attempt: 1,
            status: Some(200),
            error: None,
            latency_ms: 3,
        });
        Event { at: at(seconds), what }
    }

    fn image(of: i32, seconds: i64) -> Event {
        let what = What::ImageSettled(SettledImage {
            result: Uuid::from_u128(u128::from(of.unsigned_abs())),
            kind: "face".to_owned(),
            state: "archived".to_owned(),
            reason: None,
        });
        Event { at: at(seconds), what }
    }

    proptest! {
        #[test]
        fn no_effect_sorts_before_its_cause(
            callbacks in prop::collection::vec(0_i64..100, 1..5),
            answers in prop::collection::vec((0_i64..100, 0_i64..100, 0_i64..100), 0..6),
            delivered in prop::collection::vec(0_i64..100, 0..7),
        ) {
            let mut events: Vec<Event> = Vec::new();
            let numbers = (1..).zip(&delivered);
            events.extend(numbers.map(|(number, seconds)| delivery(number, *seconds)));
            for (attempt, (_, decided, settled)) in (1..).zip(&answers) {
                events.push(image(attempt, *settled));
                events.push(decision(attempt, *decided));
            }
            // No clock is behind those that it answers to: an end is written after all results.
            let end = Some(numbered(i32::try_from(answers.len()).unwrap() + 1));
            events.push(Event { at: at(100), what: What::Ended(End::Erased, end) });
            for (attempt, (answered, ..)) in (1..).zip(&answers) {
                events.push(answer(attempt, *answered));
            }
            events.extend(callbacks.iter().enumerate().map(|(n, seconds)| callback(n, *seconds)));
            let count = events.len();

            let ordered = in_causal_order(events);
            prop_assert_eq!(ordered.len(), count);
            prop_assert!(matches!(ordered[0].what, What::CallbackAccepted(_)));
            let (mut attempts, mut messages, mut reported) = (0, 0, Vec::new());
            for event in &ordered {
                match &event.what {
                    What::ProviderAnswered(result) => {
                        attempts += 1;
                        prop_assert_eq!(result.attempt, attempts);
                    }
                    What::CallbackAccepted(callback) => {
                        prop_assert_eq!(&callback.message_id, &messages.to_string());
                        messages += 1;
                    }
                    What::Decided(decision, numbered) => {
                        prop_assert!(decision.result_id.0.as_u128() <= attempts.unsigned_abs().into());
                        reported.extend(numbered.map(|numbered| numbered.sequence));
                    }
                    What::Ended(_, numbered) => {
                        prop_assert_eq!(reported.len(), answers.len());
                        reported.extend(numbered.map(|numbered| numbered.sequence));
                    }
                    What::Delivered(delivery) => {
                        let known = i64::try_from(answers.len()).unwrap() + 101;
                        let unknown = delivery.sequence > known;
                        prop_assert!(unknown || reported.contains(&delivery.sequence));
                    }
                    What::ImageSettled(image) => {
                        prop_assert!(image.result.as_u128() <= attempts.unsigned_abs().into());
                    }
                    What::Reviewed(_) | What::Recorded(_) | What::Removed(_) => {}
                }
            }
        }
    }
}
