//! The lines of two texts side by side: what differs, with some lines around it.

use std::collections::BTreeSet;

use super::source::Escaped;
use crate::policies::operations::ChangedLine;

/// Equal lines that are shown before and after each change.
const AROUND: usize = 3;

/// A row of the comparison.
pub(super) enum Row {
    Equal {
        old: usize,
        new: usize,
        text: Escaped,
    },
    Removed {
        old: usize,
        text: Escaped,
    },
    Added {
        new: usize,
        text: Escaped,
    },
    /// So many equal lines are left out.
    Skipped(usize),
}

/// The rows of two texts; none where no line differs.
pub(super) fn of(old: &str, new: &str, changes: &[ChangedLine]) -> Vec<Row> {
    if changes.is_empty() {
        return Vec::new();
    }
    let lines = |added| -> BTreeSet<usize> {
        changes.iter().filter(|change| change.added == added).map(|change| change.line).collect()
    };
    let (removed, added) = (lines(false), lines(true));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let escaped = |text: &str| Escaped(text.to_owned());
    let (mut before, mut after, mut rows) = (0, 0, Vec::new());
    loop {
        match (old.get(before), new.get(after)) {
            (Some(text), _) if removed.contains(&(before + 1)) => {
                before += 1;
                rows.push(Row::Removed { old: before, text: escaped(text) });
            }
            (_, Some(text)) if added.contains(&(after + 1)) => {
                after += 1;
                rows.push(Row::Added { new: after, text: escaped(text) });
            }
            (Some(text), Some(_)) => {
                (before, after) = (before + 1, after + 1);
                rows.push(Row::Equal { old: before, new: after, text: escaped(text) });
            }
            _ => return shortened(rows),
        }
    }
}

/// Leaves out what is far from any change.
fn shortened(rows: Vec<Row>) -> Vec<Row> {
    let is_equal = |row: &Row| matches!(row, Row::Equal { .. });
    let changed: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| !is_equal(row)).map(|(at, _)| at).collect();
    let is_near = |at: usize| {
        let next = changed.partition_point(|change| *change < at);
        let close = |change: Option<&usize>| change.is_some_and(|it| it.abs_diff(at) <= AROUND);
        close(changed.get(next)) || (next > 0 && close(changed.get(next - 1)))
    };
    let mut short: Vec<Row> = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        match (is_near(at), short.last_mut()) {
            (true, _) => short.push(row),
            (false, Some(Row::Skipped(count))) => *count += 1,
            (false, _) => short.push(Row::Skipped(1)),
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Vec<String> {
        let changes: Vec<ChangedLine> = policy::diff(old, new)
            .into_iter()
            .map(|change| ChangedLine {
                added: change.added,
                line: change.line,
                text: change.text.to_owned(),
            })
            .collect();
        let row = |row: Row| match row {
            Row::Equal { old, new, text } => format!("{old}={new} {text}"),
            Row::Removed { old, text } => format!("-{old} {text}"),
            Row::Added { new, text } => format!("+{new} {text}"),
            Row::Skipped(count) => format!("…{count}"),
        };
        of(old, new, &changes).into_iter().map(row).collect()
    }

    #[test]
    fn changes_keep_their_numbers_and_three_lines_around() {
        let text = |middle: &str| format!("a\nb\nc\nd\ne\n{middle}f\ng\nh\ni\nj\n");
        let told = told(&text("old\n"), &text("new\nmore\n"));
        let wanted = [
            "…2", "3=3 c", "4=4 d", "5=5 e", "-6 old", "+6 new", "+7 more", "7=8 f", "8=9 g",
            "9=10 h", "…2",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn two_changes_close_together_are_shown_as_one() {
        assert_eq!(
            told("x\n1\n2\ny\n", "X\n1\n2\nY\n"),
            ["-1 x", "+1 X", "2=2 1", "3=3 2", "-4 y", "+4 Y"]
        );
        assert!(told("same\n", "same\n").is_empty());
        assert_eq!(told("", "a\n"), ["+1 a"]);
        assert_eq!(told("a\n", ""), ["-1 a"]);
    }
}
