//! Calls that need two persons: one proposes, an identical call by another carries it out.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ids::{DecisionId, VerificationId};

/// A call that needs two persons, with everything that both must agree on. That includes what the
/// call acts on without naming it: a shadow that was replaced meanwhile makes it another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Refetch a verification that a review has closed with this decision.
    Refetch {
        verification: VerificationId,
        /// The decision of the review.
        decision: DecisionId,
    },
    /// Activate a policy. An empty text is no scene, here and below.
    Activate { scene: &'a str, policy: &'a str },
    /// Promote the shadow policy.
    Promote { scene: &'a str, policy: &'a str },
    /// Remove a scene's policy.
    Deactivate {
        scene: &'a str,
        /// The digest of the policy that is active there.
        policy: &'a str,
    },
}

impl Call<'_> {
    /// The audit's word for it once it is carried out.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Refetch { .. } => "verification.refetch",
            Self::Activate { .. } => "policy.active",
            Self::Promote { .. } => "policy.promote",
            Self::Deactivate { .. } => "policy.deactivate",
        }
    }

    pub const fn subject(&self) -> Option<Uuid> {
        match self {
            Self::Refetch { verification, .. } => Some(verification.0),
            _ => None,
        }
    }

    /// All members, for the audit.
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

    /// Equal for identical calls only.
    pub fn digest(&self) -> [u8; 32] {
        // JSON texts cannot be split in two ways.
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
