//! Conditions, from TOML to their compiled form.

use std::ops::Range;

use strum::VariantArray;
use toml::de::{DeTable, DeValue};

use super::limits::{MOST_COMPARISONS, MOST_VALUES};
use super::mistakes::{self, Wanted};
use super::reader::{Item, Reader, span_of};
use super::spelling::suggest;
use super::wording::{MOST_HINT_CHARS, article, quote, shorten_code};
use crate::condition::{Bound, Condition, Leaf, OPERATORS, Test};
use crate::evidence::FaceQuality;
use crate::field::{Field, Kind};

/// Deepest nesting of `all`, `any` and `not`.
const MAX_DEPTH: usize = 32;

/// The vendor's table of false-accept rates, the same for all three scores.
const NAMED_BOUNDS: [(&str, f64); 4] =
    [("far-0.001%", 95.0), ("far-0.01%", 90.0), ("far-0.1%", 80.0), ("far-1%", 60.0)];

const LEAF_KEYS: [&str; 11] =
    ["field", "missing", "eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "exists"];
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
    if item.get_ref().is_array() && matches!(operator, "eq" | "ne") && fits("in", field.kind()) {
        let list = if operator == "eq" { "in" } else { "not_in" };
        let message =
            format!("`{operator}` takes one value: write {list} = {}", reader.source(item.span()));
        return reader.error(item.span(), message);
    }
    match operator {
        "exists" => flag(reader, item, "`exists`").map(Test::Exists),
        "in" | "not_in" => members(reader, field, operator, item)
            .map(|bounds| Test::Member(operator == "in", bounds)),
        compare => {
            let compare = compare.parse().ok()?;
            bound(reader, field, item).map(|bound| Test::Compare(compare, bound))
        }
    }
}

/// Flags and texts have no order. Scores are measured, so that meeting one exactly, as sets ask,
/// is chance.
fn fits(operator: &str, kind: Kind) -> bool {
    match operator {
        "in" | "not_in" => !matches!(kind, Kind::Flag | Kind::Score),
        "lt" | "le" | "gt" | "ge" => !matches!(kind, Kind::Flag | Kind::Text),
        _ => true,
    }
}

fn holds(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "true or false",
        Kind::Whole => "a whole number",
        Kind::Score => "a score from 0 to 100",
        Kind::Quality => "a face quality",
        Kind::Text => "a text",
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
        (Kind::Score, DeValue::Integer(_) | DeValue::Float(_) | DeValue::String(_)) => {
            score(reader, field, item).map(Bound::Score)
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
                Kind::Whole | Kind::Score => Wanted::Number,
                Kind::Quality | Kind::Text => Wanted::Text,
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
