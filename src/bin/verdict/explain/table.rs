//! Every code there is, with its explanation. Nothing is written here twice: the texts come from the
//! lists in the code and from the files in [`super::texts`].

use policy::{EVIDENCE_MALFORMED, EVIDENCE_MISSING, NO_RULE_MATCHED};
use serde::Serialize;
use verdict::causes::Cause;
use verdict::domain::verification::FailureReason;
use verdict::http::problem::Code;
use verdict::telemetry::metrics::METRICS;

use super::texts::{self, Section};

/// The kind of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub(super) enum Kind {
    Problem,
    Reason,
    ReviewReason,
    Failure,
    Cause,
    LogLine,
    Metric,
    Alert,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// One explanation.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) code: String,
    pub(super) meaning: String,
    /// Where it comes from.
    pub(super) origin: String,
    pub(super) remedy: String,
}

/// All of them, by kind and in the order of their lists.
pub(super) fn entries() -> Vec<Entry> {
    let runbook = texts::runbook();
    let mut all: Vec<Entry> = Code::ALL.iter().copied().map(problem).collect();
    all.extend(reasons());
    all.extend(review_reasons());
    all.extend(FailureReason::ALL.map(failure));
    all.extend(Cause::ALL.iter().copied().map(cause));
    all.extend(texts::log_lines().iter().map(|row| log_line(row, &runbook)));
    all.extend(metrics());
    all.extend(texts::alerts().iter().map(|alert| of_alert(alert, &runbook)));
    all
}

fn problem(code: Code) -> Entry {
    Entry {
        kind: Kind::Problem,
        code: code.as_str().to_owned(),
        meaning: format!("{}. {}", code.title(), code.happened()),
        origin: format!("an answer of the API with status {}", code.status().as_u16()),
        remedy: code.remedy().to_owned(),
    }
}

/// The reasons that are built in, with a sentence each, and those of the default policy.
const BUILT_IN: [(&str, &str, &str); 3] = [
    (
        EVIDENCE_MISSING,
        "A rule needs a field that the result does not have.",
        "Read `detail` in the explanation of the decision: it names the rule, the field and the \
         remedy. A person reviews the case.",
    ),
    (
        EVIDENCE_MALFORMED,
        "The result has a field that cannot be what the provider documents.",
        "A person reviews the case. If it happens often, compare the stored result with the \
         provider's documentation.",
    ),
    (
        NO_RULE_MATCHED,
        "No rule of the policy matched the result.",
        "A person reviews the case. Add a rule for such results to the policy.",
    ),
];

fn reasons() -> Vec<Entry> {
    let built_in = BUILT_IN.iter().map(|(code, meaning, remedy)| Entry {
        kind: Kind::Reason,
        code: (*code).to_owned(),
        meaning: (*meaning).to_owned(),
        origin: "every policy: it is built in, with the outcome review".to_owned(),
        remedy: (*remedy).to_owned(),
    });
    let policy: toml::Table = texts::POLICY.parse().unwrap_or_default();
    let mut entries: Vec<Entry> = built_in.collect();
    for rule in policy["rule"].as_array().into_iter().flatten() {
        let text = |key: &str| rule.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let code = text("reason");
        if entries.iter().any(|entry| entry.code == code) {
            continue;
        }
        let says = rule.get("text").and_then(|texts| texts.get("en")?.as_str());
        let (id, outcome) = (text("id"), text("outcome"));
        let remedy = match outcome {
            "approve" => "Nothing: the person may pass.",
            "retry" => "Show the person the text, and start another verification.",
            "review" => "A person reviews the case, in the console or over the API.",
            _ => "Refuse the person. If the person objects, review the decision.",
        };
        entries.push(Entry {
            kind: Kind::Reason,
            code: code.to_owned(),
            meaning: says.unwrap_or_default().to_owned(),
            origin: format!(
                "the rule `{id}` of the default policy, with the outcome {outcome}; another policy \
                 may use the code otherwise (`verdict policy show`)"
            ),
            remedy: remedy.to_owned(),
        });
    }
    entries
}

