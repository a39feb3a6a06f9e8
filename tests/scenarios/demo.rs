//! `verdict demo`, the newcomer's first command.

use std::process::Stdio;

use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{assert_no_person, dump, eventually, run_verdict};

/// Variables that a person has set for another Postgres. They must not reach the demo's.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PGOPTIONS", "-c default_transaction_read_only=on"),
    ("PGSSLMODE", "verify-full"),
    ("PGHOST", "db.example.com"),
    ("PGSSLCERT", "/nowhere/client.pem"),
    ("PGSSLKEY", "/nowhere/client.key"),
    ("PGSSLROOTCERT", "/nowhere/ca.pem"),
    ("PGAPPNAME", "theirs"),
];

/// A demo that has played its script and stays up.
const FOLDER: &str = "here";

struct Demo {
    child: Child,
    folder: TempDir,
    output: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            // As the newcomer does: a folder below where one is.
            .args(["demo", "--folder", FOLDER])
            .current_dir(folder.path())
            .env_clear()
            .envs(ENVIRONMENT)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the demo starts");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut demo = Self { child, folder, output: String::new(), lines };
        demo.says("It stays up").await;
        demo
    }

    /// Reads its output up to the line that begins so.
    async fn says(&mut self, beginning: &str) -> String {
        while let Some(line) = self.lines.next_line().await.expect("readable") {
            self.output.push_str(&line);
            self.output.push('\n');
            if line.starts_with(beginning) {
                return line;
            }
        }
        panic!("it ended by itself:\n{}", self.output);
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(FOLDER).join(name))
            .expect("one of its files")
    }

    /// The value of a key in its settings.
    fn setting(&self, key: &str) -> String {
        let settings = self.file("verdict.toml");
        let line = settings.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    }

    fn postgres(&self) -> String {
        let line = self.output.lines().find(|line| line.contains("Postgres")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn demo_shows_every_outcome_and_can_be_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a plain path");
    for _ in 0..2 {
        let (code, out, error) =
            run_verdict(&["demo", "--exit", "--folder", path], &ENVIRONMENT).await;
        assert_eq!(code, 0, "{out}{error}");
        assert!(!out.contains("not as expected"), "{out}");
        for expected in ["approve", "retry", "review", "reject", "failed"] {
            assert!(out.contains(expected), "{expected} is missing:\n{out}");
        }
        assert_eq!(out.matches("face-verify: ").count(), 4, "{out}");
        assert!(out.contains("17 signed events arrived at a receiver"), "{out}");
        assert!(out.contains("\"type\":\"verification."), "{out}");
    }
}

#[tokio::test]
async fn demo_leaves_nothing_of_a_person_behind() {
    let mut demo = Demo::start().await;
    let secrets: Vec<String> = ["access_key_secret", "secret"].map(|key| demo.setting(key)).into();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let superuser: bool =
        sqlx::query_scalar("select rolsuper from pg_roles where rolname = current_user")
            .fetch_one(&sqlx::PgPool::connect(&demo.setting("url")).await.unwrap())
            .await
            .unwrap();
    assert!(!superuser, "the service's own database user may not read files of the machine");
    let log = demo.file("verdict.log");
    assert!(log.contains("\"message\":\"fetch\""));
    let dump = dump(&demo.setting("url"));
    assert!(dump.contains("INSERT INTO public.results"));
    for (what, text) in [("output", &demo.output), ("log", &log), ("database", &dump)] {
        assert_no_person(what, text, &secrets);
    }
    // Ctrl-C ends all of it.
    let pid = demo.child.id().expect("a pid").to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap().success());
    assert_eq!(demo.child.wait().await.unwrap().code(), Some(0));
    assert!(TcpStream::connect(demo.postgres()).await.is_err());
}

/// Where a redirect leads.
fn target(response: &Response) -> Url {
    let location = response.headers().get("location").unwrap().to_str().unwrap();
    response.url().join(location).unwrap()
}

#[tokio::test]
async fn demo_offers_a_page_and_shows_its_decision() {
    let mut demo = Demo::start().await;
    let mut lines =
        demo.output.lines().skip_while(|line| !line.starts_with("A page of face-verify"));
    let link = lines.nth(1).expect("a link").trim().to_owned();
    assert!(lines.next().unwrap().starts_with("Open it and press Pass"), "{}", demo.output);
    // By hand, as a browser would; tests/browser drives a real one.
    let browser = reqwest::Client::builder().no_proxy();
    let browser = browser.redirect(Policy::none()).build().unwrap();
    let page = target(&browser.get(&link).send().await.unwrap());
    let choice = browser.post(page).body("result=pass");
    let choice = choice.header("content-type", "application/x-www-form-urlencoded");
    let back = target(&choice.send().await.unwrap());
    // A machine under load may take longer than Verdict waits for its database, or the page for a
    // decision: a return can be repeated.
    let id = eventually("the page shows the decision", || async {
        let done = target(&browser.get(back.clone()).send().await.unwrap());
        let (_, id) = done.query_pairs().find(|(name, _)| name == "verification_id")?;
        let shown = browser.get(done.clone()).send().await.unwrap().text().await.unwrap();
        (shown.contains(">approve<") && shown.contains(">face-passed<")).then(|| id.into_owned())
    })
    .await;
    let event = demo.says("event 18 ").await;
    assert!(event.contains(&id) && event.contains("  approve  face-passed"), "{event}");
}

#[tokio::test]
async fn killed_demo_takes_its_postgres_along() {
    let mut demo = Demo::start().await;
    let address = demo.postgres();
    assert!(TcpStream::connect(&address).await.is_ok());
    demo.child.kill().await.expect("killed");
    eventually("Postgres ends as well", || async {
        TcpStream::connect(&address).await.is_err().then_some(())
    })
    .await;
}
