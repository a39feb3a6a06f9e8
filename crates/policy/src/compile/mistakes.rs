//! Common mistakes of authors, mostly the syntax of other rule languages, and corrections for them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::spelling::{Alias, in_our_case};
use super::wording::{quote, source};
use crate::condition::OPERATORS;
use crate::field::Field;

/// Keys of the text as a whole.
pub const TOP_ALIASES: &[Alias] = &[
    ("title", "name"),
    ("policy", "name"),
    ("test", "example"),
    ("tests", "example"),
    ("case", "example"),
    ("cases", "example"),
];
/// Keys of a rule.
pub const RULE_ALIASES: &[Alias] = &[
    ("name", "id"),
    ("rule", "id"),
    ("code", "reason"),
    ("because", "reason"),
    ("action", "outcome"),
    ("decision", "outcome"),
    ("result", "outcome"),
    ("verdict", "outcome"),
    ("then", "outcome"),
    ("effect", "outcome"),
    ("message", "text"),
    ("description", "text"),
    ("texts", "text"),
    ("if", "when"),
    ("condition", "when"),
    ("conditions", "when"),
    ("where", "when"),
    ("match", "when"),
];
/// Keys of an example.
pub const EXAMPLE_ALIASES: &[Alias] = &[
    ("id", "name"),
    ("title", "name"),
    ("input", "evidence"),
    ("given", "evidence"),
    ("fields", "evidence"),
    ("expect", "outcome"),
    ("expected", "outcome"),
    ("expects", "outcome"),
    ("decision", "outcome"),
    ("result", "outcome"),
    ("then", "outcome"),
    ("reason", "reasons"),
    ("codes", "reasons"),
];
/// Outcomes.
pub const OUTCOME_ALIASES: &[Alias] = &[
    ("accept", "approve"),
    ("accepted", "approve"),
    ("allow", "approve"),
    ("approved", "approve"),
    ("pass", "approve"),
    ("passed", "approve"),
    ("ok", "approve"),
    ("again", "retry"),
    ("repeat", "retry"),
    ("try_again", "retry"),
    ("hold", "review"),
    ("manual", "review"),
    ("manual_review", "review"),
    ("human", "review"),
    ("block", "reject"),
    ("decline", "reject"),
    ("declined", "reject"),
    ("deny", "reject"),
    ("denied", "reject"),
    ("fail", "reject"),
    ("failed", "reject"),
    ("refuse", "reject"),
    ("rejected", "reject"),
];
/// Operators, and what else a comparison may hold.
pub const OPERATOR_ALIASES: &[Alias] = &[
    ("=", "eq"),
    ("==", "eq"),
    ("===", "eq"),
    ("equal", "eq"),
    ("equals", "eq"),
    ("is", "eq"),
    ("!=", "ne"),
    ("<>", "ne"),
    ("!==", "ne"),
    ("neq", "ne"),
    ("is_not", "ne"),
    ("not_eq", "ne"),
    ("not_equal", "ne"),
    ("not_equals", "ne"),
    ("<", "lt"),
    ("less", "lt"),
    ("less_than", "lt"),
    ("below", "lt"),
    ("under", "lt"),
    ("before", "lt"),
    ("<=", "le"),
    ("=<", "le"),
    ("≤", "le"),
    ("lte", "le"),
    ("leq", "le"),
    ("max", "le"),
    ("maximum", "le"),
    ("at_most", "le"),
    ("up_to", "le"),
    (">", "gt"),
    ("greater", "gt"),
    ("greater_than", "gt"),
    ("more_than", "gt"),
    ("above", "gt"),
    ("over", "gt"),
    ("after", "gt"),
    (">=", "ge"),
    ("=>", "ge"),
    ("≥", "ge"),
    ("gte", "ge"),
    ("geq", "ge"),
    ("min", "ge"),
    ("minimum", "ge"),
    ("at_least", "ge"),
    ("from", "ge"),
    ("any_of", "in"),
    ("one_of", "in"),
    ("oneof", "in"),
    ("is_in", "in"),
    ("contains", "contains_any"),
    ("has", "contains_any"),
    ("has_any", "contains_any"),
    ("includes", "contains_any"),
    ("intersects", "contains_any"),
    ("not_contains", "contains_none"),
    ("contains_not", "contains_none"),
    ("has_none", "contains_none"),
    ("excludes", "contains_none"),
    ("values", "in"),
    ("nin", "not_in"),
    ("notin", "not_in"),
    ("none_of", "not_in"),
    ("not_one_of", "not_in"),
    ("exist", "exists"),
    ("present", "exists"),
    ("is_present", "exists"),
    ("is_set", "exists"),
    ("absent", "missing"),
    ("if_missing", "missing"),
    ("default", "missing"),
    ("name", "field"),
    ("key", "field"),
    ("fact", "field"),
    ("attribute", "field"),
];
/// Words of closed lists: the spellings of the provider, and of code.
pub const WORD_ALIASES: &[Alias] = &[
    ("describe_verify_result", "verify-result"),
    ("verify_result", "verify-result"),
    ("describe_face_verify", "face-verify"),
    ("face_verify", "face-verify"),
    ("t", "passed"),
    ("true", "passed"),
    ("pass", "passed"),
    ("f", "not-passed"),
    ("false", "not-passed"),
    ("failed", "not-passed"),
    ("not_passed", "not-passed"),
    ("identity", "identity-data"),
    ("identity_data", "identity-data"),
    ("source", "source-cannot-tell"),
    ("source_cannot_tell", "source-cannot-tell"),
    ("attack", "attack-or-risk"),
    ("risk", "attack-or-risk"),
    ("attack_or_risk", "attack-or-risk"),
    ("card", "document"),
    ("other", "unknown"),
    ("others", "unknown"),
];
/// Joints of conditions.
pub const JOINT_ALIASES: &[Alias] = &[
    ("and", "all"),
    ("&&", "all"),
    ("all_of", "all"),
    ("allof", "all"),
    ("every", "all"),
    ("must", "all"),
    ("or", "any"),
    ("||", "any"),
    ("anyof", "any"),
    ("some", "any"),
    ("should", "any"),
    ("!", "not"),
    ("none", "not"),
    ("must_not", "not"),
];
/// Fields.
pub const FIELD_ALIASES: &[Alias] = &[
    ("verify_status", "status"),
    ("verification_status", "status"),
    ("sub_code", "code"),
    ("subcode", "code"),
    ("passed", "provider_outcome"),
    ("outcome", "provider_outcome"),
    ("verdict", "provider_outcome"),
    ("verify", "verify_score"),
    ("scores_verify", "verify_score"),
    ("scores_id_card", "id_card_score"),
    ("id_card_verify_score", "id_card_score"),
    ("scores_quality", "quality_score"),
    ("attack", "attack_score"),
    ("scores_attack", "attack_score"),
    ("face_attack_score", "attack_score"),
    ("face_occlusion", "face_occluded"),
    ("occluded", "face_occluded"),
    ("hat", "wear_hat"),
    ("wears_hat", "wear_hat"),
    ("risk", "device_risk"),
    ("device_risks", "device_risk"),
    ("risk_score", "guard_risk_score"),
    ("device_risk_score", "guard_risk_score"),
    ("result", "status"),
    ("score", "lowest_score"),
    ("scores", "lowest_score"),
    ("min_score", "lowest_score"),
    ("minimum_score", "lowest_score"),
    ("authority", "authority_score"),
    ("scores_authority", "authority_score"),
    ("authority_comparison_score", "authority_score"),
    ("face", "face_score"),
    ("scores_face", "face_score"),
    ("face_comparison_score", "face_score"),
    ("similarity", "lowest_score"),
    ("id_card_face", "id_card_face_score"),
    ("scores_id_card_face", "id_card_face_score"),
    ("id_card_score", "id_card_face_score"),
    ("card_score", "id_card_face_score"),
    ("score_count", "scores_present"),
    ("scores_count", "scores_present"),
    ("malformed", "malformed_fields"),
    ("quality", "face_quality"),
    ("image_quality", "face_quality"),
    ("mask", "face_mask"),
    ("wears_mask", "face_mask"),
    ("face_image", "has_face_image"),
    ("images_face", "has_face_image"),
    ("card_front", "has_card_front_image"),
    ("card_front_image", "has_card_front_image"),
    ("images_card_front", "has_card_front_image"),
    ("card_back", "has_card_back_image"),
    ("card_back_image", "has_card_back_image"),
    ("images_card_back", "has_card_back_image"),
    ("face_global", "has_face_global_image"),
    ("face_global_image", "has_face_global_image"),
    ("images_face_global", "has_face_global_image"),
    ("name", "name_matches"),
    ("name_match", "name_matches"),
    ("number", "number_matches"),
    ("number_match", "number_matches"),
    ("id_number", "number_matches"),
    ("id_number_matches", "number_matches"),
    ("days_left", "card_days_left"),
    ("card_days", "card_days_left"),
    ("card_expiry", "card_days_left"),
    ("card_expires", "card_days_left"),
    ("expiry", "card_days_left"),
    ("age", "age_years"),
    ("years", "age_years"),
    ("scene", "biz_type"),
    ("scene_id", "biz_type"),
    ("tries", "callbacks"),
    ("retries", "callbacks"),
    ("callback_count", "callbacks"),
    ("answer_count", "answers"),
    ("results", "answers"),
    ("queries", "calls"),
    ("requests", "calls"),
    ("earlier", "earlier_1d"),
    ("earlier_day", "earlier_1d"),
    ("last_day", "earlier_1d"),
    ("earlier_24h", "earlier_1d"),
    ("earlier_month", "earlier_30d"),
    ("last_30_days", "earlier_30d"),
];

