//! Configuration: read whole, refused with one sentence naming the key.

use std::io::Write;

use crate::harness::{SECRET, new_database, run_verdict};

const GOOD: &str = r#"
[http]
listen = "127.0.0.1:0"
[operations]
listen = "127.0.0.1:0"
[database]
url = "postgres://nobody@127.0.0.1:1/none"
[sources.app]
secrets = ["whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0"]
[provider]
access_key_id = "id"
access_key_secret = "secret"
[[vault.keys]]
id = "one"
secret = "dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8ga2U="
"#;

/// Starts with this configuration; exit code and stderr.
async fn serve(text: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a plain path");
    let (code, _, error) = run_verdict(&["serve", "--config", path], environment).await;
    (code, error)
}

#[tokio::test]
async fn every_broken_configuration_is_refused_with_its_key() {
    let change = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replace(from, to)
    };
    let provider = |line: &str| change("[provider]", &format!("[provider]\n{line}"));
    let add = |text: &str| format!("{GOOD}{text}\n");
    let secret = "secret = \"dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8ga2U=\"";
    let cases: Vec<(String, &str)> = vec![
        (add("[surprise]\nkey = 1"), "surprise"),
        (add("[retention]\nperson_days = 40000"), "retention.person_days"),
        (add("[retention]\nresults_days = 40000"), "retention.results_days"),
        (add("[retention]\nresults_days = 30"), "retention.results_days"),
        (add("[retention]\nresults_days = 30\nperson_days = 31"), "retention.results_days"),
        (add("[retention]\naudit_days = 182\nperson_days = 30"), "retention.audit_days"),
        (add("[retention]\ndecisions_days = 30\nevents_days = 30"), "retention.decisions_days"),
        (add("[retention]\ndecisions_days = 30\nperson_days = 30"), "retention.decisions_days"),
        (
            add("[retention]\ndecisions_days = 30\nperson_days = 30\nevents_days = 31"),
            "retention.decisions_days",
        ),
        (change("[http]", "[http]\nlisten_on = 1"), "http.listen_on"),
        (provider("endpont = \"x\""), "provider.endpont"),
        (change("[sources.app]", "[sources.app]\nsecret = \"x\""), "sources.app.secret"),
        (change("127.0.0.1:0\"\n[oper", "localhost\"\n[oper"), "http.listen"),
        (change("[http]", "[http]\nmax_connections = \"many\""), "http.max_connections"),
        (change("[http]", "[http]\nmax_connections = 0"), "http.max_connections"),
        (
            change(
                "[sources.app]\nsecrets = [\"whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0\"]",
                "[sources]\napp = \"TELLTALE\"",
            ),
            "sources.app",
        ),
        (provider("security_token = [\"TELLTALE\"]"), "provider.security_token"),
        (change("[http]", "[http]\nbody_read_seconds = -1"), "http.body_read_seconds"),
        (change("postgres://nobody@127.0.0.1:1/none", ""), "database.url"),
        (change("postgres://nobody@127.0.0.1:1/none", "mysql://x"), "database.url"),
        (change("url = \"postgres", "url_file = \"/none\"\nurl = \"postgres"), "database.url"),
        (
            change("url = \"postgres://nobody@127.0.0.1:1/none\"", "url_file = \"/none\""),
            "database.url_file",
        ),
        (change("[sources.app]\nsecrets", "[unused]\nsecrets"), "unused"),
        (change("whsec_dGhlc2U", "whsec_%%%%"), "sources.app.secrets[0]"),
        (
            change("whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0", "whsec_c2hvcnQ="),
            "sources.app.secrets[0]",
        ),
        (
            change("[sources.app]", "[sources.app]\nrequests_per_second = 0"),
            "sources.app.requests_per_second",
        ),
        (change("[sources.app]", "[sources.app]\ngroup = \"a b\""), "sources.app.group"),
        (change("[sources.app]", "[sources.app]\nscenes = []"), "sources.app.scenes"),
        (change("[sources.app]", "[sources.app]\nscenes = [\"\"]"), "sources.app.scenes"),
        (provider("endpoint = \"http://cloudauth.aliyuncs.com\""), "provider.endpoint"),
        (provider("endpoint = \"ftp://127.0.0.1\""), "provider.endpoint"),
        (provider("endpoint = \"cloudauth\""), "provider.endpoint"),
        (provider("signature = \"v1\""), "provider.signature"),
        (provider("method = \"PUT\""), "provider.method"),
        (provider("format = \"YAML\""), "provider.format"),
        (provider("queries_per_second = 0"), "provider.queries_per_second"),
        (provider("queries_per_second = \"fast\""), "provider.queries_per_second"),
        (change("access_key_id = \"id\"", ""), "provider.access_key_id"),
        (change("access_key_secret = \"secret\"", ""), "provider.access_key_secret"),
        (
            change("access_key_secret = \"secret\"", "access_key_secret_file = \"/none\""),
            "provider.access_key_secret_file",
        ),
        (change("[[vault.keys]]\nid = \"one\"\n", ""), "provider.secret"),
        (change(secret, "secret = \"dG9vIHNob3J0\""), "vault.keys[0]"),
        (change(secret, "secret = \"not base64!\""), "vault.keys[0]"),
        (change("id = \"one\"", "id = \"\""), "vault.keys"),
        (add(&format!("[[vault.keys]]\nid = \"one\"\n{secret}")), "vault.keys"),
        (add("[images]\nmode = \"sometimes\""), "images.mode"),
        (add("[images]\nstore = \"ftp://x\""), "images.store"),
        (add("[policy]\nfile = \"/none.toml\""), "policy.file"),
        (add("[worker]\nlease_seconds = 0"), "worker.lease_seconds"),
        (add("[worker]\nunfinished_schedule_ms = []"), "worker.unfinished_schedule_ms"),
        (add("[worker]\nconcurrency = 0"), "worker.concurrency"),
        (add("[callbacks]\nmax_batch = 0"), "callbacks.max_batch"),
        (add("[log]\nformat = \"xml\""), "log.format"),
        (add("[log]\nfilter = \"a=b=c\""), "log.filter"),
        (add("[traces]\nendpoint = \"collector:4318\""), "traces.endpoint"),
        (add("[traces]\nendpoint = \"ftp://127.0.0.1/v1/traces\""), "traces.endpoint"),
        (add("[traces]\nendpoint = \"http://me:TELLTALE@127.0.0.1:4318\""), "traces.endpoint"),
        (add("[traces]\nsample = 1.5"), "traces.sample"),
        ("[http\n".to_owned(), "verdict"),
    ];
    for (text, key) in cases {
        let (code, error) = serve(&text, &[]).await;
        assert_eq!(code, 2, "{key}: {error}");
        assert!(error.contains(key), "{key} is not named: {error}");
        let lines: Vec<&str> = error.trim().lines().collect();
        let well_formed = lines.len() == 2 && lines[1].starts_with("hint: ");
        assert!(well_formed, "{key}: one sentence and a hint: {error}");
        for value in ["TELLTALE", "dGhlc2U", "c2hvcnQ", "dG9vIHNob3J0", "nobody@"] {
            assert!(!error.contains(value), "{key}: a secret is shown: {error}");
        }
    }
}

