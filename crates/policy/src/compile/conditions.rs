//! Conditions, from TOML to their compiled form.

use std::ops::Range;

use strum::VariantArray;
use toml::de::{DeTable, DeValue};

use super::limits::{MAX_CODE_DIGITS, MAX_LABEL_CHARS, MOST_COMPARISONS, MOST_VALUES};
use super::mistakes::{self, Wanted};
use super::reader::{Item, Reader, span_of};
use super::spelling::{in_our_case, suggest};
use super::wording::{MOST_HINT_CHARS, article, quote, shorten_code};
use crate::condition::{Bound, Condition, Leaf, OPERATORS, Test};
use crate::evidence::FaceQuality;
use crate::field::{Field, Kind};

/// Deepest nesting of `all`, `any` and `not`.
const MAX_DEPTH: usize = 32;

/// The vendor's table of false-accept rates, the same for all three scores of `verify-result`. There
/// is none for `face-verify`.
const NAMED_BOUNDS: [(&str, f64); 4] =
    [("far-0.001%", 95.0), ("far-0.01%", 90.0), ("far-0.1%", 80.0), ("far-1%", 60.0)];

const LEAF_KEYS: [&str; 13] = [
    "field",
    "missing",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "not_in",
    "contains_any",
    "contains_none",
    "exists",
];
const JOINTS: [&str; 3] = ["all", "any", "not"];

/// The message about a value that is no condition.
fn no_condition(item: &Item<'_>) -> String {
    match item.get_ref() {
        DeValue::Array(_) => {
            "a condition is needed here, not a list: write { all = [ … ] } where all \
             of the list must hold, { any = [ … ] } where one is enough"
                .to_owned()
        }
        DeValue::String(text) if let Some(instead) = mistakes::infix(text) => {
            format!(
                "a condition is a table, not a text: write {}",
                shorten_code(&instead, MOST_HINT_CHARS)
            )
        }
        _ => "a condition is a table: { field = \"status\", eq = 1 }, { all = [ … ] }, \
              { any = [ … ] } or { not = … }"
            .to_owned(),
    }
}

/// Reads a condition; `depth` counts from 1.
pub fn condition(reader: &mut Reader<'_>, item: &Item<'_>, depth: usize) -> Option<Condition> {
    if depth > MAX_DEPTH {
        return reader.error(item.span(), "conditions nest at most 32 deep");
    }
    let table = reader.table(item, &no_condition(item))?;
    match JOINTS.iter().find_map(|joint| Some((*joint, table.get(*joint)?))) {
        None => leaf(reader, table, item.span()).map(Condition::Leaf),
        Some((joint, inner)) => {
            if table.len() > 1 {
                let message = format!(
                    "`{joint}` must be alone in its table: move the other keys into its list"
                );
                return reader.error(item.span(), message);
            }
            match joint {
                "not" => Some(Condition::Not(Box::new(condition(reader, inner, depth + 1)?))),
                "all" => parts(reader, joint, inner, depth).map(Condition::All),
                _ => parts(reader, joint, inner, depth).map(Condition::Any),
            }
        }
    }
}

fn parts(
    reader: &mut Reader<'_>,
    joint: &str,
    item: &Item<'_>,
    depth: usize,
) -> Option<Vec<Condition>> {
    let Some(items) = item.get_ref().as_array() else {
        let message = match item.get_ref() {
            DeValue::Table(_) => format!(
                "`{joint}` takes a list of conditions: put [ and ] around them, {joint} = [ {{ … }} ]"
            ),
            _ => format!("`{joint}` takes a list of conditions"),
        };
        return reader.error(item.span(), message);
    };
    if items.is_empty() {
        return reader.error(item.span(), format!("`{joint}` needs at least one condition"));
    }
    // One that cannot be read does not keep the others from being reported.
    let mut parts = Some(Vec::new());
    for part in items {
        if reader.is_full() || reader.exceeds(reader.comparisons.len(), MOST_COMPARISONS) {
            return None;
        }
        let part = condition(reader, part, depth + 1);
        parts = parts.zip(part).map(|(mut parts, part)| {
            parts.push(part);
            parts
        });
    }
    parts
}

