//! Names and identity numbers in one form, however they were typed: full width, with other dots,
//! with blanks.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Dots that are written between the parts of a name. NFKC folds only some of them.
const DOTS: &[char] = &['·', '•', '・', '‧', '⋅', '.', '∙', '●', '᛫', 'ᐧ'];
/// Characters that services write in place of hidden ones.
const MASKS: &[char] = &['*', '＊', '×', '■', '□', '█', '○', '◯', '?', '？', '＃', '#'];

/// The text after NFKC: full-width letters and digits become plain ones.
pub fn compatible(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.nfkc().collect())
}

/// A name for comparison: NFKC, no blanks, one form of the middle dot, letters of one case. `None`
/// where parts of it are masked or damaged, or nothing is left.
pub fn name(text: &str) -> Option<Zeroizing<String>> {
    let mut folded = Zeroizing::new(String::new());
    for character in text.nfkc() {
        match character {
            char::REPLACEMENT_CHARACTER => return None,
            masked if MASKS.contains(&masked) => return None,
            dot if DOTS.contains(&dot) => folded.push('·'),
            hidden if hidden.is_whitespace() || is_invisible(hidden) => {}
            other => folded.extend(other.to_lowercase()),
        }
    }
    (!folded.is_empty()).then_some(folded)
}

/// An identity number for comparison: letters and digits of ASCII after NFKC, letters as capitals.
/// `None` for what cannot be anybody's number: masked, damaged, or without letters and digits.
pub fn number(text: &str) -> Option<Zeroizing<String>> {
    let mut folded = Zeroizing::new(String::new());
    for character in text.nfkc() {
        match character {
            plain if plain.is_ascii_alphanumeric() => folded.push(plain.to_ascii_uppercase()),
            separator if separator.is_whitespace() || is_invisible(separator) => {}
            '-' | '‐' | '‑' | '–' | '.' => {}
            _ => return None,
        }
    }
    // The check character is a single X at the end; several in a row hide digits.
    (!folded.is_empty() && !folded.contains("XX")).then_some(folded)
}

/// Zero-width characters that come along when a text is copied from a page.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_its_dot_and_blanks_are_typed() {
        let expected = name("阿·测试").expect("a name");
        for typed in [
            "阿•测试",
            "阿・测试",
            "阿‧测试",
            "阿．测试",
            "阿⋅测试",
            "阿.测试",
            "阿･测试",
            "阿 · 测试",
            "\u{3000}阿·测试\u{200b}",
        ] {
            assert_eq!(name(typed).as_deref(), Some(&*expected), "{typed}");
        }
        assert_ne!(name("阿测试").as_deref(), Some(&*expected));
        assert_eq!(name("ＡＢＣ"), name("abc"));
    }

    #[test]
    fn a_masked_or_damaged_name_is_unknown() {
        for unknown in ["测*", "测＊＊", "", " ", "测\u{fffd}"] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_number_is_the_same_in_full_width_and_small_letters() {
        let expected = number("00000019000101001X").expect("a number");
        for typed in
            ["０００００0１９０００１０１００１Ｘ", "000000 19000101-001x", "000000190001010 01ｘ"]
        {
            assert_eq!(number(typed).as_deref(), Some(&*expected), "{typed}");
        }
    }

    #[test]
    fn a_masked_number_is_nobodys() {
        for masked in
            ["000000********001X", "0000＊＊＊＊001X", "0000xxxxxxxx001X", "", "-", "0\u{fffd}"]
        {
            assert_eq!(number(masked), None, "{masked}");
        }
    }
}
