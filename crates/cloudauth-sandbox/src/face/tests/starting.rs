//! `InitFaceVerify`: its parameters, its refusals, and what the script of an order number does.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudauth::signing::{canonical_query, v2, v3};

use super::{certify_id, sample, start};
use crate::room::{Params, Room, owned, set};

const PICTURE: &[u8] = include_bytes!("../../pictures/face.jpg");

/// A start for a browser.
fn page(room: &Room, order_number: &str) -> Params {
    let mut params = start(room, order_number);
    set(&mut params, "CertifyUrlType", "H5");
    set(&mut params, "ReturnUrl", "https://app.example.invalid/back");
    params
}

#[tokio::test]
async fn a_start_answers_like_the_samples() {
    let room = Room::open().await;
    let app = room.send_v2("FORM", start(&room, "order1")).await;
    let id = app.result()["CertifyId"].as_str().unwrap_or_default().to_owned();
    assert!(id.len() == 32 && id.starts_with("sha"), "{id}");
    let mut sample = sample!("init_ok_app");
    sample["RequestId"] = app.json()["RequestId"].clone();
    sample["ResultObject"]["CertifyId"] = id.as_str().into();
    assert_eq!(app.json(), sample);
    assert_eq!(room.describe(&id).await.verdict(), "T200", "nobody has to submit it");

    let h5 = room.send_v2("FORM", page(&room, "order2")).await.result();
    let url = h5["CertifyUrl"].as_str().unwrap_or_default();
    assert!(url.starts_with(&format!("http://{}/s/", room.address)), "{url}");
    let mut long = page(&room, "order3");
    set(&mut long, "CertifyUrlStyle", "L");
    let long = room.send_v2("FORM", long).await.result();
    assert!(long["CertifyUrl"].as_str().unwrap_or_default().contains("/h5?certifyId=sha"));

    let mut made_up = page(&room, "order4");
    set(&mut made_up, "MetaInfo", "made up");
    let no_url = room.send_v2("FORM", made_up).await.result();
    assert_eq!((no_url.get("CertifyUrl"), no_url["CertifyId"].is_string()), (None, true));
    assert_eq!(room.sandbox.certify_ids("order1"), [id]);
    assert_eq!(room.sandbox.queries("order1"), 1);
}

#[tokio::test]
async fn a_bad_parameter_is_refused_with_its_code() {
    let room = Room::open().await;
    let long = "x".repeat(33);
    for (name, value, code) in [
        ("SceneId", "", "400"),
        ("SceneId", "scene", "401"),
        ("OuterOrderNo", "", "400"),
        ("OuterOrderNo", "order-1", "401"),
        ("OuterOrderNo", &long, "401"),
        ("ProductCode", "", "400"),
        ("ProductCode", "MOVE_ACTION", "401"),
        ("Model", "ID_PRO", "401"),
        ("CertName", "", "400"),
        ("CertNo", "12345", "401"),
        ("CertNo", "000000190013010000", "401"),
        ("CertNo", "000000201506010000", "405"),
        ("MetaInfo", "", "400"),
        ("CertifyUrlType", "APP", "401"),
        ("CertifyUrlType", "H5", "400"),
        ("ReturnUrl", "javascript:1", "401"),
        ("CallbackUrl", "http://app.example.invalid/", "401"),
        ("EncryptType", "RSA", "401"),
        ("VideoEvidence", "yes", "401"),
    ] {
        let mut params = start(&room, "order");
        set(&mut params, name, value);
        let answer = room.send_v2("FORM", params).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (200, code), "{name}={value}");
    }
    assert!(room.sandbox.certify_ids("order").is_empty());
    let mut params = start(&room, "order");
    set(&mut params, "SomethingNew", "1");
    set(&mut params, "EncryptType", "SM2");
    assert_eq!(room.send_v2("FORM", params.clone()).await.verdict(), "401", "no ciphertext");
    for name in ["CertName", "CertNo"] {
        set(&mut params, name, &STANDARD.encode([&[4][..], &[7; 120][..]].concat()));
    }
    set(&mut params, "SignatureNonce", "another");
    certify_id(&room, params).await;
}

