//! The receiver under development: gets each event as an endpoint would.

use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use verdict::causes;
use verdict::domain::clock::Clock;
use verdict::webhooks::request::{ACKNOWLEDGED_THROUGH_HEADER, EPOCH_HEADER, TIMEOUT, USER_AGENT};
use verdict::webhooks::signing::{SigningKey, signature_headers};

use super::feed::FeedEvent;

pub(crate) struct Sender {
    client: Client,
    url: Url,
    key: SigningKey,
    clock: Clock,
}

pub(crate) enum Answer {
    Status(u16, Duration),
    /// No answer, and why.
    Unreachable(&'static str),
}

impl Sender {
    pub(crate) fn new(url: Url, secret: &str) -> anyhow::Result<Self> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url, key: SigningKey::parse(secret)?, clock: Clock::system() })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) async fn post(
        &self,
        event: &FeedEvent<'_>,
        epoch: &str,
        acknowledged: i64,
    ) -> Answer {
        let (now, body) = (self.clock.now(), event.body.as_bytes());
        let signed = signature_headers(std::slice::from_ref(&self.key), event.id, now, body);
        let began = Instant::now();
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(ACKNOWLEDGED_THROUGH_HEADER, acknowledged)
            .header(EPOCH_HEADER, epoch);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let sent = request.body(event.body.to_owned()).send().await;
        match sent {
            Ok(response) => Answer::Status(response.status().as_u16(), began.elapsed()),
            Err(error) => {
                Answer::Unreachable(causes::of(&error).unwrap_or(causes::Cause::Unknown).says())
            }
        }
    }
}
