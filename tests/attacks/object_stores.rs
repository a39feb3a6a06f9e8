//! Real object stores: each refuses some feature of S3, and images are stored all the same.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::buckets::Manner;
use crate::harness::{Buckets, Options, Setting, TestApp, eventually, new_database, run_verdict};
use verdict::causes::Cause;
use verdict::domain::ids::{ResultId, VerificationId};
use verdict::domain::image::ImageKind;
use verdict::images::archive::{Archive, ArchiveError, ImageId, Put, Settings, Which};
use verdict::images::s3::{Credentials, S3};

const IMAGE: ImageId = ImageId {
    verification: VerificationId(uuid::Uuid::from_u128(1)),
    result: ResultId(uuid::Uuid::from_u128(2)),
    kind: ImageKind::Face,
};

/// The answer of Alibaba OSS to a put with `If-None-Match: *`.
const OSS: (u16, &str) = (501, "NotImplemented");

fn s3(endpoint: &str) -> S3 {
    S3 {
        bucket: "faces".to_owned(),
        prefix: "kept".to_owned(),
        endpoint: endpoint.to_owned(),
        region: "cn-hangzhou".to_owned(),
        credentials: Credentials::Key {
            id: "bucket-key".to_owned(),
            secret: "bucket-secret".to_owned().into(),
        },
        virtual_hosted: false,
        conditional_put: true,
    }
}

async fn archive_of(manner: Manner) -> (Buckets, Archive) {
    let (buckets, address) = Buckets::start_with(manner).await;
    let archive = Archive::open(&Settings::S3(s3(&format!("http://{address}")))).unwrap();
    (buckets, archive)
}

/// The section about images for a store at this endpoint.
fn section(endpoint: &str, more: &str) -> String {
    format!(
        "store = \"s3://faces/kept\"\n[images.s3]\nendpoint = \"{endpoint}\"\n\
         access_key_id = \"bucket-key\"\naccess_key_secret = \"bucket-secret\"\n{more}"
    )
}

#[tokio::test]
async fn oss_is_asked_once_for_conditional_put_and_stores_images() {
    let (buckets, address) =
        Buckets::start_with(Manner { refuses_condition: Some(OSS), ..Manner::default() }).await;
    let images = section(&format!("http://{address}"), "");
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    for biz_id in ["pass-97-a", "pass-97-b"] {
        let id = app.verified(biz_id).await["id"].as_str().unwrap().to_owned();
        eventually("all images are kept", || async {
            let reply = app.get(&format!("/v1/verifications/{id}/images")).await;
            let items = reply.json["items"].as_array().unwrap().clone();
            let kept = items.iter().filter(|item| item["state"] == "archived").count();
            (kept == 4).then_some(())
        })
        .await;
    }
    assert_eq!(buckets.names().len(), 8);
    // The first four at the same time, each repeated once as every 5xx is; none afterwards.
    assert!(buckets.conditional_puts() <= 8, "{}", buckets.conditional_puts());
    assert_eq!(app.provider.queries("pass-97-b"), 1, "no link was used up");
}

#[tokio::test]
async fn refused_conditional_put_falls_back_to_plain_put() {
    for refusal in [
        OSS,
        (400, "InvalidArgument"),
        (405, "MethodNotAllowed"),
        // A proxy that drops the header makes the signature a wrong one.
        (403, "SignatureDoesNotMatch"),
        (422, "Unprocessable"),
        // Answers that mean that the object exists. Here it does not.
        (412, "PreconditionFailed"),
        (409, "OperationAborted"),
        (304, "NotModified"),
    ] {
        let (buckets, archive) =
            archive_of(Manner { refuses_condition: Some(refusal), ..Manner::default() }).await;
        assert_eq!(archive.put(&IMAGE, b"one".to_vec()).await, Ok(Put::New), "{refusal:?}");
        assert_eq!(archive.get(&IMAGE, 3).await.unwrap().unwrap(), "one", "{refusal:?}");
        let asked = buckets.conditional_puts();
        let remembered = ![412, 409, 304].contains(&refusal.0);
        assert_eq!(archive.is_unconditional(), remembered, "{refusal:?}");
        assert!(archive.put(&IMAGE, b"one".to_vec()).await.is_ok());
        if remembered {
            assert_eq!(buckets.conditional_puts(), asked, "{refusal:?}: asked again");
        }
    }
}

