//! Arbitrary bytes into the decoder of the provider's answers.
//!
//! `cargo +nightly fuzz run decoder fuzz/corpus/decoder crates/cloudauth/tests/fixtures/responses`

#![no_main]

use cloudauth::wire;
use libfuzzer_sys::fuzz_target;
use policy::evidence::History;
use time::OffsetDateTime;
use verdict::provider;

// Invariants for any input: no panic, no score outside of 0 to 100, no free text in a code.
fuzz_target!(|body: &[u8]| {
    match wire::read(200, body).outcome {
        Ok(answered) => {
            let (history, at) = (History::of_calls(1), OffsetDateTime::UNIX_EPOCH);
            let evidence = provider::evidence(&answered, "b", history, at);
            assert!(evidence.scores.present().all(|score| (0.0..=100.0).contains(&score)));
            assert_eq!(evidence.verify_status, Some(answered.verify_status));
        }
        Err(error) => assert!(error.code.is_none_or(|code| code.len() <= 64)),
    }
});
