//! Arbitrary headers and bodies against the webhook signature check: it may only refuse.
#![no_main]

use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};
use verdict::vault::callback_signature::{Secret, SignedHeaders, verify};

// Input: id, timestamp and signature on one line each, the body after them.
fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |byte| *byte == b'\n').map(|part| str::from_utf8(part));
    let (Some(Ok(id)), Some(Ok(timestamp)), Some(Ok(signature))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let body = input.get(id.len() + timestamp.len() + signature.len() + 3..).unwrap_or_default();
    let secrets = ["C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        .map(|text| Secret::parse(text).expect("a fixed secret"));
    let headers = SignedHeaders { id, timestamp, signature };
    let judged = verify(&secrets, headers, body, OffsetDateTime::UNIX_EPOCH, Duration::minutes(5));
    assert!(judged.is_err(), "a forged signature was accepted");
});
