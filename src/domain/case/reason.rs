//! The configured lists that reviewers choose from.

use policy::decision::Outcome;

/// What a reason can be given for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Choice {
    Approve,
    Retry,
    Reject,
    Escalate,
}

impl Choice {
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// `None`: a person cannot give that outcome.
    pub const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Approve => Some(Self::Approve),
            Outcome::Retry => Some(Self::Retry),
            Outcome::Reject => Some(Self::Reject),
            Outcome::Review => None,
        }
    }
}

/// One reason of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Callers switch on it.
    pub code: String,
    pub choices: Vec<Choice>,
    pub en: String,
    pub zh: String,
}

/// The reasons that the console offers. It takes no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<Reason>);

impl Reasons {
    pub fn new(reasons: Vec<Reason>) -> Self {
        Self(reasons)
    }

    pub fn for_outcome(&self, outcome: Outcome) -> impl Iterator<Item = &Reason> {
        self.of(Choice::of(outcome))
    }

    pub fn for_escalation(&self) -> impl Iterator<Item = &Reason> {
        self.of(Some(Choice::Escalate))
    }

    /// The reason, if it may be given for this outcome.
    pub fn check(&self, outcome: Outcome, code: &str) -> Result<&Reason, &'static str> {
        let found = self.for_outcome(outcome).find(|reason| reason.code == code);
        found.ok_or("must be one of the listed reasons for this outcome")
    }

    pub fn check_escalation(&self, code: &str) -> Result<&Reason, &'static str> {
        let found = self.for_escalation().find(|reason| reason.code == code);
        found.ok_or("must be one of the listed reasons for an escalation")
    }

    /// For the name of a code. `None`: it is not on the list any more, or came by the API.
    pub fn find(&self, code: &str) -> Option<&Reason> {
        self.0.iter().find(|reason| reason.code == code)
    }

    fn of(&self, choice: Option<Choice>) -> impl Iterator<Item = &Reason> {
        self.0.iter().filter(move |reason| choice.is_some_and(|c| reason.choices.contains(&c)))
    }
}

/// Why a person's data may be revealed; the code is the purpose in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    pub code: String,
    pub en: String,
    pub zh: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_reasons_are_taken_and_each_for_its_outcomes() {
        let reason = |code: &str, choices: &[Choice]| Reason {
            code: code.to_owned(),
            choices: choices.to_vec(),
            en: String::new(),
            zh: String::new(),
        };
        let reasons = Reasons::new(vec![
            reason("same-person", &[Choice::Approve]),
            reason("unclear", &[Choice::Retry, Choice::Escalate]),
        ]);
        assert!(reasons.check(Outcome::Approve, "same-person").is_ok());
        assert!(reasons.check(Outcome::Reject, "same-person").is_err());
        assert!(reasons.check(Outcome::Approve, "other").is_err());
        assert!(reasons.check(Outcome::Review, "unclear").is_err());
        assert!(reasons.check_escalation("unclear").is_ok());
        assert!(reasons.check_escalation("same-person").is_err());
        assert_eq!(reasons.for_outcome(Outcome::Retry).count(), 1);
        assert!(reasons.find("unclear").is_some() && reasons.find("gone").is_none());
    }
}
