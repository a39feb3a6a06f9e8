//! Events, as callers receive them. Rendering the body of an event always gives the same bytes.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;

use super::callback::{BizId, BizType};
use super::decision::DecidedBy;
use super::ids::{DecisionId, VerificationId};
use policy::decision::Outcome;
use policy::product::Product;

/// The maximum size of a body, in bytes: Standard Webhooks advises against larger ones.
pub const MAX_BODY_BYTES: usize = 20_000;

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(const_into_str)]
pub enum EventKind {
    /// A verification has a new current decision, by policy or person.
    #[strum(serialize = "verification.decided")]
    Decided,
    /// A verification became a dead letter.
    #[strum(serialize = "verification.failed")]
    Failed,
    /// The person did not finish a verification in time.
    #[strum(serialize = "verification.expired")]
    Expired,
    /// The person of a verification was erased.
    #[strum(serialize = "verification.erased")]
    Erased,
    /// Another policy decides from now on.
    #[strum(serialize = "policy.activated")]
    PolicyActivated,
    /// A webhook endpoint has not accepted an event for a while.
    #[strum(serialize = "endpoint.failing")]
    EndpointFailing,
    /// A webhook endpoint gets no events until an operator resumes it.
    #[strum(serialize = "endpoint.disabled")]
    EndpointDisabled,
}

impl EventKind {
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The `type` of its events.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The state of the verification that the event reports.
    const fn state(self) -> Option<&'static str> {
        match self {
            Self::Decided => Some("decided"),
            Self::Failed => Some("failed"),
            Self::Expired => Some("expired"),
            Self::Erased => Some("erased"),
            Self::PolicyActivated | Self::EndpointFailing | Self::EndpointDisabled => None,
        }
    }
}

/// The id of an event: `evt_` and 32 hex digits. It is the same in the feed and in every delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{}", self.0.simple())
    }
}

/// Not the id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be evt_ and 32 hex digits")]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let digits = text.strip_prefix("evt_").filter(|digits| digits.len() == 32);
        digits.and_then(|digits| Uuid::try_parse(digits).ok()).map(Self).ok_or(NotAnEventId)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The position in the log, over all epochs.
    pub number: i64,
    /// The epoch in which it was logged.
    pub epoch: Uuid,
    /// The position in the epoch. Callers see this number.
    pub sequence: i64,
    pub id: EventId,
    pub kind: EventKind,
    /// When it happened.
    pub at: OffsetDateTime,
    pub about: About,
}

/// The subject of an event, and its data.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    Verification(Box<OfVerification>),
    /// A policy was activated. `None`: the scene no longer has its own policy.
    Policy {
        policy: Option<String>,
        biz_type: Option<String>,
        actor: String,
    },
    Endpoint {
        endpoint: Uuid,
        since: Option<String>,
        last_status: Option<u16>,
    },
}

/// A verification, as it was when the event happened.
#[derive(Clone, Debug, PartialEq)]
pub struct OfVerification {
    pub id: VerificationId,
    /// The position among the events of this verification, from 1.
    pub sequence: i32,
    pub product: Product,
    pub biz_type: BizType,
    pub biz_id: BizId,
    /// The caller's reference, if there already was one; `None` once the person is erased.
    pub reference: Option<String>,
    pub decision: Option<OfDecision>,
}

/// The decision that was current when the event happened.
#[derive(Clone, Debug, PartialEq)]
pub struct OfDecision {
    pub id: DecisionId,
    pub outcome: Outcome,
    /// Codes of the reasons, each once, strictest first.
    pub reasons: Vec<String>,
    pub by: DecidedBy,
    pub at: OffsetDateTime,
}

impl Event {
    /// The verification that it is about.
    pub fn verification(&self) -> Option<VerificationId> {
        match &self.about {
            About::Verification(of) => Some(of.id),
            About::Policy { .. } | About::Endpoint { .. } => None,
        }
    }

    /// The scene that it belongs to.
    pub fn biz_type(&self) -> Option<&str> {
        match &self.about {
            About::Verification(of) => Some(of.biz_type.as_str()),
            About::Policy { biz_type, .. } => biz_type.as_deref(),
            About::Endpoint { .. } => None,
        }
    }

