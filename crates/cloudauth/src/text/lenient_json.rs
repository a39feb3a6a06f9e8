//! A JSON reader that loses no message to a damaged text.
//!
//! Phones and gateways write JSON that strict parsers refuse as a whole: half a surrogate pair, a
//! raw line break in a string, one byte of another encoding. This reader replaces what is damaged
//! inside a string by U+FFFD and marks that string. Damage anywhere else is reported, and the
//! caller decides whether it matters.

use zeroize::Zeroizing;

/// Most values of one document. A value takes up to a hundred times the memory of its text, and real
/// answers have a few hundred.
pub const MAX_VALUES: usize = 20_000;

/// One JSON value. Numbers keep the text in which they were written. Texts may be personal data:
/// they are wiped when dropped, and there is no `Debug`.
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number, or another bare word such as `NaN`.
    Bare(String),
    /// A string.
    Text(Text),
    /// An array.
    List(Vec<Json>),
    /// An object: its members in order, repeated names included.
    Object(Vec<(Text, Json)>),
}

/// The content of a string.
pub struct Text {
    /// The characters; U+FFFD stands for each damaged place.
    pub value: Zeroizing<String>,
    /// Something in it was replaced.
    pub damaged: bool,
}

/// One document and what was odd around it.
pub struct Document<'a> {
    /// The value.
    pub root: Json,
    /// Control characters or bytes beyond ASCII stood outside of any string; they were passed over.
    pub stray_bytes: bool,
    /// The bytes after the value, without leading and trailing blanks.
    pub rest: &'a [u8],
}

