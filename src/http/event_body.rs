//! The bodies of events, for the description of the API. `domain/event.rs` renders them.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::decision::DecidedBy;
use crate::domain::ids::{DecisionId, VerificationId};
use policy::decision::Outcome;

/// The type of an event.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "describes what is rendered elsewhere")]
pub(super) enum EventType {
    #[serde(rename = "verification.decided")]
    Decided,
    #[serde(rename = "verification.failed")]
    Failed,
    #[serde(rename = "verification.expired")]
    Expired,
    #[serde(rename = "verification.erased")]
    Erased,
    #[serde(rename = "policy.activated")]
    PolicyActivated,
    #[serde(rename = "endpoint.failing")]
    EndpointFailing,
    #[serde(rename = "endpoint.disabled")]
    EndpointDisabled,
}

/// One event: the same bytes in the feed, in streams and in every delivery.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what is rendered elsewhere")]
pub(super) enum EventBody {
    Verification(VerificationEventBody),
    Policy(PolicyEventBody),
    Endpoint(EndpointEventBody),
}

macro_rules! event_bodies {
    ($($(#[$doc:meta])* $name:ident of $data:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, ToSchema)]
        pub(super) struct $name {
            /// `evt_` and 32 hex digits; the same in every attempt of a delivery.
            #[schema(pattern = "^evt_[0-9a-f]{32}$")]
            id: String,
            r#type: EventType,
            /// When it happened.
            timestamp: OffsetDateTime,
            /// From 1, without gaps, over the whole deployment.
            #[schema(minimum = 1)]
            sequence: i64,
            data: $data,
        }
    )*};
}

event_bodies! {
    /// `verification.decided`, `verification.failed`, `verification.expired`, `verification.erased`
    VerificationEventBody of VerificationEventData;
    /// `policy.activated`
    PolicyEventBody of PolicyEventData;
    /// `endpoint.failing`, `endpoint.disabled`
    EndpointEventBody of EndpointEventData;
}

#[derive(Serialize, ToSchema)]
pub(super) struct VerificationEventData {
    verification_id: VerificationId,
    /// From 1, without gaps, within the verification.
    #[schema(minimum = 1)]
    verification_sequence: i32,
    /// The product: `verify-result` or `face-verify`.
    product: String,
    biz_type: String,
    biz_id: String,
    /// `null` once the person is erased, in older events too.
    reference: Option<String>,
    /// `decided`, `failed`, `expired` or `erased`.
    state: String,
    outcome: Option<Outcome>,
    reasons: Option<Vec<String>>,
    decision_id: Option<DecisionId>,
    decided_by: Option<DecidedBy>,
    decided_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PolicyEventData {
    /// Its digest; `null`: the scene's policy was removed.
    policy: Option<String>,
    /// `null`: the general policy, for all scenes without a policy.
    biz_type: Option<String>,
    actor: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct EndpointEventData {
    endpoint_id: Uuid,
    /// When it began to fail.
    since: Option<OffsetDateTime>,
    /// The status of its last answer; `null`: there was no answer.
    last_status: Option<i32>,
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;
    use crate::domain::event::EventKind;

    #[test]
    fn description_has_the_types_that_there_are() {
        let described = serde_json::to_value(EventType::schema()).unwrap();
        let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(described["enum"], serde_json::json!(kinds));
    }
}
