//! The policy's own examples: evidence with the decision it must get, which every load of the policy runs.

use std::ops::Range;

use toml::de::DeTable;

use super::conditions::{bound, field, labels};
use super::draft::Draft;
use super::limits::MAX_CODE_CHARS;
use super::mistakes::EXAMPLE_ALIASES;
use super::reader::{Item, Reader};
use super::rules::outcome;
use crate::decision::Outcome;
use crate::evidence::Evidence;
use crate::field::Kind;
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
    let before = reader.diagnostics.count();
    let mut draft = Draft::new();
    for (key, item) in table {
        if reader.is_full() {
            return None;
        }
        let Some(field) = field(reader, key.get_ref(), key.span()) else { continue };
        if field.kind() == Kind::Labels {
            draft.evidence.device_risk = labels(reader, field, item).unwrap_or_default();
        } else if let Some(value) = bound(reader, field, item)
            && let Err(why) = draft.set(field, value)
        {
            let message = format!("`{}` {why}", field.name());
            reader.error::<()>(key.span(), message);
        }
    }
    // What could not be read is reported already, and must not be called missing as well.
    if reader.diagnostics.count() > before {
        return None;
    }
    draft.complete().map_or_else(|why| reader.error(item.span(), why), Some)
}
