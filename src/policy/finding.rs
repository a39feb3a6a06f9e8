//! What the loader has to say about a policy text.

use std::fmt;
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is not accepted.
    Error,
    /// Accepted, but probably not what was meant.
    Warning,
}

impl Severity {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing to know about a policy text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1; `None` where it is about the text as a whole.
    pub line: Option<usize>,
    /// Bytes of the text it is about, for pointing at them.
    pub span: Option<Range<usize>>,
    /// The rule it is about.
    pub rule: Option<String>,
    /// What is wrong and what to do, in plain words.
    pub message: String,
}

impl Finding {
    /// Where in its line it begins, in characters from 1; `text` is what it is about.
    pub fn column(&self, text: &str) -> Option<usize> {
        let before = text.get(..self.span.as_ref()?.start)?;
        let line = before.rfind('\n').map_or(before, |at| &before[at + 1..]);
        Some(line.chars().count() + 1)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.severity.as_str())?;
        if let Some(line) = self.line {
            write!(f, " in line {line}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ", rule `{rule}`")?;
        }
        write!(f, ": {}", self.message)
    }
}
