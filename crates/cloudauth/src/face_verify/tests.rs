//! Answers, callbacks and returns as the vendor writes them, as others have met them, and as nobody
//! should write them.

use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use time::macros::date;

use super::*;
use crate::decoding::tree::MAX_DEPTH;
use crate::wire::{ErrorClass, MAX_BODY_BYTES};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/face_verify");

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{SAMPLES}/{name}.json")).unwrap()
}

fn sample_json(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).unwrap()
}

fn read_json(http_status: u16, body: &Value) -> Reading {
    read(http_status, body.to_string().as_bytes())
}

fn finished(reading: Reading) -> Verified {
    match reading.outcome {
        Ok(Read::Finished(verified)) => *verified,
        other => panic!("no result: {other:?}"),
    }
}

/// An answer with these members in its result.
fn result(members: &Value) -> Value {
    json!({ "Code": "200", "RequestId": "A-1", "ResultObject": members })
}

fn passed_with(name: &str, value: Value) -> Verified {
    let mut members = json!({ "Passed": "T", "SubCode": "200" });
    members[name] = value;
    finished(read_json(200, &result(&members)))
}

/// A result that passed, with this text or object as its material.
fn with_material(material: Value) -> Verified {
    passed_with("MaterialInfo", material)
}

fn with_picture(picture: &Value) -> Verified {
    with_material(json!({ "facialPictureFront": picture }).to_string().into())
}

fn error_class(http_status: u16, body: &[u8]) -> ErrorClass {
    read(http_status, body).outcome.expect_err("an error").class
}

#[test]
fn every_sample_of_a_result_reads_as_documented() {
    let scores = |verify, id_card, quality, attack| Scores { verify, id_card, quality, attack };
    for (name, passed, code, expected) in [
        (
            "describe_passed_id_pro",
            true,
            "200",
            scores(Some(88.285_941_665_297_86), None, Some(88.361_549_377_441_4), None),
        ),
        (
            "describe_passed_id_pro_full_material",
            true,
            "200",
            scores(Some(91.5), None, Some(99.934_768_676_757_81), Some(8.597e-05)),
        ),
        (
            "describe_passed_id_pro_no_pictures",
            true,
            "200",
            scores(Some(86.0), None, Some(97.1), Some(0.0001)),
        ),
        ("describe_passed_pv_fv", true, "200", scores(Some(84.5), None, Some(90.0), None)),
        ("describe_passed_lr_fr", true, "200", scores(None, None, Some(88.0), None)),
        (
            "describe_passed_id_plus_ocr",
            true,
            "200",
            scores(Some(90.75), Some(87.25), Some(96.5), Some(0.0001)),
        ),
        ("describe_failed_201_name_number_mismatch", false, "201", Scores::default()),
        ("describe_failed_203_no_photo", false, "203", Scores::default()),
        (
            "describe_failed_204_face_mismatch",
            false,
            "204",
            scores(Some(21.75), None, Some(89.0), None),
        ),
        (
            "describe_failed_206_policy_with_device_risk",
            false,
            "206",
            scores(Some(87.0), None, Some(90.0), None),
        ),
        (
            "describe_failed_207_id_plus_card_portrait",
            false,
            "207",
            scores(Some(86.0), Some(31.0), Some(94.0), None),
        ),
    ] {
        let reading = read(200, &sample(name));
        assert!(reading.request_id.as_ref().is_some_and(|id| id.starts_with("0F1E2D3C")), "{name}");
        let verified = finished(reading);
        assert_eq!((verified.passed, verified.code.as_deref()), (Some(passed), Some(code)));
        assert_eq!(verified.scores, expected, "{name}");
        assert_eq!(verified.malformed, Vec::<String>::new(), "{name}");
        assert_eq!(verified.damaged_texts, Vec::<String>::new(), "{name}");
        let risks = if code == "206" { vec!["HOOK", "ROOT", "VPN"] } else { vec![] };
        assert_eq!(verified.device_risk, risks, "{name}");
    }
}

#[test]
fn every_sample_without_a_result_has_its_class() {
    let unfinished = read(200, &sample("describe_424_no_record_yet")).outcome.unwrap();
    assert!(matches!(unfinished, Read::Unfinished { code } if code == "424"));
    for (name, http_status, class, code) in [
        ("describe_404_scene_unknown", 200, ErrorClass::BadRequest, "404"),
        ("describe_406_invalid_certify_id", 200, ErrorClass::Gone, "406"),
        ("describe_411_no_ram_right", 200, ErrorClass::Credentials, "411"),
        ("describe_500_system_error", 200, ErrorClass::Transient, "500"),
        ("http400_throttling_user", 400, ErrorClass::Throttled, "Throttling.User"),
        ("http503_service_unavailable", 503, ErrorClass::Transient, "ServiceUnavailable"),
    ] {
        let error = read(http_status, &sample(name)).outcome.unwrap_err();
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{name}");
    }
}

#[test]
fn full_material_has_flags_links_and_objects() {
    let verified = finished(read(200, &sample("describe_passed_id_pro_full_material")));
    assert_eq!((verified.face_attack, verified.face_occluded), (Some(false), Some(false)));
    assert_eq!(verified.wear_hat, Some(false));
    assert_eq!(verified.guard_risk_score, Some(3.5));
    let material = verified.material.unwrap();
    let link = material.face_image_url.unwrap();
    // The query is part of the link: without it the link is dead.
    assert!(link.expose_secret().starts_with("http://") && link.expose_secret().contains("token="));
    assert!(material.video_url.unwrap().expose_secret().contains("verifyvideo.mp4?"));
    assert_eq!(material.device_token.unwrap().expose_secret(), "EXAMPLE");
    assert!(material.id_card.is_none() && material.user_info.is_none());
    let names: Vec<&str> =
        material.stored_objects.iter().map(|stored| stored.object.expose_secret()).collect();
    assert!(names[0].ends_with("b_0.jpeg") && names[1].ends_with("b_verifyvideo.mp4"), "{names:?}");
    let buckets = material.stored_objects.iter().map(|stored| stored.bucket.as_ref().unwrap());
    assert!(buckets.into_iter().all(|bucket| bucket.expose_secret().starts_with("cn-shanghai")));
}

