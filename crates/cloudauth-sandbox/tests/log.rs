//! The log of the simulated provider. Alone in its process, because a subscriber of one test
//! among many sees only some of the events.

use std::io;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use cloudauth_sandbox::{Behaviour, Sandbox, Settings};
use http::Request;
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

    let text = String::from_utf8(log.0.lock().expect("nobody panicked").clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 3, "{text}");
    for word in ["DescribeVerifyResult", "MissingAccessKeyId", "V2", "other", "ok"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
