//! Arbitrary texts against the policy loader; what loads must also decide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::decision::Outcome;
use policy::evidence::{Evidence, ImagesOffered, Scores};
use policy::{Policy, decide};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(policy) = Policy::load(text) else { return };
    for verify_status in [-1, 0, 2, 7, 13] {
        let evidence = Evidence {
            verify_status,
            scores: Scores { authority: Some(99.0), face: None, id_card_face: None },
            face_quality: None,
            face_mask: None,
            images: ImagesOffered::default(),
            name_matches: None,
            number_matches: None,
            card_days_left: None,
            age_years: None,
            biz_type: String::new(),
            attempts: 1,
            callbacks: Some(1),
            answers: Some(1),
            earlier_1d: None,
            earlier_30d: None,
            malformed: Vec::new(),
            damaged_texts: Vec::new(),
        };
        let decision = decide(&policy, &evidence);
        assert_ne!(decision.outcome, Outcome::Approve, "approved status {verify_status}");
    }
});