#[test]
fn recognised_card_has_texts_dates_links_and_objects() {
    let verified = finished(read(200, &sample("describe_passed_id_plus_ocr")));
    let material = verified.material.unwrap();
    let card = material.id_card.unwrap();
    let texts = [&card.name, &card.sex, &card.nationality, &card.number];
    let texts = texts.map(|text| text.as_ref().unwrap().expose_secret());
    assert_eq!(texts, ["示例·测试", "女", "汉", "000000190001010000"]);
    assert_eq!(card.authority.unwrap().expose_secret(), "示例市公安局");
    assert_eq!(card.address.unwrap().expose_secret(), "示例省示例市示例路1号");
    assert_eq!(card.birth.unwrap().date, Some(date!(1900 - 01 - 01)));
    assert_eq!(card.start_date.unwrap().date, Some(date!(2020 - 01 - 01)));
    assert_eq!(card.end_date.unwrap().date, Some(date!(2040 - 01 - 01)));
    assert!(card.front_image_url.unwrap().expose_secret().contains("_idface.jpeg?"));
    assert!(card.back_image_url.unwrap().expose_secret().contains("_idback.jpeg?"));
    assert_eq!(material.stored_objects.len(), 3);
}

#[test]
fn card_may_be_long_term_and_rare_characters_are_read() {
    let material = json!({ "ocrIdCardInfo": { "endDate": "长期", "birth": 19_000_101 } });
    let user = json!({ "number": "000000190001010000", "name": "㐂测", "verifyName": "喜测" });
    let verified = finished(read_json(
        200,
        &result(&json!({ "Passed": "T", "SubCode": 200, "MaterialInfo": material,
                         "UserInfo": user.to_string() })),
    ));
    let material = verified.material.unwrap();
    let card = material.id_card.unwrap();
    let end = card.end_date.unwrap();
    assert_eq!((end.text.expose_secret(), end.date), ("长期", None));
    assert_eq!(card.birth.unwrap().date, Some(date!(1900 - 01 - 01)));
    let user = material.user_info.unwrap();
    let texts = [user.name, user.number, user.verify_name];
    let texts = texts.map(|text| text.unwrap().expose_secret().to_owned());
    assert_eq!(texts, ["㐂测", "000000190001010000", "喜测"]);
}

#[test]
fn numbers_strings_and_objects_read_the_same() {
    let text = sample_json("describe_passed_id_plus_ocr");
    let material: Value =
        serde_json::from_str(text["ResultObject"]["MaterialInfo"].as_str().unwrap()).unwrap();
    let expected = with_material(material.clone());
    let mut numbers_as_text = material.clone();
    let picture = numbers_as_text["facialPictureFront"].as_object_mut().unwrap();
    for value in picture.values_mut().filter(|value| value.is_number()) {
        *value = Value::from(format!(" {value} "));
    }
    for form in [
        Value::from(material.to_string()),
        Value::from(serde_json::to_string(&material.to_string()).unwrap()),
        Value::from(serde_json::to_string_pretty(&material).unwrap()),
        numbers_as_text.clone(),
        Value::from(numbers_as_text.to_string()),
    ] {
        let verified = with_material(form.clone());
        assert_eq!(verified.scores, expected.scores, "{form}");
        assert_eq!(verified.malformed, Vec::<String>::new(), "{form}");
        assert!(verified.material.unwrap().id_card.is_some());
    }
    for (code, sub_code) in [(json!(200), json!(200)), (json!("200"), json!(200.0))] {
        let body = json!({ "Code": code, "ResultObject": { "Passed": "T", "SubCode": sub_code,
            "Success": true, "MaterialInfo": null } });
        let verified = finished(read_json(200, &body));
        assert_eq!((verified.passed, verified.code.as_deref()), (Some(true), Some("200")));
        assert!(verified.malformed.is_empty() && verified.material.is_none());
    }
}

#[test]
fn absent_material_is_not_unreadable_material() {
    for absent in [json!(null), json!(""), json!("null"), json!(" NULL\n"), json!({}), json!("{}")]
    {
        let verified = with_material(absent.clone());
        assert_eq!(verified.malformed, Vec::<String>::new(), "{absent}");
        assert_eq!(verified.scores, Scores::default());
    }
    for unreadable in [
        json!("{\"faceAttack\":\"F\",\"facialPictureFront\":{\"verifyScore\":88.28594"),
        json!("{\"faceAttack\":\"F\"} {\"faceAttack\":\"T\"}"),
        json!("{\"faceAttack\":\"F\"\u{1}}"),
        json!("{\"face\u{fffd}ttack\":\"T\"}"),
        json!("[]"),
        json!("undefined"),
        json!("abc"),
        json!([{}]),
        json!(7),
        json!(true),
    ] {
        let verified = with_material(unreadable.clone());
        assert_eq!(verified.malformed, [malformed::MATERIAL_INFO], "{unreadable}");
        assert_eq!((verified.passed, verified.code.as_deref()), (Some(true), Some("200")));
    }
}

#[test]
fn material_cut_off_anywhere_is_noted() {
    let full = sample_json("describe_passed_id_pro_full_material");
    let material = full["ResultObject"]["MaterialInfo"].as_str().unwrap();
    for end in 1..material.len() {
        let verified = with_material(material[..end].into());
        assert_eq!(verified.malformed, [malformed::MATERIAL_INFO], "{end}");
    }
}

#[test]
fn parts_of_the_material_that_are_no_objects_are_noted() {
    for (name, noted) in
        [("facialPictureFront", malformed::FACIAL_PICTURE), ("ocrIdCardInfo", malformed::ID_CARD)]
    {
        for unreadable in [json!("{\"a\":"), json!([{}, {}]), json!(1), json!("x")] {
            let verified = with_material(json!({ name: unreadable }));
            assert_eq!(verified.malformed, [noted], "{unreadable}");
        }
        for absent in [json!(null), json!(""), json!("null"), json!("{}")] {
            let verified = with_material(json!({ name: absent }));
            assert_eq!(verified.malformed, Vec::<String>::new(), "{absent}");
        }
    }
}

#[test]
fn unreadable_texts_about_the_person_decide_nothing() {
    for name in ["UserInfo", "IdentityInfo"] {
        for unreadable in [json!("{\"name\":\"测"), json!(7), json!([])] {
            let verified = passed_with(name, unreadable);
            assert_eq!(verified.malformed, Vec::<String>::new());
            assert_eq!(verified.damaged_texts, [format!("/ResultObject/{name}")]);
        }
        for absent in [json!(null), json!(""), json!("null"), json!({}), json!("{\"a\":1}")] {
            assert!(passed_with(name, absent).damaged_texts.is_empty());
        }
    }
}

