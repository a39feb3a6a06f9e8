//! Searches for personal data where none may be.

use std::process::Command;

use super::cluster::programs;

/// Everything the simulated provider says about its invented people holds one of these.
const PERSON: [&str; 6] = ["测试", "00000019", "某省", "公安局", "Signature=", "\\u6d4b"];

/// The text contains neither a person nor one of these secrets.
#[track_caller]
pub fn assert_no_person(what: &str, text: &str, secrets: &[&str]) {
    if let Some((mark, at)) = person_in(text, secrets) {
        let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let line: String = text[from..].chars().take(200).collect();
        panic!("{what} holds {mark:?}: {line}");
    }
}

/// The mark of a person, or the secret, that the text contains, and where.
pub fn person_in(text: &str, secrets: &[&str]) -> Option<(String, usize)> {
    let plain = PERSON.iter().chain(secrets).map(|mark| (*mark).to_owned());
    // Nor as bytes in hex, which is how a dump shows a bytea; nor as in URLs; nor in base64.
    let bytes = ["测试", "IdCardNumber", "FaceImageUrl"].into_iter().map(hex::encode);
    let percent = ["%E6%B5%8B", "%e6%b5%8b"].map(ToOwned::to_owned);
    let base64 = ["测试", "00000019"].into_iter().flat_map(in_base64);
    let marks = plain.chain(bytes).chain(percent).chain(base64);
    marks.into_iter().find_map(|mark| text.find(&mark).map(|at| (mark, at)))
}

/// The part of a mark's base64 form that does not depend on its neighbours, for each of the three
/// alignments.
fn in_base64(mark: &str) -> [String; 3] {
    use base64::Engine;
    [0, 1, 2].map(|before| {
        let bytes = [&[0; 2][..before], mark.as_bytes()].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        text[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
    })
}

/// Every way in which a mark may be written: plain, in URLs, escaped, in hex, in base64.
pub fn spellings(mark: &str) -> Vec<String> {
    let percent = |upper: bool| -> String {
        let byte = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        };
        mark.bytes().map(byte).collect()
    };
    let escaped: String = mark.chars().map(|c| c.escape_unicode().to_string()).collect();
    let json =
        mark.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
    let form = url::form_urlencoded::byte_serialize(mark.as_bytes()).collect();
    let html = |form: fn(char) -> String| mark.chars().map(form).collect::<String>();
    let hex = hex::encode(mark);
    let mut all = vec![
        mark.to_owned(),
        percent(true),
        percent(false),
        form,
        escaped,
        json,
        html(|c| format!("&#{};", u32::from(c))),
        html(|c| format!("&#x{:x};", u32::from(c))),
        hex.to_uppercase(),
        hex,
    ];
    all.extend(in_base64(mark));
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_mark_has_many_spellings() {
    let all = spellings("测 1");
    for text in ["%E6%B5%8B%201", "%e6%b5%8b%201", "%E6%B5%8B+1", "\\u6d4b\\u0020\\u0031"] {
        assert!(all.iter().any(|spelling| spelling == text), "{text}: {all:?}");
    }
    assert_eq!(spellings("abc").iter().filter(|spelling| *spelling == "abc").count(), 1);
}

#[test]
fn a_person_is_found_however_it_is_written() {
    use base64::Engine;
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}测试甲 00000019000101");
        let base64 = base64::engine::general_purpose::STANDARD.encode(&text);
        assert!(person_in(&base64, &[]).is_some(), "{base64}");
    }
    for text in ["a=%E6%B5%8B%E8%AF%95", r"\u6d4b\u8bd5", "x\\xe6b58be8af95", "000000190001"] {
        assert!(person_in(text, &[]).is_some(), "{text}");
    }
    assert_eq!(person_in("nobody", &["secret"]), None);
}

/// The mark of a person, or the secret, that non-text bytes such as protobuf contain.
pub fn mark_in_bytes(bytes: &[u8], secrets: &[&str]) -> Option<String> {
    // Text in them stays text; what is not becomes something else, which is no mark.
    person_in(&String::from_utf8_lossy(bytes), secrets).map(|(mark, _)| mark)
}

#[test]
fn a_person_is_found_between_bytes_that_are_no_text() {
    let bytes = [&[0x0a, 0xff, 0x12][..], "测试甲".as_bytes(), &[0xc3, 0x28, 0x00]].concat();
    assert!(mark_in_bytes(&bytes, &[]).is_some());
    assert_eq!(mark_in_bytes(&[0x0a, 0xff, 0x12, 0x00], &["secret"]), None);
}

/// The whole database as text, by Postgres' own program.
pub fn dump(url: &str) -> String {
    let pg_dump = programs().bin().join("pg_dump");
    let output = Command::new(pg_dump).args(["--inserts", url]).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
