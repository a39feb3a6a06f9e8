//! The calls of face verification: where their parameters go, and when the spare endpoint is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::face_verify::{Deletion, Read, Start};

/// A provider that always answers the same, and counts.
struct Stub {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Stub {
    async fn answers(http_status: u16, body: &'static str) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let router = Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { (StatusCode::from_u16(http_status).unwrap(), body) }
        });
        Self { url: serve(router).await, calls }
    }

    /// Reads each request, and hangs up.
    async fn hangs_up() -> Self {
        Self { url: sends(Vec::new()).await, calls: Arc::default() }
    }

    /// Accepts connections, and never answers.
    async fn is_silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
            }
        });
        Self { url, calls: Arc::default() }
    }

    /// Nothing listens there.
    async fn is_closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { url, calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// The general endpoint must not be asked when others are given.
const NOBODY: &str = "http://127.0.0.1:9";

fn client_of(main: &Stub, spare: &Stub, timeout: Duration) -> Client {
    let urls = [main, spare].map(|stub| stub.url.parse().unwrap());
    client(Settings { face_verify_endpoints: urls.to_vec(), timeout, ..settings(NOBODY) })
}

const PATIENT: Duration = Duration::from_secs(20);
/// Ends a call to a silent stub. The other stub must answer within it on a busy machine, too.
const HASTY: Duration = Duration::from_secs(2);

const PASSED: &str = r#"{"Code":"200","ResultObject":{"Passed":"T","SubCode":"200"}}"#;
const STARTED: &str = r#"{"Code":"200","ResultObject":{"CertifyId":"sha1"}}"#;
const DELETED: &str = r#"{"Code":"200","ResultObject":{"DeleteResult":"Y"}}"#;
const UNFINISHED: &str = r#"{"Code":"424"}"#;
const SYSTEM_ERROR: &str = r#"{"Code":"500","Message":"x"}"#;
const UNAVAILABLE: &str = r#"{"Code":"ServiceUnavailable"}"#;

#[tokio::test]
async fn parameters_travel_only_in_ways_that_sdks_use() {
    let (url, shared) = verifier().await;
    let scene = "1000000006";
    let params = [("SceneId", scene), ("CertName", "测 试*~'"), ("FaceContrastPicture", "a+/=")];
    for signature in [SignatureVersion::V2, SignatureVersion::V3] {
        for method in [Method::Post, Method::Get] {
            for token in [None, Some("t0ken/+= x")] {
                let settings = Settings { signature, method, ..settings(&url) };
                let client = client_with(settings, Secret::Value(SECRET.into()), token);

                let answer = client.describe_face_verify(scene, "sha1").await.unwrap();
                assert!(matches!(answer.reading.outcome, Ok(Read::Finished(_))), "{answer:?}");
                assert_eq!((&**answer.body, answer.from_spare), (OK.as_bytes(), false));
                {
                    let seen = shared.lock().unwrap();
                    assert_eq!(
                        (&*seen.action, seen.token),
                        ("DescribeFaceVerify", token.is_some())
                    );
                    let expected = if signature == SignatureVersion::V2 { "v2" } else { "v3" };
                    assert_eq!(seen.signature, expected);
                    assert_eq!(seen.method == HttpMethod::POST, method == Method::Post);
                    let form = signature == SignatureVersion::V2 && method == Method::Post;
                    assert_eq!(seen.in_form, form);
                    for (name, value) in [("SceneId", scene), ("CertifyId", "sha1")] {
                        assert!(seen.params.contains(&(name.to_owned(), value.to_owned())));
                    }
                }

                let answer = client.init_face_verify(&params).await.unwrap();
                let Ok(Start::Started(started)) = answer.reading.outcome else {
                    panic!("{token:?}")
                };
                assert_eq!(started.certify_id, "sha1");
                assert_all_in_a_form(&shared, "InitFaceVerify", &params);

                let answer = client.delete_face_verify_result("sha1", true).await.unwrap();
                assert_eq!(answer.reading.outcome.unwrap(), Deletion::Gone);
                let expected = [("CertifyId", "sha1"), ("DeleteAfterQuery", "Y")];
                assert_all_in_a_form(&shared, "DeleteFaceVerifyResult", &expected);
            }
        }
    }
    let client = client(settings(&url));
    client.delete_face_verify_result("sha1", false).await.unwrap();
    assert_all_in_a_form(&shared, "DeleteFaceVerifyResult", &[("DeleteAfterQuery", "N")]);
}

fn assert_all_in_a_form(shared: &Shared, action: &str, params: &[(&str, &str)]) {
    let seen = shared.lock().unwrap();
    assert_eq!((&*seen.action, &*seen.signature, seen.in_form), (action, "v2", true));
    for (name, value) in params {
        assert!(seen.params.contains(&((*name).to_owned(), (*value).to_owned())), "{name}");
    }
}

#[tokio::test]
async fn spare_is_asked_once_when_the_main_one_fails() {
    for (main, timeout) in [
        (Stub::is_closed().await, PATIENT),
        (Stub::is_silent().await, HASTY),
        (Stub::hangs_up().await, PATIENT),
        (Stub::answers(200, SYSTEM_ERROR).await, PATIENT),
        (Stub::answers(500, SYSTEM_ERROR).await, PATIENT),
        (Stub::answers(400, SYSTEM_ERROR).await, PATIENT),
        (Stub::answers(503, UNAVAILABLE).await, PATIENT),
        (Stub::answers(502, "<html>bad gateway</html>").await, PATIENT),
    ] {
        let spare = Stub::answers(200, PASSED).await;
        let client = client_of(&main, &spare, timeout);
        let answer = client.describe_face_verify("1", "sha1").await.unwrap();
        assert!(matches!(answer.reading.outcome, Ok(Read::Finished(_))), "{answer:?}");
        assert_eq!((&**answer.body, answer.from_spare), (PASSED.as_bytes(), true));
        assert!(spare.calls() == 1 && main.calls() <= 1);
    }
    for main in [Stub::hangs_up().await, Stub::answers(200, SYSTEM_ERROR).await] {
        let spare = Stub::answers(200, DELETED).await;
        let client = client_of(&main, &spare, PATIENT);
        let answer = client.delete_face_verify_result("sha1", false).await.unwrap();
        assert_eq!(answer.reading.outcome.unwrap(), Deletion::Gone);
        assert_eq!(spare.calls(), 1);
    }
}

#[tokio::test]
async fn spare_is_left_alone_when_the_main_one_answers() {
    for (http_status, body) in [
        (200, PASSED),
        (200, UNFINISHED),
        (424, UNFINISHED),
        (500, UNFINISHED),
        (200, r#"{"Code":"417"}"#),
        (200, r#"{"Code":"406"}"#),
        (200, r#"{"Code":"411"}"#),
        (200, r#"{"Code":"999"}"#),
        (400, r#"{"Code":"Throttling.User"}"#),
        (503, r#"{"Code":"Throttling.System"}"#),
        (400, r#"{"Code":"SignatureNonceUsed"}"#),
        (302, ""),
    ] {
        let (main, spare) =
            (Stub::answers(http_status, body).await, Stub::answers(200, PASSED).await);
        let client = client_of(&main, &spare, PATIENT);
        let answer = client.describe_face_verify("1", "sha1").await.unwrap();
        assert_eq!((answer.http_status, answer.from_spare), (http_status, false));
        assert_eq!((main.calls(), spare.calls()), (1, 0), "{http_status} {body}");
    }
}

#[tokio::test]
async fn spare_that_says_nothing_about_the_verification_is_not_believed() {
    for (http_status, body) in [
        (200, r#"{"Code":"406"}"#),
        (200, r#"{"Code":"404"}"#),
        (200, r#"{"Code":"411"}"#),
        (200, SYSTEM_ERROR),
        (400, r#"{"Code":"Throttling.User"}"#),
        (502, ""),
    ] {
        let spare = Stub::answers(http_status, body).await;
        let main = Stub::answers(503, UNAVAILABLE).await;
        let client = client_of(&main, &spare, PATIENT);
        let answer = client.describe_face_verify("1", "sha1").await.unwrap();
        assert_eq!((answer.http_status, answer.from_spare), (503, false), "{body}");
        let answer = client.delete_face_verify_result("sha1", false).await.unwrap();
        assert_eq!(answer.reading.outcome.unwrap_err().class, ErrorClass::Transient);

        let client = client_of(&Stub::is_closed().await, &spare, PATIENT);
        let told = client.describe_face_verify("1", "sha1").await.unwrap_err();
        assert!(matches!(told, Unanswered::Connect(_)), "{told:?}");
        assert_eq!(spare.calls(), 3);
    }
    let spare = Stub::answers(200, UNFINISHED).await;
    let client = client_of(&Stub::is_closed().await, &spare, PATIENT);
    let answer = client.describe_face_verify("1", "sha1").await.unwrap();
    assert!(matches!(answer.reading.outcome, Ok(Read::Unfinished { .. })));
}

#[tokio::test]
async fn start_goes_to_the_spare_only_if_nothing_was_started() {
    for main in [
        Stub::is_closed().await,
        Stub::answers(200, SYSTEM_ERROR).await,
        Stub::answers(500, SYSTEM_ERROR).await,
    ] {
        let spare = Stub::answers(200, STARTED).await;
        let client = client_of(&main, &spare, PATIENT);
        let answer = client.init_face_verify(&[("SceneId", "1")]).await.unwrap();
        assert!(matches!(answer.reading.outcome, Ok(Start::Started(_))), "{answer:?}");
        assert_eq!((answer.from_spare, spare.calls()), (true, 1));
    }
    for (main, timeout) in [
        (Stub::is_silent().await, Duration::from_millis(150)),
        (Stub::hangs_up().await, PATIENT),
        (Stub::answers(503, UNAVAILABLE).await, PATIENT),
        (Stub::answers(500, r#"{"Code":"InternalError"}"#).await, PATIENT),
        (Stub::answers(502, "").await, PATIENT),
        (Stub::answers(200, r#"{"Code":"401"}"#).await, PATIENT),
        (Stub::answers(200, r#"{"Code":"417"}"#).await, PATIENT),
        (Stub::answers(200, r#"{"Code":"200"}"#).await, PATIENT),
        (Stub::answers(200, STARTED).await, PATIENT),
        (Stub::answers(500, STARTED).await, PATIENT),
    ] {
        let spare = Stub::answers(200, STARTED).await;
        let client = client_of(&main, &spare, timeout);
        let outcome = client.init_face_verify(&[("SceneId", "1")]).await;
        assert!(!outcome.is_ok_and(|answer| answer.from_spare));
        assert!(spare.calls() == 0 && main.calls() <= 1);
    }
}

#[tokio::test]
async fn start_reports_the_call_that_may_have_started_something() {
    let refused = Stub::answers(200, SYSTEM_ERROR).await;
    let client = client_of(&refused, &Stub::is_closed().await, PATIENT);
    let answer = client.init_face_verify(&[]).await.unwrap();
    assert_eq!((answer.from_spare, refused.calls()), (false, 1));
    assert_eq!(answer.reading.outcome.unwrap_err().class, ErrorClass::Transient);

    let client = client_of(&refused, &Stub::is_silent().await, HASTY);
    let told = client.init_face_verify(&[]).await.unwrap_err();
    assert!(matches!(told, Unanswered::Timeout), "{told:?}");

    let client = client_of(&Stub::is_closed().await, &Stub::hangs_up().await, PATIENT);
    let told = client.init_face_verify(&[]).await.unwrap_err();
    assert!(matches!(told, Unanswered::Cut(_)), "{told:?}");

    let bad = Stub::answers(200, r#"{"Code":"401"}"#).await;
    let client = client_of(&Stub::is_closed().await, &bad, PATIENT);
    let answer = client.init_face_verify(&[]).await.unwrap();
    assert_eq!(answer.reading.outcome.unwrap_err().class, ErrorClass::BadRequest);
}

#[tokio::test]
async fn search_returns_only_the_order_number_asked_for() {
    let others = r#"{"TotalCount":2,"Items":[{"CertifyId":"sha1","OuterOrderNo":"vd1"},
        {"CertifyId":"sha2","OuterOrderNo":"vd2"}]}"#;
    let (main, spare) = (Stub::answers(200, SYSTEM_ERROR).await, Stub::answers(200, others).await);
    let client = client_of(&main, &spare, PATIENT);
    let answer = client.find_face_verify("1", "vd2").await.unwrap();
    let found = answer.reading.outcome.unwrap();
    assert_eq!((found.len(), &*found[0].certify_id, answer.from_spare), (1, "sha2", true));
    let (url, shared) = verifier().await;
    super::client(settings(&url)).find_face_verify("1", "vd2").await.unwrap();
    let expected = [("SceneId", "1"), ("OuterOrderNo", "vd2"), ("CurrentPage", "1")];
    assert_all_in_a_form(&shared, "DescribeVerifySearchPageList", &expected);
}

#[tokio::test]
async fn without_endpoints_of_its_own_the_general_one_serves() {
    let only = Stub::answers(200, SYSTEM_ERROR).await;
    let client = client(settings(&only.url));
    let answer = client.describe_face_verify("1", "sha1").await.unwrap();
    assert_eq!((answer.from_spare, only.calls()), (false, 1));
    client.init_face_verify(&[]).await.unwrap();
    client.delete_face_verify_result("sha1", false).await.unwrap();
    assert_eq!(only.calls(), 3);
}

#[tokio::test]
async fn without_credentials_neither_endpoint_is_asked() {
    let (main, spare) = (Stub::answers(200, PASSED).await, Stub::answers(200, PASSED).await);
    let urls = [&main, &spare].map(|stub| stub.url.parse().unwrap());
    let settings = Settings { face_verify_endpoints: urls.to_vec(), ..settings(NOBODY) };
    let path = "/nonexistent/verdict-secret".into();
    let client = client_with(settings, Secret::File(path), None);
    let told = client.describe_face_verify("1", "sha1").await.unwrap_err();
    assert!(matches!(told, Unanswered::NoCredentials(_)));
    let told = client.init_face_verify(&[]).await.unwrap_err();
    assert!(matches!(told, Unanswered::NoCredentials(_)));
    assert_eq!((main.calls(), spare.calls()), (0, 0));
}

#[tokio::test]
async fn refused_key_is_read_again_for_the_next_call() {
    let (url, _) = verifier().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "wrong").unwrap();
    let client = client_with(settings(&url), Secret::File(path.clone()), None);
    let refused = client.describe_face_verify("1", "sha1").await.unwrap();
    assert_eq!(refused.reading.outcome.unwrap_err().class, ErrorClass::Credentials);
    std::fs::write(&path, SECRET).unwrap();
    let answer = client.describe_face_verify("1", "sha1").await.unwrap();
    assert!(answer.reading.outcome.is_ok());
}

#[test]
fn every_endpoint_is_checked() {
    for bad in ["http://cloudauth.aliyuncs.com", "https://h/p"] {
        let urls = ["https://h", bad].map(|url| url.parse().unwrap());
        let settings = Settings { face_verify_endpoints: urls.to_vec(), ..settings(NOBODY) };
        let chain = Chain::new(credentials::Settings::default(), Environment::default()).unwrap();
        assert!(matches!(Client::new(settings, chain), Err(ClientError::Endpoint(_))), "{bad}");
    }
}