#[test]
fn scores_keep_to_their_scale_or_are_noted() {
    for (member, noted, good) in [
        ("verifyScore", malformed::VERIFY_SCORE, 100.0),
        ("idCardVerifyScore", malformed::ID_CARD_SCORE, 100.0),
        ("qualityScore", malformed::QUALITY_SCORE, 100.0),
        ("guardRiskScore", malformed::GUARD_RISK_SCORE, 100.0),
        ("faceAttackScore", malformed::ATTACK_SCORE, 1.0),
    ] {
        for value in [json!(good), json!(good.to_string()), json!(0), json!("-0.0")] {
            let verified = with_picture(&json!({ member: value }));
            assert_eq!(verified.malformed, Vec::<String>::new(), "{member} {value}");
        }
        for value in [
            json!(good + 0.001),
            json!(-0.5),
            json!("abc"),
            json!("NaN"),
            json!("inf"),
            json!("88,5"),
            json!("88%"),
            json!(true),
            json!([1]),
            json!({}),
        ] {
            let verified = with_picture(&json!({ member: value }));
            assert_eq!(verified.malformed, [noted], "{member} {value}");
            assert_eq!((verified.scores, verified.guard_risk_score), (Scores::default(), None));
        }
        for value in [json!(null), json!(""), json!("null")] {
            let verified = with_picture(&json!({ member: value }));
            assert_eq!(verified.malformed, Vec::<String>::new(), "{member} {value}");
        }
        let twice = format!("{{\"facialPictureFront\":{{\"{member}\":1,\"{member}\":0.5}}}}");
        assert_eq!(with_material(twice.into()).malformed, [noted], "{member}");
        let apart = json!({ member: 1, "facialPictureFront": { member: 0.5 } });
        assert_eq!(with_material(apart).malformed, [noted], "{member}");
    }
}

#[test]
fn flags_are_letters_or_truth_values() {
    for (member, noted) in [
        ("faceAttack", malformed::FACE_ATTACK),
        ("faceOcclusion", malformed::FACE_OCCLUDED),
        ("qualityWearHat", malformed::WEAR_HAT),
    ] {
        let flag = |value: Value| {
            let verified = with_material(json!({ member: value }));
            let flags = [verified.face_attack, verified.face_occluded, verified.wear_hat];
            (flags.into_iter().flatten().next(), verified.malformed)
        };
        for yes in [json!("T"), json!("t"), json!(true), json!("True")] {
            assert_eq!(flag(yes), (Some(true), Vec::new()), "{member}");
        }
        for no in [json!("F"), json!(false), json!("false")] {
            assert_eq!(flag(no), (Some(false), Vec::new()), "{member}");
        }
        for odd in [json!("Y"), json!(1), json!("0"), json!(["T"]), json!("TT")] {
            assert_eq!(flag(odd), (None, vec![noted.to_owned()]), "{member}");
        }
    }
}

#[test]
fn device_risks_are_labels_and_nothing_else() {
    for (value, labels, readable) in [
        (json!("ROOT,VPN,HOOK"), vec!["HOOK", "ROOT", "VPN"], true),
        (json!(" vpn , ROOT，vpn,"), vec!["ROOT", "VPN"], true),
        (json!(["ROOT", "VPN"]), vec!["ROOT", "VPN"], true),
        (json!("MULTI_APP_2"), vec!["MULTI_APP_2"], true),
        (json!(""), vec![], true),
        (json!(null), vec![], true),
        (json!("null"), vec![], true),
        (json!([null, ""]), vec![], true),
        (json!("ROOT,测试甲"), vec!["ROOT"], false),
        (json!("13800138000"), vec![], false),
        (json!("ROOT;VPN"), vec![], false),
        (json!({ "ROOT": 1 }), vec![], false),
        (json!(true), vec![], false),
        (json!("A".repeat(33)), vec![], false),
    ] {
        let verified = passed_with("DeviceRisk", value.clone());
        assert_eq!(verified.device_risk, labels, "{value}");
        let noted: &[&str] = if readable { &[] } else { &[malformed::DEVICE_RISK] };
        assert_eq!(verified.malformed, noted, "{value}");
    }
    let many: Vec<String> = (0..500).map(|n| format!("L{n}")).collect();
    let verified = passed_with("DeviceRisk", many.join(",").into());
    assert_eq!((verified.device_risk.len(), verified.malformed.len()), (64, 1));
}

#[test]
fn only_the_documented_letter_passes() {
    let outcome = |passed: Value| {
        let body = result(&json!({ "Passed": passed, "SubCode": "200" }));
        let verified = finished(read_json(200, &body));
        (verified.passed, verified.malformed)
    };
    assert_eq!(outcome(json!("T")), (Some(true), vec![]));
    assert_eq!(outcome(json!(" T\n")), (Some(true), vec![]));
    for odd in [
        json!("t"),
        json!(true),
        json!("True"),
        json!("Y"),
        json!(1),
        json!("TF"),
        json!("Ｔ"),
        json!(["T"]),
        json!(["T", "F"]),
        json!({ "T": "T" }),
        json!(null),
        json!(""),
        json!("null"),
    ] {
        assert_eq!(outcome(odd), (None, vec![malformed::PASSED.to_owned()]));
    }
    let repeated = |second: &str| {
        let body = format!(
            r#"{{"Code":"200","ResultObject":{{"Passed":"T","Passed":"{second}","SubCode":200}}}}"#
        );
        finished(read(200, body.as_bytes())).passed
    };
    assert_eq!((repeated("T"), repeated("F")), (Some(true), None));
}

#[test]
fn code_is_digits_or_noted() {
    let outcome = |code: Value| {
        let verified =
            finished(read_json(200, &result(&json!({ "Passed": "F", "SubCode": code }))));
        (verified.code, verified.malformed)
    };
    for (code, expected) in [
        (json!("204"), "204"),
        (json!(204), "204"),
        (json!(204.0), "204"),
        (json!(" 204 "), "204"),
        (json!("999999"), "999999"),
        (json!("208"), "208"),
        (json!("0200"), "0200"),
    ] {
        assert_eq!(outcome(code), (Some(expected.to_owned()), vec![]));
    }
    for odd in [
        json!("Z5128"),
        json!("110101199003077777"),
        json!("13800138000"),
        json!("-204"),
        json!("204.5"),
        json!("2e2"),
        json!("204,205"),
        json!([204]),
        json!([204, 205]),
        json!(true),
        json!(null),
        json!(""),
        json!("null"),
        json!("测试甲"),
    ] {
        assert_eq!(outcome(odd), (None, vec![malformed::CODE.to_owned()]));
    }
}

