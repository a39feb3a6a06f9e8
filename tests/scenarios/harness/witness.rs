//! A witness of the audit, as a process of its own.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::process::run_verdict;

/// The key and the state of a witness.
pub struct WitnessFiles {
    folder: TempDir,
    pub public_key: String,
}

impl WitnessFiles {
    pub async fn new(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut files = Self { folder, public_key: String::new() };
        let (key, state) = (files.path("key"), files.path("state"));
        let (key, state) = (key.to_str().unwrap(), state.to_str().unwrap());
        let new = ["witness", "new-key", name, "--key-file", key, "--state-file", state];
        let (code, said, error) = run_verdict(&new, &[]).await;
        assert_eq!(code, 0, "{error}");
        said.trim().clone_into(&mut files.public_key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file with the newest head that it signed.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub async fn serve(&self, log: &str) -> WitnessProcess {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["witness", "serve", "--listen", "127.0.0.1:0", "--log", log, "--key-file"])
            .arg(self.path("key"))
            .arg("--state-file")
            .arg(self.path("state"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        let address = line.rsplit_once(' ').unwrap().1;
        WitnessProcess { url: format!("http://{address}"), child }
    }
}

pub struct WitnessProcess {
    /// The prefix of its requests.
    pub url: String,
    child: Child,
}

impl WitnessProcess {
    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The table of the configuration.
    pub fn table(&self, files: &WitnessFiles) -> String {
        let (url, key) = (&self.url, &files.public_key);
        format!("[[audit.witnesses]]\nurl = \"{url}\"\npublic_key = \"{key}\"\n")
    }
}
