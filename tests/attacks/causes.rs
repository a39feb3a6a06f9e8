//! A fault of Postgres, the provider, the object store or a file is reported by its cause, in our
//! words; a mistake in a statement is not reported as an outage.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sqlx::{AssertSqlSafe, Executor};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use verdict::causes::Cause;
use verdict::store::{Settings, Store};

use crate::harness::{Database, Options, Setting, callback, eventually, now, run_verdict};

/// Words of the operating system and of libraries, in lower case.
const THEIRS: [&str; 22] = [
    "entity not found",
    "uncategorized",
    "builder error",
    "error sending request",
    "os error",
    "no such file",
    "is a directory",
    "deadline has elapsed",
    "operation timed out",
    "dns error",
    "failed to lookup",
    "client error",
    "invalid peer certificate",
    "unknownissuer",
    "invaliddata",
    "valid utf-8",
    "stream did not contain",
    "pool timed out",
    "incompletemessage",
    "rustls",
    "sqlx",
    "hyper",
];

#[track_caller]
fn is_in_our_words(what: &str, told: &str) {
    let lower = told.to_lowercase();
    for word in THEIRS {
        assert!(!lower.contains(word), "{what} says {word:?}: {told}");
    }
}

/// An address where nothing listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Accepts a connection, reads something, sends this text, and closes.
async fn says(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    address
}

/// Accepts and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// A certificate authority and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    file: PathBuf,
}

/// A fault of a server's certificate.
#[derive(Clone, Copy, PartialEq)]
enum Oddity {
    Expired,
    NotYetValid,
    WrongName,
    WantsOne,
    Stranger,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let file = folder.join(name);
        fs::write(&file, certificate.pem()).unwrap();
        Self { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), file }
    }

    /// A server on this machine. It begins TLS at once, or after a request for it as Postgres does.
    fn serves(&self, oddity: Oddity) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let host = if oddity == Oddity::WrongName { "elsewhere.example.com" } else { "localhost" };
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let day = time::Duration::days(1);
        let today = now();
        (params.not_before, params.not_after) = match oddity {
            Oddity::Expired => (today - 9 * day, today - 2 * day),
            Oddity::NotYetValid => (today + 2 * day, today + 9 * day),
            _ => (today - day, today + day),
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if oddity == Oddity::WantsOne {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        serve_tls(builder.with_single_cert(chain, key).unwrap())
    }
}

fn serve_tls(config: ServerConfig) -> SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    // Ends with the process: it only waits.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let mut first = [0];
                let peeked = stream.peek(&mut first).is_ok();
                // A request for TLS begins with a length, a handshake with 22.
                if peeked && first == [0] {
                    let mut request = [0; 8];
                    let _ = stream.read_exact(&mut request).and_then(|()| stream.write_all(b"S"));
                }
                let Ok(mut tls) = ServerConnection::new(config) else { return };
                while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
                // The alert is on its way; a reset would overtake it.
                while tls.wants_write() && tls.write_tls(&mut stream).is_ok() {}
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

/// The report of doctor if all three services are at this address.
struct Told {
    items: Vec<serde_json::Value>,
    all: String,
}

impl Told {
    async fn by_doctor(host: &str, tls: Option<&Path>) -> Self {
        Self::by_doctor_with(host, tls, host).await
    }

    /// With the object store somewhere else.
    async fn by_doctor_with(host: &str, tls: Option<&Path>, store: &str) -> Self {
        let (scheme, query) = match tls {
            None => ("http", String::new()),
            Some(authority) => {
                ("https", format!("?sslmode=verify-full&sslrootcert={}", authority.display()))
            }
        };
        let options = Options {
            images: format!(
                "store = \"s3://faces/kept\"\n[images.s3]\nendpoint = \"{scheme}://{store}\"\n\
                 access_key_id = \"bucket-key\"\naccess_key_secret = \"bucket-secret\"\n\
                 allow_http = true"
            ),
            ..Options::default()
        };
        let database = Database::at(format!("postgres://user:x@{host}/none{query}"));
        let text = crate::harness::configuration(&options, &database, closed_port().await);
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        for line in &mut lines {
            if line.starts_with("endpoint = \"http://127.0.0.1") && !line.contains(host) {
                *line = format!("endpoint = \"{scheme}://{host}\"\ntimeout_ms = 2000");
            }
            if line.starts_with("url = ") {
                line.push_str("\ntimeout_seconds = 2");
            }
        }
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("verdict.toml");
        fs::write(&file, lines.join("\n")).unwrap();
        let authority = tls.map(|file| file.to_str().unwrap().to_owned()).unwrap_or_default();
        let environment = [("SSL_CERT_FILE", authority.as_str())];
        let environment = if tls.is_some() { &environment[..] } else { &[] };
        let arguments =
            ["doctor", "--json", "--role", "worker", "--config", file.to_str().unwrap()];
        let (_, all, error) = run_verdict(&arguments, environment).await;
        let items = serde_json::from_str(&all).unwrap_or_else(|_| panic!("{all}{error}"));
        Self { items, all: format!("{all}{error}") }
    }

