//! Answers as the provider writes them, as its documents write them, and as nobody should.

use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use time::macros::date;

use super::*;
use crate::decoding::tree::MAX_DEPTH;

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/responses/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

fn read_json(http_status: u16, body: &Value) -> Reading {
    read(http_status, body.to_string().as_bytes())
}

fn answered(reading: Reading) -> Answered {
    reading.outcome.expect("an answer with a status")
}

fn error_class(http_status: u16, body: &[u8]) -> ErrorClass {
    read(http_status, body).outcome.expect_err("no status").class
}

/// The content of an answer, in a form that can be compared.
#[derive(Debug, PartialEq)]
struct Said {
    verify_status: i32,
    scores: Scores,
    malformed: Vec<String>,
    face: (Option<FaceQuality>, Option<bool>),
    matches: (Option<bool>, Option<bool>),
    birth: Option<time::Date>,
    end: Option<time::Date>,
    images: usize,
}

fn said(reading: Reading) -> Said {
    let answered = answered(reading);
    let material = answered.material.as_ref();
    let card = material.and_then(|material| material.id_card.as_ref());
    let date = |date: Option<&CardDate>| date.and_then(|date| date.date);
    let links = [
        material.and_then(|material| material.face_image_url.as_ref()),
        card.and_then(|card| card.front_image_url.as_ref()),
        card.and_then(|card| card.back_image_url.as_ref()),
    ];
    Said {
        verify_status: answered.verify_status,
        scores: answered.scores,
        face: material.map_or((None, None), |m| (m.face_quality, m.face_mask)),
        matches: material.map_or((None, None), |m| (m.name_matches(), m.number_matches())),
        birth: date(card.and_then(|card| card.birth.as_ref())),
        end: date(card.and_then(|card| card.end_date.as_ref())),
        images: links.iter().flatten().count(),
        malformed: answered.malformed,
    }
}

fn matches_in(body: &Value) -> (Option<bool>, Option<bool>) {
    said(read_json(200, body)).matches
}

#[test]
fn the_forms_the_service_documents_and_envelopes_write_say_the_same() {
    let wire = said(read(200, &fixture("ok_wire_2019-03-07.json")));
    assert_eq!(wire.verify_status, 1);
    let scores = Scores { authority: Some(97.53), face: Some(96.1), id_card_face: Some(91.0) };
    assert_eq!(wire.scores, scores);
    assert_eq!(wire.face, (Some(FaceQuality::Normal), Some(false)));
    assert_eq!(wire.matches, (Some(true), Some(true)));
    assert_eq!(wire.birth, Some(date!(1900 - 01 - 01)));
    assert_eq!((wire.images, &wire.malformed), (3, &Vec::new()));
    assert_eq!(said(read(200, &fixture("ok_envelope_2020-11-12_ResultObject.json"))), wire);

    let documented = said(read(200, &fixture("ok_doc_2019-08_strings_and_doc_spelling.json")));
    assert_eq!(documented.scores.authority, Some(97.0));
    assert_eq!((documented.end, documented.birth), (wire.end, None));
}

#[test]
fn xml_in_a_data_element_is_read_and_trimmed() {
    let reading = read(200, &fixture("ok_Data_wrapper.xml"));
    assert_eq!(reading.request_id.as_deref(), Some("00000000-0000-4000-8000-000000000001"));
    let answered = answered(reading);
    assert_eq!((answered.verify_status, answered.scores.authority), (1, Some(97.0)));
    let material = answered.material.unwrap();
    let url = material.face_image_url.unwrap();
    assert_eq!(url.expose_secret(), "http://127.0.0.1:9/face.jpg?a=1&b=2");
    assert_eq!(material.name.unwrap().expose_secret(), "测试甲");
}

#[test]
fn xml_lists_cdata_attributes_and_unknown_roots_are_read() {
    let body = "\u{feff}<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x '9'>]><x:R a='1'><!-- -->
        <VerifyStatus nil='no'> <![CDATA[7]]> </VerifyStatus><FaceComparisonScore>&x;9</FaceComparisonScore>
        <Material><VideoUrls><VideoUrl>a&#x62;</VideoUrl><VideoUrl>c</VideoUrl></VideoUrls>
        <FaceMask>TRUE</FaceMask><IdCardInfo/></Material></x:R>";
    let answered = answered(read(200, body.as_bytes()));
    assert_eq!(answered.verify_status, 7);
    // An entity that the document declares is not expanded, so the score is not a number.
    assert_eq!((answered.scores.face, answered.malformed), (None, vec!["face".to_owned()]));
    let material = answered.material.unwrap();
    let videos: Vec<&str> = material.video_urls.iter().map(SecretString::expose_secret).collect();
    assert_eq!(videos, ["ab", "c"]);
    assert_eq!(material.face_mask, Some(true));
    assert!(material.id_card.is_none());
}