fn review_reasons() -> Vec<Entry> {
    let defaults: toml::Table = texts::DEFAULTS.parse().unwrap_or_default();
    let reasons = defaults["reviews"].get("reasons").and_then(toml::Value::as_table);
    let entry = |(code, reason): (&String, &toml::Value)| {
        let outcomes = reason.get("outcomes").and_then(toml::Value::as_array);
        let outcomes = outcomes.into_iter().flatten().filter_map(toml::Value::as_str);
        Entry {
            kind: Kind::ReviewReason,
            code: code.clone(),
            meaning: reason.get("en").and_then(toml::Value::as_str).unwrap_or_default().to_owned(),
            origin: format!(
                "a reviewer, who may choose it for: {}",
                outcomes.collect::<Vec<_>>().join(", ")
            ),
            remedy: "Read the review (`verdict show ID`): it names the reviewer. Another review \
                     replaces the decision."
                .to_owned(),
        }
    };
    reasons.into_iter().flatten().map(entry).collect()
}

fn failure(reason: FailureReason) -> Entry {
    let (meaning, remedy) = reason.text().split_once(": ").unwrap_or((reason.text(), ""));
    Entry {
        kind: Kind::Failure,
        code: reason.code().to_owned(),
        meaning: format!("{meaning}."),
        origin: "`failure.code` of a verification in the state failed".to_owned(),
        remedy: upper_first(remedy),
    }
}

fn cause(cause: Cause) -> Entry {
    Entry {
        kind: Kind::Cause,
        code: cause.code().to_owned(),
        meaning: format!("{}.", upper_first(cause.says())),
        origin: "the field `cause` of log lines, and the metric `verdict_faults_total`".to_owned(),
        remedy: format!("{}.", upper_first(cause.advice())),
    }
}

fn log_line([message, level, fields, meaning]: &[String; 4], runbook: &[Section]) -> Entry {
    let fields = match fields.as_str() {
        "" => String::new(),
        fields => format!(", with the fields {fields}"),
    };
    // The runbook often quotes the beginning alone.
    let beginning = message.split([':', ';']).next().unwrap_or_default();
    let quoted = format!("`{beginning}");
    let sections = runbook.iter().filter(|section| section.text.contains(&quoted));
    let sections: Vec<String> =
        sections.map(|section| format!("docs/game-day.md#{}", section.anchor())).collect();
    let remedy = match (sections.is_empty(), level.as_str()) {
        (false, _) => format!("See {}.", sections.join(", ")),
        (true, "error" | "warn") => {
            "Do what the meaning says. `verdict doctor` looks for the cause; `verdict explain` \
             explains the field `cause`."
                .to_owned()
        }
        (true, _) => "Nothing: it reports what happens.".to_owned(),
    };
    Entry {
        kind: Kind::LogLine,
        code: message.clone(),
        meaning: upper_first(&texts::without_links(meaning)),
        origin: format!("the log, level {level}{fields}"),
        remedy,
    }
}

fn metrics() -> Vec<Entry> {
    let alerts = texts::alerts();
    let entry = |metric: &verdict::telemetry::metrics::Metric| {
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!(", by {}", labels.join(", ")),
        };
        let watching = alerts.iter().filter(|alert| mentions(alert.text, metric.name));
        let watching: Vec<&str> = watching.map(|alert| alert.name).collect();
        let remedy = if watching.is_empty() {
            "No alert uses it: it is there for dashboards and for looking closer.".to_owned()
        } else {
            format!("Alerts that use it: {}.", watching.join(", "))
        };
        Entry {
            kind: Kind::Metric,
            code: metric.name.to_owned(),
            meaning: format!("{}.", metric.help.trim_end_matches('.')),
            origin: format!("/metrics of [operations], a {}{labels}", metric.kind.as_str()),
            remedy,
        }
    };
    METRICS.iter().map(entry).collect()
}

/// The metric itself, or a series of its histogram.
fn mentions(text: &str, metric: &str) -> bool {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(metric).any(|(at, _)| {
        let rest = &text[at + metric.len()..];
        let rest = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|series| rest.strip_prefix(series))
            .unwrap_or(rest);
        !rest.starts_with(in_word) && !text[..at].ends_with(in_word)
    })
}

