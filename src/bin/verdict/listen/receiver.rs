//! The receiver under development: gets each event as an endpoint would.

use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use verdict::causes;
use verdict::domain::clock::Clock;
use verdict::vault::webhook::{Secret, sign};

use super::feed::FeedEvent;

/// For a receiver's answer, as of an endpoint's.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Receiver {
    client: Client,
    url: Url,
    secret: Secret,
    clock: Clock,
}

pub(super) enum Answer {
    Status(u16, Duration),
    /// No answer, and why.
    NotThere(&'static str),
}

impl Receiver {
    pub(super) fn new(url: Url, secret: &str) -> anyhow::Result<Self> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(concat!("Verdict/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url, secret: Secret::parse(secret)?, clock: Clock::system() })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) async fn post(
        &self,
        event: &FeedEvent<'_>,
        epoch: &str,
        acknowledged: i64,
    ) -> Answer {
        let timestamp = self.clock.now().unix_timestamp();
        let signature = sign(&self.secret, event.id, timestamp, event.body.as_bytes());
        let began = Instant::now();
        let sent = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", event.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .header("verdict-acknowledged-through", acknowledged)
            .header("verdict-epoch", epoch)
            .body(event.body.to_owned())
            .send()
            .await;
        match sent {
            Ok(response) => Answer::Status(response.status().as_u16(), began.elapsed()),
            Err(error) => {
                Answer::NotThere(causes::of(&error).unwrap_or(causes::Cause::Unknown).says())
            }
        }
    }
}
