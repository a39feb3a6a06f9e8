//! Reading a TOML table piece by piece, with every complaint tied to its place in the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::spelling::suggest;
use crate::policy::finding::{Finding, Severity};

/// One value, and where it stands.
pub type Item<'i> = Spanned<DeValue<'i>>;

/// Collects findings while a text is read.
pub struct Reader<'t> {
    text: &'t str,
    findings: Vec<Finding>,
    /// The rule being read, for the findings.
    pub rule: Option<String>,
    /// Where the comparisons of the rule being read stand, in their order.
    pub comparisons: Vec<Range<usize>>,
}

impl<'t> Reader<'t> {
    /// For one text.
    pub fn new(text: &'t str) -> Self {
        Self { text, findings: Vec::new(), rule: None, comparisons: Vec::new() }
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

    fn note(&mut self, severity: Severity, span: Option<Range<usize>>, message: String) {
        let line = span.as_ref().map(|span| {
            let before = self.text.get(..span.start).unwrap_or_default();
            1 + before.matches('\n').count()
        });
        self.findings.push(Finding { severity, line, span, rule: self.rule.clone(), message });
    }

    /// Whether the text is refused already.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All findings, in the order of the text, those about the whole of it first.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        self.findings
    }

    /// Complains about keys outside a closed list.
    pub fn keys(&mut self, table: &DeTable<'_>, known: &[&str], what: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let message = format!("{what} has no key {}{}", quote(name), suggest(name, known));
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
                let message = format!("`{key}` must be a text, not {}", article(item.get_ref()));
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
    let mut shown: String = word.chars().take(64).flat_map(char::escape_debug).collect();
    if word.chars().nth(64).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
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

/// The parser's complaint, on one line.
pub fn not_toml(error: &toml::de::Error) -> String {
    let complaint: Vec<&str> = error.message().lines().map(str::trim).collect();
    format!("this is not TOML: {}", complaint.join("; "))
}