#[tokio::test]
async fn invalid_policy_is_refused_at_start() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"name = \"x\"\n[[rule]]\nid = \"a\"\n").expect("written");
    let text = format!("{GOOD}[policy]\nfile = {:?}\n", file.path());
    let (code, error) = serve(&text, &[]).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("policy.file"), "{error}");
}

#[tokio::test]
async fn environment_overrides_the_file_and_lists_use_commas() {
    let two = format!("{SECRET},whsec_bad");
    let (code, error) = serve(GOOD, &[("VERDICT__SOURCES__APP__SECRETS", &two)]).await;
    assert_eq!(code, 2);
    assert!(error.contains("sources.app.secrets[1]"), "{error}");
    let (_, error) = serve(GOOD, &[("VERDICT__HTTP__LISTEN", "nowhere")]).await;
    assert!(error.contains("http.listen"), "{error}");
    let (_, error) = serve(GOOD, &[("VERDICT__HTTP__LISTNE", "127.0.0.1:0")]).await;
    assert!(error.contains("http.listne"), "{error}");
    let (_, error) = serve(GOOD, &[("VERDICT__VAULT__KEYS", "two:abc")]).await;
    assert!(error.contains("vault.keys[0]"), "{error}");
    let (_, error) = serve(GOOD, &[("DATABASE_URL", "mysql://x")]).await;
    assert!(error.contains("database.url"), "{error}");
    // Also over a file's other way of giving the same secret.
    let by_file = GOOD
        .replace("url = \"postgres://nobody@127.0.0.1:1/none\"", "url_file = \"/none\"")
        .replace("access_key_secret = \"secret\"", "access_key_secret_file = \"/none\"");
    let given = [("DATABASE_URL", "mysql://x"), ("VERDICT__PROVIDER__ACCESS_KEY_SECRET", "s")];
    let (_, error) = serve(&by_file, &given).await;
    assert!(error.contains("database.url: must begin"), "{error}");
    let (_, error) = serve(GOOD, &[("VERDICT__DATABASE__URL_FILE", "/none")]).await;
    assert!(error.contains("database.url_file: /none"), "{error}");
}

