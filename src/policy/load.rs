//! From text to policy. Goes on after an error where it can, to tell everything at once.

mod case;
mod conditions;
mod examples;
mod mistakes;
mod reader;
mod spelling;

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::effort::Effort;
use super::finding::{Finding, Severity};
use super::{BUILT_IN, Policy, Rule, check};
use crate::domain::decision::Outcome;
pub(super) use case::read as read_case;
use examples::Example;
pub(super) use reader::Reader;
use reader::{Item, Limits, quote, shorten};
use spelling::suggest;

/// Longest policy text, in bytes. The default policy takes a fiftieth of it.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Most rules of a policy, comparisons of a rule, and values of a list: reading stops there. They
/// bound what a decision may have to repeat in its reasons, and what a check has to compare.
const MOST_RULES: usize = 256;
const MOST_COMPARISONS: usize = 64;
const MOST_VALUES: usize = 64;
/// Longest rule id and reason, in characters.
const MAX_CODE_CHARS: usize = 64;

const TOP_KEYS: &[&str] = &["name", "rule", "example"];
const RULE_KEYS: &[&str] = &["id", "reason", "outcome", "text", "when"];

/// A rule, and where in the text it stands.
pub(super) struct Placed {
    pub(super) rule: Rule,
    /// Its condition as a whole.
    pub(super) when: Range<usize>,
    /// The comparisons of its condition, in their order.
    pub(super) comparisons: Vec<Range<usize>>,
    /// Its texts.
    pub(super) text: Range<usize>,
}

/// Severity of an example that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedExample {
    /// The policy is refused.
    Error,
    /// The policy can be tried.
    Warning,
}

/// See [`Policy::load_within`].
pub(super) fn load(
    text: &str,
    effort: &Effort,
    failed: FailedExample,
) -> Result<Policy, Vec<Finding>> {
    let mut reader = Reader::new(text, Limits::New);
    let policy = read(&mut reader, text).and_then(|(policy, placed, examples)| {
        check_all(&mut reader, &policy, &placed, &examples, effort, failed)?;
        Some(policy)
    });
    let mut findings = reader.into_findings();
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    match policy {
        Some(mut policy) if !failed => {
            policy.warnings = std::mem::take(&mut findings);
            Ok(policy)
        }
        _ => Err(findings),
    }
}

/// See [`Policy::load_stored`].
pub(super) fn load_stored(text: &str) -> Option<Policy> {
    read(&mut Reader::new(text, Limits::Stored), text).map(|(policy, ..)| policy)
}

/// Looks for errors first and for warnings last, so that the effort goes to errors.
fn check_all(
    reader: &mut Reader,
    policy: &Policy,
    placed: &[Placed],
    examples: &[Example],
    effort: &Effort,
    failed: FailedExample,
) -> Option<()> {
    check::check(reader, placed, effort);
    let steps: usize = placed.iter().map(|placed| check::decision_steps(&placed.rule)).sum();
    for example in examples {
        if !effort.spend(steps) {
            break;
        }
        example.run(reader, policy, failed);
    }
    if effort.is_spent() {
        return reader.error_overall(
            "this policy takes too much work to check, so it is refused; use fewer rules, \
             comparisons and examples, or shorter lists",
        );
    }
    check::lint(reader, placed, effort);
    Some(())
}

/// Reads a text without judging it as a whole.
fn read(reader: &mut Reader, text: &str) -> Option<(Policy, Vec<Placed>, Vec<Example>)> {
    if text.len() > MAX_TEXT_BYTES {
        return reader.error_overall("a policy is at most 256 KiB long");
    }
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            return reader.error(error.span().unwrap_or(0..0), reader::not_toml(&error, text));
        }
    };
    reader.keys(&document, TOP_KEYS, mistakes::TOP_ALIASES, "a policy");
    let name = reader.text(&document, "name", None, "a policy");
    let placed = rules(reader, &document);
    let examples = examples::parse(reader, &document);
    // What follows judges the rules together; with one of them missing it would mislead.
    if reader.has_errors() {
        return None;
    }
    let name = name?;
    check::source(reader, text);
    check::name(reader, &name, reader::span_of(&document, "name"));
    let policy = Policy {
        name,
        text: text.to_owned(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes()))),
        rules: placed.iter().map(|placed| placed.rule.clone()).collect(),
        warnings: Vec::new(),
    };
    Some((policy, placed, examples))
}