fn leaf(reader: &mut Reader<'_>, table: &DeTable<'_>, span: Range<usize>) -> Option<Leaf> {
    if !table.contains_key("field")
        && let Some((word, joint)) = mistakes::joint(table)
    {
        let form = if joint == "not" { "{ not = { … } }" } else { "[ … ]" };
        let write =
            if joint == "not" { form.to_owned() } else { format!("{{ {joint} = {form} }}") };
        return reader.error(span, format!("there is no {word}: write {write}"));
    }
    if let Some(instead) = mistakes::comparison(reader.text, table) {
        let instead = shorten_code(&instead, MOST_HINT_CHARS);
        let message = format!("a comparison has a field and one operator: write {instead}");
        return reader.error(span, message);
    }
    reader.keys(table, &LEAF_KEYS, mistakes::OPERATOR_ALIASES, "a comparison");
    let name = reader.text(table, "field", Some(span.clone()), "a comparison");
    let field = name.and_then(|name| field(reader, &name, span_of(table, "field")));
    let mut used = OPERATORS.iter().filter_map(|operator| Some((*operator, table.get(*operator)?)));
    let (Some((operator, item)), None) = (used.next(), used.next()) else {
        if !table.keys().all(|key| LEAF_KEYS.contains(&key.get_ref().as_ref())) {
            // The unknown key is probably the operator, and `keys` has reported it.
            return None;
        }
        let message = format!("a comparison needs exactly one of {}", OPERATORS.join(", "));
        return reader.error(span.clone(), message);
    };
    let missing = match table.get("missing") {
        None => None,
        Some(item) if operator == "exists" => {
            return reader
                .error(item.span(), "`exists` takes no `missing`: it tests for absence itself");
        }
        Some(item) => Some(flag(reader, item, "`missing`")?),
    };
    let field = field?;
    let test = test(reader, field, operator, item)?;
    reader.comparisons.push(span);
    Some(Leaf { field, test, missing })
}

/// The field so spelt.
pub fn field(reader: &mut Reader<'_>, name: &str, span: Range<usize>) -> Option<Field> {
    Field::parse(name).or_else(|| {
        let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
        let hint = suggest(name, &known, mistakes::FIELD_ALIASES);
        let message = format!("there is no field {}{hint}", quote(name));
        reader.error(span, message)
    })
}

fn test(reader: &mut Reader<'_>, field: Field, operator: &str, item: &Item<'_>) -> Option<Test> {
    if !fits(operator, field.kind()) {
        let fitting: Vec<&str> =
            OPERATORS.into_iter().filter(|operator| fits(operator, field.kind())).collect();
        let message = format!(
            "`{operator}` does not fit `{}`, which holds {}; use {}",
            field.name(),
            holds(field.kind()),
            fitting.join(", ")
        );
        return reader.error(item.span(), message);
    }
    if item.get_ref().is_array()
        && field.kind() != Kind::Labels
        && matches!(operator, "eq" | "ne")
        && fits("in", field.kind())
    {
        let list = if operator == "eq" { "in" } else { "not_in" };
        let message =
            format!("`{operator}` takes one value: write {list} = {}", reader.source(item.span()));
        return reader.error(item.span(), message);
    }
    match operator {
        "exists" => flag(reader, item, "`exists`").map(Test::Exists),
        "in" | "not_in" => members(reader, field, operator, item)
            .map(|bounds| Test::Member(operator == "in", bounds)),
        "contains_any" | "contains_none" => members(reader, field, operator, item)
            .map(|labels| Test::Contains(operator == "contains_any", labels)),
        compare => {
            let compare = compare.parse().ok()?;
            bound(reader, field, item).map(|bound| Test::Compare(compare, bound))
        }
    }
}

/// Flags and texts have no order. Scores are measured, so that meeting one exactly, as sets ask,
/// is chance. Of a set of labels only its labels are asked for: nobody knows all that there are.
fn fits(operator: &str, kind: Kind) -> bool {
    match operator {
        "exists" => true,
        "contains_any" | "contains_none" => kind == Kind::Labels,
        _ if kind == Kind::Labels => false,
        "in" | "not_in" => !matches!(kind, Kind::Flag | Kind::Score | Kind::Fraction),
        "lt" | "le" | "gt" | "ge" => !matches!(kind, Kind::Flag | Kind::Text | Kind::Word),
        _ => true,
    }
}