#[tokio::test]
async fn used_address_and_unmigrated_database_are_reported() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = serve(GOOD, &[("VERDICT__HTTP__LISTEN", &address)]).await;
    assert_eq!(code, 2);
    assert!(error.contains("http.listen") && error.contains(&address), "{error}");

    let database = new_database().await;
    let pool = database.pool().await;
    sqlx::query("drop table _sqlx_migrations").execute(&pool).await.unwrap();
    let (code, error) = serve(GOOD, &[("DATABASE_URL", &database.url)]).await;
    assert_eq!(code, 1);
    assert!(error.contains("verdict migrate"), "{error}");
}

#[tokio::test]
async fn all_wrong_keys_are_reported_with_place_and_suggestion() {
    let text = GOOD
        .replace("[http]\n", "[http]\nlistne = \"127.0.0.1:0\"\nmax_connections = \"many\"\n")
        .replace("[provider]\n", "[provider]\nurl_file = \"x\"\nsignature = \"v9\"\n")
        .replace("[vault]", "[volt]");
    let text = format!("{text}[surprise]\nvalue = 1\n[worker]\nlease_seconds = \"TELLTALE\"\n");
    let environment = [
        ("VERDICT__HTTP__LISTNE_ON", "TELLTALE"),
        ("VERDICT__HTTP_LISTEN", "TELLTALE"),
        ("VERDICT__WORKR__CONCURRENCY", "1"),
        ("VERDICT__LOG__LEVEL", "info"),
        ("VERDICT__", "TELLTALE"),
        ("VERDICT__RETENTION__PERSON_DAYS", "-1"),
    ];
    let (code, error) = serve(&text, &environment).await;
    assert_eq!(code, 2, "{error}");
    for said in [
        "http.listne: unknown key (",
        ", line 3); did you mean http.listen?",
        "http.max_connections: must be a whole number",
        "provider.url_file: unknown key (",
        "did you mean database.url_file?",
        "provider.signature: must be one of",
        "surprise: unknown key (",
        "worker.lease_seconds: must be a number",
        "(variable VERDICT__HTTP_LISTEN); did you mean VERDICT__HTTP__LISTEN?",
        "(variable VERDICT__WORKR__CONCURRENCY); did you mean VERDICT__WORKER__CONCURRENCY?",
        "log.level: unknown key (variable VERDICT__LOG__LEVEL); [log] has filter, format",
        "VERDICT__: is not the name of a key",
        "retention.person_days: must be a whole number",
    ] {
        assert!(error.contains(said), "{said} is missing: {error}");
    }
    assert!(!error.contains("TELLTALE") && !error.contains("there is no such key"), "{error}");
    assert!(!error.contains("struct"), "{error}");
    let (_, found, _) = run_verdict(&["doctor", "--json"], &environment).await;
    for said in ["VERDICT__HTTP__LISTEN?", "retention.person_days", "database.url"] {
        assert!(found.contains(said), "{said}: {found}");
    }
}

/// Where a section is a value, or a value a section.
#[tokio::test]
async fn section_in_place_of_a_value_is_explained() {
    for (text, said) in [
        (
            format!("http = 1\n{}", GOOD.replace("[http]\nlisten", "[unused]\nlisten")),
            "http: must be a section",
        ),
        (
            GOOD.replace("listen = \"127.0.0.1:0\"\n[oper", "listen = { a = 1 }\n[oper"),
            "http.listen: must be text",
        ),
        (GOOD.replace("id = \"one\"\n", ""), "vault.keys[0].id: is required"),
        (GOOD.replace("[http]", "[http]\ndocs = \"maybe\""), "http.docs: must be true or false"),
        (
            GOOD.replace("[http]", "[images.s3]\nregion = \"x\"\n[http]"),
            "images.s3.endpoint: is required",
        ),
    ] {
        let (code, error) = serve(&text, &[]).await;
        assert!(code == 2 && error.contains(said), "{said}: {error}");
        assert_eq!(error.trim().lines().count(), 2, "{error}");
    }
    let (code, error) =
        serve(GOOD, &[("VERDICT__HTTP", "1"), ("VERDICT__SOURCES__APP", "1")]).await;
    assert!(code == 2 && error.contains("http: must be a section"), "{error}");
    assert!(error.contains("sources.app: must be a section"), "{error}");
}

