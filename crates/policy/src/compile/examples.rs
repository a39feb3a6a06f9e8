//! The policy's own examples: evidence with the decision it must get, which every load of the policy runs.

use std::ops::Range;

use toml::de::DeTable;

use super::conditions::{bound, field};
use super::limits::MAX_CODE_CHARS;
use super::mistakes::{EXAMPLE_ALIASES, FIELD_ALIASES};
use super::reader::{Item, Reader};
use super::rules::outcome;
use super::spelling::in_our_case;
use crate::card_days::highest_edge_reached;
use crate::condition::Bound;
use crate::decision::Outcome;
use crate::evidence::{Evidence, History, Product};
use crate::field::Field;
use crate::visible::shorten;

const EXAMPLE_KEYS: &[&str] = &["name", "evidence", "outcome", "reasons"];

/// One example.
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) evidence: Evidence,
    pub(crate) outcome: Outcome,
    /// In any order; `None` where the example leaves them open.
    pub(crate) reasons: Option<Vec<String>>,
    pub(crate) span: Range<usize>,
}

/// Reads every `[[example]]`.
pub fn parse(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Vec<Example> {
    let mut examples = Vec::new();
    for (item, table) in reader.tables(document, "example") {
        if reader.is_full() {
            break;
        }
        examples.extend(example(reader, table, item.span()));
    }
    examples
}

fn example(reader: &mut Reader<'_>, table: &DeTable<'_>, span: Range<usize>) -> Option<Example> {
    reader.keys(table, EXAMPLE_KEYS, EXAMPLE_ALIASES, "an example");
    let name = reader.text(table, "name", Some(span.clone()), "an example");
    let outcome = outcome(reader, table, Some(span.clone()), "an example");
    let evidence = match table.get("evidence") {
        Some(item) => evidence(reader, item),
        None => reader.error(span.clone(), "an example needs `evidence = { status = …, … }`"),
    };
    let reasons = match table.get("reasons") {
        Some(item) => Some(reasons(reader, item)?),
        None => None,
    };
    Some(Example { name: name?, evidence: evidence?, outcome: outcome?, reasons, span })
}

fn reasons(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<String>> {
    let texts = item.get_ref().as_array().and_then(|items| {
        items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
    });
    texts.or_else(|| {
        let hint = match item.get_ref().as_str() {
            Some(code) => format!(": write [\"{}\"]", shorten(code, MAX_CODE_CHARS)),
            None => String::new(),
        };
        reader.error(item.span(), format!("`reasons` must be a list of reason codes{hint}"))
    })
}

fn evidence(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Evidence> {
    let table = reader.table(item, "`evidence` must be a table: { status = …, … }")?;
    // A known other name of it is reported below, as an unknown field.
    let is_status = |key: &str| FIELD_ALIASES.contains(&(&in_our_case(key), "status"));
    if table.get("status").is_none() && !table.keys().any(|key| is_status(key.get_ref())) {
        return reader.error(item.span(), "`evidence` needs `status`: every answer has one");
    }
    let mut evidence = nothing();
    for (key, item) in table {
        if reader.is_full() {
            return None;
        }
        let known = field(reader, key.get_ref(), key.span());
        let value = known.and_then(|field| Some((field, bound(reader, field, item)?)));
        if let Some((field, value)) = value
            && let Err(why) = set(&mut evidence, field, value)
        {
            let message = format!("`{}` {why}", field.name());
            reader.error::<()>(key.span(), message);
        }
    }
    Some(evidence)
}

/// An answer that says nothing yet.
pub fn nothing() -> Evidence {
    let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
    Evidence::blank(Product::VerifyResult, "example", history)
}

pub fn set(evidence: &mut Evidence, field: Field, value: Bound) -> Result<(), &'static str> {
    match (field, value) {
        (Field::LowestScore | Field::ScoresPresent, _) => {
            return Err("follows from the scores; give those");
        }
        (Field::Status, Bound::Whole(status)) => {
            let status =
                i32::try_from(status).map_err(|_| "must fit into 32 bits, as the provider's")?;
            evidence.verify_status = Some(status);
        }
        (Field::AuthorityScore, Bound::Score(score)) => evidence.scores.authority = Some(score),
        (Field::FaceScore, Bound::Score(score)) => evidence.scores.face = Some(score),
        (Field::IdCardFaceScore, Bound::Score(score)) => {
            evidence.scores.id_card_face = Some(score);
        }
        (Field::MalformedFields, Bound::Whole(count)) => {
            let count = usize::try_from(count).unwrap_or(0);
            evidence.malformed = vec!["example".to_owned(); count];
        }
        (Field::FaceQuality, Bound::Quality(quality)) => evidence.face_quality = Some(quality),
        (Field::FaceMask, Bound::Flag(flag)) => evidence.face_mask = Some(flag),
        (Field::HasFaceImage, Bound::Flag(flag)) => evidence.images.face = flag,
        (Field::HasCardFrontImage, Bound::Flag(flag)) => evidence.images.card_front = flag,
        (Field::HasCardBackImage, Bound::Flag(flag)) => evidence.images.card_back = flag,
        (Field::HasFaceGlobalImage, Bound::Flag(flag)) => evidence.images.face_global = flag,
        (Field::NameMatches, Bound::Flag(flag)) => evidence.name_matches = Some(flag),
        (Field::NumberMatches, Bound::Flag(flag)) => evidence.number_matches = Some(flag),
        (Field::CardDaysLeft, Bound::Whole(days)) => {
            evidence.card_days_left = Some(highest_edge_reached(days));
        }
        (Field::AgeYears, Bound::Whole(years)) => evidence.age_years = Some(years),
        (Field::BizType, Bound::Text(text)) => evidence.biz_type = text,
        (Field::Attempts | Field::Calls, Bound::Whole(calls)) => evidence.attempts = calls,
        (Field::Callbacks, Bound::Whole(count)) => evidence.callbacks = Some(count),
        (Field::Answers, Bound::Whole(count)) => evidence.answers = Some(count),
        (Field::Earlier1d, Bound::Whole(count)) => evidence.earlier_1d = Some(count),
        (Field::Earlier30d, Bound::Whole(count)) => evidence.earlier_30d = Some(count),
        _ => return Err("cannot hold this"),
    }
    Ok(())
}
