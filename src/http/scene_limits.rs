//! Keys limited to scenes: nothing outside these scenes exists for them.

use super::Api;
use super::auth::Caller;
use super::policies::known_policy;
use super::problem::Problem;
use crate::domain::ids::VerificationId;
use crate::store::policies::PolicyText;

impl Api {
    /// The verification that a path names, if the caller may see it. Every handler of one verification
    /// begins with this. A verification's scene never changes, so the answer holds afterwards.
    pub(super) async fn visible_verification(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<VerificationId, Problem> {
        let id: VerificationId = id.parse().map_err(|_| Problem::not_found())?;
        if caller.scenes.are_limited() {
            let found = self.finding.submit(id).await??.ok_or_else(Problem::not_found)?;
            if !caller.scenes.include(&found.biz_type) {
                return Err(Problem::not_found());
            }
        }
        Ok(id)
    }

    /// The policy that a path names, unless it was only ever used in scenes that the caller may not
    /// see.
    pub(super) async fn visible_policy(
        &self,
        caller: &Caller,
        digest: &str,
    ) -> Result<PolicyText, Problem> {
        let policy = known_policy(self, digest).await?;
        if let Some(scenes) = caller.scenes.names() {
            let hidden = self.store.policies_of_other_scenes(&scenes).await?;
            if hidden.iter().any(|other| other == digest) {
                return Err(Problem::not_found());
            }
        }
        Ok(policy)
    }
}
