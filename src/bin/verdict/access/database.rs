//! On the database, with the configuration.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::form_urlencoded::Serializer;
use verdict::config::Keys;
use verdict::domain::ids::VerificationId;
use verdict::http::problem::Problem;
use verdict::http::read_error::ReadError;
use verdict::http::reading::Reading;

use super::question::{LOOK_AGAIN, Question, Refusal, Way, is_settled};
use crate::context::{Context, migrated_store};

pub(crate) struct Database {
    reading: Reading,
}

impl Database {
    pub(super) async fn open(context: &Context) -> anyhow::Result<Self> {
        let config = context.config()?;
        let settings = config.for_command(Keys::Unused)?;
        let store = migrated_store(&settings).await?;
        let account = settings.common.account;
        Ok(Self { reading: Reading::new(store, account, config.source_names()) })
    }

    async fn once(&self, question: &Question<'_>) -> anyhow::Result<Value> {
        let id = |text: &str| text.parse::<VerificationId>().map_err(|_| Problem::not_found());
        let read = async {
            match question {
                Question::Verification(text, _) => self.reading.verification(id(text)?).await,
                Question::Decisions(text) => self.reading.decisions(id(text)?).await,
                Question::Timeline(text) => self.reading.timeline(id(text)?).await,
                Question::Waiting(text) => self.reading.waiting(id(text)?).await,
                Question::List(filters) => {
                    let query = Serializer::new(String::new()).extend_pairs(*filters).finish();
                    self.reading.list(&query).await
                }
                Question::Search(text) => self.reading.search(text).await,
                Question::Events(after, _) => self.reading.events(*after).await,
            }
        };
        read.await.map_err(|error| match error {
            ReadError::Store(error) => error.into(),
            ReadError::Refused(problem) => match serde_json::from_value(problem.example()) {
                Ok(refusal) => anyhow::Error::new::<Refusal>(refusal),
                Err(_) => anyhow!("{}", problem.code().title()),
            },
        })
    }
}

impl Way for Database {
    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Value> {
        let (wait, is_enough): (u64, fn(&Value) -> bool) = match question {
            Question::Verification(_, wait) => (*wait, is_settled),
            Question::Events(_, wait) => {
                (*wait, |part| part["items"].as_array().is_some_and(|items| !items.is_empty()))
            }
            _ => (0, |_| true),
        };
        let end = Instant::now() + Duration::from_secs(wait);
        loop {
            let answer = self.once(question).await?;
            if is_enough(&answer) || Instant::now() >= end {
                return Ok(answer);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
