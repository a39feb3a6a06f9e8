//! Evidence given field by field, by an example or a case.

use crate::absence::absent;
use crate::card_days::highest_edge_reached;
use crate::condition::Bound;
use crate::evidence::{Evidence, History, Product};
use crate::field::Field;
use crate::product::{Family, ProviderOutcome};

/// Evidence, half given.
pub struct Draft {
    pub evidence: Evidence,
    outcome: Option<ProviderOutcome>,
    /// `Passed` was given, as stored evidence has it.
    pub has_passed: bool,
}

impl Draft {
    /// Of an answer that says nothing yet.
    pub fn new() -> Self {
        let history = History { callbacks: Some(1), answers: Some(1), ..History::of_calls(1) };
        let evidence = Evidence::blank(Product::VerifyResult, "example", history);
        Self { evidence, outcome: None, has_passed: false }
    }

    pub fn set(&mut self, field: Field, value: Bound) -> Result<(), &'static str> {
        let evidence = &mut self.evidence;
        let scores = &mut evidence.scores;
        match (field, value) {
            (Field::LowestScore | Field::ScoresPresent, _) => {
                return Err("follows from the scores; give those");
            }
            (Field::Family, _) => return Err("follows from the status or the code; give that"),
            (Field::Product, Bound::Text(text)) => {
                evidence.product = Product::parse(&text).ok_or("cannot hold this")?;
            }
            (Field::ProviderOutcome, Bound::Text(text)) => self.outcome = text.parse().ok(),
            (Field::Code, Bound::Text(code)) => evidence.code = Some(code),
            (Field::Status, Bound::Whole(status)) => {
                let status = i32::try_from(status)
                    .map_err(|_| "must fit into 32 bits, as the provider's")?;
                evidence.verify_status = Some(status);
            }
            (Field::AuthorityScore, Bound::Score(score)) => scores.authority = Some(score),
            (Field::FaceScore, Bound::Score(score)) => scores.face = Some(score),
            (Field::IdCardFaceScore, Bound::Score(score)) => scores.id_card_face = Some(score),
            (Field::VerifyScore, Bound::Score(score)) => scores.verify = Some(score),
            (Field::IdCardScore, Bound::Score(score)) => scores.id_card = Some(score),
            (Field::QualityScore, Bound::Score(score)) => scores.quality = Some(score),
            (Field::AttackScore, Bound::Score(score)) => scores.attack = Some(score),
            (Field::GuardRiskScore, Bound::Score(score)) => evidence.guard_risk_score = Some(score),
            (Field::MalformedFields, Bound::Whole(count)) => {
                let count = usize::try_from(count).unwrap_or(0);
                evidence.malformed = vec!["example".to_owned(); count];
            }
            (Field::FaceQuality, Bound::Quality(quality)) => evidence.face_quality = Some(quality),
            (Field::FaceMask, Bound::Flag(flag)) => evidence.face_mask = Some(flag),
            (Field::FaceOccluded, Bound::Flag(flag)) => evidence.face_occluded = Some(flag),
            (Field::FaceAttack, Bound::Flag(flag)) => evidence.face_attack = Some(flag),
            (Field::WearHat, Bound::Flag(flag)) => evidence.wear_hat = Some(flag),
            (Field::HasFaceImage, Bound::Flag(flag)) => evidence.images.face = flag,
            (Field::HasCardFrontImage, Bound::Flag(flag)) => evidence.images.card_front = flag,
            (Field::HasCardBackImage, Bound::Flag(flag)) => evidence.images.card_back = flag,
            (Field::HasFaceGlobalImage, Bound::Flag(flag)) => evidence.images.face_global = flag,
            (Field::NameMatches, Bound::Flag(flag)) => evidence.name_matches = Some(flag),
            (Field::NumberMatches, Bound::Flag(flag)) => evidence.number_matches = Some(flag),
            (Field::CardDaysLeft, Bound::Whole(days)) => {
                evidence.card_days_left = Some(highest_edge_reached(days));
            }
            (Field::AgeYears, Bound::Whole(years)) => evidence.age_years = Some(years),
            (Field::BizType, Bound::Text(text)) => evidence.biz_type = text,
            (Field::Attempts | Field::Calls, Bound::Whole(calls)) => evidence.attempts = calls,
            (Field::Callbacks, Bound::Whole(count)) => evidence.callbacks = Some(count),
            (Field::Answers, Bound::Whole(count)) => evidence.answers = Some(count),
            (Field::Earlier1d, Bound::Whole(count)) => evidence.earlier_1d = Some(count),
            (Field::Earlier30d, Bound::Whole(count)) => evidence.earlier_30d = Some(count),
            _ => return Err("cannot hold this"),
        }
        Ok(())
    }

    /// The evidence, or what is missing or does not belong to its product.
    pub fn complete(self) -> Result<Evidence, String> {
        let Self { mut evidence, outcome, has_passed } = self;
        match evidence.product {
            Product::VerifyResult => {
                if evidence.verify_status.is_none() {
                    return Err(if evidence.code.is_some() || outcome.is_some() {
                        "give `status`, or `product = \"face-verify\"` and `code`".to_owned()
                    } else {
                        "`status` is missing: every answer has one".to_owned()
                    });
                }
                if evidence.code.is_some() || outcome.is_some() || has_passed {
                    return Err("for verify-result, `code` and `provider_outcome` follow from \
                                `status`; give that alone"
                        .to_owned());
                }
            }
            Product::FaceVerify => {
                // One that cannot be read leaves none.
                if evidence.code.is_none() && evidence.malformed.is_empty() {
                    return Err("`code` is missing: every answer of face-verify has one".to_owned());
                }
                if !has_passed {
                    let family = evidence.family();
                    let outcome = outcome.unwrap_or(match family {
                        Family::Pass => ProviderOutcome::Passed,
                        Family::Refused => ProviderOutcome::Refused,
                        _ => ProviderOutcome::NotPassed,
                    });
                    if outcome == ProviderOutcome::Refused && family != Family::Refused {
                        return Err(
                            "`provider_outcome` is `refused` only with a code of the family \
                                    `refused`"
                                .to_owned(),
                        );
                    }
                    // Without a code nothing is known of it.
                    evidence.passed = evidence.code.as_ref().and(match outcome {
                        ProviderOutcome::Passed => Some(true),
                        ProviderOutcome::NotPassed => Some(false),
                        ProviderOutcome::Refused => None,
                    });
                }
            }
        }
        let foreign = Field::ALL.iter().find(|field| {
            !field.is_of(evidence.product) && field.read(&evidence) != absent(**field)
        });
        if let Some(field) = foreign {
            let (field, product) = (field.name(), evidence.product);
            return Err(format!("answers of {product} have no `{field}`"));
        }
        Ok(evidence)
    }
}
