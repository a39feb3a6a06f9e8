//! Log lines, metrics and spans are a closed list: each one in the source is in
//! docs/observability.md, and the other way round. Reads the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use verdict::telemetry::metrics::{Kind, METRICS};

/// One use of a macro: where, its name, its arguments.
struct Use {
    place: String,
    name: String,
    arguments: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All sources of the program, without comments and tests.
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["src", "crates"] {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source");
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let lines = text[..end].lines();
            let code: Vec<&str> =
                lines.filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = path.strip_prefix(root()).expect("below the root");
            (name.to_string_lossy().into_owned(), code.join("\n"))
        })
        .filter(|(name, _)| {
            !name.ends_with("/tests.rs")
                && !["/tests/", "/examples/"].iter().any(|f| name.contains(f))
        })
        .collect()
}

/// Every use of these macros, as whole words.
fn uses(macros: &[&str]) -> Vec<Use> {
    let mut found = Vec::new();
    for (file, text) in sources() {
        for name in macros {
            let opening = format!("{name}!(");
            for (at, _) in text.match_indices(&opening) {
                let before = text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let line = text[..at].lines().count();
                found.push(Use {
                    place: format!("{file}, near line {line} without comments"),
                    name: (*name).to_owned(),
                    arguments: arguments(&text[at + opening.len()..]),
                });
            }
        }
    }
    found
}

/// The arguments up to the closing parenthesis, cut at their commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut now) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in text.chars() {
        let closing = !quoted && depth == 0 && c == ')';
        if closing || !quoted && depth == 0 && c == ',' {
            all.push(now.trim().to_owned());
            now.clear();
            if closing {
                break;
            }
            continue;
        }
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        now.push(c);
    }
    all.retain(|argument| !argument.is_empty());
    all
}

/// The rows of the table with this head, each cut into its cells, without backquotes.
fn table(head: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/observability.md")).expect("the document");
    let (_, rest) = text.split_once(&format!("{head}\n")).unwrap_or_else(|| panic!("{head}"));
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_start_matches("| ").trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    rest.lines().skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

const LOGS: &str = "| Message | Level | Fields | Meaning |";
const FIELDS: &str = "| Field | Type | Meaning |";
const METRICS_TABLE: &str = "| Name | Type | Labels | Meaning |";
const SPANS: &str = "| Span | Kind | Attributes |";

#[test]
fn every_log_line_and_field_is_documented() {
    let mut written = BTreeMap::new();
    let mut fields = BTreeSet::from(["timestamp", "level", "message"].map(ToOwned::to_owned));
    for line in uses(&["trace", "debug", "info", "warn", "error"]) {
        let message = line.arguments.last().expect("a message");
        assert!(
            message.starts_with('"') && !message.contains('{'),
            "{}: a message is a literal without values: {message}",
            line.place
        );
        let names = line.arguments[..line.arguments.len() - 1].iter().map(|argument| {
            let name = argument.trim_start_matches(['%', '?']);
            name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned()
        });
        let names: Vec<String> = names.collect();
        fields.extend(names.iter().cloned());
        let key = (message.trim_matches('"').to_owned(), line.name, names.join(", "));
        written.insert(key, line.place);
    }
    let documented: BTreeSet<(String, String, String)> = table(LOGS)
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    let mut wrong = String::new();
    for ((message, level, names), place) in &written {
        if !documented.contains(&(message.clone(), level.clone(), names.clone())) {
            let _ = writeln!(wrong, "add (for {place}): | {message} | {level} | {names} | …");
        }
    }
    for row in documented.iter().filter(|row| !written.contains_key(row)) {
        let _ = writeln!(wrong, "remove: | {} | {} | {}", row.0, row.1, row.2);
    }
    assert!(wrong.is_empty(), "docs/observability.md, under `{LOGS}`:\n{wrong}");

    let listed: BTreeSet<String> = table(FIELDS).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(fields, listed, "docs/observability.md, under `{FIELDS}`");
}

#[test]
fn every_metric_has_help_and_its_declared_type() {
    let listed: BTreeMap<&str, (&str, BTreeSet<&str>)> = METRICS
        .iter()
        .map(|metric| {
            (metric.name, (metric.kind.as_str(), metric.labels.iter().copied().collect()))
        })
        .collect();
    assert_eq!(listed.len(), METRICS.len(), "no name twice");
    let emitted = uses(&["counter", "gauge", "histogram"]);
    for one in &emitted {
        let name = one.arguments[0].trim_matches('"');
        let labels = one.arguments[1..].iter().filter_map(|label| label.split_once("=>"));
        let labels: BTreeSet<&str> =
            labels.map(|(label, _)| label.trim().trim_matches('"')).collect();
        let (kind, known) =
            listed.get(name).unwrap_or_else(|| panic!("{}: {name} is not in METRICS", one.place));
        assert_eq!((one.name.as_str(), &labels), (*kind, known), "{}: {name}", one.place);
    }
    let names: BTreeSet<&str> =
        emitted.iter().map(|one| one.arguments[0].trim_matches('"')).collect();
    let silent: Vec<_> = listed.keys().filter(|name| !names.contains(*name)).collect();
    assert!(silent.is_empty(), "nobody emits {silent:?}");
}

#[test]
fn metric_names_follow_prometheus_conventions() {
    for metric in METRICS {
        let name = metric.name;
        let words: Vec<&str> = name.split('_').collect();
        assert_eq!(words[0], "verdict", "{name}");
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(name) && metric.labels.iter().all(|label| plain(label)), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        if metric.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}: buckets are seconds");
        }
        for unit in ["ms", "millis", "milliseconds", "minutes", "kb", "percent", "count", "sum"] {
            assert!(!words.contains(&unit), "{name}: base units, and no suffix of a histogram's");
        }
        assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '|', '`']), "{name}");
    }
}

