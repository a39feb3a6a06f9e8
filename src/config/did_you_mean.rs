//! "Did you mean …": unknown keys of the configuration, and the known word that a misspelt one
//! probably means.

use super::environment::{matching, variable_of};
use super::error::ConfigError;
use super::keys::{Shape, Unknown};
use super::origin::{Origin, Origins, join};

/// Suggests the key that was probably meant.
pub(super) fn complaint(unknown: &Unknown, shape: &Shape, origins: &Origins) -> ConfigError {
    let (origin, below) = match origins.of(&unknown.key) {
        // A section that only variables write into is in none itself.
        Origin::Default => origins.below(&unknown.key),
        origin => (origin, String::new()),
    };
    let spelled = |key: &str| match origin {
        Origin::Variable(_) => variable_of(&format!("{key}{below}")),
        _ => key.to_owned(),
    };
    let suggestion = match probably_meant(unknown, shape) {
        Some(meant) => format!("did you mean {}?", spelled(&meant)),
        None if unknown.section.is_empty() => {
            format!("the sections are {}", unknown.siblings.join(", "))
        }
        None => format!("[{}] has {}", unknown.section, unknown.siblings.join(", ")),
    };
    let problem = format!("unknown key ({origin}); {suggestion}");
    ConfigError::new(unknown.key.as_str(), problem)
}

fn probably_meant(unknown: &Unknown, shape: &Shape) -> Option<String> {
    let Unknown { key, section, name, siblings } = unknown;
    let here = |name: &str| join(section, name);
    if let Some(sibling) = closest(name, siblings) {
        return Some(here(sibling));
    }
    let keys = shape.keys();
    let words_of = |known: &String| {
        let variable = matching(key, known).or_else(|| matching(name, known))?;
        Some(variable.to_lowercase().trim_start_matches("verdict__").replace("__", "."))
    };
    // The same words, separated in another way; then the same name in another section.
    if let Some(known) = keys.iter().find_map(words_of) {
        return Some(known);
    }
    let same_name = |known: &&String| known.rsplit_once('.').is_some_and(|(_, last)| last == name);
    let mut elsewhere = keys.iter().filter(same_name).filter(|known| !known.contains('*'));
    if let (Some(only), None) = (elsewhere.next(), elsewhere.next()) {
        return Some(only.clone());
    }
    let begins = |sibling: &&&str| name.len() >= 3 && sibling.starts_with(name.as_str());
    let mut longer = siblings.iter().filter(begins);
    match (longer.next(), longer.next()) {
        (Some(only), None) => Some(here(only)),
        _ => None,
    }
}

/// The nearest known word, if the slips are at most a third of its letters.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let slips = known.iter().map(|known| (strsim::damerau_levenshtein(&word, known), *known));
    let near = slips.filter(|(slips, known)| *slips <= (known.len() / 3).max(1));
    near.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_words_that_mean_something_else() {
        let known = ["listen", "max_connections", "docs"];
        assert_eq!(closest("listne", &known), Some("listen"));
        assert_eq!(closest("Docs", &known), Some("docs"));
        assert_eq!(closest("max_connection", &known), Some("max_connections"));
        assert_eq!(closest("port", &known), None);
    }
}
