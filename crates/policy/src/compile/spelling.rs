//! "Did you mean": the closest word of a closed list.

/// Longer words are compared with nothing: every known one is shorter.
const MAX_WORD_CHARS: usize = 40;

/// A word of another language, and the word for it here.
pub type Alias = (&'static str, &'static str);

/// The end of a message about an unknown word: the one probably meant, or all there are.
pub fn suggest(word: &str, known: &[&str], aliases: &[Alias]) -> String {
    match meant(word, known, aliases) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// The known word that differs in case only, that an alias stands for, or that is closest.
fn meant<'k>(word: &str, known: &[&'k str], aliases: &[Alias]) -> Option<&'k str> {
    let ours = in_our_case(word);
    let alias = aliases.iter().find(|(written, _)| *written == ours).map(|(_, meant)| *meant);
    let find = |word: &str| known.iter().copied().find(|known| known.eq_ignore_ascii_case(word));
    find(&ours).or_else(|| find(alias?)).or_else(|| closest(word, known))
}

/// In the case of our words: `lowestScore`, `Lowest-Score` and `lowest.score` are `lowest_score`.
pub fn in_our_case(word: &str) -> String {
    let mut ours = String::new();
    let mut after_small = false;
    for char in word.trim().chars().take(MAX_WORD_CHARS) {
        if char.is_ascii_uppercase() && after_small {
            ours.push('_');
        }
        after_small = char.is_ascii_lowercase() || char.is_ascii_digit();
        ours.push(match char {
            '-' | '.' | ' ' => '_',
            char => char.to_ascii_lowercase(),
        });
    }
    ours
}

/// The known word fewest edits away, if that is at most a third of its letters.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.chars().nth(MAX_WORD_CHARS).is_some() {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_corrected_and_nonsense_is_not() {
        let known = ["status", "lowest_score"];
        assert_eq!(suggest("lowst_score", &known, &[]), "; did you mean `lowest_score`?");
        assert_eq!(suggest("zzz", &known, &[]), "; known are status, lowest_score");
        assert_eq!(suggest(&"s".repeat(9999), &known, &[]), "; known are status, lowest_score");
    }

    #[test]
    fn another_case_and_another_language_are_understood() {
        let known = ["status", "lowest_score"];
        for word in ["lowestScore", "Lowest-Score", "LOWEST_SCORE", "lowest.score", "score"] {
            let said = suggest(word, &known, &[("score", "lowest_score")]);
            assert_eq!(said, "; did you mean `lowest_score`?", "{word}");
        }
    }
}