    /// Each of these services failed for that cause.
    #[track_caller]
    fn has(&self, services: &[&str], cause: Cause) {
        is_in_our_words(cause.code(), &self.all);
        for service in services {
            let fits = |item: &&serde_json::Value| {
                item["check"] == *service
                    && item["state"] == "failed"
                    && item["says"].as_str().is_some_and(|says| says.contains(cause.says()))
            };
            assert!(
                self.items.iter().any(|item| fits(&item)),
                "{service}, {}: {}",
                cause.code(),
                self.all
            );
        }
    }
}

const ALL: [&str; 3] = ["database", "provider", "object-store"];

#[tokio::test]
async fn network_causes_are_distinguished_for_every_service() {
    let refused = format!("localhost:{}", closed_port().await.port());
    let closed = format!("localhost:{}", says("").await.port());
    let strange = format!("localhost:{}", says("220 mail ready\r\n\r\n").await.port());
    let (refused, closed, strange) = tokio::join!(
        Told::by_doctor(&refused, None),
        Told::by_doctor(&closed, None),
        Told::by_doctor(&strange, None),
    );
    refused.has(&ALL, Cause::Refused);
    closed.has(&ALL, Cause::Closed);
    strange.has(&ALL, Cause::NotTheProtocol);
    // Plain http is for this machine, so a name elsewhere comes with TLS.
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "authority.pem");
    let unknown = Told::by_doctor("no-such-host.invalid:5", Some(&authority.file)).await;
    unknown.has(&ALL, Cause::UnknownHost);
}

#[tokio::test]
async fn tls_causes_are_distinguished_for_every_service() {
    let folder = TempDir::new().unwrap();
    let trusted = Authority::new(folder.path(), "trusted.pem");
    let stranger = Authority::new(folder.path(), "stranger.pem");
    let plain = says("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let told = |address: SocketAddr| {
        let (host, file) = (format!("localhost:{}", address.port()), trusted.file.clone());
        async move { Told::by_doctor(&host, Some(&file)).await }
    };
    let (expired, early, name, wants, unknown, plain) = tokio::join!(
        told(trusted.serves(Oddity::Expired)),
        told(trusted.serves(Oddity::NotYetValid)),
        told(trusted.serves(Oddity::WrongName)),
        told(trusted.serves(Oddity::WantsOne)),
        told(stranger.serves(Oddity::Stranger)),
        told(plain),
    );
    expired.has(&ALL, Cause::TlsExpired);
    early.has(&ALL, Cause::TlsNotYetValid);
    name.has(&ALL, Cause::TlsWrongName);
    // The alert comes after the handshake, and the HTTP client of the provider may meet the end of
    // the connection first.
    wants.has(&["database", "object-store"], Cause::TlsClientCertificate);
    assert!(!wants.all.contains(Cause::TlsUntrusted.says()), "{}", wants.all);
    unknown.has(&ALL, Cause::TlsUntrusted);
    plain.has(&["provider", "object-store"], Cause::TlsNotOffered);
}

#[tokio::test]
async fn silence_is_reported_as_a_timeout() {
    let host = format!("localhost:{}", silent().await.port());
    // The timeout of the object store is 20 s.
    let store = format!("localhost:{}", closed_port().await.port());
    let told = Told::by_doctor_with(&host, None, &store).await;
    is_in_our_words("silence", &told.all);
    let of = |check: &str| {
        let item = told.items.iter().find(|item| item["check"] == check).unwrap();
        item["says"].as_str().unwrap().to_owned()
    };
    assert!(of("database").contains("did not answer within 2s"), "{}", told.all);
    assert!(of("provider").contains("did not answer in time"), "{}", told.all);
}

