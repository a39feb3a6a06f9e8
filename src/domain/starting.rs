//! Starting a verification at the provider.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::callback::{BizId, BizType};

/// How long the provider's token is valid, by its documentation.
pub const TOKEN_LIVES: Duration = Duration::from_mins(30);

/// A verification to be started. Its `Debug` shows nothing of the person.
pub struct Starting {
    pub biz_type: BizType,
    pub biz_id: BizId,
    pub reference: Option<String>,
    /// The source that the verification will belong to.
    pub source: Option<String>,
    /// For the provider only, under its own names; stored nowhere.
    pub handed_through: Vec<(&'static str, Zeroizing<String>)>,
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting")
            .field("biz_type", &self.biz_type)
            .field("biz_id", &self.biz_id)
            .finish_non_exhaustive()
    }
}

/// The data that the phone needs. Its `Debug` shows nothing: the token opens the verification.
pub struct Started {
    /// `VerifyToken`.
    pub token: Zeroizing<String>,
    /// `VerifyPageUrl`, of the old H5 scheme only.
    pub page_url: Option<String>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The provider refuses this request, with its code.
    Refused(Option<String>),
    /// The provider is unavailable, throttles, or refuses this account.
    Unavailable {
        /// How long to wait, if the provider says so.
        wait: Option<Duration>,
        /// The provider's code, if any.
        code: Option<String>,
    },
}

/// Starts a verification at the provider. The composition root supplies the client.
pub type Starter = Arc<
    dyn Fn(
            Starting,
        ) -> Pin<Box<dyn Future<Output = Result<(Starting, Started), NotStarted>> + Send>>
        + Send
        + Sync,
>;
