//! Arbitrary bytes into the decoder of the provider's answers.
//!
//! `cargo +nightly fuzz run decoder fuzz/corpus/decoder crates/cloudauth/tests/fixtures/responses`

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::evidence::History;
use policy::product::Product;
use time::OffsetDateTime;
use verdict::provider;

// Invariants for any input and product: no panic, no score outside of 0 to 100, no long text in a code.
fuzz_target!(|body: &[u8]| {
    for product in [Product::VerifyResult, Product::FaceVerify] {
        match provider::read(product, 200, body) {
            Ok(reading) => {
                let (history, at) = (History::of_calls(1), OffsetDateTime::UNIX_EPOCH);
                let evidence = reading.evidence("b", history, at);
                assert_eq!(evidence.product, product);
                assert!(evidence.scores.present().all(|score| (0.0..=100.0).contains(&score)));
                assert!(evidence.code.as_ref().is_none_or(|code| code.len() <= 64));
            }
            Err(error) => assert!(error.code.is_none_or(|code| code.len() <= 64)),
        }
    }
});