#[tokio::test]
async fn postgres_refusals_are_distinguished() {
    let setting = Setting::new(Options::default()).await;
    let pool = setting.database.pool().await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&pool).await.unwrap();
    for statement in [
        format!("create role sleeper_{name} nologin password 'x'"),
        format!("create role stranger_{name} login password 'x'"),
        format!("create role crowd_{name} login password 'x' connection limit 0"),
        format!("revoke connect on database {name} from public"),
        format!("grant connect on database {name} to crowd_{name}"),
    ] {
        pool.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let url = url::Url::parse(&setting.database.url).unwrap();
    let with = |user: Option<&str>, password: Option<&str>, database: Option<&str>| {
        let mut url = url.clone();
        if let Some(user) = user {
            url.set_username(user).unwrap();
        }
        if let Some(password) = password {
            url.set_password(Some(password)).unwrap();
        }
        if let Some(database) = database {
            url.set_path(database);
        }
        url.to_string()
    };
    let (sleeper, stranger, crowd) =
        (format!("sleeper_{name}"), format!("stranger_{name}"), format!("crowd_{name}"));
    let mut setting = setting;
    for (url, cause) in [
        (with(None, Some("wrong"), None), Cause::WrongPassword),
        (with(Some("no_such_role"), Some("x"), None), Cause::WrongPassword),
        (with(None, None, Some("no_such_database")), Cause::UnknownDatabase),
        (with(Some(&sleeper), Some("x"), None), Cause::UnknownRole),
        (with(Some(&stranger), Some("x"), None), Cause::MissingRight),
        (with(Some(&crowd), Some("x"), None), Cause::TooManyConnections),
    ] {
        setting.database = Database::at(url);
        let (code, _, error) = setting.run(&["keys", "list"], "").await;
        let code_or_says = [cause.says(), "SQLSTATE 42501"];
        assert_eq!(code, 1, "{error}");
        assert!(code_or_says.iter().any(|text| error.contains(text)), "{}: {error}", cause.code());
        assert!(error.contains(cause.advice()), "{}: {error}", cause.code());
        is_in_our_words(cause.code(), &error);
    }
}

#[tokio::test]
async fn every_waiting_caller_learns_that_the_port_is_closed() {
    let settings = Settings {
        url: format!("postgres://nobody@{}/none", closed_port().await).into(),
        max_connections: 2,
        timeout: Duration::from_secs(1),
        schema: None,
    };
    let store = Store::new(&settings).unwrap();
    let waiting = (0..6_u64).map(|n| {
        let store = store.clone();
        async move {
            // One after the other: each begins after what an earlier one has found out.
            tokio::time::sleep(Duration::from_millis(n * 250)).await;
            store.ping().await.unwrap_err()
        }
    });
    for error in futures_util::future::join_all(waiting).await {
        assert_eq!(error.cause(), Cause::Refused, "{error}");
    }
}

