//! Over HTTP, with an API key.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::question::{LONGEST_WAIT, OpenCases, Question, Refusal, Way};
use crate::progress::Progress;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an answer beyond the longest wait.
const TIMEOUT: Duration = Duration::from_secs(LONGEST_WAIT + 15);

/// Cases that a list over HTTP sorts.
const MOST_CASES: usize = 5_000;

/// A person's review of the current decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review<'a> {
    pub(crate) outcome: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) note: Option<&'a str>,
    pub(crate) purpose: Option<&'a str>,
}

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

    /// A verification and its entity tag, for [`Self::review`].
    pub(crate) async fn verification_with_tag(&self, id: &str) -> anyhow::Result<(Value, String)> {
        let request = self.client.get(self.address(&Question::Verification(id, 0)));
        let (answer, tag) = self.answer(request).await?;
        Ok((answer, tag.context("the answer has no ETag")?))
    }

    /// `POST /v1/verifications/{id}/reviews`: refused if the verification has another tag by now.
    pub(crate) async fn review(
        &self,
        id: &str,
        tag: &str,
        review: &Review<'_>,
    ) -> anyhow::Result<Value> {
        let Review { outcome, reason, note, purpose } = *review;
        let mut url = self.address(&Question::Verification(id, 0));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("reviews");
        }
        let body = json!({ "outcome": outcome, "reason": reason, "note": note }).to_string();
        let mut request = self.client.post(url).header(IF_MATCH, tag);
        request = request.header(CONTENT_TYPE, "application/json").body(body);
        if let Some(purpose) = purpose {
            // Its bytes: a purpose may be in any language.
            request = request.header("verdict-purpose", purpose.as_bytes());
        }
        Ok(self.answer(request).await?.0)
    }

    /// The JSON of an answer, and its entity tag if it has one.
    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<(Value, Option<String>)> {
        let at = || format!("no answer from {}", self.url);
        let sent = request.bearer_auth(&self.key).send().await;
        let response = sent.map_err(reqwest::Error::without_url).with_context(at)?;
        let status = response.status();
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(ToOwned::to_owned);
        let body = response.bytes().await.map_err(reqwest::Error::without_url).with_context(at)?;
        if status.is_success() {
            let answer = serde_json::from_slice(&body)
                .with_context(|| format!("{} does not answer like Verdict", self.url))?;
            return Ok((answer, tag));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if !refusal.code.is_empty() => Err(refusal.into()),
            _ => bail!("{} answers {status}: is this Verdict?", self.url),
        }
    }
}

impl Way for Service {
    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Value> {
        Ok(self.answer(self.client.get(self.address(question))).await?.0)
    }

    /// The API has no list of cases. A verification whose current decision is `review` is one.
    async fn open_cases(
        &self,
        wanted: &OpenCases<'_>,
        progress: &mut Progress,
    ) -> anyhow::Result<Value> {
        let mut filters = vec![("outcome", "review".to_owned()), ("limit", "100".to_owned())];
        filters.extend(wanted.biz_type.map(|scene| ("biz_type", scene.to_owned())));
        let mut cases = Vec::new();
        loop {
            let page = self.ask(&Question::List(&filters)).await?;
            cases.extend(page["items"].as_array().into_iter().flatten().filter_map(open_case));
            progress.at(cases.len());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            if cases.len() >= MOST_CASES {
                bail!(
                    "too many cases are open (more than {MOST_CASES}): name a scene with --biz-type, \
                     or list them on the database with --config"
                );
            }
            filters.retain(|(name, _)| *name != "cursor");
            filters.push(("cursor", cursor.to_owned()));
        }
        cases.sort_by(|one, other| one.0.cmp(&other.0));
        let more = cases.len() > usize::from(wanted.limit);
        let items = cases.into_iter().take(wanted.limit.into()).map(|(_, case)| case);
        Ok(json!({ "items": items.collect::<Vec<_>>(), "more": more }))
    }
}

/// A listed verification as a case, and its place in the queue: when it was opened, and its decision.
fn open_case(verification: &Value) -> Option<((OffsetDateTime, String), Value)> {
    let decision = &verification["decision"];
    let opened_at = OffsetDateTime::parse(decision["decided_at"].as_str()?, &Rfc3339).ok()?;
    let case = json!({
        "verification_id": verification["id"], "decision_id": decision["id"],
        "biz_type": verification["biz_type"], "biz_id": verification["biz_id"],
        "reference": verification["reference"], "opened_at": decision["decided_at"],
    });
    let place = (opened_at, decision["id"].as_str()?.to_owned());
    (verification["state"] != "erased").then_some((place, case))
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
