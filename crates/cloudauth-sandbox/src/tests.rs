//! The simulated provider, asked over real HTTP by hand-signed requests.

use std::collections::BTreeSet;
use std::time::Duration;

use cloudauth::signing::{canonical_query, v2};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::room::{Answer, NOW, Room, set};
use crate::scenario::{Behaviour, Scenario};
use crate::{Sandbox, Settings, Version};

/// Every member's path, so that two documents can be compared without their values.
fn shape(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
    if let Value::Object(members) = value {
        for (name, value) in members {
            let path = format!("{at}/{name}");
            shape(value, &path, paths);
            paths.insert(path);
        }
    }
}

fn paths(value: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    shape(value, "", &mut paths);
    paths
}

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../../cloudauth/tests/fixtures/responses/",
            $name
        )))
        .expect("a fixture")
    };
}

#[tokio::test]
async fn parameters_may_come_by_any_way() {
    let room = Room::open().await;
    for method in ["GET", "POST", "FORM"] {
        let mut params = room.question("pass-u~*+ !'()订单");
        // The old Python SDK sends and signs this one.
        set(&mut params, "SignatureType", "");
        let answer = room.send_v2(method, params).await;
        assert_eq!((answer.status, answer.verify_status()), (200, 1), "{method}");
    }
    let mut params = room.question("status-7");
    let signature = v2::signature("testsecret", &v2::string_to_sign("POST", &params));
    set(&mut params, "Signature", &signature);
    let (query, form) = params.split_at(4);
    let header = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";
    let target = format!("/?{}", canonical_query(query));
    let answer = room.send("POST", &target, header, canonical_query(form).as_bytes()).await;
    assert_eq!(answer.verify_status(), 7);
}

