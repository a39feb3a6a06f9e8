//! `verdict doctor` names each fault and its remedy. One fault hides no other check.

use std::time::Duration;

use private_postgres::{Mode, Server};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use verdict::domain::clock::Clock;
use verdict::store::Store;

use crate::harness::{Database, Options, SECRET, Setting, callback, now, programs};
use crate::roles::user;

/// The findings by check, and the exit code.
struct Report {
    code: i32,
    items: Vec<Value>,
}

impl Report {
    async fn of(setting: &Setting, role: &str) -> Self {
        let (code, said, error) = setting.run(&["doctor", "--json", "--role", role], "").await;
        let items: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}{error}"));
        for secret in [SECRET, "provider-secret", setting.database.url.as_str(), "only-here"] {
            assert!(!said.contains(secret), "it tells a secret: {said}");
        }
        let items = items.as_array().expect("a list").clone();
        for item in &items {
            let wants_a_hint = ["warning", "failed"].contains(&item["state"].as_str().unwrap());
            assert_eq!(item["hint"].is_string(), wants_a_hint, "{item}");
        }
        Self { code, items }
    }

    /// Everything of that state, but what the tests' Postgres without fsync is blamed for.
    fn those(&self, state: &str) -> Vec<&str> {
        let of = |item: &&Value| item["state"] == state && item["check"] != "durability";
        self.items.iter().filter(of).map(|item| item["check"].as_str().unwrap()).collect()
    }

    #[track_caller]
    fn has(&self, check: &str, state: &str, says: &str) {
        let fits = |item: &&Value| {
            let told = format!("{}{}", item["says"], item["hint"]);
            item["check"] == check && item["state"] == state && told.contains(says)
        };
        assert!(self.items.iter().any(|item| fits(&item)), "{check}: {:#?}", self.items);
    }
}

fn options() -> Options {
    Options { fixed_clock: false, ..Options::default() }
}

