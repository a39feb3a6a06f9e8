//! The finding of a check, and how it is shown.

use std::fmt;

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and will not for long, or not as well as it could.
    Warning,
    /// It does not work.
    Failed,
    /// It was not looked at.
    Skipped,
}

/// A fact, and its remedy.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub state: State,
    pub says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    pub fn ok(says: impl Into<String>) -> Self {
        Self { state: State::Ok, says: says.into(), hint: None }
    }

    pub fn warning(says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Warning, says: says.into(), hint: Some(hint.into()) }
    }

    pub fn failed(says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Failed, says: says.into(), hint: Some(hint.into()) }
    }

    pub fn skipped(why: impl Into<String>) -> Self {
        Self { state: State::Skipped, says: why.into(), hint: None }
    }
}

impl From<Finding> for Vec<Finding> {
    fn from(finding: Finding) -> Self {
        vec![finding]
    }
}

/// A finding of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub check: &'static str,
    #[serde(flatten)]
    pub finding: Finding,
}

impl Item {
    pub fn new(check: &'static str, finding: Finding) -> Self {
        Self { check, finding }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "FAILED",
            State::Skipped => "skipped",
        };
        write!(f, "{state:8} {:18} {}", self.check, self.finding.says)?;
        if let Some(hint) = &self.finding.hint {
            write!(f, "\n{:28}→ {hint}", "")?;
        }
        Ok(())
    }
}