#[test]
fn contradictions_are_noted() {
    let noted = |http_status: u16, body: &Value| finished(read_json(http_status, body)).malformed;
    for code in ["201", "204", "205", "0200", "208", "220", "417", "401"] {
        let body = result(&json!({ "Passed": "T", "SubCode": code }));
        assert_eq!(noted(200, &body), [malformed::CONTRADICTION], "{code}");
        let body = result(&json!({ "Passed": "F", "SubCode": code }));
        assert!(noted(200, &body).is_empty());
    }
    for code in ["200", "210"] {
        let body = result(&json!({ "Passed": "F", "SubCode": code }));
        assert_eq!(noted(200, &body), [malformed::CONTRADICTION], "{code}");
        let body = result(&json!({ "Passed": "T", "SubCode": code }));
        assert!(noted(200, &body).is_empty());
        for http_status in [302, 400, 424, 500, 503] {
            assert_eq!(noted(http_status, &body), [malformed::CONTRADICTION], "{http_status}");
        }
        let mut denied = body;
        denied["Success"] = json!("False");
        assert_eq!(noted(200, &denied), [malformed::CONTRADICTION]);
        denied["Success"] = json!("True");
        assert!(noted(200, &denied).is_empty());
    }
    // `ResultObject.Success` means nothing for the verdict.
    assert!(passed_with("Success", json!("False")).malformed.is_empty());
}

#[test]
fn result_without_a_code_that_allows_it_is_never_clean() {
    let members = json!({ "Passed": "T", "SubCode": "200" });
    let without = finished(read_json(200, &json!({ "ResultObject": members })));
    assert_eq!(without.malformed, [malformed::BODY_CODE]);
    for code in [json!(["200", "424"]), json!({}), json!(true), json!("no such person: 测试甲")]
    {
        let body = json!({ "Code": code, "ResultObject": members }).to_string();
        assert_eq!(error_class(200, body.as_bytes()), ErrorClass::Unreadable, "{body}");
    }
    let two = br#"{"Code":"200","code":"424","ResultObject":{"Passed":"T","SubCode":"200"}}"#;
    assert_eq!(error_class(200, two), ErrorClass::Unreadable);
    let nested =
        json!({ "Code": "200", "Error": { "Code": "Forbidden" }, "ResultObject": members });
    assert_eq!(error_class(200, nested.to_string().as_bytes()), ErrorClass::Unreadable);
}

#[test]
fn failed_code_counts_whatever_stands_beside_it() {
    let members = json!({ "Passed": "T", "SubCode": "200" });
    let with =
        |code: &str| read_json(200, &json!({ "Code": code, "ResultObject": members })).outcome;
    assert!(matches!(with("424"), Ok(Read::Unfinished { .. })));
    assert!(matches!(with("427"), Ok(Read::Refused { .. })));
    assert_eq!(with("500").unwrap_err().class, ErrorClass::Transient);
    assert_eq!(with("406").unwrap_err().class, ErrorClass::Gone);
}

#[test]
fn body_code_means_the_same_with_any_http_status() {
    use ErrorClass::{BadRequest, Credentials, Gone, Transient};
    for http_status in [200, 400, 401, 403, 404, 406, 410, 412, 424, 500, 503] {
        for code in [json!("424"), json!(424), json!("403"), json!("424.0")] {
            let body = json!({ "Code": code, "Message": "x", "ResultObject": null });
            let outcome = read_json(http_status, &body).outcome;
            assert!(matches!(outcome, Ok(Read::Unfinished { .. })), "{http_status} {code}");
        }
        for code in ["414", "415", "416", "417", "418", "427"] {
            let outcome = read_json(http_status, &json!({ "Code": code })).outcome;
            assert!(matches!(outcome, Ok(Read::Refused { code: read }) if read == code));
        }
        for (code, class) in [
            ("400", BadRequest),
            ("401", BadRequest),
            ("404", BadRequest),
            ("402", Credentials),
            ("410", Credentials),
            ("411", Credentials),
            ("412", Credentials),
            ("406", Gone),
            ("500", Transient),
        ] {
            let error = read_json(http_status, &json!({ "code": code })).outcome.unwrap_err();
            assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{http_status}");
            assert_eq!(is_conclusive(Some(code)), class == BadRequest);
        }
    }
}

#[test]
fn unknown_body_code_neither_stops_the_account_nor_fails_the_person() {
    for code in ["425", "299", "405", "419", "423", "1", "3101", "999"] {
        for http_status in [200, 400, 401, 403, 404, 410, 425] {
            let body = json!({ "Code": code }).to_string();
            assert_eq!(error_class(http_status, body.as_bytes()), ErrorClass::Unreadable, "{code}");
            assert!(code == "3101" || !is_conclusive(Some(code)));
        }
        let body = json!({ "Code": code }).to_string();
        assert_eq!(error_class(503, body.as_bytes()), ErrorClass::Transient);
        assert_eq!(error_class(429, body.as_bytes()), ErrorClass::Throttled);
    }
}

#[test]
fn gateway_errors_have_their_usual_classes() {
    for (code, http_status, class) in [
        ("Throttling", 400, ErrorClass::Throttled),
        ("Throttling.Api", 403, ErrorClass::Throttled),
        ("ServiceUnavailable", 503, ErrorClass::Transient),
        ("SignatureNonceUsed", 400, ErrorClass::Clock),
        ("SignatureDoesNotMatch", 400, ErrorClass::Credentials),
        ("InvalidAccessKeyId.NotFound", 404, ErrorClass::Credentials),
        ("Forbidden.RAM", 403, ErrorClass::Credentials),
        ("MissingSceneId", 400, ErrorClass::BadRequest),
        ("Brand.New", 200, ErrorClass::Unreadable),
    ] {
        let body = json!({ "Code": code, "HostId": "h" }).to_string();
        assert_eq!(error_class(http_status, body.as_bytes()), class, "{code}");
        let xml = format!("<Error><RequestId>A-1</RequestId><Code>{code}</Code></Error>");
        assert_eq!(error_class(http_status, xml.as_bytes()), class, "{code}");
    }
    let page = b"<!DOCTYPE html><html><body><h1>404<br></h1></body></html>";
    for body in [&b""[..], b"<", b"nonsense", b"{}", b"[]", b"{\"Code\":1", page] {
        assert_eq!(error_class(404, body), ErrorClass::Transient);
        assert_eq!(error_class(502, body), ErrorClass::Transient);
        assert_eq!(error_class(429, body), ErrorClass::Throttled);
        assert_eq!(error_class(200, body), ErrorClass::Unreadable);
    }
}