/// Words beside `field` under which other languages put the operator, and its bound.
const OPERATOR_WORDS: [&str; 5] = ["op", "operator", "cmp", "comparison", "test"];
const BOUND_WORDS: [&str; 4] = ["value", "bound", "than", "threshold"];
/// Longest first, because one begins like another.
const SYMBOLS: [&str; 10] = ["===", "!==", ">=", "<=", "==", "!=", "<>", ">", "<", "="];
/// Signs of a Chinese keyboard or a word processor where TOML has ASCII.
const TYPOGRAPHIC: &[char] =
    &['“', '”', '‘', '’', '＂', '，', '；', '：', '＝', '｛', '｝', '［', '］', '（', '）'];

/// The operator that this word stands for.
fn operator(word: &str) -> Option<&'static str> {
    let word = in_our_case(word);
    let known = OPERATORS.into_iter().find(|known| *known == word);
    let alias = || OPERATOR_ALIASES.iter().find(|(written, _)| *written == word);
    known.or_else(|| Some(alias()?.1)).filter(|word| !["missing", "field"].contains(word))
}

/// The name of the field that this word stands for.
fn field(word: &str) -> Option<&'static str> {
    let word = in_our_case(word);
    let alias = || Some(FIELD_ALIASES.iter().find(|(written, _)| *written == word)?.1);
    Field::parse(&word).map(Field::name).or_else(alias)
}

