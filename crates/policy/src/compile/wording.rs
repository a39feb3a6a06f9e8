//! Pieces of a policy text in messages: short, and without anything that could upset a terminal.

use std::ops::Range;

use toml::de::DeValue;

use crate::visible::shorten;

/// Longest suggestion of what to write.
pub const MOST_HINT_CHARS: usize = 400;
/// Longest piece of the text that a message repeats.
const MOST_SOURCE_CHARS: usize = 80;

/// A piece of the text for a message, on one line.
pub fn source(text: &str, span: Range<usize>) -> String {
    let piece = text.get(span).unwrap_or("…");
    shorten_code(&piece.split_whitespace().collect::<Vec<_>>().join(" "), MOST_SOURCE_CHARS)
}

/// A word of the text for a message: short, and without anything that could upset a terminal.
pub fn quote(word: &str) -> String {
    format!("`{}`", shorten(word, 64))
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