#[tokio::test]
async fn a_signature_counts_only_for_the_method_it_was_made_for() {
    let room = Room::open().await;
    let mut params = room.question("pass");
    let signature = v2::signature("testsecret", &v2::string_to_sign("GET", &params));
    set(&mut params, "Signature", &signature);
    let answer = room.send("POST", &format!("/?{}", canonical_query(&params)), "", b"").await;
    assert_eq!(answer.code(), (400, "SignatureDoesNotMatch".to_owned()));
    // The real one echoes everything, personal data included; so must what is tested against it.
    let told = answer.json()["Message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(told.split(':').nth(1), Some(v2::string_to_sign("POST", &params).as_str()));
}

#[tokio::test]
async fn header_signatures_cover_what_they_name() {
    let room = Room::open().await;
    let plain = room.send_v3("status-7", room.v3_headers(b""), "User-Agent: any\r\n", b"").await;
    assert_eq!(plain.verify_status(), 7);
    let body = b"{\"a\":1}";
    let with_body = room.send_v3("pass", room.v3_headers(body), "", body).await;
    assert_eq!(with_body.verify_status(), 1);

    let other_body = room.send_v3("pass", room.v3_headers(b"other"), "", body).await;
    assert_eq!(other_body.code().1, "SignatureDoesNotMatch");
    assert!(other_body.text().contains("x-acs-content-sha256"), "{}", other_body.text());
    let mut moved = room.v3_headers(b"");
    set(&mut moved, "host", "127.0.0.1");
    let other_host = room.send_v3("pass", moved, "", b"").await;
    assert_eq!(other_host.code().1, "SignatureDoesNotMatch");
    for name in ["x-acs-action", "x-acs-date", "x-acs-content-sha256", "host"] {
        let mut headers = room.v3_headers(b"");
        let value = headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        headers.retain(|(n, _)| n != name);
        let uncovered = format!("{name}: {}\r\n", value.unwrap_or_default());
        let unsigned = if name == "host" { "" } else { uncovered.as_str() };
        let answer = room.send_v3("pass", headers, unsigned, b"").await;
        assert_eq!(answer.code().1, "IncompleteSignature", "{name}");
    }
}

#[tokio::test]
async fn wrong_calls_get_the_vendors_codes() {
    let room = Room::open().await;
    let cases = [
        ("AccessKeyId", "somebody", 404, "InvalidAccessKeyId.NotFound"),
        ("Timestamp", "2026-11-23T09:14:59Z", 400, "InvalidTimeStamp.Expired"),
        ("Timestamp", "2026-11-23T09:45:01Z", 400, "InvalidTimeStamp.Expired"),
        ("Timestamp", "yesterday", 400, "InvalidTimeStamp.Format"),
        ("SignatureMethod", "HMAC-SHA256", 400, "InvalidSignatureMethod"),
        ("SignatureNonce", "", 400, "MissingSignatureNonce"),
        ("BizType", "", 400, "MissingBizType"),
        ("BizId", "", 400, "MissingBizId"),
        ("BizId", &"x".repeat(65), 400, "InvalidParameter"),
        ("Action", "", 400, "MissingAction"),
        ("Action", "VerifyMaterials", 404, "InvalidAction.NotFound"),
        ("Version", "2018-09-16", 400, "NoSuchVersion"),
        ("SecurityToken", "any", 400, "InvalidSecurityToken.Malformed"),
    ];
    for (name, value, status, code) in cases {
        let mut params = room.question("pass");
        set(&mut params, name, value);
        let answer = room.send_v2("POST", params).await;
        assert_eq!(answer.code(), (status, code.to_owned()), "{name}={value}");
        let told = paths(&answer.json());
        assert!(told.is_superset(&paths(&fixture!("err_400_Throttling.User.json"))), "{told:?}");
    }
    let within = |at| {
        let mut params = room.question("pass");
        set(&mut params, "Timestamp", at);
        params
    };
    for at in ["2026-11-23T09:15:00Z", "2026-11-23T09:45:00Z"] {
        assert_eq!(room.send_v2("POST", within(at)).await.status, 200, "{at}");
    }
    assert_eq!(room.send_v2("PUT", room.question("pass")).await.code().1, "UnsupportedHTTPMethod");
    let elsewhere = room.send("GET", "/elsewhere?Format=JSON", "", b"").await;
    assert_eq!(elsewhere.code(), (404, "InvalidApi.NotFound".to_owned()));
}

#[tokio::test]
async fn a_nonce_is_good_once() {
    let room = Room::open().await;
    let params = room.question("pass");
    assert_eq!(room.send_v2("POST", params.clone()).await.status, 200);
    room.advance(Duration::from_mins(14));
    let again = room.send_v2("POST", params.clone()).await;
    assert_eq!(again.code(), (400, "SignatureNonceUsed".to_owned()));
    let mut other_time = params;
    room.advance(Duration::from_mins(18));
    set(&mut other_time, "Timestamp", "2026-11-23T10:02:00Z");
    assert_eq!(room.send_v2("POST", other_time).await.status, 200, "forgotten after 31 minutes");
}

#[tokio::test]
async fn temporary_credentials_need_their_token() {
    let mut settings = Settings::new("testid", "testsecret".to_owned().into());
    settings.security_token = Some("sts".to_owned().into());
    let room = Room::with(settings).await;
    assert_eq!(room.ask("pass").await.code().1, "MissingSecurityToken");
    for (token, status) in [("old", 400), ("sts", 200)] {
        let mut params = room.question("pass");
        set(&mut params, "SecurityToken", token);
        assert_eq!(room.send_v2("POST", params).await.status, status, "{token}");
        let mut headers = room.v3_headers(b"");
        set(&mut headers, "x-acs-security-token", token);
        assert_eq!(room.send_v3("pass", headers, "", b"").await.status, status, "{token}");
    }
}

#[tokio::test]
async fn rpc_answers_xml_unless_json_is_asked_for() {
    let room = Room::open().await;
    let mut params = room.question("data-pass-88");
    params.retain(|(name, _)| name != "Format");
    let answer = room.send_v2("GET", params).await;
    let text = answer.text();
    assert!(answer.head.contains("text/xml"), "{}", answer.head);
    assert!(text.contains("<DescribeVerifyResultResponse><RequestId>"), "{text}");
    assert!(text.contains("<Data><VerifyStatus>1</VerifyStatus>"), "{text}");
    assert!(text.contains("&amp;Signature="), "{text}");
    let forced = room.ask("xml-expired").await;
    assert_eq!(forced.status, 410);
    assert!(forced.text().contains("<Error><RequestId>"), "{}", forced.text());
    let mut headers = room.v3_headers(b"");
    set(&mut headers, "accept", "application/xml");
    assert!(room.send_v3("pass", headers, "", b"").await.head.contains("text/xml"));
}

#[tokio::test]
async fn answers_have_the_shapes_that_are_known() {
    let room = Room::open().await;
    let full = room.ask("scores-97.53-96.1-91").await;
    assert_eq!(paths(&full.json()), paths(&fixture!("ok_wire_2019-03-07.json")));
    assert!(full.text().starts_with(r#"{"RequestId":""#), "{}", full.text());
    assert!(full.text().contains(r#""VerifyStatus":1,"AuthorityComparisionScore":97.53,"FaceComparisonScore":96.1,"IdCardFaceComparisonScore":91,"#));
    let id = full.json()["RequestId"].as_str().unwrap_or_default().to_owned();
    assert!(id.len() == 36 && id == id.to_ascii_uppercase(), "{id}");

    let documented = room.ask("strings-pass-97").await.json();
    let known = fixture!("ok_doc_2019-08_strings_and_doc_spelling.json");
    assert!(paths(&documented).is_superset(&paths(&known)));
    assert_eq!(documented["VerifyStatus"], "1");
    assert_eq!(documented["AuthorityComparisonScore"], "97");
    assert_eq!(documented["Material"]["IdCardInfo"]["EndDate"], "2040-11-01");

    let envelope = fixture!("ok_envelope_2020-11-12_ResultObject.json");
    let scripted = room.ask("envelope-scores-97.53-96.1-91").await;
    assert_eq!(paths(&scripted.json()), paths(&envelope));
    let mut params = room.question("scores-97.53-96.1-91");
    set(&mut params, "Version", "2020-11-12");
    assert_eq!(paths(&room.send_v2("POST", params).await.json()), paths(&envelope));

    let quit = room.ask("quit").await.json();
    assert_eq!(paths(&quit), paths(&fixture!("not_verified_minus1.json")));
    let mut ram = paths(&room.ask("error-Forbidden.RAM").await.json());
    ram.remove("/Recommend");
    assert_eq!(ram, paths(&fixture!("err_403_Forbidden.RAM.json")));
}

#[tokio::test]
async fn the_person_is_invented_and_stays_the_same() {
    let room = Room::open().await;
    let material = |answer: Answer| answer.json()["Material"].clone();
    let one = material(room.ask("pass-u1").await);
    let number = one["IdCardNumber"].as_str().unwrap_or_default();
    assert!(number.len() == 18 && number.starts_with("000000"), "{number}");
    assert!(one["IdCardName"].as_str().unwrap_or_default().starts_with("测试"));
    assert_eq!(one["IdCardInfo"]["Number"], number);
    let again = material(room.ask("pass-u1").await);
    assert_eq!(again["IdCardName"], one["IdCardName"]);
    assert_ne!(again["FaceImageUrl"], one["FaceImageUrl"], "links are fresh at every query");
    let same = material(room.ask("pass-person-7-u1").await);
    assert_eq!(material(room.ask("pass-person-7-u2").await)["IdCardNumber"], same["IdCardNumber"]);

    let odd = material(room.ask("mask-quality-low-namediffers-cardexpires--1-pass").await);
    assert_eq!((&odd["FaceMask"], &odd["FaceQuality"]), (&Value::Bool(true), &"LOW".into()));
    assert_ne!(odd["IdCardInfo"]["Name"], odd["IdCardName"]);
    assert_eq!(odd["IdCardInfo"]["EndDate"], "20261122");
    let born = material(room.ask("born-19881231").await);
    assert_eq!(born["IdCardInfo"]["Birth"], "19881231");
    assert_eq!(material(room.ask("longterm").await)["IdCardInfo"]["EndDate"], "长期");
    assert_eq!(material(room.ask("nocard").await)["IdCardInfo"], Value::Null);
    assert_eq!(material(room.ask("nomaterial").await), Value::Null);
}

#[tokio::test]
async fn a_script_advances_for_each_scene_and_task_alone() {
    let room = Room::open().await;
    let id = "throttled-1-then-unfinished-1-then-status-7-x1-then-pass";
    let throttled = room.ask(id).await;
    assert_eq!(throttled.code(), (400, "Throttling.User".to_owned()));
    assert!(throttled.head.contains("x-acs-retry-after: 50\r\n"), "{}", throttled.head);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(room.ask(id).await.verify_status());
    }
    assert_eq!(seen, [-1, 7, 1, 1]);
    let mut elsewhere = room.question(id);
    set(&mut elsewhere, "BizType", "Other");
    assert_eq!(room.send_v2("POST", elsewhere).await.code().1, "Throttling.User");
    assert_eq!(room.sandbox.queries(id), 6);
}

#[tokio::test]
async fn faults_look_like_faults() {
    let room = Room::open().await;
    let html = room.ask("html-1-then-pass").await;
    assert_eq!(html.status, 502);
    assert!(html.text().contains("<html>"), "{}", html.text());
    assert_eq!(room.ask("html-1-then-pass").await.verify_status(), 1);
    assert_eq!(room.ask("html200").await.status, 200);
    assert_eq!(room.ask("http-503").await.code(), (503, "ServiceUnavailable".to_owned()));
    assert_eq!(room.ask("error200-NoPermission").await.code(), (200, "NoPermission".to_owned()));
    assert_eq!(room.ask("unknown").await.code(), (404, "InvalidParam.RecordNotFound".to_owned()));
    let garbage = room.ask("garbage").await;
    assert!(garbage.complete && serde_json::from_slice::<Value>(&garbage.body).is_err());
    let empty = room.ask("empty").await;
    assert!(empty.status == 200 && empty.complete && empty.body.is_empty());
    assert_eq!(paths(&room.ask("nostatus").await.json()).len(), 1);
    let cut = room.ask("cut-1-then-pass").await;
    assert_eq!((cut.status, cut.head.as_str()), (0, ""));
    assert_eq!(room.ask("cut-1-then-pass").await.verify_status(), 1);
    let torn = room.ask("torn").await;
    assert!(torn.status == 200 && !torn.body.is_empty() && !torn.complete);
}

#[tokio::test]
async fn images_open_until_their_link_expires() {
    let room = Room::open().await;
    let material = room.ask("pass").await.json()["Material"].clone();
    let target = |link: &Value| {
        let link = link.as_str().unwrap_or_default().trim();
        link.strip_prefix(&format!("http://{}", room.address)).expect("our own host").to_owned()
    };
    let links = [
        (&material["FaceImageUrl"], &b"\xff\xd8\xff"[..], "image/jpeg"),
        (&material["IdCardInfo"]["FrontImageUrl"], &b"\xff\xd8\xff"[..], "image/jpeg"),
        (&material["IdCardInfo"]["BackImageUrl"], &b"\xff\xd8\xff"[..], "image/jpeg"),
        (&material["FaceGlobalUrl"], &b"\x89PNG"[..], "image/png"),
    ];
    for (link, magic, content_type) in links {
        let image = room.send("GET", &target(link), "", b"").await;
        assert_eq!(image.status, 200);
        assert!(image.body.starts_with(magic) && image.head.contains(content_type));
    }
    let face = target(&material["FaceImageUrl"]);
    let forged = room.send("GET", &face.replace("Expires=1", "Expires=2"), "", b"").await;
    assert_eq!(forged.status, 403);
    let other = room.send("GET", &face.replace("/face/", "/card-front/"), "", b"").await;
    assert_eq!(other.status, 403);
    assert_eq!(room.send("GET", &face.replace("/face/", "/foot/"), "", b"").await.status, 404);

    room.advance(Duration::from_mins(5));
    assert_eq!(room.send("GET", &face, "", b"").await.status, 200);
    room.advance(Duration::from_secs(1));
    let late = room.send("GET", &face, "", b"").await;
    assert_eq!(late.status, 403);
    assert!(late.text().contains("<Error><Code>AccessDenied</Code>"), "{}", late.text());
}

#[tokio::test]
async fn links_may_point_elsewhere_or_be_dead_from_the_start() {
    let mut settings = Settings::new("testid", "testsecret".to_owned().into());
    settings.public_base_url = Some("https://images.example/sandbox/".parse().expect("a URL"));
    let room = Room::with(settings).await;
    let material = room.ask("deadimages-pass").await.json()["Material"].clone();
    let link = material["FaceImageUrl"].as_str().unwrap_or_default();
    let target = link.strip_prefix("https://images.example/sandbox").expect("the base address");
    assert_eq!(room.send("GET", target, "", b"").await.status, 403);
    let none = room.ask("noimages-pass").await.json()["Material"].clone();
    assert_eq!(none["FaceImageUrl"], Value::Null);
}

#[tokio::test]
async fn too_many_calls_in_a_second_are_throttled() {
    let mut settings = Settings::new("testid", "testsecret".to_owned().into());
    settings.queries_per_second = Some(2);
    let room = Room::with(settings).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(room.ask("unfinished-2").await.status);
    }
    assert_eq!(statuses, [200, 200, 400]);
    let refused = room.ask("pass").await;
    assert_eq!(refused.code().1, "Throttling.User");
    assert!(refused.head.contains("x-acs-retry-after: 500\r\n"), "{}", refused.head);
    room.advance(Duration::from_millis(500));
    // The refused one did not use up the script.
    assert_eq!(room.ask("unfinished-2").await.verify_status(), 1);
    assert_eq!(room.ask("pass").await.status, 400);
}

#[tokio::test]
async fn a_test_holds_the_strings() {
    let room = Room::open().await;
    room.sandbox.set_scenario("order-1", Scenario::parse("status-9"));
    assert_eq!(room.ask("order-1").await.verify_status(), 9);
    room.sandbox.fail_all(Some(Behaviour::http(503)));
    assert_eq!(room.ask("order-1").await.status, 503);
    room.sandbox.fail_all(None);
    assert_eq!(room.ask("order-1").await.status, 200);
    room.sandbox.set_secret("rotated".to_owned().into());
    assert_eq!(room.ask("order-1").await.code().1, "SignatureDoesNotMatch");

    let outcomes: Vec<String> = room.sandbox.calls().into_iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, ["ok", "ServiceUnavailable", "ok", "SignatureDoesNotMatch"]);
    let call = room.sandbox.calls().swap_remove(0);
    assert_eq!((call.biz_type.as_str(), call.biz_id.as_str()), ("RPBasic", "order-1"));
    assert_eq!((call.action.as_str(), call.method.as_str()), ("DescribeVerifyResult", "POST"));
    assert_eq!((call.version, call.at.unix_timestamp()), (Version::V2, NOW));
    assert_eq!(room.sandbox.queries("order-1"), 2, "rightly signed ones, outside the outage");
}

#[tokio::test]
async fn a_token_starts_a_verification() {
    let room = Room::open().await;
    for (biz_type, has_page) in [("RPBasic", false), ("RPH5BioOnly", true)] {
        let mut params = room.question("pass");
        set(&mut params, "Action", "DescribeVerifyToken");
        set(&mut params, "BizType", biz_type);
        let answer = room.send_v2("POST", params).await.json();
        let token = answer["VerifyToken"].as_str().unwrap_or_default();
        assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
        assert_eq!(answer["OssUploadToken"]["Expired"], (NOW + 1800) * 1000);
        assert_eq!(answer.get("VerifyPageUrl").is_some(), has_page);
    }
}

#[tokio::test]
async fn hostile_input_is_survived() {
    let room = Room::open().await;
    let long = "a".repeat(2000);
    for target in
        ["/?%", "/?%ff=%00&&&==&=", "/?Action&Version", "/images/face/%ff?Expires=x", "/%00"]
    {
        let answer = room.send("GET", target, "", b"").await;
        assert!((400..500).contains(&answer.status), "{target} {}", answer.status);
    }
    for authorization in ["ACS3-HMAC-SHA256", "ACS3-", "ACS3-HMAC-SHA256 Credential=,,=;", &long] {
        let headers = format!("Authorization: {authorization}\r\nx-acs-action: \u{e9}\r\n");
        let answer = room.send("POST", "/", &headers, b"\xff\xfe").await;
        assert!((400..500).contains(&answer.status), "{authorization} {}", answer.status);
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let too_large = room.send("POST", "/", form, &vec![b'a'; 8 * 1024 * 1024 + 1]).await;
    assert!(matches!(too_large.status, 413 | 0), "{}", too_large.status);
    room.send_raw(b"\x16\x03\x01\x02\x00").await;
    assert_eq!(room.ask("pass").await.status, 200);
    assert!(room.sandbox.calls().iter().all(|call| call.action.len() <= 64));
}

#[tokio::test]
async fn a_slow_answer_does_not_keep_it_from_stopping() {
    let mut room = Room::open().await;
    let params = room.question("slow-600000-pass");
    let stop = room.stop.take();
    let asking = room.send_v2("POST", params);
    let stopping = async {
        while room.sandbox.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.expect("not stopped yet").send(()).expect("it listens");
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert_eq!(answer.status, 0, "closed unanswered");
    room.served.await.expect("it ends well");
}

#[tokio::test]
async fn it_stops_when_told() {
    let mut room = Room::open().await;
    assert_eq!(room.ask("pass").await.status, 200);
    room.stop.take().expect("not stopped yet").send(()).expect("it listens");
    room.served.await.expect("it ends well");
    assert!(TcpStream::connect(&room.address).await.is_err());
}

#[tokio::test]
async fn both_regions_stop_when_told() {
    let sandbox = Sandbox::new(Settings::new("testid", "testsecret".to_owned().into()));
    let main = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let spare = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addresses = [&main, &spare].map(|l| l.local_addr().expect("an address"));
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(sandbox.clone().serve_regions(main, Some(spare), async {
        let _ = stopped.await;
    }));
    for address in addresses {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = b"GET /?Action=Any HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        stream.read_to_end(&mut Vec::new()).await.expect("it answers");
    }
    let regions: Vec<bool> = sandbox.calls().into_iter().map(|call| call.spare).collect();
    assert_eq!(regions, [false, true]);
    stop.send(()).expect("it listens");
    served.await.expect("it ends well");
    assert!(TcpStream::connect(addresses[1]).await.is_err());
}
