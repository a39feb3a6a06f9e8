//! On the database, with the configuration.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};
use url::form_urlencoded::Serializer;
use uuid::Uuid;
use verdict::config::{Config, Keys};
use verdict::domain::callback::BizType;
use verdict::domain::case::Targets;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{UserId, VerificationId};
use verdict::http::problem::Problem;
use verdict::http::read_error::ReadError;
use verdict::http::reading::Reading;
use verdict::store::Store;
use verdict::store::cases::{Filter, QueuedCase};

use super::question::{LOOK_AGAIN, OpenCases, Question, Refusal, Way, is_settled};
use crate::context::{Context, Usage, migrated_store};
use crate::progress::Progress;

/// The queue leaves out what its viewer has. An operator is no user of the console.
const NO_VIEWER: UserId = UserId(Uuid::nil());

pub(crate) struct Database {
    config: Config,
    store: Store,
    reading: Reading,
}

impl Database {
    pub(super) async fn open(context: &Context) -> anyhow::Result<Self> {
        let config = context.config()?;
        let settings = config.for_command(Keys::Unused)?;
        let store = migrated_store(&settings).await?;
        let account = settings.common.account;
        let reading = Reading::new(store.clone(), account, config.source_names());
        Ok(Self { config, store, reading })
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

    async fn open_cases(&self, wanted: &OpenCases<'_>, _: &mut Progress) -> anyhow::Result<Value> {
        let targets = self.config.reviews()?.targets;
        let scene = wanted.biz_type.map(BizType::parse).transpose();
        let scene = scene.map_err(|problem| Usage(format!("--biz-type {problem}")))?;
        let filter = Filter { scene, ..Filter::default() };
        let (now, limit) = (Clock::system().now(), usize::from(wanted.limit));
        // One more says whether there are more.
        let rows = i64::from(wanted.limit) + 1;
        let mut cases =
            self.store.cases().queue(&filter, &targets, now, NO_VIEWER, None, rows).await?;
        let more = cases.len() > limit;
        cases.truncate(limit);
        let items = cases.into_iter().map(|case| queued(case, &targets, now));
        Ok(json!({ "items": items.collect::<Result<Vec<_>, _>>()?, "more": more }))
    }
}

fn queued(case: QueuedCase, targets: &Targets, now: OffsetDateTime) -> anyhow::Result<Value> {
    let age = targets.standing(&case.biz_type, case.opened_at, now);
    let due_at = now + targets.left(&case.biz_type, case.opened_at, now);
    let holder = case.holder.map(|holder| {
        Ok::<_, time::error::Format>(json!({ "name": holder.name,
            "since": holder.since.format(&Rfc3339)? }))
    });
    Ok(json!({
        "verification_id": case.verification, "decision_id": case.decision,
        "biz_type": case.biz_type, "biz_id": case.biz_id, "reference": case.reference,
        "opened_at": case.opened_at.format(&Rfc3339)?, "due_at": due_at.format(&Rfc3339)?,
        "age": age.as_str(), "holder": holder.transpose()?, "escalation": case.escalation,
        "escalated_at": case.escalated_at.map(|at| at.format(&Rfc3339)).transpose()?,
        "reviews": case.reviews,
    }))
}
