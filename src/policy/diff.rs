//! What differs between two policy texts, line by line.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// After so long what is left is told as removed and added: two texts may be made to have much in
/// common in a way that is hard to find.
const LONGEST: Duration = Duration::from_millis(500);

/// A line of one text and not of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'t> {
    /// Of the new text; else of the old one.
    pub added: bool,
    /// In its text, from 1.
    pub line: usize,
    /// Without its end.
    pub text: &'t str,
}

/// In the order of the texts; empty where no line differs.
pub fn diff<'t>(old: &'t str, new: &'t str) -> Vec<Change<'t>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let compared = TextDiff::configure().timeout(LONGEST).diff_slices(&old, &new);
    let changes = compared.iter_all_changes().filter_map(|change| {
        let (added, at) = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => (false, change.old_index()?),
            ChangeTag::Insert => (true, change.new_index()?),
        };
        Some(Change { added, line: at + 1, text: change.value() })
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_one_text_only_is_told_with_its_line() {
        let changes = diff("a\nb\nc\nd\n", "a\nB\nc\nd\ne");
        let told: Vec<_> = changes.iter().map(|c| (c.added, c.line, c.text)).collect();
        assert_eq!(told, [(false, 2, "b"), (true, 2, "B"), (true, 5, "e")]);
        assert_eq!(diff("a\r\nb", "a\nb\n"), []);
    }

    #[test]
    fn texts_made_to_be_hard_to_compare_are_given_up_in_time() {
        let text = |seed: u64| {
            let next = |n: u64| (n * 2_654_435_761 + seed) % 7;
            let lines: Vec<String> = (0..60_000).map(|n| next(n * n + n / 3).to_string()).collect();
            lines.join("\n")
        };
        let (old, new) = (text(1), text(4));
        let started = std::time::Instant::now();
        assert!(!diff(&old, &new).is_empty());
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}