/// The correct form of a table that is no comparison of our language.
pub fn comparison(text: &str, table: &DeTable<'_>) -> Option<String> {
    let text_of = |item: &Spanned<DeValue<'_>>| source(text, item.span());
    let get = |words: &[&str]| words.iter().find_map(|word| table.get(*word));
    let named = table.get("field").and_then(|item| item.get_ref().as_str());
    let name = named.map_or_else(|| "…".to_owned(), |name| field(name).unwrap_or(name).to_owned());
    let write =
        |operator: &str, bound: &str| format!("{{ field = \"{name}\", {operator} = {bound} }}");
    if let Some(item) = table.get("between").or_else(|| table.get("range")) {
        let (least, most) = match item.get_ref().as_array().map(|bounds| &bounds[..]) {
            Some([least, most]) => (text_of(least), text_of(most)),
            _ => ("…".to_owned(), "…".to_owned()),
        };
        return Some(format!("{{ all = [{}, {}] }}", write("ge", &least), write("le", &most)));
    }
    if let Some(bound) = get(&BOUND_WORDS) {
        let word = get(&OPERATOR_WORDS).and_then(|item| item.get_ref().as_str());
        return Some(write(word.and_then(operator).unwrap_or("eq"), &text_of(bound)));
    }
    if named.is_some() {
        let mut used: Vec<(usize, String)> = table
            .iter()
            .filter_map(|(key, item)| {
                Some((key.span().start, write(operator(key.get_ref())?, &text_of(item))))
            })
            .collect();
        used.sort_unstable();
        let used: Vec<String> = used.into_iter().map(|(_, comparison)| comparison).collect();
        return (used.len() > 1).then(|| format!("{{ all = [{}] }}", used.join(", ")));
    }
    let (key, item) = table.iter().next()?;
    let field = field(key.get_ref())?;
    let (operator, bound) = match item.get_ref() {
        DeValue::Table(inner) => {
            let (key, bound) = inner.iter().next()?;
            (operator(key.get_ref())?, text_of(bound))
        }
        DeValue::Array(_) => ("in", text_of(item)),
        _ => ("eq", text_of(item)),
    };
    Some(format!("{{ field = \"{field}\", {operator} = {bound} }}"))
}

