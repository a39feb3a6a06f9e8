//! Commands whose output is lost, and input with the traces of editors, mails and haste.

use std::fs::{self, File};
use std::process::Stdio;

use tokio::process::Command;

use verdict::domain::audit_chain::Line;

use crate::harness::{Options, Setting, empty_database, run_verdict};

const MARK: &str = "\u{feff}";

/// Runs a command whose standard output is a full disk: exit code and stderr.
async fn run_on_a_full_disk(setting: &Setting, arguments: &[&str]) -> (i32, String) {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(arguments)
        .arg("--config")
        .arg(setting.config_file())
        .env_clear()
        .env("USER", "tester")
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Not `output`, which would take standard output away from the full disk.
        .spawn()
        .expect("the binary starts")
        .wait_with_output()
        .await
        .expect("the binary ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[tokio::test]
async fn api_key_that_was_never_shown_is_revoked() {
    let setting = Setting::new(Options::default()).await;
    let create = ["keys", "create", "--name", "lost", "--scopes", "decisions:read"];
    for more in [&[][..], &["--json"][..]] {
        let (code, said) = run_on_a_full_disk(&setting, &[&create[..], more].concat()).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("could not be written") && said.contains("was revoked"), "{said}");
        assert!(!said.contains("vk_"), "{said}");
    }
    let (_, listed, _) = setting.run(&["keys", "list", "--json"], "").await;
    let keys: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let lost: Vec<_> = keys.iter().filter(|key| key["name"] == "lost").collect();
    assert_eq!(lost.len(), 2);
    assert!(lost.iter().all(|key| key["revoked_at"].is_string()), "{listed}");
}

#[tokio::test]
async fn secret_of_a_rotation_that_was_never_shown_is_replaced_while_paused() {
    let setting = Setting::new(Options::default()).await;
    let add = ["webhooks", "add", "--url", "https://receiver.example/events", "--json"];
    let added: serde_json::Value = serde_json::from_str(&setting.must_run(&add).await).unwrap();
    let id = added["id"].as_str().unwrap();
    let (code, said) = run_on_a_full_disk(&setting, &["webhooks", "rotate", id]).await;
    assert!(code == 1 && said.contains("could not be written"), "{said}");
    // Rotated again without a pause, it would send what receivers with the first secret refuse.
    assert!(said.contains(&format!("verdict webhooks pause {id}")), "{said}");
    assert!(!said.contains("whsec_"), "{said}");
}

#[tokio::test]
async fn command_whose_result_is_lost_does_not_claim_success() {
    let setting = Setting::new(Options::default()).await;
    let mut lost = 0;
    for command in [
        "keys list --json",
        "audit list --json",
        "audit list",
        "audit verify",
        "policy check",
        "policy show",
        "policy list",
        "vault status",
        "openapi",
        "refetch --state failed --dry-run",
        "callback send --curl --biz-type test --biz-id a",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let (as_usual, result, error) = setting.run(&words, "").await;
        assert_eq!(as_usual, 0, "{command}: {error}");
        // A command without output has none to lose.
        if result.is_empty() {
            continue;
        }
        let (code, said) = run_on_a_full_disk(&setting, &words).await;
        assert_eq!(code, 1, "{command}: {said}");
        assert!(said.contains("could not be written"), "{command}: {said}");
        lost += 1;
    }
    assert!(lost >= 7, "only {lost} commands said something");
    // Standard error, which can still be read, names what was changed.
    for command in ["migrate", "refetch --state failed"] {
        let words: Vec<&str> = command.split(' ').collect();
        let (_, result, _) = setting.run(&words, "").await;
        let result = result.trim();
        assert!(!result.is_empty(), "{command}");
        let (code, said) = run_on_a_full_disk(&setting, &words).await;
        assert!(code == 1 && said.lines().any(|line| line == result), "{command}: {code}: {said}");
    }
}

#[tokio::test]
async fn comparison_without_decisions_says_so() {
    let setting = Setting::new(Options::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("candidate.toml");
    let (_, policy, _) = run_verdict(&["policy", "show"], &[]).await;
    fs::write(&file, format!("{policy}\n# a candidate\n")).unwrap();
    let (_, digest, error) = setting.run(&["policy", "add", file.to_str().unwrap()], "").await;
    let digest = digest.trim();
    assert!(digest.starts_with("sha256:"), "{digest}{error}");
    let (code, said, error) = setting.run(&["policy", "compare", digest], "").await;
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("nothing was decided by it"), "{said}");
}

#[tokio::test]
async fn blank_lines_and_byte_order_marks_change_nothing() {
    let setting = Setting::new(Options::default()).await;
    let (_, export, _) = setting.run(&["audit", "list", "--json"], "").await;
    assert!(!export.is_empty());
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("file");
    let name = file.to_str().unwrap();
    for text in [
        format!("{export}\n"),
        format!("{export}\r\n \n\n"),
        format!("{MARK}{export}"),
        format!("{MARK}{}", export.replace('\n', "\r\n")),
    ] {
        fs::write(&file, text).unwrap();
        let (code, _, error) = run_verdict(&["audit", "verify", "--file", name], &[]).await;
        assert_eq!(code, 0, "{error}");
    }
    let (_, policy, _) = run_verdict(&["policy", "show"], &[]).await;
    let mut good = Vec::new();
    for mark in ["", MARK] {
        fs::write(&file, format!("{mark}{policy}")).unwrap();
        let (code, said, error) = run_verdict(&["policy", "check", name], &[]).await;
        assert_eq!(code, 0, "{error}");
        good.push(said);
    }
    assert_eq!(good[0], good[1], "the digest is that of the text");
    let configuration = fs::read_to_string(setting.config_file()).unwrap();
    fs::write(&file, format!("{MARK}{configuration}")).unwrap();
    let (code, _, error) = run_verdict(&["keys", "list", "--config", name], &[]).await;
    assert_eq!(code, 0, "{error}");
}

#[tokio::test]
async fn text_that_is_no_identity_number_is_refused_not_unknown() {
    let setting = Setting::new(Options::default()).await;
    let erase = ["erase", "--person", "--purpose", "request 4711"];
    let two = "110101199003077777\n110101199003077778\n";
    let long = "1".repeat(2000);
    for input in ["", "\n", "1234567", "110101********7777", "1101 xxxx 7777", "测试甲", two, &long]
    {
        let (code, _, error) = setting.run(&erase, input).await;
        assert_eq!(code, 2, "{input:?}: {error}");
        assert!(error.contains("one identity number"), "{input:?}: {error}");
        assert!(input.trim().is_empty() || !error.contains(input.trim()), "{error}");
    }
    for input in ["110101199003077777", "\u{feff}E12345678\r\n", "１１０１０１ 19900307 7777\n\n"]
    {
        let (code, _, error) = setting.run(&erase, input).await;
        assert_eq!(code, 1, "{input:?}: {error}");
        assert!(error.contains("nothing is kept of this person"), "{input:?}: {error}");
    }
    let (code, _, error) = run_verdict(&["erase"], &[]).await;
    assert_eq!(code, 2);
    assert!(error.contains("--verification") && error.contains("--person"), "{error}");
}

#[tokio::test]
async fn migrate_reports_whether_it_changed_anything() {
    let database = empty_database().await;
    let variables = [("DATABASE_URL", database.url.as_str())];
    let (code, said, error) = run_verdict(&["migrate"], &variables).await;
    assert_eq!(code, 0, "{error}");
    let count =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("20261123000001  core"));
    assert_eq!(lines.clone().count(), count);
    let summary = format!("applied {count} migrations: the schema is current");
    assert_eq!(lines.next_back(), Some(summary.as_str()));
    let (code, said, _) = run_verdict(&["migrate"], &variables).await;
    assert_eq!((code, said.as_str()), (0, "nothing to do: the schema is current\n"));
}

