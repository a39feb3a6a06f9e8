//! Arbitrary bytes into the readers of face verification: answers of all calls, callbacks of
//! the vendor, returns of the browser.
//!
//! `cargo +nightly fuzz run face_verify fuzz/corpus/face_verify crates/cloudauth/tests/fixtures/face_verify`

#![no_main]

use cloudauth::face_verify::{self, Family, Notice, Read, Return, Start, Verified, family};
use libfuzzer_sys::fuzz_target;

// Invariants for any input: no panic, scores on their scales, no free text in a code, and an answer
// that passes cleanly has a code that passes.
fuzz_target!(|input: &[u8]| {
    // The length chooses the HTTP status, so that contradictions with it are reached.
    let status = if input.len() % 8 == 0 { 424 } else { 200 };
    match face_verify::read(status, input).outcome {
        Ok(Read::Finished(verified)) => check(status, &verified),
        Ok(Read::Unfinished { code }) => assert!(matches!(&*code, "403" | "424")),
        Ok(Read::Refused { code }) => assert_eq!(family(&code), Family::Refused),
        Err(error) => assert!(error.code.is_none_or(|code| code.len() <= 64)),
    }
    if let Ok(Start::Started(started)) = face_verify::read_started(status, input).outcome {
        assert!(started.certify_id.is_ascii() && (1..=64).contains(&started.certify_id.len()));
    }
    let _ = face_verify::read_deleted(status, input);
    let _ = face_verify::read_found(status, input);
    if let Ok(text) = str::from_utf8(input) {
        let notice = Notice::parse(text);
        assert!(notice.certify_id.is_none_or(|id| id.is_ascii() && id.len() <= 64));
        assert!(notice.code.is_none_or(|code| code.bytes().all(|byte| byte.is_ascii_digit())));
        let returned = Return::parse(text);
        assert!(returned.certify_id.is_none_or(|id| id.is_ascii() && id.len() <= 64));
    }
});

fn check(status: u16, verified: &Verified) {
    let scores = verified.scores;
    let percents = [scores.verify, scores.id_card, scores.quality, verified.guard_risk_score];
    assert!(percents.into_iter().flatten().all(|score| (0.0..=100.0).contains(&score)));
    assert!(scores.attack.is_none_or(|score| (0.0..=1.0).contains(&score)));
    assert!(verified.device_risk.is_sorted() && verified.device_risk.len() <= 64);
    let code = verified.code.as_deref();
    assert!(code.is_none_or(|code| code.bytes().all(|byte| byte.is_ascii_digit())));
    if verified.passed == Some(true) && verified.malformed.is_empty() {
        assert!(code.is_some_and(|code| family(code) == Family::Pass) && status == 200);
    }
}
