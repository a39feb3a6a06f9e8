//! Mistakes and their error messages: `docs/mistakes.md` is made of real runs, by
//! `UPDATE=1 cargo test --test scenarios mistakes::`.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Wrong commands; none of them has a configuration.
const COMMANDS: [&str; 10] = [
    "verdict sho demo/order-1",
    "verdict show",
    "verdict list --state sideways --url http://127.0.0.1:1",
    "verdict list --since yesterday",
    "verdict explain signature-invald",
    "verdict keys create --name desk --scopes decisions:write",
    "verdict callback send --biz-type demo --biz-id order-1",
    "verdict callback verify --id msg_1 --timestamp 1 --signature v1,AAAA --secret secret body.json",
    "verdict policy check missing.toml",
    "verdict erase --verification 01a20a63-7ca9-718d-ac24-e6d7c9a1c998",
];

const GOOD: &str = r#"[database]
url = "postgres://verdict@127.0.0.1:1/verdict"
[sources.app]
secrets = ["whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0"]
[provider]
access_key_id = "id"
access_key_secret = "secret"
[[vault.keys]]
id = "one"
secret = "dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8ga2U="
"#;

/// Misconfigurations: what is wrong, the text that is replaced in the good one, and by what.
const CONFIGURATIONS: [(&str, &str, &str); 10] = [
    ("a key that does not exist", "[provider]", "[provider]\nendpont = \"https://example.com\""),
    ("a section that does not exist", "[sources.app]", "[source.app]"),
    ("no TOML", "[database]", "[database"),
    ("no database", "url = \"postgres://verdict@127.0.0.1:1/verdict\"", ""),
    ("a URL of another database", "postgres://", "mysql://"),
    ("a database that does not answer", "", ""),
    (
        "a secret that is too short",
        "whsec_dGhlc2UgdGhpcnR5LXR3byBieXRlcyBhcmUgbm8gc2VjcmV0",
        "whsec_c2hvcnQ=",
    ),
    ("no access key", "access_key_id = \"id\"\n", ""),
    (
        "a file that does not exist",
        "access_key_secret = \"secret\"",
        "access_key_secret_file = \"secrets/key\"",
    ),
    ("text in place of a number", "[provider]", "[provider]\nqueries_per_second = \"fast\""),
];

/// Exit code and standard error.
fn run(folder: &Path, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    let output = command.args(words).current_dir(folder).env_clear().output();
    let output = output.expect("the binary runs");
    assert!(output.stdout.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    let error = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    (output.status.code().unwrap_or(-1), error)
}

#[test]
fn page_of_mistakes_is_what_commands_print() {
    let mut page = "# Mistakes\n\nTen wrong commands and ten wrong configurations, with what is \
        printed on standard error. Exit code 2 means wrong usage or configuration, and 1 a failure. \
        A test makes this page.\n\n## Wrong commands\n"
        .to_owned();
    let folder = TempDir::new().unwrap();
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let (code, error) = run(folder.path(), &words);
        assert!((1..=2).contains(&code) && !error.is_empty(), "{command}: {code}: {error}");
        write!(page, "\n### `{command}`\n\nExit code {code}:\n\n```text\n{error}\n```\n").unwrap();
    }
    page.push_str(
        "\n## Wrong configurations\n\nEach is printed by `verdict serve` in the folder of the file \
         `verdict.toml`.\n",
    );
    for (what, from, to) in CONFIGURATIONS {
        assert!(GOOD.contains(from), "{from}");
        fs::write(folder.path().join("verdict.toml"), GOOD.replacen(from, to, 1)).unwrap();
        // The fault of the database shows at once in a command.
        let (code, error) = match from {
            "" => run(folder.path(), &["keys", "list"]),
            _ => run(folder.path(), &["serve"]),
        };
        assert!((1..=2).contains(&code) && !error.is_empty(), "{what}: {code}: {error}");
        let command = if from.is_empty() { " (`verdict keys list`)" } else { "" };
        write!(page, "\n### {what}{command}\n").unwrap();
        if !from.is_empty() {
            let to = if to.is_empty() { "(nothing)" } else { to };
            write!(page, "\nIn place of\n\n```toml\n{}\n```\n", from.trim_end()).unwrap();
            write!(page, "\nthe file has\n\n```toml\n{to}\n```\n").unwrap();
        }
        write!(page, "\nExit code {code}:\n\n```text\n{error}\n```\n").unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mistakes.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == page,
        "docs/mistakes.md is not what commands print: run `UPDATE=1 cargo test --test scenarios \
         mistakes::`\n{page}"
    );
}
