//! Errors and warnings about a policy text, with their location in the text, and their collection.

use std::fmt;
use std::ops::Range;

/// Most diagnostics that are kept. An author corrects a few at a time; a text of nothing but errors
/// would make hundreds of thousands, each with its place and its suggestion.
const MOST_DIAGNOSTICS: usize = 100;

/// Whether a diagnostic refuses the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is accepted, but probably means something else than its author does.
    Warning,
}

/// One error or warning about a policy text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it refuses the policy.
    pub severity: Severity,
    /// Line, from 1; `None` where it is about the text as a whole.
    pub line: Option<usize>,
    /// Bytes of the text it is about, for pointing at them.
    pub span: Option<Range<usize>>,
    /// Id of the rule it is about.
    pub rule: Option<String>,
    /// The problem and its remedy, in plain words.
    pub message: String,
}

impl Diagnostic {
    /// Where in its line it begins, in characters from 1; `text` is the policy's text.
    pub fn column(&self, text: &str) -> Option<usize> {
        let before = text.get(..self.span.as_ref()?.start)?;
        let line = before.rfind('\n').map_or(before, |at| &before[at + 1..]);
        Some(line.chars().count() + 1)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.severity.into_str())?;
        if let Some(line) = self.line {
            write!(f, " in line {line}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ", rule `{rule}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Collects diagnostics while a text is compiled and checked.
pub(crate) struct Diagnostics {
    /// Where each line begins.
    lines: Vec<usize>,
    kept: Vec<Diagnostic>,
    /// The worst of those that were too many to keep.
    dropped: Option<Severity>,
    /// The rule being read or checked: new diagnostics are about it.
    pub(crate) rule: Option<String>,
}

impl Diagnostics {
    /// None yet, about this text.
    pub(crate) fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { lines, kept: Vec::new(), dropped: None, rule: None }
    }

    /// Whether no more are kept, so that reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MOST_DIAGNOSTICS
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.kept.len()
    }

    /// Adds an error; always `None`, to be passed on as "nothing could be read".
    pub(crate) fn error<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.add(Severity::Error, Some(span), message.into());
        None
    }

    /// Adds an error about the text as a whole.
    pub(crate) fn error_overall<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.add(Severity::Error, None, message.into());
        None
    }

    pub(crate) fn warn(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.add(Severity::Warning, Some(span), message.into());
    }

    /// Adds a warning about the text as a whole.
    pub(crate) fn warn_overall(&mut self, message: impl Into<String>) {
        self.add(Severity::Warning, None, message.into());
    }

    fn add(&mut self, severity: Severity, span: Option<Range<usize>>, message: String) {
        if self.is_full() {
            // Errors come first in the order of severities.
            self.dropped = Some(self.dropped.map_or(severity, |worst| worst.min(severity)));
            return;
        }
        let line = span.as_ref().map(|span| self.lines.partition_point(|at| *at <= span.start));
        self.kept.push(Diagnostic { severity, line, span, rule: self.rule.clone(), message });
    }

    /// Whether the text is refused already.
    pub(crate) fn has_errors(&self) -> bool {
        self.dropped == Some(Severity::Error)
            || self.kept.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All of them, in the order of the text, those about the whole of it first.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| span.start));
        if self.is_full() {
            let severity = if self.has_errors() { Severity::Error } else { Severity::Warning };
            let message = format!(
                "there may be more findings than the {MOST_DIAGNOSTICS} shown: correct these first"
            );
            self.kept.push(Diagnostic { severity, line: None, span: None, rule: None, message });
        }
        self.kept
    }
}