#[tokio::test]
async fn hint_names_the_line_or_the_variable_to_correct() {
    let wrong = GOOD.replace("[http]\nlisten = \"127.0.0.1:0\"", "[http]\nlisten = \"nowhere\"");
    let (_, error) = serve(&wrong, &[]).await;
    assert!(error.contains("hint: correct http.listen in /"), "{error}");
    assert!(error.contains(", line 3; config/default.toml explains [http]"), "{error}");
    let (_, error) = serve(GOOD, &[("VERDICT__HTTP__LISTEN", "nowhere")]).await;
    assert!(error.contains("hint: correct the variable VERDICT__HTTP__LISTEN;"), "{error}");
    let (_, error) = serve(GOOD, &[("DATABASE_URL", "mysql://x")]).await;
    assert!(error.contains("hint: correct the variable DATABASE_URL;"), "{error}");
    let none = GOOD.replace("access_key_id = \"id\"\n", "");
    let (_, error) = serve(&none, &[]).await;
    assert!(error.contains("hint: set provider.access_key_id in /"), "{error}");
    assert!(error.contains("or the variable VERDICT__PROVIDER__ACCESS_KEY_ID;"), "{error}");
    // Nobody can set a key that does not exist.
    for (text, variables) in [
        (GOOD.replace("[http]", "[http]\nlisten_on = 1"), vec![]),
        (GOOD.to_owned(), vec![("VERDICT__HTTP__PORT", "1")]),
    ] {
        let (_, error) = serve(&text, &variables).await;
        let hint = error.lines().last().unwrap_or_default();
        assert_eq!(hint, "hint: config/default.toml explains every key", "{error}");
    }
}

#[tokio::test]
async fn misspelt_variables_are_warned_of_and_tool_ones_are_not() {
    let tools = [
        ("VERDICT_URL", "http://127.0.0.1:1"),
        ("VERDICT_API_KEY", "vk_x"),
        ("VERDICT_SECRET", "whsec_x"),
        ("VERDICT_CONFIG", "verdict.toml"),
        ("VERDICT_PORT", "tcp://10.0.0.1:8080"),
    ];
    let wrong =
        [("VERDICT_HTTP_LISTEN", "TELLTALE"), ("VERDICT_SOURCES__APP__SECRETS", "TELLTALE")];
    let both: Vec<_> = tools.into_iter().chain(wrong).collect();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(GOOD.replace("127.0.0.1:0\"\n[oper", &format!("{address}\"\n[oper")).as_bytes())
        .unwrap();
    let path = file.path().to_str().unwrap();
    for (variables, warnings) in [(&tools[..], 0), (&both[..], 2)] {
        let (_, log, _) = run_verdict(&["serve", "--config", path], variables).await;
        let (_, _, error) = run_verdict(&["healthcheck", "--config", path], variables).await;
        let (_, found, _) = run_verdict(&["doctor", "--config", path], variables).await;
        for text in [&log, &error, &found] {
            let warned = |line: &&str| line.contains("VERDICT_") && line.contains("no effect");
            assert_eq!(text.lines().filter(warned).count(), warnings, "{text}");
            for (_, meant) in
                [("", "VERDICT__HTTP__LISTEN"), ("", "VERDICT__SOURCES__APP__SECRETS")]
            {
                assert_eq!(text.contains(meant), warnings > 0, "{meant}: {text}");
            }
            assert!(!text.contains("TELLTALE"), "{text}");
        }
    }
}

#[tokio::test]
async fn paths_resolve_from_the_file_or_the_working_directory() {
    let database = new_database().await;
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    std::fs::write(folder.path().join("secrets/url"), &database.url).unwrap();
    let text =
        GOOD.replace("url = \"postgres://nobody@127.0.0.1:1/none\"", "url_file = \"secrets/url\"");
    let file = folder.path().join("verdict.toml");
    std::fs::write(&file, &text).unwrap();
    let list = ["keys", "list", "--config", file.to_str().unwrap()];
    // The tests' working folder is another one.
    let (code, _, error) = run_verdict(&list, &[]).await;
    assert_eq!(code, 0, "{error}");
    let (code, _, error) =
        run_verdict(&list, &[("VERDICT__DATABASE__URL_FILE", "secrets/url")]).await;
    assert!(code == 2 && error.contains("database.url_file: secrets/url cannot"), "{error}");

    // Also those within a URL, by the file that the URL is in.
    let url = "postgres://nobody@db.example.com/none?sslrootcert=certificates/ca.pem";
    let here = folder.path().join("certificates/ca.pem");
    let there = folder.path().join("secrets/certificates/ca.pem");
    std::fs::write(folder.path().join("secrets/url"), url).unwrap();
    let (code, _, error) = run_verdict(&list, &[]).await;
    assert!(code == 2 && error.contains(there.to_str().unwrap()), "{error}");
    let direct = text.replace("url_file = \"secrets/url\"", &format!("url = \"{url}\""));
    std::fs::write(&file, direct).unwrap();
    let (code, _, error) = run_verdict(&list, &[]).await;
    assert!(code == 2 && error.contains(here.to_str().unwrap()), "{error}");
    let (code, _, error) = run_verdict(&list, &[("DATABASE_URL", url)]).await;
    assert!(code == 2 && error.contains("sslrootcert=certificates/ca.pem"), "{error}");
}

