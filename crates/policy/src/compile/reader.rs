//! Reading a TOML table piece by piece, with every error tied to its place in the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::Limits;
use super::mistakes;
use super::spelling::{Alias, suggest};
use super::wording::{self, MOST_HINT_CHARS, article, quote, shorten_code};
use crate::diagnostics::Diagnostics;

/// One value, with its place.
pub type Item<'i> = Spanned<DeValue<'i>>;

/// A cursor over one text, with the sink for what it reports.
pub struct Reader<'r> {
    pub text: &'r str,
    limits: Limits,
    pub diagnostics: &'r mut Diagnostics,
    /// Where the comparisons of the rule being read stand, in their order.
    pub comparisons: Vec<Range<usize>>,
}

impl<'r> Reader<'r> {
    pub fn new(text: &'r str, limits: Limits, diagnostics: &'r mut Diagnostics) -> Self {
        Self { text, limits, diagnostics, comparisons: Vec::new() }
    }

    /// Whether this is more than a text may hold.
    pub fn exceeds(&self, count: usize, most: usize) -> bool {
        self.limits == Limits::New && count > most
    }

    /// See [`Diagnostics::is_full`].
    pub fn is_full(&self) -> bool {
        self.diagnostics.is_full()
    }

    /// See [`Diagnostics::error`].
    pub fn error<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.diagnostics.error(span, message)
    }

    /// See [`Diagnostics::error_overall`].
    pub fn error_overall<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.diagnostics.error_overall(message)
    }

    /// See [`wording::source`].
    pub fn source(&self, span: Range<usize>) -> String {
        wording::source(self.text, span)
    }

    /// Reports keys outside a closed list.
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

    /// The table that an item is; `otherwise` is the error where it is none.
    pub fn table<'v, 'i>(
        &mut self,
        item: &'v Item<'i>,
        otherwise: &str,
    ) -> Option<&'v DeTable<'i>> {
        match item.get_ref().as_table() {
            Some(table) => Some(table),
            None => self.error(item.span(), otherwise),
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

/// The place of the value of a key; the start of the text if it is not there.
pub fn span_of(table: &DeTable<'_>, key: &str) -> Range<usize> {
    table.get(key).map_or(0..0, Spanned::span)
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
