//! The chain against small stand-ins for the services it asks.

use std::path::{Path, PathBuf};
use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::*;

const NOON: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

/// A clock that tests move.
#[derive(Clone, Default)]
struct Moved(Arc<Lock<Duration>>);

impl Moved {
    fn now(&self) -> OffsetDateTime {
        NOON + *self.0.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn clock(&self) -> Clock {
        let moved = self.clone();
        Clock::new(move || moved.now())
    }
}

/// A service that gives the role `reader` a new key each time, for an hour.
#[derive(Clone)]
struct Service {
    clock: Moved,
    given: Arc<AtomicUsize>,
    works: Arc<Lock<bool>>,
    forms: Arc<Lock<Vec<String>>>,
}

impl Service {
    fn keys(&self, wrap: bool) -> String {
        let n = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        let end = (self.clock.now() + time::Duration::hours(1)).format(&Rfc3339).unwrap();
        let keys = format!(
            r#""AccessKeyId":"id-{n}","AccessKeySecret":"secret-{n}","SecurityToken":"token-{n}","Expiration":"{end}""#
        );
        if wrap {
            format!(r#"{{"RequestId":"R","Credentials":{{{keys}}}}}"#)
        } else {
            format!(r#"{{"Code":"Success",{keys}}}"#)
        }
    }
}

async fn answer(
    State(service): State<Service>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !*service.works.lock().unwrap() {
        let body = r#"{"Code":"ServiceUnavailable","Message":"token-1 secret-1"}"#;
        return (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (method.as_str(), uri.path()) {
        ("PUT", "/latest/api/token") => {
            assert_eq!(header("x-aliyun-ecs-metadata-token-ttl-seconds"), Some("21600"));
            "metadata-token".into_response()
        }
        ("GET", path) if path.starts_with("/latest/") => {
            assert_eq!(header("x-aliyun-ecs-metadata-token"), Some("metadata-token"));
            match path.strip_prefix("/latest/meta-data/ram/security-credentials/") {
                Some("") => "reader\n".into_response(),
                Some("reader") => service.keys(false).into_response(),
                _ => StatusCode::NOT_FOUND.into_response(),
            }
        }
        ("GET", "/helper") => service.keys(false).into_response(),
        ("POST", "/") => {
            let form = String::from_utf8(body.to_vec()).unwrap();
            service.forms.lock().unwrap().push(format!("{} {form}", uri.query().unwrap()));
            service.keys(true).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn service(clock: &Moved) -> (Service, Url) {
    let service = Service {
        clock: clock.clone(),
        given: Arc::default(),
        works: Arc::new(Lock::new(true)),
        forms: Arc::default(),
    };
    let router = Router::new().fallback(answer).with_state(service.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (service, url)
}

fn chain(settings: Settings, clock: &Moved, variables: &[(&str, &str)]) -> Chain {
    let environment = variables.iter().copied().collect();
    Chain::new(settings, environment).unwrap().with_clock(clock.clock())
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

#[tokio::test]
async fn a_role_of_the_machine_is_renewed_before_it_ends() {
    let clock = Moved::default();
    let (service, url) = service(&clock).await;
    let settings = Settings { ecs_metadata: Some(url), ..Settings::default() };
    let chain = chain(settings, &clock, &[]);

    let first = chain.get().await.unwrap();
    assert_eq!(first.access_key_id, "id-1");
    assert_eq!(first.access_key_secret.expose_secret(), "secret-1");
    assert_eq!(first.security_token.as_ref().unwrap().expose_secret(), "token-1");
    assert_eq!(first.expires_at, Some(datetime!(2026-11-23 13:00 UTC)));

    clock.advance(minutes(44));
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-1");
    clock.advance(minutes(1));
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-2");
    assert_eq!(service.given.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn many_callers_ask_once() {
    let clock = Moved::default();
    let (service, url) = service(&clock).await;
    let settings = Settings { ecs_metadata: Some(url), ..Settings::default() };
    let chain = Arc::new(chain(settings, &clock, &[]));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let chain = Arc::clone(&chain);
            tokio::spawn(async move { chain.get().await.unwrap().access_key_id.clone() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "id-1");
    }
    assert_eq!(service.given.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failing_renewal_is_borne_until_the_end() {
    let clock = Moved::default();
    let (service, url) = service(&clock).await;
    let settings = Settings { ecs_metadata: Some(url), ..Settings::default() };
    let chain = chain(settings, &clock, &[("ALIBABA_CLOUD_ECS_METADATA", "reader")]);
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-1");
    *service.works.lock().unwrap() = false;
    clock.advance(minutes(50));
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-1");
    clock.advance(minutes(10));
    let error = chain.get().await.unwrap_err().to_string();
    assert!(error.contains("ECS role: HTTP 503 ServiceUnavailable"), "{error}");
    assert!(!error.contains("token-1") && !error.contains("secret-1"), "{error}");
    *service.works.lock().unwrap() = true;
    clock.advance(minutes(1));
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-2");
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_but_a_newer_one_is_kept() {
    let clock = Moved::default();
    let (_, url) = service(&clock).await;
    let uri = url.join("/helper").unwrap();
    let switched = [
        ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ];
    let chain = chain(Settings::default(), &clock, &switched);
    let first = chain.get().await.unwrap();
    chain.invalidate(&first).await;
    let second = chain.get().await.unwrap();
    assert_eq!(second.access_key_id, "id-2");
    chain.invalidate(&first).await;
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-2");
}

/// A temporary folder, removed at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn an_oidc_token_is_exchanged_and_read_again_each_time() {
    let clock = Moved::default();
    let (service, url) = service(&clock).await;
    let folder = Folder::new();
    let file = folder.write("token", "jwt-1\n");
    let variables = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/reader"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", text(&file)),
    ];
    let settings = Settings { sts_endpoint: Some(url), ..Settings::default() };
    let chain = chain(settings, &clock, &variables);
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-1");
    folder.write("token", "jwt-2");
    clock.advance(minutes(50));
    assert_eq!(chain.get().await.unwrap().access_key_id, "id-2");
    {
        let forms = service.forms.lock().unwrap();
        assert!(forms[0].starts_with("Action=AssumeRoleWithOIDC&Format=JSON&Timestamp=2026-11-23T12%3A00%3A00Z&Version=2015-04-01 "));
        assert!(forms[0].contains(
            "OIDCToken=jwt-1&RoleArn=acs%3Aram%3A%3A1%3Arole%2Freader&RoleSessionName=cloudauth"
        ));
        assert!(forms[1].contains("OIDCToken=jwt-2&"));
    }
    // A configured source that fails must not fall back to another identity.
    std::fs::remove_file(&file).unwrap();
    clock.advance(minutes(60));
    let error = chain.get().await.unwrap_err().to_string();
    let expected = "no usable credentials for the provider (OIDC: the token file cannot be read \
                    (it does not exist))";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn settings_go_before_the_environment_and_that_before_files() {
    let clock = Moved::default();
    let folder = Folder::new();
    folder.write(
        ".aliyun/config.json",
        r#"{"current":"b","profiles":[{"name":"a","mode":"AK","access_key_id":"no","access_key_secret":"no"},
            {"name":"b","mode":"StsToken","access_key_id":"cli","access_key_secret":"s","sts_token":"t"}]}"#,
    );
    let ini = "[other]\ntype=access_key\naccess_key_id=no\n[default]\n# comment = 1\n\
               enable = true\ntype = sts\naccess_key_id = ini\naccess_key_secret = s=1\n\
               security_token = t\n";
    folder.write(".alibabacloud/credentials.ini", ini);
    let fixed = Fixed {
        access_key_id: "fixed".to_owned(),
        access_key_secret: Secret::Value("s".into()),
        security_token: None,
    };
    let fixed = Settings { fixed: Some(fixed), ..Settings::default() };
    let home = ("HOME", text(folder.0.path()));
    let key = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "environment");
    let secret = ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s");
    let no_cli = ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true");
    for (settings, variables, from, token) in [
        (fixed, &[home, key, secret][..], "fixed", false),
        (Settings::default(), &[home, key, secret], "environment", false),
        (Settings::default(), &[home], "cli", true),
        (Settings::default(), &[home, no_cli], "ini", true),
    ] {
        let credentials = chain(settings, &clock, variables).get().await.unwrap();
        assert_eq!(credentials.access_key_id, from);
        assert_eq!(credentials.security_token.is_some(), token, "{from}");
    }
}

#[tokio::test]
async fn the_error_says_what_was_tried_and_what_is_missing() {
    let clock = Moved::default();
    let folder = Folder::new();
    let variables = [
        ("HOME", text(folder.0.path())),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ];
    let error = chain(Settings::default(), &clock, &variables).get().await.unwrap_err();
    let expected = "no usable credentials for the provider (settings: no access key is set; \
        environment: ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set; \
        OIDC: ALIBABA_CLOUD_ROLE_ARN is not set; \
        CLI profile: ~/.aliyun/config.json cannot be read (it does not exist); \
        credentials file: it cannot be read (it does not exist); \
        ECS role: switched off; \
        credentials URI: ALIBABA_CLOUD_CREDENTIALS_URI is not set)";
    assert_eq!(error.to_string(), expected);
}