#[tokio::test]
async fn store_failure_is_not_mistaken_for_a_refused_condition() {
    for refusal in [(503, "SlowDown"), (429, "TooManyRequests"), (404, "NoSuchBucket")] {
        let (buckets, archive) =
            archive_of(Manner { refuses_condition: Some(refusal), ..Manner::default() }).await;
        assert!(archive.put(&IMAGE, b"one".to_vec()).await.is_err(), "{refusal:?}");
        assert!(!archive.is_unconditional() && buckets.names().is_empty(), "{refusal:?}");
    }
    // Refused with and without the condition: the plain put's own reason is the one to tell.
    let (buckets, archive) =
        archive_of(Manner { refuses_condition: Some(OSS), ..Manner::default() }).await;
    buckets.fill(true);
    assert!(archive.put(&IMAGE, b"one".to_vec()).await.is_err());
    assert!(!archive.is_unconditional());
}

#[tokio::test]
async fn stores_without_etag_or_conditions_store_images() {
    let (_, archive) = archive_of(Manner { without_etag: true, ..Manner::default() }).await;
    assert_eq!(archive.put(&IMAGE, b"one".to_vec()).await, Ok(Put::New));
    assert_eq!(archive.put(&IMAGE, b"two".to_vec()).await, Ok(Put::Already));
    assert_eq!(archive.get(&IMAGE, 3).await.unwrap().unwrap(), "one");
    archive.takes_more().await.unwrap();
    let (_, archive) = archive_of(Manner { ignores_condition: true, ..Manner::default() }).await;
    for _ in 0..2 {
        assert_eq!(archive.put(&IMAGE, b"one".to_vec()).await, Ok(Put::New));
    }
    assert_eq!(archive.delete_all(IMAGE.verification).await, Ok(1));
}

/// A store that answers everything with this, and goes on for as long as it is read.
async fn endless(answer: &'static str) -> Archive {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 16 * 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                while stream.write_all(&[b' '; 16 * 1024]).await.is_ok() {}
            });
        }
    });
    Archive::open(&Settings::S3(s3(&format!("http://{address}")))).unwrap()
}

/// The client would take 64 TiB at once for each, which ends the process.
#[tokio::test]
async fn store_that_announces_more_than_there_is_memory_ends_no_process() {
    let archive =
        endless("HTTP/1.1 200 OK\r\ncontent-length: 70368744177664\r\netag: \"1\"\r\n\r\n<List")
            .await;
    assert_eq!(archive.get(&IMAGE, 1 << 20).await, Ok(None), "no image of ours");
    assert!(archive.find(&Which::All(IMAGE.verification)).await.is_err());
    let archive = endless(
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 70368744177664\r\n\r\n\
         <Error><Code>AccessDenied</Code></Error>",
    )
    .await;
    let error = archive.put(&IMAGE, b"one".to_vec()).await.unwrap_err();
    assert_eq!(error.cause(), Cause::AccessDenied);
    assert!(archive.get(&IMAGE, 3).await.is_err());
}

#[tokio::test]
async fn s3_client_panic_is_a_configuration_error() {
    let broken = S3 { virtual_hosted: true, ..s3("http://faces.127.0.0.1:9") };
    let archive = Archive::open(&Settings::S3(broken)).unwrap();
    assert_eq!(archive.put(&IMAGE, b"one".to_vec()).await, Err(ArchiveError::Setup));
    assert_eq!(archive.takes_more().await, Err(ArchiveError::Setup));
}

#[tokio::test]
async fn bucket_with_a_custom_domain_is_used_as_is() {
    let manner = Manner { bucket_in_host: true, ..Manner::default() };
    let (buckets, address) = Buckets::start_with(manner).await;
    let endpoint = format!("http://localhost:{}", address.port());
    let report = doctor(&section(&endpoint, "bucket_in_endpoint = true")).await;
    assert!(report.contains("an object was put, read and deleted"), "{report}");
    assert!(buckets.names().is_empty());
}

#[tokio::test]
async fn doctor_reports_what_the_object_store_lacks() {
    for (manner, says) in [
        (Manner::default(), "put, read and deleted"),
        (
            Manner { refuses_condition: Some(OSS), ..Manner::default() },
            "does not take If-None-Match",
        ),
        (Manner { ignores_condition: true, ..Manner::default() }, "ignores If-None-Match"),
    ] {
        let (buckets, address) = Buckets::start_with(manner).await;
        let report = doctor(&section(&format!("http://{address}"), "")).await;
        let line = report.lines().find(|line| line.contains("object-store")).unwrap_or_default();
        assert!(line.contains(says), "{says}: {report}");
        assert!(buckets.names().is_empty(), "nothing is left");
    }
}