#[tokio::test]
async fn refusals_are_those_of_the_samples() {
    let room = Room::open().await;
    for (order_number, mut sample) in [
        ("init401", sample!("init_401_bad_parameter_or_callback_unreachable")),
        ("init405", sample!("init_405_under_14")),
        ("init417u1", sample!("init_417_no_comparison_source")),
        ("init419", sample!("init_419_picture_unusable")),
    ] {
        let answer = room.send_v2("FORM", start(&room, order_number)).await;
        sample["RequestId"] = answer.json()["RequestId"].clone();
        assert_eq!((answer.status, answer.json()), (200, sample), "{order_number}");
        assert!(room.sandbox.certify_ids(order_number).is_empty());
    }
    let mut by_name = start(&room, "order");
    set(&mut by_name, "CertName", "init427");
    assert_eq!(room.send_v2("FORM", by_name).await.verdict(), "427");
}

fn with_picture(room: &Room, name: &str, value: &str) -> Params {
    let mut params = start(room, "order");
    for (name, value) in [("ProductCode", "PV_FV"), ("UserId", "u1"), (name, value)] {
        set(&mut params, name, value);
    }
    params
}

#[tokio::test]
async fn a_comparison_picture_is_checked() {
    let room = Room::open().await;
    let good = STANDARD.encode(PICTURE);
    let large = STANDARD.encode([PICTURE, &vec![0; 1024 * 1024]].concat());
    for (name, value, verdict) in [
        ("FaceContrastPicture", "", "400"),
        ("FaceContrastPicture", "no base64!", "419"),
        ("FaceContrastPicture", &STANDARD.encode("GIF89a"), "419"),
        ("FaceContrastPicture", &large, "421"),
        ("FaceContrastPictureUrl", "http://127.0.0.1:1/", "422"),
        ("CertifyId", "fv-204", "423"),
        ("OssObjectName", "face.jpg", "400"),
    ] {
        let answer = room.send_v2("FORM", with_picture(&room, name, value)).await;
        assert_eq!(answer.verdict(), verdict, "{name} {}", value.len());
    }
    let mut two = with_picture(&room, "FaceContrastPicture", &good);
    set(&mut two, "CertifyId", "fv-200");
    assert_eq!(room.send_v2("FORM", two).await.verdict(), "420");

    certify_id(&room, with_picture(&room, "FaceContrastPicture", &good)).await;
    certify_id(&room, with_picture(&room, "CertifyId", "fv-200")).await;
    let link = room.describe("fv-200").await.material()["facialPictureFront"]["pictureUrl"].clone();
    let link = link.as_str().expect("a link").to_owned();
    certify_id(&room, with_picture(&room, "FaceContrastPictureUrl", &link)).await;
}

