//! Rules, from TOML to their compiled form.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use super::conditions;
use super::limits::{MAX_CODE_CHARS, MOST_COMPARISONS, MOST_RULES};
use super::mistakes;
use super::reader::{Reader, span_of};
use super::spelling::suggest;
use super::wording::quote;
use crate::decision::Outcome;
use crate::policy::BUILT_IN;
use crate::rule::{LocatedRule, Rule};
use crate::visible::shorten;

const RULE_KEYS: &[&str] = &["id", "reason", "outcome", "text", "when"];

/// Reads every `[[rule]]`.
pub fn rules(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Vec<LocatedRule> {
    let mut rules: Vec<LocatedRule> = Vec::new();
    let tables = reader.tables(document, "rule");
    if reader.exceeds(tables.len(), MOST_RULES) {
        reader.error_overall::<()>(format!("a policy has at most {MOST_RULES} rules"));
        return rules;
    }
    for (item, table) in tables {
        if reader.is_full() {
            break;
        }
        let span = item.span();
        let id = table.get("id").and_then(|id| id.get_ref().as_str());
        reader.diagnostics.rule = id.map(|id| shorten(id, MAX_CODE_CHARS));
        reader.comparisons.clear();
        if let Some(rule) = rule(reader, table, &span) {
            refuse_doubles(reader, &rules, &rule, table);
            let (when, text) = (span_of(table, "when"), span_of(table, "text"));
            let comparisons = std::mem::take(&mut reader.comparisons);
            rules.push(LocatedRule { rule, when, comparisons, text });
        }
        reader.diagnostics.rule = None;
    }
    if rules.is_empty() && !reader.diagnostics.has_errors() {
        reader.error_overall::<()>("a policy needs at least one [[rule]]");
    }
    rules
}

fn refuse_doubles(
    reader: &mut Reader<'_>,
    earlier: &[LocatedRule],
    rule: &Rule,
    table: &DeTable<'_>,
) {
    if earlier.iter().any(|other| other.rule.id == rule.id) {
        reader.error::<()>(span_of(table, "id"), "another rule has the same id");
    }
    if let Some(other) = earlier.iter().find(|other| other.rule.reason == rule.reason) {
        let message = format!(
            "the rule `{}` already gives the reason `{}`; each rule needs a reason of its own",
            other.rule.id, rule.reason
        );
        reader.error::<()>(span_of(table, "reason"), message);
    }
}

fn rule(reader: &mut Reader<'_>, table: &DeTable<'_>, span: &Range<usize>) -> Option<Rule> {
    reader.keys(table, RULE_KEYS, mistakes::RULE_ALIASES, "a rule");
    let at = Some(span.clone());
    let id = code(reader, table, "id", at.clone());
    let reason = code(reader, table, "reason", at.clone());
    if let Some(code) = reason.as_deref().filter(|code| BUILT_IN.iter().any(|b| b.0 == *code)) {
        let message = format!("the reason `{code}` is built in; choose another one");
        reader.error::<()>(span_of(table, "reason"), message);
    }
    let outcome = outcome(reader, table, at.clone(), "a rule");
    let texts = texts(reader, table, span);
    let when = match table.get("when") {
        Some(item) => conditions::condition(reader, item, 1),
        None => reader.error(span.clone(), "a rule needs `when`"),
    };
    if reader.exceeds(reader.comparisons.len(), MOST_COMPARISONS) {
        let message = format!("a rule has at most {MOST_COMPARISONS} comparisons");
        reader.error::<()>(span_of(table, "when"), message);
    }
    Some(Rule { id: id?, reason: reason?, outcome: outcome?, texts: texts?, when: when? })
}

/// A kebab-case word: what callers switch on, and a label of metrics.
fn code(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    key: &str,
    span: Option<Range<usize>>,
) -> Option<String> {
    let code = reader.text(table, key, span, "a rule")?;
    let fits = code.len() <= MAX_CODE_CHARS
        && code.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    if fits {
        return Some(code);
    }
    let message = format!(
        "`{key}` must be kebab-case (a-z, 0-9, single hyphens, at most 64 characters), not {}{}",
        quote(&code),
        in_kebab_case(&code).map(|code| format!("; write \"{code}\"")).unwrap_or_default()
    );
    reader.error(span_of(table, key), message)
}

/// The same words in kebab-case, if anything is left of them.
fn in_kebab_case(code: &str) -> Option<String> {
    let code: String = code.chars().take(MAX_CODE_CHARS).collect();
    let words = code.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    let is_ascii = code.is_ascii() && !words.is_empty();
    is_ascii.then(|| words.join("-"))
}

/// The outcome that a rule gives, or that an example expects.
pub fn outcome(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    span: Option<Range<usize>>,
    what: &str,
) -> Option<Outcome> {
    let text = reader.text(table, "outcome", span, what)?;
    Outcome::parse(&text).or_else(|| {
        let known = Outcome::ALL.map(Outcome::as_str);
        let hint = suggest(&text, &known, mistakes::OUTCOME_ALIASES);
        let message = format!("there is no outcome {}{hint}", quote(&text));
        reader.error(span_of(table, "outcome"), message)
    })
}

/// One text for each language, at least one.
fn texts(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    span: &Range<usize>,
) -> Option<BTreeMap<String, String>> {
    let Some(item) = table.get("text") else {
        return reader.error(span.clone(), "a rule needs `text = { en = \"…\" }`, in any language");
    };
    let form =
        "`text` must be a table with a text for each language, one is enough: { en = \"…\" }";
    let languages = reader.table(item, form)?;
    if languages.is_empty() {
        return reader.error(item.span(), "`text` needs a text in at least one language");
    }
    // One that cannot be read does not keep the others from being reported.
    let mut texts = Some(BTreeMap::new());
    for language in languages.keys() {
        let tag = language.get_ref().as_ref();
        let text = if is_language(tag) {
            reader.text(languages, tag, Some(item.span()), "`text`")
        } else {
            let message =
                format!("{} is no language: write a tag such as zh, en, ja or zh-Hant", quote(tag));
            reader.error(language.span(), message)
        };
        texts = texts.zip(text).map(|(mut texts, text)| {
            texts.insert(tag.to_owned(), text);
            texts
        });
    }
    texts
}

/// By its form: a tag of BCP 47 without extensions.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}