#[tokio::test]
async fn broken_statement_is_logged_once_and_retried_with_backoff() {
    let more = "backoff_longest_ms = 400".to_owned();
    let setting = Setting::new(Options { more, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    let process = setting.serve().await;
    // As a migration by hand would do it: results cannot be written any more.
    pool.execute("alter table results rename column simulated to pretended").await.unwrap();
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    let id: uuid::Uuid =
        sqlx::query_scalar("select id from verifications").fetch_one(&pool).await.unwrap();
    let reply = setting.get(process.http, &format!("/v1/verifications/{id}/results")).await;
    reply.assert_problem(500, "internal");
    eventually("the work is rescheduled, without a lease", || async {
        let (failures, held): (i32, bool) =
            sqlx::query_as("select failures, lease_token is not null from verifications")
                .fetch_one(&pool)
                .await
                .unwrap();
        (failures >= 3 && !held).then_some(())
    })
    .await;
    let asked = setting.provider.queries("pass-97");
    pool.execute("alter table results rename column pretended to simulated").await.unwrap();
    setting.drained().await;
    assert!(setting.provider.queries("pass-97") > asked, "it goes on by itself");
    let metrics = setting.get(process.operations, "/metrics").await;
    let counted = "verdict_faults_total{service=\"postgres\",cause=\"internal\"}";
    assert!(metrics.text.contains(counted), "{}", metrics.text);
    let log = process.kill().await.join("\n");
    let told = log
        .lines()
        .find(|line| line.contains("completion could not be written; rescheduled"))
        .unwrap();
    for part in ["\"cause\":\"internal\"", "SQLSTATE 42703", "store/hot/completions.rs:", "ERROR"] {
        assert!(told.contains(part), "{told}");
    }
    let failed = log.lines().find(|line| line.contains("request failed")).unwrap();
    assert!(failed.contains("store/results.rs:"), "{failed}");
    assert!(
        !log.contains("result not written yet; retrying"),
        "it was not retried as an outage: {log}"
    );
}

#[tokio::test]
async fn commands_report_faults_without_library_wording() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (missing, a_folder, binary, no_right) =
        (path("missing"), path("folder"), path("binary"), path("no-right"));
    fs::create_dir(&a_folder).unwrap();
    fs::write(&binary, [0xff, 0xfe, 0, 1]).unwrap();
    fs::write(&no_right, "x").unwrap();
    let below = format!("{binary}/below");
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&no_right, PermissionsExt::from_mode(0o000)).unwrap();
    }
    let mut faults = Vec::new();
    for (file, cause) in [
        (&missing, Some(Cause::NotFound)),
        (&a_folder, Some(Cause::IsFolder)),
        (&binary, Some(Cause::NotText)),
        (&below, Some(Cause::NotFolder)),
        // The user who runs the tests may be root.
        (&no_right, None),
    ] {
        for command in [
            &["keys", "list", "--config"][..],
            &["doctor", "--config"],
            &["policy", "check"],
            &["policy", "try", "--evidence"],
            &["audit", "verify", "--file"],
        ] {
            let mut command: Vec<String> = command.iter().map(ToString::to_string).collect();
            command.push(file.clone());
            faults.push((command, cause));
        }
    }
    let send = |to: String| {
        let words = [
            "callback",
            "send",
            "--secret",
            crate::harness::SECRET,
            "--biz-type",
            "a",
            "--biz-id",
            "b",
            "--to",
        ];
        let mut command: Vec<String> = words.iter().map(ToString::to_string).collect();
        command.push(to);
        command
    };
    let (closed, hangs_up) = (closed_port().await, says("").await);
    for (to, cause) in [
        (format!("http://{closed}"), Cause::Refused),
        (format!("http://{hangs_up}"), Cause::Closed),
        (format!("http://{}", says("220 mail ready\r\n\r\n").await), Cause::NotTheProtocol),
        (format!("https://{}", says("HTTP/1.1 400 No\r\n\r\n").await), Cause::TlsNotOffered),
        ("http://no-such-host.invalid".to_owned(), Cause::UnknownHost),
        ("nonsense".to_owned(), Cause::BadUrl),
        (
            format!(
                "https://localhost:{}",
                Authority::new(folder.path(), "ca.pem").serves(Oddity::Stranger).port()
            ),
            Cause::TlsUntrusted,
        ),
    ] {
        faults.push((send(to), Some(cause)));
    }
    let operations = path("operations.toml");
    fs::write(&operations, format!("[operations]\nlisten = \"{}\"", closed_port().await)).unwrap();
    for (command, cause) in [
        (["sandbox", "--listen", &hangs_up.to_string()], Cause::PortTaken),
        (["sandbox", "--listen", "192.0.2.1:1"], Cause::NotOurAddress),
        (["demo", "--folder", &below], Cause::NotFolder),
        (["healthcheck", "--config", &operations], Cause::Refused),
    ] {
        faults.push((command.iter().map(ToString::to_string).collect(), Some(cause)));
    }
    let run = |(command, cause): (Vec<String>, Option<Cause>)| async move {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (code, said, error) = run_verdict(&words, &[]).await;
        (command, cause, code, said + &error)
    };
    for (command, cause, code, told) in
        futures_util::future::join_all(faults.into_iter().map(run)).await
    {
        let command = command.join(" ");
        assert_ne!(code, 0, "{command}: {told}");
        is_in_our_words(&command, &told);
        if let Some(cause) = cause {
            assert!(told.contains(cause.says()), "{command}, {}: {told}", cause.code());
        }
    }
}

#[tokio::test]
async fn commands_report_at_once_why_the_database_is_unavailable() {
    let mut setting = Setting::new(Options::default()).await;
    let closed = closed_port().await;
    for (url, cause) in [
        (format!("postgres://nobody@{closed}/none"), Cause::Refused),
        (
            "postgres://nobody@no-such-host.invalid/none?sslmode=disable".to_owned(),
            Cause::UnknownHost,
        ),
        (format!("postgres://nobody@{}/none", says("").await), Cause::Closed),
        ("postgres://nobody@localhost/none?host=/nowhere".to_owned(), Cause::Refused),
    ] {
        setting.database = Database::at(url);
        let commands = ["keys list", "migrate", "refetch --state failed --dry-run"];
        // Written once: they run side by side.
        let file = setting.config_file();
        let runs = commands.map(|command| {
            let file = file.to_str().unwrap();
            async move {
                let words: Vec<&str> = command.split(' ').chain(["--config", file]).collect();
                (command, run_verdict(&words, &[]).await)
            }
        });
        for (command, (code, _, error)) in futures_util::future::join_all(runs).await {
            assert_eq!(code, 1, "{command}: {error}");
            is_in_our_words(command, &error);
            assert!(error.contains(cause.says()), "{command}, {}: {error}", cause.code());
            assert!(error.contains(cause.advice()), "{command}, {}: {error}", cause.code());
        }
    }
}
