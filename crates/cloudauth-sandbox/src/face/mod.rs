//! The product face-verify: `InitFaceVerify`, its page and its callback, `DescribeFaceVerify`,
//! `DescribeVerifySearchPageList`, `DeleteFaceVerifyResult`.

pub mod script;

mod answer;
mod callback;
mod desk;
mod page;
mod product;
mod reader;
mod search;
mod sessions;
mod start;
#[cfg(test)]
mod tests;

pub use product::Product;
pub use script::{Answer, Finding, Script};
pub use sessions::{CallbackTry, NotSubmitted};

pub(crate) use page::{hosted, iframe, message, short_link, style};
pub(crate) use sessions::Sessions;

use crate::Sandbox;

pub(crate) const INIT: &str = "InitFaceVerify";
pub(crate) const DESCRIBE: &str = "DescribeFaceVerify";
pub(crate) const SEARCH: &str = "DescribeVerifySearchPageList";
pub(crate) const DELETE: &str = "DeleteFaceVerifyResult";

impl Sandbox {
    /// From now on that `CertifyId`, or the next start with that order number, means this script,
    /// from its first step.
    pub fn set_script(&self, certify_id_or_order_number: &str, script: Script) {
        self.memory().faces.set_script(certify_id_or_order_number, script);
    }

    /// Every `CertifyId` that was made for that order number, in order: each is one start.
    pub fn certify_ids(&self, order_number: &str) -> Vec<String> {
        self.memory().faces.certify_ids(order_number)
    }

    /// The person submits, and this is found. Returns when the callback was delivered or given up,
    /// if there is one.
    pub async fn submit(&self, certify_id: &str, finding: Finding) -> Result<(), NotSubmitted> {
        let now = self.0.clock.now();
        let session = self.memory().faces.submit(certify_id, finding.clone(), now)?;
        self.call_back(&session, &finding).await;
        Ok(())
    }

    /// Tries of callbacks so far, oldest first.
    pub fn callbacks(&self) -> Vec<CallbackTry> {
        self.memory().faces.callbacks.clone()
    }

    /// Whether the personal data of that `CertifyId` was erased here.
    pub fn is_deleted(&self, certify_id: &str) -> bool {
        self.memory().faces.is_deleted(certify_id)
    }
}
