//! The mark that some editors write at the beginning of a file in UTF-8. It says nothing.

use zeroize::Zeroizing;

const MARK: char = '\u{feff}';

/// The text behind the mark, if there is one.
pub fn skipped(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The same in place.
pub fn removed(mut text: String) -> String {
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

/// The same of a secret: no copy is left behind.
pub fn removed_from_secret(mut text: Zeroizing<String>) -> Zeroizing<String> {
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_at_the_beginning_is_passed_over_and_no_other() {
        for (text, rest) in [("\u{feff}a", "a"), ("a", "a"), ("a\u{feff}", "a\u{feff}"), ("", "")] {
            assert_eq!(skipped(text), rest);
            assert_eq!(removed(text.to_owned()), rest);
            assert_eq!(*removed_from_secret(text.to_owned().into()), rest);
        }
    }
}
