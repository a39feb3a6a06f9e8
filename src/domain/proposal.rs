//! What needs two persons: one proposes it, an identical call by another carries it out.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ids::{DecisionId, VerificationId};

/// A call that needs two persons, with everything that both must mean. What the call does not name
/// but would act upon belongs to it: a shadow that was exchanged meanwhile makes it another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Ask the provider again about what a person has closed by this decision.
    Refetch {
        /// What is asked about.
        verification: VerificationId,
        /// The person's decision.
        decision: DecisionId,
    },
    /// Have a policy decide; no scene is the empty text, here and below.
    Activate {
        /// Where.
        scene: &'a str,
        /// Its digest.
        policy: &'a str,
    },
    /// Have the policy in shadow decide.
    Promote {
        /// Where.
        scene: &'a str,
        /// The digest of the shadow.
        policy: &'a str,
    },
    /// Take a scene's own policy away.
    Deactivate {
        /// Where.
        scene: &'a str,
        /// The digest of the policy that decides there now.
        policy: &'a str,
    },
}

impl Call<'_> {
    /// As the audit names it once it is carried out.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Refetch { .. } => "verification.refetch",
            Self::Activate { .. } => "policy.active",
            Self::Promote { .. } => "policy.promote",
            Self::Deactivate { .. } => "policy.deactivate",
        }
    }

    /// The verification that it is about.
    pub const fn subject(&self) -> Option<Uuid> {
        match self {
            Self::Refetch { verification, .. } => Some(verification.0),
            _ => None,
        }
    }

    /// Everything that it means, for the audit.
    pub fn details(&self) -> Value {
        match self {
            Self::Refetch { decision, .. } => {
                json!({ "call": self.action(), "decision": decision })
            }
            Self::Activate { scene, policy }
            | Self::Promote { scene, policy }
            | Self::Deactivate { scene, policy } => {
                json!({ "call": self.action(), "biz_type": scene, "policy": policy })
            }
        }
    }

    /// Identical calls have the same digest, others another.
    pub fn digest(&self) -> [u8; 32] {
        // JSON texts cannot be cut in two ways.
        let meaning = json!([self.action(), self.subject(), self.details()]);
        Sha256::digest(meaning.to_string()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_calls_cover_everything_that_matters() {
        let id = |n| Uuid::from_u128(n);
        let calls = [
            Call::Refetch { verification: VerificationId(id(1)), decision: DecisionId(id(2)) },
            Call::Refetch { verification: VerificationId(id(1)), decision: DecisionId(id(3)) },
            Call::Refetch { verification: VerificationId(id(2)), decision: DecisionId(id(2)) },
            Call::Activate { scene: "", policy: "a" },
            Call::Activate { scene: "a", policy: "a" },
            Call::Activate { scene: "a", policy: "b" },
            Call::Promote { scene: "a", policy: "a" },
            Call::Deactivate { scene: "a", policy: "a" },
        ];
        for (n, call) in calls.iter().enumerate() {
            assert_eq!(call.digest(), call.digest());
            for other in &calls[n + 1..] {
                assert_ne!(call.digest(), other.digest(), "{call:?} {other:?}");
            }
        }
    }
}
