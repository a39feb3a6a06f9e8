//! One process of the service under test: started, watched, signalled, expected to die.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::world::Troubles;
use crate::harness::{Proxy, SECRET, person_in};

/// For a start, when nothing is wrong with it.
const START_WITHIN: Duration = Duration::from_mins(1);
/// Lines kept to show what a process said before it died.
const LAST_WORDS: usize = 12;

/// A place where a process runs, again and again.
pub struct Service {
    pub number: usize,
    pub role: &'static str,
    /// Its network to Postgres and to the provider.
    pub database: Proxy,
    pub provider: Proxy,
    pub config: PathBuf,
    /// Where it accepts now.
    pub http: RwLock<Option<SocketAddr>>,
    /// Locked while a fault is injected into the process.
    pub process: tokio::sync::Mutex<Option<Process>>,
    pub troubles: Arc<Troubles>,
}

/// Addresses from a process's log line `serving`.
#[derive(Clone, Copy)]
struct Serving {
    http: Option<SocketAddr>,
}

pub struct Process {
    child: Child,
    last_words: Arc<Mutex<VecDeque<String>>>,
    reading: Vec<JoinHandle<()>>,
}

impl Service {
    /// Where it accepts, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.http.read().expect("not poisoned")
    }

    pub fn move_to(&self, http: Option<SocketAddr>) {
        *self.http.write().expect("not poisoned") = http;
    }

    /// Starts the process and waits until it serves. One that ends instead is a trouble, and
    /// started again as an orchestrator would.
    pub async fn start(&self) -> Process {
        loop {
            let (mut process, mut serving) = self.spawn();
            let started = tokio::time::timeout(START_WITHIN, async {
                tokio::select! {
                    serving = serving.wait_for(Option::is_some) => {
                        serving.ok().and_then(|serving| *serving)
                    }
                    _ = process.child.wait() => None,
                }
            });
            if let Ok(Some(serving)) = started.await {
                self.move_to(serving.http);
                return process;
            }
            let status = process.child.try_wait().ok().flatten();
            process.kill().await;
            self.troubles.exited(self.number, "while starting", status, &process.said());
        }
    }

    fn spawn(&self) -> (Process, watch::Receiver<Option<Serving>>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["serve", "--role", self.role, "--config"])
            .arg(&self.config)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let (told, serving) = watch::channel(None);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = self.read(stdout.expect("stdout"), &last_words, Some(told));
        let stderr = self.read(stderr.expect("stderr"), &last_words, None);
        (Process { child, last_words, reading: vec![stdout, stderr] }, serving)
    }

    /// Reads what the process says as it says it, and looks at each line.
    fn read(
        &self,
        from: impl AsyncRead + Unpin + Send + 'static,
        last_words: &Arc<Mutex<VecDeque<String>>>,
        mut told: Option<watch::Sender<Option<Serving>>>,
    ) -> JoinHandle<()> {
        let (last_words, troubles) = (Arc::clone(last_words), Arc::clone(&self.troubles));
        tokio::spawn(async move {
            let mut lines = BufReader::new(from).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                troubles.judge_log(&line);
                if line.contains("\"message\":\"serving\"")
                    && let Some(told) = told.take()
                {
                    let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                    let http = event["http"].as_str().and_then(|http| http.parse().ok());
                    told.send_replace(Some(Serving { http }));
                }
                let mut last_words = last_words.lock().expect("not poisoned");
                if last_words.len() == LAST_WORDS {
                    last_words.pop_front();
                }
                last_words.push_back(line);
            }
        })
    }
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id() {
            let pid = Pid::from_raw(i32::try_from(id).expect("a pid")).expect("a pid");
            // It may have exited already; the code that waits for it notices.
            let _ = kill_process(pid, signal);
        }
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
        self.read_out().await;
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.wait().await.ok();
        self.read_out().await;
        status
    }

    async fn read_out(&mut self) {
        for reading in self.reading.drain(..) {
            let _ = reading.await;
        }
    }

    /// Its last words.
    pub fn said(&self) -> String {
        let last_words = self.last_words.lock().expect("not poisoned");
        last_words.iter().map(String::as_str).collect::<Vec<_>>().join("\n    ")
    }
}

/// Log lines that must never occur.
pub fn never_in_logs(line: &str) -> Option<&'static str> {
    if line.contains("\"message\":\"panic\"") || line.contains("verdict: internal error at") {
        return Some("a panic");
    }
    if line.contains("panicked at") {
        return Some("a panic outside the log");
    }
    person_in(line, &[SECRET, "provider-secret"]).map(|_| "a person or a secret")
}