#[test]
fn success_without_a_result_is_unreadable() {
    for members in [
        json!(null),
        json!({}),
        json!("null"),
        json!(""),
        json!([]),
        json!("{\"Passed\":\"T\","),
        json!(7),
    ] {
        let body = result(&members).to_string();
        assert_eq!(error_class(200, body.as_bytes()), ErrorClass::Unreadable, "{body}");
    }
    // One that cannot be read may say something else than the other.
    let two = json!({ "Code": "200", "Passed": "T", "SubCode": "200", "ResultObject": [] });
    assert_eq!(error_class(200, two.to_string().as_bytes()), ErrorClass::Unreadable);
    let differ = json!({ "Code": "200", "Passed": "T", "SubCode": "200",
                         "ResultObject": { "Passed": "F", "SubCode": "200" } });
    assert_eq!(finished(read_json(200, &differ)).passed, None);
}

#[test]
fn result_may_be_a_string_or_xml_with_and_without_a_root() {
    let members = json!({ "Passed": "T", "SubCode": 200,
        "MaterialInfo": "{\"facialPictureFront\":{\"verifyScore\":90}}" });
    let text = finished(read_json(200, &result(&members.to_string().into())));
    assert_eq!((text.passed, text.scores.verify), (Some(true), Some(90.0)));
    let elements = "<Code>200</Code><Message>success</Message><RequestId>A-1</RequestId>\
        <ResultObject><Passed>T</Passed><SubCode>200</SubCode><IdentityInfo>null</IdentityInfo>\
        <MaterialInfo>{\"facialPictureFront\":{\"verifyScore\":90}}</MaterialInfo></ResultObject>";
    for body in [
        elements.to_owned(),
        format!("\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n{elements}\n"),
        format!("<DescribeFaceVerifyResponse>{elements}</DescribeFaceVerifyResponse>"),
    ] {
        let reading = read(200, body.as_bytes());
        assert_eq!(reading.request_id.as_deref(), Some("A-1"));
        let verified = finished(reading);
        assert_eq!((verified.passed, verified.scores.verify), (Some(true), Some(90.0)));
        assert!(verified.malformed.is_empty(), "{:?}", verified.malformed);
    }
    let waiting = read(200, b"<Code>424</Code><Message>x</Message>").outcome.unwrap();
    assert!(matches!(waiting, Read::Unfinished { .. }));
}

#[test]
fn damage_that_could_hide_what_decides_is_noted() {
    for (body, noted) in [
        (
            &b"{\"Code\":\"200\",\"ResultObject\":{\"Passed\":\"T\",\"SubCode\":\"200\"\xff}}"[..],
            malformed::STRAY_BYTES,
        ),
        (
            b"{\"Code\":\"200\",\"ResultObject\":{\"Passed\":\"T\",\"SubCode\":\"200\",\"Mat\xffrialInfo\":\"\"}}",
            malformed::DAMAGED_NAME,
        ),
        (
            br#"{"Code":"200","ResultObject":{"Passed":"T","SubCode":"200"}}{"Code":"424"}"#,
            malformed::SECOND_ANSWER,
        ),
    ] {
        let verified = finished(read(200, body));
        assert_eq!(verified.malformed, [noted], "{}", body.escape_ascii());
    }
    let trailing = br#"{"Code":"200","ResultObject":{"Passed":"T","SubCode":"200"}} thank you"#;
    let verified = finished(read(200, trailing));
    assert!(verified.malformed.is_empty());
    assert_eq!(verified.damaged_texts, [malformed::TRAILING_TEXT]);
}

#[test]
fn damaged_text_of_the_person_is_noted_where_it_stands() {
    let material = r#"{\"ocrIdCardInfo\":{\"certName\":\"\\ud83d\"},\"Wang\":\"\\ud83d\"}"#;
    let body = format!(
        r#"{{"Code":"200","ResultObject":{{"Passed":"T","SubCode":"200","MaterialInfo":"{material}"}}}}"#
    );
    let verified = finished(read(200, body.as_bytes()));
    assert!(verified.malformed.is_empty());
    let places =
        ["/ResultObject/MaterialInfo/ocrIdCardInfo/certName", "/ResultObject/MaterialInfo/*"];
    assert_eq!(verified.damaged_texts, places);
}

#[test]
fn every_code_has_its_family() {
    for (codes, expected) in [
        (&["200", "210"][..], Family::Pass),
        (&["201"], Family::IdentityData),
        (&["202", "203", "209"], Family::SourceCannotTell),
        (&["204", "207"], Family::Face),
        (&["205", "206"], Family::AttackOrRisk),
        (&["220", "221", "222"], Family::Consent),
        (&["414", "415", "416", "417", "418", "427"], Family::Refused),
        (&["208", "211", "212", "401", "0200", "", "T", "2000"], Family::Unknown),
    ] {
        assert!(codes.iter().all(|code| family(code) == expected), "{expected}");
    }
    let names = Family::ALL.map(Family::as_str);
    let expected = ["pass", "identity-data", "source-cannot-tell", "face", "attack-or-risk"];
    assert_eq!(names[..5], expected);
    assert_eq!(names[5..], ["consent", "refused", "unknown"]);
}

#[test]
fn nothing_prints_the_person() {
    let ocr = read(200, &sample("describe_passed_id_plus_ocr"));
    let full = read(200, &sample("describe_passed_id_pro_full_material"));
    let started = read_started(200, &sample("init_ok_h5"));
    let notice = Notice::parse("callbackToken=tok-7f3a&certifyId=x");
    let printed = format!("{ocr:?} {full:?} {started:?} {notice:?}");
    for private in ["示例", "19000101", "http", "EXAMPLE", "verify/", "aliyun", "t.example", "7f3a"]
    {
        assert!(!printed.contains(private), "{private}: {printed}");
    }
}

