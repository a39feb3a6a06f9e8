//! Output for people: tables with headers, relative times, and colour where standard output is a
//! terminal (`NO_COLOR` and `CLICOLOR_FORCE` are respected).

use anstyle::{AnsiColor, Style};
use policy::visible;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use unicode_width::UnicodeWidthStr;

use crate::output::{say, say_styled};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// Between two columns.
const GAP: &str = "  ";

/// Rows under headers, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
    /// The headers are printed already.
    is_begun: bool,
}

impl Table {
    pub(crate) fn new<const N: usize>(headers: [&'static str; N]) -> Self {
        let widths = headers.iter().map(|header| header.len()).collect();
        Self { headers: headers.to_vec(), rows: Vec::new(), widths, is_begun: false }
    }

    /// Cells of what may come from outside are made visible: they cannot move the cursor.
    pub(crate) fn add<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.map(|cell| visible::shown(&cell));
        self.rows.push(cells.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// With a style for the headers, and one for each word that has a meaning.
    pub(crate) fn render(mut self) -> String {
        self.next_page()
    }

    /// The rows since the last page, for lists that are longer than what memory should hold. The
    /// headers come once, and columns never become narrower.
    pub(crate) fn next_page(&mut self) -> String {
        for row in &self.rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let line = |cells: &[String], style: &dyn Fn(&str) -> Style| -> String {
            let last = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
            let padded = cells.iter().take(last).zip(&self.widths).enumerate();
            let padded = padded.map(|(at, (cell, width))| {
                let style = style(cell);
                let blanks = if at + 1 == last { 0 } else { width.saturating_sub(cell.width()) };
                format!("{style}{cell}{style:#}{}", " ".repeat(blanks))
            });
            padded.collect::<Vec<_>>().join(GAP)
        };
        let mut lines = Vec::new();
        if !self.is_begun {
            let headers: Vec<String> = self.headers.iter().map(|text| (*text).to_owned()).collect();
            lines.push(line(&headers, &|_| BOLD));
        }
        lines.extend(self.rows.iter().map(|row| line(row, &style_of)));
        self.is_begun = true;
        self.rows.clear();
        lines.join("\n")
    }
}

/// Prints a table, or a sentence in place of an empty one.
pub(crate) fn say_table(table: Table, if_empty: &str) {
    if table.is_empty() {
        say(if_empty);
    } else {
        say_styled(table.render());
    }
}

/// Of states and outcomes.
pub(crate) fn style_of(word: &str) -> Style {
    let color = match word {
        "approve" => AnsiColor::Green,
        "reject" | "failed" | "late" | "revoked" | "disabled" => AnsiColor::Red,
        "review" | "retry" | "expired" | "soon" | "paused" | "failing" => AnsiColor::Yellow,
        "pending" | "unfinished" => AnsiColor::Cyan,
        _ => return Style::new(),
    };
    color.on_default()
}

/// A word in the style of its meaning.
pub(crate) fn styled(word: &str) -> String {
    let style = style_of(word);
    format!("{style}{word}{style:#}")
}

/// A member as text: nothing for `null`.
pub(crate) fn member(value: &Value, name: &str) -> Option<String> {
    match &value[name] {
        Value::Null => None,
        Value::String(text) => Some(visible::shown(text)),
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), visible::shown))
                .collect();
            Some(items.join(", "))
        }
        other => Some(other.to_string()),
    }
}

/// `sha256:` and the first digits; other texts as they are.
pub(crate) fn short_digest(digest: &str) -> &str {
    const DIGITS: usize = 8;
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() > DIGITS && hex.is_ascii() => &digest[.."sha256:".len() + DIGITS],
        _ => digest,
    }
}

/// `3 min ago`, `in 2 h`.
pub(crate) fn relative(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (at - now).whole_seconds();
    let (count, unit) = match seconds.unsigned_abs() {
        0..=1 => return "now".to_owned(),
        seconds @ 2..=119 => (seconds, "s"),
        seconds @ 120..=7_199 => (seconds / 60, "min"),
        seconds @ 7_200..=172_799 => (seconds / 3_600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    if seconds < 0 { format!("{count} {unit} ago") } else { format!("in {count} {unit}") }
}

/// A time that may be missing: then `otherwise`.
pub(crate) fn relative_or(
    at: Option<OffsetDateTime>,
    now: OffsetDateTime,
    otherwise: &str,
) -> String {
    at.map_or_else(|| otherwise.to_owned(), |at| relative(at, now))
}

/// A time of the API, relative to now; any other text as it is.
pub(crate) fn relative_text(text: &str, now: OffsetDateTime) -> String {
    OffsetDateTime::parse(text, &Rfc3339).map_or_else(|_| text.to_owned(), |at| relative(at, now))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_seen() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.add(["测试".to_owned(), "decided".to_owned()]);
        table.add(["ab\u{1b}[2J".to_owned(), String::new()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert!(lines[1].starts_with("测试") && lines[1].ends_with("decided"), "{plain}");
        let at = |line: &str, word: &str| line[..line.find(word).unwrap()].width();
        assert_eq!(at(lines[0], "STATE"), at(lines[1], "decided"), "{plain}");
        assert!(!lines[2].contains('\u{1b}') && lines[2] == lines[2].trim_end(), "{plain}");
    }

    #[test]
    fn later_pages_have_no_headers_and_keep_the_columns() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.add(["longer than the header".to_owned(), "decided".to_owned()]);
        let first = anstream::adapter::strip_str(&table.next_page()).to_string();
        table.add(["short".to_owned(), "decided".to_owned()]);
        let second = anstream::adapter::strip_str(&table.next_page()).to_string();
        assert_eq!((first.lines().count(), second.lines().count()), (2, 1), "{first}\n{second}");
        assert_eq!(first.lines().last().unwrap().find("decided"), second.find("decided"));
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let now = datetime!(2026-11-27 12:00 UTC);
        let told = |seconds| relative(now + time::Duration::seconds(seconds), now);
        assert_eq!(
            [0, -45, 90, -600, 7_200, -200_000].map(told),
            ["now", "45 s ago", "in 90 s", "10 min ago", "in 2 h", "2 d ago"]
        );
        assert_eq!(relative_text("2026-11-27T11:59:00Z", now), "60 s ago");
        assert_eq!(relative_text("-", now), "-");
    }

    #[test]
    fn digests_are_short() {
        assert_eq!(short_digest("sha256:0123456789abcdef"), "sha256:01234567");
        assert_eq!(short_digest("review"), "review");
    }
}