fn holds(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "true or false",
        Kind::Whole => "a whole number",
        Kind::Score => "a score from 0 to 100",
        Kind::Fraction => "a score from 0 to 1",
        Kind::Quality => "a face quality",
        Kind::Text => "a text",
        Kind::Word => "one word of a closed list",
        Kind::Labels => "a set of labels",
    }
}

fn members(
    reader: &mut Reader<'_>,
    field: Field,
    operator: &str,
    item: &Item<'_>,
) -> Option<Vec<Bound>> {
    match item.get_ref().as_array() {
        Some(items) if reader.exceeds(items.len(), MOST_VALUES) => {
            reader.error(item.span(), format!("a list has at most {MOST_VALUES} values"))
        }
        Some(items) if !items.is_empty() => {
            let bounds: Vec<_> = items.iter().map(|item| bound(reader, field, item)).collect();
            bounds.into_iter().collect()
        }
        _ => {
            let hint = match item.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => String::new(),
                _ => format!(": write {operator} = [{}]", reader.source(item.span())),
            };
            let message = format!("`{operator}` takes a list with at least one value{hint}");
            reader.error(item.span(), message)
        }
    }
}

/// Reads a set of labels that evidence could have.
pub fn labels(reader: &mut Reader<'_>, field: Field, item: &Item<'_>) -> Option<Vec<String>> {
    let Some(items) = item.get_ref().as_array() else {
        let message = format!("`{}` holds a set of labels: write [\"ROOT\", …]", field.name());
        return reader.error(item.span(), message);
    };
    let labels = items.iter().map(|item| match bound(reader, field, item)? {
        Bound::Text(label) => Some(label),
        _ => None,
    });
    let mut labels: Vec<String> = labels.collect::<Option<_>>()?;
    labels.sort_unstable();
    labels.dedup();
    Some(labels)
}

fn flag(reader: &mut Reader<'_>, item: &Item<'_>, what: &str) -> Option<bool> {
    item.get_ref().as_bool().or_else(|| {
        let found = item.get_ref();
        let hint = mistakes::instead(Wanted::Flag, found);
        let message = format!("{what} must be true or false, not {}{hint}", article(found));
        reader.error(item.span(), message)
    })
}

/// Reads a value that a field could have.
pub fn bound(reader: &mut Reader<'_>, field: Field, item: &Item<'_>) -> Option<Bound> {
    match (field.kind(), item.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Some(Bound::Flag(*flag)),
        (Kind::Whole, DeValue::Integer(_)) => whole(reader, field, item).map(Bound::Whole),
        (
            Kind::Score | Kind::Fraction,
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::String(_),
        ) => score(reader, field, item).map(Bound::Score),
        (Kind::Word, DeValue::String(word)) => self::word(reader, field, word, item.span()),
        (Kind::Labels, DeValue::String(label)) => self::label(reader, field, label, item.span()),
        (Kind::Text, DeValue::String(text)) if field == Field::Code => {
            code(reader, text, item.span())
        }
        (Kind::Quality, DeValue::String(word)) => {
            word.parse().ok().map(Bound::Quality).or_else(|| {
                let known: Vec<&str> = FaceQuality::VARIANTS.iter().map(|q| q.as_str()).collect();
                let hint = suggest(word, &known, &[]);
                let message = format!("there is no face quality {}{hint}", quote(word));
                reader.error(item.span(), message)
            })
        }
        (Kind::Text, DeValue::String(text)) => Some(Bound::Text(text.as_ref().to_owned())),
        (kind, other) => {
            let wanted = match kind {
                Kind::Flag => Wanted::Flag,
                Kind::Whole | Kind::Score | Kind::Fraction => Wanted::Number,
                Kind::Quality | Kind::Text | Kind::Word | Kind::Labels => Wanted::Text,
            };
            let hint = match other {
                DeValue::Array(_) => "; compare it with one value".to_owned(),
                other => mistakes::instead(wanted, other),
            };
            let (name, article) = (field.name(), article(other));
            let message = format!("`{name}` holds {}, not {article}{hint}", holds(kind));
            reader.error(item.span(), message)
        }
    }
}

