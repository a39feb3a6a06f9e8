//! The client of `cloudauth` against the simulated provider: every way to sign, send and answer.

use cloudauth::client::{Client, Format, Method, Settings, SignatureVersion};
use cloudauth::credentials::{self, Chain, Environment, Fixed, Secret};
use cloudauth::wire::ErrorClass;
use cloudauth_sandbox::Sandbox;
use tokio::net::TcpListener;

const KEY: &str = "test-key";
const SECRET: &str = "s3cret+/=";

async fn sandbox() -> (Sandbox, Settings) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let sandbox = Sandbox::new(cloudauth_sandbox::Settings::new(KEY, SECRET.into()));
    tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
    (sandbox, Settings::new(endpoint.parse().expect("a URL")))
}

fn client(settings: Settings, secret: &str) -> Client {
    let fixed = Fixed {
        access_key_id: KEY.to_owned(),
        access_key_secret: Secret::Value(secret.into()),
        security_token: None,
    };
    let chain = credentials::Settings { fixed: Some(fixed), ..Default::default() };
    let chain = Chain::new(chain, Environment::default()).expect("a chain");
    Client::new(settings, chain).expect("a client")
}

#[tokio::test]
async fn every_signature_method_and_format_gets_the_same_result() {
    let (sandbox, settings) = sandbox().await;
    for signature in [SignatureVersion::V2, SignatureVersion::V3] {
        for method in [Method::Post, Method::Get] {
            for format in [Format::Json, Format::Xml] {
                let settings = Settings { signature, method, format, ..settings.clone() };
                let client = client(settings, SECRET);
                let answer = client.describe_verify_result("scene", "pass-88.5").await;
                let answer = answer.expect("an answer");
                let result = answer.reading.outcome.expect("a result");
                assert_eq!((result.verify_status, result.scores.authority), (1, Some(88.5)));
                let material = result.material.expect("the person");
                assert_eq!(material.name_matches(), Some(true));
                assert!(answer.simulated);
            }
        }
    }
    assert_eq!(sandbox.queries("pass-88.5"), 8);
}

#[tokio::test]
async fn verification_is_started_with_a_token() {
    let (_, settings) = sandbox().await;
    let client = client(settings, SECRET);
    let answer = client.describe_verify_token("scene", "pass", &[("UserId", "u-1")]).await;
    let answer = answer.expect("an answer");
    assert!(answer.simulated && !answer.outcome.expect("a token").token.is_empty());
}

#[tokio::test]
async fn refusals_have_their_class_and_throttling_says_how_long() {
    let (_, settings) = sandbox().await;
    let ours = client(settings.clone(), SECRET);
    for (biz_id, class) in [
        ("throttled", ErrorClass::Throttled),
        ("expired", ErrorClass::Gone),
        ("noperm", ErrorClass::Credentials),
        ("invalidbiz", ErrorClass::BadRequest),
        ("http-503", ErrorClass::Transient),
        ("garbage", ErrorClass::Unreadable),
    ] {
        let answer = ours.describe_verify_result("scene", biz_id).await.expect("an answer");
        assert_eq!(answer.reading.outcome.expect_err("a refusal").class, class, "{biz_id}");
        assert_eq!(answer.retry_after.is_some(), biz_id == "throttled", "{biz_id}");
    }
    let stranger = client(settings, "another secret");
    let answer = stranger.describe_verify_result("scene", "pass").await.expect("an answer");
    let error = answer.reading.outcome.expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "the answer holds no result (credentials: SignatureDoesNotMatch)"
    );
}
