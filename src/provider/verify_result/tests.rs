//! The evidence from an answer.

use cloudauth::wire;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use policy::evidence::{FaceQuality, Scores};

fn answered(body: &str) -> Answered {
    wire::read(200, body.as_bytes()).outcome.expect("an answer with a status")
}

fn at(body: &Value, at: OffsetDateTime) -> Evidence {
    answered(&body.to_string()).evidence("RPBasicTest", History::of_calls(1), at)
}

#[test]
fn an_answer_becomes_evidence_without_the_person() {
    let body =
        include_str!("../../../crates/cloudauth/tests/fixtures/responses/ok_wire_2019-03-07.json");
    let history = History { calls: 2, answers: Some(1), ..History::default() };
    let evidence = answered(body).evidence("RPBasicTest", history, datetime!(2026-11-23 12:00 UTC));
    assert_eq!(evidence.verify_status, Some(1));
    let scores = Scores {
        authority: Some(97.53),
        face: Some(96.1),
        id_card_face: Some(91.0),
        ..Scores::default()
    };
    assert_eq!(evidence.scores, scores);
    assert_eq!(evidence.face_quality, Some(FaceQuality::Normal));
    assert_eq!(evidence.face_mask, Some(false));
    assert_eq!((evidence.name_matches, evidence.number_matches), (Some(true), Some(true)));
    assert_eq!(evidence.age_years, Some(126));
    assert!(evidence.images.face && evidence.images.card_front && evidence.images.card_back);
    assert_eq!(evidence.malformed, Vec::<String>::new());
    assert_eq!((evidence.biz_type.as_str(), evidence.history()), ("RPBasicTest", history));
    let printed = format!("{evidence:?}");
    assert!(!printed.contains("测试甲") && !printed.contains("19000101"), "{printed}");
}

#[test]
fn card_dates_are_judged_by_the_calendar_of_china() {
    let body = |birth: &str, end: &str| {
        let card = json!({ "Birth": birth, "EndDate": end });
        json!({ "VerifyStatus": 1, "Material": { "IdCardInfo": card } })
    };
    let reading = body("20001124", "2026-11-30");
    // 15:59 UTC is still the 23rd in China, 16:00 UTC is the 24th.
    let before = at(&reading, datetime!(2026-11-23 15:59:59 UTC));
    assert_eq!((before.card_days_left, before.age_years), (Some(7), Some(25)));
    let after = at(&reading, datetime!(2026-11-23 16:00 UTC));
    // Six days: the highest edge reached is 0.
    assert_eq!((after.card_days_left, after.age_years), (Some(0), Some(26)));
    // Unborn, long-term, and no dates at all.
    for (birth, end) in [("20261125", "长期"), ("", "2026-13-01"), ("00010101", "99991231")] {
        let evidence = at(&body(birth, end), datetime!(2026-11-23 16:00 UTC));
        assert_eq!((evidence.card_days_left, evidence.age_years), (None, None), "{birth} {end}");
    }
    for extreme in [datetime!(-9999-01-01 0:00 UTC), datetime!(9999-12-31 23:59 UTC)] {
        let evidence = at(&reading, extreme);
        assert!(evidence.age_years.is_none_or(|years| years >= 0), "{extreme}");
    }
}