    /// The body as callers receive it. Its bytes never change, except that `reference` becomes
    /// `null` once the person is erased. So never add, move or rename a member.
    pub fn body(&self) -> String {
        let data = match &self.about {
            About::Verification(of) => Data::Verification(of.data(self.kind)),
            About::Policy { policy, biz_type, actor } => {
                Data::Policy { policy: policy.as_deref(), biz_type: biz_type.as_deref(), actor }
            }
            About::Endpoint { endpoint, since, last_status } => Data::Endpoint {
                endpoint_id: *endpoint,
                since: since.as_deref(),
                last_status: *last_status,
            },
        };
        render(Some(self.sequence), &self.id, self.kind.as_str(), self.at, &data)
    }
}

/// The body of an `endpoint.test`, which is not in the event log.
pub fn test_body(id: EventId, at: OffsetDateTime, endpoint: Uuid) -> String {
    render(None, &id, "endpoint.test", at, &Data::Test { endpoint_id: endpoint })
}

fn render(
    sequence: Option<i64>,
    id: &EventId,
    kind: &str,
    at: OffsetDateTime,
    data: &Data<'_>,
) -> String {
    let body = Body { id: id.to_string(), kind, timestamp: timestamp(at), sequence, data };
    // This cannot fail: the body has only strings, numbers and lists of them.
    serde_json::to_string(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    sequence: Option<i64>,
    data: &'a Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Verification(VerificationData<'a>),
    Policy { policy: Option<&'a str>, biz_type: Option<&'a str>, actor: &'a str },
    Endpoint { endpoint_id: Uuid, since: Option<&'a str>, last_status: Option<u16> },
    Test { endpoint_id: Uuid },
}

#[derive(Serialize)]
struct VerificationData<'a> {
    verification_id: VerificationId,
    verification_sequence: i32,
    product: &'static str,
    biz_type: &'a str,
    biz_id: &'a str,
    reference: Option<&'a str>,
    state: Option<&'static str>,
    outcome: Option<Outcome>,
    reasons: Option<&'a [String]>,
    decision_id: Option<DecisionId>,
    decided_by: Option<DecidedBy>,
    decided_at: Option<String>,
}

impl OfVerification {
    fn data(&self, kind: EventKind) -> VerificationData<'_> {
        let decision = self.decision.as_ref();
        VerificationData {
            verification_id: self.id,
            verification_sequence: self.sequence,
            product: self.product.as_str(),
            biz_type: self.biz_type.as_str(),
            biz_id: self.biz_id.as_str(),
            reference: self.reference.as_deref(),
            state: kind.state(),
            outcome: decision.map(|decision| decision.outcome),
            reasons: decision.map(|decision| &decision.reasons[..]),
            decision_id: decision.map(|decision| decision.id),
            decided_by: decision.map(|decision| decision.by),
            decided_at: decision.map(|decision| timestamp(decision.at)),
        }
    }
}

