//! Two ways to read an installation: over HTTP with an API key, or its database with the
//! configuration. Both answer with the JSON of the API, so commands print the same.

mod database;
mod question;
mod service;

use reqwest::Url;
use serde_json::Value;

use crate::context::{ConfigOrigin, Context, Usage};
use crate::progress::Progress;
use database::Database;
use service::Service;

pub(crate) use question::{
    LONGEST_WAIT, OpenCases, Question, Refusal, Way, is_refused, is_settled,
};
pub(crate) use service::Review;

pub(crate) const URL_VARIABLE: &str = "VERDICT_URL";
pub(crate) const KEY_VARIABLE: &str = "VERDICT_API_KEY";
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Where a command reads.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help, as text")]
pub struct AccessArguments {
    /// Read over HTTP from the service at this address, with the API key in VERDICT_API_KEY.
    /// Default: the variable VERDICT_URL; with VERDICT_API_KEY alone http://127.0.0.1:8080; else, and
    /// with --config, the database of the configuration.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// The way that the caller has chosen.
pub(crate) enum Access {
    Service(Service),
    Database(Box<Database>),
}

impl Access {
    pub(crate) async fn open(
        context: &Context,
        arguments: &AccessArguments,
    ) -> anyhow::Result<Self> {
        let variable =
            |name: &str| context.environment.get(name).filter(|text| !text.trim().is_empty());
        let (url, key) = (variable(URL_VARIABLE), variable(KEY_VARIABLE));
        let by_config = context.config_origin == ConfigOrigin::Option;
        let url = match (&arguments.url, url, key) {
            (None, ..) if by_config => return Self::database(context).await,
            (Some(url), ..) | (None, Some(url), _) => url.as_str(),
            (None, None, Some(_)) => DEFAULT_URL,
            (None, None, None) => return Self::database(context).await,
        };
        let key = key.ok_or_else(|| {
            Usage(format!("set {KEY_VARIABLE} to an API key; `verdict keys create` makes one"))
        })?;
        Ok(Self::Service(Service::new(web_address("--url", url)?, key.trim())?))
    }

    async fn database(context: &Context) -> anyhow::Result<Self> {
        Ok(Self::Database(Box::new(Box::pin(Database::open(context)).await?)))
    }
}

impl Way for Access {
    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Value> {
        match self {
            Self::Service(service) => service.ask(question).await,
            Self::Database(database) => database.ask(question).await,
        }
    }

    async fn open_cases(
        &self,
        wanted: &OpenCases<'_>,
        progress: &mut Progress,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Service(service) => service.open_cases(wanted, progress).await,
            Self::Database(database) => database.open_cases(wanted, progress).await,
        }
    }
}

/// The address of a service.
pub(crate) fn web_address(option: &str, text: &str) -> Result<Url, Usage> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
    });
    url.ok_or_else(|| Usage(format!("{option} must be a URL: http://host:port/path")))
}
