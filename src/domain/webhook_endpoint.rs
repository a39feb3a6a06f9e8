//! A webhook endpoint: where events are delivered to, which ones, and in what order.

use serde::Serialize;
use utoipa::ToSchema;

use super::callback::BizType;
use super::event::EventKind;
use policy::visible;

/// Longest URL, in bytes, as it is stored.
pub const MAX_URL_BYTES: usize = 2048;
/// Longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 200;
/// Most scenes of one endpoint.
pub const MAX_SCENES: usize = 100;
/// Requests at the same time.
pub const MAX_IN_FLIGHT: std::ops::RangeInclusive<i64> = 1..=100;
/// Requests at the same time by default.
pub const DEFAULT_MAX_IN_FLIGHT: i32 = 10;
/// Requests begun per second.
pub const REQUESTS_PER_SECOND: std::ops::RangeInclusive<f64> = 0.1..=1000.0;
/// How long a previous secret can be kept, in seconds.
pub const KEEP_SECONDS: std::ops::RangeInclusive<i64> = 0..=2_592_000;
/// How long it is kept by default: a day.
pub const DEFAULT_KEEP_SECONDS: i64 = 86_400;

/// The events that wait for a failed event.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum DeliveryOrder {
    /// Later events of the same verification.
    #[default]
    PerVerification,
    /// All later events.
    Strict,
}

impl DeliveryOrder {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    pub fn parse(text: &str) -> Result<Self, &'static str> {
        text.parse().map_err(|_| "must be per-verification or strict")
    }
}

/// How deliveries are signed (Standard Webhooks).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Signing {
    /// HMAC-SHA256, by a secret that the receiver knows.
    #[default]
    V1,
    /// ed25519: the receiver knows the public key.
    V1a,
}

impl Signing {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    pub fn parse(text: &str) -> Result<Self, &'static str> {
        text.parse().map_err(|_| "must be v1 or v1a")
    }
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum EndpointStatus {
    /// Events are delivered.
    Active,
    /// It fails as a whole: only its oldest event is tried.
    Failing,
    /// Its owner has paused it.
    Paused,
    /// It failed for too long, or answered 410.
    Disabled,
}

impl EndpointStatus {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Events are delivered to it; otherwise only tests are.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Failing)
    }
}

/// Where a new endpoint begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    #[default]
    Now,
    /// With the oldest event in the log.
    Beginning,
    /// With the event of this sequence.
    Sequence(i64),
}

impl Start {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "now" => Ok(Self::Now),
            "beginning" => Ok(Self::Beginning),
            _ => Err("must be now, beginning or a sequence, which is a whole number from 1"),
        }
    }
}

const MUST_BE_TYPES: &str = "must list at least one of verification.decided, verification.failed, verification.expired, verification.erased, policy.activated, endpoint.failing, endpoint.disabled; without a list it gets every type";
const MUST_BE_SCENES: &str = "must list 1 to 100 scenes (biz_type), each of 1 to 64 characters; without a list it gets every scene, and events that belong to none";

/// The types of events that an endpoint gets, each once.
pub fn types(names: &[&str]) -> Result<Vec<EventKind>, &'static str> {
    let mut kinds = Vec::new();
    for name in names {
        let kind = EventKind::parse(name).ok_or(MUST_BE_TYPES)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { Err(MUST_BE_TYPES) } else { Ok(kinds) }
}

/// The scenes that an endpoint gets events of, each once.
pub fn biz_types(names: &[&str]) -> Result<Vec<BizType>, &'static str> {
    let mut scenes = Vec::new();
    for name in names {
        let scene = BizType::parse(name).map_err(|_| MUST_BE_SCENES)?;
        if !scenes.contains(&scene) {
            scenes.push(scene);
        }
    }
    if (1..=MAX_SCENES).contains(&scenes.len()) { Ok(scenes) } else { Err(MUST_BE_SCENES) }
}

/// As its owner says what it is for.
pub fn description(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fits = text.chars().count() <= MAX_DESCRIPTION_CHARS && visible::is_line(text);
    fits.then(|| text.to_owned()).ok_or("must be at most 200 visible characters, on one line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_database() {
        for (order, text) in [
            (DeliveryOrder::PerVerification, "per-verification"),
            (DeliveryOrder::Strict, "strict"),
        ] {
            assert_eq!((order.as_str(), DeliveryOrder::parse(text)), (text, Ok(order)));
        }
        for (signing, text) in [(Signing::V1, "v1"), (Signing::V1a, "v1a")] {
            assert_eq!((signing.as_str(), Signing::parse(text)), (text, Ok(signing)));
        }
        for text in ["active", "failing", "paused", "disabled"] {
            assert_eq!(EndpointStatus::parse(text).unwrap().as_str(), text);
        }
        assert!(DeliveryOrder::parse("Strict").is_err() && Signing::parse("V1").is_err());
    }

    #[test]
    fn error_about_types_lists_every_type() {
        for kind in EventKind::ALL {
            assert!(MUST_BE_TYPES.contains(kind.as_str()), "{}", kind.as_str());
            assert_eq!(types(&[kind.as_str(), kind.as_str()]), Ok(vec![*kind]));
        }
        for wrong in [&[][..], &["endpoint.test"], &[""]] {
            assert_eq!(types(wrong), Err(MUST_BE_TYPES));
        }
    }

    #[test]
    fn number_of_scenes_is_limited() {
        let names: Vec<String> = (0..=MAX_SCENES).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(biz_types(&names[1..]).map(|scenes| scenes.len()), Ok(MAX_SCENES));
        for wrong in [&names[..], &[], &[""]] {
            assert_eq!(biz_types(wrong), Err(MUST_BE_SCENES));
        }
    }
}
