//! Quotes words of commands that a person may paste into a shell.

/// One word, whatever is in it: in single quotes, unless it is harmless without.
pub(super) fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_every_word_as_it_was() {
        let words = ["plain", "", "two words", "it's", "$(id) `id` ; id", "a\nb", "\\", "*", "'"];
        for word in words {
            let script = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }
}