/// The joint that a table of conditions means.
pub fn joint(table: &DeTable<'_>) -> Option<(String, &'static str)> {
    table.keys().find_map(|key| {
        let word = in_our_case(key.get_ref());
        let (_, meant) = JOINT_ALIASES.iter().find(|(written, _)| *written == word)?;
        Some((quote(key.get_ref()), *meant))
    })
}

/// The correct form of `lowest_score >= 90`, anywhere in a piece of text.
pub fn infix(text: &str) -> Option<String> {
    let (at, symbol) = SYMBOLS
        .iter()
        .filter(|symbol| **symbol != "=")
        .filter_map(|symbol| Some((text.find(symbol)?, *symbol)))
        .min_by_key(|(at, symbol)| (*at, usize::MAX - symbol.len()))?;
    let is_word = |c: char| c.is_alphanumeric() || "_.".contains(c);
    let before = text[..at].trim_end_matches(|c: char| c.is_whitespace() || c == '"');
    let word = before.rsplit(|c| !is_word(c)).next().unwrap_or_default();
    // `{ field = "lowest_score", >= 90 }`
    let after_field = || {
        let (_, rest) = before.rsplit_once("field")?;
        rest.split(|c| !is_word(c)).find(|word| !word.is_empty())
    };
    let name = field(word).or_else(|| field(after_field()?));
    let after = text[at + symbol.len()..].trim_start().trim_start_matches('=').trim_start();
    let end = after.find(|c: char| ",}]".contains(c) || c.is_whitespace()).unwrap_or(after.len());
    let bound = Some(&after[..end]).filter(|bound| !bound.is_empty()).unwrap_or("…");
    let name = name.unwrap_or("…");
    Some(format!("{{ field = \"{name}\", {} = {bound} }}", operator(symbol)?))
}

/// A correction for a text that is not TOML; `line` is where the parser stopped.
pub fn not_toml(line: &str) -> Option<String> {
    // A comment may hold anything.
    let code = line.split('#').next().unwrap_or_default();
    if let Some(sign) = code.chars().find(|char| TYPOGRAPHIC.contains(char)) {
        let straight = "write \" and other signs of ASCII";
        return Some(format!("`{sign}` is no sign of TOML outside of a text: {straight}"));
    }
    let in_text = |(at, _): &(usize, char)| code[..*at].matches('"').count() % 2 == 1;
    let outside: String = code
        .char_indices()
        .map(|place| if in_text(&place) && "<>=!".contains(place.1) { ' ' } else { place.1 })
        .collect();
    infix(&outside).map(|instead| format!("write a comparison as {instead}"))
}

/// A correction for a value of another kind than the field holds.
pub fn value(wanted: Wanted, value: &DeValue<'_>) -> Option<String> {
    match (wanted, value) {
        (Wanted::Number, DeValue::String(text)) => {
            let number = text.trim().trim_end_matches('%');
            number.parse::<f64>().ok().map(|_| format!("write {number} without quotes"))
        }
        (Wanted::Number, DeValue::Float(number)) => {
            let (whole, fraction) = number.as_str().split_once('.')?;
            let is_whole = fraction.bytes().all(|digit| digit == b'0');
            is_whole.then(|| format!("write {whole}"))
        }
        (Wanted::Flag, DeValue::String(word)) => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => Some("write true without quotes".to_owned()),
            "false" | "no" | "n" | "off" | "0" => Some("write false without quotes".to_owned()),
            _ => None,
        },
        (Wanted::Flag, DeValue::Integer(number)) => match number.as_str() {
            "0" => Some("write false".to_owned()),
            "1" => Some("write true".to_owned()),
            _ => None,
        },
        (Wanted::Text, DeValue::Integer(number)) => {
            Some(format!("write it in quotes: \"{}\"", number.as_str()))
        }
        (Wanted::Text, DeValue::Float(number)) => {
            Some(format!("write it in quotes: \"{}\"", number.as_str()))
        }
        _ => None,
    }
}

/// The kind of value that a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A whole number, or a score.
    Number,
    /// True or false.
    Flag,
    /// A text.
    Text,
}

/// The end of a message about a value.
pub fn instead(wanted: Wanted, found: &DeValue<'_>) -> String {
    value(wanted, found).map(|hint| format!("; {hint}")).unwrap_or_default()
}
