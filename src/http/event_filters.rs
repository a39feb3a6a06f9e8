//! Positions in the event log, and its filters, as query parameters.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::api_key_auth::Caller;
use crate::domain::callback::BizType;
use crate::domain::event::EventKind;
use crate::store::events::Filter;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kinds(Vec<EventKind>);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SceneNames(Vec<BizType>);

/// The largest whole number that every JSON parser reads exactly.
const MAX_SEQUENCE: i64 = (1 << 53) - 1;
/// Maximum number of scenes in one filter.
const MAX_SCENES: usize = 64;

const MUST_BE_TYPES: &str = "must be types of events separated by commas: verification.decided, verification.failed, verification.expired, verification.erased, policy.activated, endpoint.failing, endpoint.disabled";

/// A sequence, or 0 for the position before the first event.
pub(super) fn position(text: &str) -> Result<i64, &'static str> {
    whole(text, 0).ok_or("must be a sequence: a whole number from 0")
}

pub(super) fn sequence(text: &str) -> Result<i64, &'static str> {
    whole(text, 1).ok_or("must be a sequence: a whole number from 1")
}

fn whole(text: &str, least: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (least..=MAX_SEQUENCE).contains(number))
}

impl Kinds {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let kinds: Option<Vec<EventKind>> = text.split(',').map(EventKind::parse).collect();
        kinds.map(Self).ok_or(MUST_BE_TYPES)
    }
}

impl SceneNames {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let names: Result<Vec<BizType>, _> = text.split(',').map(BizType::parse).collect();
        let names = names.ok().filter(|names| names.len() <= MAX_SCENES).map(Self);
        names.ok_or("must be 1 to 64 scenes separated by commas, each of 1 to 64 characters")
    }
}

impl PartialSchema for Kinds {
    fn schema() -> RefOr<Schema> {
        let kind = Ref::from_schema_name("EventType");
        ArrayBuilder::new().items(kind).min_items(Some(1)).into()
    }
}

impl ToSchema for Kinds {}

impl PartialSchema for SceneNames {
    fn schema() -> RefOr<Schema> {
        let scene = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .min_length(Some(1))
            .max_length(Some(64))
            .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f,]+$"));
        ArrayBuilder::new().items(scene).min_items(Some(1)).max_items(Some(MAX_SCENES)).into()
    }
}

impl ToSchema for SceneNames {}

/// The filter that the caller requests, limited to the scenes of its key. An event without a scene
/// passes only if the filter names no scenes.
pub(super) fn filter(caller: &Caller, kinds: Option<Kinds>, scenes: Option<SceneNames>) -> Filter {
    let scenes = match scenes {
        None => caller.scenes.limit(),
        Some(SceneNames(mut scenes)) => {
            scenes.retain(|scene| caller.scenes.include(scene));
            Some(scenes)
        }
    };
    let names =
        |scenes: Vec<BizType>| scenes.iter().map(|scene| scene.as_str().to_owned()).collect();
    Filter { kinds: kinds.map(|Kinds(kinds)| kinds), scenes: scenes.map(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_about_types_lists_every_type() {
        for kind in EventKind::ALL {
            assert!(MUST_BE_TYPES.contains(kind.as_str()), "{}", kind.as_str());
        }
    }

    #[test]
    fn lists_are_separated_by_commas_and_hold_only_what_can_be() {
        let two = Kinds(vec![EventKind::Decided, EventKind::PolicyActivated]);
        assert_eq!(Kinds::parse("verification.decided,policy.activated"), Ok(two));
        for wrong in
            ["", ",", "decided", "verification.decided,", "verification.decided, policy.activated"]
        {
            assert!(Kinds::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(SceneNames::parse("a, b").map(|names| names.0.len()), Ok(2));
        let many = vec!["a"; MAX_SCENES + 1].join(",");
        for wrong in ["", "a,", "a\0", &"x".repeat(65), &many] {
            assert!(SceneNames::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
