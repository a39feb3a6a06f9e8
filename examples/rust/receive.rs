//! Receives events, verifies them and prints a line for each new one: `cargo run --example receive`
//!
//! In your project: anyhow, axum, `serde_json`, standardwebhooks, tokio.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;

struct Receiver {
    webhook: Webhook,
    log: Mutex<EventLog>,
}

struct EventLog {
    kept: File,
    seen: HashSet<String>,
    /// Of each verification the newest number, and the epoch that counted it.
    newest: HashMap<String, (String, i64)>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let setting = |name, otherwise: &str| std::env::var(name).unwrap_or(otherwise.to_owned());
    let secret =
        std::env::var("VERDICT_ENDPOINT_SECRET").context("VERDICT_ENDPOINT_SECRET is not set")?;
    let log = EventLog::open(&setting("VERDICT_EVENTS", "events.log"))?;
    let receiver = Receiver { webhook: Webhook::new(&secret)?, log: Mutex::new(log) };
    let router = Router::new()
        .route("/", post(handle))
        .layer(DefaultBodyLimit::max(20_480))
        .with_state(Arc::new(receiver));
    let address = format!("127.0.0.1:{}", setting("PORT", "3000"));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

async fn handle(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    // Over the bytes that came: JSON that was parsed and written again may differ.
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let epoch = headers.get("verdict-epoch").and_then(|epoch| epoch.to_str().ok());
    let mut log = receiver.log.lock().unwrap_or_else(PoisonError::into_inner);
    match log.receive(epoch.unwrap_or("-"), &body) {
        Ok(line) => println!("{line}"),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR,
    }
    // Only now: Verdict sends again what has no 2xx.
    StatusCode::NO_CONTENT
}

impl EventLog {
    fn open(path: &str) -> anyhow::Result<Self> {
        let kept = OpenOptions::new().append(true).create(true).read(true).open(path)?;
        let lines = BufReader::new(kept.try_clone()?).lines();
        let mut log = Self { kept, seen: HashSet::new(), newest: HashMap::new() };
        for line in lines {
            let line = line?;
            let (epoch, body) = line.split_once(' ').context("an unknown file")?;
            log.remember(epoch, &serde_json::from_str(body)?);
        }
        Ok(log)
    }

    /// In your service: a table whose primary key is the event's id, written in the transaction of
    /// what the event causes, so that both happen or neither does.
    fn receive(&mut self, epoch: &str, body: &[u8]) -> anyhow::Result<String> {
        let event: Value = serde_json::from_slice(body)?;
        let id = event["id"].as_str().context("no id")?;
        if self.seen.contains(id) {
            return Ok(format!("again {id}"));
        }
        self.kept.write_all(&[epoch.as_bytes(), b" ", body, b"\n"].concat())?;
        self.kept.sync_data()?;
        let remarkable = self.remember(epoch, &event);
        let data = &event["data"];
        let members = [
            &event["sequence"],
            &event["type"],
            &data["biz_id"],
            &data["verification_sequence"],
            &data["outcome"],
        ];
        Ok(format!("{}{remarkable}", members.map(shown).join(" ")))
    }

    /// Reports whether earlier events are missing before a new event, or whether it comes late.
    fn remember(&mut self, epoch: &str, event: &Value) -> String {
        self.seen.insert(event["id"].as_str().unwrap_or_default().to_owned());
        let data = &event["data"];
        let Some(number) = data["verification_sequence"].as_i64() else { return String::new() };
        let verification = data["verification_id"].as_str().unwrap_or_default();
        let last = match self.newest.get(verification) {
            None => 0,
            Some((counted_in, last)) if counted_in == epoch => *last,
            // A restored database counts on from an earlier number.
            Some(_) => number - 1,
        };
        self.newest.insert(verification.to_owned(), (epoch.to_owned(), last.max(number)));
        if number > last + 1 {
            format!(" missing {}..{}", last + 1, number - 1)
        } else if number <= last {
            // The event is outdated: a newer event of this verification is known.
            " late".to_owned()
        } else {
            String::new()
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
