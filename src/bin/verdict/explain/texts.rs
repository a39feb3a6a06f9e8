//! The texts that `verdict explain` takes apart: files of the repository, part of the binary.

pub(super) const DEFAULTS: &str = include_str!("../../../../config/default.toml");
/// The default policy.
pub(super) const POLICY: &str = include_str!("../../../../config/policy.toml");
pub(super) const OBSERVABILITY: &str = include_str!("../../../../docs/observability.md");
pub(super) const RUNBOOK: &str = include_str!("../../../../docs/game-day.md");
pub(super) const ALERTS: &str = include_str!("../../../../deploy/prometheus/rules.yml");

/// The head of the table of log lines.
pub(super) const LOG_TABLE: &str = "| Message | Level | Fields | Meaning |";

/// Markdown without its links.
pub(super) fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let link = before.rsplit_once('[').zip(after.split_once(')'));
        if let Some(((start, name), (_, end))) = link {
            plain.push_str(start);
            plain.push_str(name);
            rest = end;
        } else {
            plain.push_str(before);
            plain.push_str("](");
            rest = after;
        }
    }
    plain + rest
}

/// A section of the runbook: what an alert means, where to look, what to do.
pub(super) struct Section {
    pub(super) heading: &'static str,
    pub(super) text: String,
    /// The parts by their bold names: `Means`, `Look`, `Do`, `Over`.
    parts: Vec<(String, String)>,
}

impl Section {
    pub(super) fn part(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// As in a link: `due-work-waits`.
    pub(super) fn anchor(&self) -> String {
        self.heading.to_lowercase().replace(' ', "-")
    }
}

pub(super) fn runbook() -> Vec<Section> {
    RUNBOOK.split("\n### ").skip(1).map(section).collect()
}

fn section(text: &'static str) -> Section {
    let (heading, rest) = text.split_once('\n').unwrap_or((text, ""));
    let body = rest.split("\n## ").next().unwrap_or_default();
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        let named = line.strip_prefix("- **").and_then(|line| line.split_once(":**"));
        if let Some((name, text)) = named {
            parts.push((name.to_owned(), without_links(text.trim())));
        } else if let Some((_, text)) = parts.last_mut() {
            // A list within the part.
            text.push('\n');
            text.push_str(&without_links(line.trim()));
        }
    }
    Section { heading, text: without_links(body.trim()), parts }
}

/// One alert.
#[derive(Default)]
pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) severity: &'static str,
    pub(super) summary: &'static str,
    /// The section of the runbook.
    pub(super) anchor: &'static str,
    /// From the name to the next alert: expression and all.
    pub(super) text: &'static str,
}

pub(super) fn alerts() -> Vec<Alert> {
    let alert = |text: &'static str| {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_default().trim().trim_matches(['"', '\''])
        };
        let severity = text.split_once("severity: ").map_or("", |(_, rest)| rest);
        Alert {
            name: text.lines().next().unwrap_or_default().trim(),
            severity: severity.split([' ', '}', '\n']).next().unwrap_or_default(),
            summary: value("summary:"),
            anchor: value("runbook:").split_once('#').map_or("", |(_, anchor)| anchor),
            text,
        }
    };
    ALERTS.split("- alert: ").skip(1).map(alert).collect()
}

/// The rows of the table of log lines: message, level, fields, meaning.
pub(super) fn log_lines() -> Vec<[String; 4]> {
    let (_, table) = OBSERVABILITY.split_once(LOG_TABLE).unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Option<[String; 4]> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        let cells: Vec<String> = line.splitn(4, '|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    };
    rows.filter_map(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_their_names() {
        assert_eq!(without_links("see [here](a.md#b), and [there](c)."), "see here, and there.");
        assert_eq!(without_links("a ](b"), "a ](b");
    }
}
