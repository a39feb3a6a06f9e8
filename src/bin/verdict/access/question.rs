//! Questions of commands to an installation, and its refusals.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::progress::Progress;

/// One question. Ids are as the API prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// `GET /v1/verifications/{id}`; answers once it is settled, after this many seconds in any
    /// case.
    Verification(&'a str, u64),
    Decisions(&'a str),
    Timeline(&'a str),
    Waiting(&'a str),
    List(&'a [(&'static str, String)]),
    Search(&'a str),
    /// Events after a sequence; waits this many seconds for the first.
    Events(i64, u64),
}

/// A request for open cases, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenCases<'a> {
    pub(crate) biz_type: Option<&'a str>,
    pub(crate) limit: u8,
}

/// One of the two ways.
pub(crate) trait Way {
    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Value>;

    /// `{ "items", "more" }`. Members that this way does not know are absent.
    async fn open_cases(
        &self,
        wanted: &OpenCases<'_>,
        progress: &mut Progress,
    ) -> anyhow::Result<Value>;
}

/// The service, or the code that it consists of, refuses: a problem.
#[derive(Debug, Default, Deserialize, thiserror::Error)]
#[serde(default)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    title: String,
    detail: Option<String>,
    pub(crate) oldest: Option<i64>,
    errors: Vec<RefusedField>,
}

#[derive(Debug, Deserialize)]
struct RefusedField {
    pointer: String,
    detail: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused ({}): {}", self.code, self.title)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        self.errors.iter().try_for_each(|field| write!(f, "; {}: {}", field.pointer, field.detail))
    }
}

/// Whether the error is a refusal with this code.
pub(crate) fn is_refused(error: &anyhow::Error, code: &str) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == code)
}

/// How long one question may wait for a change.
pub(crate) const LONGEST_WAIT: u64 = 30;
/// Between two looks at the database while a question waits.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// States in which nothing follows by itself.
pub(crate) fn is_settled(verification: &Value) -> bool {
    !matches!(verification["state"].as_str(), Some("pending" | "unfinished"))
}