#[tokio::test]
async fn doctor_prints_one_line_per_check_and_exits_0() {
    // Not the tests' Postgres: doctor would report that it runs without fsync.
    let folder = tempfile::TempDir::new().unwrap();
    let programs = programs();
    let server = Server::start(&programs, &folder.path().join("pg"), Mode::Durable).await.unwrap();
    let superuser = Database::at(server.url("postgres"));
    for more in [
        "create role keeper login createrole password 'only-here'",
        "create database kept owner keeper",
        "alter database kept set idle_in_transaction_session_timeout = '60s'",
    ] {
        superuser.pool().await.execute(more).await.unwrap();
    }
    let mut url = url::Url::parse(&server.url("kept")).unwrap();
    url.set_username("keeper").unwrap();
    url.set_password(Some("only-here")).unwrap();
    let owner = Database::at(url);
    let store: Store = owner.store();
    store.migrate().await.unwrap();

    let images = format!("store = \"file://{}/images\"", folder.path().display());
    let mut setting = Setting::new(Options { images, ..options() }).await;
    setting.database = user(&owner, "verdict_api, verdict_worker").await;
    let process = setting.serve().await;
    assert_eq!(process.post(&setting.client, callback("pass-97", now())).await, Some(202));
    setting.drained().await;
    let report = Report::of(&setting, "all").await;
    let bad: Vec<&Value> = report.items.iter().filter(|item| item["state"] != "ok").collect();
    // The disk of this machine is its own affair, and the tests' provider is a simulated one.
    let expected = |item: &&Value| {
        let says = item["says"].as_str().unwrap();
        item["check"] == "disk-space"
            || says == "it is a simulated provider: nobody is really verified"
    };
    assert!(bad.iter().all(expected), "{bad:#?}");
    assert_eq!(report.code, 0);
    report.has("provider", "ok", "verify-result: the signature is good");
    report.has("provider", "ok", "face-verify: the signature is good");
    report.has("provider", "ok", "Date header");
    report.has("object-store", "ok", "put, read and deleted");
    report.has("rights", "ok", "verdict_api and verdict_worker");
    report.has("owner", "ok", "keeper owns the schema and is no superuser");

    // The same for people, and where the service's own ports are asked about.
    let (code, said, _) = setting.run(&["doctor"], "").await;
    assert_eq!(code, 0);
    assert!(said.lines().last().unwrap().contains(" 0 failed"), "{said}");
    let whose: String = sqlx::query_scalar("select id::text from verifications")
        .fetch_one(&owner.pool().await)
        .await
        .unwrap();
    for kept in std::fs::read_dir(folder.path().join("images")).unwrap() {
        assert_eq!(kept.unwrap().file_name().to_str(), Some(whose.as_str()), "left behind");
    }
    process.kill().await;
    store.close().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn doctor_distinguishes_wrong_secret_and_wrong_clock() {
    let wrong = Options { provider_secret: "wrong".to_owned(), ..options() };
    let report = Report::of(&Setting::new(wrong).await, "worker").await;
    assert_eq!((report.code, report.those("failed")), (1, vec!["provider"]));
    report.has("provider", "failed", "credentials are refused (SignatureDoesNotMatch)");

    let elsewhere = Clock::fixed(now() + Duration::from_mins(20));
    let report = Report::of(&Setting::beside(options(), &elsewhere).await, "worker").await;
    assert_eq!((report.code, report.those("failed")), (1, vec!["provider", "provider"]));
    report.has("provider", "failed", "finds our clock wrong (InvalidTimeStamp.Expired)");
    // The header has whole seconds.
    report.has("provider", "failed", "Date header this machine's clock differs by -1");
    report.has("provider", "failed", "it is behind");

    let setting = Setting::new(options()).await;
    setting.database.shift_clock(3600).await;
    let report = Report::of(&setting, "worker").await;
    // On a busy machine a part of a second passes until a connection is open.
    report.has("clock-verdict-now", "failed", "differs by -3600.");
    report.has("clock-verdict-now", "failed", "s: it is behind");
    report.has("clock-database", "ok", "differs by");
}

#[tokio::test]
async fn doctor_distinguishes_permission_and_silent_provider() {
    let mut setting = Setting::new(options()).await;
    setting.provider.fail_all(Some(cloudauth_sandbox::Behaviour::error("NoPermission")));
    // Of an invented scene that is no wonder.
    let report = Report::of(&setting, "worker").await;
    report.has("provider", "warning", "refused for an invented scene (NoPermission)");
    let scene = "insert into verifications
        (id, biz_type, biz_id, state, created_at, updated_at, give_up_at)
        values (gen_random_uuid(), 'scene', 'a', 'decided', now(), now(), now())";
    sqlx::query(scene).execute(&setting.database.pool().await).await.unwrap();
    let report = Report::of(&setting, "worker").await;
    report.has("provider", "failed", "the call is not permitted (NoPermission)");
    // The other product may not be in use.
    report.has("provider", "warning", "face-verify: the signature is good; permission was refused");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    setting.provider_address = nobody.local_addr().unwrap();
    drop(nobody);
    let report = Report::of(&setting, "worker").await;
    report.has("provider", "failed", "cannot connect");
    // A process that only accepts does not call.
    let report = Report::of(&setting, "api").await;
    report.has("provider", "skipped", "does not call");
}

#[tokio::test]
async fn old_schema_is_reported_and_hides_no_other_check() {
    let mut setting = Setting::new(options()).await;
    let pool = setting.database.pool().await;
    for undo in
        ["drop table schema_floor", "delete from _sqlx_migrations where version = 20261125000003"]
    {
        sqlx::query(AssertSqlSafe(undo)).execute(&pool).await.unwrap();
    }
    let report = Report::of(&setting, "all").await;
    assert_eq!((report.code, report.those("failed")), (1, vec!["schema"]));
    report.has("schema", "failed", "run `verdict migrate`");
    report.has("provider", "ok", "signature is good");

    // As a killed `create index concurrently` leaves it.
    let cut_short = "update pg_index set indisvalid = false
        where indexrelid = 'verifications_due'::regclass";
    sqlx::query(cut_short).execute(&pool).await.unwrap();
    let report = Report::of(&setting, "all").await;
    report.has("indexes", "failed", "verifications_due");

    sqlx::query("drop schema public cascade").execute(&pool).await.unwrap();
    let report = Report::of(&setting, "all").await;
    report.has("schema", "failed", "run `verdict migrate`");
    report.has("backlog", "skipped", "see schema");

    let right = setting.database.url.clone();
    setting.database = Database::at("postgres://nobody@127.0.0.1:1/none".to_owned());
    let report = Report::of(&setting, "all").await;
    report.has("database", "failed", "the database is unavailable (connection refused)");
    for check in [
        "schema",
        "months",
        "audit-segment",
        "audit-witnesses",
        "owner",
        "rights",
        "transactions",
        "policy",
        "vault-keys",
        "backlog",
        "indexes",
        "breaker",
        "dead-letters",
        "durability",
        "connections",
        "clock-database",
        "clock-verdict-now",
    ] {
        report.has(check, "skipped", "not checked: no database");
    }
    for check in ["provider", "object-store", "limits", "secret-files", "traces", "http.listen"] {
        let looked_at = |item: &Value| item["check"] == check && item["state"] != "skipped";
        assert!(report.items.iter().any(looked_at) || check == "object-store", "{check}");
    }
    report.has("provider", "ok", "signature is good");
    let with = |change: fn(&mut url::Url)| {
        let mut url = url::Url::parse(&right).unwrap();
        change(&mut url);
        Database::at(url)
    };
    setting.database = with(|url| url.set_password(Some("wrong")).unwrap());
    let report = Report::of(&setting, "all").await;
    report.has("database", "failed", "user and password");
    setting.database = with(|url| url.set_path("/nowhere"));
    let report = Report::of(&setting, "all").await;
    report.has("database", "failed", "create the database");
}

#[tokio::test]
async fn missing_and_changed_vault_keys_are_named() {
    let mut setting = Setting::new(options()).await;
    setting.serve().await.kill().await;
    setting.options.vault_keys = &["other"];
    let report = Report::of(&setting, "worker").await;
    assert_eq!((report.code, report.those("failed")), (1, vec!["vault-keys"]));
    report.has("vault-keys", "failed", "data needs test");

    setting.options.vault_keys = &["other", "test"];
    let report = Report::of(&setting, "worker").await;
    report.has("vault-keys", "warning", "other is the primary one and wraps nothing yet");

    let rename = "update vault_keys set key_id = 'other'";
    let pool = setting.database.pool().await;
    sqlx::query(rename).execute(&pool).await.unwrap();
    sqlx::query("update named_keys set key_id = 'other'").execute(&pool).await.unwrap();
    let report = Report::of(&setting, "worker").await;
    report.has(
        "vault-keys",
        "failed",
        "other does not open what it wrapped: its secret is another",
    );
    // The key has the same id. `vault status` reports it too, and no process starts.
    let (code, said, _) = setting.run(&["vault", "status"], "").await;
    assert_eq!(code, 1);
    assert!(said.contains("other  OTHER BYTES under this id"), "{said}");
    let (code, _, error) = setting.run(&["serve", "--role", "api"], "").await;
    assert_eq!(code, 2);
    assert!(
        error.contains("key other") && error.contains("other bytes under the same id?"),
        "{error}"
    );
}

#[tokio::test]
async fn unwritable_object_store_is_named() {
    // Below a file no folder can be made, whoever tries.
    let file = tempfile::NamedTempFile::new().unwrap();
    let images = format!("store = \"file://{}/images\"", file.path().display());
    let report = Report::of(&Setting::new(Options { images, ..options() }).await, "all").await;
    assert_eq!((report.code, report.those("failed")), (1, vec!["object-store"]));
    report.has("object-store", "failed", "images.store");
}

#[tokio::test]
async fn missing_rights_of_a_role_are_named() {
    let mut setting = Setting::new(options()).await;
    let owner = setting.database.clone();
    setting.database = user(&owner, "verdict_reader").await;
    let report = Report::of(&setting, "worker").await;
    assert_eq!(report.code, 1);
    report.has("rights", "failed", "grant verdict_worker to user_");
    // The one that fetches lacks what accepting needs, and has what fetching needs.
    setting.database = user(&owner, "verdict_worker").await;
    let report = Report::of(&setting, "api").await;
    report.has("rights", "failed", "insert on backtests (");
    report.has("owner", "warning", "is a superuser");
    let report = Report::of(&setting, "worker").await;
    report.has("rights", "ok", "verdict_worker");
    assert_eq!(report.those("failed"), [""; 0]);
}

#[tokio::test]
async fn secrets_in_a_private_folder_need_no_strict_mode() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::TempDir::new().unwrap();
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=").unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut setting = Setting::new(options()).await;
    setting.options.more = format!("[sources.more]\nsecrets_file = {secrets:?}");
    for (mode, state, says) in [
        (0o700, "ok", "neither read nor change"),
        (0o711, "warning", "can change"),
        (0o711, "warning", "can read"),
    ] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        Report::of(&setting, "api").await.has("secret-files", state, says);
    }
}

