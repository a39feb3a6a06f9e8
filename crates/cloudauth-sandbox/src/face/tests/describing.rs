//! `DescribeFaceVerify` and `DeleteFaceVerifyResult`, scripted by the `CertifyId`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::sample;
use crate::room::{Answer, Room, set};
use crate::scenario::Behaviour;
use crate::{Settings, face};

/// Every member's path, those inside `MaterialInfo` included.
fn paths(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
        let inside = value.as_str().filter(|text| text.starts_with('{'));
        let inside = inside.and_then(|text| serde_json::from_str::<Value>(text).ok());
        for (name, value) in inside.as_ref().unwrap_or(value).as_object().into_iter().flatten() {
            let path = format!("{at}/{name}");
            walk(value, &path, paths);
            paths.insert(path);
        }
    }
    let mut paths = BTreeSet::new();
    walk(value, "", &mut paths);
    paths
}

#[tokio::test]
async fn scripted_results_have_the_shapes_of_the_samples() {
    let room = Room::open().await;
    for (id, sample) in [
        ("fv-200-minimal", sample!("describe_passed_id_pro")),
        ("fv-200-full-video", sample!("describe_passed_id_pro_full_material")),
        ("fv-200-nopictures", sample!("describe_passed_id_pro_no_pictures")),
        ("fv-200-minimal-pvfv", sample!("describe_passed_pv_fv")),
        ("fv-200-minimal-lrfr", sample!("describe_passed_lr_fr")),
        ("fv-200-idplus", sample!("describe_passed_id_plus_ocr")),
        ("fv-201", sample!("describe_failed_201_name_number_mismatch")),
        ("fv-203", sample!("describe_failed_203_no_photo")),
        ("fv-204-minimal", sample!("describe_failed_204_face_mismatch")),
        ("fv-206-minimal-nopictures-risk", sample!("describe_failed_206_policy_with_device_risk")),
        (
            "fv-207-minimal-nopictures-idplus-nocard",
            sample!("describe_failed_207_id_plus_card_portrait"),
        ),
    ] {
        let answer = room.describe(id).await;
        assert_eq!(answer.status, 200, "{id}");
        assert_eq!(paths(&answer.json()), paths(&sample), "{id}");
        for name in ["Passed", "SubCode"] {
            assert_eq!(answer.result()[name], sample["ResultObject"][name], "{id}");
        }
        assert!(answer.head.contains("x-verdict-simulated: 1"), "{id}");
    }
}

#[tokio::test]
async fn scripted_codes_are_those_of_the_samples() {
    let room = Room::open().await;
    for (id, mut sample) in [
        ("fv-424", sample!("describe_424_no_record_yet")),
        ("unfinished-u1", sample!("describe_424_no_record_yet")),
        ("fv-406", sample!("describe_406_invalid_certify_id")),
        ("code404", sample!("describe_404_scene_unknown")),
        ("fv-411", sample!("describe_411_no_ram_right")),
        ("fv-500", sample!("describe_500_system_error")),
    ] {
        let answer = room.describe(id).await;
        sample["RequestId"] = answer.json()["RequestId"].clone();
        assert_eq!((answer.status, answer.json()), (200, sample), "{id}");
    }
    let as_http = room.describe("fv-424-ashttp").await;
    assert_eq!((as_http.status, as_http.verdict()), (424, "424".to_owned()));
    assert_eq!(room.describe("code99999").await.verdict(), "99999");

    let throttled = room.describe("throttled").await;
    assert_eq!(throttled.status, 400);
    assert_eq!(paths(&throttled.json()), paths(&sample!("http400_throttling_user")));
    let unavailable = room.describe("http503").await;
    assert_eq!(unavailable.status, 503);
    assert!(
        paths(&unavailable.json()).is_superset(&paths(&sample!("http503_service_unavailable")))
    );
}

#[tokio::test]
async fn unknown_ids_and_bad_parameters_get_their_code() {
    let room = Room::open().await;
    for id in ["sha0000000000000000000000000000a", "39ecf51e2f814dc590eeff86125be683", "204"] {
        assert_eq!(room.describe(id).await.verdict(), "406", "{id}");
    }
    for (name, value, code) in
        [("SceneId", "", "400"), ("CertifyId", "", "400"), ("SceneId", "RPBasic", "401")]
    {
        let mut params = room.face("DescribeFaceVerify", &[("CertifyId", "fv-200")]);
        set(&mut params, name, value);
        assert_eq!(room.send_v2("POST", params).await.verdict(), code, "{name}={value}");
    }
    room.sandbox.set_script(
        "sha0000000000000000000000000000a",
        face::Script::parse("sub205").expect("a script"),
    );
    assert_eq!(room.describe("sha0000000000000000000000000000a").await.verdict(), "F205");
}