/// Reads the first JSON value of `bytes`; `None` if there is none, if it does not end, if it nests
/// deeper than `max_depth`, or if it holds more than [`MAX_VALUES`].
///
/// In GBK the second byte of a character can be a backslash, which would hide the end of a string.
/// So a reading that fails is repeated with a damaged byte and a backslash behind it taken as one
/// character.
pub fn read(bytes: &[u8], max_depth: usize) -> Option<Document<'_>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    [false, true].into_iter().find_map(|gbk| {
        let mut reader = Reader { bytes, at: 0, values_left: MAX_VALUES, stray_bytes: false, gbk };
        let root = reader.value(max_depth)?;
        let rest = bytes[reader.at..].trim_ascii();
        Some(Document { root, stray_bytes: reader.stray_bytes, rest })
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
    stray_bytes: bool,
    gbk: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes the next byte that is no blank if it is this one.
    fn takes(&mut self, wanted: u8) -> bool {
        self.skip_blanks();
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                0..=0x1f | 0x7f.. => self.stray_bytes = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    fn value(&mut self, depth_left: usize) -> Option<Json> {
        self.values_left = self.values_left.checked_sub(1)?;
        self.skip_blanks();
        match self.peek()? {
            b'"' => self.text().map(Json::Text),
            b'[' => self.list(depth_left.checked_sub(1)?),
            b'{' => self.object(depth_left.checked_sub(1)?),
            _ => self.bare(),
        }
    }

    fn list(&mut self, depth_left: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.at += 1;
        if self.takes(b']') {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth_left)?);
            if self.takes(b']') {
                return Some(Json::List(items));
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth_left: usize) -> Option<Json> {
        let mut members = Vec::new();
        self.at += 1;
        if self.takes(b'}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek()? != b'"' {
                return None;
            }
            let name = self.text()?;
            if !self.takes(b':') {
                return None;
            }
            members.push((name, self.value(depth_left)?));
            if self.takes(b'}') {
                return Some(Json::Object(members));
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn bare(&mut self) -> Option<Json> {
        let rest = &self.bytes[self.at..];
        let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().take_while(|byte| in_word(byte)).count();
        self.at += length;
        match std::str::from_utf8(&rest[..length]).ok()? {
            "" => None,
            "null" => Some(Json::Null),
            "true" => Some(Json::Flag(true)),
            "false" => Some(Json::Flag(false)),
            word => Some(Json::Bare(word.to_owned())),
        }
    }

    fn text(&mut self) -> Option<Text> {
        let mut text = Text { value: Zeroizing::default(), damaged: false };
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(text);
                }
                b'\\' => self.escape(&mut text)?,
                0..=0x1f => {
                    self.at += 1;
                    text.push(None);
                }
                0x20..=0x7f => self.plain(&mut text),
                0x80.. => {
                    let character = self.beyond_ascii();
                    text.push(character);
                }
            }
        }
    }

    /// Takes the ASCII characters up to the next that means something else.
    fn plain(&mut self, text: &mut Text) {
        let rest = &self.bytes[self.at..];
        let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7f) && !b"\"\\".contains(byte);
        let length = rest.iter().take_while(|byte| is_plain(byte)).count();
        text.value.extend(rest[..length].iter().map(|byte| char::from(*byte)));
        self.at += length;
    }

    /// Takes one character of UTF-8, or the one byte that is none.
    fn beyond_ascii(&mut self) -> Option<char> {
        let rest = &self.bytes[self.at..];
        let character = (2..=4)
            .find_map(|length| std::str::from_utf8(rest.get(..length)?).ok())
            .and_then(|character| character.chars().next());
        let gbk_pair = self.gbk && character.is_none() && rest.get(1) == Some(&b'\\');
        self.at += character.map_or(1, char::len_utf8) + usize::from(gbk_pair);
        character
    }

    /// Takes what a backslash begins; `None` if the document ends in it.
    fn escape(&mut self, text: &mut Text) -> Option<()> {
        let escaped = *self.bytes.get(self.at + 1)?;
        let simple = match escaped {
            b'"' | b'\\' | b'/' => Some(char::from(escaped)),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            b'u' => {
                let character = self.code_units();
                text.push(character);
                return Some(());
            }
            _ => None,
        };
        // Of an unknown escape only the backslash is wrong.
        self.at += 1 + usize::from(simple.is_some());
        text.push(simple);
        Some(())
    }

    /// Takes `\u` with its four digits, or two of them that make one character.
    fn code_units(&mut self) -> Option<char> {
        let Some(first) = self.code_unit(self.at) else {
            self.at += 2;
            return None;
        };
        self.at += 6;
        if let Some(second) = self.code_unit(self.at)
            && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
            && character.len_utf16() == 2
        {
            self.at += 6;
            return Some(character);
        }
        char::from_u32(first.into())
    }

    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl Text {
    fn push(&mut self, character: Option<char>) {
        self.damaged |= character.is_none();
        self.value.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn strict(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Flag(flag) => Value::Bool(*flag),
            Json::Bare(word) => serde_json::from_str(word).expect("a number"),
            Json::Text(text) => Value::String(text.value.to_string()),
            Json::List(items) => Value::Array(items.iter().map(strict).collect()),
            Json::Object(members) => {
                let members = members.iter();
                Value::Object(
                    members
                        .map(|(name, value)| (name.value.to_string(), strict(value)))
                        .collect::<Map<String, Value>>(),
                )
            }
        }
    }

    fn text_of(bytes: &[u8]) -> (String, bool) {
        let document = read(bytes, 8).expect("readable");
        let Json::Object(members) = document.root else { panic!("an object") };
        match &members[0].1 {
            Json::Text(text) => (text.value.to_string(), text.damaged),
            _ => panic!("a text"),
        }
    }

    #[test]
    fn damage_in_a_string_is_replaced_and_marked() {
        for (body, expected) in [
            (&br#"{"a":"x\ud83dy"}"#[..], "x\u{fffd}y"),
            (br#"{"a":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
            (br#"{"a":"\ud83d\u0041"}"#, "\u{fffd}A"),
            (br#"{"a":"\ud83d"}"#, "\u{fffd}"),
            (br#"{"a":"\u12"}"#, "\u{fffd}12"),
            (br#"{"a":"\u+123"}"#, "\u{fffd}+123"),
            (br#"{"a":"\x"}"#, "\u{fffd}x"),
            (b"{\"a\":\"x\ny\0\"}", "x\u{fffd}y\u{fffd}"),
            (b"{\"a\":\"x\xffy\"}", "x\u{fffd}y"),
            // 张 in GBK; then a character whose second byte is a backslash, at the end of a string.
            (b"{\"a\":\"\xd5\xc5\"}", "\u{fffd}\u{fffd}"),
            (b"{\"a\":\"\x95\x5c\"}", "\u{fffd}"),
            // A character of UTF-8 that was cut off.
            (b"{\"a\":\"\xe5\xbc\"}", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text_of(body), (expected.to_owned(), true), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn whole_texts_are_read_as_they_are() {
        for (body, expected) in [
            (r#"{"a":"\ud83d\ude00\u5f20\n\"\\\/"}"#, "😀张\n\"\\/"),
            ("{\"a\":\"张\u{7f}\u{85}\u{fffd}😀\"}", "张\u{7f}\u{85}\u{fffd}😀"),
        ] {
            assert_eq!(text_of(body.as_bytes()), (expected.to_owned(), false));
        }
    }

    #[test]
    fn what_stands_around_the_document_is_reported() {
        let document = read(b"\xef\xbb\xbf {\"a\":\xff1} \n{\"b\":2} ", 8).expect("readable");
        assert!(document.stray_bytes);
        assert_eq!(document.rest, b"{\"b\":2}");
        let plain = read(b" [1, 2]\r\n", 8).expect("readable");
        assert!(!plain.stray_bytes && plain.rest.is_empty());
    }

    #[test]
    fn what_does_not_end_or_nests_too_deep_is_no_document() {
        for body in ["", "{", "{\"a\"", "{\"a\":}", "[1,]", "{\"a\":1,}", "\"", "\"\\", "{a:1}"] {
            assert!(read(body.as_bytes(), 8).is_none(), "{body}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(8).as_bytes(), 8).is_some());
        assert!(read(nested(9).as_bytes(), 8).is_none());
        assert!(read("[".repeat(200_000).as_bytes(), 64).is_none());
    }

    #[test]
    fn document_of_too_many_values_is_none() {
        // The list is a value as well.
        let list = |items: usize| format!("[{}]", vec!["0"; items].join(","));
        assert!(read(list(MAX_VALUES - 1).as_bytes(), 8).is_some());
        assert!(read(list(MAX_VALUES).as_bytes(), 8).is_none());
        let maps = format!("[{}0]", r#"{"":{"":0}},"#.repeat(80_000));
        assert!(read(maps.as_bytes(), 64).is_none());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_reads_as_a_strict_parser_reads_it(value in any_json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).expect("writable")
            } else {
                value.to_string()
            };
            let document = read(text.as_bytes(), 64).expect("readable");
            prop_assert!(!document.stray_bytes && document.rest.is_empty());
            prop_assert_eq!(strict(&document.root), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, 16);
        }

        #[test]
        fn no_damaged_string_makes_it_panic(
            body in "[{\\[\"](\"|\\\\|\\\\u[d0-9a-f]{0,4}|:|,|\\PC|[\\x00-\\x20]){0,40}",
            bad: u8,
            at: prop::sample::Index,
        ) {
            let mut body = body.into_bytes();
            let at = at.index(body.len());
            body[at] = bad;
            let _ = read(&body, 16);
        }
    }
}
