//! The witnesses, the key of the log, and an HTTP client.

use std::fmt;
use std::time::Duration;

use merkle_log::note::SigningKey;
use reqwest::{redirect, retry};

use crate::audit_log::heads::Witness;

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The witnesses of the audit, and the key by which they know its log.
pub struct AuditHeads {
    pub(super) witnesses: Vec<Witness>,
    /// Between two heads.
    pub(super) every: Duration,
    pub(super) key: SigningKey,
    pub(super) http: reqwest::Client,
}

impl AuditHeads {
    pub fn new(
        witnesses: Vec<Witness>,
        every: Duration,
        key: SigningKey,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .build()?;
        Ok(Self { witnesses, every, key, http })
    }
}

impl fmt::Debug for AuditHeads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditHeads").field("witnesses", &self.witnesses).finish_non_exhaustive()
    }
}