/// RFC 3339 in UTC, always with six fractional digits: the precision of Postgres.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// Formats a time as bodies do.
pub fn timestamp(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(TIMESTAMP).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn event(kind: EventKind, about: About) -> Event {
        Event {
            number: 1042,
            epoch: Uuid::nil(),
            sequence: 1042,
            id: EventId(Uuid::from_u128(0x0193_6000_0000_7000_8000_0000_0000_0001)),
            kind,
            at: datetime!(2026-11-26 12:00:00.123456 UTC),
            about,
        }
    }

    fn verification(decision: Option<OfDecision>) -> About {
        About::Verification(Box::new(OfVerification {
            id: VerificationId(Uuid::from_u128(2)),
            sequence: 3,
            product: Product::VerifyResult,
            biz_type: BizType::parse("login").unwrap(),
            biz_id: BizId::parse("order-7").unwrap(),
            reference: Some("a \"b\"\u{1F600}".to_owned()),
            decision,
        }))
    }

    fn decision() -> OfDecision {
        OfDecision {
            id: DecisionId(Uuid::from_u128(4)),
            outcome: Outcome::Approve,
            reasons: vec!["provider-passed".to_owned()],
            by: DecidedBy::Policy,
            at: datetime!(2026-11-26 20:00:00 +8),
        }
    }

    /// Receivers have verified and stored bodies like these, so the bytes must never change.
    #[test]
    fn bodies_are_these_bytes_for_ever() {
        assert_eq!(
            event(EventKind::Decided, verification(Some(decision()))).body(),
            r#"{"id":"evt_01936000000070008000000000000001","type":"verification.decided","timestamp":"2026-11-26T12:00:00.123456Z","sequence":1042,"data":{"verification_id":"00000000-0000-0000-0000-000000000002","verification_sequence":3,"product":"verify-result","biz_type":"login","biz_id":"order-7","reference":"a \"b\"😀","state":"decided","outcome":"approve","reasons":["provider-passed"],"decision_id":"00000000-0000-0000-0000-000000000004","decided_by":"policy","decided_at":"2026-11-26T12:00:00.000000Z"}}"#
        );
        assert_eq!(
            event(EventKind::Failed, verification(None)).body(),
            r#"{"id":"evt_01936000000070008000000000000001","type":"verification.failed","timestamp":"2026-11-26T12:00:00.123456Z","sequence":1042,"data":{"verification_id":"00000000-0000-0000-0000-000000000002","verification_sequence":3,"product":"verify-result","biz_type":"login","biz_id":"order-7","reference":"a \"b\"😀","state":"failed","outcome":null,"reasons":null,"decision_id":null,"decided_by":null,"decided_at":null}}"#
        );
        let policy = About::Policy {
            policy: Some("sha256:00".to_owned()),
            biz_type: None,
            actor: "seed".to_owned(),
        };
        assert_eq!(
            event(EventKind::PolicyActivated, policy).body(),
            r#"{"id":"evt_01936000000070008000000000000001","type":"policy.activated","timestamp":"2026-11-26T12:00:00.123456Z","sequence":1042,"data":{"policy":"sha256:00","biz_type":null,"actor":"seed"}}"#
        );
        let endpoint = About::Endpoint {
            endpoint: Uuid::from_u128(5),
            since: Some("2026-11-26T11:00:00.000000Z".to_owned()),
            last_status: Some(500),
        };
        assert_eq!(
            event(EventKind::EndpointFailing, endpoint).body(),
            r#"{"id":"evt_01936000000070008000000000000001","type":"endpoint.failing","timestamp":"2026-11-26T12:00:00.123456Z","sequence":1042,"data":{"endpoint_id":"00000000-0000-0000-0000-000000000005","since":"2026-11-26T11:00:00.000000Z","last_status":500}}"#
        );
        assert_eq!(
            test_body(EventId(Uuid::nil()), datetime!(2026-11-26 12:00 UTC), Uuid::from_u128(5)),
            r#"{"id":"evt_00000000000000000000000000000000","type":"endpoint.test","timestamp":"2026-11-26T12:00:00.000000Z","sequence":null,"data":{"endpoint_id":"00000000-0000-0000-0000-000000000005"}}"#
        );
    }

    #[test]
    fn the_largest_body_is_small_enough_for_receivers() {
        let key = "\u{1F600}".repeat(policy::scene::MAX_KEY_CHARS);
        // A rule gives at most one reason; two are the service's own.
        let code = |n| format!("{n:0>width$}", width = policy::MAX_CODE_CHARS);
        let reasons = (0..policy::MOST_RULES + 2).map(code).collect();
        let about = About::Verification(Box::new(OfVerification {
            id: VerificationId(Uuid::max()),
            sequence: i32::MAX,
            product: Product::FaceVerify,
            biz_type: BizType::parse(&key).unwrap(),
            biz_id: BizId::parse(&key).unwrap(),
            // Six bytes each.
            reference: Some("\u{1}".repeat(crate::domain::callback::MAX_REFERENCE_CHARS)),
            decision: Some(OfDecision { reasons, ..decision() }),
        }));
        let event = Event { sequence: i64::MAX, ..event(EventKind::Decided, about) };
        assert!(event.body().len() <= MAX_BODY_BYTES, "{}", event.body().len());
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = EventId(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in
            ["evt_", "7", "evt_00000000-0000-0000-0000-000000000007", "EVT_0000000000000000"]
        {
            assert_eq!(other.parse::<EventId>(), Err(NotAnEventId), "{other}");
        }
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
        }
    }
}
