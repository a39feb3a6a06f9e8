//! The provider's products, and what their codes mean: families, and what the provider itself says.

use serde::{Deserialize, Serialize};

/// The product that verified the person.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::VariantNames,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Product {
    /// `DescribeVerifyResult`, which is no longer sold. Evidence of it names no product.
    #[default]
    VerifyResult,
    /// `DescribeFaceVerify`.
    FaceVerify,
}

impl Product {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// `None` for any other spelling.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Whether evidence leaves it out.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the provider itself says about the person.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum ProviderOutcome {
    /// The person passed: status 1; `Passed` T with code 200 or 210.
    Passed,
    /// The person did not pass: status 2 and above; `Passed` F.
    NotPassed,
    /// The provider refused to verify this person, for good.
    Refused,
}

impl ProviderOutcome {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// What a code is about. Both products share the families.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::VariantNames,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Family {
    /// The person passed.
    Pass,
    /// Name and number do not belong together.
    IdentityData,
    /// The authority has no usable record, or its service failed.
    SourceCannotTell,
    /// The card or its photo. Only `verify-result` has it.
    Document,
    /// The faces differ.
    Face,
    /// An attack is possible, or a risk rule of the provider stopped the person.
    AttackOrRisk,
    /// The person did not give the spoken consent.
    Consent,
    /// The provider refused to verify this person.
    Refused,
    /// No documented code.
    Unknown,
}

impl Family {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Of a status of `verify-result`.
    pub const fn of_status(status: i32) -> Self {
        match status {
            1 => Self::Pass,
            2 => Self::IdentityData,
            3 | 4 | 5 | 8 => Self::Document,
            6 | 7 => Self::Face,
            9 | 10 => Self::AttackOrRisk,
            11 | 12 => Self::SourceCannotTell,
            _ => Self::Unknown,
        }
    }

    /// Of a code of `face-verify`.
    pub fn of_code(code: &str) -> Self {
        let known = FACE_VERIFY_CODES.iter().find(|(known, _)| *known == code);
        known.map_or(Self::Unknown, |(_, family)| *family)
    }
}

/// The documented codes of `face-verify`: sub codes of an answer, and body codes that refuse a
/// person.
pub const FACE_VERIFY_CODES: [(&str, Family); 19] = [
    ("200", Family::Pass),
    ("210", Family::Pass),
    ("201", Family::IdentityData),
    ("202", Family::SourceCannotTell),
    ("203", Family::SourceCannotTell),
    ("209", Family::SourceCannotTell),
    ("204", Family::Face),
    ("207", Family::Face),
    ("205", Family::AttackOrRisk),
    ("206", Family::AttackOrRisk),
    ("220", Family::Consent),
    ("221", Family::Consent),
    ("222", Family::Consent),
    ("414", Family::Refused),
    ("415", Family::Refused),
    ("416", Family::Refused),
    ("417", Family::Refused),
    ("418", Family::Refused),
    ("427", Family::Refused),
];

/// What a status of `verify-result` says; `None` where it is not final.
pub const fn outcome_of_status(status: i32) -> Option<ProviderOutcome> {
    match status {
        1 => Some(ProviderOutcome::Passed),
        2.. => Some(ProviderOutcome::NotPassed),
        _ => None,
    }
}

/// What an answer of `face-verify` says; `None` where `Passed` and the code contradict each other or
/// cannot be read. `Passed` decides, and only with a code that goes with it.
pub fn outcome_of_face_verify(passed: Option<bool>, code: Option<&str>) -> Option<ProviderOutcome> {
    let family = code.map(Family::of_code);
    match (passed, family) {
        (Some(true), Some(Family::Pass)) => Some(ProviderOutcome::Passed),
        (Some(true), _) | (Some(false), Some(Family::Pass)) => None,
        (Some(false), _) => Some(ProviderOutcome::NotPassed),
        (None, Some(Family::Refused)) => Some(ProviderOutcome::Refused),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn only_200_and_210_pass_and_only_with_passed() {
        let outcome = |passed, code| outcome_of_face_verify(passed, code);
        for (code, family) in FACE_VERIFY_CODES {
            let passes = ["200", "210"].contains(&code);
            assert_eq!(family == Family::Pass, passes, "{code}");
            let said = outcome(Some(true), Some(code));
            assert_eq!(said, passes.then_some(ProviderOutcome::Passed), "{code}");
            let said = outcome(Some(false), Some(code));
            assert_eq!(said, (!passes).then_some(ProviderOutcome::NotPassed), "{code}");
            let refused = (family == Family::Refused).then_some(ProviderOutcome::Refused);
            assert_eq!(outcome(None, Some(code)), refused, "{code}");
        }
        for unknown in ["208", "0200", "200 ", "2100", ""] {
            assert_eq!(Family::of_code(unknown), Family::Unknown, "{unknown}");
            assert_eq!(outcome(Some(true), Some(unknown)), None, "{unknown}");
            let failed = Some(ProviderOutcome::NotPassed);
            assert_eq!(outcome(Some(false), Some(unknown)), failed, "{unknown}");
        }
        assert_eq!(outcome(Some(true), None), None);
        assert_eq!(outcome(Some(false), None), Some(ProviderOutcome::NotPassed));
    }

    #[test]
    fn spellings_are_the_same_for_policies_and_for_json() {
        for product in Product::VARIANTS {
            assert_eq!(serde_json::to_value(product).unwrap(), product.as_str());
            assert_eq!(Product::parse(product.as_str()), Some(*product));
        }
        for family in Family::VARIANTS {
            assert_eq!(serde_json::to_value(family).unwrap(), family.as_str());
        }
        assert_eq!(ProviderOutcome::NotPassed.as_str(), "not-passed");
    }
}
