//! From an answer to evidence: what of it a policy may see, without the person.

use cloudauth::wire::{self, Answered, Material};
use time::OffsetDateTime;

use crate::provider::calendar::{in_china, whole_years};
use policy::card_days::highest_edge_reached;
use policy::evidence::{Evidence, FaceQuality, History, ImagesOffered, Product, Scores};

/// The evidence in an answer that arrived at `fetched_at`. The card's dates are compared with the
/// date in China at `fetched_at`, so that the same answer always gives the same evidence.
pub(super) fn evidence(
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

fn face_quality(quality: wire::FaceQuality) -> FaceQuality {
    match quality {
        wire::FaceQuality::Unqualified => FaceQuality::Unqualified,
        wire::FaceQuality::Low => FaceQuality::Low,
        wire::FaceQuality::Normal => FaceQuality::Normal,
        wire::FaceQuality::High => FaceQuality::High,
    }
}
