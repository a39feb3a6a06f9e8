//! A policy's text with line numbers, and each finding at its line.

use std::fmt;

use policy::visible::is_hidden;
use policy::{Diagnostic, Severity};

/// The text of a page between two tags. Quotes stay as they are, which spares a page of TOML a third
/// of its size; characters that show nothing, or turn the text round, are shown by their number.
pub(super) struct Escaped(pub(super) String);

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '\t' => f.write_char('\t')?,
                letter if is_hidden(letter) => write!(f, "{}", letter.escape_unicode())?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

impl askama::filters::HtmlSafe for Escaped {}

/// Lines that are shown before and after one with a finding.
const AROUND: usize = 4;

pub(super) struct Finding {
    pub(super) is_error: bool,
    pub(super) line: Option<usize>,
    pub(super) rule: Option<String>,
    pub(super) message: String,
}

pub(super) struct Line {
    pub(super) number: usize,
    /// Lines before it are left out.
    pub(super) is_after_gap: bool,
    pub(super) before: Escaped,
    /// The part that the first finding is about.
    pub(super) marked: Option<Escaped>,
    pub(super) after: Escaped,
    pub(super) findings: Vec<Finding>,
}

/// A text, ready to be shown.
pub(super) struct Source {
    pub(super) lines: Vec<Line>,
    /// Findings about the text as a whole.
    pub(super) overall: Vec<Finding>,
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Source {
    /// Leaves out the lines far from any finding.
    pub(super) fn near_findings(mut self) -> Self {
        let found: Vec<usize> = self.found().filter_map(|finding| finding.line).collect();
        self.lines.retain(|line| found.iter().any(|at| at.abs_diff(line.number) <= AROUND));
        let mut previous = 0;
        for line in &mut self.lines {
            line.is_after_gap = line.number != previous + 1;
            previous = line.number;
        }
        self
    }

    /// The lines that have findings, each once, for a list that leads to them.
    pub(super) fn lines_with_findings(&self) -> impl Iterator<Item = (usize, Option<&str>)> {
        self.lines.iter().filter_map(|line| {
            let first = line.findings.first()?;
            Some((line.number, first.rule.as_deref()))
        })
    }

    fn found(&self) -> impl Iterator<Item = &Finding> {
        self.lines.iter().flat_map(|line| &line.findings)
    }
}

/// The text with the findings about it.
pub(super) fn of(text: &str, diagnostics: &[Diagnostic]) -> Source {
    let count = |of| diagnostics.iter().filter(|found| found.severity == of).count();
    let mut begins = 0;
    let lines = text.split_inclusive('\n').enumerate().map(|(index, whole)| {
        let (number, start) = (index + 1, begins);
        begins += whole.len();
        let line = whole.trim_end_matches(['\n', '\r']);
        let here: Vec<&Diagnostic> =
            diagnostics.iter().filter(|found| found.line == Some(number)).collect();
        let (before, marked, after) =
            here.iter().find_map(|found| cut(line, start, found)).unwrap_or((line, None, ""));
        let escaped = |text: &str| Escaped(text.to_owned());
        Line {
            number,
            is_after_gap: false,
            before: escaped(before),
            marked: marked.map(escaped),
            after: escaped(after),
            findings: here.into_iter().map(finding).collect(),
        }
    });
    let lines: Vec<Line> = lines.collect();
    // A finding behind the last line is about the text as a whole as well.
    let is_overall = |found: &&Diagnostic| found.line.is_none_or(|line| line > lines.len());
    let overall = diagnostics.iter().filter(is_overall).map(finding).collect();
    Source { overall, errors: count(Severity::Error), warnings: count(Severity::Warning), lines }
}

/// The line before, within and behind what a finding is about.
fn cut<'l>(
    line: &'l str,
    start: usize,
    found: &Diagnostic,
) -> Option<(&'l str, Option<&'l str>, &'l str)> {
    let span = found.span.as_ref()?;
    let within = |at: usize| at.saturating_sub(start).min(line.len());
    let (from, to) = (within(span.start), within(span.end));
    let (before, marked, after) = (line.get(..from)?, line.get(from..to)?, line.get(to..)?);
    (!marked.is_empty()).then_some((before, Some(marked), after))
}

fn finding(found: &Diagnostic) -> Finding {
    Finding {
        is_error: found.severity == Severity::Error,
        line: found.line,
        rule: found.rule.clone(),
        message: found.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use policy::Policy;

    use super::*;

    const DEFAULT: &str = include_str!("../../../config/policy.toml");

    #[test]
    fn every_finding_is_at_its_line_with_what_it_is_about() {
        let text = DEFAULT.replacen("outcome = \"approve\"", "outcome = \"aprove\"", 1);
        let found = Policy::load(&text).unwrap_err();
        let source = of(&text, &found);
        let number = 1 + text.lines().position(|line| line.contains("aprove")).unwrap();
        let line = &source.lines[number - 1];
        assert_eq!(line.number, number);
        assert_eq!(line.marked.as_ref().unwrap().0, "\"aprove\"");
        assert_eq!(line.before.0, "outcome = ");
        assert!(line.findings[0].is_error);
        assert!(line.findings[0].message.contains("did you mean `approve`?"));
        assert_eq!(source.found().count() + source.overall.len(), found.len());
        assert_eq!(source.errors + source.warnings, found.len());
        // Nothing of the text is lost.
        let shown = |line: &Line| {
            let marked = line.marked.as_ref().map_or("", |marked| &marked.0);
            format!("{}{marked}{}", line.before.0, line.after.0)
        };
        let all: Vec<String> = source.lines.iter().map(shown).collect();
        assert_eq!(all.join("\n"), text.trim_end_matches('\n'));
        let near = source.near_findings();
        assert!(near.lines.len() < 10 && near.lines.iter().any(|line| line.number == number));
        let gaps = near.lines.iter().filter(|line| line.is_after_gap).count();
        assert_eq!((gaps, near.lines[0].is_after_gap), (1, true));
    }

    #[test]
    fn text_of_a_policy_is_no_markup_and_hides_nothing() {
        let shown = Escaped("<b> & \"x\" \u{202e}\t'".to_owned()).to_string();
        assert_eq!(shown, "&lt;b&gt; &amp; \"x\" \\u{202e}\t'");
        let source = of("name = 1", &[]);
        assert_eq!((source.lines.len(), source.errors), (1, 0));
        // Several findings at a line are one place to go to.
        let text = "name = \"x\"\n[[rule]]\nid = \"a\"\n";
        let source = of(text, &Policy::load(text).unwrap_err());
        assert!(source.lines[1].findings.len() > 1);
        let places: Vec<usize> = source.lines_with_findings().map(|(line, _)| line).collect();
        assert_eq!(places.iter().filter(|line| **line == 2).count(), 1, "{places:?}");
        assert!(!of("", &Policy::load("").unwrap_err()).overall.is_empty());
    }
}