#[test]
fn deep_and_huge_bodies_are_refused_not_followed() {
    let deep = 200_000;
    let json = format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep));
    assert_eq!(error_class(200, json.as_bytes()), ErrorClass::Unreadable);
    let nested = |levels: usize| {
        let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        with_material(format!("{{\"x\":{lists}}}").into()).malformed.is_empty()
    };
    assert!(nested(MAX_DEPTH - 1) && !nested(MAX_DEPTH));
    let mut huge = sample("describe_passed_id_pro");
    huge.resize(MAX_BODY_BYTES + 1, b' ');
    assert_eq!(error_class(200, &huge), ErrorClass::Unreadable);
}

// --- InitFaceVerify ---

fn started(http_status: u16, body: &[u8]) -> Started {
    match read_started(http_status, body).outcome {
        Ok(Start::Started(started)) => started,
        other => panic!("not started: {other:?}"),
    }
}

#[test]
fn every_sample_of_a_start_reads_as_documented() {
    for (name, certify_id, url) in [
        ("init_ok_app", "sha00000000000000000000000000001", None),
        (
            "init_ok_h5",
            "sha00000000000000000000000000002",
            Some("https://t.example.invalid/AbCd12"),
        ),
        ("init_h5_metainfo_unusable_no_url", "sha00000000000000000000000000003", None),
    ] {
        let started = started(200, &sample(name));
        assert_eq!(started.certify_id, certify_id);
        assert_eq!(started.certify_url.as_ref().map(SecretString::expose_secret), url, "{name}");
    }
    for (name, code) in [
        ("init_405_under_14", "405"),
        ("init_417_no_comparison_source", "417"),
        ("init_419_picture_unusable", "419"),
    ] {
        let reading = read_started(200, &sample(name));
        assert!(reading.request_id.is_some());
        assert!(matches!(reading.outcome, Ok(Start::Refused { code: read }) if read == code));
    }
    let bad = read_started(200, &sample("init_401_bad_parameter_or_callback_unreachable"));
    assert_eq!(bad.outcome.unwrap_err().class, ErrorClass::BadRequest);
}

#[test]
fn codes_of_a_start_have_their_meaning_with_any_http_status() {
    use ErrorClass::{BadRequest, Credentials, Throttled, Transient, Unreadable};
    for http_status in [200, 400, 403, 424, 500] {
        let outcome = |code: Value| {
            let body = json!({ "Code": code, "RequestId": "A-1" }).to_string();
            read_started(http_status, body.as_bytes()).outcome
        };
        for code in (414..=423).chain([405, 427]) {
            let refused = outcome(json!(code)).unwrap();
            assert!(matches!(refused, Start::Refused { code: read } if read == code.to_string()));
        }
        for (code, class) in [
            ("400", BadRequest),
            ("401", BadRequest),
            ("404", BadRequest),
            ("402", Credentials),
            ("410", Credentials),
            ("411", Credentials),
            ("412", Credentials),
            ("500", Transient),
            ("403", Unreadable),
            ("406", Unreadable),
            ("424", Unreadable),
            ("Throttling.User", Throttled),
        ] {
            assert_eq!(outcome(json!(code)).unwrap_err().class, class, "{http_status} {code}");
        }
    }
}

#[test]
fn started_verification_is_not_lost_to_its_form() {
    let object = json!({ "CertifyId": "sha1", "CertifyUrl": "http://m.example.invalid/x" });
    for body in [
        json!({ "Code": 200, "ResultObject": object }),
        json!({ "ResultObject": object }),
        json!({ "Code": "200", "ResultObject": object.to_string() }),
        json!({ "code": "200", "data": { "certifyId": "sha1", "certifyUrl": object["CertifyUrl"] } }),
    ] {
        for http_status in [200, 500] {
            let started = started(http_status, body.to_string().as_bytes());
            assert_eq!(started.certify_id, "sha1");
            let url = started.certify_url.unwrap();
            assert_eq!(url.expose_secret(), "http://m.example.invalid/x");
        }
    }
    for url in [json!(null), json!(""), json!("null"), json!("javascript:alert(1)"), json!("/x")] {
        let body = result(&json!({ "CertifyId": "sha1", "CertifyUrl": url }));
        assert!(started(200, body.to_string().as_bytes()).certify_url.is_none(), "{url}");
    }
    for id in [json!(null), json!(""), json!("null"), json!("a b"), json!("测"), json!(["x"])] {
        let body = result(&json!({ "CertifyId": id })).to_string();
        let error = read_started(200, body.as_bytes()).outcome.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unreadable, "{id}");
    }
}

// --- DeleteFaceVerifyResult ---

#[test]
fn deletion_is_done_only_where_the_provider_says_so() {
    let sampled = |name| read_deleted(200, &sample(name)).outcome.unwrap();
    assert_eq!(sampled("delete_ok"), Deletion::Gone);
    assert_eq!(sampled("delete_refused_need_query"), Deletion::NeedQuery);
    let outcome = |http_status: u16, members: Value| {
        read_deleted(http_status, result(&members).to_string().as_bytes()).outcome
    };
    let failed = |reason: Option<&str>| Deletion::Failed { reason: reason.map(str::to_owned) };
    for (members, expected) in [
        (json!({ "DeleteResult": "N", "FailReason": "NOT_DELETE_REPEATEDLY" }), Deletion::Gone),
        (json!({ "FailReason": "not_delete_repeatedly" }), Deletion::Gone),
        (json!({ "DeleteResult": "Y", "FailReason": null }), Deletion::Gone),
        (json!({ "DeleteResult": "Y", "FailReason": "null" }), Deletion::Gone),
        (
            json!({ "DeleteResult": "Y", "FailReason": "NEED_QUERY_VERIFY_RESULT" }),
            failed(Some("NEED_QUERY_VERIFY_RESULT")),
        ),
        (json!({ "DeleteResult": "N" }), failed(None)),
        (json!({ "DeleteResult": "N", "FailReason": "BUSY" }), failed(Some("BUSY"))),
        (json!({ "DeleteResult": "N", "FailReason": "测试甲" }), failed(None)),
        (
            json!({ "DeleteResult": "N", "FailReason": "ID_110101199003077777" }),
            failed(Some("ID_##################")),
        ),
    ] {
        assert_eq!(outcome(200, members.clone()).unwrap(), expected, "{members}");
    }
    for members in [json!({}), json!({ "DeleteResult": "yes" }), json!({ "DeleteResult": true })] {
        assert_eq!(outcome(200, members).unwrap_err().class, ErrorClass::Unreadable);
    }
    let gone = json!({ "DeleteResult": "Y" });
    assert_eq!(outcome(500, gone.clone()).unwrap_err().class, ErrorClass::Unreadable);
    for (code, class) in [
        ("500", ErrorClass::Transient),
        ("406", ErrorClass::Gone),
        ("411", ErrorClass::Credentials),
        ("Throttling.User", ErrorClass::Throttled),
    ] {
        let body = json!({ "Code": code, "ResultObject": gone }).to_string();
        assert_eq!(read_deleted(200, body.as_bytes()).outcome.unwrap_err().class, class, "{code}");
    }
}

