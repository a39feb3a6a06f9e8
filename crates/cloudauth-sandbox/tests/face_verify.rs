//! The client of `cloudauth` against the simulated face-verify: start, page, callback, result and
//! deletion, over two regions, and every scripted form as the decoder reads it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use cloudauth::client::{Client, Format, Method, Settings, SignatureVersion, Unanswered};
use cloudauth::credentials::{self, Chain, Environment};
use cloudauth::face_verify::{Deletion, Notice, Read, Start, Started, malformed};
use cloudauth::wire::ErrorClass;
use cloudauth_sandbox::face::{Finding, Script};
use cloudauth_sandbox::{Behaviour, Sandbox};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

const SCENE: &str = "1000000006";

/// A provider with both regions, and the settings to call it.
async fn provider() -> (Sandbox, Settings) {
    let mut settings = cloudauth_sandbox::Settings::new("key", "s3cret+/=".into());
    // A loaded machine must not cause a second try.
    settings.callback_timeout = Duration::from_mins(1);
    let sandbox = Sandbox::new(settings);
    let main = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let spare = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = |listener: &TcpListener| {
        let address = listener.local_addr().expect("an address");
        format!("http://{address}").parse().expect("a URL")
    };
    let mut settings = Settings::new(endpoint(&main));
    settings.face_verify_endpoints = vec![endpoint(&main), endpoint(&spare)];
    tokio::spawn(sandbox.clone().serve_regions(main, Some(spare), std::future::pending()));
    (sandbox, settings)
}

fn client(settings: Settings) -> Client {
    let environment = Environment::from_iter([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "key"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s3cret+/="),
    ]);
    let chain = Chain::new(credentials::Settings::default(), environment).expect("a chain");
    Client::new(settings, chain).expect("a client")
}

