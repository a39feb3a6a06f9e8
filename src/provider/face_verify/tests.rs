//! The evidence from the samples, and what is kept of the person.

use secrecy::ExposeSecret;
use time::macros::datetime;

use super::*;
use policy::evidence::Product;
use policy::product::{Family, ProviderOutcome};

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!(
            "../../../crates/cloudauth/tests/fixtures/face_verify/",
            $name,
            ".json"
        ))
    };
}

fn read(body: &str) -> Box<dyn Reading> {
    let outcome = FaceVerify.read(200, body.as_bytes());
    outcome.unwrap_or_else(|error| panic!("{error:?}: {body}"))
}

fn evidence(body: &str) -> Evidence {
    let at = datetime!(2026-11-27 12:00 UTC);
    read(body).evidence("1000000006", History::of_calls(1), at)
}

#[test]
fn each_sample_of_a_result_has_its_outcome_and_family() {
    use Family::{AttackOrRisk, Face, IdentityData, Pass, SourceCannotTell};
    use ProviderOutcome::{NotPassed, Passed};
    for (body, code, outcome, family) in [
        (sample!("describe_passed_id_pro"), "200", Passed, Pass),
        (sample!("describe_passed_id_pro_full_material"), "200", Passed, Pass),
        (sample!("describe_passed_id_pro_no_pictures"), "200", Passed, Pass),
        (sample!("describe_passed_pv_fv"), "200", Passed, Pass),
        (sample!("describe_passed_lr_fr"), "200", Passed, Pass),
        (sample!("describe_passed_id_plus_ocr"), "200", Passed, Pass),
        (sample!("describe_failed_201_name_number_mismatch"), "201", NotPassed, IdentityData),
        (sample!("describe_failed_203_no_photo"), "203", NotPassed, SourceCannotTell),
        (sample!("describe_failed_204_face_mismatch"), "204", NotPassed, Face),
        (sample!("describe_failed_206_policy_with_device_risk"), "206", NotPassed, AttackOrRisk),
        (sample!("describe_failed_207_id_plus_card_portrait"), "207", NotPassed, Face),
    ] {
        let evidence = evidence(body);
        assert_eq!(evidence.product, Product::FaceVerify);
        assert_eq!(evidence.code.as_deref(), Some(code));
        assert_eq!(evidence.provider_outcome(), Some(outcome), "{code}");
        assert_eq!(evidence.family(), family, "{code}");
        assert_eq!((evidence.verify_status, &evidence.malformed), (None, &Vec::new()), "{code}");
        assert_eq!(read(body).progress(), Progress::Finished { last: true });
        let stored = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&stored).unwrap(), evidence);
    }
}

#[test]
fn answer_without_a_result_is_unfinished_refused_or_an_error() {
    use crate::domain::answer::ErrorClass::{BadRequest, Credentials, Gone, Transient};

    let waiting = read(sample!("describe_424_no_record_yet"));
    assert_eq!(waiting.progress(), Progress::Unfinished);
    assert!(waiting.person().is_none() && waiting.links().is_empty());
    let refused = r#"{"Code":"418","Message":"x","RequestId":"1"}"#;
    assert_eq!(read(refused).progress(), Progress::Finished { last: true });
    assert_eq!(evidence(refused).provider_outcome(), Some(ProviderOutcome::Refused));
    let class = |body: &str| FaceVerify.read(200, body.as_bytes()).err().map(|error| error.class);
    assert_eq!(class(sample!("describe_406_invalid_certify_id")), Some(Gone));
    assert_eq!(class(sample!("describe_404_scene_unknown")), Some(BadRequest));
    assert_eq!(class(sample!("describe_411_no_ram_right")), Some(Credentials));
    assert_eq!(class(sample!("describe_500_system_error")), Some(Transient));
    assert!(FaceVerify.is_conclusive("404") && !FaceVerify.is_conclusive("500"));
}

#[test]
fn person_is_kept_apart_from_the_evidence() {
    let body = sample!("describe_passed_id_plus_ocr");
    let reading = read(body);
    let person = reading.person().expect("a person");
    let document: serde_json::Value = serde_json::from_slice(&person.document).unwrap();
    let name = document["id_card"]["name"].as_str().expect("a name");
    let number = document["id_card"]["number"].as_str().expect("a number");
    assert!(person.number.is_some());
    let printed = format!("{:?}", evidence(body));
    for secret in [name, number, document["device_token"].as_str().unwrap_or(name)] {
        assert!(body.contains(secret) && !printed.contains(secret), "{printed}");
    }
    let kinds: Vec<ImageKind> = reading.links().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [ImageKind::Face, ImageKind::CardFront, ImageKind::CardBack]);
    assert!(!String::from_utf8_lossy(&person.document).contains("http"), "no links");
}

#[test]
fn masked_number_does_not_hide_the_one_on_the_card() {
    let body = sample!("describe_passed_id_plus_ocr");
    let on_card = read(body).person().and_then(|person| person.number).expect("a number");
    let typed = |number: &str| {
        let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
        let info = serde_json::json!({ "number": number }).to_string();
        body["ResultObject"]["UserInfo"] = info.into();
        let number = read(&body.to_string()).person().and_then(|person| person.number);
        number.map(|number| number.expose_secret().to_owned())
    };
    assert_eq!(typed("110105********002X").as_deref(), Some(on_card.expose_secret()));
    assert_eq!(typed("00000019000101001X").as_deref(), Some("00000019000101001X"));
}

#[test]
fn client_and_policy_agree_on_every_family() {
    for code in (0..1000).map(|code| format!("{code:03}")) {
        let of_client = face_verify::family(&code);
        assert_eq!(of_client.as_str(), Family::of_code(&code).as_str(), "{code}");
    }
}
