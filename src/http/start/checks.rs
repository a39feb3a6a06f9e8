//! Checks and refusals that the starts of all products share.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::members::MUST_BE_SOURCE;
use crate::domain::source::SourceAccess;
use crate::domain::starting::Starting;
use crate::http::api::Api;
use crate::http::problem::Problem;
use crate::http::sources::Source;
use crate::store::verifications::StartRefusal;

/// The named source, or the only one.
pub(super) fn source_of(api: &Api, starting: &Starting) -> Result<Option<Arc<Source>>, Problem> {
    let wrong = |detail| Err(Problem::invalid_field().field("/source", detail));
    match &starting.source {
        None => Ok(api.sources.only().filter(|only| only.scenes.include(&starting.biz_type))),
        Some(name) => match api.sources.get(name) {
            None => wrong(MUST_BE_SOURCE),
            Some(source) if !source.scenes.include(&starting.biz_type) => {
                wrong("must be a source whose scenes include this biz_type")
            }
            source => Ok(source),
        },
    }
}

pub(super) async fn not_refused(
    api: &Api,
    starting: &Starting,
    source: Option<&SourceAccess>,
    at: OffsetDateTime,
) -> Result<(), Problem> {
    match api
        .store
        .verifications()
        .start_refusal(&starting.biz_type, &starting.biz_id, source, at)
        .await?
    {
        None => Ok(()),
        Some(StartRefusal::Erased) => Err(Problem::erased()),
        Some(StartRefusal::OtherSource) => Err(Problem::other_source()),
    }
}

/// The provider's support asks for its code. It contains no personal data.
pub(super) fn with_code(problem: Problem, code: Option<String>) -> Problem {
    match code {
        Some(code) => problem.detail(format!("The provider's code is {code}")),
        None => problem,
    }
}

/// Nothing was started: the request may be repeated.
pub(super) fn provider_unavailable(wait: Option<Duration>, code: Option<String>) -> Problem {
    let wait = wait.unwrap_or(Duration::from_secs(1));
    with_code(Problem::provider_unavailable().retry_after(wait), code)
}
