//! Starting a verification: what the caller gives, what the provider gives back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::callback::{BizId, BizType};

/// How long the provider's token lives (its document, and DESIGN §6).
pub const TOKEN_LIVES: Duration = Duration::from_mins(30);

/// A verification to be started. Its `Debug` shows nothing of the person.
pub struct Starting {
    /// Scene.
    pub biz_type: BizType,
    /// Task.
    pub biz_id: BizId,
    /// The caller's own reference.
    pub reference: Option<String>,
    /// The source of callbacks that it shall belong to.
    pub source: Option<String>,
    /// For the provider alone, by its own names; kept nowhere.
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

/// What the phone needs to go on. Its `Debug` shows nothing: the token opens the verification.
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

/// Why nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The provider refuses this one, with its code.
    Refused(Option<String>),
    /// It cannot be asked now: away, throttling, or refusing us all.
    Unavailable {
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// Its code, if it said one.
        code: Option<String>,
    },
}

/// Asks the provider to start one; the composition root puts its client behind this.
pub type Starter = Arc<
    dyn Fn(
            Starting,
        ) -> Pin<Box<dyn Future<Output = Result<(Starting, Started), NotStarted>> + Send>>
        + Send
        + Sync,
>;
