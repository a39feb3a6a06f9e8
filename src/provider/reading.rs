//! From an answer to evidence: what of it a policy may see, without the person.

use cloudauth::wire::{self, Answered, Material};
use time::macros::offset;
use time::{Date, OffsetDateTime};

use crate::domain::answer::{AnswerError, ErrorClass};
use policy::card_days::highest_edge_reached;
use policy::evidence::{Evidence, FaceQuality, History, ImagesOffered, Product, Scores};

/// The evidence in an answer that arrived at `fetched_at`. The card's dates are compared with the
/// date in China at `fetched_at`, so that the same answer always gives the same evidence.
pub fn evidence(
    answered: &Answered,
    biz_type: &str,
    history: History,
    fetched_at: OffsetDateTime,
) -> Evidence {
    let material = answered.material.as_ref();
    let card = material.and_then(|material| material.id_card.as_ref());
    let today = in_china(fetched_at);
    Evidence {
        verify_status: Some(answered.verify_status),
        scores: Scores {
            authority: answered.scores.authority,
            face: answered.scores.face,
            id_card_face: answered.scores.id_card_face,
            ..Scores::default()
        },
        face_quality: material.and_then(|material| material.face_quality.map(face_quality)),
        face_mask: material.and_then(|material| material.face_mask),
        images: ImagesOffered {
            face: material.is_some_and(|material| material.face_image_url.is_some()),
            card_front: card.is_some_and(|card| card.front_image_url.is_some()),
            card_back: card.is_some_and(|card| card.back_image_url.is_some()),
            face_global: material.is_some_and(|material| material.face_global_url.is_some()),
        },
        name_matches: material.and_then(Material::name_matches),
        number_matches: material.and_then(Material::number_matches),
        card_days_left: card
            .and_then(|card| card.end_date.as_ref()?.date)
            .map(|end| highest_edge_reached((end - today).whole_days())),
        age_years: card
            .and_then(|card| card.birth.as_ref()?.date)
            .and_then(|birth| whole_years(birth, today)),
        malformed: answered.malformed.clone(),
        damaged_texts: answered.damaged_texts.clone(),
        ..Evidence::blank(Product::VerifyResult, biz_type, history)
    }
}

/// A refusal of the provider in Verdict's words.
pub fn answer_error(error: &wire::AnswerError) -> AnswerError {
    AnswerError { class: error.class.into(), code: error.code.clone() }
}

impl From<wire::ErrorClass> for ErrorClass {
    fn from(class: wire::ErrorClass) -> Self {
        match class {
            wire::ErrorClass::Throttled => Self::Throttled,
            wire::ErrorClass::Transient => Self::Transient,
            wire::ErrorClass::Clock => Self::Clock,
            wire::ErrorClass::Credentials => Self::Credentials,
            wire::ErrorClass::BadRequest => Self::BadRequest,
            wire::ErrorClass::Gone => Self::Gone,
            wire::ErrorClass::Unreadable => Self::Unreadable,
        }
    }
}

fn face_quality(quality: wire::FaceQuality) -> FaceQuality {
    match quality {
        wire::FaceQuality::Unqualified => FaceQuality::Unqualified,
        wire::FaceQuality::Low => FaceQuality::Low,
        wire::FaceQuality::Normal => FaceQuality::Normal,
        wire::FaceQuality::High => FaceQuality::High,
    }
}

/// The date in China. The cards are Chinese, and so is the provider's calendar.
fn in_china(at: OffsetDateTime) -> Date {
    // Fails only within a day of the year 9999.
    at.checked_to_offset(offset!(+8)).unwrap_or(at).date()
}

/// Birthdays up to and including that day; nothing for the unborn.
fn whole_years(birth: Date, day: Date) -> Option<i64> {
    let had_birthday = (u8::from(day.month()), day.day()) >= (u8::from(birth.month()), birth.day());
    let years = i64::from(day.year()) - i64::from(birth.year()) - i64::from(!had_birthday);
    Some(years).filter(|years| *years >= 0)
}
