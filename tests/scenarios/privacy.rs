//! Nothing of a person, and no secret, in logs or in a dump of the database.

use std::path::Path;
use std::process::Command;

use crate::harness::{Options, Setting, callback, now, run_verdict};

/// Everything the simulated provider says about its invented people begins like one of these.
const PERSON: [&str; 6] = ["测试", "00000019", "某省", "公安局", "Signature=", "\\u6d4b"];

fn assert_clean(what: &str, text: &str, secrets: &[&str]) {
    for mark in PERSON.iter().chain(secrets) {
        if let Some(at) = text.find(mark) {
            let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
            let line: String = text[from..].chars().take(200).collect();
            panic!("{what} holds {mark:?}: {line}");
        }
    }
}

/// A plain-text dump by Postgres' own program; bytes come as hex there, so ciphertext cannot hide
/// a readable name.
fn dump(url: &str) -> String {
    let programs =
        verdict::postgres::Programs::find(std::env::var_os("PG_BIN").as_deref().map(Path::new))
            .expect("Postgres' programs");
    let output = Command::new(programs.bin().join("pg_dump")).args(["--inserts", url]).output();
    let output = output.expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn logs_and_database_hold_nothing_of_a_person_at_any_log_level() {
    let more = "[log]\nfilter = \"trace\"".to_owned();
    let setting = Setting::new(Options { more, fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let biz_ids = [
        "pass-97",
        "status-7",
        "quit-2-then-pass-97",
        "throttled-1-then-pass-97",
        "html-1-then-pass-97",
        "garbage",
        "invalidbiz",
        "expired",
        "http-503-x1-then-pass-97",
        "torn-1-then-pass-97",
        "strings-pass-96",
        "xml-pass-96",
        "envelope-pass-96",
        "error200-NoSuchCode-x1-then-pass-97",
        "error-SignatureDoesNotMatch-x1-then-pass-97",
    ];
    for biz_id in biz_ids {
        let message = callback(biz_id, now());
        assert_eq!(process.post(&setting.client, message).await, Some(202));
    }
    setting.drained().await;
    let metrics = setting.get(process.operations, "/metrics").await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    let secrets = ["provider-secret", "dGhlc2UgdGhpcnR5", &setting.api_key];
    assert!(log.contains("\"message\":\"fetch\""), "the log is there");
    assert_clean("the log", &log, &secrets);
    assert_clean("the metrics", &metrics.text, &secrets);
    let dump = dump(&setting.database.url);
    assert!(dump.contains("INSERT INTO public.results"), "the dump is there");
    assert_clean("the dump", &dump, &secrets);
    // Nor as the bytes of their UTF-8, which is how the dump would show them in a bytea.
    for mark in ["测试", "IdCardNumber", "FaceImageUrl"] {
        assert!(!dump.contains(&hex::encode(mark)), "the dump holds {mark} as bytes");
    }
}

#[tokio::test]
async fn the_demo_leaves_nothing_of_a_person_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a plain path");
    let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let (code, out, error) = run_verdict(&["demo", "--exit", "--folder", path], &environment).await;
    assert_eq!(code, 0, "{out}{error}");
    assert!(!out.contains("not as expected"));
    for expected in ["approve", "retry", "review", "reject", "failed"] {
        assert!(out.contains(expected), "{expected} is missing:\n{out}");
    }
    let secret = std::fs::read_to_string(folder.path().join("verdict.toml")).expect("its settings");
    let secrets: Vec<&str> = secret
        .lines()
        .filter(|line| line.starts_with("secret") || line.starts_with("access_key_secret"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(secrets.len(), 3);
    let log = std::fs::read_to_string(folder.path().join("verdict.log")).expect("its log");
    assert!(log.contains("\"message\":\"fetch\""));
    assert_clean("the demo's log", &log, &secrets);
    assert_clean("the demo's output", &out, &secrets);
    let again = run_verdict(&["demo", "--exit", "--folder", path], &environment).await;
    assert_eq!(again.0, 0, "a second run works as well: {}{}", again.1, again.2);
}