/// As the SDKs send it: a part of the parameters in the query, a part in a chunked form.
#[tokio::test]
async fn query_and_chunked_form_are_one_request() {
    let room = Room::open().await;
    let chunked = |form: &str| {
        let (one, two) = form.split_at(form.len() / 2);
        format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len())
    };
    let form = owned(&[("Model", "LIVENESS"), ("AuthId", "a1~* +/=")]);
    let form_text = canonical_query(&form);
    let head = format!(
        "Host: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n",
        room.address
    );

    let mut query = start(&room, "orderv2");
    let all: Params = query.iter().chain(&form).cloned().collect();
    let signature = v2::signature("testsecret", &v2::string_to_sign("POST", &all));
    set(&mut query, "Signature", &signature);
    let target = canonical_query(&query);
    let request = format!("POST /?{target} HTTP/1.1\r\n{head}\r\n{}", chunked(&form_text));
    let answer = room.send_raw(request.as_bytes()).await;
    assert!(answer.result()["CertifyId"].is_string(), "{}", answer.text());

    let query: Params = start(&room, "orderv3")
        .into_iter()
        .filter(|(name, _)| !name.starts_with("Signature") && name != "Action")
        .collect();
    let mut headers = room.v3_headers(form_text.as_bytes());
    set(&mut headers, "x-acs-action", "InitFaceVerify");
    set(&mut headers, "content-type", "application/x-www-form-urlencoded");
    let hash = v3::hash(form_text.as_bytes());
    let authorization =
        v3::authorization("testid", "testsecret", "POST", "/", &query, &headers, &hash);
    let mut lines = format!(
        "Authorization: {authorization}
"
    );
    for (name, value) in headers.iter().filter(|(n, _)| n.starts_with("x-acs") || n == "accept") {
        lines.extend([
            name, ": ", value, "
",
        ]);
    }
    let request = format!(
        "POST /?{} HTTP/1.1\r\n{head}{lines}\r\n{}",
        canonical_query(&query),
        chunked(&form_text)
    );
    let answer = room.send_raw(request.as_bytes()).await;
    assert!(answer.result()["CertifyId"].is_string(), "{}", answer.text());
}

#[tokio::test]
async fn the_order_number_scripts_the_verification() {
    let room = Room::open().await;
    let id = certify_id(&room, start(&room, "unfinished1thensub207u1")).await;
    assert_eq!(room.describe(&id).await.verdict(), "424");
    assert_eq!(room.describe(&id).await.verdict(), "F207");
    let mut elsewhere = room.face("DescribeFaceVerify", &[("CertifyId", &id)]);
    set(&mut elsewhere, "SceneId", "7");
    assert_eq!(room.send_v2("POST", elsewhere).await.verdict(), "406", "another scene");

    let mut plus = start(&room, "order");
    set(&mut plus, "ProductCode", "ID_PLUS");
    set(&mut plus, "FaceGuardOutput", "DeviceRisk");
    set(&mut plus, "RarelyCharacters", "Y");
    let plus = room.describe(&certify_id(&room, plus).await).await;
    assert_eq!(plus.material()["ocrIdCardInfo"]["certName"], "示例·测试");
    assert_eq!(plus.material()["ocrIdCardInfo"]["certNo"], "000000190001010000");
    assert!(plus.result()["UserInfo"].as_str().unwrap_or_default().contains("verifyName"));
    assert_eq!(plus.result()["DeviceRisk"], "");
}

#[tokio::test]
async fn a_start_may_fail_before_or_after_it_has_worked() {
    let room = Room::open().await;
    let lost = room.send_v2("FORM", start(&room, "initcut1u1")).await;
    assert_eq!(lost.status, 0);
    assert_eq!(room.sandbox.certify_ids("initcut1u1").len(), 1, "made, but nobody was told");
    let search = room.face("DescribeVerifySearchPageList", &[("OuterOrderNo", "initcut1u1")]);
    let found = room.send_v2("FORM", search).await.json();
    assert_eq!(found["Items"][0]["CertifyId"], room.sandbox.certify_ids("initcut1u1")[0]);
    certify_id(&room, start(&room, "initcut1u1")).await;
    assert_eq!(room.sandbox.certify_ids("initcut1u1").len(), 2, "order numbers are not unique");

    assert_eq!(room.send_v2("FORM", start(&room, "init500x1")).await.verdict(), "500");
    assert!(room.sandbox.certify_ids("init500x1").is_empty());
    certify_id(&room, start(&room, "init500x1")).await;
    let throttled = room.send_v2("FORM", start(&room, "initthrottled1")).await;
    assert_eq!(throttled.code(), (400, "Throttling.User".to_owned()));
    assert!(room.sandbox.certify_ids("initthrottled1").is_empty());
}

