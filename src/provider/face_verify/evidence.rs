//! From an answer to evidence: what of it a policy may see, without the person.

use cloudauth::face_verify::{Read, Verified};
use time::OffsetDateTime;

use crate::provider::calendar::{in_china, whole_years};
use policy::card_days::highest_edge_reached;
use policy::evidence::{Evidence, History, ImagesOffered, Product, Scores};

/// The evidence in an answer that arrived at `fetched_at`. The card's dates are compared with the
/// date in China at `fetched_at`.
pub(super) fn evidence(
    read: &Read,
    biz_type: &str,
    history: History,
    fetched_at: OffsetDateTime,
) -> Evidence {
    let blank = Evidence::blank(Product::FaceVerify, biz_type, history);
    match read {
        Read::Unfinished { code } | Read::Refused { code } => {
            Evidence { code: Some(code.clone()), ..blank }
        }
        Read::Finished(verified) => of_result(verified, blank, fetched_at),
    }
}

fn of_result(verified: &Verified, blank: Evidence, fetched_at: OffsetDateTime) -> Evidence {
    let material = verified.material.as_ref();
    let card = material.and_then(|material| material.id_card.as_ref());
    let today = in_china(fetched_at);
    Evidence {
        passed: verified.passed,
        code: verified.code.clone(),
        scores: Scores {
            verify: verified.scores.verify,
            id_card: verified.scores.id_card,
            quality: verified.scores.quality,
            attack: verified.scores.attack,
            ..Scores::default()
        },
        face_occluded: verified.face_occluded,
        face_attack: verified.face_attack,
        wear_hat: verified.wear_hat,
        guard_risk_score: verified.guard_risk_score,
        device_risk: verified.device_risk.clone(),
        images: ImagesOffered {
            face: material.is_some_and(|material| material.face_image_url.is_some()),
            card_front: card.is_some_and(|card| card.front_image_url.is_some()),
            card_back: card.is_some_and(|card| card.back_image_url.is_some()),
            face_global: false,
        },
        card_days_left: card
            .and_then(|card| card.end_date.as_ref()?.date)
            .map(|end| highest_edge_reached((end - today).whole_days())),
        age_years: card
            .and_then(|card| card.birth.as_ref()?.date)
            .and_then(|birth| whole_years(birth, today)),
        malformed: verified.malformed.clone(),
        damaged_texts: verified.damaged_texts.clone(),
        ..blank
    }
}
