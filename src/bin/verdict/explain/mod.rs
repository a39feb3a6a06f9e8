//! `verdict explain`: what a code means, where it comes from, and what to do about it.

mod table;
mod texts;

use std::process::ExitCode;

use verdict::domain::counted::counted;

use crate::context::Usage;
use crate::output::say;
use crate::terminal::{Table, say_table};
use table::Entry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict explain signature-invalid")]
pub struct Arguments {
    /// The code: of a problem, a reason, a failure or a cause; the message of a log line; the name of
    /// a metric or of an alert. Left out: lists all codes.
    #[arg(value_name = "CODE")]
    code: Vec<String>,
    /// Print a JSON array of { "kind", "code", "meaning", "origin", "remedy" }.
    #[arg(long)]
    json: bool,
}

/// Nearest codes that are suggested for one that is unknown.
const MOST_SUGGESTED: usize = 5;
/// How similar a code must be to be suggested, from 0 to 1.
const LEAST_SIMILAR: f64 = 0.75;

/// Exit code 2 if the code is unknown.
pub fn run(Arguments { code, json }: &Arguments) -> anyhow::Result<ExitCode> {
    let entries = table::entries();
    let found = if code.is_empty() {
        entries.iter().collect()
    } else {
        let wanted = code.join(" ");
        let found = find(&entries, &wanted);
        if found.is_empty() {
            return Err(Usage(unknown(&entries, &wanted)).into());
        }
        found
    };
    if *json {
        say(serde_json::to_string_pretty(&found)?);
    } else if code.is_empty() {
        let mut table = Table::new(["KIND", "CODE"]);
        for entry in &found {
            table.add([entry.kind.as_str().to_owned(), entry.code.clone()]);
        }
        say_table(table, "there is no code");
        say(format_args!("\n{}", counted(found.len(), "code", "codes")));
    } else {
        for (index, entry) in found.iter().enumerate() {
            say(format_args!("{}{}", if index == 0 { "" } else { "\n" }, shown(entry)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The code itself; of a log line also the beginning of its message, before a colon.
fn find<'a>(entries: &'a [Entry], wanted: &str) -> Vec<&'a Entry> {
    let wanted = wanted.trim().trim_matches(['`', '"', '\'']);
    let exact = |entry: &&Entry| entry.code.eq_ignore_ascii_case(wanted);
    let found: Vec<&Entry> = entries.iter().filter(exact).collect();
    if !found.is_empty() {
        return found;
    }
    let begins = |entry: &&Entry| {
        let beginning = entry.code.split([':', ';']).next().unwrap_or_default();
        beginning.eq_ignore_ascii_case(wanted)
    };
    entries.iter().filter(begins).collect()
}

fn shown(Entry { kind, code, meaning, origin, remedy }: &Entry) -> String {
    let indented = |text: &str| text.replace('\n', "\n            ");
    let parts = [("Meaning:", meaning), ("From:", origin), ("To do:", remedy)];
    let parts = parts.map(|(name, text)| format!("\n  {name:9} {}", indented(text)));
    format!("{} {code}{}", kind.as_str(), parts.concat())
}

fn unknown(entries: &[Entry], wanted: &str) -> String {
    let folded = wanted.to_lowercase();
    let mut near: Vec<(f64, &str)> = entries
        .iter()
        .map(|entry| {
            let code = entry.code.to_lowercase();
            let contains = folded.len() > 3 && code.contains(&folded);
            let similar = if contains { 1.0 } else { strsim::jaro_winkler(&code, &folded) };
            (similar, entry.code.as_str())
        })
        .filter(|(similar, _)| *similar >= LEAST_SIMILAR)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut near: Vec<&str> = near.into_iter().map(|(_, code)| code).collect();
    near.dedup();
    near.truncate(MOST_SUGGESTED);
    if near.is_empty() {
        return "unknown code; `verdict explain` lists all codes".to_owned();
    }
    format!("unknown code; similar are: {}", near.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_in_any_case_and_log_line_by_its_beginning() {
        let entries = table::entries();
        let kinds = |text: &str| -> Vec<&str> {
            find(&entries, text).into_iter().map(|entry| entry.kind.as_str()).collect()
        };
        assert_eq!(kinds("Signature-Invalid"), ["problem"]);
        assert_eq!(kinds("`score-too-low`"), ["reason"]);
        assert_eq!(kinds("breaker opened"), ["log-line"]);
        assert_eq!(kinds("verdictnoworker"), ["alert"]);
        assert_eq!(kinds("card-expired"), ["reason", "review-reason"]);
        assert!(kinds("nothing-of-the-kind").is_empty());
    }

    #[test]
    fn unknown_code_names_similar_ones() {
        let entries = table::entries();
        assert!(unknown(&entries, "signature-invald").contains("signature-invalid"));
        assert!(unknown(&entries, "breaker").contains("breaker"));
        assert!(unknown(&entries, "zzzzzzzzzz").contains("lists all codes"));
    }
}
