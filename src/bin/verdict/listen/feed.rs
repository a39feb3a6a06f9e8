//! The service's feed, read by long polls.

use std::time::Duration;

use anyhow::bail;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use verdict::causes;

/// Of one long poll, in seconds.
const WAIT: u64 = 30;
const LIMIT: &str = "100";
/// For an answer beyond the wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(WAIT + 15);
const CONNECT: Duration = Duration::from_secs(5);

pub(crate) struct Feed {
    client: Client,
    url: Url,
    key: String,
    types: Option<String>,
}

/// A part of the event log.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Part {
    pub(crate) items: Vec<Box<RawValue>>,
    pub(crate) next_after: i64,
    pub(crate) head: i64,
    pub(crate) epoch: String,
}

/// One event, and the very bytes of its body.
#[derive(Debug, Deserialize)]
pub(crate) struct FeedEvent<'a> {
    pub(crate) id: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) sequence: i64,
    #[serde(skip)]
    pub(crate) body: &'a str,
}

impl<'a> FeedEvent<'a> {
    pub(crate) fn read(item: &'a RawValue) -> anyhow::Result<Self> {
        Ok(Self { body: item.get(), ..serde_json::from_str(item.get())? })
    }
}

pub(crate) enum Outcome {
    Part(Part),
    /// It does not answer, or says that it cannot now.
    Unavailable {
        why: &'static str,
        retry_after: Option<Duration>,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    title: String,
    oldest: Option<i64>,
    errors: Vec<RefusedField>,
}

#[derive(Deserialize)]
struct RefusedField {
    pointer: String,
    detail: String,
}

impl Feed {
    pub(crate) fn new(server: Url, key: &str, types: Option<&str>) -> anyhow::Result<Self> {
        let mut url = server;
        let path = format!("{}/v1/events", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url, key: key.to_owned(), types: types.map(ToOwned::to_owned) })
    }

    /// Where the log ends.
    pub(crate) async fn end(&self) -> anyhow::Result<Outcome> {
        let first = [("after", "0".to_owned()), ("limit", "1".to_owned())];
        match self.ask(&first).await? {
            Ok(outcome) => Ok(at_end(outcome)),
            // The beginning has been deleted.
            Err(Refusal { oldest: Some(oldest), .. }) => {
                let oldest = [("after", (oldest - 1).to_string()), ("limit", "1".to_owned())];
                self.ask(&oldest).await?.map(at_end).map_err(refused)
            }
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Waits for the events after this sequence.
    pub(crate) async fn after(&self, sequence: i64) -> anyhow::Result<Outcome> {
        let query = [
            ("after", sequence.to_string()),
            ("limit", LIMIT.to_owned()),
            ("wait", WAIT.to_string()),
        ];
        self.ask(&query).await?.map_err(refused)
    }

    async fn ask(&self, query: &[(&str, String)]) -> anyhow::Result<Result<Outcome, Refusal>> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        if let Some(types) = &self.types {
            url.query_pairs_mut().append_pair("types", types);
        }
        let sent = self.client.get(url).bearer_auth(&self.key).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Ok(unavailable(&error))),
        };
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let retry_after = seconds.and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(Ok(unavailable(&error))),
        };
        match status {
            StatusCode::OK => match serde_json::from_slice(&body) {
                Ok(part) => Ok(Ok(Outcome::Part(part))),
                Err(_) => bail!("{} does not answer like this version of Verdict", self.url),
            },
            StatusCode::TOO_MANY_REQUESTS => {
                Ok(Ok(Outcome::Unavailable { why: "too many requests", retry_after }))
            }
            status if status.is_server_error() => {
                Ok(Ok(Outcome::Unavailable { why: "it cannot answer now", retry_after }))
            }
            _ => match serde_json::from_slice(&body) {
                Ok(refusal) => Ok(Err(refusal)),
                Err(_) => bail!("{} answers {status}: is this Verdict?", self.url),
            },
        }
    }
}

fn at_end(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Part(part) => {
            Outcome::Part(Part { next_after: part.head, items: Vec::new(), ..part })
        }
        unavailable @ Outcome::Unavailable { .. } => unavailable,
    }
}

fn unavailable(error: &reqwest::Error) -> Outcome {
    let why = causes::of(error).unwrap_or(causes::Cause::Unknown).says();
    Outcome::Unavailable { why, retry_after: None }
}

fn refused(Refusal { title, oldest, errors }: Refusal) -> anyhow::Error {
    let mut said = vec![format!("the service refuses: {title}")];
    said.extend(
        errors.into_iter().map(|RefusedField { pointer, detail }| format!("{pointer}: {detail}")),
    );
    said.extend(oldest.map(|oldest| format!("the oldest is --after {}", oldest - 1)));
    anyhow::Error::msg(said.join("; "))
}
