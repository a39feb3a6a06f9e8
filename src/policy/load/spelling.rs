//! "Did you mean": the closest word of a closed list.

/// Longer words are compared with nothing: every known one is shorter.
const MAX_WORD_CHARS: usize = 40;

/// The end of a message about an unknown word: the one probably meant, or all there are.
pub fn suggest(word: &str, known: &[&str]) -> String {
    match closest(word, known) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// The known word fewest edits away, if that is at most a third of its letters.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word: Vec<char> = word.chars().take(MAX_WORD_CHARS + 1).collect();
    if word.len() > MAX_WORD_CHARS {
        return None;
    }
    known
        .iter()
        .map(|candidate| (distance(&word, &candidate.chars().collect::<Vec<_>>()), *candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            *cell = left;
            diagonal = above;
        }
    }
    // The first column is never read back: `left` starts from it in every row.
    row.last().copied().filter(|_| !b.is_empty()).unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| {
            distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        for (a, b, edits) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!(count(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_corrected_and_nonsense_is_not() {
        let known = ["status", "lowest_score"];
        assert_eq!(suggest("lowst_score", &known), "; did you mean `lowest_score`?");
        assert_eq!(suggest("zzz", &known), "; known are status, lowest_score");
        assert_eq!(suggest(&"s".repeat(9999), &known), "; known are status, lowest_score");
    }
}
