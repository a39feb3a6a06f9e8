//! The purpose that a caller gives for an operation: kept indefinitely.

use policy::visible;

const MAX_CHARS: usize = 200;

/// Trimmed, and without characters that break a terminal's line.
pub fn parse(text: &str) -> Result<&str, &'static str> {
    let text = text.trim();
    if text.chars().count() > MAX_CHARS || !visible::is_line(text) {
        return Err("must be at most 200 visible characters, on one line");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_purpose_is_short_and_printable() {
        assert_eq!(parse(" appeal 4711 "), Ok("appeal 4711"));
        assert_eq!(parse(&"申".repeat(200)), Ok("申".repeat(200).as_str()));
        for bad in
            ["red \u{1b}[31m", "two\nlines", "ok\u{202e}1174", "a\u{200b}b", &"a".repeat(201)]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
