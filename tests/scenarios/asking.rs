//! Commands that answer questions: about verifications, over HTTP and on the database alike; about
//! codes; and where they find their configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use verdict::http::api_key_auth::Scope;

use crate::harness::{Options, Setting, eventually, make_key, run_verdict};

/// Posts a callback and waits for the decision; the verification's id.
async fn decided(setting: &Setting, url: &str, biz_id: &str, message: &str) -> String {
    let send = [
        "callback",
        "send",
        "--to",
        url,
        "--biz-type",
        "test",
        "--biz-id",
        biz_id,
        "--id",
        message,
        "--reference",
        "order-1",
        "--wait",
        "--json",
    ];
    eventually("callback send --wait ends with a decision", || async {
        // Under load an answer may be late; a repeated callback is accepted once.
        let (code, said, _) = setting.run(&send, "").await;
        let last: Value = serde_json::from_str(said.lines().last()?).ok()?;
        (code == 0 && last["state"] == "decided")
            .then(|| last["id"].as_str().expect("an id").to_owned())
    })
    .await
}

#[tokio::test]
async fn commands_print_the_same_over_http_and_on_the_database() {
    let setting = Setting::new(Options::default()).await;
    let process = setting.serve().await;
    let url = format!("http://{}", process.http);
    let id = decided(&setting, &url, "status-7-one", "msg_asking_1").await;
    decided(&setting, &url, "pass-97-two", "msg_asking_2").await;
    let variables = [("VERDICT_URL", url.as_str()), ("VERDICT_API_KEY", setting.api_key.as_str())];
    let both = |arguments: Vec<&'static str>, named: Option<String>| {
        let setting = &setting;
        async move {
            let words: Vec<&str> = arguments.into_iter().chain(named.as_deref()).collect();
            // Events are numbered, and images followed, a moment after the decision.
            eventually("both ways answer, and the same", || async {
                let over_http = run_verdict(&words, &variables).await;
                let on_database = setting.run(&words, "").await;
                let is_whole = !over_http.1.contains("\"sequence\": null");
                (over_http == on_database && is_whole).then_some(over_http)
            })
            .await
        }
    };
    for name in [id.as_str(), "test/status-7-one", "status-7-one", "msg_asking_1"] {
        let (code, said, error) = both(vec!["show", "--json"], Some(name.to_owned())).await;
        assert_eq!(code, 0, "{error}");
        let shown: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(shown["verification"]["id"], id.as_str(), "{name}");
        assert_eq!(shown["verification"]["decision"]["outcome"], "reject");
        assert!(shown["waiting"]["next_try_at"].is_null(), "{said}");
        assert!(shown["timeline"].as_array().is_some_and(|items| items.len() > 2), "{said}");
    }
    let (_, said, _) = both(vec!["show", "--json"], Some("order-1".to_owned())).await;
    let named: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(named["items"].as_array().map(Vec::len), Some(2), "{said}");
    let list = vec!["list", "--outcome", "reject", "--json"];
    let (_, said, _) = both(list, None).await;
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(listed["items"][0]["id"], id.as_str(), "{said}");
    // Refusals and unknown names, too.
    let (code, _, error) = both(vec!["list", "--state", "sideways"], None).await;
    assert!(code == 2 && error.contains("must be pending, unfinished"), "{code}: {error}");
    assert!(error.contains("verdict explain invalid-field"), "{error}");
    let (code, said, error) = both(vec!["show", "no-such-verification"], None).await;
    assert!(code == 1 && said.is_empty() && error.contains("no verification"), "{error}");

    // For people.
    let (code, said, error) = run_verdict(&["show", &id], &variables).await;
    assert_eq!(code, 0, "{error}");
    for expected in ["decision reject", "face-differs-from-authority", "The face is not", "WHEN"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains('\u{1b}'), "colour is for terminals: {said}");
    let colourful = [&variables[..], &[("CLICOLOR_FORCE", "1")][..]].concat();
    assert!(run_verdict(&["show", &id], &colourful).await.1.contains('\u{1b}'));
    let (code, said, error) = setting.run(&["list"], "").await;
    assert!(code == 0 && said.starts_with("ID ") && said.lines().count() == 3, "{said}{error}");
    let (code, said, error) = run_verdict(&["watch", &id], &variables).await;
    assert!(code == 0 && said.contains("reject"), "{said}{error}");

    // A key that may not read results sees everything but the timeline.
    let key = make_key(&setting.database.store(), &[Scope::DecisionsRead]).await;
    let variables = [("VERDICT_URL", url.as_str()), ("VERDICT_API_KEY", key.as_str())];
    let (code, said, error) = run_verdict(&["show", &id, "--json"], &variables).await;
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 0 && shown["timeline"].is_null() && error.contains("results:read"), "{error}");
    process.kill().await;
}