#[tokio::test]
async fn misspelt_log_filter_does_not_switch_the_log_off() {
    for (filter, meant) in [("inof", "info"), ("warning", "warn"), ("verdcit=debug", "verdict")] {
        let (code, error) = serve(&format!("{GOOD}[log]\nfilter = \"{filter}\"\n"), &[]).await;
        assert!(code == 2 && error.contains("log.filter"), "{filter}: {error}");
        assert!(error.contains(&format!("did you mean {meant}?")), "{filter}: {error}");
        let (code, error) = serve(GOOD, &[("VERDICT__LOG__FILTER", filter)]).await;
        assert!(code == 2 && error.contains("VERDICT__LOG__FILTER"), "{filter}: {error}");
    }
}

#[tokio::test]
async fn default_configuration_lists_every_key() {
    // The file loads, so every key in it is valid; a missing key would be refused.
    let environment = verdict::config::Environment::new();
    let config = verdict::config::Config::load(None, &environment).expect("complete");
    config.worker().expect("worker");
    config.limits().expect("limits");
    config.provider().expect("provider");
    config.log().expect("log");
    assert_eq!(config.store().unwrap_err().0[0].subject, "database.url".into());
    assert_eq!(config.sources().unwrap_err().0[0].subject, "sources".into());
    assert_eq!(config.key_ring().unwrap_err().0[0].subject, "vault.keys".into());
}

#[tokio::test]
async fn commands_report_every_mistake_at_once_and_read_no_secret_they_do_not_use() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("verdict.toml");
    let wrong = GOOD
        .replace("[http]", "[http]\nmax_connections = 0\nlisten_on = 1")
        .replace("postgres://nobody@127.0.0.1:1/none", "mysql://x");
    let config = ["--config", file.to_str().unwrap()];
    std::fs::write(&file, wrong).unwrap();
    let commands: [&[&str]; 9] = [
        &["migrate"],
        &["keys", "list"],
        &["policy", "list"],
        &["audit", "list"],
        &["audit", "verify"],
        &["vault", "status"],
        &["refetch", "--state", "failed"],
        &["erase", "--purpose", "a test", "--person"],
        &["erase", "--purpose", "a test", "--verification", "01a20a60-ab14-716e-b2d7-1c1f7a7d1ac0"],
    ];
    for command in commands {
        let (code, _, error) = run_verdict(&[command, &config].concat(), &[]).await;
        assert_eq!(code, 2, "{command:?}: {error}");
        for key in ["http.max_connections", "http.listen_on", "database.url"] {
            assert!(error.contains(key), "{command:?} {key}: {error}");
        }
    }
    // Those that need no database do not ask for its address.
    std::fs::write(&file, "[http]\nmax_connections = 0\nlisten_on = 1\n").unwrap();
    let (code, _, error) = run_verdict(&[&["policy", "show"], &config[..]].concat(), &[]).await;
    assert!(code == 2 && error.contains("http.max_connections"), "{error}");
    assert!(error.contains("http.listen_on") && !error.contains("database.url"), "{error}");

    // Where the vault's key is not mounted, only the commands that work with it refuse.
    let secret = "secret = \"dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8ga2U=\"";
    std::fs::write(&file, GOOD.replace(secret, "secret_file = \"/none\"")).unwrap();
    for (command, uses_keys) in [
        (&["migrate"][..], false),
        (&["keys", "list"], false),
        (&["policy", "list"], false),
        (&["audit", "list"], false),
        (&["audit", "verify"], true),
        (&["vault", "status"], true),
    ] {
        let (code, _, error) = run_verdict(&[command, &config].concat(), &[]).await;
        let refused = code == 2 && error.contains("vault.keys[0].secret_file: /none");
        assert_eq!(refused, uses_keys, "{command:?}: {error}");
    }
}
