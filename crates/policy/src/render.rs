//! Diagnostics as the best compilers print them: the line, and carets under what is meant.

use std::fmt::Write;

use crate::diagnostics::{Diagnostic, Severity};
use crate::visible;

/// Longest piece of a line that is shown, in columns.
const MOST_COLUMNS: usize = 100;
/// Columns kept before the span where a line is cut.
const BEFORE: usize = 40;

/// All diagnostics about a text; `file` is what the text is called.
pub fn render(diagnostics: &[Diagnostic], text: &str, file: &str) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, diagnostic, text, file);
    }
    let count =
        |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let plural = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let _ = match (errors, warnings) {
        (0, 0) => Ok(()),
        (errors, 0) => writeln!(out, "{}", plural(errors, "error")),
        (0, warnings) => writeln!(out, "{}", plural(warnings, "warning")),
        (errors, warnings) => {
            writeln!(out, "{}, {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    };
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, text: &str, file: &str) {
    let _ = writeln!(out, "{}: {}", diagnostic.severity.into_str(), diagnostic.message);
    let span = diagnostic.span.as_ref();
    if let (Some(line), Some(span)) =
        (diagnostic.line, span.filter(|s| text.get(..s.start).is_some()))
    {
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let source = text[start..end].trim_end_matches('\r');
        let within = |at: usize| at.saturating_sub(start).min(source.len());
        // A span over several lines shows its first.
        let (from, to) = (within(span.start), within(span.end.max(span.start + 1)));
        let (Some(before), Some(meant)) = (source.get(..from), source.get(from..to)) else {
            return;
        };
        let after = source.get(to..).unwrap_or_default();
        let column = before.chars().count() + 1;
        let gutter = " ".repeat(line.to_string().len());
        let (before, meant, after) = cut(before, meant, after);
        let carets = "^".repeat(columns(&meant).max(1));
        let _ = writeln!(out, "{gutter}--> {file}:{line}:{column}");
        let _ = writeln!(out, "{gutter} |");
        let _ = writeln!(out, "{line} | {before}{meant}{after}");
        let _ = writeln!(out, "{gutter} | {}{carets}", " ".repeat(columns(&before)));
    }
    if let Some(rule) = &diagnostic.rule {
        let _ = writeln!(out, "  = in rule `{rule}`");
    }
    out.push('\n');
}

/// A long line around its span, without anything that could upset a terminal.
fn cut(before: &str, meant: &str, after: &str) -> (String, String, String) {
    let (mut before, meant, mut after) =
        (plain(near_end(before)), plain(near_start(meant)), plain(near_start(after)));
    if columns(&before) + columns(&meant) + columns(&after) <= MOST_COLUMNS {
        return (before, meant, after);
    }
    if columns(&before) > BEFORE {
        let kept: Vec<char> = before.chars().rev().take(BEFORE - 1).collect();
        before = std::iter::once('…').chain(kept.into_iter().rev()).collect();
    }
    let meant = shorten(&meant, MOST_COLUMNS - BEFORE);
    let room = MOST_COLUMNS.saturating_sub(columns(&before) + columns(&meant));
    after = shorten(&after, room.max(1));
    (before, meant, after)
}

/// As much of a line as can be shown: it may be as long as the text.
fn near_start(text: &str) -> &str {
    text.char_indices().nth(2 * MOST_COLUMNS).map_or(text, |(at, _)| &text[..at])
}

/// The same of its end.
fn near_end(text: &str) -> &str {
    text.char_indices().nth_back(2 * MOST_COLUMNS).map_or(text, |(at, _)| &text[at..])
}

fn shorten(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for char in text.chars() {
        if columns(&kept) + width(char) + 1 > room {
            break;
        }
        kept.push(char);
    }
    kept + "…"
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    for char in text.chars() {
        match char {
            '\t' => plain.push(' '),
            char if visible::is_hidden(char) => plain.extend(char.escape_default()),
            char => plain.push(char),
        }
    }
    plain
}

fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Chinese, Japanese and Korean characters, and their punctuation, take two columns.
fn width(char: char) -> usize {
    let wide = matches!(u32::from(char),
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe4f
        | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd);
    if wide { 2 } else { 1 }
}