#[tokio::test]
async fn a_verification_that_waits_has_no_result_before_it_is_submitted() {
    let room = Room::open().await;
    let id = certify_id(&room, start(&room, "waitsprocessing1u1")).await;
    for _ in 0..2 {
        assert_eq!(room.describe(&id).await.verdict(), "424");
    }
    let finding = crate::face::Finding::of(205);
    room.sandbox.submit(&id, finding.clone()).await.expect("its first submission");
    assert_eq!(room.describe(&id).await.verdict(), "424", "still processing");
    assert_eq!(room.describe(&id).await.verdict(), "F205");
    let again = room.sandbox.submit(&id, finding.clone()).await;
    assert_eq!(again, Err(crate::face::NotSubmitted::Used));

    let late = certify_id(&room, page(&room, "order")).await;
    room.advance(Duration::from_secs(30 * 60 + 1));
    let expired = room.sandbox.submit(&late, finding.clone()).await;
    assert_eq!(expired, Err(crate::face::NotSubmitted::Expired));
    assert_eq!(room.describe(&late).await.verdict(), "424", "given up");
    let unknown = room.sandbox.submit("fv-200", finding).await;
    assert_eq!(unknown, Err(crate::face::NotSubmitted::Unknown));
}

#[tokio::test]
async fn starts_are_found_by_order_number_scene_and_time() {
    let room = Room::open().await;
    let search = async |extra: &[(&str, &str)]| {
        let mut params = room.face("DescribeVerifySearchPageList", extra);
        params.retain(|(name, _)| name != "SceneId" || extra.iter().any(|(n, _)| n == name));
        room.send_v2("FORM", params).await.json()
    };
    certify_id(&room, start(&room, "sub204u1")).await;
    room.advance(Duration::from_mins(1));
    certify_id(&room, page(&room, "order2")).await;

    let failed = search(&[("OuterOrderNo", "sub204u1")]).await;
    assert_eq!((&failed["TotalCount"], &failed["TotalPage"]), (&1.into(), &1.into()));
    let item = &failed["Items"][0];
    assert_eq!((&item["Passed"], &item["SubCode"]), (&"F".into(), &"204".into()));
    assert_eq!(item["GmtVerify"], "2026-11-23 17:30:00", "China's time");
    assert_eq!((&item["SceneId"], &item["ProductCode"]), (&1_000_000_006.into(), &"ID_PRO".into()));
    let waiting = search(&[("OuterOrderNo", "order2")]).await;
    assert_eq!(waiting["Items"][0].get("SubCode"), None);

    for (extra, count) in [
        (&[][..], 2),
        (&[("OuterOrderNo", "unknown")][..], 0),
        (&[("SceneId", "7")][..], 0),
        (&[("StartDate", "1795426201000")][..], 1),
        (&[("EndDate", "1795426200000")][..], 1),
    ] {
        assert_eq!(search(extra).await["TotalCount"], count, "{extra:?}");
    }
    let second = search(&[("PageSize", "1"), ("CurrentPage", "2")]).await;
    assert_eq!(
        (&second["Items"][0]["OuterOrderNo"], &second["TotalPage"]),
        (&"order2".into(), &2.into())
    );

    for (order_number, code) in [("searchnoperm", "Forbidden.RAM"), ("search500x1", "500")] {
        certify_id(&room, start(&room, order_number)).await;
        assert_eq!(search(&[("OuterOrderNo", order_number)]).await["Code"], code);
    }
    assert_eq!(search(&[("OuterOrderNo", "search500x1")]).await["TotalCount"], 1);
    certify_id(&room, start(&room, "unlisted")).await;
    assert_eq!(search(&[("OuterOrderNo", "unlisted")]).await["TotalCount"], 0);
    assert_eq!(room.sandbox.queries("unlisted"), 1, "a search is no start");

    let mut settings = crate::Settings::new("testid", "testsecret".to_owned().into());
    settings.searchable = false;
    let room = Room::with(settings).await;
    let refused = room.send_v2("FORM", room.face("DescribeVerifySearchPageList", &[])).await;
    assert_eq!(refused.code(), (403, "Forbidden.RAM".to_owned()));
}