#[tokio::test]
async fn backlog_and_stopped_calls_are_reported() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::TempDir::new().unwrap();
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, "whsec_YW5vdGhlciB0aGlydHktdHdvIGJ5dGVzIG9mIG5vdGhpbmc=").unwrap();
    for (path, mode) in [(secrets.as_path(), 0o644), (folder.path(), 0o755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let more = format!("[sources.more]\nsecrets_file = {secrets:?}\n[policy]\nfile = {:?}", {
        let file = folder.path().join("policy.toml");
        let text = std::fs::read_to_string("config/policy.toml").unwrap();
        std::fs::write(&file, format!("# Another.\n{text}")).unwrap();
        file
    });
    let mut setting = Setting::new(options()).await;
    setting.serve().await.kill().await;
    let pool = setting.database.pool().await;
    for statement in [
        "update accounts set breaker = 'credentials', opened_at = now() - interval '10 minutes'",
        "insert into verifications (id, biz_type, biz_id, state, created_at, updated_at, give_up_at, due_at)
         values (gen_random_uuid(), 't', 'a', 'failed', now(), now(), now(), null),
                (gen_random_uuid(), 't', 'b', 'pending', now(), now(), now(), now() - interval '1 hour')",
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    setting.options.more = more;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = setting.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("127.0.0.1:0", &address, 1);
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["doctor", "--json", "--config", file];
    let (code, said, error) = crate::harness::run_verdict(&arguments, &[]).await;
    let items: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    let report = Report { code, items: items.as_array().unwrap().clone() };
    assert_eq!((report.code, report.those("failed")), (1, vec!["breaker", "http.listen"]));
    report.has("breaker", "failed", "open for 10 min (credentials)");
    report.has("backlog", "warning", "the oldest for 60 min");
    report.has("dead-letters", "warning", "1 verification is a dead letter");
    report.has("secret-files", "warning", "sources.more.secrets_file");
    report.has("policy", "warning", "which is ignored");
    report.has("durability", "failed", "fsync is off");
    report.has("http.listen", "failed", "another program");
}

#[tokio::test]
async fn doctor_names_every_wrong_key() {
    let more = "faults_to_open = 0\n[log]\nformat = \"xml\"\n[retention]\nperson_days = 40000";
    let setting = Setting::new(Options { more: more.to_owned(), ..options() }).await;
    let report = Report::of(&setting, "all").await;
    assert_eq!(report.code, 2);
    report.has("configuration", "failed", "worker.faults_to_open");
    report.has("configuration", "failed", "log.format");
    // The other checks still run.
    report.has("schema", "ok", "current");
}

/// The report of doctor for this text of a configuration.
async fn with_configuration(text: &str) -> Report {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("verdict.toml");
    std::fs::write(&file, text).unwrap();
    let arguments = ["doctor", "--json", "--config", file.to_str().unwrap()];
    let (code, said, error) = crate::harness::run_verdict(&arguments, &[]).await;
    let items: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    Report { code, items: items.as_array().unwrap().clone() }
}

/// The configuration with these addresses to listen on.
fn listening(setting: &Setting, http: &str, operations: &str) -> String {
    let text = std::fs::read_to_string(setting.config_file()).unwrap();
    let text = text.replacen("127.0.0.1:0", http, 1);
    text.replacen("127.0.0.1:0", operations, 1)
}

#[tokio::test]
async fn own_ports_are_distinguished_from_those_of_others() {
    let ours = Setting::new(options()).await;
    let process = ours.serve().await;
    let (http, operations) = (process.http.to_string(), process.operations.to_string());
    let report = with_configuration(&listening(&ours, &http, &operations)).await;
    report.has("http.listen", "ok", "of this installation serves on");
    report.has("operations.listen", "ok", "of this installation serves on");

    // Another database: what serves there is in the way.
    let other = Setting::new(options()).await;
    let report = with_configuration(&listening(&other, &http, &operations)).await;
    report.has("http.listen", "failed", "another Verdict, with another database");
    report.has("operations.listen", "failed", "another Verdict, with another database");
    assert_eq!(report.code, 1);
    // The same database, and yet not the process of this configuration.
    let report = with_configuration(&listening(&ours, &http, "127.0.0.1:0")).await;
    report.has("http.listen", "failed", "another Verdict, with another operations.listen");
    report.has("operations.listen", "ok", "is free");

    let mut without = ours;
    without.database = Database::at("postgres://nobody@127.0.0.1:1/none".to_owned());
    let report = with_configuration(&listening(&without, &http, &operations)).await;
    report.has("http.listen", "warning", "its database is unknown");
}

#[tokio::test]
async fn doctor_checks_the_trace_collector() {
    use tokio::net::TcpListener;
    let setting = Setting::new(options()).await;
    let text = std::fs::read_to_string(setting.config_file()).unwrap();
    let told = |more: String| {
        let text = format!("{text}\n{more}");
        async move { with_configuration(&text).await }
    };
    told(String::new()).await.has("traces", "ok", "no traces are exported");
    let collector = crate::harness::Collector::start().await;
    told(collector.configuration()).await.has("traces", "ok", "takes traces");
    assert!(collector.spans().is_empty());
    let wrong_path = collector.configuration().replace("/v1/traces", "/elsewhere");
    told(wrong_path).await.has("traces", "warning", "HTTP 404");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("[traces]\nendpoint = \"http://{closed}/v1/traces\"\n");
    told(endpoint).await.has("traces", "warning", "connection refused");
    let mail = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mail.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = mail.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 ready\r\n\r\n").await;
        }
    });
    let endpoint = format!("[traces]\nendpoint = \"http://{address}/v1/traces\"\n");
    told(endpoint).await.has("traces", "warning", "not in the expected protocol");
}

#[tokio::test]
async fn an_unusable_database_url_hides_no_other_check() {
    let mut setting = Setting::new(options()).await;
    setting.database = Database::at("mysql://nobody@localhost/none".to_owned());
    let report = Report::of(&setting, "all").await;
    assert_eq!(report.code, 2);
    report.has("configuration", "failed", "database.url");
    report.has("database", "skipped", "database.url is not usable");
    report.has("schema", "skipped", "not checked: no database");
    report.has("provider", "ok", "signature is good");
    report.has("http.listen", "ok", "is free");
}
