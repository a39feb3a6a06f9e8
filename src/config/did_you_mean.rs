//! The known word that a misspelt one probably means.

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