fn parameters(order_number: &str) -> Vec<(&str, &str)> {
    vec![
        ("SceneId", SCENE),
        ("OuterOrderNo", order_number),
        ("ProductCode", "ID_PRO"),
        ("CertType", "IDENTITY_CARD"),
        ("CertName", "示例·测试 ~*+'()/"),
        ("CertNo", "000000190001010000"),
        ("MetaInfo", r#"{"deviceType":"h5"}"#),
    ]
}

async fn start(client: &Client, parameters: &[(&str, &str)]) -> Started {
    let answer = client.init_face_verify(parameters).await.expect("an answer");
    match answer.reading.outcome.expect("a start") {
        Start::Started(started) => started,
        refused @ Start::Refused { .. } => panic!("{refused:?}"),
    }
}

/// The result in one line: verdict and code, then what is malformed; or the code without a result.
async fn describe(client: &Client, certify_id: &str) -> String {
    let answer = client.describe_face_verify(SCENE, certify_id).await.expect("an answer");
    assert!(answer.simulated);
    match answer.reading.outcome {
        Ok(Read::Unfinished { code }) => format!("unfinished {code}"),
        Ok(Read::Refused { code }) => format!("refused {code}"),
        Ok(Read::Finished(verified)) => {
            let passed = verified.passed.map_or("?", |passed| if passed { "T" } else { "F" });
            let code = verified.code.as_deref().unwrap_or("?");
            [&[passed, code][..], &[&verified.malformed.join(" ")]].concat().join(" ").trim().into()
        }
        Err(error) => format!("{} {}", error.class, error.code.unwrap_or_default()),
    }
}

#[tokio::test]
async fn scripted_answers_are_read_as_the_facts_say() {
    let (_, settings) = provider().await;
    let client = client(settings);
    for (certify_id, expected) in [
        ("fv-200", "T 200"),
        ("fv-210-noscore", "T 210"),
        ("fv-201", "F 201"),
        ("fv-203", "F 203"),
        ("fv-222", "F 222"),
        ("fv-299", "F 299"),
        ("fv-424", "unfinished 424"),
        ("fv-424-ashttp", "unfinished 424"),
        ("fv-403-ashttp-numbers", "unfinished 403"),
        ("fv-417", "refused 417"),
        ("fv-427-ashttp", "refused 427"),
        ("true205", "T 205 contradiction"),
        ("false200", "F 200 contradiction"),
        ("pass-nopassed", "? 200 passed"),
        ("pass-badpassed", "? 200 passed"),
        ("pass-nosub", "T ? code"),
        ("pass-badsub", "T ? code"),
        ("pass-numbers-strings", "T 200"),
        ("pass-materialobject", "T 200"),
        ("pass-materialnull", "T 200"),
        ("pass-materialnulltext", "T 200"),
        ("pass-materialempty", "T 200"),
        ("pass-nomaterial", "T 200"),
        ("pass-materialcut", "T 200 material_info"),
        ("pass-materialgarbage", "T 200 material_info"),
        ("pass-badscore", "T 200 verify_score"),
        ("pass-score-101", "T 200 verify_score"),
        ("pass-attack-1.5", "T 200 attack_score"),
        ("pass-riskodd", "T 200 device_risk"),
        ("pass-userinfocut-identityinfo-degrade-extra", "T 200"),
        ("pass-damagedbyte", "T 200"),
        ("pass-damagedgbk", "T 200"),
        ("pass-damagedsecond", "T 200 second_answer"),
        ("pass-xml", "T 200"),
    ] {
        assert_eq!(describe(&client, certify_id).await, expected, "{certify_id}");
    }
    assert!(malformed::MATERIAL_INFO == "material_info" && malformed::PASSED == "passed");
    for (certify_id, class) in [
        ("fv-402", ErrorClass::Credentials),
        ("fv-411", ErrorClass::Credentials),
        ("noperm", ErrorClass::Credentials),
        ("sha0000000000000000000000000000a", ErrorClass::Gone),
        ("fv-404", ErrorClass::BadRequest),
        ("fv-500", ErrorClass::Transient),
        ("throttled", ErrorClass::Throttled),
        ("noresult", ErrorClass::Unreadable),
        ("nullresult", ErrorClass::Unreadable),
        ("nothing", ErrorClass::Unreadable),
        ("garbage", ErrorClass::Unreadable),
        ("code99999", ErrorClass::Unreadable),
    ] {
        let answer = client.describe_face_verify(SCENE, certify_id).await.expect("an answer");
        assert_eq!(answer.reading.outcome.expect_err("no result").class, class, "{certify_id}");
    }
}

#[tokio::test]
async fn full_material_is_read_whatever_way_the_query_goes() {
    let (_, settings) = provider().await;
    for signature in [SignatureVersion::V2, SignatureVersion::V3] {
        for (method, format) in [(Method::Post, Format::Json), (Method::Get, Format::Xml)] {
            let client = client(Settings { signature, method, format, ..settings.clone() });
            let id = "fv-200-full-video-idplus-risk-userinfo-wearhat-guard-77-cardscore-90";
            let answer = client.describe_face_verify(SCENE, id).await.expect("an answer");
            let Ok(Read::Finished(verified)) = answer.reading.outcome else { panic!("no result") };
            assert_eq!(verified.malformed, [""; 0]);
            assert_eq!(
                (verified.scores.verify, verified.scores.id_card),
                (Some(97.53), Some(90.0))
            );
            assert_eq!((verified.wear_hat, verified.guard_risk_score), (Some(true), Some(77.0)));
            assert_eq!(verified.device_risk, ["HOOK", "ROOT", "VPN"]);
            let material = verified.material.expect("the person");
            assert!(material.face_image_url.is_some() && material.video_url.is_some());
            assert!(material.id_card.is_some() && material.user_info.is_some());
            assert_eq!(material.stored_objects.len(), 4);
        }
    }
}

#[tokio::test]
async fn a_verification_goes_from_start_over_callback_to_erasure() {
    let (sandbox, settings) = provider().await;
    let client = client(settings);
    let (queries, address) = customer().await;
    let callback = format!("http://{address}/v1/provider-callbacks/main");
    let mut parameters = parameters("order1");
    parameters.extend([
        ("CallbackUrl", callback.as_str()),
        ("CallbackToken", "tok*~ +/="),
        ("CertifyUrlType", "H5"),
        ("ReturnUrl", "https://app.example.invalid/back"),
    ]);
    let started = start(&client, &parameters).await;
    assert!(started.certify_url.is_some());
    assert_eq!(sandbox.certify_ids("order1"), [started.certify_id.as_str()]);
    assert_eq!(describe(&client, &started.certify_id).await, "unfinished 424");

    sandbox.submit(&started.certify_id, Finding::of(204)).await.expect("its first submission");
    let queries = queries.lock().expect("nobody panicked").clone();
    assert_eq!((queries.len(), queries[0].as_str()), (2, ""), "a probe, then the callback");
    let notice = Notice::parse(&queries[1]);
    assert_eq!(notice.certify_id.as_deref(), Some(started.certify_id.as_str()));
    assert_eq!(notice.code.as_deref(), Some("204"));
    assert_eq!(notice.token.expect("a token").expose_secret(), "tok*~ +/=");
    assert_eq!(describe(&client, &started.certify_id).await, "F 204");

    for _ in 0..2 {
        let answer = client.delete_face_verify_result(&started.certify_id, true).await;
        assert_eq!(answer.expect("an answer").reading.outcome.expect("it"), Deletion::Gone);
    }
    assert!(sandbox.is_deleted(&started.certify_id));
    assert_eq!(describe(&client, &started.certify_id).await, "gone 406");
    let never = client.delete_face_verify_result("fv-200-u2", true).await.expect("an answer");
    assert_eq!(never.reading.outcome.expect("it"), Deletion::NeedQuery);
}

/// A callback endpoint: the queries that it got, and its address.
async fn customer() -> (Arc<Mutex<Vec<String>>>, std::net::SocketAddr) {
    let queries = Arc::<Mutex<Vec<String>>>::default();
    let take = async |State(queries): State<Arc<Mutex<Vec<String>>>>, RawQuery(query): RawQuery| {
        queries.lock().expect("nobody panicked").push(query.unwrap_or_default());
        "success"
    };
    let router = Router::new().fallback(take).with_state(Arc::clone(&queries));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (queries, address)
}

#[tokio::test]
async fn the_spare_region_is_asked_when_the_main_one_fails() {
    let (sandbox, settings) = provider().await;
    let client = client(settings);
    for certify_id in ["main500sub204", "mainhttp503sub204", "maincutsub204"] {
        let answer = client.describe_face_verify(SCENE, certify_id).await.expect("an answer");
        assert!(answer.from_spare && answer.reading.outcome.is_ok(), "{certify_id}");
    }
    let erased = client.delete_face_verify_result("main500sub204", false).await;
    assert!(erased.expect("an answer").from_spare);

    // A start goes to the spare region only where the main one cannot have started anything.
    start(&client, &parameters("main500u1")).await;
    assert_eq!(sandbox.certify_ids("main500u1").len(), 1);
    let unknown = client.init_face_verify(&parameters("maincutu1")).await;
    assert!(matches!(unknown, Err(Unanswered::Cut(_))), "{unknown:?}");
    let lost = client.init_face_verify(&parameters("initcutu1")).await;
    assert!(matches!(lost, Err(Unanswered::Cut(_))), "{lost:?}");
    assert_eq!(sandbox.certify_ids("initcutu1").len(), 1, "billed once");
    let found = client.find_face_verify(SCENE, "initcutu1").await.expect("an answer");
    let found = found.reading.outcome.expect("a list");
    assert_eq!(found[0].certify_id, sandbox.certify_ids("initcutu1")[0]);
    let none = client.find_face_verify(SCENE, "maincutu1").await.expect("an answer");
    assert!(none.from_spare && none.reading.outcome.expect("a list").is_empty());

    sandbox.fail_main(Some(Behaviour::http(503)));
    assert_eq!(describe(&client, "fv-204-u2").await, "F 204");
    sandbox.set_script("fv-204-u2", Script::parse("sub205").expect("a script"));
    assert_eq!(describe(&client, "fv-204-u2").await, "F 205");
}