#[tokio::test]
async fn object_store_errors_are_reported_by_cause() {
    const ELSEWHERE: &str = "<Endpoint>oss-cn-shanghai.aliyuncs.com</Endpoint>";
    let archives = [
        (403, "AccessDenied", "", Cause::AccessDenied),
        (403, "AccessDenied", ELSEWHERE, Cause::WrongRegion),
        (301, "PermanentRedirect", "", Cause::WrongRegion),
        (400, "AuthorizationHeaderMalformed", "", Cause::WrongRegion),
        (403, "SignatureDoesNotMatch", "", Cause::WrongSignature),
        (403, "InvalidAccessKeyId", "", Cause::UnknownKey),
        (403, "RequestTimeTooSkewed", "", Cause::WrongClock),
        (403, "ExpiredToken", "", Cause::ExpiredCredentials),
        (404, "NoSuchBucket", "", Cause::UnknownBucket),
        (507, "QuotaExceeded", "", Cause::Full),
        (429, "TooManyRequests", "", Cause::Throttled),
        (503, "SlowDown", "", Cause::Throttled),
        (500, "InternalError", "", Cause::ServerError),
        (403, "SomethingNew 110101199003077777", "", Cause::AccessDenied),
    ];
    let tried = archives.map(|(status, code, more, cause)| async move {
        let manner = Manner { refuses_all: Some((status, code, more)), ..Manner::default() };
        let (_, archive) = archive_of(manner).await;
        for error in [
            archive.put(&IMAGE, b"one".to_vec()).await.unwrap_err(),
            archive.takes_more().await.unwrap_err(),
        ] {
            assert_eq!(error.cause(), cause, "{status} {code}: {error}");
            assert!(error.to_string().contains(cause.says()), "{error}");
        }
    });
    futures_util::future::join_all(tried).await;
}

/// The service that gives instances of AWS the credentials of their role, second version, and the
/// one that gives them to containers.
async fn metadata_service() -> std::net::SocketAddr {
    use axum::extract::Request;
    use axum::response::IntoResponse;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |request: Request| async move {
        const CREDENTIALS: &str = r#"{ "Code": "Success", "AccessKeyId": "role-key",
            "SecretAccessKey": "role-secret", "Token": "role-token",
            "Expiration": "2099-01-01T00:00:00Z" }"#;
        const ROLES: &str = "/latest/meta-data/iam/security-credentials";
        let header = |name: &str| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let authorized = header("x-aws-ec2-metadata-token") == "imds-token";
        match (request.method().as_str(), request.uri().path().trim_end_matches('/')) {
            ("PUT", "/latest/api/token")
                if !header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() =>
            {
                "imds-token".into_response()
            }
            ("GET", ROLES) if authorized => "keeper".into_response(),
            ("GET", path) if authorized && path == format!("{ROLES}/keeper") => {
                CREDENTIALS.into_response()
            }
            ("GET", "/container") if header("authorization") == "container-token" => {
                CREDENTIALS.into_response()
            }
            _ => axum::http::StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn role_credentials_come_from_the_metadata_service() {
    let metadata = metadata_service().await;
    let manner = Manner { knows: Some("role-key"), ..Manner::default() };
    let (buckets, address) = Buckets::start_with(manner).await;
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let images = format!(
        "store = \"s3://faces/kept\"\n[images.s3]\nendpoint = \"http://{address}\"\n\
         credentials = \"role\"\n"
    );
    let setting = Setting::new(Options { images, fixed_clock: false, ..Options::default() }).await;
    let file = setting.config_file();
    let arguments = ["doctor", "--role", "worker", "--config", file.to_str().unwrap()];
    let folder = tempfile::TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "container-token").unwrap();
    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap());
    for (variable, value, found, says) in [
        ("AWS_METADATA_ENDPOINT", format!("http://{metadata}"), true, "put, read and deleted"),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{metadata}/container"),
            true,
            "put, read and deleted",
        ),
        // It refuses, and it is not there.
        (
            "AWS_METADATA_ENDPOINT",
            format!("http://{metadata}/elsewhere"),
            false,
            Cause::NoCredentials.says(),
        ),
        ("AWS_METADATA_ENDPOINT", format!("http://{nowhere}"), false, Cause::NoCredentials.says()),
    ] {
        let (_, report, _) = run_verdict(&arguments, &[(variable, &value), token]).await;
        let line = report.lines().find(|line| line.contains("object-store")).unwrap_or_default();
        assert!(line.contains(says), "{variable}={value}: {report}");
        assert_eq!(report.contains(Cause::NoCredentials.advice()), !found, "{report}");
        assert!(buckets.names().is_empty(), "nothing is left");
    }
}

