//! Keys limited to scenes: nothing outside these scenes exists for them.

use super::api::Api;
use super::api_key_auth::Caller;
use super::problem::Problem;
use crate::domain::ids::VerificationId;

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
            let found = self.loader.submit(id).await??.ok_or_else(Problem::not_found)?;
            if !caller.scenes.include(&found.biz_type) {
                return Err(Problem::not_found());
            }
        }
        Ok(id)
    }
}
