//! Events of the demo: a small receiver gets the event log as `verdict listen` forwards it, and
//! verifies each event as a service of yours would.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpListener;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::vault::callback_signature::{Secret, SignedHeaders, verify};

use super::system::Demo;
use crate::listen::feed::{Feed, FeedEvent, Outcome};
use crate::listen::receiver::{Answer, Sender};
use crate::listen::secret;
use crate::output::say;

/// How old a delivery may be.
const TOLERANCE: time::Duration = time::Duration::minutes(5);

/// For all events to arrive.
const DEADLINE: Duration = Duration::from_mins(1);

/// Between two tries while the service cannot answer.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The receiver, and what came with a good signature.
#[derive(Clone)]
struct Receiver {
    secret: Secret,
    clock: Clock,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

/// The log on its way to the receiver.
pub struct Events {
    feed: Feed,
    sender: Sender,
    receiver: Receiver,
    /// The sequence of the last one that arrived.
    after: i64,
}

impl Events {
    /// Forwards the log until so many verifications have an event, and shows what arrived.
    pub async fn show(demo: &Demo, verifications: usize) -> anyhow::Result<Self> {
        let secret = secret(&demo.api_key);
        let bodies = Arc::default();
        let receiver =
            Receiver { secret: Secret::parse(&secret)?, clock: demo.clock.clone(), bodies };
        let address = receiver.serve().await?;
        let sender = Sender::new(format!("http://{address}/hook").parse()?, &secret)?;
        let server: Url = format!("http://{}", demo.http).parse()?;
        let feed = Feed::new(server, &demo.api_key, None)?;
        let mut events = Self { feed, sender, receiver, after: 0 };
        within(DEADLINE, events.forward_until(verifications)).await?;
        let bodies = events.receiver.bodies();
        let last = bodies.last().context("no event arrived")?;
        say(format_args!(
            "\n{} arrived at a receiver on {address}, in order. The last one:\n{}",
            counted(bodies.len(), "signed event", "signed events"),
            String::from_utf8_lossy(last)
        ));
        Ok(events)
    }

    /// Forwards the log and shows each event in one line, until dropped.
    pub async fn show_more(&mut self) {
        loop {
            let shown = self.receiver.bodies().len();
            match self.forward().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(RETRY_DELAY).await,
                Err(error) => {
                    say(format_args!("Events are not shown any more: {error:#}"));
                    return std::future::pending().await;
                }
            }
            for body in &self.receiver.bodies()[shown..] {
                say(line(body));
            }
        }
    }

    /// How many verifications there were, by their last state or outcome.
    pub fn summary(&self) -> String {
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for body in self.receiver.bodies() {
            let event: Value = serde_json::from_slice(&body).unwrap_or_default();
            let data = &event["data"];
            let ended = data["outcome"].as_str().or_else(|| data["state"].as_str());
            if let (Some(id), Some(ended)) = (data["verification_id"].as_str(), ended) {
                last.insert(id.to_owned(), ended.to_owned());
            }
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for ended in last.values() {
            *counts.entry(ended).or_default() += 1;
        }
        let counts: Vec<String> =
            counts.into_iter().map(|(ended, count)| format!("{count} {ended}")).collect();
        let all = counted(last.len(), "verification", "verifications");
        format!("{all}: {}", counts.join(", "))
    }

    async fn forward_until(&mut self, verifications: usize) -> anyhow::Result<()> {
        while self.receiver.verifications()? < verifications {
            if !self.forward().await? {
                bail!("the event log cannot be read");
            }
        }
        Ok(())
    }

    /// The next part of the log. `false`: the service cannot answer now.
    async fn forward(&mut self) -> anyhow::Result<bool> {
        let Outcome::Part(part) = self.feed.after(self.after).await? else { return Ok(false) };
        for item in &part.items {
            let event = FeedEvent::read(item)?;
            let answer = self.sender.post(&event, &part.epoch, self.after).await;
            if !matches!(answer, Answer::Status(204, _)) {
                bail!("the receiver refused event {}", event.sequence);
            }
            self.after = event.sequence;
        }
        Ok(true)
    }
}

async fn within(
    limit: Duration,
    forwarding: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = tokio::time::timeout(limit, forwarding).await;
    ended.with_context(|| format!("not every event arrived within {} s", limit.as_secs()))?
}

/// An event in one line. The ids of the demo name nobody; those of others could, so nothing else
/// shows them.
fn line(body: &[u8]) -> String {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let reasons = data["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<String> = reasons.map(text).collect();
    format!(
        "event {}  {}  {}  {}/{}  {}  {:7}  {}",
        event["sequence"],
        text(&event["type"]),
        text(&data["product"]),
        text(&data["biz_type"]),
        text(&data["biz_id"]),
        text(&data["verification_id"]),
        text(&data["outcome"]),
        reasons.join(", ")
    )
}

impl Receiver {
    async fn serve(&self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verifications(&self) -> anyhow::Result<usize> {
        let mut count = 0;
        for body in self.bodies() {
            let event: Value = serde_json::from_slice(&body)?;
            count += usize::from(event["data"]["verification_sequence"] == 1);
        }
        Ok(count)
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = SignedHeaders {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    if verify(&[receiver.secret], signed, &body, receiver.clock.now(), TOLERANCE).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    receiver.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use verdict::domain::ids::Ids;

    use super::*;

    #[tokio::test]
    async fn missing_event_is_an_error_and_not_an_endless_wait() {
        let empty = r#"{"items":[],"next_after":0,"head":0,"epoch":"one"}"#;
        let router = Router::new().route("/v1/events", get(move || async move { empty }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let service = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let key = secret(&Ids::random().nonce());
        let receiver = Receiver {
            secret: Secret::parse(&key).unwrap(),
            clock: Clock::system(),
            bodies: Arc::default(),
        };
        let sender = Sender::new("http://127.0.0.1:9/hook".parse().unwrap(), &key).unwrap();
        let feed = Feed::new(service.parse().unwrap(), "vk_one", None).unwrap();
        let mut events = Events { feed, sender, receiver, after: 0 };
        let forwarding = events.forward_until(1);
        let error = within(Duration::from_millis(50), forwarding).await.unwrap_err();
        assert!(error.to_string().contains("not every event arrived"), "{error}");
    }
}
