//! The real binary as a separate process: to be killed, frozen, stopped and read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::app::{Options, configuration, make_key, provider};
use super::caller::{Callback, Reply};
use super::cluster::{Database, new_database};
use super::{PATIENCE, eventually};
use cloudauth_sandbox::Sandbox;
use verdict::app::Role;
use verdict::domain::clock::Clock;
use verdict::http::api_key_auth::Scope;

/// A database, a provider and a configuration that processes share.
pub struct Setting {
    pub database: Database,
    pub provider: Sandbox,
    pub provider_address: SocketAddr,
    pub options: Options,
    pub api_key: String,
    pub client: reqwest::Client,
    /// This version, unless a test sets another.
    pub binary: PathBuf,
    folder: TempDir,
}

impl Setting {
    pub async fn new(options: Options) -> Self {
        Self::beside(options, &Clock::system()).await
    }

    /// With a provider that goes by that clock.
    pub async fn beside(options: Options, clock: &Clock) -> Self {
        let database = new_database().await;
        let api_key = make_key(&database.store(), &Scope::ALL).await;
        Self { api_key, ..Self::on(database, options, clock).await }
    }

    /// On a database that may not even be migrated yet, so without a key.
    pub async fn on(database: Database, options: Options, clock: &Clock) -> Self {
        let (provider, provider_address) = provider(clock).await;
        let (api_key, binary) = (String::new(), env!("CARGO_BIN_EXE_verdict").into());
        // Without spare connections: the service may close one at the moment of its next use.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        let client = client.expect("a client");
        let folder = TempDir::new().expect("a folder");
        Self { database, provider, provider_address, options, api_key, client, binary, folder }
    }

    /// Writes the configuration; its path.
    pub fn config_file(&self) -> PathBuf {
        let path = self.folder.path().join("verdict.toml");
        let text = configuration(&self.options, &self.database, self.provider_address);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Starts the service and waits until it serves.
    pub async fn serve(&self) -> Process {
        let role = match self.options.role {
            Role::All => "all",
            Role::Api => "api",
            Role::Worker => "worker",
            Role::Console => "console",
        };
        let mut child = Command::new(&self.binary)
            .args(["serve", "--role", role, "--config"])
            .arg(self.config_file())
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut log = Vec::new();
        let (http, operations, console) = loop {
            let line = lines.next_line().await.expect("readable").expect("it says that it serves");
            let event: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
            log.push(line);
            if event["message"] == "serving" {
                let address = |name: &str| event[name].as_str().map(|at| at.parse().unwrap());
                let operations = address("operations").expect("an address");
                // A worker serves nothing else.
                break (address("http").unwrap_or(operations), operations, address("console"));
            }
        };
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
            log
        });
        Process { child, http, operations, console, reading }
    }

    pub async fn get(&self, at: SocketAddr, path: &str) -> Reply {
        let request = self.client.get(format!("http://{at}{path}")).bearer_auth(&self.api_key);
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// A request with the key that may do everything, and these headers.
    pub async fn ask(
        &self,
        method: &str,
        at: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Reply {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request =
            self.client.request(method, format!("http://{at}{path}")).bearer_auth(&self.api_key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// Runs a command of the binary with this configuration and input: exit code, stdout, stderr.
    pub async fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        use tokio::io::AsyncWriteExt;
        let mut child = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.config_file())
            .env_clear()
            .env("USER", "tester")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("stdin");
        // One that does not read its input may have ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        // One that goes on and on, because it was not refused, say, is killed.
        let output = tokio::time::timeout(2 * PATIENCE, child.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command, which must succeed; its output.
    pub async fn must_run(&self, arguments: &[&str]) -> String {
        let (code, said, error) = self.run(arguments, "").await;
        assert_eq!(code, 0, "{arguments:?}: {said}{error}");
        said
    }

    /// Waits until nothing is pending or unfinished any more.
    pub async fn drained(&self) {
        let pool = self.database.pool().await;
        eventually("the backlog drains", || async {
            let open: i64 = sqlx::query_scalar(
                "select count(*) from verifications where state in ('pending', 'unfinished')",
            )
            .fetch_one(&pool)
            .await
            .expect("a count");
            (open == 0).then_some(())
        })
        .await;
    }
}

/// A process that serves.
pub struct Process {
    pub child: Child,
    pub http: SocketAddr,
    pub operations: SocketAddr,
    /// `None`: `[console] listen` is not set.
    pub console: Option<SocketAddr>,
    reading: tokio::task::JoinHandle<Vec<String>>,
}

impl Process {
    /// Posts a callback; `None` where no answer came.
    pub async fn post(&self, client: &reqwest::Client, callback: Callback) -> Option<u16> {
        let url = format!("http://{}/v1/callbacks/{}", self.http, callback.source);
        let mut request = client.post(url).body(callback.body);
        for (name, value) in callback.headers {
            request = request.header(name, value);
        }
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// `kill -9`.
    pub async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.expect("killed");
        self.reading.await.expect("its log")
    }

    /// Sends a signal by name, as an orchestrator does.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a pid").to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(done.expect("kill").success());
    }

    /// Waits for its end; exit code and log.
    pub async fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let status = self.child.wait().await.expect("its end");
        (status.code(), self.reading.await.expect("its log"))
    }
}

/// Runs a command of the binary: exit code, stdout, stderr.
pub async fn run_verdict(
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