fn rules(reader: &mut Reader, document: &DeTable<'_>) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    let tables = reader.tables(document, "rule");
    if reader.exceeds(tables.len(), MOST_RULES) {
        reader.error_overall::<()>(format!("a policy has at most {MOST_RULES} rules"));
        return placed;
    }
    for (item, table) in tables {
        if reader.is_full() {
            break;
        }
        let span = item.span();
        let id = table.get("id").and_then(|id| id.get_ref().as_str());
        reader.rule = id.map(|id| shorten(id, MAX_CODE_CHARS));
        reader.comparisons.clear();
        if let Some(rule) = rule(reader, table, &span) {
            refuse_doubles(reader, &placed, &rule, table);
            let (when, text) = (reader::span_of(table, "when"), reader::span_of(table, "text"));
            let comparisons = std::mem::take(&mut reader.comparisons);
            placed.push(Placed { rule, when, comparisons, text });
        }
        reader.rule = None;
    }
    if placed.is_empty() && !reader.has_errors() {
        reader.error_overall::<()>("a policy needs at least one [[rule]]");
    }
    placed
}

fn refuse_doubles(reader: &mut Reader, placed: &[Placed], rule: &Rule, table: &DeTable<'_>) {
    if placed.iter().any(|earlier| earlier.rule.id == rule.id) {
        reader.error::<()>(reader::span_of(table, "id"), "another rule has the same id");
    }
    if let Some(earlier) = placed.iter().find(|earlier| earlier.rule.reason == rule.reason) {
        let message = format!(
            "the rule `{}` already gives the reason `{}`; a reason must tell which rule spoke",
            earlier.rule.id, rule.reason
        );
        reader.error::<()>(reader::span_of(table, "reason"), message);
    }
}

fn rule(reader: &mut Reader, table: &DeTable<'_>, span: &Range<usize>) -> Option<Rule> {
    reader.keys(table, RULE_KEYS, mistakes::RULE_ALIASES, "a rule");
    let at = Some(span.clone());
    let id = code(reader, table, "id", at.clone());
    let reason = code(reader, table, "reason", at.clone());
    if let Some(code) = reason.as_deref().filter(|code| BUILT_IN.iter().any(|b| b.0 == *code)) {
        let message = format!("the reason `{code}` is built in; choose another one");
        reader.error::<()>(reader::span_of(table, "reason"), message);
    }
    let outcome = outcome(reader, table, at.clone(), "a rule");
    let texts = texts(reader, table, span);
    let when = match table.get("when") {
        Some(item) => conditions::condition(reader, item, 1),
        None => reader.error(span.clone(), "a rule needs `when`"),
    };
    if reader.exceeds(reader.comparisons.len(), MOST_COMPARISONS) {
        let message = format!("a rule has at most {MOST_COMPARISONS} comparisons");
        reader.error::<()>(reader::span_of(table, "when"), message);
    }
    Some(Rule { id: id?, reason: reason?, outcome: outcome?, texts: texts?, when: when? })
}

/// A kebab-case word: what callers switch on, and what stands in metrics.
fn code(
    reader: &mut Reader,
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
    reader.error(reader::span_of(table, key), message)
}

/// The same words in kebab-case, if anything is left of them.
fn in_kebab_case(code: &str) -> Option<String> {
    let code: String = code.chars().take(MAX_CODE_CHARS).collect();
    let words = code.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    let is_ascii = code.is_ascii() && !words.is_empty();
    is_ascii.then(|| words.join("-"))
}

fn outcome(
    reader: &mut Reader,
    table: &DeTable<'_>,
    span: Option<Range<usize>>,
    what: &str,
) -> Option<Outcome> {
    let text = reader.text(table, "outcome", span, what)?;
    Outcome::parse(&text).or_else(|| {
        let known = Outcome::ALL.map(Outcome::as_str);
        let hint = suggest(&text, &known, mistakes::OUTCOME_ALIASES);
        let message = format!("there is no outcome {}{hint}", quote(&text));
        reader.error(reader::span_of(table, "outcome"), message)
    })
}

/// One text for each language, at least one.
fn texts(
    reader: &mut Reader,
    table: &DeTable<'_>,
    span: &Range<usize>,
) -> Option<BTreeMap<String, String>> {
    let Some(item) = table.get("text") else {
        return reader.error(span.clone(), "a rule needs `text = { en = \"…\" }`, in any language");
    };
    let form =
        "`text` must be a table with a text for each language, one is enough: { en = \"…\" }";
    let languages = table_of(reader, item, form)?;
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

fn table_of<'v, 'i>(
    reader: &mut Reader,
    item: &'v Item<'i>,
    otherwise: &str,
) -> Option<&'v DeTable<'i>> {
    match item.get_ref().as_table() {
        Some(table) => Some(table),
        None => reader.error(item.span(), otherwise),
    }
}
