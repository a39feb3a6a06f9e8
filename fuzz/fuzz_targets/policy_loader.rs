//! Arbitrary texts against the policy loader; what loads must also decide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::decision::Outcome;
use policy::evidence::{Evidence, History, Product, Scores};
use policy::{Policy, decide};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(policy) = Policy::load(text) else { return };
    let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
    for verify_status in [-1, 0, 2, 7, 13] {
        let evidence = Evidence {
            verify_status: Some(verify_status),
            scores: Scores { authority: Some(99.0), ..Scores::default() },
            ..Evidence::blank(Product::VerifyResult, "", history)
        };
        let decision = decide(&policy, &evidence);
        assert_ne!(decision.outcome, Outcome::Approve, "approved status {verify_status}");
    }
    for (passed, code) in [
        (Some(false), "204"),
        (Some(false), "208"),
        (Some(false), "200"),
        (Some(true), "204"),
        (None, "200"),
        (None, "417"),
    ] {
        let code = Some(code.to_owned());
        let evidence =
            Evidence { passed, code, ..Evidence::blank(Product::FaceVerify, "", history) };
        let decision = decide(&policy, &evidence);
        assert_ne!(decision.outcome, Outcome::Approve, "approved {evidence:?}");
    }
});