#[tokio::test]
async fn a_script_advances_with_every_query() {
    let room = Room::open().await;
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        verdicts.push(room.describe("fv-424-x2-then-500-then-210").await.verdict());
    }
    assert_eq!(verdicts, ["424", "424", "500", "T210", "T210"]);
    assert_eq!(room.sandbox.queries("fv-424-x2-then-500-then-210"), 5);
    assert_eq!(room.describe("fv-424-x1").await.verdict(), "424");
    assert_eq!(room.describe("fv-424-x1").await.verdict(), "T200");
    let call = room.sandbox.calls().swap_remove(0);
    assert_eq!(
        (call.action.as_str(), call.biz_type.as_str()),
        ("DescribeFaceVerify", "1000000006")
    );
    assert_eq!(
        (call.biz_id.as_str(), call.outcome.as_str()),
        ("fv-424-x2-then-500-then-210", "424")
    );
}

#[tokio::test]
async fn odd_forms_are_written_as_scripted() {
    let room = Room::open().await;
    let result = async |id: &str| room.describe(id).await.result();
    assert_eq!(room.describe("true205").await.verdict(), "T205");
    assert_eq!(room.describe("false200").await.verdict(), "F200");
    assert_eq!(result("noresult").await, Value::Null);
    assert!(
        room.describe("nullresult")
            .await
            .json()
            .as_object()
            .expect("it")
            .contains_key("ResultObject")
    );
    assert_eq!(
        paths(&room.describe("nothing").await.json()),
        BTreeSet::from(["/RequestId".to_owned()])
    );
    assert_eq!(result("pass-nopassed").await["Passed"], Value::Null);
    assert_eq!(result("pass-badsub").await["SubCode"], "2 hundred");
    assert_eq!(result("pass-booleans").await["Passed"], true);
    assert_eq!(room.describe("fv-204-numbers").await.body_code(), 200);
    assert_eq!(result("fv-204-numbers").await["SubCode"], 204);

    assert!(result("pass-materialobject").await["MaterialInfo"].is_object());
    assert_eq!(result("pass-materialnull").await["MaterialInfo"], Value::Null);
    assert_eq!(result("pass-materialnulltext").await["MaterialInfo"], "null");
    assert_eq!(result("pass-materialempty").await["MaterialInfo"], "");
    assert_eq!(result("pass-nomaterial").await.get("MaterialInfo"), None);
    for id in ["pass-materialcut", "pass-materialgarbage", "pass-userinfocut"] {
        let result = result(id).await;
        let member = if id.contains("user") { "UserInfo" } else { "MaterialInfo" };
        let text = result[member].as_str().expect("text");
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    }
    assert!(result("pass-userinfoobject").await["UserInfo"]["verifyName"].is_string());
    assert!(result("pass-degrade").await["DegradeInfo"].is_string());
    assert_eq!(result("fv-206-riskodd").await["DeviceRisk"], " root, vpn ,HOOK,,x/y,ROOT");

    let face = async |id: &str| room.describe(id).await.material()["facialPictureFront"].clone();
    assert_eq!(face("pass88p5").await["verifyScore"], 88.5);
    assert_eq!(face("fv-204-score-12.5").await["verifyScore"], 12.5);
    assert_eq!(face("pass-noscore").await.get("verifyScore"), None);
    assert_eq!(face("pass-badscore").await["verifyScore"], "n/a");
    assert_eq!(face("pass-97.5-strings").await["verifyScore"], "97.5");
    assert_eq!(face("pass-attack-0.93-quality-40").await["faceAttackScore"], 0.93);
    let flags = room.describe("pass-faceattack-occluded-wearhat-guard-77").await.material();
    assert_eq!((&flags["faceAttack"], &flags["faceOcclusion"]), (&json!("T"), &json!("T")));
    assert_eq!(flags["facialPictureFront"]["qualityWearHat"], "T");
    assert_eq!(flags["guardRiskScore"], 77.0);
    let card = room.describe("pass-idplus-longterm-namediffers-born-19881231").await.material();
    assert_eq!(card["ocrIdCardInfo"]["endDate"], "长期");
    assert_eq!(card["ocrIdCardInfo"]["birth"], "19881231");

    let damaged = room.describe("pass-damagedbyte").await;
    assert!(
        damaged.text().contains("SubCode")
            && serde_json::from_slice::<Value>(&damaged.body).is_err()
    );
    let xml = room.describe("pass-xml").await.text();
    assert!(xml.contains("<DescribeFaceVerifyResponse><Code>200</Code>"), "{xml}");
}

#[tokio::test]
async fn faults_of_the_line_are_scripted_too() {
    let room = Room::open().await;
    assert_eq!(room.describe("html").await.status, 502);
    assert_eq!(room.describe("html200").await.status, 200);
    assert!(room.describe("empty").await.body.is_empty());
    assert_eq!(room.describe("cut1").await.status, 0);
    assert_eq!(room.describe("cut1").await.verdict(), "T200");
    let torn = room.describe("torn").await;
    assert!(torn.status == 200 && !torn.complete);
    assert_eq!(room.describe("noperm").await.code(), (403, "Forbidden.RAM".to_owned()));
    assert_eq!(room.describe("error-Throttling.Api").await.code().1, "Throttling.Api");
}

