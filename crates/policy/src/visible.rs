//! Text that looks like what it is: without invisible characters and without characters that
//! reorder others (bidirectional controls). Two texts that differ must not look alike, and a text
//! must not hide a part of itself from the person who reads it in a list, a log or a terminal.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The braille pattern without a dot: a symbol by Unicode, a blank on a screen.
const BRAILLE_BLANK: char = '\u{2800}';
/// The space of Chinese and Japanese input methods.
const IDEOGRAPHIC_SPACE: char = '\u{3000}';

/// Nobody sees this character, or it changes how others are shown. An ordinary space and the
/// ideographic one are not hidden; every other kind of space looks like them and is.
pub fn is_hidden(char: char) -> bool {
    match CodePointMapData::<GeneralCategory>::new().get(char) {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => true,
        GeneralCategory::SpaceSeparator => !is_space(char),
        _ => {
            char == BRAILLE_BLANK
                || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char)
        }
    }
}

/// One line of visible text.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(is_hidden)
}

/// Visible text of several lines, with tabs.
pub fn is_text(text: &str) -> bool {
    hidden_at(text).is_none()
}

/// Where the first hidden character of a text of several lines is, in bytes.
pub fn hidden_at(text: &str) -> Option<usize> {
    let hidden =
        |&(_, char): &(usize, char)| !matches!(char, '\n' | '\r' | '\t') && is_hidden(char);
    text.char_indices().find(hidden).map(|(at, _)| at)
}

/// Visible characters alone: no space either, so that nothing can be hidden at an end.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|char| is_space(char) || is_hidden(char))
}

/// For a terminal: rows from before texts were checked may hold anything.
pub fn shown(text: &str) -> String {
    text.chars()
        .map(|char| if is_hidden(char) { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}

/// The same for text of several lines, and for pages.
pub fn shown_text(text: String) -> String {
    if is_text(&text) {
        return text;
    }
    let shown = |char| match char {
        '\n' | '\r' | '\t' => char,
        char if is_hidden(char) => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().map(shown).collect()
}

/// The first characters of a text for a message, without anything that could upset a terminal.
pub fn shorten(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn is_space(char: char) -> bool {
    char == ' ' || char == IDEOGRAPHIC_SPACE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each hides, or reorders what follows.
    const HIDDEN: [char; 26] = [
        '\0',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{a0}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{2003}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{2800}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{e0041}',
        '\u{e0100}',
    ];

    #[test]
    fn hidden_characters_are_found() {
        for char in HIDDEN {
            let text = format!("a{char}b");
            assert!(is_hidden(char), "{char:?}");
            assert!(!is_line(&text) && !is_text(&text) && !is_word(&text), "{char:?}");
            assert_eq!(shown(&text), "a\u{fffd}b");
            assert_eq!(shown_text(format!("{text}\r\n\tc")), "a\u{fffd}b\r\n\tc");
        }
        assert!(!is_line("a\nb") && is_text("a\n\tb") && !is_word("a b") && !is_word(""));
    }

    #[test]
    fn what_people_write_is_visible() {
        for text in ["appeal 4711", "申诉　王小明", "Zoë, žluťoučký", "عربي", "😀", "«»–“”", "ｶﾅ"]
        {
            assert!(is_line(text), "{text}");
        }
        assert!(is_word("anna@example.com") && is_word("王小明"));
    }
}