#[test]
fn documented_metrics_match_the_source() {
    let wanted: Vec<Vec<String>> = METRICS
        .iter()
        .map(|metric| {
            vec![
                metric.name.to_owned(),
                metric.kind.as_str().to_owned(),
                metric.labels.join(", "),
                metric.help.to_owned(),
            ]
        })
        .collect();
    let table = table(METRICS_TABLE);
    for (wanted, row) in wanted.iter().zip(&table) {
        assert_eq!(row, wanted, "docs/observability.md, under `{METRICS_TABLE}`");
    }
    assert_eq!(table.len(), wanted.len(), "docs/observability.md, under `{METRICS_TABLE}`");
}

/// Every word in `text` that begins so.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = !text[..at].ends_with(in_word);
        let rest = &text[at..];
        begins.then(|| &rest[..rest.find(|c| !in_word(c)).unwrap_or(rest.len())])
    })
}

/// `scripts/deploy-check.sh` judges the rules themselves, by promtool, where that can be had.
#[test]
fn rules_and_dashboards_name_existing_metrics_and_tests() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file");
    let (rules, tests) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules_test.yml"));
    let (adapter, dashboard) =
        (read("deploy/prometheus/adapter.yml"), read("deploy/grafana/dashboard.json"));
    for text in [&rules, &tests, &adapter, &dashboard] {
        for name in words(text, "verdict_") {
            let known = METRICS.iter().any(|metric| {
                let suffix = name.strip_prefix(metric.name);
                let of_histogram = matches!(suffix, Some("_bucket" | "_sum" | "_count"));
                suffix == Some("") || metric.kind == Kind::Histogram && of_histogram
            });
            assert!(known, "no metric is called {name}");
        }
    }
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 30, "the scan finds them");
    let runbook = read("docs/game-day.md");
    for alert in &alerts {
        assert!(runbook.contains(&format!("`{alert}`")), "{alert}: docs/game-day.md");
    }
    let tested: BTreeSet<&str> = tests
        .split("alertname: ")
        .skip(1)
        .map(|rest| &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(0)])
        .collect();
    assert_eq!(alerts, tested, "deploy/prometheus/rules_test.yml");
}

#[test]
fn spans_have_one_source_and_documented_attributes() {
    let made = uses(&["info_span", "span", "debug_span", "trace_span", "warn_span", "error_span"]);
    assert!(made.len() > 5, "the scan finds them");
    let mut attributes = BTreeSet::new();
    for span in &made {
        assert!(span.place.starts_with("src/traces.rs"), "{}", span.place);
        assert!(span.arguments[0].starts_with("target: TARGET"), "{}", span.place);
        let names = span.arguments.iter().filter_map(|argument| argument.split_once(" = "));
        attributes.extend(names.map(|(name, _)| name.trim().to_owned()));
    }
    for (file, text) in sources() {
        assert!(!text.contains("#[instrument"), "{file}: arguments would become attributes");
    }
    // The exporter turns these into name, kind and status.
    attributes.retain(|name| !name.starts_with("otel."));
    let mut listed = BTreeSet::new();
    for row in table(SPANS) {
        let words = row[2].split([' ', ',', '(', ')']);
        listed.extend(words.filter(|word| word.contains('.')).map(ToOwned::to_owned));
    }
    assert_eq!(attributes, listed, "docs/observability.md, under `{SPANS}`");
}