#[tokio::test]
async fn pictures_open_for_fifteen_minutes() {
    let room = Room::open().await;
    let material = room.describe("pass-idplus-video").await.material();
    let target = |link: &Value| {
        let link = link.as_str().unwrap_or_default();
        link.strip_prefix(&format!("http://{}", room.address)).expect("our own host").to_owned()
    };
    let (face, cards) = (&material["facialPictureFront"], &material["ocrPictureFront"]);
    for link in [
        &face["pictureUrl"],
        &face["verifyVideoUrl"],
        &cards["ossIdFaceUrl"],
        &cards["ossIdNationalEmblemUrl"],
    ] {
        let picture = room.send("GET", &target(link), "", b"").await;
        assert!(picture.status == 200 && !picture.body.is_empty(), "{link}");
    }
    room.advance(Duration::from_mins(15));
    assert_eq!(room.send("GET", &target(&face["pictureUrl"]), "", b"").await.status, 200);
    room.advance(Duration::from_secs(1));
    assert_eq!(room.send("GET", &target(&face["pictureUrl"]), "", b"").await.status, 403);
    let dead = room.describe("pass-deadpictures").await.material();
    let link = target(&dead["facialPictureFront"]["pictureUrl"]);
    assert_eq!(room.send("GET", &link, "", b"").await.status, 403);
}

async fn delete(room: &Room, certify_id: &str, after_query: &str) -> Answer {
    let params = room.face(
        "DeleteFaceVerifyResult",
        &[("CertifyId", certify_id), ("DeleteAfterQuery", after_query)],
    );
    room.send_v2("FORM", params).await
}

#[tokio::test]
async fn deletion_is_final_and_may_need_a_query_first() {
    let room = Room::open().await;
    let refused = delete(&room, "fv-204", "Y").await;
    let mut sample = sample!("delete_refused_need_query");
    assert_eq!(paths(&refused.json()), paths(&sample));
    sample["ResultObject"]["CertifyId"] = "fv-204".into();
    assert_eq!(refused.result(), sample["ResultObject"]);

    assert_eq!(room.describe("fv-204").await.verdict(), "F204");
    let done = delete(&room, "fv-204", "Y").await;
    assert_eq!(paths(&done.json()), paths(&sample!("delete_ok")));
    assert_eq!(done.result()["DeleteResult"], "Y");
    assert!(room.sandbox.is_deleted("fv-204"));
    assert_eq!(room.describe("fv-204").await.verdict(), "406");
    let again = delete(&room, "fv-204", "N").await.result();
    assert_eq!(
        (&again["DeleteResult"], &again["FailReason"]),
        (&json!("N"), &json!("NOT_DELETE_REPEATEDLY"))
    );

    assert_eq!(delete(&room, "fv-200", "N").await.result()["DeleteResult"], "Y", "never fetched");
    assert_eq!(delete(&room, "unknown", "N").await.verdict(), "406");
    let other = delete(&room, "fv-200-deleterefused", "N").await.result();
    assert_eq!(other["FailReason"], "SYSTEM_ERROR");
    assert_eq!(delete(&room, "pass-delete500x1", "N").await.verdict(), "500");
    assert_eq!(delete(&room, "pass-delete500x1", "N").await.result()["DeleteResult"], "Y");
}

#[tokio::test]
async fn deletions_have_a_budget_of_their_own() {
    let mut settings = Settings::new("testid", "testsecret".to_owned().into());
    settings.deletes_per_second = Some(1);
    let room = Room::with(settings).await;
    assert_eq!(delete(&room, "fv-200-u1", "N").await.status, 200);
    assert_eq!(delete(&room, "fv-200-u2", "N").await.code(), (400, "Throttling.User".to_owned()));
    assert_eq!(room.describe("fv-200-u2").await.status, 200);
    room.advance(Duration::from_secs(1));
    assert_eq!(delete(&room, "fv-200-u2", "N").await.status, 200);
}

#[tokio::test]
async fn main_and_spare_region_know_the_same_verifications() {
    let room = Room::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let spare = listener.local_addr().expect("an address").to_string();
    tokio::spawn(room.sandbox.spare().serve(listener, std::future::pending()));
    let ask_spare = async |id: &str| {
        let params = room.face("DescribeFaceVerify", &[("CertifyId", id)]);
        room.send_v2_to(&spare, params).await
    };

    assert_eq!(room.describe("main500x2sub204").await.verdict(), "500");
    assert_eq!(ask_spare("main500x2sub204").await.verdict(), "F204");
    assert_eq!(room.describe("main500x2sub204").await.verdict(), "500");
    assert_eq!(room.describe("main500x2sub204").await.verdict(), "F204");
    assert_eq!(room.describe("mainhttp503").await.status, 503);

    room.sandbox.fail_main(Some(Behaviour::http(503)));
    assert_eq!(room.describe("fv-200").await.status, 503);
    assert_eq!(ask_spare("fv-200").await.verdict(), "T200");
    room.sandbox.fail_main(None);
    assert_eq!(room.describe("fv-200").await.verdict(), "T200");
    let regions: Vec<bool> = room.sandbox.calls().into_iter().map(|call| call.spare).collect();
    assert_eq!(regions, [false, true, false, false, false, false, true, false]);
}
