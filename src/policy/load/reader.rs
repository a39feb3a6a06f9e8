//! Reading a TOML table piece by piece, with every complaint tied to its place in the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes;
use super::spelling::{Alias, suggest};
use crate::policy::finding::{Finding, Severity};

/// One value, and where it stands.
pub type Item<'i> = Spanned<DeValue<'i>>;

/// Most findings that are kept. An author corrects a few at a time; a text of nothing but errors
/// would make hundreds of thousands, each with its place and its suggestion.
const MOST_FINDINGS: usize = 100;

/// Longest suggestion of what to write.
pub const MOST_HINT_CHARS: usize = 400;
/// Longest piece of the text that a message repeats.
const MOST_SOURCE_CHARS: usize = 80;

/// Which limits a text has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Of a text that is to be added: rules, comparisons and values are counted.
    New,
    /// Of one that was accepted before, perhaps by a version with other limits.
    Stored,
}

/// Collects findings while a text is read.
pub struct Reader {
    /// The policy text.
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    limits: Limits,
    findings: Vec<Finding>,
    /// The worst of the findings that were too many to keep.
    dropped: Option<Severity>,
    /// The rule being read, for the findings.
    pub rule: Option<String>,
    /// Where the comparisons of the rule being read stand, in their order.
    pub comparisons: Vec<Range<usize>>,
}

impl Reader {
    pub fn new(text: &str, limits: Limits) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text: text.to_owned(),
            lines: std::iter::once(0).chain(ends).collect(),
            limits,
            findings: Vec::new(),
            dropped: None,
            rule: None,
            comparisons: Vec::new(),
        }
    }

    /// Whether this is more than a text may hold.
    pub fn exceeds(&self, count: usize, most: usize) -> bool {
        self.limits == Limits::New && count > most
    }

    /// Whether nothing more can be noted, so that reading on is of no use.
    pub fn is_full(&self) -> bool {
        self.findings.len() >= MOST_FINDINGS
    }

    /// Notes an error; always `None`, to be passed on as "nothing could be read".
    pub fn error<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.note(Severity::Error, Some(span), message.into());
        None
    }

    /// Notes an error about the text as a whole.
    pub fn error_overall<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.note(Severity::Error, None, message.into());
        None
    }

    /// Notes a warning.
    pub fn warn(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.note(Severity::Warning, Some(span), message.into());
    }

    /// Notes a warning about the text as a whole.
    pub fn warn_overall(&mut self, message: impl Into<String>) {
        self.note(Severity::Warning, None, message.into());
    }

    fn note(&mut self, severity: Severity, span: Option<Range<usize>>, message: String) {
        if self.is_full() {
            // Errors come first in the order of severities.
            self.dropped = Some(self.dropped.map_or(severity, |worst| worst.min(severity)));
            return;
        }
        let line = span.as_ref().map(|span| self.lines.partition_point(|at| *at <= span.start));
        self.findings.push(Finding { severity, line, span, rule: self.rule.clone(), message });
    }

    /// Whether the text is refused already.
    pub fn has_errors(&self) -> bool {
        self.dropped == Some(Severity::Error)
            || self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All findings, in the order of the text, those about the whole of it first.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        if self.is_full() {
            let severity = if self.has_errors() { Severity::Error } else { Severity::Warning };
            let message = format!(
                "there may be more findings than the {MOST_FINDINGS} shown: correct these first"
            );
            self.findings.push(Finding { severity, line: None, span: None, rule: None, message });
        }
        self.findings
    }

    /// A piece of the text for a message, on one line.
    pub fn source(&self, span: Range<usize>) -> String {
        let piece = self.text.get(span).unwrap_or("…");
        shorten_code(&piece.split_whitespace().collect::<Vec<_>>().join(" "), MOST_SOURCE_CHARS)
    }

    /// Complains about keys outside a closed list.
    pub fn keys(&mut self, table: &DeTable<'_>, known: &[&str], aliases: &[Alias], what: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            if self.is_full() {
                return;
            }
            let name = key.get_ref();
            let message =
                format!("{what} has no key {}{}", quote(name), suggest(name, known, aliases));
            self.error::<()>(key.span(), message);
        }
    }

    /// A text that must be there and say something. `span` is where to complain if it is not.
    pub fn text(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        span: Option<Range<usize>>,
        what: &str,
    ) -> Option<String> {
        let Some(item) = table.get(key) else {
            let message = format!("{what} needs `{key}`");
            return match span {
                Some(span) => self.error(span, message),
                None => self.error_overall(message),
            };
        };
        match item.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => Some(text.to_owned()),
            Some(_) => self.error(item.span(), format!("`{key}` must not be empty")),
            None => {
                let found = item.get_ref();
                let hint = mistakes::instead(mistakes::Wanted::Text, found);
                let message = format!("`{key}` must be a text, not {}{hint}", article(found));
                self.error(item.span(), message)
            }
        }
    }

    /// The tables of an array of tables, such as `[[rule]]`.
    pub fn tables<'v, 'i>(
        &mut self,
        document: &'v DeTable<'i>,
        key: &str,
    ) -> Vec<(&'v Item<'i>, &'v DeTable<'i>)> {
        let Some(item) = document.get(key) else { return Vec::new() };
        let message = format!("write each {key} under a heading [[{key}]]");
        let Some(items) = item.get_ref().as_array() else {
            self.error::<()>(item.span(), message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            if self.is_full() {
                break;
            }
            match item.get_ref().as_table() {
                Some(table) => tables.push((item, table)),
                None => {
                    self.error::<()>(item.span(), message.clone());
                }
            }
        }
        tables
    }
}

/// Where the value of a key stands; the start of the text if nowhere.
pub fn span_of(table: &DeTable<'_>, key: &str) -> Range<usize> {
    table.get(key).map_or(0..0, Spanned::span)
}

/// A word of the text for a message: short, and without anything that could upset a terminal.
pub fn quote(word: &str) -> String {
    format!("`{}`", shorten(word, 64))
}

/// The first characters of a text, without anything that could upset a terminal.
pub fn shorten(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// The same of a piece of TOML, whose quotes are to be copied.
pub fn shorten_code(text: &str, most: usize) -> String {
    shorten(text, most).replace("\\\"", "\"")
}

/// "a text", "a table": what a value is, in plain words.
pub fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The parser's complaint, on one line, with a correction if one is known.
pub fn not_toml(error: &toml::de::Error, text: &str) -> String {
    let complaint: Vec<&str> = error.message().lines().map(str::trim).collect();
    let at = error.span().map_or(0, |span| span.start);
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let from = before.rfind('\n').map_or(0, |at| at + 1);
    let to = at + after.find('\n').unwrap_or(after.len());
    let hint = text.get(from..to).and_then(mistakes::not_toml);
    let hint =
        hint.map(|hint| format!("; {}", shorten_code(&hint, MOST_HINT_CHARS))).unwrap_or_default();
    format!("this is not TOML: {}{hint}", complaint.join("; "))
}