#[test]
fn a_result_object_may_be_a_string() {
    let inner = json!({ "VerifyStatus": "1", "FaceComparisonScore": " 88.5\n" }).to_string();
    let answered = answered(read_json(200, &json!({ "Code": "200", "ResultObject": inner })));
    assert_eq!((answered.verify_status, answered.scores.face), (1, Some(88.5)));
}

#[test]
fn unfinished_unknown_and_low_scored_answers_are_answers() {
    assert_eq!(answered(read(200, &fixture("not_verified_minus1.json"))).verify_status, -1);
    let unknown = answered(read(200, &fixture("unknown_status_42_extra_fields.json")));
    assert_eq!((unknown.verify_status, unknown.scores.authority), (42, Some(0.0)));
    assert!(unknown.material.is_none());
    let low = answered(read(200, &fixture("pass_low_score.json")));
    assert_eq!((low.verify_status, low.scores.authority), (1, Some(58.2)));
}

#[test]
fn a_score_that_makes_no_sense_is_not_one_that_is_missing() {
    for score in
        [json!("abc"), json!(140), json!(-1), json!("NaN"), json!("inf"), json!(true), json!([97])]
    {
        let body = json!({ "VerifyStatus": 1, "FaceComparisonScore": score });
        let answered = answered(read_json(200, &body));
        assert_eq!((answered.scores.face, answered.malformed), (None, vec!["face".to_owned()]));
    }
    for score in [json!(null), json!(""), json!(" \n")] {
        let body = json!({ "VerifyStatus": 1, "FaceComparisonScore": score });
        let answered = answered(read_json(200, &body));
        assert_eq!((answered.scores.face, answered.malformed), (None, Vec::new()));
    }
}

#[test]
fn two_spellings_that_differ_are_no_score() {
    let both = |documented: Value| {
        let body = json!({ "VerifyStatus": 1, "AuthorityComparisionScore": 97,
                           "AuthorityComparisonScore": documented });
        answered(read_json(200, &body))
    };
    assert_eq!(both(json!("97.0")).scores.authority, Some(97.0));
    assert_eq!(both(json!("")).scores.authority, Some(97.0));
    let differ = both(json!(60));
    assert_eq!((differ.scores.authority, differ.malformed), (None, vec!["authority".to_owned()]));
}

