//! The log of the simulated provider. Alone in its process, because a subscriber of one test
//! among many sees only some of the events.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use cloudauth::client::{self, Client};
use cloudauth::credentials::{self, Chain, Environment};
use cloudauth_sandbox::face::Finding;
use cloudauth_sandbox::{Behaviour, Sandbox, Settings};
use http::Request;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rightly signed start of face-verify with its callback, over real HTTP.
async fn start_and_submit(sandbox: &Sandbox) {
    let serve = async |router: Router| {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    };
    let callback = serve(Router::new().fallback(async || "success")).await + "/canary";
    let endpoint = serve(sandbox.router()).await;
    let environment = Environment::from_iter([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "testid"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "testsecret"),
    ]);
    let chain = Chain::new(credentials::Settings::default(), environment).expect("a chain");
    let settings = client::Settings::new(endpoint.parse().expect("a URL"));
    let parameters = [
        ("SceneId", "1"),
        ("OuterOrderNo", "canary"),
        ("ProductCode", "ID_PRO"),
        ("CertType", "IDENTITY_CARD"),
        ("CertName", "canary"),
        ("CertNo", "000000190001010000"),
        ("MetaInfo", r#"{"canary":1}"#),
        ("CallbackUrl", &callback),
        ("CallbackToken", "canary"),
    ];
    let client = Client::new(settings, chain).expect("a client");
    client.init_face_verify(&parameters).await.expect("an answer");
    let certify_id = sandbox.certify_ids("canary").swap_remove(0);
    sandbox.submit(&certify_id, Finding::PASS).await.expect("its first submission");
}

#[tokio::test]
async fn a_line_tells_what_happened_but_nothing_of_the_parameters() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the first one");

    let settings = Settings::new("testid", "testsecret".to_owned().into());
    let sandbox = Sandbox::new(settings);
    let ask = async |action: &str| {
        let uri =
            format!("/?Action={action}&Version=canary&BizType=canary&BizId=canary&Name=canary");
        let request = Request::get(uri).header("user-agent", "canary").body(Body::empty());
        let answer = sandbox.router().oneshot(request.expect("a request")).await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(ask("DescribeVerifyResult").await, 400);
    assert_eq!(ask("canary").await, 400);
    sandbox.fail_all(Some(Behaviour::PASS));
    assert_eq!(ask("DescribeVerifyResult").await, 200);

    sandbox.fail_all(None);
    start_and_submit(&sandbox).await;

    let text = String::from_utf8(log.0.lock().expect("nobody panicked").clone()).expect("UTF-8");
    let ours = text.lines().filter(|line| line.contains(" cloudauth_sandbox::"));
    assert_eq!(ours.count(), 5, "{text}");
    let words = ["DescribeVerifyResult", "MissingAccessKeyId", "V2", "other", "ok"];
    for word in words.into_iter().chain(["InitFaceVerify", "called back"]) {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