#[tokio::test]
async fn audit_verify_accepts_exports_reformatted_by_tools() {
    let setting = Setting::new(Options::default()).await;
    let record = [
        r#"insert into audit (at, actor, action, details) values (now(), 'test', 'one', '{"n": 1, "of": {"t": "a, b: c"}}')"#,
        "insert into audit (at, actor, action, details) values (now(), 'test', 'two', 'no JSON')",
    ];
    let pool = setting.database.pool().await;
    for statement in record {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let (_, export, _) = setting.run(&["audit", "list", "--json"], "").await;
    let lines: Vec<serde_json::Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |action: &str| {
        let line = lines.iter().find(|line| line["action"] == action);
        &line.unwrap_or_else(|| panic!("{action}: {export}"))["details"]
    };
    assert_eq!(of("one")["of"]["t"], "a, b: c");
    assert_eq!(of("two"), "no JSON");
    let texts = lines.iter().filter(|line| line["details"].is_string()).count();
    assert_eq!(texts, 1, "details as text of JSON: {export}");
    // As it is; as another tool writes it; as earlier versions wrote it.
    let rewritten =
        export.replace(r#"{"n": 1, "of": {"t": "a, b: c"}}"#, r#"{"n":1,"of":{"t":"a, b: c"}}"#);
    assert_ne!(rewritten, export);
    let earlier: Vec<String> = export
        .lines()
        .map(|text| match Line::parse(text).unwrap() {
            Line::Row(row) => {
                let mut shown: serde_json::Value = serde_json::from_str(text).unwrap();
                shown["details"] = row.details.map(|details| details.0).into();
                shown.to_string()
            }
            _ => text.to_owned(),
        })
        .collect();
    let changed = export.replace("a, b: c", "a, b:c");
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("audit.jsonl");
    let name = file.to_str().unwrap();
    for (text, expected) in
        [(export.clone(), 0), (rewritten, 0), (earlier.join("\n"), 0), (changed, 1)]
    {
        fs::write(&file, text).unwrap();
        let (code, said, error) = run_verdict(&["audit", "verify", "--file", name], &[]).await;
        assert_eq!(code, expected, "{said}{error}");
    }
}

/// The tests are built in a clone or in an archive of it, and both know the commit.
#[tokio::test]
async fn version_names_the_commit_if_known() {
    let (code, said, _) = run_verdict(&["--version"], &[]).await;
    assert_eq!(code, 0);
    let revision = said.trim().strip_prefix("verdict ").and_then(|rest| rest.split_once(" ("));
    let revision = revision.and_then(|(_, rest)| rest.strip_suffix(')')).expect(&said);
    assert_eq!(revision, verdict::telemetry::REVISION);
    let git = concat!(env!("CARGO_MANIFEST_DIR"), "/.git");
    if std::path::Path::new(git).exists() {
        assert!(revision.len() >= 7 && revision != "unknown", "{said}");
    }
}
