//! The differences between two policy texts, line by line.

use similar::{ChangeTag, TextDiff};

/// Pairs of lines that are compared at most, besides the lines that both texts begin and end with.
/// Beyond, the rest of one text is reported as removed and the rest of the other as added. Two real
/// policies differ in far fewer: this is three thousand lines against three thousand others.
const MOST_PAIRS: usize = 9_000_000;

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
    let equal = |(a, b): &(&&str, &&str)| a == b;
    let first = old.iter().zip(&new).take_while(equal).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(equal).count();
    let (old, new) = (&old[..old.len() - last], &new[..new.len() - last]);
    let change = |added, at: usize, text: &'t str| Change { added, line: first + at + 1, text };
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        let removed = old.iter().enumerate().map(|(at, line)| change(false, at, line));
        let added = new.iter().enumerate().map(|(at, line)| change(true, at, line));
        return removed.chain(added).collect();
    }
    let compared = TextDiff::from_slices(old, new);
    let changes = compared.iter_all_changes().filter_map(|found| match found.tag() {
        ChangeTag::Equal => None,
        ChangeTag::Delete => Some(change(false, found.old_index()?, found.value())),
        ChangeTag::Insert => Some(change(true, found.new_index()?, found.value())),
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
    fn a_change_in_the_middle_keeps_its_line_number() {
        let text =
            |middle: &str| format!("{}{middle}\n{}", "same\n".repeat(5000), "end\n".repeat(5000));
        let (old, new) = (text("before"), text("after"));
        let changes = diff(&old, &new);
        let told: Vec<_> = changes.iter().map(|c| (c.added, c.line, c.text)).collect();
        assert_eq!(told, [(false, 5001, "before"), (true, 5001, "after")]);
    }

    #[test]
    fn texts_that_are_too_long_to_compare_are_replaced_as_a_whole() {
        let text = |seed: u64| {
            let next = |n: u64| (n * 2_654_435_761 + seed) % 7;
            let lines: Vec<String> = (0..60_000).map(|n| next(n * n + n / 3).to_string()).collect();
            lines.join("\n")
        };
        let (old, new) = (text(1), text(4));
        let changes = diff(&old, &new);
        let added = changes.iter().filter(|change| change.added).count();
        assert!(changes.len() - added > 59_000 && added > 59_000, "{} changes", changes.len());
    }
}
