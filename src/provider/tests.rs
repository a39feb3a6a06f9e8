//! The evidence from an answer, and the cause of a fault.

use cloudauth::wire::{self, Answered};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use policy::evidence::{Evidence, FaceQuality, History, Scores};

fn answered(body: &str) -> Answered {
    wire::read(200, body.as_bytes()).outcome.expect("an answer with a status")
}

fn at(body: &Value, at: OffsetDateTime) -> Evidence {
    evidence(&answered(&body.to_string()), "RPBasicTest", History::of_calls(1), at)
}

#[test]
fn an_answer_becomes_evidence_without_the_person() {
    let body =
        include_str!("../../crates/cloudauth/tests/fixtures/responses/ok_wire_2019-03-07.json");
    let history = History { calls: 2, answers: Some(1), ..History::default() };
    let evidence =
        evidence(&answered(body), "RPBasicTest", history, datetime!(2026-11-23 12:00 UTC));
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

#[test]
fn every_class_of_error_keeps_its_name() {
    for class in [
        wire::ErrorClass::Throttled,
        wire::ErrorClass::Transient,
        wire::ErrorClass::Clock,
        wire::ErrorClass::Credentials,
        wire::ErrorClass::BadRequest,
        wire::ErrorClass::Gone,
        wire::ErrorClass::Unreadable,
    ] {
        assert_eq!(ErrorClass::from(class).as_str(), class.as_str());
    }
}

#[tokio::test]
async fn closed_port_is_a_refused_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let credentials = credentials::Settings {
        fixed: Some(credentials::Fixed {
            access_key_id: "key".to_owned(),
            access_key_secret: credentials::Secret::Value("secret".into()),
            security_token: None,
        }),
        ..Default::default()
    };
    let environment = credentials::Environment::default();
    let (clock, ids) = (Clock::system(), Ids::random());
    let settings = client::Settings::new(endpoint);
    let provider = Provider::new(settings, credentials, environment, &clock, &ids).unwrap();
    let error = provider.describe_verify_result("b", "1").await.unwrap_err();
    assert_eq!(cause_of(&error), Cause::Refused);
    assert_eq!(sentence(&error), "cannot connect to the provider: connection refused");
}