fn word(reader: &mut Reader<'_>, field: Field, word: &str, span: Range<usize>) -> Option<Bound> {
    if field.words().contains(&word) {
        return Some(Bound::Text(word.to_owned()));
    }
    let hint = suggest(word, field.words(), mistakes::WORD_ALIASES);
    let message = format!("`{}` is never {}{hint}", field.name(), quote(word));
    reader.error(span, message)
}

/// A label as the decoder keeps it.
fn label(reader: &mut Reader<'_>, field: Field, label: &str, span: Range<usize>) -> Option<Bound> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_CHARS).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if is_label(label) {
        return Some(Bound::Text(label.to_owned()));
    }
    let ours = in_our_case(label).to_ascii_uppercase();
    let hint = if is_label(&ours) { format!("; write \"{ours}\"") } else { String::new() };
    let message = format!(
        "labels of `{}` are of A-Z, 0-9 and _, at most {MAX_LABEL_CHARS} characters, not {}{hint}",
        field.name(),
        quote(label)
    );
    reader.error(span, message)
}

/// A code as the provider sends it: digits, and for the unfinished statuses a sign.
fn code(reader: &mut Reader<'_>, code: &str, span: Range<usize>) -> Option<Bound> {
    let digits = code.strip_prefix('-').unwrap_or(code);
    let fits = (1..=MAX_CODE_DIGITS).contains(&digits.len());
    if fits && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(Bound::Text(code.to_owned()));
    }
    let message = format!(
        "`code` holds digits, at most {MAX_CODE_DIGITS}, such as \"204\", not {}",
        quote(code)
    );
    reader.error(span, message)
}

fn whole(reader: &mut Reader<'_>, field: Field, item: &Item<'_>) -> Option<i64> {
    let number = item
        .get_ref()
        .as_integer()
        .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
    let Some(number) = number else {
        return reader.error(item.span(), "this number is too large");
    };
    match field.range() {
        Some((least, most)) if !(least..=most).contains(&number) => {
            let message = format!("`{}` is between {least} and {most}", field.name());
            reader.error(item.span(), message)
        }
        _ => Some(number),
    }
}

fn score(reader: &mut Reader<'_>, field: Field, item: &Item<'_>) -> Option<f64> {
    let score = match item.get_ref() {
        DeValue::String(name) if !field.has_named_bounds() => {
            let known =
                NAMED_BOUNDS.iter().any(|(known, _)| known == name) || name.starts_with("far");
            let message = if known {
                format!(
                    "`{}` takes no named bound such as {}: the vendor publishes rates of false \
                     accepts for the scores of verify-result only; write a number",
                    field.name(),
                    quote(name)
                )
            } else {
                let hint = mistakes::instead(Wanted::Number, item.get_ref());
                format!("`{}` holds {}, not a text{hint}", field.name(), holds(field.kind()))
            };
            return reader.error(item.span(), message);
        }
        DeValue::String(name) => {
            let known = NAMED_BOUNDS.map(|(name, _)| name);
            let named = NAMED_BOUNDS.into_iter().find(|(known, _)| known == name);
            return named.map(|(_, score)| score).or_else(|| {
                let hint = mistakes::value(Wanted::Number, item.get_ref());
                let hint =
                    hint.map_or_else(|| suggest(name, &known, &[]), |hint| format!("; {hint}"));
                reader.error(item.span(), format!("there is no bound named {}{hint}", quote(name)))
            });
        }
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        _ => None,
    };
    if field.kind() == Kind::Fraction {
        return score.filter(|score| (0.0..=1.0).contains(score)).or_else(|| {
            let share = score.filter(|score| (1.0..=100.0).contains(score));
            let hint = share.map(|share| format!(": write {} if a share was meant", share / 100.0));
            let message =
                format!("`{}` goes from 0 to 1{}", field.name(), hint.unwrap_or_default());
            reader.error(item.span(), message)
        });
    }
    if let Some(share) = score.filter(|score| *score > 0.0 && *score < 1.0) {
        let message = format!(
            "`{}` goes from 0 to 100, and {share} is almost 0: write {} if a share was meant",
            field.name(),
            share * 100.0
        );
        reader.diagnostics.warn(item.span(), message);
    }
    score.filter(|score| (0.0..=100.0).contains(score)).or_else(|| {
        let message = format!("`{}` is a score: its bounds lie between 0 and 100", field.name());
        reader.error(item.span(), message)
    })
}