#[tokio::test]
async fn unreachable_object_store_is_refused_at_start() {
    let database = new_database().await;
    let address: std::net::SocketAddr = "127.0.0.1:9".parse().unwrap();
    for (endpoint, more, refused) in [
        ("http://127.0.0.1:9000", "virtual_hosted = true", "images.s3.virtual_hosted"),
        ("https://[fd00::5]:9000", "virtual_hosted = true", "images.s3.virtual_hosted"),
        ("https://2130706433", "virtual_hosted = true", "images.s3.virtual_hosted"),
        ("https://10.0.0.5", "bucket_in_endpoint = true", "images.s3.bucket_in_endpoint"),
        (
            "https://oss-cn-hangzhou.aliyuncs.com",
            "virtual_hosted = false",
            "images.s3.virtual_hosted",
        ),
        ("http://10.0.0.5:9000", "", "allow_http = true"),
        ("http://minio.internal:9000", "", "allow_http = true"),
        ("http://8.8.8.8:9000", "allow_http = true", "images.s3.endpoint"),
        ("https://oss.example.com/faces", "", "images.s3.endpoint"),
        ("https://oss.example.com", "region = \"a b\"", "images.s3.region"),
        ("https://oss.example.com", "credentials = \"role\"", "images.s3.credentials"),
    ] {
        let options = Options { images: section(endpoint, more), ..Options::default() };
        let text = crate::harness::configuration(&options, &database, address);
        let error = verdict_config(&text).unwrap_err();
        assert!(error.contains(refused), "{endpoint} {more}: {error}");
    }
    for bucket in ["Faces", "my_faces", "-faces", "1.2.3.4\\u0000"] {
        let images = section("https://oss.example.com", "").replace("faces", bucket);
        let options = Options { images, ..Options::default() };
        let text = crate::harness::configuration(&options, &database, address);
        let error = verdict_config(&text).unwrap_err();
        assert!(error.contains("images.store"), "{bucket}: {error}");
    }
    for (endpoint, more, used) in [
        ("https://oss-cn-hangzhou.aliyuncs.com", "", "https://faces.oss-cn-hangzhou.aliyuncs.com"),
        // As the vendor's console shows it.
        (
            "https://faces.oss-cn-hangzhou.aliyuncs.com",
            "",
            "https://faces.oss-cn-hangzhou.aliyuncs.com",
        ),
        (
            "https://faces.example.com",
            "bucket_in_endpoint = false",
            "https://faces.faces.example.com",
        ),
        ("https://img.example.com", "bucket_in_endpoint = true", "https://img.example.com"),
        ("http://10.0.0.5:9000", "allow_http = true", "http://10.0.0.5:9000"),
        ("http://minio:9000", "allow_http = true", "http://minio:9000"),
        ("https://[fd00::5]:9000", "", "https://[fd00::5]:9000"),
    ] {
        let options = Options { images: section(endpoint, more), ..Options::default() };
        let text = crate::harness::configuration(&options, &database, address);
        assert_eq!(verdict_config(&text).as_deref(), Ok(used), "{endpoint} {more}");
    }
}

/// The endpoint that is used, or the complaint.
fn verdict_config(text: &str) -> Result<String, String> {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = verdict::config::Environment::new();
    let config = verdict::config::Config::load(Some(file.path()), &environment);
    let config = config.map_err(|error| format!("{error:?}"))?;
    match config.images().map_err(|errors| errors.to_string())?.store {
        Settings::S3(s3) => Ok(s3.endpoint),
        Settings::Folder(_) => Err("a folder".to_owned()),
    }
}

async fn doctor(images: &str) -> String {
    use std::io::Write;
    let database = new_database().await;
    let options = Options { images: images.to_owned(), ..Options::default() };
    let text = crate::harness::configuration(&options, &database, "127.0.0.1:9".parse().unwrap());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let (_, output, error) = run_verdict(&["doctor", "--config", path], &[]).await;
    output + &error
}