#[tokio::test]
async fn way_without_a_key_or_a_service_says_what_is_missing() {
    let (code, _, error) = run_verdict(&["list", "--url", "http://127.0.0.1:1"], &[]).await;
    assert!(code == 2 && error.contains("VERDICT_API_KEY"), "{error}");
    let variables = [("VERDICT_API_KEY", "vk_none")];
    let refused = ["show", "one", "--url", "http://127.0.0.1:1"];
    let (code, _, error) = run_verdict(&refused, &variables).await;
    assert!(code == 1 && error.contains("connection refused"), "{error}");
    let (code, _, error) = run_verdict(&["list", "--url", "nowhere"], &variables).await;
    assert!(code == 2 && error.contains("--url must be a URL"), "{error}");
}

/// Runs a command in that folder: exit code, stdout, stderr.
fn run_in(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    command.args(words).current_dir(folder).env_clear().envs(variables.iter().copied());
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn configuration_is_found_by_option_variable_and_folder() {
    let folder = TempDir::new().unwrap();
    let (_, policy, _) = run_in(folder.path(), &["policy", "show"], &[]);
    fs::create_dir(folder.path().join("other")).unwrap();
    for (file, name) in
        [("verdict.toml", "here"), ("other/one.toml", "one"), ("other/two.toml", "two")]
    {
        let file = folder.path().join(file);
        // Relative to the file that names it.
        fs::write(&file, format!("[policy]\nfile = \"{name}.policy\"\n")).unwrap();
        let text = format!("{policy}\n# policy of {name}\n");
        fs::write(file.with_file_name(format!("{name}.policy")), text).unwrap();
    }
    let (none, empty) = ([("HOME", "/")], [("VERDICT_CONFIG", "")]);
    let one = [("VERDICT_CONFIG", "other/one.toml")];
    let show = &["policy", "show"][..];
    let show_two = &["policy", "show", "--config", "other/two.toml"][..];
    for (words, variables, expected) in
        [(show, none, "here"), (show, empty, "here"), (show, one, "one"), (show_two, one, "two")]
    {
        let (code, said, error) = run_in(folder.path(), words, &variables);
        assert_eq!(code, 0, "{error}");
        assert!(said.contains(&format!("# policy of {expected}\n")), "{expected}: {said}");
    }
    let missing = [("VERDICT_CONFIG", "none.toml")];
    let (code, _, error) = run_in(folder.path(), show, &missing);
    assert!(
        code == 2 && error.contains("none.toml") && error.contains("VERDICT_CONFIG"),
        "{error}"
    );
}

#[tokio::test]
async fn explain_completions_and_man_pages_answer_without_a_configuration() {
    let (code, said, _) = run_verdict(&["explain", "signature-invalid"], &[]).await;
    assert!(code == 0 && said.contains("To do:") && said.contains("401"), "{said}");
    let (code, said, error) = run_verdict(&["explain", "signature-invald"], &[]).await;
    assert!(code == 2 && said.is_empty() && error.contains("signature-invalid"), "{error}");
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef verdict"), ("fish", "complete -c")]
    {
        let (code, said, _) = run_verdict(&["completions", shell], &[]).await;
        assert!(code == 0 && said.contains(mark), "{shell}");
    }
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    let (code, _, error) = run_verdict(&["man", pages.to_str().unwrap()], &[]).await;
    assert_eq!(code, 0, "{error}");
    assert!(pages.join("verdict-callback-send.1").is_file());
}