fn of_alert(alert: &texts::Alert, runbook: &[Section]) -> Entry {
    let section = runbook.iter().find(|section| section.anchor() == alert.anchor);
    let part = |name: &str| section.and_then(|section| section.part(name)).unwrap_or_default();
    let mut remedy = String::new();
    for (name, label) in [("Look", "Look: "), ("Do", "Do: "), ("Over", "Over: ")] {
        if !part(name).is_empty() {
            remedy = format!("{remedy}{label}{}\n", part(name));
        }
    }
    Entry {
        kind: Kind::Alert,
        code: alert.name.to_owned(),
        meaning: format!("{}.\n{}", alert.summary, part("Means")).trim().to_owned(),
        origin: format!(
            "deploy/prometheus/rules.yml, severity {}; runbook: docs/game-day.md#{}",
            alert.severity, alert.anchor
        ),
        remedy: remedy.trim().to_owned(),
    }
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn codes(kind: Kind) -> Vec<String> {
        let all = entries().into_iter().filter(|entry| entry.kind == kind);
        all.map(|entry| entry.code).collect()
    }

    #[test]
    fn every_code_is_explained() {
        let count = |kind| codes(kind).len();
        assert_eq!(count(Kind::Problem), Code::ALL.len());
        assert_eq!(count(Kind::Failure), FailureReason::ALL.len());
        assert_eq!(count(Kind::Cause), Cause::ALL.len());
        assert_eq!(count(Kind::Metric), METRICS.len());
        let alerts = texts::ALERTS.lines().filter(|line| line.trim().starts_with("- alert:"));
        assert_eq!(count(Kind::Alert), alerts.count());
        let lines = texts::OBSERVABILITY.split_once(texts::LOG_TABLE).expect("the table").1;
        let rows = lines.lines().skip(2).take_while(|line| line.starts_with('|')).count();
        assert!(rows > 50, "only {rows} log lines");
        assert_eq!(count(Kind::LogLine), rows);
        let used = texts::POLICY.lines().filter_map(|line| line.strip_prefix("reason = \""));
        let used: BTreeSet<&str> = used.map(|code| code.trim_end_matches('"')).collect();
        let explained = codes(Kind::Reason);
        assert!(used.iter().all(|code| explained.iter().any(|known| known == code)));
        assert_eq!(explained.len(), used.len() + BUILT_IN.len());
        let offered = texts::DEFAULTS.matches("\n[reviews.reasons.").count();
        assert_eq!(count(Kind::ReviewReason), offered);
    }

    /// The policies' crate declares its built-in reasons as constants.
    #[test]
    fn every_built_in_reason_is_explained() {
        let source = include_str!("../../../../crates/policy/src/policy.rs");
        let declared = source.lines().filter_map(|line| {
            let (_, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
            value.strip_suffix("\";")
        });
        let mut declared: Vec<&str> = declared.collect();
        let mut explained = BUILT_IN.map(|(code, ..)| code);
        declared.sort_unstable();
        explained.sort_unstable();
        assert_eq!(declared, explained);
    }

    #[test]
    fn every_explanation_is_whole() {
        for entry in entries() {
            let Entry { code, meaning, origin, remedy, .. } = &entry;
            let texts = [code, meaning, origin, remedy];
            assert!(texts.iter().all(|text| text.trim().len() > 1), "{entry:?}");
            assert!(!meaning.contains("]("), "{entry:?}");
        }
        for alert in texts::alerts() {
            let explained = entries().into_iter().find(|entry| entry.code == alert.name);
            let explained = explained.expect(alert.name);
            assert!(["critical", "warning", "info"].contains(&alert.severity), "{}", alert.name);
            assert!(explained.meaning.contains(alert.name), "{}: no section", alert.name);
            assert!(explained.remedy.contains("Look: "), "{}: nothing to do", alert.name);
        }
    }

    #[test]
    fn metric_is_not_mistaken_for_another_with_a_longer_name() {
        assert!(mentions("rate(verdict_a_seconds_bucket[5m])", "verdict_a_seconds"));
        assert!(!mentions("verdict_a_seconds_late", "verdict_a_seconds"));
        assert!(!mentions("my_verdict_a", "verdict_a"));
    }
}
