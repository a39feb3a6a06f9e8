//! Over HTTP, with an API key.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Url};
use serde_json::Value;

use super::question::{LONGEST_WAIT, Question, Refusal, Way};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an answer beyond the longest wait.
const TIMEOUT: Duration = Duration::from_secs(LONGEST_WAIT + 15);

pub(crate) struct Service {
    client: Client,
    url: Url,
    key: String,
}

impl Service {
    pub(super) fn new(url: Url, key: &str) -> anyhow::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url, key: key.to_owned() })
    }

    fn address(&self, question: &Question<'_>) -> Url {
        let mut url = self.url.clone();
        let of = |id: &str, more: &str| vec!["verifications".to_owned(), id.into(), more.into()];
        let (path, query) = match question {
            Question::Verification(id, wait) => (of(id, ""), vec![("wait", wait.to_string())]),
            Question::Decisions(id) => (of(id, "decisions"), vec![]),
            Question::Timeline(id) => (of(id, "timeline"), vec![]),
            Question::Waiting(id) => (of(id, "waiting"), vec![]),
            Question::List(filters) => (vec!["verifications".to_owned()], filters.to_vec()),
            Question::Search(text) => {
                (vec!["search".to_owned()], vec![("text", (*text).to_owned())])
            }
            Question::Events(after, wait) => (
                vec!["events".to_owned()],
                vec![("after", after.to_string()), ("wait", wait.to_string())],
            ),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.iter().filter(|part| !part.is_empty()));
        }
        // A wait of 0 is the default.
        let query = query.into_iter().filter(|(name, value)| *name != "wait" || value != "0");
        let query: Vec<(&str, String)> = query.collect();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl Way for Service {
    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Value> {
        let sent = self.client.get(self.address(question)).bearer_auth(&self.key).send().await;
        let at = || format!("no answer from {}", self.url);
        let response = sent.map_err(reqwest::Error::without_url).with_context(at)?;
        let status = response.status();
        let body = response.bytes().await.map_err(reqwest::Error::without_url).with_context(at)?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .with_context(|| format!("{} does not answer like Verdict", self.url));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if !refusal.code.is_empty() => Err(refusal.into()),
            _ => bail!("{} answers {status}: is this Verdict?", self.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_api() {
        let service = Service::new("http://host:1/base/".parse().unwrap(), "key").unwrap();
        let address = |question| service.address(&question).to_string();
        assert_eq!(
            address(Question::Verification("a/b", 0)),
            "http://host:1/base/v1/verifications/a%2Fb"
        );
        assert_eq!(address(Question::Search("a&b")), "http://host:1/base/v1/search?text=a%26b");
        assert_eq!(address(Question::Events(3, 5)), "http://host:1/base/v1/events?after=3&wait=5");
    }
}
