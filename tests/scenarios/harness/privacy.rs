//! Looking for a person where none may be.

use std::path::Path;
use std::process::Command;

use verdict::postgres::Programs;

/// Everything the simulated provider says about its invented people holds one of these.
const PERSON: [&str; 6] = ["测试", "00000019", "某省", "公安局", "Signature=", "\\u6d4b"];

/// Neither a person nor one of these secrets stands in the text.
#[track_caller]
pub fn assert_no_person(what: &str, text: &str, secrets: &[&str]) {
    if let Some((mark, at)) = person_in(text, secrets) {
        let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let line: String = text[from..].chars().take(200).collect();
        panic!("{what} holds {mark:?}: {line}");
    }
}

/// The mark of a person, or the secret, that stands in the text, and where.
pub fn person_in(text: &str, secrets: &[&str]) -> Option<(String, usize)> {
    let plain = PERSON.iter().chain(secrets).map(|mark| (*mark).to_owned());
    // Nor as bytes in hex, which is how a dump shows a bytea.
    let bytes = ["测试", "IdCardNumber", "FaceImageUrl"].into_iter().map(hex::encode);
    plain.chain(bytes).find_map(|mark| text.find(&mark).map(|at| (mark, at)))
}

/// The whole database as text, by Postgres' own program.
pub fn dump(url: &str) -> String {
    let pg_bin = std::env::var_os("PG_BIN");
    let programs = Programs::find(pg_bin.as_deref().map(Path::new)).expect("Postgres' programs");
    let pg_dump = programs.bin().join("pg_dump");
    let output = Command::new(pg_dump).args(["--inserts", url]).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