// --- DescribeVerifySearchPageList ---

#[test]
fn records_are_found_by_both_keys_or_not_at_all() {
    let found = |http_status: u16, body: &Value| {
        read_found(http_status, body.to_string().as_bytes()).outcome
    };
    let record = |id: &str, order: &str| {
        json!({ "CertifyId": id, "OuterOrderNo": order,
        "CertNo": "0****************0", "Passed": "T", "ExtInfo": { "VerifyScore": 90 } })
    };
    let expected = Found { certify_id: "sha1".to_owned(), outer_order_no: "vd1".to_owned() };
    let page = json!({ "CurrentPage": 1, "TotalCount": 3, "RequestId": "A-1", "Items": [
        record("sha1", "vd1"), { "CertifyId": "sha2" }, { "OuterOrderNo": "vd1" }, null, 7,
        record("a b", "vd1") ] });
    assert_eq!(found(200, &page).unwrap(), [expected]);
    for nothing in [
        json!({ "Items": [], "TotalCount": 0 }),
        json!({ "Items": null, "TotalCount": "0" }),
        json!({ "TotalCount": 0, "Code": 200 }),
    ] {
        assert_eq!(found(200, &nothing).unwrap(), [], "{nothing}");
    }
    for (http_status, body, class) in [
        (200, json!({}), ErrorClass::Unreadable),
        (200, json!({ "Items": null, "TotalCount": 1 }), ErrorClass::Unreadable),
        (200, json!({ "Items": {} }), ErrorClass::Unreadable),
        (200, json!({ "Code": "411", "Items": [] }), ErrorClass::Credentials),
        (403, json!({ "Code": "NoPermission" }), ErrorClass::Credentials),
        (404, json!({ "Code": "InvalidAction.NotFound" }), ErrorClass::Credentials),
        (503, json!({ "Items": [] }), ErrorClass::Transient),
    ] {
        assert_eq!(found(http_status, &body).unwrap_err().class, class, "{body}");
    }
}

// --- Callbacks and returns ---

fn query_of(name: &str) -> String {
    let url: url::Url = sample_json(name)["url"].as_str().unwrap().parse().unwrap();
    url.query().unwrap().to_owned()
}

#[test]
fn every_sample_of_a_callback_reads_as_documented() {
    for (name, token, code, certify_id) in [
        ("callback_passed", Some("tok-7f3a"), "200", "sha0000000000000000000000000000a"),
        ("callback_failed_204", Some("tok-7f3a"), "204", "sha00000000000000000000000000018"),
        ("callback_no_token", None, "200", "sha0000000000000000000000000000a"),
        ("callback_new_style_subcode", Some("tok-7f3a"), "200", "sha0000000000000000000000000000a"),
        ("callback_encoded_token", Some("tok*~ +/="), "200", "sha0000000000000000000000000000a"),
    ] {
        let notice = Notice::parse(&query_of(name));
        assert_eq!(notice.certify_id.as_deref(), Some(certify_id), "{name}");
        assert_eq!(notice.token.as_ref().map(SecretString::expose_secret), token, "{name}");
        assert_eq!((notice.code.as_deref(), notice.passed), (Some(code), None), "{name}");
    }
}

#[test]
fn callback_names_come_in_any_case_and_must_agree() {
    let read = |query: &str| {
        let notice = Notice::parse(query);
        let token = notice.token.map(|token| token.expose_secret().to_owned());
        (notice.certify_id, token, notice.passed, notice.code)
    };
    let some = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        ("", (None, None, None, None)),
        ("CERTIFYID=a&callbacktoken=t&PASSED=T", (some("a"), some("t"), Some(true), None)),
        ("certifyId=a&passed=F&subcode=204", (some("a"), None, Some(false), some("204"))),
        ("certifyId=a&passed=204&subCode=204", (some("a"), None, None, some("204"))),
        ("certifyId=a&passed=200&subCode=204", (some("a"), None, None, None)),
        ("certifyId=a&certifyid=b&callbackToken=t", (None, some("t"), None, None)),
        ("certifyId=a&certifyId=a", (some("a"), None, None, None)),
        ("own=1?callbackToken=t&certifyId=a", (some("a"), some("t"), None, None)),
        ("certifyId=%E6%B5%8B&passed=yes&callbackToken=", (None, None, None, None)),
        ("certifyId=a%20b&passed=110101199003077777", (None, None, None, None)),
    ] {
        assert_eq!(read(query), expected, "{query}");
    }
    assert_eq!(read(&format!("certifyId=a&x={}", "y".repeat(9000))), (None, None, None, None));
}

#[test]
fn every_sample_of_a_return_reads_as_documented() {
    for (name, code, sub_code, certify_id) in [
        ("h5_return_passed", 1000, "Z5050", "sha00000000000000000000000000002"),
        ("h5_return_failed", 2006, "Z5051", "sha00000000000000000000000000018"),
        ("h5_return_interrupted", 1003, "Z5052", "sha00000000000000000000000000003"),
    ] {
        let query = query_of(name);
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let response = pairs.find(|(name, _)| name == "response").unwrap().1;
        let decoded = sample_json(name)["response_decoded"].clone();
        let quoted = Value::from(response.to_string()).to_string();
        for text in [response.to_string(), decoded.to_string(), quoted] {
            let returned = Return::parse(&text);
            assert_eq!((returned.code, returned.sub_code.as_deref()), (Some(code), Some(sub_code)));
            assert_eq!(returned.certify_id.as_deref(), Some(certify_id), "{name}");
        }
    }
    let message = sample_json("h5_iframe_post_message")["data"].to_string();
    let returned = Return::parse(&message);
    assert_eq!(returned.certify_id.as_deref(), Some("sha00000000000000000000000000002"));
    let of_app = Return::parse(&sample_json("app_sdk_result_failed").to_string());
    assert_eq!(of_app.certify_id.as_deref(), Some("sha00000000000000000000000000018"));
    assert_eq!(of_app.code, Some(2006));
}

