//! From TOML text to a compiled policy.

mod limits;
mod wording;
mod spelling;
mod mistakes;
mod reader;
mod conditions;
mod rules;
mod draft;
mod examples;
mod case;

use std::ops::Range;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

pub use case::read_case;
pub(crate) use examples::Example;
pub(crate) use limits::Limits;
pub use limits::{MAX_CODE_CHARS, MOST_RULES};

use crate::diagnostics::Diagnostics;
use crate::policy::Policy;
use crate::rule::LocatedRule;
use limits::MAX_TEXT_BYTES;
use reader::Reader;

const TOP_KEYS: &[&str] = &["name", "rule", "example"];

/// A text that could be read. Whether it is a good policy is for the checks to say.
pub(crate) struct Compiled {
    pub(crate) policy: Policy,
    /// The place of its name.
    pub(crate) name: Range<usize>,
    pub(crate) rules: Vec<LocatedRule>,
    pub(crate) examples: Vec<Example>,
}

/// Reads a text without judging it as a whole. Goes on after an error where it can, to report
/// everything at once.
pub(crate) fn compile(
    text: &str,
    limits: Limits,
    diagnostics: &mut Diagnostics,
) -> Option<Compiled> {
    if text.len() > MAX_TEXT_BYTES {
        return diagnostics.error_overall("a policy is at most 256 KiB long");
    }
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            return diagnostics.error(error.span().unwrap_or(0..0), reader::not_toml(&error, text));
        }
    };
    let reader = &mut Reader::new(text, limits, diagnostics);
    reader.keys(&document, TOP_KEYS, mistakes::TOP_ALIASES, "a policy");
    let name = reader.text(&document, "name", None, "a policy");
    let rules = rules::rules(reader, &document);
    let examples = examples::parse(reader, &document);
    // The checks judge the rules together; with one of them missing they would mislead.
    if reader.diagnostics.has_errors() {
        return None;
    }
    let policy = Policy {
        name: name?,
        text: text.to_owned(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes()))),
        rules: rules.iter().map(|located| located.rule.clone()).collect(),
        knows_products: rules.iter().any(|located| located.rule.knows_products()),
        warnings: Vec::new(),
    };
    Some(Compiled { policy, name: reader::span_of(&document, "name"), rules, examples })
}
