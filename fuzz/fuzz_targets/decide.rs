//! Arbitrary evidence, malformed numbers among it, against the default policy and arbitrary ones:
//! deciding never panics, says the same twice, and approves nothing but what the provider passed.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use policy::decision::Outcome;
use policy::evidence::{Evidence, FaceQuality, History, ImagesOffered, Product, Scores};
use policy::field::malformed_fields;
use policy::product::{FACE_VERIFY_CODES, ProviderOutcome};
use policy::{Policy, decide};

const DEFAULT: &str = include_str!("../../config/policy.toml");

/// Possible answers, and many impossible ones.
#[derive(Arbitrary, Debug)]
struct Answer<'a> {
    status: Status,
    scores: [Option<f64>; 3],
    quality: Option<u8>,
    flags: [Option<bool>; 3],
    images: [bool; 4],
    days: Option<i64>,
    years: Option<i64>,
    biz_type: &'a str,
    attempts: i64,
    history: [Option<i64>; 4],
    malformed: u8,
    /// `Passed`, the place of a code, scores (verify, card, quality, risk, attack), flags, a label;
    /// none: the first product.
    second: Option<(Option<bool>, u8, [Option<f64>; 5], [Option<bool>; 3], Option<&'a str>)>,
    /// Empty: the default policy.
    policy: &'a str,
}

#[derive(Arbitrary, Debug)]
enum Status {
    Passed,
    Documented(u8),
    Any(i32),
}

impl Answer<'_> {
    fn evidence(&self) -> Evidence {
        let Some((passed, code, scores, flags, label)) = self.second else { return self.first() };
        let known = FACE_VERIFY_CODES.get(usize::from(code) % (FACE_VERIFY_CODES.len() + 2));
        let code = known.map_or("208", |(code, _)| *code);
        let [verify, id_card, quality, guard_risk_score, attack] = scores;
        let [face_occluded, face_attack, wear_hat] = flags;
        Evidence {
            product: Product::FaceVerify,
            verify_status: None,
            passed,
            code: (self.malformed < 250).then(|| code.to_owned()),
            scores: Scores { verify, id_card, quality, attack, ..Scores::default() },
            guard_risk_score,
            face_occluded,
            face_attack,
            wear_hat,
            device_risk: label.iter().map(|label| (*label).to_owned()).collect(),
            ..self.first()
        }
    }

    fn first(&self) -> Evidence {
        let [authority, face, id_card_face] = self.scores;
        let [face_mask, name_matches, number_matches] = self.flags;
        let [image, card_front, card_back, face_global] = self.images;
        let [callbacks, answers, earlier_1d, earlier_30d] = self.history;
        let calls = self.attempts;
        let history = History { calls, callbacks, answers, earlier_1d, earlier_30d };
        Evidence {
            verify_status: Some(match self.status {
                Status::Passed => 1,
                Status::Documented(status) => i32::from(status % 15) - 1,
                Status::Any(status) => status,
            }),
            scores: Scores { authority, face, id_card_face, ..Scores::default() },
            face_quality: self.quality.map(|quality| match quality % 4 {
                0 => FaceQuality::Unqualified,
                1 => FaceQuality::Low,
                2 => FaceQuality::Normal,
                _ => FaceQuality::High,
            }),
            face_mask,
            images: ImagesOffered { face: image, card_front, card_back, face_global },
            name_matches,
            number_matches,
            card_days_left: self.days,
            age_years: self.years,
            malformed: vec!["x".to_owned(); usize::from(self.malformed % 4)],
            ..Evidence::blank(Product::VerifyResult, self.biz_type, history)
        }
    }
}

fuzz_target!(|answer: Answer<'_>| {
    let text = if answer.policy.is_empty() { DEFAULT } else { answer.policy };
    let Ok(policy) = Policy::load(text) else { return };
    let evidence = answer.evidence();
    let decision = decide(&policy, &evidence);
    assert_eq!(decision, decide(&policy, &evidence));
    let strictest = decision.reasons.iter().map(|reason| reason.outcome).max();
    assert_eq!(Some(decision.outcome), strictest);
    if decision.outcome == Outcome::Approve {
        assert_eq!(evidence.provider_outcome(), Some(ProviderOutcome::Passed));
        assert_eq!(malformed_fields(&evidence), 0);
        assert!(evidence.scores.present().all(|score| (0.0..=100.0).contains(&score)));
    }
});
