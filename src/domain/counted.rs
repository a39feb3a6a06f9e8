//! Counts in English sentences.

use std::fmt;

/// `1 row`, `2 rows`.
pub fn counted(count: impl fmt::Display, one: &str, many: &str) -> String {
    let count = count.to_string();
    let noun = if count == "1" { one } else { many };
    format!("{count} {noun}")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        let rows = |count: i64| counted(count, "row is", "rows are");
        assert_eq!(
            [0, 1, 2, 21].map(rows),
            ["0 rows are", "1 row is", "2 rows are", "21 rows are"]
        );
    }

    /// The nouns that texts for people count.
    const NOUNS: &str = "attempts calls callbacks cases checkpoints checks connections days decisions \
        deliveries endpoints errors events files flips images keys lines migrations objects older \
        people persons policies records results rows sessions users verifications warnings";
    /// These stand between a number and its noun.
    const BETWEEN: [&str; 7] = ["new", "old", "data", "current", "signed", "standing", "webhook"];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// A plural behind a placeholder, which is wrong for 1.
    fn plural_behind_a_placeholder(line: &str) -> Option<&str> {
        let behind = line.split('}').skip(1).filter_map(|rest| rest.strip_prefix(' '));
        behind.into_iter().find_map(|rest| {
            let mut words = rest.split(|letter: char| !letter.is_ascii_alphabetic());
            let mut word = words.next()?;
            while BETWEEN.contains(&word) {
                word = words.next()?;
            }
            NOUNS.split(' ').any(|noun| noun == word).then_some(word)
        })
    }

    #[test]
    fn no_text_counts_one_in_the_plural() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        assert!(files.len() > 200, "{} files", files.len());
        let mut wrong = Vec::new();
        for file in files {
            // Another test reads the texts of the console.
            if file.ends_with("domain/counted.rs")
                || file.components().any(|part| part.as_os_str() == "texts")
            {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("\n#[cfg(test)]\n").next().unwrap();
            for (number, line) in text.lines().enumerate() {
                if !line.trim_start().starts_with("//")
                    && let Some(word) = plural_behind_a_placeholder(line)
                {
                    wrong.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
        assert_eq!(wrong, [""; 0], "use `counted`");
        assert_eq!(
            plural_behind_a_placeholder("\"{count} verifications were\""),
            Some("verifications")
        );
        assert_eq!(plural_behind_a_placeholder("\"{} of {n} new rows\""), Some("rows"));
        assert_eq!(plural_behind_a_placeholder("\"{} ms, {rows}\""), None);
    }
}
