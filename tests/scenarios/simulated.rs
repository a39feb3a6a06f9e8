//! A simulated provider in place of the vendor's: its decisions are marked everywhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use axum::middleware::map_response;
use axum::response::Response;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use verdict::domain::clock::Clock;

use crate::harness::{Options, Reply, Setting, TestApp, provider};

async fn metrics(app: &TestApp) -> String {
    let url = format!("http://{}/metrics", app.operations);
    Reply::read(app.client.get(url).send().await.unwrap()).await.text
}

#[tokio::test]
async fn everything_from_a_simulated_answer_is_marked() {
    let app = TestApp::start().await;
    let verification = app.verified("pass-88").await;
    let id = verification["id"].as_str().unwrap();
    assert_eq!(verification["decision"]["simulated"], true, "{verification}");
    assert_eq!(app.results(id).await[0]["simulated"], true);
    // A person's decision about the same answer.
    let url = format!("http://{}/v1/verifications/{id}/reviews", app.http);
    let verdict = json!({ "outcome": "approve", "reason": "looked-at" }).to_string();
    let request = app.client.post(url).bearer_auth(&app.api_key).body(verdict);
    let reply = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(reply.status(), 201);
    let decisions = app.decisions(id).await;
    assert_eq!(decisions.len(), 2);
    assert!(decisions.iter().all(|decision| decision["simulated"] == true), "{decisions:?}");
    let metrics = metrics(&app).await;
    assert!(metrics.contains("verdict_simulated_answers_total"), "{metrics}");
}

/// Answers as the vendor does, which never sends our header.
async fn vendor(clock: &Clock) -> (cloudauth_sandbox::Sandbox, SocketAddr) {
    let (sandbox, _) = provider(clock).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = sandbox.router().layer(map_response(async |mut response: Response| {
        response.headers_mut().remove("x-verdict-simulated").expect("the sandbox marks all");
        response
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (sandbox, address)
}

#[tokio::test]
async fn the_vendor_is_never_called_simulated() {
    let clock = Clock::fixed(time::macros::datetime!(2026-11-23 09:30:00 UTC));
    let (sandbox, address) = vendor(&clock).await;
    let app = TestApp::start_beside(Options::default(), sandbox, address, clock).await;
    let verification = app.verified("pass-99").await;
    assert_eq!(verification["decision"]["outcome"], "approve", "{verification}");
    assert_eq!(verification["decision"]["simulated"], false);
    let id = verification["id"].as_str().unwrap();
    assert_eq!(app.results(id).await[0]["simulated"], false);
}

#[tokio::test]
async fn log_and_doctor_report_a_simulated_provider() {
    let options = Options { fixed_clock: false, ..Options::default() };
    let setting = Setting::new(options).await;
    let process = setting.serve().await;
    let callback = crate::harness::callback("pass-97", crate::harness::now());
    assert_eq!(process.post(&setting.client, callback).await, Some(202));
    setting.drained().await;
    let log = process.kill().await;
    let told = log.iter().filter(|line| line.contains("the provider is a simulated one")).count();
    assert_eq!(told, 1, "{log:?}");
    let (_, said, _) = setting.run(&["doctor", "--role", "worker"], "").await;
    assert!(said.contains("warning  provider           it is a simulated provider"), "{said}");
}

#[tokio::test]
async fn a_sandbox_for_others_warns_of_the_built_in_key() {
    for (listen, more, warns) in [
        ("0.0.0.0:0", &[][..], true),
        ("[::]:0", &[][..], true),
        ("0.0.0.0:0", &["--access-key-secret", "of-my-own"][..], false),
        ("127.0.0.1:0", &[][..], false),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["sandbox", "--listen", listen])
            .args(more)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // It warns before it says where it listens.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = said.next_line().await.unwrap().unwrap_or_default();
        // Not every machine has IPv6.
        if listen.starts_with("[::]") && line.is_empty() {
            continue;
        }
        assert!(line.contains("sandbox listening"), "{listen}: {line}");
        child.start_kill().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(log.contains("public built-in access key"), warns, "{listen} {more:?}: {log}");
    }
}
