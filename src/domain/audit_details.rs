//! The details of an audit row: JSON that is kept and digested as text, and shown as JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The text as it is in the row. An export shows an object or a list as such, and anything else as a
/// string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details(pub String);

impl Details {
    /// The text, and the spellings that a tool may have turned it into: with blanks as `serde_json`
    /// writes them, and as Postgres does.
    pub(super) fn spellings(&self) -> [String; 3] {
        [self.0.clone(), respaced(&self.0, ""), respaced(&self.0, " ")]
    }

    /// Ready to be shown within JSON, on one line.
    fn as_json(&self) -> Option<Box<RawValue>> {
        let shown = self.0.starts_with(['{', '[']) && !self.0.contains(['\n', '\r']);
        shown.then(|| RawValue::from_string(self.0.clone()).ok()).flatten()
    }
}

/// With this behind each comma and colon, and no other blanks.
fn respaced(text: &str, blank: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if !quoted && c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
        if !quoted && (c == ',' || c == ':') {
            out.push_str(blank);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    out
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_json() {
            Some(json) => json.serialize(serializer),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        // Exports of earlier versions have the text in a string.
        match serde_json::from_str(json.get()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Ok(Self(json.get().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_shown_as_json_and_keep_their_text() {
        for (text, shown) in [
            (r#"{"n": "一", "a":[1,  2]}"#, r#"{"n": "一", "a":[1,  2]}"#),
            ("[]", "[]"),
            // No code writes these; they must be preserved too.
            (r#""text""#, r#""\"text\"""#),
            ("7", r#""7""#),
            ("{half", r#""{half""#),
            ("{\n}", r#""{\n}""#),
        ] {
            let details = Details(text.to_owned());
            let json = serde_json::to_string(&details).unwrap();
            assert_eq!(json, shown);
            assert_eq!(serde_json::from_str::<Details>(&json).unwrap(), details, "{text}");
        }
    }

    #[test]
    fn blanks_inside_texts_are_kept() {
        let text = r#"{"a: b,":"c\" , d\\", "e":[1,2]}"#;
        let [same, tight, spaced] = Details(text.to_owned()).spellings();
        assert_eq!(same, text);
        assert_eq!(tight, r#"{"a: b,":"c\" , d\\","e":[1,2]}"#);
        assert_eq!(spaced, r#"{"a: b,": "c\" , d\\", "e": [1, 2]}"#);
    }
}