#[test]
fn a_status_is_one_whole_number_or_it_cannot_be_read() {
    for status in [json!(1), json!("1"), json!(1.0), json!(" 1\n"), json!("1.0")] {
        assert_eq!(answered(read_json(200, &json!({ "VerifyStatus": status }))).verify_status, 1);
    }
    for status in [json!("abc"), json!(1.5), json!(true), json!([1]), json!({}), json!(1e10)] {
        let body = json!({ "VerifyStatus": status, "Code": "Throttling" }).to_string();
        assert_eq!(error_class(503, body.as_bytes()), ErrorClass::Unreadable, "{body}");
    }
    assert_eq!(error_class(200, br#"{"VerifyStatus":1,"VerifyStatus":7}"#), ErrorClass::Unreadable);
    let two = json!({ "VerifyStatus": 1, "Data": { "VerifyStatus": 7 } }).to_string();
    assert_eq!(error_class(200, two.as_bytes()), ErrorClass::Unreadable);
}

#[test]
fn a_status_said_twice_counts_if_it_is_the_same() {
    let same = br#"{"VerifyStatus":1,"VerifyStatus":"1"}"#;
    assert_eq!(answered(read(200, same)).verify_status, 1);
    assert_eq!(error_class(200, br#"{"VerifyStatus":[1]}"#), ErrorClass::Unreadable);
}

#[test]
fn damaged_text_is_noted_where_it_stands_and_never_shown() {
    for (body, places) in [
        (&br#"{"VerifyStatus":1,"Message":"\ud83d"}"#[..], vec!["/Message"]),
        (
            b"{\"VerifyStatus\":1,\"Material\":{\"IdCardName\":\"\xb2\xe2\"}}",
            vec!["/Material/IdCardName"],
        ),
        (b"{\"VerifyStatus\":1,\"Wang\xff\":{\"Li\":\"\n\"}}", vec!["", "/*/*"]),
        (
            br#"{"VerifyStatus":1,"Material":"{\"IdCardName\":\"\\ud83d\"}"}"#,
            vec!["/Material/IdCardName"],
        ),
        (b"<R><VerifyStatus>1</VerifyStatus><Message>\xb2\xe2</Message></R>", vec![""]),
        (b"{\"VerifyStatus\":1} thank you", vec![malformed::TRAILING_TEXT]),
        (b"<R><VerifyStatus>1</VerifyStatus></R><R/>", vec![malformed::TRAILING_TEXT]),
        (br#"{"VerifyStatus":1,"x":1e999,"y":NaN}"#, vec![]),
    ] {
        let answered = answered(read(200, body));
        assert_eq!((answered.verify_status, &answered.malformed), (1, &Vec::new()));
        assert_eq!(answered.damaged_texts, places, "{}", body.escape_ascii());
    }
    let surrogate = b"<R><VerifyStatus>1</VerifyStatus><Message>&#xD83D;</Message></R>";
    assert_eq!(answered(read(200, surrogate)).verify_status, 1);
}

#[test]
fn damage_that_could_hide_what_decides_is_a_malformed_field() {
    for (http_status, body, name) in [
        (200, &b"{\"VerifyStatus\":1\xff}"[..], malformed::STRAY_BYTES),
        (200, b"{\"VerifyStatus\":1,\x00\"x\":1}", malformed::STRAY_BYTES),
        (200, br#"{"VerifyStatus":1}{"VerifyStatus":7}"#, malformed::SECOND_ANSWER),
        (
            200,
            b"<R><VerifyStatus>1</VerifyStatus></R><VerifyStatus>7</VerifyStatus>",
            malformed::SECOND_ANSWER,
        ),
        (200, br#"{"VerifyStatus":1,"Success":false}"#, malformed::CONTRADICTION),
        (200, br#"{"VerifyStatus":1,"Success":"false","Code":"200"}"#, malformed::CONTRADICTION),
        (
            200,
            br#"{"VerifyStatus":1,"Success":true,"Code":"InternalError"}"#,
            malformed::CONTRADICTION,
        ),
        (
            200,
            br#"{"ResultObject":{"VerifyStatus":1},"Error":{"Code":"x y"}}"#,
            malformed::CONTRADICTION,
        ),
        (503, br#"{"VerifyStatus":1}"#, malformed::CONTRADICTION),
    ] {
        let answered = answered(read(http_status, body));
        assert_eq!((answered.verify_status, &*answered.malformed), (1, &[name.to_owned()][..]));
    }
    assert_eq!(error_class(200, b"{\"VerifyStatus\":1\xff7}"), ErrorClass::Unreadable);
}

#[test]
fn masked_and_damaged_names_and_numbers_are_not_compared() {
    let matches = |name: &str, number: &str| {
        let card = json!({ "Name": "测试甲", "Number": "00000019000101000X" });
        let body = json!({ "VerifyStatus": 1, "Material": {
            "IdCardName": name, "IdCardNumber": number, "IdCardInfo": card } });
        matches_in(&body)
    };
    assert_eq!(matches("测＊甲", "000000********000X"), (None, None));
    assert_eq!(matches("测\u{fffd}甲", "0000\u{fffd}"), (None, None));
    assert_eq!(matches("测 试 甲", "０００００019000101000ｘ"), (Some(true), Some(true)));
}

#[test]
fn a_success_code_is_not_a_result_and_a_code_is_not_a_failure() {
    assert_eq!(error_class(200, br#"{"Code":"200","Success":true}"#), ErrorClass::Unreadable);
    assert_eq!(error_class(200, br#"{"Code":"OK","ResultObject":{}}"#), ErrorClass::Unreadable);
    assert_eq!(error_class(200, br#"{"VerifyStatus":null}"#), ErrorClass::Unreadable);
    let with_code = json!({ "Code": "1", "Success": true, "Data": { "VerifyStatus": 1 } });
    assert_eq!(answered(read_json(200, &with_code)).verify_status, 1);
}

#[test]
fn errors_are_classed_by_code_first() {
    for (name, http_status, class) in [
        ("err_400_InvalidParam.InvalidBiz.json", 400, ErrorClass::BadRequest),
        ("err_400_InvalidTimeStamp.Expired.json", 400, ErrorClass::Clock),
        ("err_400_SignatureDoesNotMatch_echoes_params.json", 400, ErrorClass::Credentials),
        ("err_400_SignatureNonceUsed.json", 400, ErrorClass::Clock),
        ("err_400_Throttling.User.json", 400, ErrorClass::Throttled),
        ("err_403_Forbidden.RAM.json", 403, ErrorClass::Credentials),
        ("err_403_NoPermission.json", 403, ErrorClass::Credentials),
        ("err_410_DataExpired.json", 410, ErrorClass::Gone),
        ("err_503_ServiceUnavailable.json", 503, ErrorClass::Transient),
    ] {
        let body = fixture(name);
        assert_eq!(error_class(http_status, &body), class, "{name}");
        // The same code says the same with any status.
        assert_eq!(error_class(200, &body), class, "{name}");
        let error = read(http_status, &body).outcome.unwrap_err();
        assert!(name.contains(&error.code.unwrap()), "{name}");
    }
}

#[test]
fn every_code_has_its_class() {
    use ErrorClass::{BadRequest, Clock, Credentials, Gone, Throttled, Transient, Unreadable};
    for (code, http_status, class) in [
        ("Throttling.Api", 403, Throttled),
        ("Error.InternalError", 401, Transient),
        ("InternalError", 400, Transient),
        ("IllegalTimestamp", 400, Clock),
        ("InvalidAccessKeyId.NotFound", 404, Credentials),
        ("InvalidSecurityToken.Expired", 400, Credentials),
        ("MissingSecurityToken", 400, Credentials),
        ("MissingAccessKeyId", 400, Credentials),
        ("MissingBizId", 400, BadRequest),
        ("MissingParameter", 400, BadRequest),
        ("InvalidAction.NotFound", 404, Credentials),
        ("UnsupportedOperation", 400, Credentials),
        ("InvalidParam.ParamMissing", 500, BadRequest),
        ("InvalidBiz", 400, BadRequest),
        ("3102", 200, BadRequest),
        ("Brand.New", 429, Throttled),
        ("Brand.New", 408, Transient),
        ("Brand.New", 502, Transient),
        ("Brand.New", 302, Transient),
        ("Brand.New", 401, Credentials),
        ("Brand.New", 410, Gone),
        ("Brand.New", 404, BadRequest),
        ("Brand.New", 200, Unreadable),
    ] {
        assert_eq!(classify(Some(code), http_status), class, "{code} {http_status}");
        let xml = format!("<Error><RequestId>A-1</RequestId><Code> {code}\n</Code></Error>");
        let reading = read(http_status, xml.as_bytes());
        assert_eq!(reading.request_id.as_deref(), Some("A-1"));
        let error = reading.outcome.unwrap_err();
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)));
        let lower = json!({ "error": { "code": code } }).to_string();
        assert_eq!(error_class(http_status, lower.as_bytes()), class, "{code} {http_status}");
    }
}

#[test]
fn what_a_gateway_says_dead_letters_nobody() {
    let page = b"<!DOCTYPE html><html><body><h1>404<br></h1></body></html>";
    let well_formed = b"<html><Code>InvalidBiz</Code></html>";
    for body in [&b""[..], b"<", b"nonsense", b"{}", b"[]", b"{\"Code\":1", page, well_formed] {
        assert_eq!(error_class(404, body), ErrorClass::Transient);
        assert_eq!(error_class(403, body), ErrorClass::Transient);
        assert_eq!(error_class(502, body), ErrorClass::Transient);
        assert_eq!(error_class(429, body), ErrorClass::Throttled);
        assert_eq!(error_class(200, body), ErrorClass::Unreadable);
    }
}

#[test]
fn free_text_is_neither_code_nor_request_id() {
    let body = json!({ "Code": "no such person: 测试甲", "RequestId": "x".repeat(65) });
    let reading = read_json(400, &body);
    assert_eq!(reading.request_id, None);
    let error = reading.outcome.unwrap_err();
    assert_eq!((error.code, error.class), (None, ErrorClass::Transient));
}

#[test]
fn number_in_an_invented_code_is_not_shown() {
    let shown = |status: u16, code: &str| {
        let body = json!({ "Code": code, "RequestId": "A-110101199003077777" });
        let reading = read_json(status, &body);
        assert_eq!(reading.request_id.as_deref(), Some("A-110101199003077777"));
        let token = read_token(status, body.to_string().as_bytes()).unwrap_err();
        let error = reading.outcome.unwrap_err();
        assert_eq!(token, error);
        error
    };
    for (code, expected) in [
        ("Invalid110101199003077777", "Invalid##################"),
        ("InvalidParam.11010119900307777X", "InvalidParam.#################X"),
        ("1101.0119.9003.0777.77", "####.####.####.####.##"),
        ("Phone-138_0013_8000", "Phone-###_####_####"),
        ("13800138000", "###########"),
    ] {
        assert_eq!(shown(400, code).code.as_deref(), Some(expected));
        let unreadable = json!({ "VerifyStatus": "?", "Code": code });
        let error = read_json(200, &unreadable).outcome.unwrap_err();
        assert_eq!(error.code.as_deref(), Some(expected));
        let nested = json!({ "Error": { "Code": code } });
        let error = read_json(400, &nested).outcome.unwrap_err();
        assert_eq!(error.code.as_deref(), Some(expected));
    }
    // The class is that of the code as it came.
    assert_eq!(shown(500, "InvalidParam.11010119900307777X").class, ErrorClass::BadRequest);
    for code in ["3101", "Throttling.User", "InvalidParam.Id_Card2", "DataExpired"] {
        assert_eq!(shown(400, code).code.as_deref(), Some(code));
    }
}

#[test]
fn the_cards_dates_are_read_however_they_are_written() {
    let body = |birth: &str, end: &str| {
        let card = json!({ "Birth": birth, "EndDate": end });
        json!({ "VerifyStatus": 1, "Material": { "IdCardInfo": card } })
    };
    for end in ["2026.11.24", "2026/11/24", "2026年11月24日", "２０２６１１２４", " 2026-11-24 "]
    {
        let said = said(read_json(200, &body("2000年1月24日", end)));
        let expected = (Some(date!(2000 - 01 - 24)), Some(date!(2026 - 11 - 24)));
        assert_eq!((said.birth, said.end), expected, "{end}");
    }
    for (birth, end) in [
        ("长期", "长期"),
        ("", "2026-13-01"),
        ("1900", "20261332"),
        ("x", "-0261124"),
        ("00010101", "99991231"),
        ("2000-01", "2026-11-24-01"),
        ("00000000", "2026年11月"),
    ] {
        let said = said(read_json(200, &body(birth, end)));
        assert_eq!((said.birth, said.end), (None, None), "{birth} {end}");
    }
    let long_term = answered(read_json(200, &body("", "长期")));
    let card = long_term.material.unwrap().id_card.unwrap();
    assert_eq!(card.end_date.unwrap().text.expose_secret(), "长期");
    // Dates may come as numbers.
    let number =
        json!({ "VerifyStatus": 1, "Material": { "IdCardInfo": { "Birth": 20_001_124 } } });
    assert_eq!(said(read_json(200, &number)).birth, Some(date!(2000 - 11 - 24)));
}

#[test]
fn names_and_numbers_are_compared_after_trimming() {
    let body = |name: &str, number: &str| {
        let card = json!({ "Name": name, "Number": number });
        json!({ "VerifyStatus": 1, "Material": {
            "IdCardName": "测试甲 ", "IdCardNumber": "00000019000101000X", "IdCardInfo": card } })
    };
    let typed = body(" 测试甲\n", "00000019000101000x");
    assert_eq!(matches_in(&typed), (Some(true), Some(true)));
    assert_eq!(matches_in(&body("测试乙", "000000190001010000")), (Some(false), Some(false)));
    assert_eq!(matches_in(&body("", " ")), (None, None));
}

#[test]
fn nothing_prints_the_person() {
    let reading = read(200, &fixture("ok_wire_2019-03-07.json"));
    let printed = format!("{reading:?}");
    for private in ["测试甲", "19000101", "127.0.0.1", "某", "1900", "2030"] {
        assert!(!printed.contains(private), "{printed}");
    }
}

#[test]
fn deep_and_huge_bodies_are_refused_not_followed() {
    let deep = 200_000;
    let json = format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep));
    assert_eq!(error_class(200, json.as_bytes()), ErrorClass::Unreadable);
    assert_eq!(error_class(200, "[".repeat(deep).as_bytes()), ErrorClass::Unreadable);
    let xml = format!("{}{}", "<a>".repeat(deep / 2), "</a>".repeat(deep / 2));
    assert_eq!(error_class(200, xml.as_bytes()), ErrorClass::Unreadable);
    let nested = |levels: usize| {
        let inner = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        read(200, format!("{{\"VerifyStatus\":1,\"x\":{inner}}}").as_bytes()).outcome.is_ok()
    };
    assert!(nested(MAX_DEPTH - 1) && !nested(MAX_DEPTH));
    // A tree of them takes a hundred times the memory of the text.
    let maps = r#"{"":{"":0}},"#.repeat(80_000);
    let json = format!("{{\"VerifyStatus\":1,\"x\":[{maps}0]}}");
    let xml = |many: usize| {
        let elements = "<a><b/></a>".repeat(many);
        format!("<R><VerifyStatus>1</VerifyStatus>{elements}</R>")
    };
    for body in [json, xml(90_000)] {
        assert!(body.len() < MAX_BODY_BYTES);
        assert_eq!(error_class(200, body.as_bytes()), ErrorClass::Unreadable);
    }
    assert!(read(200, xml(1_000).as_bytes()).outcome.is_ok());
    let mut huge = br#"{"VerifyStatus":1}"#.to_vec();
    huge.resize(MAX_BODY_BYTES + 1, b' ');
    assert_eq!(error_class(200, &huge), ErrorClass::Unreadable);
}

/// JSON made of the names and values that matter here, so that readers are really reached.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "VerifyStatus",
        "AuthorityComparisionScore",
        "AuthorityComparisonScore",
        "FaceComparisonScore",
        "IdCardFaceComparisonScore",
        "Material",
        "IdCardInfo",
        "Code",
        "code",
        "RequestId",
        "Data",
        "ResultObject",
        "Error",
        "VideoUrls",
        "FaceMask",
        "FaceQuality",
        "Birth",
        "EndDate",
        "Name",
        "IdCardName",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..200).prop_map(Value::from),
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

fn check(http_status: u16, body: &[u8]) {
    let Ok(answered) = read(http_status, body).outcome else { return };
    assert!(body.windows(12).any(|bytes| bytes == b"VerifyStatus"), "a status out of nowhere");
    let scores = answered.scores;
    let scores = [scores.authority, scores.face, scores.id_card_face];
    assert!(scores.into_iter().flatten().all(|score| (0.0..=100.0).contains(&score)));
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
    fn any_xml_is_read(
        body in "<R>(</?(VerifyStatus|Material|IdCardInfo|Data|Code|EndDate|R|a:b)/?>|[0-9]{1,3}|&[a-z#x0-9]{0,4};|<!\\[CDATA\\[|\\]\\]>|<!--|\\PC){0,40}"
    ) {
        check(200, body.as_bytes());
    }

    #[test]
    fn a_number_and_its_text_read_the_same(score in 0.0_f64..=100.0, status in -2_i32..50) {
        let numbers = json!({ "VerifyStatus": status, "FaceComparisonScore": score });
        let texts = json!({ "VerifyStatus": status.to_string(),
                            "FaceComparisonScore": format!(" {score} ") });
        let xml = format!("<R><VerifyStatus>{status}</VerifyStatus>\
                           <FaceComparisonScore>{score}\n</FaceComparisonScore></R>");
        let expected = said(read_json(200, &numbers));
        prop_assert_eq!(expected.scores.face, Some(score));
        prop_assert_eq!(&said(read_json(200, &texts)), &expected);
        prop_assert_eq!(&said(read(200, xml.as_bytes())), &expected);
    }

    #[test]
    fn without_a_status_there_is_no_answer(body in any_json(), http_status in 100_u16..600) {
        let body = body.to_string().replace("VerifyStatus", "Verifystatus");
        prop_assert!(read(http_status, body.as_bytes()).outcome.is_err());
    }
}