#[test]
fn return_that_is_odd_says_less_and_never_fails() {
    let id = |text: &str| Return::parse(text).certify_id;
    for text in ["", "null", "{", "[]", "7", "\"x\"", "%7B%7D", "{\"extInfo\":7}"] {
        assert_eq!(Return::parse(text), Return::default(), "{text}");
    }
    assert_eq!(id(r#"{"extInfo":"{\"certifyId\":\"sha1\"}"}"#).as_deref(), Some("sha1"));
    assert_eq!(id(r#"{"CODE":"1000","certifyID":"sha1"}"#).as_deref(), Some("sha1"));
    assert_eq!(id(r#"{"certifyId":"a","extInfo":{"certifyId":"b"}}"#), None);
    assert_eq!(id(r#"{"extInfo":{"certifyId":"<script>"}}"#), None);
    assert_eq!(id(r#"{"code":1000,"msg":"success"}"#), None);
    let odd = Return::parse(r#"{"code":"13800138000","subCode":"110101199003077777"}"#);
    assert_eq!(odd, Return::default());
    let huge = format!(r#"{{"certifyId":"a","x":"{}"}}"#, "y".repeat(9000));
    assert_eq!(Return::parse(&huge), Return::default());
}

// --- Properties ---

/// JSON made of the names and values that matter here, so that readers are really reached.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "Code",
        "code",
        "Error",
        "Success",
        "ResultObject",
        "Data",
        "Passed",
        "passed",
        "SubCode",
        "MaterialInfo",
        "UserInfo",
        "IdentityInfo",
        "DeviceRisk",
        "facialPictureFront",
        "verifyScore",
        "idCardVerifyScore",
        "qualityScore",
        "faceAttackScore",
        "guardRiskScore",
        "faceOcclusion",
        "faceAge",
        "pictureUrl",
        "ocrIdCardInfo",
        "endDate",
        "CertifyId",
        "CertifyUrl",
        "DeleteResult",
        "FailReason",
        "Items",
        "OuterOrderNo",
        "extInfo",
        "certifyId",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..500).prop_map(Value::from),
        prop::sample::select(vec!["T", "F", "200", "204", "210", "424", "Y", "N", "null", "", "{"])
            .prop_map(Value::from),
        "[0-9.+\\-eE]{0,8}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 12, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..12)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

/// An answer of the usual form with any members.
fn any_answer() -> impl Strategy<Value = Value> {
    let code = prop::sample::select(vec![json!("200"), json!(200), json!("424"), json!("999")]);
    let passed = prop::sample::select(vec![json!("T"), json!("F"), json!("t"), json!(null)]);
    let sub_code = prop::sample::select(vec![json!("200"), json!(210), json!("204"), json!(null)]);
    (code, passed, sub_code, any_json(), any_json()).prop_map(
        |(code, passed, sub_code, material, other)| {
            json!({ "Code": code, "ResultObject": { "Passed": passed, "SubCode": sub_code,
                    "MaterialInfo": material, "DeviceRisk": other } })
        },
    )
}

fn check(http_status: u16, body: &[u8]) {
    let _ = read_started(http_status, body);
    let _ = read_deleted(http_status, body);
    let _ = read_found(http_status, body);
    let Ok(Read::Finished(verified)) = read(http_status, body).outcome else { return };
    let scores = verified.scores;
    let percents = [scores.verify, scores.id_card, scores.quality, verified.guard_risk_score];
    assert!(percents.into_iter().flatten().all(|score| (0.0..=100.0).contains(&score)));
    assert!(scores.attack.is_none_or(|score| (0.0..=1.0).contains(&score)));
    let fits = |label: &String| {
        label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    assert!(verified.device_risk.is_sorted() && verified.device_risk.iter().all(fits));
    let code = verified.code.as_deref();
    assert!(code.is_none_or(|code| code.bytes().all(|byte| byte.is_ascii_digit())));
    assert!(verified.passed.is_some() || !verified.malformed.is_empty());
    if verified.passed == Some(true) && verified.malformed.is_empty() {
        assert!(matches!(code, Some("200" | "210")) && (200..=299).contains(&http_status));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(http_status: u16, body: Vec<u8>) {
        check(http_status, &body);
    }

    #[test]
    fn any_json_is_read(http_status in 100_u16..600, body in any_json()) {
        check(http_status, body.to_string().as_bytes());
    }

    #[test]
    fn any_answer_of_the_usual_form_is_read(http_status in 199_u16..301, body in any_answer()) {
        check(http_status, body.to_string().as_bytes());
    }

    #[test]
    fn answer_cut_off_or_damaged_anywhere_is_read(at: prop::sample::Index, bad: u8, cut: bool) {
        // Without the line feed at its end, which it can do without.
        let mut body = sample("describe_passed_id_plus_ocr").trim_ascii().to_vec();
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
            prop_assert!(read(200, &body).outcome.is_err());
        } else {
            body[at] = bad;
        }
        check(200, &body);
    }

    #[test]
    fn number_and_its_text_read_the_same(score in 0.0_f64..=100.0, code in 200_u32..300) {
        let answer = |score: Value, code: Value, material: fn(Value) -> Value| {
            let material = material(json!({ "facialPictureFront": { "verifyScore": score } }));
            let members = json!({ "Passed": "F", "SubCode": code, "MaterialInfo": material });
            let verified = finished(read_json(200, &result(&members)));
            (verified.scores, verified.code, verified.malformed)
        };
        let numbers = answer(json!(score), json!(code), |material| material);
        let texts = answer(json!(format!(" {score} ")), json!(code.to_string()), |material| {
            material.to_string().into()
        });
        prop_assert_eq!(numbers.0.verify, Some(score));
        prop_assert_eq!(numbers, texts);
    }

    #[test]
    fn any_query_is_a_notice(query in "(certifyId|callbackToken|passed|subCode|=|&|%|\\?|[0-9TF]|\\PC){0,30}") {
        let notice = Notice::parse(&query);
        prop_assert!(notice.certify_id.is_none_or(|id| id.is_ascii() && id.len() <= 64));
        prop_assert!(notice.code.is_none_or(|code| code.len() <= 6));
    }

    #[test]
    fn any_text_is_a_return(text in "\\PC{0,60}", json in any_json()) {
        for text in [text, json.to_string()] {
            let returned = Return::parse(&text);
            prop_assert!(returned.certify_id.is_none_or(|id| id.is_ascii() && id.len() <= 64));
            prop_assert!(returned.sub_code.is_none_or(|code| code.len() <= 8));
        }
    }
}
