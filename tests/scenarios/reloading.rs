//! A configuration change while serving: sources and their secrets.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Callback, Options, Process, SECRET, Setting, eventually, now, run_verdict};

const OLD: &str = "whsec_dGhlIG9sZCBzZWNyZXQgb2YgdGhlIHBhcnRuZXIncyBiYWNrZW5k";
const NEW: &str = "whsec_dGhlIG5ldyBzZWNyZXQgb2YgdGhlIHBhcnRuZXIncyBiYWNrZW5k";

fn signed(source: &str, secret: &str, n: usize) -> Callback {
    let body = format!("{{\"biz_type\":\"test\",\"biz_id\":\"pass-97-{source}{n}\"}}");
    let id = format!("msg_{source}_{n}");
    let callback = Callback::signed_as(&id, &body, now().unix_timestamp(), secret);
    Callback { source: source.to_owned(), ..callback }
}

/// How many configurations were applied or refused so far.
async fn reloads(setting: &Setting, process: &Process, outcome: &str) -> u32 {
    let metrics = setting.get(process.operations, "/metrics").await.text;
    let name = format!("verdict_config_reloads_total{{outcome=\"{outcome}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().unwrap())
}

/// Puts these secrets where the process reads them, the way Kubernetes does: a new folder, and a
/// link that is moved from the old one to it.
fn mount(folder: &Path, version: &str, secrets: &[&str]) {
    let data = folder.join(version);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("partner"), secrets.join("\n")).unwrap();
    symlink(&data, folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn secret_file_rotation_fails_no_request() {
    let folder = tempfile::TempDir::new().unwrap();
    mount(folder.path(), "1", &[OLD]);
    let file = folder.path().join("..data/partner");
    let more = format!("[sources.partner]\nsecrets_file = {file:?}");
    let setting = Setting::new(Options { more, fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;

    // Partners post without a pause, each signing with its current secret.
    let present = Arc::new(Mutex::new(OLD));
    let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut partners = Vec::new();
    for _ in 0..4 {
        let (present, done, sent) = (Arc::clone(&present), Arc::clone(&done), Arc::clone(&sent));
        let (client, http) = (setting.client.clone(), process.http);
        partners.push(tokio::spawn(async move {
            let mut failed = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let n = sent.fetch_add(1, Ordering::SeqCst);
                let secret = *present.lock().unwrap();
                let message = signed("partner", secret, n);
                let mut request = client.post(format!("http://{http}/v1/callbacks/partner"));
                for (name, value) in message.headers {
                    request = request.header(name, value);
                }
                match request.body(message.body).send().await {
                    Ok(answer) if answer.status() == 202 => {}
                    other => failed.push(format!("{other:?}")),
                }
            }
            failed
        }));
    }
    mount(folder.path(), "2", &[NEW, OLD]);
    eventually("both are taken", || async {
        (reloads(&setting, &process, "applied").await == 1).then_some(())
    })
    .await;
    let message = signed("partner", NEW, 1_000_000);
    assert_eq!(process.post(&setting.client, message).await, Some(202));
    *present.lock().unwrap() = NEW;
    // All requests signed with the old secret are finished.
    let before = sent.load(Ordering::SeqCst);
    eventually("all have the new one", || async {
        (sent.load(Ordering::SeqCst) > before + 20).then_some(())
    })
    .await;
    mount(folder.path(), "3", &[NEW]);
    eventually("the old one is refused", || async {
        let message = signed("partner", OLD, 1_000_001);
        (process.post(&setting.client, message).await == Some(401)).then_some(())
    })
    .await;
    let before = sent.load(Ordering::SeqCst);
    eventually("they continue with the new secret", || async {
        (sent.load(Ordering::SeqCst) > before + 20).then_some(())
    })
    .await;
    done.store(true, Ordering::SeqCst);
    for partner in partners {
        assert_eq!(partner.await.unwrap(), Vec::<String>::new());
    }
    assert!(sent.load(Ordering::SeqCst) > 50);
    process.kill().await;
}

#[tokio::test]
async fn invalid_reload_is_refused_whole_and_a_valid_one_applied() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let file = setting.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let post = |source: &'static str, secret: &'static str, n: usize| {
        process.post(&setting.client, signed(source, secret, n))
    };
    assert_eq!(post("partner", NEW, 0).await, Some(401));

    // Half of it is good: neither half is taken.
    let partner = format!("[sources.partner]\nsecrets = [\"{NEW}\"]\n");
    std::fs::write(&file, format!("{good}{partner}[sources.bad]\nsecrets = [\"TELLTALE\"]\n"))
        .unwrap();
    process.signal("HUP").await;
    eventually("it is refused", || async {
        (reloads(&setting, &process, "refused").await == 1).then_some(())
    })
    .await;
    assert_eq!(post("partner", NEW, 1).await, Some(401));
    assert_eq!(post("app", SECRET, 1).await, Some(202));

    // A running process refuses the same as a start.
    for (n, more) in ["[log]\nfilter = \"inof\"\n", "[log]\nfiltre = \"info\"\n"].iter().enumerate()
    {
        let text = good.replace("[log]\nformat", "[unused]\nformat");
        std::fs::write(&file, format!("{text}{partner}{more}")).unwrap();
        process.signal("HUP").await;
        eventually("it is refused", || async {
            (reloads(&setting, &process, "refused").await as usize == 2 + n).then_some(())
        })
        .await;
        assert_eq!(post("partner", NEW, 1).await, Some(401));
    }

    // A secret's file that is not there yet, and comes.
    let folder = tempfile::TempDir::new().unwrap();
    let secrets = folder.path().join("secrets");
    let text = format!("{good}[sources.partner]\nsecrets_file = {secrets:?}\n")
        .replace("body_read_seconds = 1", "body_read_seconds = 2")
        .replace(&format!("secrets = [\"{SECRET}\"]"), &format!("secrets = [\"{OLD}\"]"));
    std::fs::write(&file, text).unwrap();
    process.signal("HUP").await;
    eventually("it is refused", || async {
        (reloads(&setting, &process, "refused").await == 4).then_some(())
    })
    .await;
    assert_eq!(post("app", SECRET, 2).await, Some(202));
    std::fs::write(&secrets, NEW).unwrap();
    eventually("it is taken without being told", || async {
        (post("partner", NEW, 2).await == Some(202)).then_some(())
    })
    .await;
    assert_eq!(post("app", SECRET, 3).await, Some(401));
    assert_eq!(post("app", OLD, 4).await, Some(202));
    assert_eq!(reloads(&setting, &process, "applied").await, 1);

    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    for said in [
        "\"key\":\"sources.bad.secrets[0]\"",
        "\"key\":\"sources.partner.secrets_file\"",
        "\"key\":\"log.filter\"",
        "\"key\":\"log.filtre\"",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(log.contains("\"keys\":\"http.body_read_seconds\""), "{log}");
    assert!(!log.contains("TELLTALE"), "{log}");
}

/// The service keeps its old configuration while its file holds a wrong one. A failing health check
/// would have an orchestrator restart it, and it could not start with the wrong file.
#[tokio::test]
async fn health_check_does_not_fail_for_a_wrong_edit_of_the_file() {
    let setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let process = setting.serve().await;
    let file = setting.config_file();
    let listen = process.operations.to_string();
    let good = std::fs::read_to_string(&file).unwrap();
    let good = good.replace(
        "[operations]\nlisten = \"127.0.0.1:0\"",
        &format!("[operations]\nlisten = \"{listen}\""),
    );
    for wrong in [
        String::new(),
        "[retention]\nperson_days = 40000\n".to_owned(),
        "[surprise]\nkey = 1\n".to_owned(),
        "[log]\nformat = 7\n[reviews]\nfour_eyes = \"some\"\n".to_owned(),
    ] {
        std::fs::write(&file, format!("{good}{wrong}")).unwrap();
        let path = file.to_str().unwrap();
        let (code, said, error) = run_verdict(&["healthcheck", "--config", path], &[]).await;
        assert_eq!((code, said.contains("\"ready\"")), (0, true), "{wrong}: {said}{error}");
    }
    // The one key that it needs.
    std::fs::write(&file, good.replace(&format!("\"{listen}\""), "[1]")).unwrap();
    let path = file.to_str().unwrap();
    let (code, _, error) = run_verdict(&["healthcheck", "--config", path], &[]).await;
    assert!(code == 2 && error.contains("operations.listen: must be text"), "{error}");
    process.kill().await;
}
